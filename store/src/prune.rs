//! Deletes what was written beside the records (counts per minute, groups of errors, losses, dead letters) once no record of its
//! time is left. Records themselves are never deleted: retention drops their table partitions.
//!
//! Watermarks are deleted only where [`dead_streams`] allows it: a file that is still on its node could be sent again, and would then be
//! stored again. Origins (blocks name them) and the ledger are never deleted.

use cordwood_core::level::Level;
use cordwood_core::limits;
use cordwood_core::retention::class::PolicyLevel;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::ddl::DdlSession;
use crate::dead_streams;
use crate::error::StoreError;
use crate::tasks;

/// Rows of one statement: the sealer, who adds to the rollup, waits for no more of them.
const ROWS_AT_ONCE: i64 = 5_000;
/// At the most in one call; the next goes on.
const STATEMENTS_MAX: u32 = 100;

/// The tables, and when each row was written. What was written when belongs to records of that time or of a time before.
const TABLES: [(&str, &str); 5] = [
    ("rollup", "minute"),
    ("losses", "seen"),
    ("offset_gaps", "seen"),
    ("dead_letters", "seen"),
    // A record's time may lie a little after the moment of its storing, and its hour ends later still.
    ("task_tombstones", "(seen + interval '2 hours')"),
];

/// Of the dead letters only the newest keep their payloads whole.
const CUT_LETTERS: &str = "with sizes as (\
      select ctid, sum(octet_length(payload)) over (order by seen desc, topic_partition, kafka_offset desc) as sum \
      from dead_letters where octet_length(payload) > $1::int) \
    update dead_letters d set payload = substr(d.payload, 1, $1::int) from sizes s where d.ctid = s.ctid and s.sum > $2::bigint";

/// Before the begin of every table partition that is still there (held, detached), and before what any class may still keep.
/// Null while there is no class.
const LIMIT: &str = "select least((select min(time_from) from leaves), \
    (select now() - max(greatest(retention_us, coalesce(wanted_us, 0)) + grace_us) * interval '1 microsecond' from classes))";

/// The same of one level's classes.
const LIMIT_OF_LEVEL: &str = "select least((select min(l.time_from) from leaves l join classes c on c.id = l.class where c.level = $1), \
    (select now() - max(greatest(retention_us, coalesce(wanted_us, 0)) + grace_us) * interval '1 microsecond' \
     from classes where level = $1))";

/// What was counted of errors, by its level, and when the records of a row were written at the latest.
const ERRORS: [(&str, &str, &str); 2] = [
    ("error_counts", "hour", "$1::timestamptz - interval '1 hour'"),
    ("error_groups", "last_seen", "$1::timestamptz"),
];

/// Deletes what is older than every record that can be in the store, by PostgreSQL's clock. Returns how many rows went.
pub async fn prune(session: &mut DdlSession) -> Result<u64, StoreError> {
    let client = &*session.client_for("pruning").await?;
    let (head, most) = (limits::DEAD_LETTER_HEAD_BYTES as i32, limits::DEAD_LETTERS_BYTES_MAX as i64);
    client.execute(CUT_LETTERS, &[&head, &most]).await.map_err(StoreError::sql("cut", "old dead letters"))?;
    let mut gone = tasks::empty_deleted(client, ROWS_AT_ONCE, STATEMENTS_MAX).await?;
    let row =
        client.query_one(LIMIT, &[]).await.map_err(StoreError::sql("read", "how far back records go"))?;
    let Some(limit) = row.get::<_, Option<jiff::Timestamp>>(0) else { return Ok(gone) };
    // Before the tombstones that hide some of them.
    for level in [Level::Warn, Level::Error] {
        let class = PolicyLevel::of(level) as i16;
        let row = client.query_one(LIMIT_OF_LEVEL, &[&class]).await;
        let row = row.map_err(StoreError::sql("read", "how far back a level's records go"))?;
        let Some(limit) = row.get::<_, Option<jiff::Timestamp>>(0) else { continue };
        for (table, time, limit_of_row) in ERRORS {
            let rows = format!("{time} < {limit_of_row} and level = $2");
            gone += delete(client, table, time, &rows, &[&limit, &(level as i16)]).await?;
        }
    }
    for (table, time) in TABLES {
        gone += delete(client, table, time, &format!("{time} < $1"), &[&limit]).await?;
    }
    // One look at all of them; the next call goes on.
    gone += dead_streams::delete(client, limit, ROWS_AT_ONCE).await?;
    Ok(gone)
}

/// The oldest of these rows first.
async fn delete(
    client: &Client,
    table: &str,
    time: &str,
    rows: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64, StoreError> {
    let sql = format!(
        "delete from {table} where ctid = any(array( \
           select ctid from {table} where {rows} order by {time} limit {ROWS_AT_ONCE}))"
    );
    let mut gone = 0;
    for _ in 0..STATEMENTS_MAX {
        let rows = client.execute(&sql, parameters).await.map_err(StoreError::sql("prune", table))?;
        gone += rows;
        if rows < ROWS_AT_ONCE.unsigned_abs() {
            break;
        }
    }
    Ok(gone)
}
