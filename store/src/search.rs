//! Pages of records: candidate blocks newest first, their payloads, the one evaluator. All within one snapshot.

mod hits;
mod scan;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use cordwood_core::filter::Filter;
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::record::{Flags, Record};
use futures::future::join;
use tokio_postgres::IsolationLevel;

use self::hits::Hits;
use self::scan::scan;
use crate::candidates::{self, Wanted};
use crate::connect::Store;
use crate::error::StoreError;
use crate::scope::TenantScope;

const PAGE_RECORDS_MAX: usize = 10_000;
/// The budget is looked at between statements; a single one that takes this much longer is ended by PostgreSQL.
const STATEMENT_MS_MAX: u64 = 30_000;
/// PostgreSQL's settings are 32-bit.
const MS_MAX: u64 = i32::MAX as u64;

/// Half-open: `from_us <= time < to_us`, microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    pub from_us: Option<i64>,
    pub to_us: Option<i64>,
}

/// Where a page ended: the next one begins below it. Shown as `<time in microseconds>.<record id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    pub time_us: i64,
    pub id: RecordId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.time_us, self.id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cursor {0:?} is not of the form <time>.<record id>")]
pub struct CursorError(pub String);

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Cursor, CursorError> {
        let error = || CursorError(text.to_owned());
        let (time, id) = text.split_once('.').ok_or_else(error)?;
        Ok(Cursor { time_us: time.parse().map_err(|_| error())?, id: id.parse().map_err(|_| error())? })
    }
}

/// Newest first: at most `limit` records below `after`, fewer when they are large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    pub after: Option<Cursor>,
}

impl Page {
    pub fn first(limit: usize) -> Page {
        Page { limit, after: None }
    }
}

/// A record with a body of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    pub time_us: i64,
    pub original_time_us: Option<i64>,
    pub level: Level,
    pub flags: Flags,
    pub origin: OriginId,
    pub id: RecordId,
    pub body: Vec<u8>,
}

impl OwnedRecord {
    pub fn of(record: &Record<'_>) -> OwnedRecord {
        OwnedRecord {
            time_us: record.time_us,
            original_time_us: record.original_time_us,
            level: record.level,
            flags: record.flags,
            origin: record.origin,
            id: record.id,
            body: record.body.to_vec(),
        }
    }

    pub fn as_record(&self) -> Record<'_> {
        Record {
            time_us: self.time_us,
            original_time_us: self.original_time_us,
            level: self.level,
            flags: self.flags,
            origin: self.origin,
            id: self.id,
            body: &self.body,
        }
    }

    pub fn cursor(&self) -> Cursor {
        Cursor { time_us: self.time_us, id: self.id }
    }
}

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Newest first, by (time, id).
    pub records: Vec<OwnedRecord>,
    /// The origins of these records.
    pub origins: HashMap<OriginId, Origin>,
    /// Where the next page begins; `None` when there is nothing below.
    pub cursor: Option<Cursor>,
    /// False when the time budget ended the search before the page was full: `cursor` goes on from there.
    pub complete: bool,
    pub blocks_read: usize,
}

/// One page, newest first, in one snapshot. The budget ends a search with what was found so far and a cursor, between
/// two statements; a statement that goes far beyond it is an error.
pub async fn search(
    store: &Store,
    scope: &TenantScope,
    filter: &Filter,
    range: TimeRange,
    page: Page,
    budget_ms: u64,
) -> Result<Found, StoreError> {
    let deadline = Instant::now() + Duration::from_millis(budget_ms);
    let Some(wanted) = Wanted::new(scope, filter, range, page.after) else {
        return Ok(Found { complete: true, ..Found::default() });
    };
    let mut client = store.pooled().await?.abandonable();
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(StoreError::sql("begin", "a search"))?;
    let hits = Hits::new(filter.clone(), wanted, page.limit.clamp(1, PAGE_RECORDS_MAX));
    let statement_ms_max = budget_ms.saturating_add(STATEMENT_MS_MAX).min(MS_MAX);
    let settings = format!("set local statement_timeout = {statement_ms_max}; {}", candidates::SETTINGS);
    // Sent ahead of the first statement, not waited for.
    let (set, found) = join(transaction.batch_execute(&settings), scan(&transaction, hits, deadline)).await;
    // Nothing was written; an error of the search is the one to tell.
    let ended = transaction.commit().await.map_err(StoreError::sql("end", "a search"));
    let (hits, scanned) = found?;
    set.map_err(StoreError::sql("set up", "a search"))?;
    ended?;
    client.finish();
    Ok(hits.into_found(scanned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_it_shows() {
        let id = RecordId { topic_partition: 3, kafka_offset: 99, index: 7 };
        for time_us in [-5, 0, 1_700_000_000_000_000] {
            let cursor = Cursor { time_us, id };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", "1", "1.2", "x.1-2-3", "1.1-2-3-4"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad:?}");
        }
    }
}
