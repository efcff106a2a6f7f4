//! Files of which nothing can be read any more: those that went while the agent was away, and archives that are broken.
//! Promises: each becomes a loss, once.

use std::io;

use cordwood_core::batch::LossRange;
use cordwood_core::checkpoint::FileCheckpoint;
use cordwood_core::identity::FileId;
use cordwood_core::rotation::Listed;
use cordwood_core::rotation::gone::{id_of_unread, never_read};

use crate::closed::GONE_WHILE_CLOSED;
use crate::container_log::ContainerLog;
use crate::folder::Stat;
use crate::tail::{Bytes, LogFile};
use crate::turn::Turn;

/// Whether a packed file cannot be unpacked, as opposed to: cannot be opened.
pub fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

impl ContainerLog {
    /// What the checkpoint knows and the disk does not hold any more.
    pub fn missing(&mut self, turn: &mut Turn<'_>) {
        for resume in self.register.take_missing() {
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
        entry: &Listed,
        error: &io::Error,
        is_lost: bool,
        turn: &mut Turn<'_>,
    ) -> FileId {
        let file = id_of_unread(entry.inode, entry.mtime_ns);
        turn.tally.file_errors += 1;
        tracing::warn!(run = self.key, log_file = entry.name, %error, "read packed log file");
        if is_lost {
            let gone = never_read(file, &entry.name, entry.inode);
            let reason = format!("it cannot be unpacked: {error}");
            self.lose_whole(gone, LossRange { from: 0, bytes: 0, exact: false, reason }, turn);
        }
        file
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
