//! Packs the index of a table partition whose time is over: writes its rows into a new table, which takes the old one's place. Merging segments leaves
//! rows behind whose room nothing uses any more, and rows that came with many rounds fill pages badly.
//!
//! Promises: one transaction for a table, so that it is there packed, or as it was; sealing into it waits meanwhile, readers do not, but for
//! the moment in which the tables change places. The new rows are frozen: a snapshot of before sees all of them. Memory is bounded by [`ROWS`], and
//! 24 bytes for each row.

use std::time::{Duration, Instant};

use cordwood_core::retention::class::{ClassId, leaf_table};
use jiff::Timestamp;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::DdlSession;
use super::index::{create_as, index_table, primary_key};
use crate::error::StoreError;
use crate::migrate::{LOCK_ROUND, LOCK_SPACE};
use crate::page_order::{order, row_bytes};
use crate::ring::{CopyBuffer, fill};

/// One call begins no other table after this time.
const BUDGET: Duration = Duration::from_secs(5);
/// That one call packs.
const TABLES_MAX: i64 = 16;
/// After a partition's time: lines that come as late as usual are in it.
const GRACE: &str = "interval '15 minutes'";
/// One that was packed before is packed again when it is larger by a quarter and this.
const GROWN_BYTES_MIN: u64 = 64 << 10;
/// Rows in memory.
const ROWS: usize = 500;

/// What a call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    pub tables: u32,
    /// Of these tables, without their primary keys.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Packs some that need it, of partitions whose time is over at `now`. One that somebody uses is packed later.
///
/// # Errors
/// PostgreSQL's.
pub async fn pack_indexes(session: &mut DdlSession, now: Timestamp) -> Result<Packed, StoreError> {
    let client = session.client_for("to pack indexes").await?;
    let due = format!(
        "select class, time_from from ( \
           select l.class, l.time_from, s.indexed_blocks, p.blocks, p.bytes, to_regclass('blocks_c' || l.class || '_' \
             || to_char(l.time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI') || '_index') as index \
           from leaves l join sealed_leaves s on s.class = l.class and s.time_from = l.time_from \
           left join packed_leaves p on p.class = l.class and p.time_from = l.time_from \
           where l.detached is null and l.time_to < $1 - {GRACE} and s.indexed_blocks > 0 \
             and p.blocks is distinct from s.indexed_blocks) closed \
         where index is not null and (blocks is null or pg_relation_size(index) > bytes + bytes / 4 + {GROWN_BYTES_MIN}) \
         order by time_from, class limit {TABLES_MAX}"
    );
    let rows = client
        .query_typed(&due, &[(&now, Type::TIMESTAMPTZ)])
        .await
        .map_err(StoreError::sql("look for", "indexes to pack"))?;
    let began = Instant::now();
    let mut packed = Packed::default();
    for row in rows {
        let (class, from): (i32, Timestamp) = (row.get(0), row.get(1));
        let index = index_table(&leaf_table(ClassId(class), from.as_microsecond()));
        match pack_one(client, class, from, &index).await {
            Ok(None) => {}
            Ok(Some((before, after))) => {
                packed.tables += 1;
                packed.bytes_before += before;
                packed.bytes_after += after;
            }
            Err(error) if is_for_later(&error) => tracing::debug!(index, %error, "it is packed later"),
            Err(error) => return Err(error),
        }
        if began.elapsed() >= BUDGET {
            break;
        }
    }
    note_sizes(client).await?;
    Ok(packed)
}

/// Somebody uses it, or it was dropped.
fn is_for_later(error: &StoreError) -> bool {
    const LATER: [SqlState; 3] =
        [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::UNDEFINED_TABLE];
    error.code().is_some_and(|code| LATER.contains(code))
}

/// Bytes before and after; `None`: its partition goes.
async fn pack_one(
    client: &mut Client,
    class: i32,
    from: Timestamp,
    index: &str,
) -> Result<Option<(u64, u64)>, StoreError> {
    let fail = |operation| StoreError::sql(operation, index);
    let transaction = client.transaction().await.map_err(fail("begin to pack"))?;
    // A drop of the partition locks this row first, too.
    let row = "select from leaves where class = $1 and time_from = $2 and detached is null for share";
    if transaction.query_opt(row, &[&class, &from]).await.map_err(fail("keep"))?.is_none() {
        return Ok(None);
    }
    // While somebody reads it for long, nothing is written in vain. Sealing into it waits from here on.
    let lock = format!(
        "savepoint unused; lock table {index} in access exclusive mode nowait; rollback to savepoint unused; release savepoint unused; \
         lock table {index} in share mode"
    );
    transaction.batch_execute(&lock).await.map_err(fail("lock"))?;
    let new = format!("{index}_packed");
    let create = format!("do $$ begin {} end $$", create_as(&new, index));
    transaction.batch_execute(&create).await.map_err(fail("make a new table for"))?;
    let before = bytes_of(&transaction, index).await?;
    let places = places(&transaction, index).await?;
    let mut copied = 0;
    for some in places.chunks(ROWS) {
        copied += copy(&transaction, index, &new, some).await?;
    }
    if copied != places.len() as u64 {
        let message = format!("{copied} of {} rows of {index} were copied", places.len());
        return Err(StoreError::Invalid(message));
    }
    let key = primary_key(&new);
    transaction.batch_execute(&key).await.map_err(fail("make the key of"))?;
    let swap = format!(
        "drop table {index}; alter table {new} rename to {index}; alter index {new}_pkey rename to {index}_pkey"
    );
    transaction.batch_execute(&swap).await.map_err(fail("replace"))?;
    let after = bytes_of(&transaction, index).await?;
    let note = "insert into packed_leaves (class, time_from, blocks, bytes) \
                select class, time_from, indexed_blocks, $3::bigint from sealed_leaves where class = $1 and time_from = $2 \
                on conflict (class, time_from) do update \
                set blocks = excluded.blocks, bytes = excluded.bytes, size_noted = false";
    let bytes = i64::try_from(after).unwrap_or(i64::MAX);
    transaction.execute(note, &[&class, &from, &bytes]).await.map_err(fail("note the packing of"))?;
    transaction.commit().await.map_err(fail("pack"))?;
    Ok(Some((before, after)))
}

async fn bytes_of(transaction: &Transaction<'_>, index: &str) -> Result<u64, StoreError> {
    let size = "select pg_relation_size(to_regclass($1))";
    let row = transaction.query_one(size, &[&index]).await.map_err(StoreError::sql("measure", index))?;
    Ok(row.get::<_, Option<i64>>(0).unwrap_or_default().unsigned_abs())
}

/// Where its rows are, in the order in which they fill pages.
async fn places(transaction: &Transaction<'_>, index: &str) -> Result<Vec<String>, StoreError> {
    let select = format!("select ctid::text, octet_length(bytes) from {index}");
    let rows = transaction.query(&select, &[]).await.map_err(StoreError::sql("read", index))?;
    let mut places: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let takes: Vec<usize> =
        rows.iter().map(|row| row_bytes(row.get::<_, i32>(1).unsigned_abs() as usize)).collect();
    drop(rows);
    let ordered = tokio::task::spawn_blocking(move || {
        order(&takes).into_iter().map(|place| std::mem::take(&mut places[place])).collect()
    });
    ordered.await.map_err(|error| StoreError::Invalid(format!("the order of {index} did not end: {error}")))
}

/// Rows at these places, in this order, as rows that every snapshot sees: one that is older than this transaction would find the table empty.
async fn copy(
    transaction: &Transaction<'_>,
    index: &str,
    new: &str,
    places: &[String],
) -> Result<u64, StoreError> {
    let select = format!(
        "select p.segment, p.no, p.bytes from unnest($1::text[]) with ordinality as w (place, n) \
         cross join lateral (select segment, no, bytes from {index} i where i.ctid = w.place::tid offset 0) p order by w.n"
    );
    let rows = transaction.query_typed(&select, &[(&places, Type::TEXT_ARRAY)]).await;
    let rows = rows.map_err(StoreError::sql("read", index))?;
    let mut buffer =
        CopyBuffer::with_capacity(rows.iter().map(|row| row.get::<_, &[u8]>(2).len() + 32).sum());
    for row in &rows {
        buffer.row(3).int8(row.get(0)).int4(row.get(1)).bytes(row.get(2));
    }
    let copy = format!("copy {new} (segment, no, bytes) from stdin (format binary, freeze)");
    fill(transaction.copy_in(&copy).await, buffer.finish(), new).await
}

/// What sealing noted of the partitions' sizes was before. A round of sealing could not change a row that is changed after its snapshot: while
/// there is a round, a later call does it.
async fn note_sizes(client: &mut Client) -> Result<(), StoreError> {
    let fail = |operation| StoreError::sql(operation, "the sizes of packed indexes");
    let transaction = client.transaction().await.map_err(fail("begin to note"))?;
    let any = "select exists (select from packed_leaves where not size_noted)";
    if !transaction.query_one(any, &[]).await.map_err(fail("look for"))?.get::<_, bool>(0) {
        return Ok(());
    }
    let alone = "select pg_try_advisory_xact_lock($1, $2)";
    let alone = transaction.query_one(alone, &[&LOCK_SPACE, &LOCK_ROUND]).await.map_err(fail("lock"))?;
    if alone.get(0) {
        let note = "with packed as (update packed_leaves set size_noted = true where not size_noted returning class, time_from, \
               'blocks_c' || class || '_' || to_char(time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI') as name) \
             update sealed_leaves s set bytes = coalesce(pg_total_relation_size(to_regclass(p.name)), 0) \
                 + coalesce(pg_total_relation_size(to_regclass(p.name || '_index')), 0) \
               from packed p where s.class = p.class and s.time_from = p.time_from";
        transaction.execute(note, &[]).await.map_err(fail("note"))?;
    }
    transaction.commit().await.map_err(fail("note"))
}
