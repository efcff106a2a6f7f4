//! State of a log whose files are closed because other logs need the descriptors, or were never opened because no descriptor was
//! free.

use crate::folder::Stat;

/// What is told of files that went while they were closed.
pub const GONE_WHILE_CLOSED: &str = "rotated away or deleted while no file descriptor was left for it";
/// What is told of files that were cut while they were closed.
pub const CUT_WHILE_CLOSED: &str =
    "cut short, emptied or rewritten in place while no file descriptor was left for it";

/// What is known of the files of such a log.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// The live file as it was when it was closed, or seen first.
    live: Option<Stat>,
    /// No first line of the live file was seen, so that no position of it is known.
    is_unknown: bool,
    /// It may hold what was not read.
    has_unread: bool,
    /// It waits for a descriptor.
    wants: bool,
}

impl Closed {
    pub fn new(live: Option<Stat>, is_unknown: bool, has_unread: bool) -> Closed {
        Closed { live, is_unknown, has_unread, wants: false }
    }

    /// No descriptor was left for it so far.
    pub fn never_opened() -> Closed {
        Closed::new(None, true, true)
    }

    pub fn has_unread(&self) -> bool {
        self.has_unread
    }

    /// The live file, where nothing of it was read and something may have been written to it.
    pub fn never_read(&self) -> Option<Stat> {
        self.live.filter(|_| self.is_unknown && self.has_unread)
    }

    /// True: it did not wait before.
    pub fn want(&mut self) -> bool {
        !std::mem::replace(&mut self.wants, true)
    }

    pub fn set_wants(&mut self, wants: bool) {
        self.wants = wants;
    }

    /// What could not be opened is remembered as it was first, in case it goes before it can be.
    pub fn note_live(&mut self, live: Stat) {
        self.live.get_or_insert(live);
    }

    pub fn was_written_to(&mut self) {
        self.has_unread = true;
    }

    /// Whether the live name stands for another file now, or for a longer or shorter one.
    pub fn is_other(&self, now: Option<Stat>) -> bool {
        let same = |before: Stat, now: Stat| (before.inode(), before.size) == (now.inode(), now.size);
        self.live.is_some_and(|before| !now.is_some_and(|now| same(before, now)))
    }
}
