//! What is known of a log's files that are not open: which inodes the last look found, which files are read to their ends, which
//! are to be read on, and which ids were given.
//! Promise: an id is given to one file only. Watermarks are kept by ids: an id that is given again would make new lines look
//! like old ones.

use std::collections::HashMap;

use crate::checkpoint::FileCheckpoint;
use crate::identity::FileId;

use super::{Held, Inode, Listed};

/// First lines that are remembered of a log: of files that begin with a header it is one, else one per file.
const GENERATIONS_MAX: usize = 256;
/// Finished files of a plain log that are remembered though they are gone.
const DONE_MAX: usize = 32;
/// Files that began with one line, one after the other, that are gone through in search of one.
const GENERATIONS_OF_A_LINE_MAX: usize = 100_000;

/// What an inode was seen to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub id: FileId,
    pub size: u64,
    pub mtime_ns: i64,
}

/// What a name stands for without a look into its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// The file at this place among those that are held.
    Held(usize),
    /// What it stood for at the last look; nothing was written to it since.
    AsBefore(Known),
    /// Its file is to be opened.
    Unknown,
}

/// What is known of a log's files beside those that are open.
#[derive(Clone, Debug, Default)]
pub struct Register {
    known: HashMap<Inode, Known>,
    /// Finished files that are still on disk, oldest first.
    done: Vec<FileCheckpoint>,
    /// Files to be read on that are not open: of the checkpoint, or closed because others needed their descriptors.
    resume: Vec<FileCheckpoint>,
    /// Of files that began with the same line, one after the other: (the id of that line, the id of the last such file).
    generations: Vec<(FileId, FileId)>,
    since_ns: Option<i64>,
}

impl Register {
    /// As the checkpoint has it.
    pub fn new(
        resume: Vec<FileCheckpoint>,
        generations: Vec<(FileId, FileId)>,
        since_ns: Option<i64>,
    ) -> Register {
        Register { resume, generations, since_ns, ..Register::default() }
    }

    /// Files that are read to their ends, oldest first.
    pub fn done(&self) -> &[FileCheckpoint] {
        &self.done
    }

    /// Files that are to be read on, and are not open.
    pub fn resume(&self) -> &[FileCheckpoint] {
        &self.resume
    }

    pub fn generations(&self) -> &[(FileId, FileId)] {
        &self.generations
    }

    /// Plain files that were written to later than this are the log's.
    pub fn since_ns(&self) -> Option<i64> {
        self.since_ns
    }

    pub(super) fn begins_at(&mut self, since_ns: i64) {
        self.since_ns = Some(since_ns);
    }

    /// Nothing of the log was read before.
    pub(super) fn is_new(&self) -> bool {
        self.resume.is_empty() && self.generations.is_empty()
    }

    /// Some file is to be read on that was not read to its end.
    pub fn has_unread(&self) -> bool {
        self.resume.iter().any(|file| !file.done)
    }

    /// Finished files, and those that are to be read on.
    pub fn remembered(&self) -> impl Iterator<Item = &FileCheckpoint> {
        self.done.iter().chain(&self.resume)
    }

    pub fn is_remembered(&self, inode: Inode) -> bool {
        self.remembered().any(|file| (file.dev, file.ino) == inode)
    }

    pub fn remembers(&self, id: FileId) -> bool {
        self.remembered().any(|file| file.file == id)
    }

    pub fn has_finished(&self, id: FileId) -> bool {
        self.done.iter().any(|file| file.file == id)
    }

    /// The last look found this inode.
    pub fn knows(&self, inode: Inode) -> bool {
        self.known.contains_key(&inode)
    }

    /// The last look found a file with this id.
    pub fn knows_id(&self, id: FileId) -> bool {
        self.known.values().any(|known| known.id == id)
    }

    /// What a name stands for, as far as its inode says. `open`: the inodes of the held files that are open. (While a file is open
    /// its inode cannot stand for another.)
    pub fn glance(&self, entry: &Listed, open: impl IntoIterator<Item = Option<Inode>>) -> Glance {
        if let Some(at) = open.into_iter().position(|inode| inode == Some(entry.inode)) {
            return Glance::Held(at);
        }
        let before = self.known.get(&entry.inode);
        match before.filter(|before| (before.size, before.mtime_ns) == (entry.size, entry.mtime_ns)) {
            Some(before) => Glance::AsBefore(*before),
            None => Glance::Unknown,
        }
    }

    /// The id for a file that is read from its first byte: that of its first line, unless another file began with the same line.
    /// `held`: the ids of open files.
    pub fn unused_id(&mut self, of_line: FileId, plain: bool, held: impl Fn(FileId) -> bool) -> FileId {
        let at = self.generations.iter().position(|(line, _)| *line == of_line);
        let last = at.map(|at| self.generations.remove(at).1);
        let mut id = last.map_or(of_line, FileId::successor);
        while held(id) || self.remembers(id) {
            id = id.successor();
        }
        if plain || id != of_line {
            // The ones that were used last stay.
            self.generations.push((of_line, id));
            let over = self.generations.len().saturating_sub(GENERATIONS_MAX);
            self.generations.drain(..over);
        }
        id
    }

    /// Whether `id` is of a file that begins with the line of `of_line`, as [`Register::unused_id`] gave it.
    pub fn is_generation(&self, of_line: FileId, id: FileId) -> bool {
        let Some((_, last)) = self.generations.iter().find(|(line, _)| *line == of_line) else {
            return false;
        };
        let chain = std::iter::successors(Some(of_line), |id| Some(id.successor()).filter(|_| id != last));
        chain.take(GENERATIONS_OF_A_LINE_MAX).any(|generation| generation == id)
    }

    /// Some file began with this line before.
    pub fn has_begun_with(&self, of_line: FileId) -> bool {
        self.generations.iter().any(|(line, _)| *line == of_line)
    }

    /// What the look that is over found.
    pub fn set_known(&mut self, known: HashMap<Inode, Known>) {
        self.known = known;
    }

    /// A file whose inode is known from now on.
    pub fn note(&mut self, inode: Inode, known: Known) {
        self.known.insert(inode, known);
    }

    /// A file that is read on at this place of [`Register::resume`].
    pub fn take_resumed(&mut self, at: usize) -> FileCheckpoint {
        self.resume.remove(at)
    }

    /// A finished file (its place in [`Register::done`]) that has more to read.
    pub fn take_grown(&mut self, at: usize) -> FileCheckpoint {
        FileCheckpoint { done: false, ..self.done.remove(at) }
    }

    /// The file at this place of [`Register::resume`] was read to its end, and still is.
    pub fn finish_resumed(&mut self, at: usize) -> FileId {
        let done = self.resume.remove(at);
        let id = done.file;
        self.done.push(done);
        id
    }

    /// A file that was read to its end leaves the open ones. `size`, `mtime_ns`: as it is now.
    pub fn finish(&mut self, file: FileCheckpoint, size: u64, mtime_ns: i64) {
        if let Some(known) = self.known.get_mut(&(file.dev, file.ino)) {
            *known = Known { id: file.file, size, mtime_ns };
        }
        self.done.push(file);
    }

    /// Open files are closed, and found again as those of the life before are.
    pub fn close(&mut self, here: Vec<FileCheckpoint>, nameless_and_done: Vec<FileCheckpoint>) {
        // (The packed copy of what has no name may be still to come.)
        self.done.extend(nameless_and_done);
        for file in &here {
            self.known.remove(&(file.dev, file.ino));
        }
        self.resume.extend(here);
    }

    /// An open file is closed: a packed copy of it, which the last look found, is read on instead.
    pub fn read_on_in_copy(&mut self, file: FileCheckpoint) {
        self.known.retain(|_, known| known.id != file.file);
        self.resume.push(file);
    }

    /// All that there is was looked at: finished files that are gone are forgotten. (A packed copy of a plain file may come a
    /// while after the file has gone.)
    pub fn forget_gone(&mut self, plain: bool) {
        let over = self.done.len().saturating_sub(DONE_MAX);
        let mut place = 0;
        let known = &self.known;
        self.done.retain(|done| {
            place += 1;
            known.values().any(|known| known.id == done.file) || (plain && place > over)
        });
    }

    /// The folder is gone.
    pub fn forget_names(&mut self) {
        self.known.clear();
        self.done.clear();
    }

    /// What was to be read on and was not found.
    pub fn take_missing(&mut self) -> Vec<FileCheckpoint> {
        std::mem::take(&mut self.resume)
    }

    /// Whether a file with this id is being read, or was.
    pub fn has(&self, id: FileId, held: &[Held]) -> bool {
        held.iter().any(|file| file.id == id) || self.has_finished(id)
    }
}
