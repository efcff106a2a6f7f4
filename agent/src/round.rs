//! One round of reading: each active run gets its turn, as far as there is room.
//! Promises: what is read and not acknowledged stays within its bound; whoever found no room is the first to have some.

use crate::reader::Reader;
use crate::run::{Clock, Run, Settings, Step};

/// Chunks that a file may be read in one turn.
const TURN_CHUNKS: usize = 4;
/// A file that got nothing for so long is left to inotify.
const IDLE_MS: i64 = 2_000;

/// Where unfinished records take too much room, an end that did not come for so long is not waited for.
const UNFINISHED_MS: i64 = 1_000;

/// How a run's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There is more to read.
    More,
    AtEnd,
    NoRoom,
    Failed,
}

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

    /// Whether unfinished records take more than half of the room.
    fn is_crowded(&self) -> bool {
        self.unfinished_bytes > self.config.read.memory_bytes_max / 2
    }

    /// Where many long records are begun at once, none would be read to its end before the room is gone: the longest is
    /// read on first, and the others wait. True: there is more of one. An end that does not come is not waited for.
    fn read_on_unfinished(&mut self, clock: Clock) -> bool {
        if !self.is_crowded() {
            return false;
        }
        let begun = |(id, run): (&u64, &Run)| (run.pipeline.held_bytes(), *id);
        let mut begun: Vec<(usize, u64)> =
            self.runs.iter().map(begun).filter(|(bytes, _)| *bytes > 0).collect();
        begun.sort_unstable_by(|a, b| b.cmp(a));
        for (_, id) in begun {
            match self.take_turn(id, clock) {
                Turn::More => return true,
                Turn::NoRoom => return false,
                Turn::AtEnd | Turn::Failed => {}
            }
            let Some(run) = self.runs.get_mut(&id) else { continue };
            if clock.mono_ms - run.last_data_ms > UNFINISHED_MS {
                let settings = Settings::new(&self.config, &self.ship);
                run.flush_unfinished(&settings, &mut self.ship, &mut self.tally, clock);
                self.unfinished_bytes = self.runs.values().map(|run| run.pipeline.held_bytes()).sum();
            }
            if !self.is_crowded() {
                return false;
            }
        }
        false
    }

    /// Reads a few chunks of a run that has its context.
    fn take_turn(&mut self, id: u64, clock: Clock) -> Turn {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.context.is_some()) else {
            return Turn::AtEnd;
        };
        // What was cut before, of this run or the last, is no reason to find no room.
        self.ship.send(&mut self.tally);
        let settings = Settings::new(&self.config, &self.ship);
        let paused = clock.mono_ms < self.paused_until_ms;
        for _ in 0..TURN_CHUNKS {
            let held_bytes = self.ship.held_bytes() + self.unfinished_bytes;
            if paused || self.ship.is_stalled() || held_bytes >= self.config.read.memory_bytes_max {
                return Turn::NoRoom;
            }
            let unfinished_before = run.pipeline.held_bytes();
            let step = run.step(&mut self.buffer, &settings, &mut self.ship, &mut self.tally, clock);
            self.unfinished_bytes += run.pipeline.held_bytes();
            self.unfinished_bytes -= unfinished_before;
            match step {
                Ok(Step::More) => {}
                Ok(Step::Idle | Step::Ended) => return Turn::AtEnd,
                Err(error) => {
                    self.tally.file_errors += 1;
                    tracing::warn!(run = run.key, %error, "read log file");
                    return Turn::Failed;
                }
            }
            self.ship.send(&mut self.tally);
        }
        Turn::More
    }

    /// Gives each active run its turn. True: there is more to read and room for it.
    pub fn read_round(&mut self, clock: Clock) -> bool {
        self.bound_unfinished(clock);
        if self.read_on_unfinished(clock) {
            return true;
        }
        let memory_bytes_max = self.config.read.memory_bytes_max;
        let (mut more, mut blocked_at, mut cut_short) = (false, None, false);
        let ids: Vec<u64> =
            self.active.range(self.turn..).chain(self.active.range(..self.turn)).copied().collect();
        for id in ids {
            let settings = Settings::new(&self.config, &self.ship);
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
            let turn = self.take_turn(id, clock);
            more |= turn == Turn::More;
            if turn == Turn::NoRoom {
                blocked_at.get_or_insert(id);
            }
            // Whoever found no room has not seen its files' end: such a run may not rest, however long it waits.
            let at_end = turn == Turn::AtEnd;
            let Some(run) = self.runs.get_mut(&id) else { continue };
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
            // New rules do not wait for a round over many files, nor do records that wait for their ends: it is cut short,
            // and goes on here.
            if self.rules.has_changed().unwrap_or(false) || (turn == Turn::More && self.is_crowded()) {
                self.turn = id;
                cut_short = true;
                break;
            }
        }
        let settings = Settings::new(&self.config, &self.ship);
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
        cut_short || (more && blocked_at.is_none())
    }
}
