//! Compares the number of stored records with the counts per minute. A writer counts every record once, under its minute, in the transaction
//! that stores it.

use tokio_postgres::Client;

use crate::contents::{self, COUNTED};
use crate::error::StoreError;

/// Numbers of records, all of one snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sealed: i64,
    pub fresh: i64,
    /// The sum of the counts per minute. Counts of old minutes are deleted when no record of their time can be left.
    pub counted: i64,
    /// Records that had expired when they were sealed.
    pub expired: i64,
    /// Records of table partitions that were dropped.
    pub dropped: i64,
    /// Records whose time was changed after they were counted: the counts of their first time may be deleted already.
    pub adjusted: i64,
    /// An older version sealed or dropped records without counting them, so the numbers need not agree.
    pub is_partial: bool,
}

impl Counts {
    /// The fault in words; `None` when the numbers agree.
    pub fn fault(&self) -> Option<String> {
        let stored = self.sealed + self.fresh;
        let more = stored - self.adjusted - self.counted;
        let missing = self.counted - stored - self.expired - self.dropped;
        match () {
            () if self.is_partial => None,
            () if more > 0 => {
                Some(format!("{stored} records are stored, and only {} were counted", self.counted))
            }
            () if missing > 0 => Some(format!(
                "{} records were counted, {stored} are stored, {} had expired and {} were dropped: {missing} are missing",
                self.counted, self.expired, self.dropped
            )),
            () => None,
        }
    }
}

pub(super) async fn read(client: &Client, adjusted: u64) -> Result<Counts, StoreError> {
    let sql = format!(
        "select (select coalesce(sum(s.records), 0)::bigint from sealed_leaves s), \
           (select coalesce(sum(f.count), 0)::bigint from fresh f join seals z using (lane) where f.seq > z.upto), \
           (select coalesce(sum(count), 0)::bigint from rollup), \
           (select coalesce(sum(f.count), 0)::bigint from rollup_fresh f join seals z using (lane) where f.seq > z.upto), \
           (select coalesce(sum(expired), 0)::bigint from sealed_counts), \
           (select coalesce(sum(records), 0)::bigint from ledger where step = 'drop' and outcome = 'done'), \
           exists (select from ledger where step = 'drop' and outcome = 'done' and records is null) \
             or exists (select from sealed_leaves s where not {COUNTED})"
    );
    let row = client.query_one(&sql, &[]).await.map_err(StoreError::sql("compare", "the counts"))?;
    Ok(Counts {
        sealed: row.get(0),
        fresh: row.get(1),
        counted: row.get::<_, i64>(2) + row.get::<_, i64>(3),
        expired: row.get(4),
        dropped: row.get(5),
        adjusted: i64::try_from(adjusted).unwrap_or(i64::MAX),
        is_partial: row.get::<_, bool>(6) || !contents::is_complete(client).await?,
    })
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn what_expired_or_was_dropped_is_not_missing() {
        let counts = Counts { sealed: 90, fresh: 5, counted: 100, ..Counts::default() };
        assert!(counts.fault().is_some_and(|what| what.contains("5 are missing")), "{counts:?}");
        for whole in [
            Counts { expired: 5, ..counts },
            Counts { expired: 2, dropped: 3, ..counts },
            Counts { fresh: 10, ..counts },
            // Of a drop in a time whose counts are deleted.
            Counts { dropped: 70, ..counts },
            Counts { is_partial: true, ..counts },
            Counts { fresh: 11, adjusted: 1, ..counts },
        ] {
            assert_eq!(whole.fault(), None, "{whole:?}");
        }
        let twice = Counts { fresh: 11, ..counts };
        assert!(twice.fault().is_some_and(|what| what.contains("only 100")), "{twice:?}");
    }
}
