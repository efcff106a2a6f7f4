//! What was written beside the records (counts per minute, losses, dead letters) goes when no record of its time is left. Records
//! themselves are never deleted: they go with their table partitions.
//!
//! Watermarks stay, however old: a file that is still on its node could be sent again, and would then be stored again. So do
//! origins, which blocks name, and the ledger.

use crate::ddl::{DdlSession, LOCK_TIMEOUTS_MS, set_lock_timeout};
use crate::error::StoreError;

/// Rows of one statement: the sealer, who adds to the rollup, waits for no more of them.
const ROWS_AT_ONCE: i64 = 5_000;
/// At the most in one call; the next goes on.
const STATEMENTS_MAX: u32 = 100;

/// The tables, and when each row was written. What was written when belongs to records of that time or of a time before.
const TABLES: [(&str, &str); 4] =
    [("rollup", "minute"), ("losses", "seen"), ("offset_gaps", "seen"), ("dead_letters", "seen")];

/// Before the begin of every table partition that is still there (held, detached), and before what any class may still keep.
/// Null while there is no class.
const LIMIT: &str = "select least((select min(time_from) from leaves), \
    (select now() - max(greatest(retention_us, coalesce(wanted_us, 0)) + grace_us) * interval '1 microsecond' from classes))";

/// Deletes what is older than every record that can be in the store, by PostgreSQL's clock. Returns how many rows went.
pub async fn prune(session: &mut DdlSession) -> Result<u64, StoreError> {
    let client = session.client();
    let timeout_ms = LOCK_TIMEOUTS_MS[LOCK_TIMEOUTS_MS.len() - 1];
    set_lock_timeout(client, timeout_ms).await.map_err(StoreError::sql("prepare", "pruning"))?;
    let row =
        client.query_one(LIMIT, &[]).await.map_err(StoreError::sql("read", "how far back records go"))?;
    let Some(limit) = row.get::<_, Option<jiff::Timestamp>>(0) else { return Ok(0) };
    let mut gone = 0;
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
    Ok(gone)
}
