//! Holds what every part of the reader uses: the clock, the settings, the shipper of batches, the counters, and the sources of owners and
//! level rules.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cordwood_core::levels::LevelRules;
use tokio::sync::watch;

use super::logs::Logs;
use crate::clock::Clock;
use crate::config::Config;
use crate::container_log::ContainerLog;
use crate::lookup::ContextSource;
use crate::owner::Answer;
use crate::ship::{Sent, Shipper};
use crate::telemetry::{Tally, Telemetry};
use crate::turn::Turn;

pub(super) struct Shared {
    started: Instant,
    clock: Clock,
    config: Config,
    context: ContextSource,
    context_generation: u64,
    rules: watch::Receiver<Arc<LevelRules>>,
    ship: Shipper,
    tally: Tally,
}

impl Shared {
    pub fn new(
        config: Config,
        context: ContextSource,
        rules: watch::Receiver<Arc<LevelRules>>,
        ship: Shipper,
        tally: Tally,
    ) -> Shared {
        let started = Instant::now();
        let clock = now(started);
        Shared { started, clock, config, context, context_generation: 0, rules, ship, tally }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The time at the last [`Shared::look_at_clock`].
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Milliseconds since the last [`Shared::look_at_clock`].
    pub fn elapsed_ms(&self) -> i64 {
        now(self.started).mono_ms - self.clock.mono_ms
    }

    /// Reads the clock.
    pub fn look_at_clock(&mut self) -> Clock {
        self.clock = now(self.started);
        self.clock
    }

    /// What one step of one log may use.
    pub fn turn(&mut self) -> Turn<'_> {
        Turn::new(&self.config, &mut self.ship, &mut self.tally, self.clock)
    }

    pub fn ship(&self) -> &Shipper {
        &self.ship
    }

    /// Hands cut batches over to the sink within a round, if there are many.
    pub fn send_much(&mut self) {
        self.ship.send_much(&mut self.tally, self.clock.mono_ms);
    }

    /// Hands cut batches over to the sink after a round, as many as it takes.
    pub fn send(&mut self) {
        self.ship.send(&mut self.tally, self.clock.mono_ms);
    }

    /// Calls `acknowledged` for each batch that was acknowledged since the last call.
    ///
    /// # Errors
    /// The sink refused a batch, for this reason. The caller must call [`Shared::send_again`].
    pub fn answers(&mut self, acknowledged: impl FnMut(u64, Sent)) -> Result<(), String> {
        self.ship.answers(&mut self.tally, acknowledged)
    }

    /// Goes back to the acknowledged position of every log, so that everything behind it is read and sent again.
    pub fn send_again(&mut self, logs: &mut Logs) {
        self.tally.producer_resets += 1;
        for log in logs.iter_mut() {
            log.go_back(&mut self.ship);
            log.meter.data_came(self.clock.mono_ms);
        }
        self.ship.reset();
        logs.activate_all();
    }

    /// Releases the batches that waited until the checkpoint was on the disk.
    pub fn checkpoint_is_kept(&mut self) {
        self.ship.checkpoint_is_kept();
    }

    /// Counts a file or folder that could not be opened or read.
    pub fn count_file_error(&mut self) {
        self.tally.file_errors += 1;
    }

    /// Counts files of the checkpoint that are gone.
    pub fn count_vanished(&mut self, files: usize) {
        self.tally.files_vanished += files as u64;
    }

    pub fn count_checkpoints(&mut self, written: u64, errors: u64) {
        self.tally.checkpoints += written;
        self.tally.checkpoint_errors += errors;
    }

    /// Counts an overflow of inotify's queue.
    pub fn count_overflow(&mut self) {
        self.tally.overflows += 1;
    }

    /// Whether anything was read, or a file ended, since the last [`Shared::report`].
    pub fn has_read(&self) -> bool {
        self.tally.read_bytes + self.tally.files_finished > 0
    }

    /// Adds what was counted since the last time to the metrics.
    pub fn report(&mut self, telemetry: &Telemetry) {
        telemetry.add(&mut self.tally);
    }

    /// Bytes read and not acknowledged.
    pub fn held_bytes(&self, logs: &Logs) -> usize {
        self.ship.held_bytes() + logs.unfinished().bytes()
    }

    /// How many namespaces name a tenant that they may not have.
    pub fn namespaces_refused(&self) -> usize {
        self.context.namespaces_refused()
    }

    /// Whether something new is known of owners since the last call.
    pub fn have_owners_changed(&mut self) -> bool {
        let generation = self.context.generation();
        std::mem::replace(&mut self.context_generation, generation) != generation
    }

    /// Asks for the owners of logs whose owner is not known; if something has `changed`, also for those of the others.
    pub fn ask_owners(&mut self, changed: bool, logs: &mut Logs) {
        let ids: Vec<u64> = if changed {
            // (The owner of a plain file does not change.)
            let asks = |log: &ContainerLog| !log.owner.is_known() || !log.source().is_plain();
            logs.iter().filter(|log| asks(log)).map(ContainerLog::number).collect()
        } else {
            logs.waiting().iter().copied().collect()
        };
        for id in ids {
            self.ask_owner(id, logs);
        }
    }

    pub fn ask_owner(&mut self, id: u64, logs: &mut Logs) {
        let Some(log) = logs.get_mut(id) else { return logs.waits_no_longer(id) };
        match log.ask_owner(&self.context, self.clock) {
            Answer::Same => logs.waits_no_longer(id),
            Answer::New(context) => {
                let mut turn = Turn::new(&self.config, &mut self.ship, &mut self.tally, self.clock);
                log.set_context(context, &self.rules.borrow(), &mut turn);
                logs.waits_no_longer(id);
                logs.data_came(id, self.clock);
            }
            Answer::Waits => {}
        }
    }

    pub fn have_rules_changed(&self) -> bool {
        self.rules.has_changed().unwrap_or(false)
    }

    /// Gives all logs the level rules in force. Returns the generation of the rules.
    pub fn pass_rules_on(&mut self, logs: &mut Logs) -> u64 {
        let rules = Arc::clone(&self.rules.borrow_and_update());
        for log in logs.iter_mut() {
            log.owner.take_rules(&rules);
        }
        rules.generation
    }
}

fn now(started: Instant) -> Clock {
    let mono_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let wall_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    Clock { mono_ms, wall_ns: i64::try_from(wall_ns).unwrap_or(i64::MAX) }
}
