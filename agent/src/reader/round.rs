//! One round of reading: each active run gets its turn, as far as there is room.
//! Promises: what is read and not acknowledged stays within its bound; nobody has a second turn before everybody had one,
//! however little room there is and however much somebody has to read.

use super::Reader;
use super::order::READ_ON;
use crate::container_log::Step;
use crate::turn::{CHUNK_BYTES, Clock, Turn};

/// Chunks that a file may be read in one turn.
const TURN_CHUNKS: usize = 4;
/// A file that got nothing for so long is left to inotify.
const IDLE_MS: i64 = 2_000;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnEnd {
    /// There is more to read.
    More,
    /// Nothing more to read now.
    Drained,
    /// There may be more to read, and there is no room for it.
    NoRoom,
    /// A long record of it has begun, which is read on in its order.
    Waits,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub end: TurnEnd,
    /// Something was read: whoever found no room after that has had its turn.
    pub took: bool,
}

impl Reader {
    /// Reads a few chunks of a run that has its context.
    pub(crate) fn take_turn(&mut self, id: u64, clock: Clock) -> Outcome {
        self.read_chunks(id, TURN_CHUNKS, CHUNK_BYTES, clock)
    }

    pub(crate) fn read_chunks(
        &mut self,
        id: u64,
        chunks: usize,
        chunk_bytes: usize,
        clock: Clock,
    ) -> Outcome {
        let mut outcome = Outcome { end: TurnEnd::Drained, took: false };
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.owner.is_known() && !run.yields()) else {
            return outcome;
        };
        // What was cut before, of this run or the last, is no reason to find no room.
        self.ship.send(&mut self.tally);
        let mut turn =
            Turn::new(&self.config, &mut self.ship, &mut self.tally, clock).in_chunks_of(chunk_bytes);
        let paused = clock.mono_ms < self.paused_until_ms;
        for _ in 0..chunks {
            let held_bytes = turn.ship.held_bytes() + self.unfinished.bytes();
            if paused || turn.ship.is_stalled() || held_bytes >= self.config.read.memory_bytes_max {
                return Outcome { end: TurnEnd::NoRoom, ..outcome };
            }
            let read_before = run.meter.bytes_read();
            let step = run.step(&mut self.buffer, &mut turn);
            outcome.took |= run.meter.bytes_read() > read_before;
            self.unfinished.note(id, run.pipeline());
            match step {
                Ok(Step::More) => {}
                Ok(Step::Idle | Step::Ended) => return outcome,
                Err(error) => {
                    turn.tally.file_errors += 1;
                    tracing::warn!(run = run.id().key(), %error, "read log file");
                    return Outcome { end: TurnEnd::Failed, ..outcome };
                }
            }
            turn.ship.send(turn.tally);
        }
        Outcome { end: TurnEnd::More, ..outcome }
    }

    /// Gives each active run its turn. True: there is more to read and room for it.
    pub fn read_round(&mut self, clock: Clock) -> bool {
        self.bound_unfinished(clock);
        let memory_bytes_max = self.config.read.memory_bytes_max;
        let (mut more, mut blocked_at, mut cut_short) = (false, None, false);
        for id in self.order.of(&self.active) {
            let outcome =
                if id == READ_ON { self.read_on_unfinished(clock) } else { self.turn_of(id, clock) };
            more |= outcome.end == TurnEnd::More;
            if outcome.end == TurnEnd::NoRoom && blocked_at.is_none() {
                // The next round begins with the first log that found no room at all, or behind the first that found too little.
                blocked_at = Some((id, outcome.took));
            }
            // New rules do not wait for a round over many files: it is cut short, and goes on behind this one.
            if self.rules.has_changed().unwrap_or(false) {
                self.order.begin_behind(id);
                cut_short = true;
                break;
            }
        }
        let mut turn = Turn::new(&self.config, &mut self.ship, &mut self.tally, clock);
        if turn.ship.open_bytes * 2 > memory_bytes_max {
            // Many streams with little each: their batches may not use up the room that none of them fills.
            for run in self.runs.values_mut() {
                run.cut_all(&mut turn);
            }
        }
        match blocked_at {
            Some((log, true)) => self.order.begin_behind(log),
            Some((log, false)) => self.order.begin_at(log),
            None => {}
        }
        cut_short || (more && self.has_room())
    }

    /// One run's turn, and what is due of it.
    fn turn_of(&mut self, id: u64, clock: Clock) -> Outcome {
        let nothing = Outcome { end: TurnEnd::Waits, took: false };
        let mut turn = Turn::new(&self.config, &mut self.ship, &mut self.tally, clock);
        let Some(run) = self.runs.get_mut(&id) else {
            self.active.remove(&id);
            return nothing;
        };
        run.cut_due(&mut turn);
        if run.files().has_unnamed() {
            match run.name_unnamed(&mut turn) {
                Ok(named) => self.dirty |= named,
                Err(error) => tracing::warn!(run = run.id().key(), %error, "read log file"),
            }
        }
        // (Whose it is may be told by the time of its first line.)
        if !run.owner.is_known() {
            return nothing;
        }
        run.keep_what_must_be_read();
        if run.yields() {
            run.cut_all(&mut turn);
            return nothing;
        }
        let outcome =
            if self.is_crowded() { self.take_crowded_turn(id, clock) } else { self.take_turn(id, clock) };
        // Whoever found no room has not seen its files' end: such a run may not rest, however long it waits.
        let Some(run) = self.runs.get_mut(&id).filter(|_| outcome.end == TurnEnd::Drained) else {
            return outcome;
        };
        if clock.mono_ms - run.meter.last_data_ms() > IDLE_MS && run.may_rest() {
            self.active.remove(&id);
            if let Some(file) = run.files().resting_handle() {
                let _ = self.discover.watch_file(file, id);
            }
            if run.files().grew_meanwhile() {
                run.meter.data_came(clock.mono_ms);
                self.active.insert(id);
            }
        }
        outcome
    }
}
