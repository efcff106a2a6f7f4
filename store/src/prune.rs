//! What was written beside the records (counts per minute, losses, dead letters) goes when no record of its time is left. Records
//! themselves are never deleted: they go with their table partitions.
//!
//! Watermarks go only where [`dead_streams`] says so: a file that is still on its node could be sent again, and would then be stored
//! again. Origins, which blocks name, and the ledger stay.

use cordwood_core::limits;

use crate::ddl::{DdlSession, LOCK_TIMEOUTS_MS, set_lock_timeout};
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
    // A record's time may lie a little after the moment of its storing.
    ("task_tombstones", "(seen + interval '1 hour')"),
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

/// Deletes what is older than every record that can be in the store, by PostgreSQL's clock. Returns how many rows went.
pub async fn prune(session: &mut DdlSession) -> Result<u64, StoreError> {
    let client = session.client();
    let timeout_ms = LOCK_TIMEOUTS_MS[LOCK_TIMEOUTS_MS.len() - 1];
    set_lock_timeout(client, timeout_ms).await.map_err(StoreError::sql("prepare", "pruning"))?;
    let (head, most) = (limits::DEAD_LETTER_HEAD_BYTES as i32, limits::DEAD_LETTERS_BYTES_MAX as i64);
    client.execute(CUT_LETTERS, &[&head, &most]).await.map_err(StoreError::sql("cut", "old dead letters"))?;
    let mut gone = tasks::empty_deleted(client, ROWS_AT_ONCE, STATEMENTS_MAX).await?;
    let row =
        client.query_one(LIMIT, &[]).await.map_err(StoreError::sql("read", "how far back records go"))?;
    let Some(limit) = row.get::<_, Option<jiff::Timestamp>>(0) else { return Ok(gone) };
    for (table, time) in TABLES {
        let sql = format!(
            "delete from {table} where ctid = any(array( \
               select ctid from {table} where {time} < $1 order by {time} limit {ROWS_AT_ONCE}))"
        );
        for _ in 0..STATEMENTS_MAX {
            let rows = client.execute(&sql, &[&limit]).await.map_err(StoreError::sql("prune", table))?;
            gone += rows;
            if rows < ROWS_AT_ONCE.unsigned_abs() {
                break;
            }
        }
    }
    // One look at all of them; the next call goes on.
    gone += dead_streams::delete(client, limit, ROWS_AT_ONCE).await?;
    Ok(gone)
}
