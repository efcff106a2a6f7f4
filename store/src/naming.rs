//! Notes for blocks that an older version sealed which namespaces their records are of. It reads the beginning of each block, not its bodies. Until
//! that is done, a legal hold by namespace keeps the whole table partition.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cordwood_core::block::{Block, BlockError};
use cordwood_core::origin::OriginId;
use cordwood_core::retention::class::{ClassId, leaf_table};
use jiff::Timestamp;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use crate::contents::COUNTED;
use crate::ddl::DdlSession;
use crate::error::StoreError;
use crate::origins;

/// One call begins no other partition after this time.
const BUDGET: Duration = Duration::from_secs(5);
/// That one call looks at.
const PARTITIONS_MAX: i64 = 16;
/// Blocks fetched at a time.
const PORTAL_ROWS: i32 = 128;
/// Bytes of a block that are read first: enough for the columns of most...
const HEAD_BYTES: i32 = 8 << 10;
/// ...and for those of any.
const HEAD_BYTES_MAX: i32 = 256 << 10;
/// Of an origin's id at a time.
const ORIGINS_AT_ONCE: usize = 10_000;
/// In place of a number of blocks: not all of them can be read. It is not tried again before something is sealed there.
const UNREADABLE: i64 = -1;

/// Names those of some partitions; returns of how many. What is sealed into one meanwhile is not lost: that partition comes again.
pub async fn name(session: &mut DdlSession) -> Result<u32, StoreError> {
    let client = session.client_for("to note whose records there are").await?;
    let unknown = format!(
        "select class, time_from from sealed_leaves s where {COUNTED} \
           and named_blocks is distinct from blocks and named_blocks is distinct from {UNREADABLE} \
           and to_regclass('blocks_c' || class || '_' || to_char(time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI')) is not null \
         order by time_from desc, class limit {PARTITIONS_MAX}"
    );
    let rows = client.query(&unknown, &[]).await.map_err(StoreError::sql("look for", "unnamed records"))?;
    let began = Instant::now();
    let mut named = 0;
    for row in rows {
        let (class, from): (i32, Timestamp) = (row.get(0), row.get(1));
        let table = leaf_table(ClassId(class), from.as_microsecond());
        match name_one(client, class, from, &table).await {
            Ok(is_named) => named += u32::from(is_named),
            Err(error) if is_for_later(&error) => tracing::debug!(table, %error, "named later"),
            Err(error) => return Err(error),
        }
        if began.elapsed() >= BUDGET {
            break;
        }
    }
    Ok(named)
}

/// What is read and what is noted are of one snapshot: a sealer notes its blocks in the transaction that adds them.
async fn name_one(client: &mut Client, class: i32, from: Timestamp, table: &str) -> Result<bool, StoreError> {
    let fail = || StoreError::sql("note whose the records are of", table);
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
    let transaction = transaction.start().await.map_err(fail())?;
    let leaf = format!("class = {class} and time_from = '{from}'");
    let Some(records) = records(&transaction, table).await? else {
        let unreadable = format!("update sealed_leaves set named_blocks = {UNREADABLE} where {leaf}");
        transaction.execute(&unreadable, &[]).await.map_err(fail())?;
        transaction.commit().await.map_err(fail())?;
        tracing::warn!(
            table,
            "it is not known whose all its records are: a legal hold by namespace keeps it"
        );
        return Ok(false);
    };
    let again = format!("delete from leaf_namespaces where {leaf}");
    transaction.execute(&again, &[]).await.map_err(fail())?;
    let tenants: Vec<&str> = records.keys().map(|(tenant, _)| tenant.as_str()).collect();
    let namespaces: Vec<&str> = records.keys().map(|(_, namespace)| namespace.as_str()).collect();
    let numbers: Vec<i64> = records.values().copied().collect();
    let add = "insert into leaf_namespaces (class, time_from, tenant, namespace, records)
               select $1::int, $2::timestamptz, * from unnest($3::text[], $4::text[], $5::bigint[])";
    transaction.execute(add, &[&class, &from, &tenants, &namespaces, &numbers]).await.map_err(fail())?;
    let note = format!("update sealed_leaves s set named_blocks = s.blocks where {leaf} and {COUNTED}");
    let noted = transaction.execute(&note, &[]).await.map_err(fail())?;
    if noted == 1 {
        transaction.commit().await.map_err(fail())?;
    }
    Ok(noted == 1)
}

/// By tenant and namespace. `None`: a block cannot be read, or names an origin that nobody knows.
async fn records(
    transaction: &Transaction<'_>,
    table: &str,
) -> Result<Option<HashMap<(String, String), i64>>, StoreError> {
    let fail = || StoreError::sql("read the beginnings of the blocks of", table);
    let head = |bytes: i32| format!("substring(payload from 1 for {bytes})");
    let first = format!("select tenant, {}, time_to, id from {table}", head(HEAD_BYTES));
    let first = transaction.prepare(&first).await.map_err(fail())?;
    let whole = format!("select {} from {table} where time_to = $1 and id = $2", head(HEAD_BYTES_MAX));
    let whole = transaction.prepare(&whole).await.map_err(fail())?;
    let portal = transaction.bind(&first, &[]).await.map_err(fail())?;
    let mut by_origin: HashMap<(String, OriginId), i64> = HashMap::new();
    loop {
        let rows = transaction.query_portal(&portal, PORTAL_ROWS).await.map_err(fail())?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let mut found = Block::origins_of_head(row.get(1));
            if matches!(found, Err(BlockError::Short(_))) {
                let (time_to, id): (Timestamp, i64) = (row.get(2), row.get(3));
                let more: Row = transaction.query_one(&whole, &[&time_to, &id]).await.map_err(fail())?;
                found = Block::origins_of_head(more.get(0));
            }
            let Ok(found) = found else { return Ok(None) };
            for (origin, records) in found {
                *by_origin.entry((row.get(0), origin)).or_default() += i64::from(records);
            }
        }
    }
    let mut ids: Vec<OriginId> = by_origin.keys().map(|(_, origin)| *origin).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut known = HashMap::new();
    for ids in ids.chunks(ORIGINS_AT_ONCE) {
        let origins = origins::read(transaction, ids).await?;
        known.extend(origins.into_iter().map(|(id, origin)| (id, origin.namespace)));
    }
    let mut records: HashMap<(String, String), i64> = HashMap::new();
    for ((tenant, origin), number) in by_origin {
        let Some(namespace) = known.get(&origin) else { return Ok(None) };
        *records.entry((tenant, namespace.to_string())).or_default() += number;
    }
    Ok(Some(records))
}

/// Somebody seals into it, changes it, or dropped it.
fn is_for_later(error: &StoreError) -> bool {
    const LATER: [SqlState; 3] =
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::LOCK_NOT_AVAILABLE, SqlState::UNDEFINED_TABLE];
    error.code().is_some_and(|code| LATER.contains(code))
}
