//! How far one log is acknowledged: the positions that the checkpoint may hold.
//! Promise: the position of a file never passes an open batch, a batch in flight, or an unfinished record.

use cordwood_core::checkpoint::FileCheckpoint;

use crate::files::Files;
use crate::log_file::LogFile;
use crate::reading::Reading;

/// The files of a log beside what is read of them and not finished.
#[derive(Clone, Copy)]
pub struct Progress<'a> {
    files: &'a Files,
    reading: &'a Reading,
}

impl<'a> Progress<'a> {
    pub fn new(files: &'a Files, reading: &'a Reading) -> Progress<'a> {
        Progress { files, reading }
    }

    /// Where reading would have to begin again in each file.
    pub fn positions(self) -> Vec<u64> {
        self.files.iter().map(|file| self.position(file)).collect()
    }

    /// Where reading would have to begin again in this file.
    pub fn position(self, file: &LogFile) -> u64 {
        let position = self.position_alone(file);
        // If the beginning of its first record is read again, its end must be too: else the next record would get it. (A file
        // that only continues an earlier one needs no check of its own: the earlier file is held back already.)
        let mut before = self.files.iter().take_while(|other| other.seq() != file.seq());
        let is_behind = |other: &LogFile| self.position_alone(other) < other.tail.position();
        if position > 0 && file.continues() && before.any(is_behind) {
            return 0;
        }
        position
    }

    /// The same as far as what lies in this file says.
    fn position_alone(self, file: &LogFile) -> u64 {
        let losses = self.files.losses_of(file.seq()).map(|loss| loss.from);
        let held = losses.chain(self.reading.held_from(file.seq())).min();
        file.acknowledged_position(held.unwrap_or(u64::MAX))
    }

    /// Whether all that was read of this file is safe.
    pub fn is_settled(self, file: &LogFile) -> bool {
        file.delivery.is_all_acknowledged()
            && self.position(file) == file.tail.position()
            && self.files.losses_of(file.seq()).next().is_none()
    }

    /// What the checkpoint says of this file.
    pub fn checkpoint_of(self, file: &LogFile) -> FileCheckpoint {
        let done = (file.stage.is_finished() || file.is_over()) && self.is_settled(file);
        file.checkpoint(self.position(file), done)
    }

    /// What the checkpoint says of all files.
    pub fn checkpoint(self) -> Vec<FileCheckpoint> {
        let mut files: Vec<FileCheckpoint> = self.files.register().remembered().cloned().collect();
        files.extend(self.files.iter().map(|file| self.checkpoint_of(file)));
        files
    }
}
