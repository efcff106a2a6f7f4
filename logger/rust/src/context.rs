//! Holds what is in force on a thread: the fields of the entered spans and of the open contexts.
//! Promises: a field that is recorded in a span is in every later line within the span, also within spans that were opened in it before.
//! Where nothing is recorded, a line takes no lock.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::fields::Fields;

/// The fields of a span or of a context, and those around it.
#[derive(Debug)]
pub(crate) struct Layered {
    around: Option<Arc<Layered>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    own: Fields,
    /// What was around when `all` was made.
    around: Option<Arc<Fields>>,
    all: Arc<Fields>,
    /// When that was last found to be true.
    seen: u64,
}

/// How often anything was recorded in a span: what was read before may be old.
static RECORDED: AtomicU64 = AtomicU64::new(0);

impl Layered {
    pub(crate) fn new(own: Fields, around: Option<Arc<Layered>>) -> Arc<Layered> {
        let seen = RECORDED.load(Ordering::Acquire);
        let outer = around.as_ref().map(|around| around.all());
        let all = over(&own, outer.as_ref());
        Arc::new(Layered { around, state: Mutex::new(State { own, around: outer, all, seen }) })
    }

    /// Its own fields over those around it.
    pub(crate) fn all(&self) -> Arc<Fields> {
        let now = RECORDED.load(Ordering::Acquire);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.seen != now {
            // (Locks are taken from the inner one to the outer one, by everybody.)
            let outer = self.around.as_ref().map(|around| around.all());
            let is_same = match (&outer, &state.around) {
                (Some(outer), Some(before)) => Arc::ptr_eq(outer, before),
                (outer, before) => outer.is_none() && before.is_none(),
            };
            if !is_same {
                state.all = over(&state.own, outer.as_ref());
                state.around = outer;
            }
            state.seen = now;
        }
        Arc::clone(&state.all)
    }

    /// More of its own fields; of two with the same name the newer counts.
    pub(crate) fn record(&self, newer: &Fields) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.own = newer.over(&state.own);
        state.all = over(&state.own, state.around.as_ref());
        drop(state);
        RECORDED.fetch_add(1, Ordering::AcqRel);
    }
}

fn over(own: &Fields, around: Option<&Arc<Fields>>) -> Arc<Fields> {
    match around {
        Some(around) if own.is_empty() => Arc::clone(around),
        Some(around) => Arc::new(own.over(around)),
        None => Arc::new(own.clone()),
    }
}

struct Open {
    id: u64,
    layered: Arc<Layered>,
    /// What it had when `seen` was the number of records.
    all: Arc<Fields>,
    seen: u64,
}

thread_local! {
    /// The innermost last.
    static OPEN: RefCell<Vec<Open>> = const { RefCell::new(Vec::new()) };
}

/// No span of tracing has this id.
const NOT_A_SPAN: u64 = 0;

/// Runs `work` once, with what is in force now.
pub(crate) fn with_current(mut work: impl FnMut(Option<&Fields>)) {
    let mut is_done = false;
    let _ = OPEN.try_with(|open| {
        let Ok(mut open) = open.try_borrow_mut() else { return };
        is_done = true;
        let Some(innermost) = open.last_mut() else { return work(None) };
        let now = RECORDED.load(Ordering::Acquire);
        if innermost.seen != now {
            innermost.all = innermost.layered.all();
            innermost.seen = now;
        }
        work(Some(&innermost.all));
    });
    if !is_done {
        // (The thread ends: what it had is gone.)
        work(None);
    }
}

/// The innermost span or context.
pub(crate) fn innermost() -> Option<Arc<Layered>> {
    let of = |open: &RefCell<Vec<Open>>| Some(Arc::clone(&open.try_borrow().ok()?.last()?.layered));
    OPEN.try_with(of).ok().flatten()
}

pub(crate) fn enter(id: u64, layered: Arc<Layered>) {
    let seen = RECORDED.load(Ordering::Acquire);
    let all = layered.all();
    let _ = OPEN.try_with(|open| open.borrow_mut().push(Open { id, layered, all, seen }));
}

pub(crate) fn exit(id: u64) {
    let left = OPEN.try_with(|open| {
        let mut open = open.borrow_mut();
        // (Spans may be left in another order than they were entered.)
        open.iter().rposition(|entered| entered.id == id).map(|at| open.remove(at))
    });
    drop(left);
}

/// Runs `work` with these fields in every line that this thread writes meanwhile, over those that are in force.
///
/// Work that is async takes a span instead: `work.instrument(tracing::info_span!("request", request_id = "r-1"))`.
pub fn with_context<R>(fields: &Fields, work: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            exit(NOT_A_SPAN);
        }
    }
    enter(NOT_A_SPAN, Layered::new(fields.clone(), innermost()));
    let _leave = Leave;
    work()
}
