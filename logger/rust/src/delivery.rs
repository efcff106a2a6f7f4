//! From the threads of the application to the output: a buffer and one thread that empties it.
//! Promises: lines leave when the buffer is full or the oldest has waited long enough (50 of them or 5 s of itself), at once after an ERROR, a flush, an exit or a panic; a call never waits longer than
//! [`WAIT_MS_MAX`] for an output that stalls; what is dropped is counted by level and told by a record of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::fields::{Fields, Serialized};
use crate::level::Level;
use crate::output::Output;
use crate::room::{Dropped, Lines, Rank, Room};
use crate::settings::{Buffer, say};

/// How long the call that logs an ERROR waits for it to be written; once in vain, no call waits until the output moves again.
pub const WAIT_MS_MAX: u64 = 100;
/// How long an exit or a panic waits.
pub const EXIT_MS_MAX: u64 = 2_000;
/// Room for lines while the output stalls.
pub const ROOM_BYTES_MAX: usize = 8 << 20;

/// Makes the line that tells of dropped ones.
pub(crate) type TellDropped = Box<dyn Fn(&Fields, u64) -> Vec<u8> + Send>;
/// Something that is due at times: what is called, and when it wants to be called again.
pub(crate) type Chore = Box<dyn Fn(Instant) -> Option<Instant> + Send>;

#[derive(Debug)]
pub(crate) struct Delivery {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    buffer: Buffer,
    state: Mutex<State>,
    /// Work for the thread.
    work: Condvar,
    /// The thread has written something, or gives up.
    done: Condvar,
}

#[derive(Debug)]
struct State {
    room: Room,
    /// When the oldest waiting line came.
    since: Option<Instant>,
    /// Lines that were given, and those of them that have left or were dropped.
    given: u64,
    settled: u64,
    is_urgent: bool,
    /// Somebody has waited in vain.
    is_stalled: bool,
    /// The thread waits for work.
    is_idle: bool,
    is_closing: bool,
    /// The chores are to be looked at again.
    is_poked: bool,
    /// Lines that were given to an output that took no more.
    refused: Dropped,
}

impl Delivery {
    pub fn start(
        output: Output,
        buffer: Buffer,
        room_bytes: usize,
        tell: TellDropped,
        chore: Chore,
    ) -> std::io::Result<Delivery> {
        let state = State {
            room: Room::new(room_bytes),
            since: None,
            given: 0,
            settled: 0,
            is_urgent: false,
            is_stalled: false,
            is_idle: false,
            is_closing: false,
            is_poked: false,
            refused: Dropped::default(),
        };
        let shared =
            Arc::new(Shared { buffer, state: Mutex::new(state), work: Condvar::new(), done: Condvar::new() });
        let own = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("cordwood-logger".to_owned())
            .spawn(move || run(&own, output, &tell, &chore))?;
        Ok(Delivery { shared })
    }

    /// Takes a line in; an ERROR is waited for.
    pub fn give(&self, rank: Rank, line: &[u8]) {
        let mut state = self.shared.lock();
        state.room.push(rank, line);
        state.given += 1;
        let is_first = state.since.is_none();
        if is_first {
            state.since = Some(Instant::now());
        }
        state.is_urgent |= rank.is_urgent();
        if state.is_idle
            && (is_first || state.is_urgent || state.room.waiting().count() == self.shared.buffer.lines)
        {
            self.shared.work.notify_one();
        }
        if rank.is_urgent() && !state.is_stalled {
            let target = state.given;
            self.wait(state, target, Duration::from_millis(WAIT_MS_MAX));
        }
    }

    /// Writes what waits; whether all of it was written within the time.
    pub fn flush(&self, bound: Duration) -> bool {
        let mut state = self.shared.lock();
        state.is_urgent = true;
        self.shared.work.notify_one();
        let target = state.given;
        self.wait(state, target, bound)
    }

    /// Has the thread look at its chores again.
    pub fn poke(&self) {
        self.shared.lock().is_poked = true;
        self.shared.work.notify_one();
    }

    /// Lines that could not be written because the output is closed.
    pub fn refused(&self) -> Dropped {
        self.shared.lock().refused
    }

    /// Lines that wait.
    pub fn waiting(&self) -> u64 {
        let state = self.shared.lock();
        state.given - state.settled
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>, target: u64, bound: Duration) -> bool {
        let end = Instant::now() + bound;
        while state.settled < target {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.is_stalled = true;
                return false;
            }
            state = self.shared.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.flush(Duration::from_millis(EXIT_MS_MAX));
        self.shared.lock().is_closing = true;
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(shared: &Shared, mut output: Output, tell: &TellDropped, chore: &Chore) {
    let mut lines = Lines::default();
    let mut is_closed = false;
    loop {
        let (taken, dropped, until) = {
            let mut state = shared.lock();
            loop {
                let now = Instant::now();
                state.is_poked = false;
                drop(state);
                // (Without the lock: it may tell the application's threads.)
                let next_chore = chore(now);
                state = shared.lock();
                let due = state.since.map(|since| since + shared.buffer.wait);
                let is_full = state.room.waiting().count() >= shared.buffer.lines;
                if state.is_urgent || is_full || due.is_some_and(|due| due <= now) {
                    break;
                }
                if state.is_closing {
                    return;
                }
                if state.is_poked {
                    continue;
                }
                let next = [due, next_chore].into_iter().flatten().min();
                state.is_idle = true;
                state = match next {
                    None => shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                    Some(next) => {
                        let left = next.saturating_duration_since(now);
                        shared.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                };
                state.is_idle = false;
            }
            state.is_urgent = false;
            state.since = None;
            let (taken, dropped) = state.room.take(lines);
            (taken, dropped, state.given)
        };
        let mut refused = Dropped::default();
        if let Err(error) = write(&mut output, &taken, &dropped, tell, is_closed, &mut refused)
            && !is_closed
        {
            is_closed = true;
            say(&format!("the output takes no more lines, they are counted and dropped: {error}"));
        }
        lines = taken;
        let mut state = shared.lock();
        state.settled = until;
        state.is_stalled = false;
        state.refused.add_all(&refused);
        shared.done.notify_all();
    }
}

/// Writes what was taken, before it what tells of those that were dropped.
fn write(
    output: &mut Output,
    lines: &Lines,
    dropped: &Dropped,
    tell: &TellDropped,
    is_closed: bool,
    refused: &mut Dropped,
) -> std::io::Result<()> {
    if is_closed {
        refused.add_all(dropped);
        lines.pieces(usize::MAX).for_each(|(_, holds)| refused.add_all(&holds));
        return Ok(());
    }
    let mut pieces = Vec::new();
    let written = output.open().and_then(|mut open| {
        pieces = lines.pieces(open.piece_bytes).collect();
        pieces.reverse();
        if dropped.total() > 0
            && let Err(error) = open.write(&told(dropped, tell))
        {
            refused.add_all(dropped);
            return Err(error);
        }
        while let Some((piece, _)) = pieces.last() {
            open.write(piece)?;
            pieces.pop();
        }
        open.flush()
    });
    pieces.iter().for_each(|(_, holds)| refused.add_all(holds));
    written
}

fn told(dropped: &Dropped, tell: &TellDropped) -> Vec<u8> {
    let rows: BTreeMap<_, _> = dropped.rows().collect();
    tell(&Fields::new().with("dropped", Serialized(rows)), dropped.total())
}

/// What the record that tells of dropped ones says.
pub(crate) fn dropped_message(count: u64) -> String {
    format!("{count} records dropped: the output stalled")
}

pub(crate) const DROPPED_LEVEL: Level = Level::Warn;
pub(crate) const DROPPED_LOGGER: &str = "cordwood.logger";
