//! The steps that take table partitions away: detach, drop, and what `leaves` then holds.

use tokio_postgres::Client;

use super::index::index_table;
use super::{DdlSession, Hanging, Target, begin, begin_within, hanging, set_detached, set_lock_timeout};
use crate::error::StoreError;
use crate::migrate::{LOCK_ROUND, LOCK_SPACE};

/// `DETACH CONCURRENTLY`, outside any transaction. It first marks the leaf (new queries no longer see it) and then waits
/// for the queries that do; while they last this ends in a lock timeout and the next pass finalizes. The class must still
/// let go of it: the plan may be of a while ago.
pub(super) async fn detach(
    client: &mut Client,
    timeout_ms: u64,
    target: &Target<'_>,
) -> Result<(), tokio_postgres::Error> {
    let Target { table, parent, .. } = target;
    set_lock_timeout(client, timeout_ms).await?;
    match hanging(client, table, parent).await? {
        Hanging::Attached => {
            let expired = format!("select {}", target.expired());
            if client.query_one(&expired, &[]).await?.get(0) {
                return detach_attached(client, target).await;
            }
            // It may go because it is empty. A round of sealing that sees it attached could still fill it.
            let lock = format!("select pg_advisory_lock({LOCK_SPACE}, {LOCK_ROUND})");
            client.batch_execute(&lock).await?;
            let detached = detach_attached(client, target).await;
            let unlock = format!("select pg_advisory_unlock({LOCK_SPACE}, {LOCK_ROUND})");
            let unlocked = client.batch_execute(&unlock).await;
            detached.and(unlocked)
        }
        Hanging::Pending => finish_detach(client, target).await,
        Hanging::Apart => Ok(()),
    }
}

async fn detach_attached(client: &Client, target: &Target<'_>) -> Result<(), tokio_postgres::Error> {
    let Target { table, parent, leaf, from, .. } = target;
    // A grace period that `leaves` still holds was another's: somebody attached the table by hand.
    let class = leaf.class.0;
    let anew = format!("update leaves set detached = null where class = {class} and time_from = '{from}'");
    client.batch_execute(&format!("{}; {anew}", target.fence())).await?;
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
    match hanging(client, &target.table, &target.parent).await? {
        Hanging::Pending => finish_detach(client, target).await,
        Hanging::Attached | Hanging::Apart => Ok(()),
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

/// Decides again, with the row of `leaves`, the table, the holds and the class locked in this order: a table that was attached again since
/// the plan was made stays, and so does what its class or a legal hold keeps by now. Done again it changes nothing.
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
               raise exception 'it is attached; the next pass plans anew';
             end if;
           end if;
         end $$;
         lock table holds in share mode;
         {fence};
         drop table if exists {table}, {index};
         {strike}",
        class = leaf.class.0,
        fence = target.fence(),
        index = index_table(table),
        strike = target.strike()
    );
    let transaction = begin_within(client, timeout_ms).await?;
    transaction.batch_execute(&batch).await?;
    target.ledger.write_raw(&transaction).await?;
    transaction.commit().await
}

/// Deletes the row of a leaf whose table is gone, and what is left of its indexes.
pub(super) async fn forget(session: &mut DdlSession, target: &Target<'_>) -> Result<(), StoreError> {
    let transaction = begin(&mut session.client).await?;
    let fail = || StoreError::sql("delete the row of", &target.table);
    let gone =
        transaction.query_one("select to_regclass($1) is null", &[&target.table]).await.map_err(fail())?;
    if gone.get(0) {
        let drop = format!("drop table if exists {}; {}", index_table(&target.table), target.strike());
        transaction.batch_execute(&drop).await.map_err(fail())?;
        target.ledger.write(&transaction).await?;
    }
    transaction.commit().await.map_err(fail())
}
