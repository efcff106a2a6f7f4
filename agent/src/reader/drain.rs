//! How the agent ends: what it has read goes out, and where nobody writes any more, also what has no end yet.
//! Promises: a later start goes on behind what went; the rest of such a line is then a record of its own.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Reader;
use crate::turn::Turn;

impl Reader {
    /// SIGTERM: what was read goes out, and the checkpoint says how far that was acknowledged.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_millis(self.config.read.drain_ms);
        if self.ending.nothing_follows() {
            self.take_unended(deadline);
        } else {
            self.drain(deadline);
        }
        let left = self.ship.unanswered();
        self.telemetry.add(&mut self.tally);
        let bytes = self.make_checkpoint(left == 0).encode();
        tracing::info!(unacknowledged_batches = left, "stopped reading; the checkpoint is written");
        self.checkpoint.finish(&bytes)?;
        Ok(())
    }

    /// What has no end goes as it is, because nothing follows it; also of files that are closed, as many at once as may be open.
    fn take_unended(&mut self, deadline: Instant) {
        let mut closed = self.parked_with_unread();
        let mut ids: Vec<u64> = self.runs.keys().copied().collect();
        loop {
            let clock = self.clock();
            for id in ids {
                let Some(run) = self.runs.get_mut(&id) else { continue };
                let mut turn = Turn::new(&self.config, &mut self.ship, &mut self.tally, clock);
                let taken = run.take_unended(&mut self.buffer, &mut turn);
                if let Err(error) = taken {
                    self.tally.file_errors += 1;
                    tracing::warn!(run = run.id().key(), %error, "read log file");
                }
            }
            self.drain(deadline);
            ids = self.open_some_of(&mut closed);
            if ids.is_empty() || Instant::now() >= deadline {
                break;
            }
        }
        if !closed.is_empty() {
            tracing::warn!(
                runs = closed.len(),
                "not everything was read before the end; the next start reads it"
            );
        }
    }

    /// Sends what was read, and waits until it is acknowledged.
    fn drain(&mut self, deadline: Instant) {
        let clock = self.clock();
        let mut turn = Turn::new(&self.config, &mut self.ship, &mut self.tally, clock);
        for run in self.runs.values_mut() {
            run.cut_all(&mut turn);
        }
        self.keep_cuts();
        while self.ship.unanswered() > 0 && Instant::now() < deadline {
            self.ship.send(&mut self.tally);
            let runs = &mut self.runs;
            let answered = self.ship.answers(&mut self.tally, |ticket, sent| {
                if let Some(run) = runs.get_mut(&sent.run) {
                    run.acknowledged(ticket, sent);
                }
            });
            if let Err(reason) = answered {
                tracing::warn!(
                    reason,
                    "not everything was taken before the end; the next start sends it again"
                );
                break;
            }
            if self.ship.unanswered() > 0 {
                self.heartbeat.beat();
                if self.ship.await_answer(true) {
                    continue;
                }
                let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                let _ =
                    poll(&mut [PollFd::from_borrowed_fd(self.waker.as_fd(), PollFlags::IN)], Some(&timeout));
                self.waker.clear();
            }
        }
    }
}
