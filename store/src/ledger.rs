//! Reads the ledger of retention: which table partitions are gone, and what changed in the classes. Writing it is `ddl`'s part.

use cordwood_core::retention::class::{ClassId, PolicyLevel};
use jiff::Timestamp;
use tokio_postgres::Row;

use crate::connect::Store;
use crate::error::StoreError;

/// A step that was done. Times are microseconds since the epoch; what a row of an older version does not say is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was done.
    pub at_us: i64,
    /// Empty where it is about no policy.
    pub policy: String,
    pub class: Option<ClassId>,
    pub level: Option<PolicyLevel>,
    /// `drop`, `put-class`, `put-hold`, `lift-hold`, `put-state` or `end tasks`.
    pub step: String,
    /// The table, whose hold, the policy whose state changed, or what was ended.
    pub subject: String,
    /// Of the table partition.
    pub bounds_us: Option<(i64, i64)>,
    pub records: Option<i64>,
    pub bytes: i64,
    pub why: String,
    pub generation: Option<i64>,
    /// The plan that it was a step of.
    pub plan: String,
    /// The approved plan without which it would not have been, and who approved it.
    pub approval: Option<String>,
    pub approved_by: Option<String>,
    /// Who changed what keeps the policy's records, as far as it is known.
    pub changed_by: Option<String>,
}

impl Entry {
    pub fn is_drop(&self) -> bool {
        self.step == "drop"
    }
}

/// What took records away and what changed how long they are kept, oldest first: partitions that were dropped with records in them (or
/// with what nobody counted), tasks that ended by age, and changes of classes and of what keeps a policy's records. Of one policy, or of all; since a moment, or ever.
pub async fn history(
    store: &Store,
    policy: Option<&str>,
    since_us: Option<i64>,
) -> Result<Vec<Entry>, StoreError> {
    let client = store.pooled().await?;
    let since = since_us.and_then(|us| Timestamp::from_microsecond(us).ok());
    // A table's name says its class; the class says its level, also when its policy is gone.
    let sql = "select l.at, l.policy, c.id, c.level, l.step, l.subject, l.time_from, l.time_to, l.records, l.bytes, l.why, l.generation,
                      l.plan, l.approval, l.approved_by, l.changed_by
                 from ledger l left join classes c on c.id = substring(l.subject from '^blocks_c([0-9]+)')::integer
                where l.outcome = 'done' and l.step in ('drop', 'put-class', 'put-hold', 'lift-hold', 'put-state', 'end tasks') and l.records is distinct from 0
                  and ($1::text is null or l.policy = $1) and ($2::timestamptz is null or l.at >= $2)
                order by l.id";
    let rows = client.query(sql, &[&policy, &since]).await.map_err(StoreError::sql("read", "the ledger"))?;
    Ok(rows.iter().map(entry).collect())
}

fn entry(row: &Row) -> Entry {
    let time = |at: usize| row.get::<_, Option<Timestamp>>(at).map(Timestamp::as_microsecond);
    Entry {
        at_us: row.get::<_, Timestamp>(0).as_microsecond(),
        policy: row.get(1),
        class: row.get::<_, Option<i32>>(2).map(ClassId),
        level: row.get::<_, Option<i16>>(3).and_then(PolicyLevel::from_i16),
        step: row.get(4),
        subject: row.get(5),
        bounds_us: time(6).zip(time(7)),
        records: row.get(8),
        bytes: row.get(9),
        why: row.get(10),
        generation: row.get(11),
        plan: row.get(12),
        approval: row.get(13),
        approved_by: row.get(14),
        changed_by: row.get(15),
    }
}
