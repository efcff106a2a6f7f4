//! One round of reading: each active run gets its turn, as far as there is room.
//! Promises: what is read and not acknowledged stays within its bound; whoever found no room is the first to have some.

use crate::reader::Reader;
use crate::run::{Clock, Settings, Step};

/// Chunks that a file may be read in one turn.
const TURN_CHUNKS: usize = 4;
/// A file that got nothing for so long is left to inotify.
const IDLE_MS: i64 = 2_000;

impl Reader {
    pub fn has_room(&self) -> bool {
        !self.ship.is_stalled() && self.held_bytes() < self.config.read.memory_bytes_max
    }

    /// Bytes read and not acknowledged.
    pub fn held_bytes(&self) -> usize {
        self.ship.held_bytes() + self.unfinished_bytes
    }

    /// Records whose ends do not come may not use up the room that all others need: the longest goes unfinished, and what
    /// follows of it is a record of its own.
    fn bound_unfinished(&mut self, clock: Clock) {
        let settings = Settings::new(&self.config, &self.ship);
        for _ in 0..=self.runs.len() {
            self.unfinished_bytes = self.runs.values().map(|run| run.pipeline.held_bytes()).sum();
            if self.unfinished_bytes <= self.config.read.memory_bytes_max / 4 * 3 {
                return;
            }
            let Some(run) = self.runs.values_mut().max_by_key(|run| run.pipeline.held_bytes()) else {
                return;
            };
            run.flush_unfinished(&settings, &mut self.ship, &mut self.tally, clock);
        }
    }

    /// Gives each active run its turn. True: there is more to read and room for it.
    pub fn read_round(&mut self, clock: Clock) -> bool {
        self.bound_unfinished(clock);
        let settings = Settings::new(&self.config, &self.ship);
        let memory_bytes_max = self.config.read.memory_bytes_max;
        let paused = clock.mono_ms < self.paused_until_ms;
        let (mut more, mut blocked_at, mut new_rules) = (false, None, false);
        let ids: Vec<u64> =
            self.active.range(self.turn..).chain(self.active.range(..self.turn)).copied().collect();
        for id in ids {
            let Some(run) = self.runs.get_mut(&id) else {
                self.active.remove(&id);
                continue;
            };
            run.cut_due(&settings, &mut self.ship, &mut self.tally, clock);
            if run.unnamed.is_some() {
                match run.name_unnamed(clock) {
                    Ok(named) => self.dirty |= named,
                    Err(error) => tracing::warn!(run = run.key, %error, "read log file"),
                }
            }
            // (Whose it is may be told by the time of its first line.)
            if run.context.is_none() {
                continue;
            }
            // Whoever found no room has not seen its files' end: such a run may not rest, however long it waits.
            let mut at_end = false;
            for _ in 0..TURN_CHUNKS {
                let held_bytes = self.ship.held_bytes() + self.unfinished_bytes;
                if paused || self.ship.is_stalled() || held_bytes >= memory_bytes_max {
                    blocked_at.get_or_insert(id);
                    break;
                }
                let unfinished_before = run.pipeline.held_bytes();
                let step = run.step(&mut self.buffer, &settings, &mut self.ship, &mut self.tally, clock);
                self.unfinished_bytes += run.pipeline.held_bytes();
                self.unfinished_bytes -= unfinished_before;
                match step {
                    Ok(Step::More) => more = true,
                    Ok(Step::Idle | Step::Ended) => {
                        at_end = true;
                        break;
                    }
                    Err(error) => {
                        self.tally.file_errors += 1;
                        tracing::warn!(run = run.key, %error, "read log file");
                        break;
                    }
                }
                self.ship.send(&mut self.tally);
            }
            if at_end && clock.mono_ms - run.last_data_ms > IDLE_MS && run.may_rest() {
                self.active.remove(&id);
                if let Some(file) = run.resting_handle() {
                    self.discover.watch_file(file, id);
                }
                if run.grew_meanwhile() {
                    run.last_data_ms = clock.mono_ms;
                    self.active.insert(id);
                }
            }
            // New rules do not wait for a round over many files: it is cut short, and goes on here.
            if self.rules.has_changed().unwrap_or(false) {
                self.turn = id;
                new_rules = true;
                break;
            }
        }
        if self.ship.open_bytes * 2 > memory_bytes_max {
            // Many streams with little each: their batches may not use up the room that none of them fills.
            for run in self.runs.values_mut() {
                run.cut_all(&settings, &mut self.ship, &mut self.tally, clock);
            }
        }
        if let Some(id) = blocked_at {
            // Whoever found no room is the first to have some.
            self.turn = id;
        }
        new_rules || (more && blocked_at.is_none())
    }
}
