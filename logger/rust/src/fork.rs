//! Detects that the process is a fork: a fork has no thread but the one that forked.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks lie between the process that began and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

pub(crate) fn count() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Has forks counted from now on.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(register);
}

#[cfg(unix)]
#[allow(unsafe_code, reason = "pthread_atfork is the one way to be told of a fork, and std has none")]
fn register() {
    type Handler = extern "C" fn();
    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<Handler>,
            parent: Option<Handler>,
            child: Option<Handler>,
        ) -> std::ffi::c_int;
    }
    extern "C" fn child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler is a function without arguments that never unwinds and calls nothing that a child of a fork may not call.
    unsafe {
        pthread_atfork(None, None, Some(child));
    }
}

#[cfg(not(unix))]
fn register() {}
