//! State of a log whose files are closed because other logs need the descriptors, or were never opened because no descriptor was
//! free.

use crate::folder::Stat;

/// The reason in the loss of a file that was deleted while it was closed.
pub const GONE_WHILE_CLOSED: &str = "rotated away or deleted while no file descriptor was left for it";
/// The reason in the loss of a file that was cut short while it was closed.
pub const CUT_WHILE_CLOSED: &str =
    "cut short, emptied or rewritten in place while no file descriptor was left for it";

/// What is known of the files of a closed log.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// The live file as it was when it was closed, or first seen.
    live: Option<Stat>,
    /// The first line of the live file was never seen, so no position in it is known.
    is_unknown: bool,
    /// The live file may hold unread bytes.
    has_unread: bool,
    /// The log waits for a descriptor.
    wants: bool,
}

impl Closed {
    pub fn new(live: Option<Stat>, is_unknown: bool, has_unread: bool) -> Closed {
        Closed { live, is_unknown, has_unread, wants: false }
    }

    /// The log has had no descriptor so far.
    pub fn never_opened() -> Closed {
        Closed::new(None, true, true)
    }

    pub fn has_unread(&self) -> bool {
        self.has_unread
    }

    /// The live file, if nothing of it was read and something may have been written to it.
    pub fn never_read(&self) -> Option<Stat> {
        self.live.filter(|_| self.is_unknown && self.has_unread)
    }

    /// Returns true if the log did not wait before.
    pub fn want(&mut self) -> bool {
        !std::mem::replace(&mut self.wants, true)
    }

    pub fn set_wants(&mut self, wants: bool) {
        self.wants = wants;
    }

    /// Remembers a file that could not be opened, as it was first seen, in case it is deleted before it can be opened.
    pub fn note_live(&mut self, live: Stat) {
        self.live.get_or_insert(live);
    }

    pub fn was_written_to(&mut self) {
        self.has_unread = true;
    }

    /// Whether the live name now stands for another file, or the file has another size.
    pub fn is_other(&self, now: Option<Stat>) -> bool {
        let same = |before: Stat, now: Stat| (before.inode(), before.size) == (now.inode(), now.size);
        self.live.is_some_and(|before| !now.is_some_and(|now| same(before, now)))
    }
}
