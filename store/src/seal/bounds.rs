//! Decides how much of each lane one round of sealing takes. Rounds are bounded and take the oldest records first; each is a transaction
//! of its own. So a backlog of any size is sealed.

use std::fmt::Write as _;

use tokio_postgres::GenericClient;

use crate::error::StoreError;
use crate::ring::CARRY_LANE;

/// How much a round may take of the fresh lanes, and again of the carried records. The transaction of a writer that crosses the bound is
/// taken whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub records: i64,
    pub bytes: i64,
}

/// Transactions of one lane that a round takes: above the mark, up to and with the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub lane: i16,
    pub above: i64,
    pub upto: i64,
}

/// Of one kind of lanes.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub ranges: Vec<Range>,
    /// There is more above it.
    pub more: bool,
}

/// Of the writers' lanes, in the order in which they committed.
pub(super) async fn fresh(client: &impl GenericClient, limit: Limit) -> Result<Taken, StoreError> {
    taken(client, &format!("b.lane <> {CARRY_LANE}"), limit).await
}

/// Of the carried records, up to the batch `until`.
pub(super) async fn carried(
    client: &impl GenericClient,
    limit: Limit,
    until: i64,
) -> Result<Taken, StoreError> {
    taken(client, &format!("b.lane = {CARRY_LANE} and b.seq <= {until}"), limit).await
}

async fn taken(client: &impl GenericClient, lanes: &str, limit: Limit) -> Result<Taken, StoreError> {
    let sql = format!(
        "select lane, min(upto), max(seq) filter (where records_before < $1 and bytes_before < $2), max(seq) from ( \
           select b.lane, b.seq, z.upto, coalesce(sum(b.records) over before, 0) as records_before, \
             coalesce(sum(b.raw_bytes) over before, 0) as bytes_before \
           from batches b join seals z using (lane) where b.seq > z.upto and {lanes} \
           window before as (order by b.committed_at, b.lane, b.seq rows between unbounded preceding and 1 preceding)) w \
         group by lane order by lane"
    );
    // Sums of bigint are numeric: compared as text that PostgreSQL reads again.
    let sql = sql.replace("$1", &limit.records.to_string()).replace("$2", &limit.bytes.to_string());
    let rows = client.query(&sql, &[]).await.map_err(StoreError::sql("read", "what is to be sealed"))?;
    let mut taken = Taken::default();
    for row in rows {
        let (upto, last): (Option<i64>, i64) = (row.get(2), row.get(3));
        taken.more |= upto.is_none_or(|upto| upto < last);
        if let Some(upto) = upto {
            taken.ranges.push(Range { lane: row.get(0), above: row.get(1), upto });
        }
    }
    Ok(taken)
}

/// The rows of `view` in these ranges, as a source of a statement: each lane by its index, however much else lies in the rings.
pub(super) fn rows_of(view: &str, ranges: &[Range]) -> String {
    let mut sql = String::from("(");
    for (place, Range { lane, above, upto }) in ranges.iter().enumerate() {
        let and = if place == 0 { "" } else { " union all " };
        let _ =
            write!(sql, "{and}select * from {view} where lane = {lane} and seq > {above} and seq <= {upto}");
    }
    if ranges.is_empty() {
        let _ = write!(sql, "select * from {view} where false");
    }
    sql.push(')');
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_range_is_no_row() {
        assert_eq!(rows_of("fresh", &[]), "(select * from fresh where false)");
        let range = |lane| Range { lane, above: 3, upto: 5 };
        assert_eq!(
            rows_of("fresh", &[range(1), range(2)]),
            "(select * from fresh where lane = 1 and seq > 3 and seq <= 5 \
             union all select * from fresh where lane = 2 and seq > 3 and seq <= 5)"
        );
    }
}
