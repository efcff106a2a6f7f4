//! The room that bytes take which were read and not acknowledged, and records whose ends were not read yet.
//! Promises: where such records take more than half of the room, the one that began first is read on first; nobody waits
//! until it has ended, and where room would run out the longest goes unfinished.

use cordwood_core::pipeline::Pipeline;

use super::Reader;
use super::round::{Outcome, TurnEnd};
use crate::turn::{Clock, Turn};

/// Bytes that a run is read in one turn while records that wait for their ends crowd the room. More than a runtime's longest
/// line, so that a whole one is among them.
const CROWDED_TURN_BYTES_MAX: usize = 32 << 10;
/// Where unfinished records take too much room, an end that did not come for so long is not waited for. (A disk may keep whoever
/// writes it waiting for some seconds; the others are read meanwhile.)
const UNFINISHED_MS: i64 = 5_000;

impl Reader {
    pub fn has_room(&self) -> bool {
        !self.ship.is_stalled() && self.held_bytes() < self.config.read.memory_bytes_max
    }

    /// Bytes read and not acknowledged.
    pub fn held_bytes(&self) -> usize {
        self.ship.held_bytes() + self.unfinished.bytes()
    }

    /// Whether unfinished records take more than half of the room.
    pub(crate) fn is_crowded(&self) -> bool {
        self.unfinished.bytes() > self.config.read.memory_bytes_max / 2
    }

    fn crowded_turn_bytes(&self) -> usize {
        CROWDED_TURN_BYTES_MAX.min(self.config.read.memory_bytes_max / 16)
    }

    /// Whether unfinished records leave so little room that nobody could be read a few more lines.
    fn is_overcrowded(&self) -> bool {
        self.unfinished.bytes() + self.crowded_turn_bytes() > self.config.read.memory_bytes_max / 4 * 3
    }

    /// (What rotated away is not left for its successor, where the record may go on, before its time of grace is over.)
    fn unfinished_ms(&self) -> i64 {
        let grace_ms = i64::try_from(self.config.read.rotation_grace_ms).unwrap_or(i64::MAX);
        UNFINISHED_MS.max(grace_ms.saturating_mul(2))
    }

    /// What was sent or flushed since the last look.
    fn count_unfinished(&mut self) {
        let begun: Vec<u64> = self.unfinished.runs().chain(self.active.iter().copied()).collect();
        for id in begun {
            match self.runs.get(&id) {
                Some(run) => self.unfinished.note(id, run.pipeline()),
                None => self.unfinished.note(id, &Pipeline::new()),
            }
        }
    }

    /// The unfinished records of a run go as they are; what follows of them is a record of its own.
    fn flush(&mut self, id: u64, clock: Clock) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let mut turn = Turn::new(&self.config, &mut self.ship, &mut self.tally, clock);
        run.flush_unfinished(&mut turn);
        self.unfinished.note(id, run.pipeline());
    }

    /// Records whose ends do not come may not use up the room that all others need: the longest goes unfinished. So does
    /// one that holds as much as a record may: all that follows of it would be cut off.
    pub(crate) fn bound_unfinished(&mut self, clock: Clock) {
        self.count_unfinished();
        if self.is_crowded() {
            for id in self.unfinished.oldest_first() {
                if self.runs.get(&id).is_some_and(|run| run.pipeline().is_full()) {
                    self.flush(id, clock);
                }
            }
        }
        for _ in 0..=self.unfinished.count() {
            if !self.is_overcrowded() {
                return;
            }
            let Some(id) = self.unfinished.longest() else { return };
            self.flush(id, clock);
        }
    }

    /// Where many long records are begun at once, none would be read to its end before the room is gone: the one that began
    /// first is read on. It has one turn for this in each round, as everybody has one. An end that does not come is not
    /// waited for.
    pub(crate) fn read_on_unfinished(&mut self, clock: Clock) -> Outcome {
        let mut turn = Outcome { end: TurnEnd::Drained, took: false };
        for id in self.unfinished.oldest_first() {
            if !self.is_crowded() {
                return turn;
            }
            turn = self.take_turn(id, clock);
            match turn.end {
                TurnEnd::More | TurnEnd::NoRoom => return turn,
                TurnEnd::Drained | TurnEnd::Waits | TurnEnd::Failed => {}
            }
            let idle_ms = self.runs.get(&id).map_or(i64::MAX, |run| clock.mono_ms - run.meter.last_data_ms());
            if idle_ms > self.unfinished_ms() {
                self.flush(id, clock);
            }
        }
        turn
    }

    /// A turn in the crowded room: a few lines, of whoever has no long record begun. (Those are read on one after the other.)
    pub(crate) fn take_crowded_turn(&mut self, id: u64, clock: Clock) -> Outcome {
        if self.unfinished.of(id) >= self.crowded_turn_bytes() {
            return Outcome { end: TurnEnd::Waits, took: false };
        }
        if self.is_overcrowded() {
            return Outcome { end: TurnEnd::NoRoom, took: false };
        }
        self.read_chunks(id, 1, self.crowded_turn_bytes(), clock)
    }
}
