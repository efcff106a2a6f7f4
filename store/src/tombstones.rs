//! Tells which tasks are deleted. Every reader of records asks here first. All tombstones are read once, then only new ones.

use std::sync::Arc;

use cordwood_core::task::DeletedTasks;
use tokio_postgres::GenericClient;

use crate::connect::Store;
use crate::error::StoreError;

/// For a part that shows records from elsewhere than a search (the live feed).
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
    // The newest id too: in a database that was created again, or brought back from before, it may be a lower one.
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
