//! Counts the records of table partitions that have no count yet, because a writer of a schema before V15 sealed into them.

use std::time::{Duration, Instant};

use cordwood_core::retention::class::{ClassId, leaf_table};
use jiff::Timestamp;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, IsolationLevel};

use crate::contents::COUNTED;
use crate::ddl::DdlSession;
use crate::error::StoreError;

/// One call begins no other partition after this time.
const BUDGET: Duration = Duration::from_secs(5);
/// That one call looks at.
const PARTITIONS_MAX: i64 = 64;

/// Counts some of them; returns how many. What is sealed into one meanwhile is not lost: that partition is counted again.
pub async fn count(session: &mut DdlSession) -> Result<u32, StoreError> {
    let client = session.client_for("to count records").await?;
    let unknown = format!(
        "select class, time_from from sealed_leaves s where not {COUNTED} \
           and to_regclass('blocks_c' || class || '_' || to_char(time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI')) is not null \
         order by time_from desc, class limit {PARTITIONS_MAX}"
    );
    let rows = client.query(&unknown, &[]).await.map_err(StoreError::sql("look for", "uncounted records"))?;
    let began = Instant::now();
    let mut counted = 0;
    for row in rows {
        let (class, from): (i32, Timestamp) = (row.get(0), row.get(1));
        let table = leaf_table(ClassId(class), from.as_microsecond());
        match count_one(client, class, from, &table).await {
            Ok(()) => counted += 1,
            Err(error) if is_for_later(&error) => tracing::debug!(table, %error, "counted later"),
            Err(error) => return Err(StoreError::sql("count the records of", table)(error)),
        }
        if began.elapsed() >= BUDGET {
            break;
        }
    }
    Ok(counted)
}

/// What is counted and what is noted are of one snapshot: a sealer notes its blocks in the transaction that adds them.
async fn count_one(
    client: &mut Client,
    class: i32,
    from: Timestamp,
    table: &str,
) -> Result<(), tokio_postgres::Error> {
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
    let transaction = transaction.start().await?;
    let note = format!(
        "update sealed_leaves s set blocks = c.blocks, records = c.records, newest = c.newest, counted_blocks = c.blocks \
           from (select count(*) as blocks, coalesce(sum(count), 0)::bigint as records, max(time_to) as newest from {table}) as c \
          where s.class = $1 and s.time_from = $2"
    );
    transaction.execute(&note, &[&class, &from]).await?;
    transaction.commit().await
}

/// Somebody seals into it, changes it, or dropped it.
fn is_for_later(error: &tokio_postgres::Error) -> bool {
    const LATER: [SqlState; 3] =
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::LOCK_NOT_AVAILABLE, SqlState::UNDEFINED_TABLE];
    error.code().is_some_and(|code| LATER.contains(code))
}
