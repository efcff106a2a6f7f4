//! How many files one pattern may name: an application that makes a file for each request must not use up what all others need.
//! Promises: files that are being read go on; what is left out is counted and told, and has its turn when others have gone.

use cordwood_core::limits::FILES_PER_PATTERN_MAX;

use crate::context::Source;
use crate::discover::FolderKey;
use crate::reader::Reader;

impl Reader {
    /// The sources of a pattern that are read.
    pub(crate) fn within_bound(&mut self, key: &FolderKey, sources: Vec<Source>) -> Vec<Source> {
        let (kept, left_out) =
            bound(sources, FILES_PER_PATTERN_MAX, |source| self.by_key.contains_key(&source.key()));
        let before = match left_out.len() {
            0 => self.left_out.remove(key).unwrap_or(0),
            count => self.left_out.insert(key.clone(), count).unwrap_or(0),
        };
        if before == 0
            && let Some(Source::File { path, .. }) = left_out.first()
        {
            tracing::warn!(
                files = left_out.len(),
                for_example = path,
                at_most = FILES_PER_PATTERN_MAX,
                "a pattern names more files than are read: the others wait until some of these are gone"
            );
        }
        kept
    }

    /// Something is gone: what was left out may have its turn.
    pub(crate) fn look_for_left_out(&mut self) {
        self.again.extend(self.left_out.keys().cloned());
    }
}

/// At most `max` of them, those that `is_known` first, and the others.
fn bound(sources: Vec<Source>, max: usize, is_known: impl Fn(&Source) -> bool) -> (Vec<Source>, Vec<Source>) {
    if sources.len() <= max || !matches!(sources[0], Source::File { .. }) {
        return (sources, Vec::new());
    }
    let (mut kept, mut others): (Vec<Source>, Vec<Source>) = sources.into_iter().partition(is_known);
    let left_out = others.split_off(max.saturating_sub(kept.len()).min(others.len()));
    kept.extend(others);
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_stays_and_the_rest_waits() {
        let file = |n: usize| Source::File { path: format!("/{n}.log"), input: 0 };
        let files = |range: std::ops::Range<usize>| range.map(file).collect::<Vec<_>>();
        let known = [file(3), file(4)];
        let is_known = |source: &Source| known.contains(source);
        assert_eq!(bound(files(0..5), 5, is_known), (files(0..5), vec![]));
        let (kept, left_out) = bound(files(0..5), 3, is_known);
        assert_eq!((kept, left_out), (vec![file(3), file(4), file(0)], files(1..3)));
        let (kept, left_out) = bound(files(0..5), 1, is_known);
        assert_eq!((kept, left_out), (known.to_vec(), files(0..3)), "none that is read is given up");
        assert_eq!(bound(vec![], 0, is_known), (vec![], vec![]));
    }
}
