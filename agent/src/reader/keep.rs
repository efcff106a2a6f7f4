//! Decides when the checkpoint is written: at an interval while something changes, and before an unfinished record is sent.

use std::time::Duration;

use super::logs::Logs;
use super::shared::Shared;
use crate::checkpoint::Writer;

/// How long the sending of unfinished records waits for the checkpoint to be on the disk.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(5);

pub(super) struct Keeper {
    writer: Writer,
    /// When the next checkpoint is due, milliseconds on the monotonic clock.
    due_ms: i64,
}

impl Keeper {
    pub fn new(writer: Writer) -> Keeper {
        Keeper { writer, due_ms: 0 }
    }

    /// When the checkpoint is due, milliseconds on the monotonic clock; never (`i64::MAX`) while nothing has changed.
    pub fn due_ms(&self, logs: &Logs) -> i64 {
        if logs.has_changed() { self.due_ms } else { i64::MAX }
    }

    pub fn keep_if_due(&mut self, logs: &mut Logs, shared: &mut Shared) {
        let now_ms = shared.clock().mono_ms;
        if logs.has_changed() && now_ms >= self.due_ms {
            self.due_ms = now_ms + shared.config().read.checkpoint_interval_ms as i64;
            self.writer.put(logs.take_checkpoint().encode());
        }
        let (written, errors) = self.writer.counts();
        shared.count_checkpoints(written, errors);
    }

    /// Writes the checkpoint before unfinished records are sent, so that the next process knows where they were cut.
    pub fn keep_cuts(&self, logs: &Logs, shared: &mut Shared) {
        if !shared.ship().waits_for_checkpoint() {
            return;
        }
        if !self.writer.put_and_wait(logs.checkpoint(false).encode(), CHECKPOINT_WAIT) {
            tracing::warn!("writing the checkpoint takes too long: records are sent without waiting for it");
        }
        shared.checkpoint_is_kept();
    }

    /// Writes the last checkpoint. `clean`: everything that was sent is acknowledged.
    pub fn finish(self, logs: &Logs, clean: bool) -> std::io::Result<()> {
        self.writer.finish(&logs.checkpoint(clean).encode())
    }
}
