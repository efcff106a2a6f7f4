//! What one batch accounts for: a part of one output stream of one file. The agent creates batch headers here and nowhere else.

use std::sync::Arc;

use cordwood_core::batch::{BatchHeader, LossRange};
use cordwood_core::identity::{OutputStream, StreamKey};
use cordwood_core::origin::Origin;

use crate::log_file::LogFile;
use crate::log_id::LogId;
use crate::ship::OpenBatch;
use crate::turn::Turn;

/// One output of one file, as a batch of it is sent.
pub struct Account<'a> {
    pub log: &'a LogId,
    pub file: &'a mut LogFile,
    pub io: OutputStream,
    /// The stream's key of now.
    pub stream_key: &'a Arc<StreamKey>,
    pub origin: &'a Origin,
}

impl Account<'_> {
    /// The stream's key where the file is read to.
    pub fn key(&self) -> Arc<StreamKey> {
        let before = self.file.stream_key(self.log.source(), self.io);
        before.map_or_else(|| Arc::clone(self.stream_key), Arc::new)
    }

    /// Queues a batch. Gives the ticket under which its answer will come.
    pub fn send(self, batch: OpenBatch, loss: Option<LossRange>, turn: &mut Turn<'_>) -> u64 {
        let key = self.key();
        let (start, end) = (batch.first_start, batch.end);
        let header = BatchHeader {
            stream: (*key).clone(),
            io: self.io,
            file: self.file.id(),
            restart_count: self.log.source().restart_count(),
            prev: self.file.delivery.end(self.io),
            end,
            lines: batch.lines,
            bytes: batch.bytes,
            gated: batch.gated,
            limited: 0,
            rejected: 0,
            loss,
        };
        let number = self.log.number();
        let ticket = turn.ship.cut(number, batch, &key, &header, self.origin, turn.clock.wall_ns);
        self.file.delivery.cut(self.io, ticket, start, end);
        ticket
    }
}
