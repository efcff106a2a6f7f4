//! Where a new file goes among those that are open: older ones are read first.

use crate::log_names::older_suffix;

use super::Listed;
use super::listing::Names;

/// A file that is open, as far as its name says.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    pub name: &'a str,
    /// It has no name any more: `name` is the last one that it had.
    pub removed: bool,
}

impl Names<'_> {
    /// The place of a new file among the open ones: before the first that is younger. A file that was live and lost its name
    /// is older than all that appear.
    pub fn place_of<'a>(
        &self,
        entry: &Listed,
        mut open: impl ExactSizeIterator<Item = Open<'a>> + Clone,
    ) -> usize {
        let last = open.len();
        if entry.live {
            return last;
        }
        let live = open.clone().position(|file| file.name == self.live && !file.removed);
        let younger = match older_suffix(self.live, &entry.name) {
            Some(suffix) if !self.plain => {
                open.position(|file| older_suffix(self.live, file.name).is_some_and(|other| other > suffix))
            }
            _ => None,
        };
        younger.or(live).unwrap_or(last)
    }
}

/// When a file that has a successor was superseded, on the monotonic clock: what was not written to for a while already will not
/// be for that while again. `mtime_ns`: when it was written to last, where that is known.
pub fn superseded_at_ms(now_ms: i64, now_ns: i64, mtime_ns: Option<i64>) -> i64 {
    now_ms - mtime_ns.map_or(0, |mtime_ns| (now_ns - mtime_ns).max(0) / 1_000_000)
}
