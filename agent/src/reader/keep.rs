//! When the checkpoint is written: some time after something has changed, and before a record is sent that goes unfinished.

use std::time::Duration;

use super::logs::Logs;
use super::shared::Shared;
use crate::checkpoint::Writer;

/// How long records that go unfinished wait for the disk.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(5);

pub(super) struct Keeper {
    writer: Writer,
    due_ms: i64,
}

impl Keeper {
    pub fn new(writer: Writer) -> Keeper {
        Keeper { writer, due_ms: 0 }
    }

    /// When the checkpoint is due (monotonic), if something has changed.
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
        shared.tally.checkpoints += written;
        shared.tally.checkpoint_errors += errors;
    }

    /// Where something went unfinished must be known to the next life before it is sent.
    pub fn keep_cuts(&self, logs: &Logs, shared: &mut Shared) {
        if !shared.ship.wait_for_checkpoint {
            return;
        }
        if !self.writer.put_and_wait(logs.checkpoint(false).encode(), CHECKPOINT_WAIT) {
            tracing::warn!("the checkpoint takes long: what follows is sent without waiting for it");
        }
        shared.ship.wait_for_checkpoint = false;
    }

    /// The last one. `clean`: nothing was sent that is not acknowledged.
    pub fn finish(self, logs: &Logs, clean: bool) -> std::io::Result<()> {
        self.writer.finish(&logs.checkpoint(clean).encode())
    }
}
