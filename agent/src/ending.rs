//! How the agent ends: what it has read goes out, and where nobody writes any more, also what has no end yet.
//! Promises: a later start goes on behind what went; the rest of such a line is then a record of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cordwood_core::limits::RECORD_BYTES_MAX;
use tokio_util::sync::CancellationToken;

use crate::reader::Reader;
use crate::run::{CHUNK_BYTES, Clock, Run, Settings, Step};
use crate::ship::Shipper;
use crate::tail::Chunk;
use crate::telemetry::Tally;

/// The way to end an agent from outside.
#[derive(Clone, Debug)]
pub struct Ending {
    pub(crate) shutdown: CancellationToken,
    nothing_follows: Arc<AtomicBool>,
}

impl Ending {
    /// Nobody writes any more: before it ends, the agent takes what files hold behind their last line end, and records whose
    /// ends did not come.
    pub fn end_with_all(&self) {
        self.nothing_follows.store(true, Ordering::SeqCst);
        self.shutdown.cancel();
    }
}

impl From<CancellationToken> for Ending {
    fn from(shutdown: CancellationToken) -> Ending {
        Ending { shutdown, nothing_follows: Arc::default() }
    }
}

impl Reader {
    /// What has no end goes as it is, if nothing follows it.
    pub(crate) fn take_unended(&mut self, clock: Clock) {
        if !self.ending.nothing_follows.load(Ordering::SeqCst) {
            return;
        }
        let settings = Settings::new(&self.config, &self.ship);
        for run in self.runs.values_mut() {
            let taken = run.take_unended(&mut self.buffer, &settings, &mut self.ship, &mut self.tally, clock);
            if let Err(error) = taken {
                self.tally.file_errors += 1;
                tracing::warn!(run = run.key, %error, "read log file");
            }
        }
    }
}

impl Run {
    fn take_unended(
        &mut self,
        buffer: &mut Vec<u8>,
        settings: &Settings<'_>,
        ship: &mut Shipper,
        tally: &mut Tally,
        clock: Clock,
    ) -> io::Result<()> {
        if self.context.is_none() {
            return Ok(());
        }
        if self.unnamed.is_some() {
            // Its first line will not become whole.
            self.gone_at_ms.get_or_insert(clock.mono_ms);
            self.name_unnamed(clock)?;
        }
        while self.step(buffer, settings, ship, tally, clock)? == Step::More {}
        let Some(index) = self.files.iter().position(|file| file.finished_at_ms.is_none()) else {
            return Ok(());
        };
        let mut max = CHUNK_BYTES;
        while let Chunk::Bytes(range) = self.files[index].read(buffer, max)? {
            if range.len() < max || max > RECORD_BYTES_MAX {
                let rest = buffer[range].to_vec();
                self.end_line(index, &rest, settings, ship, tally, clock);
                break;
            }
            max = (max * 4).min(RECORD_BYTES_MAX + 1);
        }
        self.flush_unfinished(settings, ship, tally, clock);
        Ok(())
    }
}
