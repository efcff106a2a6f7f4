//! How far a run is safe: what acknowledgements allow the checkpoint to say, and the way back when they fail.
//! Promises: the position of a file passes nothing that is open, on its way or unfinished; going back and reading again
//! gives the same records at the same places.

use cordwood_core::batch::LossRange;
use cordwood_core::checkpoint::{FileCheckpoint, RunCheckpoint};
use cordwood_core::milestones::Milestones;
use cordwood_core::pipeline::Pipeline;

use crate::collect::OUTPUT_STREAMS;
use crate::container_log::ContainerLog;
use crate::ship::{Sent, Shipper};
use crate::tail::{Bytes, LogFile};
use crate::turn::Turn;

impl ContainerLog {
    pub fn acknowledged(&mut self, ticket: u64, sent: Sent) {
        self.batches.acknowledged(ticket);
        if let Some(file) = self.files.iter_mut().find(|file| file.seq == sent.file_seq) {
            file.acknowledge(sent.io, ticket);
        }
        if let Some(index) =
            self.files.iter().position(|file| file.seq == sent.file_seq && !file.cuts.is_empty())
        {
            let position = self.acknowledged_position(&self.files[index]);
            self.files[index].cuts.acknowledged(position);
        }
    }

    /// Where reading would have to begin again in this file.
    pub fn acknowledged_position(&self, file: &LogFile) -> u64 {
        let position = self.position_alone(file);
        // If the beginning of its first record is read again, its end must be too: else the next record would get it. (Of
        // files that only go back with an earlier one the earlier one is behind itself.)
        let mut before = self.files.iter().take_while(|other| other.seq != file.seq);
        if position > 0 && file.continues && before.any(|other| self.position_alone(other) < other.position) {
            return 0;
        }
        position
    }

    /// The same as far as what lies in this file says.
    fn position_alone(&self, file: &LogFile) -> u64 {
        let mut held = self.batches.held_from(file.seq).unwrap_or(u64::MAX);
        for io in OUTPUT_STREAMS {
            if self.current == Some(file.seq)
                && let Some(start) = self.pipeline.pending_start(io)
            {
                // A record that began in an earlier file holds this one back from where its part here begins.
                held = held.min(if self.batches.is_carried(io) { 0 } else { start });
            }
        }
        for (_, loss) in self.losses.iter().filter(|(seq, _)| *seq == file.seq) {
            held = held.min(loss.from);
        }
        file.acknowledged_position(held)
    }

    /// Whether all that was read of this file is safe.
    pub fn is_settled(&self, file: &LogFile) -> bool {
        file.is_all_acknowledged()
            && self.acknowledged_position(file) == file.position
            && !self.losses.iter().any(|(seq, _)| *seq == file.seq)
    }

    /// The file's stream goes on under the key of now, from its first position on: the writer knows nothing of it yet, and
    /// what lies before is accounted for under the key before. False: not all of that is acknowledged yet.
    pub fn hand_over(&mut self, index: usize, turn: &mut Turn<'_>) -> bool {
        self.cut_all(turn);
        if !self.is_settled(&self.files[index]) {
            return false;
        }
        let file = &mut self.files[index];
        file.key_before = None;
        file.ends = [0; 2];
        file.acked_ends = [0; 2];
        true
    }

    /// Everything that is not acknowledged is to be read again.
    pub fn go_back(&mut self, ship: &mut Shipper) {
        let positions: Vec<u64> = self.files.iter().map(|file| self.acknowledged_position(file)).collect();
        self.batches.discard(ship);
        self.pipeline = Pipeline::new();
        self.current = None;
        for (file, position) in self.files.iter_mut().zip(positions) {
            if matches!(file.bytes, Bytes::Gone) {
                // It cannot be read again: what was on its way is lost, or the loss is told again.
                if !file.is_all_acknowledged() {
                    let bytes = file.size.saturating_sub(position);
                    let reason = "gone before it was acknowledged".to_owned();
                    self.losses.push((file.seq, LossRange { from: position, bytes, exact: false, reason }));
                }
                file.forget_outstanding();
                continue;
            }
            if let Err(error) = file.go_back(position) {
                tracing::warn!(log_file = file.name, position, %error, "go back in file");
            }
        }
    }

    pub fn checkpoint(&self) -> RunCheckpoint {
        let mut files: Vec<FileCheckpoint> = self.register.remembered().cloned().collect();
        files.extend(self.files.iter().map(|file| self.checkpoint_of(file)));
        let (namespace, pod) = self.source.pod();
        RunCheckpoint {
            key: self.key.clone(),
            origin: self.owner.origin().cloned(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            files,
            generations: self.register.generations().to_vec(),
            since_ns: self.register.since_ns(),
        }
    }

    pub fn checkpoint_of(&self, file: &LogFile) -> FileCheckpoint {
        let position = self.acknowledged_position(file);
        let done = (file.finished_at_ms.is_some() || file.is_over()) && self.is_settled(file);
        FileCheckpoint {
            file: file.id,
            name: file.name.clone(),
            dev: file.dev,
            ino: file.ino,
            position,
            marker: file.marker_at(position),
            ends: file.acked_ends,
            size: file.largest_size().max(position),
            done,
            key_before: file.key_before.clone(),
            cuts: file.cuts.behind(position),
            milestones: if done { Milestones::default() } else { file.milestones.up_to(position) },
            ahead: (position < file.position && !file.is_gzip() && file.changed.is_none())
                .then(|| (file.position, file.last_marker())),
        }
    }

    /// Files that only we still hold, with bytes that were not read: (index, bytes on disk). (One that was read to its end
    /// is let go of by itself; its process may still write to it.)
    pub fn held_removed(&self) -> impl Iterator<Item = (usize, u64)> {
        let held = self.files.iter().enumerate().filter(|(_, file)| {
            file.is_removed()
                && file.finished_at_ms.is_none()
                && file.is_all_acknowledged()
                && file.known_size() > file.position
        });
        held.map(|(index, file)| (index, file.known_size()))
    }
}
