//! What is in force on this thread: the fields of the spans that are entered, and of the contexts that are open.

use std::cell::RefCell;
use std::sync::Arc;

use crate::fields::Fields;

thread_local! {
    /// The innermost last; each holds all of those around it too.
    static OPEN: RefCell<Vec<(u64, Arc<Fields>)>> = const { RefCell::new(Vec::new()) };
}

/// No span of tracing has this id.
const NOT_A_SPAN: u64 = 0;

/// What is in force now.
pub(crate) fn current() -> Option<Arc<Fields>> {
    OPEN.with_borrow(|open| open.last().map(|(_, fields)| Arc::clone(fields)))
}

pub(crate) fn enter_span(id: u64, fields: Arc<Fields>) {
    OPEN.with_borrow_mut(|open| open.push((id, fields)));
}

pub(crate) fn exit_span(id: u64) {
    OPEN.with_borrow_mut(|open| {
        // (Spans may be left in another order than they were entered.)
        if let Some(at) = open.iter().rposition(|(entered, _)| *entered == id) {
            open.remove(at);
        }
    });
}

/// A span that is entered got more fields.
pub(crate) fn change_span(id: u64, fields: &Arc<Fields>) {
    OPEN.with_borrow_mut(|open| {
        for (_, known) in open.iter_mut().filter(|(entered, _)| *entered == id) {
            *known = Arc::clone(fields);
        }
    });
}

/// Runs `work` with these fields in every line that this thread writes meanwhile, over those that are in force.
///
/// Work that is async takes a span instead: `work.instrument(tracing::info_span!("request", request_id = "r-1"))`.
pub fn with_context<R>(fields: &Fields, work: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            exit_span(NOT_A_SPAN);
        }
    }
    let all = current().map_or_else(|| fields.clone(), |around| fields.over(&around));
    enter_span(NOT_A_SPAN, Arc::new(all));
    let _leave = Leave;
    work()
}
