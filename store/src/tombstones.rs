//! Which tasks are deleted, as every reader of records has to know: read once, then only what was added since.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cordwood_core::task::DeletedTasks;
use tokio_postgres::GenericClient;

use crate::connect::Store;
use crate::error::StoreError;

/// Then all are read anew: those that are no longer needed are forgotten.
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

/// For whoever shows records that come from elsewhere than a search (the live feed).
///
/// # Errors
/// When PostgreSQL does not answer: then nothing may be shown.
pub async fn deleted_tasks(store: &Store) -> Result<Arc<DeletedTasks>, StoreError> {
    let client = store.pooled().await?.abandonable();
    let tasks = read(store, &*client).await?;
    client.finish();
    Ok(tasks)
}

/// As of the session's snapshot, or later.
pub(crate) async fn read(
    store: &Store,
    client: &impl GenericClient,
) -> Result<Arc<DeletedTasks>, StoreError> {
    if let Some(primary) = store.primary() {
        return Box::pin(deleted_tasks(primary)).await;
    }
    let known = store.tombstones();
    let upto = known.upto();
    // The newest id too: in a database that was made anew, or brought back from before, it may be a lower one.
    let sql = "select id, tenant, namespace, task_id from task_tombstones where id > $1 \
               union all select max(id), null, null, null from task_tombstones order by 1";
    let rows = client.query(sql, &[&upto]).await.map_err(StoreError::sql("read", "deleted tasks"))?;
    let is_newest = |row: &&tokio_postgres::Row| row.get::<_, Option<&str>>(1).is_none();
    let newest = rows.iter().find(is_newest).and_then(|row| row.get::<_, Option<i64>>(0)).unwrap_or(0);
    if newest < upto {
        known.forget();
        return Box::pin(read(store, client)).await;
    }
    let added = rows.iter().filter(|row| !is_newest(row)).map(|row| [row.get(1), row.get(2), row.get(3)]);
    Ok(known.learn(upto, newest, added))
}

impl Known {
    /// What lies above is to be asked for.
    fn upto(&self) -> i64 {
        let inner = self.lock();
        let is_old = inner.since.is_none_or(|since| since.elapsed() > KNOWN_MAX);
        if is_old { 0 } else { inner.upto }
    }

    fn forget(&self) {
        *self.lock() = Inner::default();
    }

    /// What lies above `after`, in a snapshot whose newest id is `newest`. Others may have learned more meanwhile; nobody goes back.
    fn learn<'r>(
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
