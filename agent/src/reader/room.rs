//! Bounds the reader's memory: bytes that were read and are not acknowledged, and records whose ends were not read yet.
//! Promise: when unfinished records leave too little room, the longest one is sent without its end.

use super::logs::Logs;
use super::shared::Shared;
use crate::config::Config;

/// The most bytes that a log is read in one turn while unfinished records take more than half of the memory. More than a runtime's
/// longest line, so that a turn reads at least one whole line.
const CROWDED_TURN_BYTES_MAX: usize = 32 << 10;
/// How long the end of a record is waited for while unfinished records take too much room, milliseconds. (A slow disk may delay the
/// program that writes the record by some seconds; other logs are read meanwhile.)
const UNFINISHED_MS: i64 = 5_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// `read.memory_bytes_max`.
    bytes_max: usize,
    /// `read.rotation_grace_ms`.
    grace_ms: i64,
}

impl Room {
    pub fn new(config: &Config) -> Room {
        let grace_ms = i64::try_from(config.read.rotation_grace_ms).unwrap_or(i64::MAX);
        Room { bytes_max: config.read.memory_bytes_max, grace_ms }
    }

    pub fn is_full(self, held_bytes: usize) -> bool {
        held_bytes >= self.bytes_max
    }

    /// Whether anything more may be read.
    pub fn has_room(self, logs: &Logs, shared: &Shared) -> bool {
        !shared.ship().is_stalled() && !self.is_full(shared.held_bytes(logs))
    }

    /// Whether `bytes` are more than half of the room.
    pub fn is_crowded(self, bytes: usize) -> bool {
        bytes > self.bytes_max / 2
    }

    /// Whether unfinished records leave too little room for a few more lines of another log.
    pub fn is_overcrowded(self, unfinished_bytes: usize) -> bool {
        unfinished_bytes + self.crowded_turn_bytes() > self.bytes_max / 4 * 3
    }

    pub fn crowded_turn_bytes(self) -> usize {
        CROWDED_TURN_BYTES_MAX.min(self.bytes_max / 16)
    }

    /// How long the end of a record is waited for in a crowded room, milliseconds: at least twice the rotation grace, because the record
    /// may continue in the next file, which is only read after that grace.
    pub fn unfinished_ms(self) -> i64 {
        UNFINISHED_MS.max(self.grace_ms.saturating_mul(2))
    }

    /// Sends unfinished records so that they do not use up the room of all other logs: those that have reached a record's largest size,
    /// because everything that follows would be cut off, and then the longest ones.
    pub fn bound_unfinished(self, logs: &mut Logs, shared: &mut Shared) {
        logs.note_all_unfinished();
        if self.is_crowded(logs.unfinished().bytes()) {
            for id in logs.unfinished().oldest_first() {
                if logs.get(id).is_some_and(|log| log.pipeline().is_full()) {
                    flush(id, logs, shared);
                }
            }
        }
        for _ in 0..=logs.unfinished().count() {
            if !self.is_overcrowded(logs.unfinished().bytes()) {
                return;
            }
            let Some(id) = logs.unfinished().longest() else { return };
            flush(id, logs, shared);
        }
    }
}

/// Sends the unfinished records of a log as they are. What follows of them becomes a record of its own.
pub(super) fn flush(id: u64, logs: &mut Logs, shared: &mut Shared) {
    let Some(log) = logs.get_mut(id) else { return };
    log.flush_unfinished(&mut shared.turn());
    logs.note_unfinished(id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_full_the_room_is_by_the_bytes_that_are_held() {
        let room = Room { bytes_max: 1 << 20, grace_ms: 1_000 };
        assert_eq!(room.crowded_turn_bytes(), 32 << 10, "a runtime's longest line and more");
        let full = |kib: usize| {
            let bytes = kib << 10;
            (room.is_crowded(bytes), room.is_overcrowded(bytes), room.is_full(bytes))
        };
        assert_eq!(full(512), (false, false, false));
        assert_eq!(full(513), (true, false, false));
        assert_eq!(full(736), (true, false, false), "one more turn fits into three quarters");
        assert_eq!(full(737), (true, true, false));
        assert_eq!(full(1_024), (true, true, true));
        let small = Room { bytes_max: 64 << 10, grace_ms: 60_000 };
        assert_eq!(small.crowded_turn_bytes(), 4 << 10);
        assert_eq!((room.unfinished_ms(), small.unfinished_ms()), (5_000, 120_000), "twice the grace");
    }
}
