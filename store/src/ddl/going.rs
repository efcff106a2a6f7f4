//! Applies the steps that remove table partitions: detach, start the grace period, drop, and delete the rows about them.

use tokio_postgres::Client;

use super::index::index_table;
use super::{
    Attachment, DdlSession, Target, attachment, begin, begin_within, set_detached, set_lock_timeout,
};
use crate::error::StoreError;
use crate::migrate::{LOCK_ROUND, LOCK_SPACE};

/// Detaches a leaf by `DETACH CONCURRENTLY`, outside of any transaction. PostgreSQL first marks the leaf, so that new queries no longer see
/// it, and then waits for the queries that do. If they take too long, this ends in a lock timeout, and the next pass finalizes. The plan
/// may be some seconds old, so [`Target::fence`] checks first that the leaf may still go.
pub(super) async fn detach(
    client: &mut Client,
    timeout_ms: u64,
    target: &Target<'_>,
) -> Result<(), tokio_postgres::Error> {
    let Target { table, parent, .. } = target;
    set_lock_timeout(client, timeout_ms).await?;
    match attachment(client, table, parent).await? {
        Attachment::Attached => {
            let expired = format!("select {}", target.expired());
            if client.query_one(&expired, &[]).await?.get(0) {
                return detach_attached(client, target).await;
            }
            // It has not expired, so it may go only because it is empty. A round of sealing that sees it attached could still fill it.
            let lock = format!("select pg_advisory_lock({LOCK_SPACE}, {LOCK_ROUND})");
            client.batch_execute(&lock).await?;
            let detached = detach_attached(client, target).await;
            let unlock = format!("select pg_advisory_unlock({LOCK_SPACE}, {LOCK_ROUND})");
            let unlocked = client.batch_execute(&unlock).await;
            detached.and(unlocked)
        }
        Attachment::DetachPending => finish_detach(client, target).await,
        Attachment::Detached => Ok(()),
    }
}

async fn detach_attached(client: &Client, target: &Target<'_>) -> Result<(), tokio_postgres::Error> {
    let Target { table, parent, leaf, from, .. } = target;
    // If `leaves` still has a grace period, it belongs to an earlier detach: somebody has attached the table by hand since.
    let class = leaf.class.0;
    let reset = format!("update leaves set detached = null where class = {class} and time_from = '{from}'");
    client.batch_execute(&format!("{}; {reset}", target.fence())).await?;
    client.batch_execute(&format!("alter table {parent} detach partition {table} concurrently")).await
}

async fn finish_detach(client: &Client, target: &Target<'_>) -> Result<(), tokio_postgres::Error> {
    let Target { table, parent, .. } = target;
    client.batch_execute(&format!("alter table {parent} detach partition {table} finalize")).await
}

pub(super) async fn finalize(
    client: &mut Client,
    timeout_ms: u64,
    target: &Target<'_>,
) -> Result<(), tokio_postgres::Error> {
    set_lock_timeout(client, timeout_ms).await?;
    match attachment(client, &target.table, &target.parent).await? {
        Attachment::DetachPending => finish_detach(client, target).await,
        Attachment::Attached | Attachment::Detached => Ok(()),
    }
}

/// Starts the grace period, unless it runs already.
pub(super) async fn mark_detached(session: &mut DdlSession, target: &Target<'_>) -> Result<(), StoreError> {
    let transaction = begin(&mut session.client).await?;
    let fail = || StoreError::sql("record the detach of", &target.table);
    set_detached(&transaction, target.leaf, target.from, true).await.map_err(fail())?;
    target.ledger.write(&transaction).await?;
    transaction.commit().await.map_err(fail())
}

/// Drops a detached leaf. It first locks the row of `leaves`, the table, the holds and the class, in this order, and decides again: a table
/// that was attached since the plan was made stays, and so does one that its class or a legal hold keeps now. A second call changes nothing.
pub(super) async fn drop_leaf(
    client: &mut Client,
    timeout_ms: u64,
    target: &Target<'_>,
) -> Result<(), tokio_postgres::Error> {
    let Target { table, leaf, from, .. } = target;
    let batch = format!(
        "do $$ declare is_detached boolean; begin
           select detached is not null into is_detached from leaves
             where class = {class} and time_from = '{from}' for update;
           if to_regclass('{table}') is not null then
             lock table {table} in access exclusive mode;
             if is_detached is distinct from true
                or exists (select from pg_inherits where inhrelid = to_regclass('{table}')) then
               raise exception 'it is attached; the next pass makes a new plan';
             end if;
           end if;
         end $$;
         lock table holds in share mode;
         {fence};
         drop table if exists {table}, {index};
         {delete_rows}",
        class = leaf.class.0,
        fence = target.fence(),
        index = index_table(table),
        delete_rows = target.delete_rows()
    );
    let transaction = begin_within(client, timeout_ms).await?;
    transaction.batch_execute(&batch).await?;
    target.ledger.write_raw(&transaction).await?;
    transaction.commit().await
}

/// Deletes the rows about a leaf whose table is gone, and the table of its indexes.
pub(super) async fn forget(session: &mut DdlSession, target: &Target<'_>) -> Result<(), StoreError> {
    let transaction = begin(&mut session.client).await?;
    let fail = || StoreError::sql("delete the row of", &target.table);
    let gone =
        transaction.query_one("select to_regclass($1) is null", &[&target.table]).await.map_err(fail())?;
    if gone.get(0) {
        let drop = format!("drop table if exists {}; {}", index_table(&target.table), target.delete_rows());
        transaction.batch_execute(&drop).await.map_err(fail())?;
        target.ledger.write(&transaction).await?;
    }
    transaction.commit().await.map_err(fail())
}
