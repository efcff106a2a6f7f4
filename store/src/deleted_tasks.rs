//! Keeps a copy in memory of the tombstones of deleted tasks that were read so far.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cordwood_core::task::DeletedTasks;

/// Then all are read again: those that are no longer needed are forgotten.
const KNOWN_MAX: Duration = Duration::from_secs(3600);

/// What a store's readers share.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tasks: Arc<DeletedTasks>,
    /// Ids up to here are among them.
    upto: i64,
    since: Option<Instant>,
}

impl Known {
    /// What lies above is to be asked for.
    pub fn upto(&self) -> i64 {
        let inner = self.lock();
        let is_old = inner.since.is_none_or(|since| since.elapsed() > KNOWN_MAX);
        if is_old { 0 } else { inner.upto }
    }

    pub fn forget(&self) {
        *self.lock() = Inner::default();
    }

    /// What lies above `after`, in a snapshot whose newest id is `newest`. Others may have learned more meanwhile; nobody goes back.
    pub fn learn<'r>(
        &self,
        after: i64,
        newest: i64,
        added: impl Iterator<Item = [&'r str; 3]>,
    ) -> Arc<DeletedTasks> {
        let mut inner = self.lock();
        if after == 0 {
            if newest >= inner.upto {
                let mut tasks = DeletedTasks::default();
                added.for_each(|[tenant, namespace, task_id]| tasks.insert(tenant, namespace, task_id));
                *inner = Inner { tasks: Arc::new(tasks), upto: newest, since: Some(Instant::now()) };
            }
            return inner.tasks.clone();
        }
        let mut added = added.peekable();
        if added.peek().is_some() {
            let tasks = Arc::make_mut(&mut inner.tasks);
            added.for_each(|[tenant, namespace, task_id]| tasks.insert(tenant, namespace, task_id));
        }
        inner.upto = inner.upto.max(newest);
        inner.tasks.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
