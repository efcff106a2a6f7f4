//! The names of a log in a listing: which of them are the log's, and in which order they were written.

use crate::log_names::{has_date_inside, older_suffix};

use super::register::Register;
use super::{Inode, Listed};

/// How a log's files are named.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The file that is written to now.
    pub live: &'a str,
    /// Another program's files: their names tell no order, and many begin with the same line.
    pub plain: bool,
}

impl Names<'_> {
    /// Puts a log's names in the order of their writing, the live one last. Of a plain log only those stay that are younger than
    /// what was there when the log was begun: nobody asked for the older ones. `is_open` tells which files are open.
    #[must_use]
    pub fn in_order(
        &self,
        mut listed: Vec<Listed>,
        register: &mut Register,
        is_open: impl Fn(Inode) -> bool,
    ) -> Vec<Listed> {
        listed.sort_by(|a, b| {
            a.live.cmp(&b.live).then_with(|| {
                if self.plain {
                    a.mtime_ns.cmp(&b.mtime_ns)
                } else {
                    older_suffix(self.live, &a.name).cmp(&older_suffix(self.live, &b.name))
                }
            })
        });
        if self.plain {
            let is_ours = |register: &Register, inode| is_open(inode) || register.is_remembered(inode);
            let since_ns = self.since(&listed, register, |inode| is_ours(register, inode));
            register.begins_at(since_ns);
            // What was begun and is not found by its inode may have been copied or packed while the agent was away.
            let away = register.has_unread();
            listed.retain(|entry| {
                entry.live || away || entry.mtime_ns > since_ns || is_ours(register, entry.inode)
            });
        }
        listed
    }

    /// The time of writing up to which files are older than the log: decided at the first look. What comes after the file that
    /// is live then is written to later than that one was.
    fn since(&self, listed: &[Listed], register: &Register, is_ours: impl Fn(Inode) -> bool) -> i64 {
        if let Some(since_ns) = register.since_ns() {
            return since_ns;
        }
        // (A name with the date before its extension was asked for as the live one was.)
        let is_new = register.is_new();
        let was_asked_for = |entry: &Listed| is_new && has_date_inside(self.live, &entry.name);
        let live = listed.iter().find(|entry| entry.live).map(|entry| entry.mtime_ns - 1);
        if is_new && let Some(live) = live.filter(|_| !listed.iter().any(was_asked_for)) {
            return live;
        }
        let ours = listed.iter().position(|entry| entry.live || is_ours(entry.inode));
        let older = listed[..ours.unwrap_or(listed.len())].iter().filter(|entry| !was_asked_for(entry));
        older.map(|entry| entry.mtime_ns).max().unwrap_or(i64::MIN)
    }
}
