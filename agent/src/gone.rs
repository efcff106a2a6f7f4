//! Files of which nothing can be read any more: those that went while the agent was away, and archives that are broken.
//! Promises: each becomes a loss, once.

use std::io;

use cordwood_core::batch::LossRange;
use cordwood_core::checkpoint::FileCheckpoint;
use cordwood_core::identity::FileId;
use cordwood_core::log_names::older_suffix;

use crate::folder::Stat;
use crate::parked::GONE_WHILE_CLOSED;
use crate::rotation::Entry;
use crate::run::Run;
use crate::tail::{Bytes, LogFile};
use crate::turn::Turn;

/// Whether a packed file cannot be unpacked, as opposed to: cannot be opened.
pub fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

impl Run {
    /// What the checkpoint knows and the disk does not hold any more.
    pub fn missing(&mut self, turn: &mut Turn<'_>) {
        for resume in std::mem::take(&mut self.resume) {
            if self.was_all_read() {
                continue;
            }
            let reason = match self.parked {
                Some(_) => GONE_WHILE_CLOSED,
                None => "rotated away or deleted while the agent was away",
            };
            let Some(loss) = resume.lost_when_gone(reason) else { continue };
            turn.tally.files_vanished += 1;
            self.lose_whole(resume, loss, turn);
        }
    }

    /// An archive of which not even the beginning can be unpacked. Gives the id under which it is known from now on.
    pub fn broken_archive(
        &mut self,
        entry: &Entry,
        error: &io::Error,
        is_lost: bool,
        turn: &mut Turn<'_>,
    ) -> FileId {
        let Stat { dev, ino, mtime_ns, .. } = entry.stat;
        let file = FileId::of_whole(format!("{dev} {ino} {mtime_ns}").as_bytes());
        turn.tally.file_errors += 1;
        tracing::warn!(run = self.key, file = entry.name, %error, "read packed log file");
        if is_lost {
            let name = entry.name.clone();
            let gone = FileCheckpoint { file, name, dev, ino, ..FileCheckpoint::default() };
            let reason = format!("it cannot be unpacked: {error}");
            self.lose_whole(gone, LossRange { from: 0, bytes: 0, exact: false, reason }, turn);
        }
        file
    }

    /// Whether a broken archive is what became of a file that is known, so that nothing of it is lost, or its loss is told
    /// as that file's.
    pub fn is_archive_of_ours(&self, entry: &Entry, entries: &[Entry], after_ours: bool) -> bool {
        let known = || self.done.iter().chain(&self.resume);
        if self.source.is_plain() {
            // Its name says nothing: others have had it before. It is that of ours which is there no more, if one is not.
            let is_here = |inode: (u64, u64)| entries.iter().any(|entry| entry.inode() == inode);
            return !after_ours
                || known().any(|file| !is_here((file.dev, file.ino)))
                || self.files.iter().any(|file| !is_here((file.dev, file.ino)));
        }
        let suffix = older_suffix(&self.live_name, &entry.name);
        let same = |name: &str| older_suffix(&self.live_name, name) == suffix;
        known().any(|file| same(&file.name)) || self.files.iter().any(|file| same(&file.name))
    }

    /// A file of which only the loss is left to tell.
    pub(crate) fn lose_whole(&mut self, gone: FileCheckpoint, loss: LossRange, turn: &mut Turn<'_>) {
        let stat =
            Stat { dev: gone.dev, ino: gone.ino, size: gone.size, mtime_ns: 0, regular: true, link: false };
        let (seq, format) = (self.take_seq(), self.format_of(b""));
        let mut ghost = LogFile::new(seq, gone.file, &gone.name, stat, Bytes::Gone, format);
        ghost.position = gone.size;
        ghost.size = gone.size;
        ghost.ends = gone.ends;
        ghost.acked_ends = gone.ends;
        ghost.key_before = gone.key_before;
        ghost.finished_at_ms = Some(turn.clock.mono_ms);
        self.files.push_front(ghost);
        self.lose(0, loss, turn);
    }
}
