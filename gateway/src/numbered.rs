//! Gives pages by number, for clients that ask so. The gateway remembers where each page begins from the moment at which it gave page 0. So
//! records that are stored later move no page, and a page reads nothing of those before it.
//!
//! A gateway that has not given the earlier pages (after a restart, or on another replica) reads them once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cordwood_core::filter::Filter;
use cordwood_store::Store;
use cordwood_store::scope::Scope;
use cordwood_store::search::{Cursor, Found, Page, TimeRange, search};
use moka::sync::Cache;

use crate::problem::Problem;

/// Listings that are remembered.
const LISTINGS_MAX: u64 = 10_000;
/// Pages of one listing whose begin is remembered.
const PAGES_MAX: usize = 1_000;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Of records that one search brings on the way to a page.
const STRIDE_RECORDS: usize = 5_000;
/// Before and for a page.
const BUDGET: Duration = Duration::from_secs(30);

/// Which listing, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listing {
    pub caller: String,
    /// As it was asked for.
    pub question: String,
    pub page_records: usize,
}

/// By page, what it follows.
type Begins = Arc<Mutex<BTreeMap<u64, Cursor>>>;

#[derive(Debug)]
pub struct Numbered(Cache<Listing, Begins>);

impl Default for Numbered {
    fn default() -> Numbered {
        let cache = Cache::builder().max_capacity(LISTINGS_MAX).time_to_idle(FORGOTTEN_AFTER);
        Numbered(cache.build())
    }
}

impl Numbered {
    /// The records of a page, newest first; none behind the last page.
    pub async fn page(
        &self,
        store: &Store,
        scope: &Scope,
        filter: &Filter,
        listing: Listing,
        number: u64,
    ) -> Result<Found, Problem> {
        if number == 0 {
            self.0.insert(listing.clone(), Begins::default());
        }
        let size = listing.page_records;
        let begins = self.0.get_with(listing, Begins::default);
        let deadline = Instant::now() + BUDGET;
        let (mut at, mut after) = nearest(&begins, number);
        loop {
            let stride = stride(number - at, size);
            let left = deadline.saturating_duration_since(Instant::now()).as_millis() as u64;
            let page = Page { after, ..Page::first(stride) };
            let found = search(store, scope, filter, TimeRange::default(), page, left).await;
            let mut found = found.map_err(|error| Problem::store(&error))?;
            let is_last = found.cursor.is_none();
            if found.records.len() < stride && !is_last {
                return Err(Problem::too_slow(BUDGET));
            }
            let whole = found.records.chunks_exact(size);
            for (page, last) in (at + 1..).zip(whole.filter_map(|records| records.last())) {
                remember(&begins, page, last.cursor());
            }
            let is_there = at + (stride / size) as u64 > number;
            if is_there || is_last {
                let skipped = usize::try_from(number - at).unwrap_or(usize::MAX).saturating_mul(size);
                found.records = found.records.into_iter().skip(skipped).take(size).collect();
                return Ok(found);
            }
            at += (stride / size) as u64;
            after = found.records.last().map(|record| record.cursor());
        }
    }
}

/// The last page at or before `number` of which it is known where it begins.
fn nearest(begins: &Begins, number: u64) -> (u64, Option<Cursor>) {
    let begins = begins.lock().unwrap_or_else(PoisonError::into_inner);
    begins.range(..=number).next_back().map_or((0, None), |(page, begin)| (*page, Some(*begin)))
}

fn remember(begins: &Begins, page: u64, begin: Cursor) {
    let mut begins = begins.lock().unwrap_or_else(PoisonError::into_inner);
    begins.insert(page, begin);
    if begins.len() > PAGES_MAX {
        // Readers go on from the newest page they have seen.
        begins.pop_first();
    }
}

/// Records to ask for when `ahead` pages lie before the one that is wanted: whole pages, that one included where it fits.
fn stride(ahead: u64, size: usize) -> usize {
    let pages = usize::try_from(ahead.saturating_add(1)).unwrap_or(usize::MAX);
    pages.min((STRIDE_RECORDS / size).max(1)) * size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_is_of_whole_pages() {
        for (ahead, size, expected) in [
            (0, 100, 100),
            (1, 100, 200),
            (1_000_000, 100, 5_000),
            (7, 1_000, 5_000),
            (3, 4_000, 4_000),
            (9, 3, 30),
        ] {
            assert_eq!(stride(ahead, size), expected, "{ahead} pages of {size}");
        }
    }

    #[test]
    fn the_nearest_page_that_is_known_is_the_begin() {
        let begins = Begins::default();
        assert_eq!(nearest(&begins, 7), (0, None));
        let cursor = |text: &str| -> Cursor { text.parse().unwrap() };
        remember(&begins, 2, cursor("20.0-0-0"));
        remember(&begins, 5, cursor("10.0-0-0"));
        assert_eq!(nearest(&begins, 1), (0, None));
        assert_eq!(nearest(&begins, 4), (2, Some(cursor("20.0-0-0"))));
        assert_eq!(nearest(&begins, 5), (5, Some(cursor("10.0-0-0"))));
        (6..2_000).for_each(|page| remember(&begins, page, cursor("5.0-0-0")));
        assert_eq!(begins.lock().unwrap().len(), PAGES_MAX);
        assert_eq!(nearest(&begins, 1_999).0, 1_999);
    }
}
