//! What a name stands for whose inode is not known: a file that is read on, one that was read, or a new one.

use crate::checkpoint::FileCheckpoint;
use crate::identity::FileId;

use super::listing::Names;
use super::register::Register;
use super::same::{Content, Same, Seen};
use super::{Held, Listed};

/// A file that was opened under a name of the log.
#[derive(Clone, Copy, Debug)]
pub struct Appeared<'a> {
    pub entry: &'a Listed,
    /// As the open file says.
    pub size: u64,
    /// As the open file says.
    pub mtime_ns: i64,
    /// Its first bytes, unpacked, as many as a fingerprint may cover.
    pub head: &'a [u8],
    /// It was live, and its first line was waited for.
    pub waited: bool,
    pub now_ns: i64,
    /// How long the writer of a file that was renamed may still write to it.
    pub grace_ns: i64,
}

/// What it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// A new file, with the id of its first line: it is read from its first byte.
    New(FileId),
    /// The file at this place of [`Register::resume`]: it is read on.
    Resumed(usize),
    /// The file at this place of [`Register::resume`]: it was read to its end, and still is.
    Finished(usize),
    /// The file at this place of [`Register::done`]: it has more than what was read.
    Grown(usize),
    /// A file that is read, or was, under another name.
    Read(FileId),
    /// A live file whose first line is not whole yet: which file it is will be known soon.
    Unnamed,
    /// It may still be written, or a copy that is being made: it is looked at again.
    NotYet,
    /// It was there before the log was begun: nobody asked for it.
    NotOurs,
}

impl Appeared<'_> {
    /// What the name stands for.
    pub fn stands_for(
        &self,
        names: Names<'_>,
        register: &Register,
        held: &[Held],
        content: &impl Content,
    ) -> Stands {
        let Appeared { entry, head, size, .. } = *self;
        let is_recent = self.now_ns - self.mtime_ns < self.grace_ns;
        let begun = |known: &FileCheckpoint| (known.dev, known.ino) == entry.inode && self.continues(known);
        let id = match FileId::of_head(head) {
            Some(id) => id,
            // (What was sent of it without an end is not sent again.)
            None if entry.live && register.resume().iter().any(begun) => FileId::of_whole(head),
            None if entry.live => return Stands::Unnamed,
            None if head.is_empty() => return Stands::Read(FileId::of_whole(head)),
            // What was just renamed is still written to.
            None if !entry.packed && is_recent => return Stands::NotYet,
            // It ended before its first line did.
            None => FileId::of_whole(head),
        };
        let same = |known: &FileCheckpoint| {
            (known.dev, known.ino) == entry.inode
                && (known.file == id || register.is_generation(id, known.file) || self.continues(known))
        };
        // One inode may have been several files, one after the other: the last counts.
        if let Some(at) = register.resume().iter().rposition(same) {
            return self.resumed(register, at);
        }
        let is_grown = |done: &FileCheckpoint| same(done) && !entry.packed && size > done.size;
        if let Some(at) = register.done().iter().rposition(is_grown) {
            return Stands::Grown(at);
        }
        if !names.plain {
            // The first line of a container's file has a time in it: a file with this line is known, under another name.
            if register.has(id, held) {
                return Stands::Read(id);
            }
            return match register.resume().iter().position(|resume| resume.file == id) {
                Some(at) => self.resumed(register, at),
                None => Stands::New(id),
            };
        }
        let line_bytes = head.iter().position(|byte| *byte == b'\n').map_or(head.len(), |at| at + 1) as u64;
        let seen = Seen { entry, size, of_line: id, line_bytes, content };
        match seen.find_same(register, held) {
            Some(Same::Resume(at)) => return self.resumed(register, at),
            Some(Same::Held(id)) if !entry.live => return Stands::Read(id),
            Some(Same::Done(at)) if !entry.live => {
                let done = &register.done()[at];
                let has_more = !entry.packed && size > done.size;
                return if has_more { Stands::Grown(at) } else { Stands::Read(done.file) };
            }
            // (A live file that only begins as one that is known was written again.)
            _ => {}
        }
        if !entry.live {
            // It was only looked at because a part of it may have been the log's.
            if !self.waited && register.since_ns().is_some_and(|since| entry.mtime_ns <= since) {
                return Stands::NotOurs;
            }
            // What begins as one that is known may be a copy that is being made.
            if register.has_begun_with(id) && is_recent {
                return Stands::NotYet;
            }
        }
        Stands::New(id)
    }

    fn resumed(&self, register: &Register, at: usize) -> Stands {
        let resume = &register.resume()[at];
        if resume.done && (self.entry.packed || self.size <= resume.size) {
            Stands::Finished(at)
        } else {
            Stands::Resumed(at)
        }
    }

    /// Whether the file was known before its first line had an end: by all that was in it.
    fn continues(&self, known: &FileCheckpoint) -> bool {
        let whole = usize::try_from(known.position).ok().and_then(|position| self.head.get(..position));
        whole.is_some_and(|whole| !whole.is_empty() && FileId::of_whole(whole) == known.file)
    }
}
