//! The handle that stops an agent: at once, or after it has also sent what has no line end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// The way to end an agent from outside.
#[derive(Clone, Debug)]
pub struct Ending {
    pub(crate) shutdown: CancellationToken,
    nothing_follows: Arc<AtomicBool>,
}

impl Ending {
    /// Nobody writes any more: before it ends, the agent takes what files hold behind their last line end, and records whose
    /// ends did not come.
    pub fn end_with_all(&self) {
        self.nothing_follows.store(true, Ordering::SeqCst);
        self.shutdown.cancel();
    }

    pub(crate) fn nothing_follows(&self) -> bool {
        self.nothing_follows.load(Ordering::SeqCst)
    }
}

impl From<CancellationToken> for Ending {
    fn from(shutdown: CancellationToken) -> Ending {
        Ending { shutdown, nothing_follows: Arc::default() }
    }
}
