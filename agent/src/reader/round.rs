//! Runs one round of reading: each active log gets a turn while there is room. Also handles the sink's answers.
//! Promises: bytes that are read and not acknowledged stay within their bound. No log has a second turn before every other log has had
//! one, however little room there is. When unfinished records take more than half of the room, the one that began first is continued
//! first; the other logs do not wait for its end.

use super::beat::{Beat, Due};
use super::folders::Folders;
use super::logs::Logs;
use super::order::{Order, READ_ON};
use super::room::{Room, flush};
use super::shared::Shared;
use crate::clock::Clock;
use crate::config::Config;
use crate::container_log::Step;
use crate::turn::CHUNK_BYTES;

/// The most chunks that a log is read in one turn.
const TURN_CHUNKS: usize = 4;
/// A log that was not written to for so long waits for inotify, milliseconds.
const IDLE_MS: i64 = 2_000;
/// A read buffer that has grown beyond this for a long line is not kept.
const BUFFER_BYTES_KEPT: usize = 4 << 20;
/// Pause before reading again after the sink refused a batch, milliseconds.
const RESET_PAUSE_MS: i64 = 1_000;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnEnd {
    /// There is more to read.
    More,
    /// Nothing more to read now.
    Drained,
    /// There may be more to read, but there is no room for it.
    NoRoom,
    /// The log may not be read now: it is not due, or it waits for its owner or for descriptors, or its long unfinished record has the extra turn.
    Waits,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    end: TurnEnd,
    /// Something was read. A log that then found no more room has had its turn.
    took: bool,
}

impl Outcome {
    fn nothing(end: TurnEnd) -> Outcome {
        Outcome { end, took: false }
    }
}

pub(super) struct Rounds {
    room: Room,
    order: Order,
    beat: Beat,
    /// Whether the last round had logs that do not wait for the beat.
    is_off_beat: bool,
    buffer: Vec<u8>,
    /// Nothing is read until then, because the sink refused a batch; milliseconds on the monotonic clock.
    paused_until_ms: i64,
}

impl Rounds {
    pub fn new(room: Room, config: &Config) -> Rounds {
        let beat = Beat::new(config.read.poll_interval_ms as i64, config.batch.linger_ms as i64);
        let order = Order::default();
        Rounds { room, order, beat, is_off_beat: false, buffer: Vec::new(), paused_until_ms: 0 }
    }

    /// When the next round begins if nothing is to be read before, milliseconds on the monotonic clock.
    pub fn next_ms(&self, poll_ms: i64, now_ms: i64) -> i64 {
        let beat_ms = self.beat.next_ms(now_ms);
        if self.is_off_beat { beat_ms.min(now_ms + poll_ms) } else { beat_ms }
    }

    /// Notes which batches are acknowledged. If one was refused, everything that is not acknowledged is read and sent again.
    pub fn take_answers(&mut self, logs: &mut Logs, shared: &mut Shared) {
        let answered = shared.answers(|ticket, sent| {
            logs.set_changed();
            if let Some(log) = logs.get_mut(sent.log) {
                log.acknowledged(ticket, sent);
            }
        });
        let Err(reason) = answered else { return };
        tracing::error!(
            reason,
            "a batch was refused; the agent reads and sends again everything that is not acknowledged"
        );
        shared.send_again(logs);
        let pause_ms = RESET_PAUSE_MS.min(20 * shared.config().read.poll_interval_ms as i64);
        self.paused_until_ms = shared.clock().mono_ms + pause_ms;
    }

    /// Gives each active log its turn. True: there is more to read, and room for it.
    pub fn read(&mut self, logs: &mut Logs, folders: &mut Folders, shared: &mut Shared) -> bool {
        self.room.bound_unfinished(logs, shared);
        let due = self.beat.begin_round(shared.clock().mono_ms);
        self.is_off_beat = false;
        let (mut more, mut blocked_at, mut cut_short) = (false, None, false);
        for id in self.order.of(logs.active()) {
            let outcome = if id == READ_ON {
                self.read_on_unfinished(logs, shared)
            } else {
                self.turn_of(id, due, logs, folders, shared)
            };
            more |= outcome.end == TurnEnd::More;
            if outcome.end == TurnEnd::NoRoom && blocked_at.is_none() {
                // The next round begins with the first log that found no room at all, or behind the first that found too little.
                blocked_at = Some((id, outcome.took));
            }
            // New level rules do not wait for the end of a long round: it ends here, and the next one begins behind this log.
            if shared.have_rules_changed() {
                self.order.begin_behind(id);
                cut_short = true;
                break;
            }
        }
        if self.room.is_crowded(shared.ship().open_bytes()) {
            // Many streams with small batches take much of the room together: cut them all.
            let mut turn = shared.turn();
            logs.iter_mut().for_each(|log| log.cut_all(&mut turn));
        }
        match blocked_at {
            Some((log, true)) => self.order.begin_behind(log),
            Some((log, false)) => self.order.begin_at(log),
            None => {}
        }
        cut_short || (more && self.room.has_room(logs, shared))
    }

    /// Gives one log its turn, if it is due, and cuts its batch, if that is due.
    fn turn_of(
        &mut self,
        id: u64,
        due: Due,
        logs: &mut Logs,
        folders: &mut Folders,
        shared: &mut Shared,
    ) -> Outcome {
        let nothing = Outcome::nothing(TurnEnd::Waits);
        let Some(log) = logs.get_mut(id) else {
            logs.rest(id);
            return nothing;
        };
        if log.pace.is_busy() && !due.look {
            return nothing;
        }
        let outcome = self.read_in_turn(id, logs, shared);
        if let Some(log) = logs.get_mut(id) {
            // (After reading, so that new records go into the same batch.)
            log.cut_due(due.cut, &mut shared.turn());
            let (is_drained, now_ms) = (outcome.end == TurnEnd::Drained, shared.clock().mono_ms);
            log.pace.looked(outcome.took, is_drained, now_ms, self.beat.busy_ms());
            self.is_off_beat |= !log.pace.is_busy();
        }
        // A log that found no room has not seen the end of its files: it may not rest, however long it waits.
        if outcome.end == TurnEnd::Drained {
            rest_if_idle(id, logs, folders, shared.clock());
        }
        outcome
    }

    fn read_in_turn(&mut self, id: u64, logs: &mut Logs, shared: &mut Shared) -> Outcome {
        let nothing = Outcome::nothing(TurnEnd::Waits);
        let Some(log) = logs.get_mut(id) else { return nothing };
        let mut turn = shared.turn();
        let mut is_named = false;
        if log.files().has_unnamed() {
            match log.name_unnamed(&mut turn) {
                Ok(named) => is_named = named,
                Err(error) => tracing::warn!(log = log.id().key(), %error, "read log file"),
            }
        }
        // (The owner may depend on the time of the first line.)
        let is_known = log.owner.is_known();
        let yields = is_known && {
            log.keep_what_must_be_read();
            log.yields()
        };
        if yields {
            log.cut_all(&mut turn);
        }
        if is_named {
            logs.set_changed();
        }
        if !is_known || yields {
            return nothing;
        }
        if self.room.is_crowded(logs.unfinished().bytes()) {
            self.take_crowded_turn(id, logs, shared)
        } else {
            self.read_chunks(id, TURN_CHUNKS, CHUNK_BYTES, logs, shared)
        }
    }

    /// Reads up to `chunks` chunks of a log whose owner is known.
    fn read_chunks(
        &mut self,
        id: u64,
        chunks: usize,
        chunk_bytes: usize,
        logs: &mut Logs,
        shared: &mut Shared,
    ) -> Outcome {
        let mut outcome = Outcome::nothing(TurnEnd::Drained);
        if !logs.get(id).is_some_and(|log| log.owner.is_known() && !log.yields()) {
            return outcome;
        }
        // Batches that are cut and not handed over yet must not count against the room.
        shared.send_much();
        let paused = shared.clock().mono_ms < self.paused_until_ms;
        for _ in 0..chunks {
            if paused || !self.room.has_room(logs, shared) {
                return Outcome { end: TurnEnd::NoRoom, ..outcome };
            }
            let Some(log) = logs.get_mut(id) else { return outcome };
            let read_before = log.meter.bytes_read();
            let mut turn = shared.turn().in_chunks_of(chunk_bytes);
            let step = log.step(&mut self.buffer, &mut turn);
            outcome.took |= log.meter.bytes_read() > read_before;
            if let Err(error) = &step {
                turn.tally.file_errors += 1;
                tracing::warn!(log = log.id().key(), %error, "read log file");
            }
            logs.note_unfinished(id);
            match step {
                Ok(Step::More) => {}
                Ok(Step::Idle | Step::Ended) => return outcome,
                Err(_) => return Outcome { end: TurnEnd::Failed, ..outcome },
            }
            shared.send_much();
        }
        Outcome { end: TurnEnd::More, ..outcome }
    }

    /// A turn while unfinished records take more than half of the room: a few lines, and only of logs without a long unfinished record.
    /// (Those are continued one after the other by [`Rounds::read_on_unfinished`].)
    fn take_crowded_turn(&mut self, id: u64, logs: &mut Logs, shared: &mut Shared) -> Outcome {
        let turn_bytes = self.room.crowded_turn_bytes();
        if logs.unfinished().of(id) >= turn_bytes {
            return Outcome::nothing(TurnEnd::Waits);
        }
        if self.room.is_overcrowded(logs.unfinished().bytes()) {
            return Outcome::nothing(TurnEnd::NoRoom);
        }
        self.read_chunks(id, 1, turn_bytes, logs, shared)
    }

    /// Continues the unfinished record that began first. If many long records were read at once, none would reach its end before the room
    /// is full. This is one turn in each round, like that of a log. A record whose end does not come in time is sent as it is.
    fn read_on_unfinished(&mut self, logs: &mut Logs, shared: &mut Shared) -> Outcome {
        let mut outcome = Outcome::nothing(TurnEnd::Drained);
        for id in logs.unfinished().oldest_first() {
            if !self.room.is_crowded(logs.unfinished().bytes()) {
                return outcome;
            }
            outcome = self.read_chunks(id, TURN_CHUNKS, CHUNK_BYTES, logs, shared);
            match outcome.end {
                TurnEnd::More | TurnEnd::NoRoom => return outcome,
                TurnEnd::Drained | TurnEnd::Waits | TurnEnd::Failed => {}
            }
            let now_ms = shared.clock().mono_ms;
            let idle_ms = logs.get(id).map_or(i64::MAX, |log| now_ms - log.meter.last_data_ms());
            if idle_ms > self.room.unfinished_ms() {
                flush(id, logs, shared);
            }
        }
        outcome
    }

    /// Sends the last line of a log even without a newline, because nothing follows it.
    pub fn take_unended(&mut self, id: u64, logs: &mut Logs, shared: &mut Shared) {
        let Some(log) = logs.get_mut(id) else { return };
        if let Err(error) = log.take_unended(&mut self.buffer, &mut shared.turn()) {
            shared.count_file_error();
            tracing::warn!(log = log.id().key(), %error, "read log file");
        }
    }

    /// Frees a buffer that a long line has made large.
    pub fn free_buffer(&mut self) {
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
    }
}

fn rest_if_idle(id: u64, logs: &mut Logs, folders: &mut Folders, clock: Clock) {
    let Some(log) = logs.get_mut(id) else { return };
    if clock.mono_ms - log.meter.last_data_ms() <= IDLE_MS || !log.may_rest() {
        return;
    }
    // The watch is set before the size is looked at, so that one of the two notices every write.
    if let Some(file) = log.files().resting_handle() {
        folders.watch_file(file, id);
    }
    let grew = log.files().grew_meanwhile();
    logs.rest(id);
    if grew {
        logs.data_came(id, clock);
    }
}
