//! The files of one log: which are open, oldest first, and what is known of those that are not.
//! Promises: the files are one sequence, older before newer; bytes that can no longer be read stay here as a loss until the loss
//! record is sent. [`rotation`] updates the files after each look at the folder.

pub mod rotation;

use std::collections::VecDeque;
use std::fs::File;
use std::ops::{Index, IndexMut};

use cordwood_core::batch::LossRange;
use cordwood_core::checkpoint::{FileCheckpoint, LogCheckpoint};
use cordwood_core::identity::FileId;
use cordwood_core::rotation::sequence::superseded_at_ms;
use cordwood_core::rotation::{Held, Register};

use crate::clock::Clock;
use crate::closed::Closed;
use crate::folder::{Stat, is_unlinked, stat_of};
use crate::log_file::LogFile;

/// The files of one log.
#[derive(Default)]
pub struct Files {
    /// Open files, oldest first.
    open: VecDeque<LogFile>,
    /// What is known of its files beside those that are open.
    register: Register,
    /// A hash of the log's names and of what they stood for, at the last complete look.
    mark: Option<u64>,
    symlink_warned: bool,
    /// The live file, while its first line is not complete.
    unnamed: Option<(String, File)>,
    last_seq: u64,
    /// When the agent saw that the folder is gone.
    gone_at_ms: Option<i64>,
    /// Set while the files are closed, or were never opened, because other logs needed the descriptors; until the next complete look.
    closed: Option<Closed>,
    /// Losses that are not sent yet, by file.
    losses: Vec<(u64, LossRange)>,
}

impl Index<usize> for Files {
    type Output = LogFile;

    fn index(&self, index: usize) -> &LogFile {
        &self.open[index]
    }
}

impl IndexMut<usize> for Files {
    fn index_mut(&mut self, index: usize) -> &mut LogFile {
        &mut self.open[index]
    }
}

impl Files {
    /// The files that the checkpoint knows.
    pub fn resume(&mut self, before: LogCheckpoint) {
        self.register = Register::new(before.files, before.generations, before.since_ns);
    }

    // ---- those that are open -----------------------------------------------------------------------------------------

    pub fn iter(&self) -> impl Iterator<Item = &LogFile> {
        self.open.iter()
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn newest(&self) -> Option<&LogFile> {
        self.open.back()
    }

    /// The first file that is not read to its end.
    pub fn first_unfinished(&self) -> Option<usize> {
        self.open.iter().position(|file| !file.stage.is_finished())
    }

    pub fn find(&self, seq: u64) -> Option<usize> {
        self.open.iter().position(|file| file.seq() == seq)
    }

    /// The number that a file got last.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    fn take_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    fn held(&self) -> Vec<Held> {
        self.open.iter().map(LogFile::held).collect()
    }

    /// Whether a file with this id is being read, or was.
    fn has(&self, id: FileId) -> bool {
        self.is_open(id) || self.register.has_finished(id)
    }

    fn is_open(&self, id: FileId) -> bool {
        self.open.iter().any(|file| file.id() == id)
    }

    /// The id for a file that is read from its first byte.
    fn unused_id(&mut self, of_line: FileId, plain: bool) -> FileId {
        let Files { open, register, .. } = self;
        register.unused_id(of_line, plain, |id| open.iter().any(|file| file.id() == id))
    }

    /// Notes that every file but the newest has a successor, so that it ends soon.
    fn supersede(&mut self, clock: Clock) {
        let newest_is_elsewhere = self.unnamed.is_some();
        let count = self.open.len();
        for (index, file) in self.open.iter_mut().enumerate() {
            if (index + 1 < count || newest_is_elsewhere) && file.stage.superseded_at_ms().is_none() {
                let mtime_ns = file.tail.stat().ok().map(|stat| stat.mtime_ns);
                file.stage.supersede(superseded_at_ms(clock.mono_ms, clock.wall_ns, mtime_ns));
            }
        }
    }

    /// Continues a file that was read to its end and has grown since.
    pub fn read_on_if_grown(&mut self, index: usize) -> bool {
        let file = &mut self.open[index];
        let has_grown =
            !file.tail.is_packed() && file.tail.stat().is_ok_and(|stat| stat.size > file.tail.position());
        if has_grown {
            file.stage.read_on();
        }
        has_grown
    }

    /// Closes a file that is read to its end and acknowledged.
    pub fn leave(&mut self, index: usize) {
        let Some(file) = self.open.remove(index) else { return };
        if let Ok(Stat { size, mtime_ns, dev, ino, .. }) = file.tail.stat() {
            let position = file.tail.position();
            let seen = file.tail.size_seen().max(position);
            let done = FileCheckpoint { dev, ino, size: seen, ..file.checkpoint(position, true) };
            self.register.finish(done, size, mtime_ns);
        }
    }

    /// Closes a deleted file that is held open and continues in its packed copy, if there is one. `as_read`: what the checkpoint says.
    pub fn read_on_in_copy(&mut self, index: usize, as_read: FileCheckpoint) {
        self.register.read_on_in_copy(as_read);
        self.open.remove(index);
    }

    pub fn is_known_by_name(&self, index: usize) -> bool {
        self.register.knows_id(self.open[index].id())
    }

    /// Reads each file again from its position here.
    pub fn go_back(&mut self, positions: &[u64]) {
        for (file, position) in self.open.iter_mut().zip(positions.iter().copied()) {
            if !file.tail.is_there() {
                // The file cannot be read again: the bytes that were being sent are lost, or the loss is sent again.
                if !file.delivery.is_all_acknowledged() {
                    let bytes = file.tail.size_seen().saturating_sub(position);
                    let reason = "gone before it was acknowledged".to_owned();
                    self.losses.push((file.seq(), LossRange { from: position, bytes, exact: false, reason }));
                }
                file.delivery.forget_outstanding();
                continue;
            }
            if let Err(error) = file.go_back(position) {
                tracing::warn!(log_file = file.name, position, %error, "go back in file");
            }
        }
    }

    // ---- their sizes -------------------------------------------------------------------------------------------------

    /// Bytes on the disk that are not read yet, as far as sizes are known.
    pub fn lag_bytes(&self) -> u64 {
        let readable = self.open.iter().filter(|file| file.tail.is_there());
        let closed = u64::from(self.is_closed_with_unread());
        readable.map(|file| file.tail.known_size().saturating_sub(file.tail.position())).sum::<u64>() + closed
    }

    /// Reads the sizes on the disk.
    pub fn look_at_sizes(&mut self) {
        self.open.iter_mut().for_each(|file| file.tail.look_at_size());
    }

    /// Files that only we still hold, with bytes that were not read: (index, bytes on disk). (One that was read to its end
    /// is closed by itself; its process may still write to it.)
    pub fn held_removed(&self) -> impl Iterator<Item = (usize, u64)> {
        let held = self.open.iter().enumerate().filter(|(_, file)| {
            file.stage.is_removed()
                && !file.stage.is_finished()
                && file.delivery.is_all_acknowledged()
                && file.tail.known_size() > file.tail.position()
        });
        held.map(|(index, file)| (index, file.tail.known_size()))
    }

    /// The file to watch while the log is idle.
    pub fn resting_handle(&self) -> Option<&File> {
        match &self.unnamed {
            Some((_, handle)) => Some(handle),
            None => self.open.back()?.tail.plain(),
        }
    }

    /// Whether something was written between the last look and the watch.
    pub fn grew_meanwhile(&self) -> bool {
        match (&self.unnamed, self.open.back()) {
            (Some((_, handle)), _) => stat_of(handle).is_ok_and(|stat| stat.size > 0),
            (None, Some(LogFile { tail, .. })) => {
                !tail.is_packed() && tail.stat().is_ok_and(|stat| stat.size != tail.size_seen())
            }
            (None, None) => false,
        }
    }

    /// The newest file has its name, and nothing was written to it since it was read.
    pub fn is_newest_as_read(&self) -> bool {
        let as_read = |file: &LogFile| file.tail.stat().is_ok_and(|stat| stat.size == file.tail.size_seen());
        self.unnamed.is_none() && self.open.back().is_some_and(as_read)
    }

    // ---- what the last look at the folder found ----------------------------------------------------------------------

    /// When the agent saw that the folder, or everything in it, is gone.
    pub fn gone_at_ms(&self) -> Option<i64> {
        self.gone_at_ms
    }

    /// Whether there is a live file whose first line is not complete.
    pub fn has_unnamed(&self) -> bool {
        self.unnamed.is_some()
    }

    pub fn set_mark(&mut self, mark: Option<u64>) {
        self.mark = mark;
    }

    /// Whether a look at the names of a plain log can bring nothing new: they are the same, and stand for the one file that is
    /// held open (so that no other can have its inode).
    pub fn is_as_marked(&self, mark: u64) -> bool {
        if self.is_closed() && self.was_all_read() {
            return self.mark == Some(mark);
        }
        self.mark == Some(mark)
            && self.open.len() == 1
            && self.open.iter().all(|file| file.tail.plain().is_some() && !file.stage.is_removed())
            && self.register.resume().is_empty()
            && self.unnamed.is_none()
            && self.gone_at_ms.is_none()
    }

    /// Whether nothing of the log is left on the disk.
    pub fn is_over(&self) -> bool {
        self.gone_at_ms.is_some() && self.open.is_empty() && self.unnamed.is_none()
    }

    /// Whether no file is about to change its place in the sequence, its name or its end.
    pub fn is_settled(&self) -> bool {
        let settled = |file: &LogFile| {
            !file.stage.is_finished()
                && file.stage.superseded_at_ms().is_none()
                && !file.tail.is_changed()
                && !file.is_at_handover()
        };
        self.gone_at_ms.is_none() && self.open.iter().all(settled)
    }

    // ---- closed for want of descriptors ------------------------------------------------------------------------------

    /// How many descriptors the files take.
    pub fn descriptors(&self) -> usize {
        self.open.iter().filter(|file| file.tail.handle().is_some()).count()
            + usize::from(self.unnamed.is_some())
    }

    pub fn is_closed(&self) -> bool {
        self.closed.is_some() && self.descriptors() == 0
    }

    /// Whether the closed files were read to their ends and not written to since.
    pub fn was_all_read(&self) -> bool {
        self.closed.is_some_and(|closed| !closed.has_unread())
    }

    pub fn is_closed_with_unread(&self) -> bool {
        self.is_closed() && !self.was_all_read()
    }

    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    pub fn closed_mut(&mut self) -> Option<&mut Closed> {
        self.closed.as_mut()
    }

    /// Notes that the files wait for a descriptor. Returns true if they did not before.
    pub fn want_descriptor(&mut self) -> bool {
        self.closed.get_or_insert_with(Closed::never_opened).want()
    }

    /// Whether a file has lost its name, or another file has it, so that only the open descriptor leads to the file.
    pub fn has_nameless(&self, is_over: impl Fn(&LogFile) -> bool) -> bool {
        let must = |file: &LogFile| {
            let nameless = file.stage.is_removed() || file.tail.handle().is_some_and(is_unlinked);
            file.tail.is_changed() || (nameless && !is_over(file))
        };
        self.gone_at_ms.is_some()
            || self.open.iter().any(must)
            || self.unnamed.as_ref().is_some_and(|(_, handle)| is_unlinked(handle))
    }

    /// Closes the files. They are found again as after a restart of the agent. `checkpoint`: what it says of each file, by number.
    pub fn close(&mut self, has_unread: bool, checkpoint: Vec<(u64, FileCheckpoint)>) {
        let live = self.resting_handle().and_then(|handle| stat_of(handle).ok());
        let (mut here, mut over) = (Vec::new(), Vec::new());
        for (seq, known) in checkpoint {
            match self.find(seq).map(|index| &self.open[index]) {
                None => {}
                Some(file) if file.tail.handle().is_none() => {}
                // (Its packed copy may be still to come.)
                Some(file) if file.stage.is_removed() => over.extend(Some(known).filter(|known| known.done)),
                Some(_) => here.push(known),
            }
        }
        // (Of the life before it may know more files that are not found yet.)
        let has_unread =
            has_unread || self.register.has_unread() || self.closed.is_some_and(|closed| closed.has_unread());
        self.register.close(here, over);
        let is_unknown = self.unnamed.is_some();
        self.open.clear();
        self.unnamed = None;
        self.closed = Some(Closed::new(live, is_unknown, has_unread));
    }

    // ---- losses ------------------------------------------------------------------------------------------------------

    /// Notes that bytes of a file cannot be read any more.
    pub fn lose(&mut self, index: usize, loss: LossRange) {
        self.losses.push((self.open[index].seq(), loss));
    }

    pub fn has_losses(&self) -> bool {
        !self.losses.is_empty()
    }

    /// The losses that are not sent yet.
    pub fn losses_of(&self, seq: u64) -> impl Iterator<Item = &LossRange> {
        self.losses.iter().filter(move |(of, _)| *of == seq).map(|(_, loss)| loss)
    }

    /// Takes the losses to send them: (number of the file, what is lost).
    pub fn take_losses(&mut self) -> Vec<(u64, LossRange)> {
        std::mem::take(&mut self.losses)
    }

    // ---- for the checkpoint ------------------------------------------------------------------------------------------

    /// What is known of its files beside those that are open.
    pub fn register(&self) -> &Register {
        &self.register
    }
}
