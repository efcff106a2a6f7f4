//! Pages of records in either direction: candidate blocks in the order of time, their payloads, the one evaluator. A page is found
//! within one snapshot: a record is seen once, also while it is sealed.

mod count;
mod fetch;
mod ground;
mod hits;
mod index;
mod list;
mod look;
mod order;
mod page;
mod scan;
mod session;
mod wanted;

use std::time::{Duration, Instant};

use cordwood_core::filter::Filter;
use tokio::sync::watch;
use tokio_postgres::{Client, IsolationLevel, Transaction};

pub use self::count::{Counts, OfLevels, count};
use self::hits::Hits;
pub use self::page::{Cursor, CursorError, Direction, Found, OwnedRecord, Page, TimeRange};
use self::scan::scan;
use self::session::{Session, both, is_dropped_table};
pub(crate) use self::wanted::{Wanted, timestamp};
use crate::connect::Store;
use crate::error::StoreError;
use crate::scope::Scope;
use crate::tombstones;

const PAGE_RECORDS_MAX: usize = 10_000;
/// How often a search begins anew because a table partition that it had listed was dropped.
const ATTEMPTS_MAX: usize = 5;

/// One page in one snapshot. The budget ends a search with what was found so far and a cursor, between two statements, each of
/// which looks at a bounded number of blocks; a statement that goes far beyond it is an error.
pub async fn search(
    store: &Store,
    scope: &Scope,
    filter: &Filter,
    range: TimeRange,
    page: Page,
    budget_ms: u64,
) -> Result<Found, StoreError> {
    let budget = Duration::from_millis(budget_ms);
    let deadline = Instant::now() + budget;
    let Some(wanted) = Wanted::new(scope, filter, range, page) else {
        return Ok(Found { complete: true, ..Found::default() });
    };
    let limit = page.limit.clamp(1, PAGE_RECORDS_MAX);
    let mut attempt = 1;
    loop {
        let found = search_once(store, filter, &wanted, limit, budget, deadline).await;
        match found {
            // Its records had expired: what is left is looked at from the beginning.
            Err(error) if is_dropped_table(&error) && attempt < ATTEMPTS_MAX => attempt += 1,
            ended => return ended,
        }
    }
}

/// One snapshot.
async fn begin(client: &mut Client) -> Result<Transaction<'_>, StoreError> {
    let begun =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
    begun.await.map_err(StoreError::sql("begin", "a search"))
}

async fn search_once(
    store: &Store,
    filter: &Filter,
    wanted: &Wanted,
    limit: usize,
    budget: Duration,
    deadline: Instant,
) -> Result<Found, StoreError> {
    let mut client = store.pooled().await?.abandonable();
    let transaction = begin(&mut client).await?;
    let settings = Session::settings(budget);
    let mut session = Session::new(&transaction);
    // Sent ahead of the first statement, not waited for.
    let set =
        async { transaction.batch_execute(&settings).await.map_err(StoreError::sql("set up", "a search")) };
    // The same snapshot says which tasks are deleted; it is there before the first record is looked at.
    let (told, deleted) = watch::channel(None);
    let tombstones = async {
        let tasks = tombstones::read(store, &transaction).await?;
        told.send_replace(Some(tasks));
        Ok(())
    };
    let hits = Hits::new(filter.clone(), wanted.clone(), limit, deleted);
    let found = both(both(set, tombstones), scan(&mut session, hits, deadline)).await;
    // Nothing was written; an error of the search is the one to tell.
    let ended = transaction.commit().await.map_err(StoreError::sql("end", "a search"));
    let (_, (hits, scanned)) = found?;
    ended?;
    client.finish();
    Ok(hits.into_found(scanned))
}
