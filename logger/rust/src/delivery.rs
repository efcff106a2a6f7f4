//! Delivers lines from the threads of the application to the output, by a buffer and one thread that empties it.
//! Promises: lines leave when the buffer is full or the oldest has waited long enough (50 of them or 5 s of itself), at once after an ERROR, a flush, an exit or a panic; a call never waits longer than
//! [`WAIT_MS_MAX`] for an output that stalls; what is dropped is counted by level and told by a record of its own; a fork of the process writes its own lines alone.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::fork;
use crate::level::Level;
use crate::line_queue::{Dropped, LineQueue, Lines, Rank};
use crate::output::Output;
use crate::settings::{Buffer, say};
use crate::sink::{Sink, TellDropped};

/// How long the call that logs an ERROR waits for it to be written; once in vain, no call waits until the output moves again.
pub const WAIT_MS_MAX: u64 = 100;
/// How long an exit or a panic waits.
pub const EXIT_MS_MAX: u64 = 2_000;
/// Room for lines while the output stalls.
pub const ROOM_BYTES_MAX: usize = 8 << 20;

/// Something that is due at times: what is called, and when it wants to be called again.
pub(crate) type Chore = Box<dyn Fn(Instant) -> Option<Instant> + Send + Sync>;

pub(crate) struct Delivery {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("state", &self.shared.state).finish_non_exhaustive()
    }
}

struct Shared {
    buffer: Buffer,
    tell: TellDropped,
    chore: Chore,
    /// What a fork of the process writes to.
    of_fork: fn() -> Output,
    state: Mutex<State>,
    /// Work for the thread.
    work: Condvar,
    /// The thread has written something, or gives up.
    done: Condvar,
}

#[derive(Debug)]
struct State {
    queue: LineQueue,
    /// Of which fork of the process the thread is.
    fork: u32,
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
    /// When it looks by itself; `None`: never.
    wakes_at: Option<Instant>,
    is_closing: bool,
    /// The chores are to be looked at again.
    is_poked: bool,
    /// Lines that were given to an output that took no more.
    refused: Dropped,
}

thread_local! {
    /// The [`Shared`] that this thread empties, by its address; 0: it is a thread of the application.
    static EMPTIES: Cell<usize> = const { Cell::new(0) };
}

impl Delivery {
    pub fn start(
        output: Output,
        buffer: Buffer,
        room_bytes: usize,
        tell: TellDropped,
        chore: Chore,
    ) -> std::io::Result<Delivery> {
        fork::watch();
        let state = State {
            queue: LineQueue::new(room_bytes),
            fork: fork::count(),
            since: None,
            given: 0,
            settled: 0,
            is_urgent: false,
            is_stalled: false,
            is_idle: false,
            wakes_at: None,
            is_closing: false,
            is_poked: false,
            refused: Dropped::default(),
        };
        let shared = Arc::new(Shared {
            buffer,
            tell,
            chore,
            of_fork: output.of_fork(),
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        spawn(&shared, output)?;
        Ok(Delivery { shared })
    }

    /// The state. A process that is a fork gets a thread of its own here: what waited before is the other process's to write.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.lock();
        if state.fork != fork::count() {
            state.fork = fork::count();
            let _ = state.queue.take(Lines::default());
            state.settled = state.given;
            (state.since, state.wakes_at) = (None, None);
            (state.is_urgent, state.is_stalled, state.is_idle, state.is_closing) =
                (false, false, false, false);
            if let Err(error) = spawn(&self.shared, (self.shared.of_fork)()) {
                say(&format!("a fork of the process has no log: {error}"));
            }
        }
        state
    }

    /// Takes a line in; an ERROR is waited for.
    pub fn give(&self, rank: Rank, line: &[u8]) {
        let mut state = self.lock();
        state.queue.push(rank, line);
        state.given += 1;
        let mut is_too_late = false;
        if state.since.is_none() {
            let now = Instant::now();
            state.since = Some(now);
            let due = self.shared.due(now);
            is_too_late = due.is_some_and(|due| state.wakes_at.is_none_or(|wakes_at| wakes_at > due));
        }
        state.is_urgent |= rank.is_urgent();
        if state.is_idle
            && (is_too_late || state.is_urgent || state.queue.waiting().count() == self.shared.buffer.lines)
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
        let mut state = self.lock();
        state.is_urgent = true;
        self.shared.work.notify_one();
        let target = state.given;
        self.wait(state, target, bound)
    }

    /// Has the thread look at its chores again.
    pub fn poke(&self) {
        self.lock().is_poked = true;
        self.shared.work.notify_one();
    }

    /// Lines that could not be written because the output is closed, or is full and has not told of them.
    pub fn refused(&self) -> Dropped {
        let state = self.lock();
        let mut refused = state.refused;
        refused.add_all(state.queue.dropped());
        refused
    }

    /// Lines that wait.
    pub fn waiting(&self) -> u64 {
        let state = self.lock();
        state.given - state.settled
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>, target: u64, bound: Duration) -> bool {
        // (The thread would wait for itself: an output that logs, or a panic of it.)
        if EMPTIES.get() == Arc::as_ptr(&self.shared).addr() {
            return false;
        }
        let end = Instant::now().checked_add(bound);
        while state.settled < target {
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
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
        self.lock().is_closing = true;
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a line leaves that came at this time; `None`: nothing but other lines hurries it.
    fn due(&self, since: Instant) -> Option<Instant> {
        since.checked_add(self.buffer.wait)
    }
}

fn spawn(shared: &Arc<Shared>, output: Output) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("cordwood-logger".to_owned());
    thread.spawn(move || run(&shared, output)).map(drop)
}

fn run(shared: &Shared, output: Output) {
    let mut sink = Sink::new(output);
    let mut lines = Lines::default();
    // Lines came a short while ago. The thread wakes once more by itself then, so that the first of the next ones need not wake it.
    let mut is_warm = false;
    EMPTIES.set(std::ptr::from_ref(shared).addr());
    loop {
        let (taken, dropped, until) = {
            let mut state = shared.lock();
            loop {
                let now = Instant::now();
                state.is_poked = false;
                drop(state);
                // (Without the lock: it may tell the application's threads.)
                let next_chore = (shared.chore)(now);
                state = shared.lock();
                let due = state.since.and_then(|since| shared.due(since));
                let is_full = state.queue.waiting().count() >= shared.buffer.lines;
                if state.is_urgent || is_full || due.is_some_and(|due| due <= now) {
                    break;
                }
                if state.is_closing {
                    return;
                }
                if state.is_poked {
                    continue;
                }
                let warm = is_warm.then(|| shared.due(now)).flatten();
                let next = [due, next_chore, warm].into_iter().flatten().min();
                is_warm = false;
                state.is_idle = true;
                state.wakes_at = next;
                state = match next {
                    None => shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                    Some(next) => {
                        let left = next.saturating_duration_since(now);
                        shared.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                };
                state.is_idle = false;
            }
            is_warm = true;
            state.is_urgent = false;
            state.since = None;
            let (taken, dropped) = state.queue.take(lines);
            (taken, dropped, state.given)
        };
        let unwritten = sink.write(&taken, &dropped, &shared.tell);
        lines = taken;
        let mut state = shared.lock();
        state.settled = until;
        state.is_stalled = false;
        state.refused.add_all(&unwritten.refused);
        state.queue.add_dropped(&unwritten.untold);
        shared.done.notify_all();
    }
}

/// What the record that tells of dropped ones says.
pub(crate) fn dropped_message(count: u64) -> String {
    format!("{count} records dropped: the output stalled")
}

pub(crate) const DROPPED_LEVEL: Level = Level::Warn;
pub(crate) const DROPPED_LOGGER: &str = "cordwood.logger";
