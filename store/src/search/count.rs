//! How many records there are over time, by level: those that a search would show, counted in one snapshot, newest first, until the budget is
//! over. Where all records of a block count alike, what the block says of itself is enough, and it is not read.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cordwood_core::block::{Block, BlockError};
use cordwood_core::filter::Filter;
use cordwood_core::level::Level;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::task::DeletedTasks;
use tokio_postgres::Transaction;

use super::fetch::payloads;
use super::ground;
use super::hits::fetched_at_once;
use super::list::{Candidate, Head};
use super::look::{Looks, look, screened};
use super::order::Order;
use super::page::{Direction, Page, TimeRange};
use super::scan::by_tables;
use super::session::{Session, both, is_timeout};
use super::wanted::Wanted;
use super::{ATTEMPTS_MAX, begin};
use crate::connect::Store;
use crate::error::StoreError;
use crate::scope::Scope;
use crate::search::session::is_dropped_table;
use crate::tombstones;

/// Payloads fetched at a time.
const FETCH: usize = 32;
/// Origins known at a time.
const ORIGINS_MAX: usize = 10_000;

/// Of a level each, in the order of [`Level::ALL`].
pub type OfLevels = [u64; Level::ALL.len()];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By the number of the bin since the Unix epoch; those without a record are left out.
    pub bins: BTreeMap<i64, OfLevels>,
    /// So many of them were counted by blocks that were not read.
    pub by_block: u64,
    /// Bins before that of this time were not counted, and it itself not whole; `None`: all was.
    pub searched_to_us: Option<i64>,
}

impl Counts {
    pub fn records(&self) -> u64 {
        self.bins.values().flatten().sum()
    }
}

/// In bins of `bin_us`.
///
/// # Errors
/// When PostgreSQL does not answer.
pub async fn count(
    store: &Store,
    scope: &Scope,
    filter: &Filter,
    range: TimeRange,
    bin_us: i64,
    budget_ms: u64,
) -> Result<Counts, StoreError> {
    let budget = Duration::from_millis(budget_ms);
    let deadline = Instant::now() + budget;
    let page = Page { limit: 1, after: None, direction: Direction::NewestFirst };
    let Some(wanted) = Wanted::new(scope, filter, range, page) else { return Ok(Counts::default()) };
    let wanted = Arc::new(wanted.with_heads());
    let mut attempt = 1;
    loop {
        let counter = Counter::new(filter.clone(), Arc::clone(&wanted), bin_us);
        match count_once(store, counter, budget, deadline).await {
            // Its records had expired: what is left is counted from the beginning.
            Err(error) if is_dropped_table(&error) && attempt < ATTEMPTS_MAX => attempt += 1,
            ended => return ended,
        }
    }
}

async fn count_once(
    store: &Store,
    mut counter: Counter,
    budget: Duration,
    deadline: Instant,
) -> Result<Counts, StoreError> {
    let mut client = store.pooled().await?.abandonable();
    let transaction = begin(&mut client).await?;
    let set = transaction.batch_execute(&Session::settings(budget)).await;
    set.map_err(StoreError::sql("set up", "a count"))?;
    counter.deleted = tombstones::read(store, &transaction).await?;
    let mut session = Session::new(&transaction);
    let counted = counter.count(&mut session, deadline).await;
    // Nothing was written; an error of the count is the one to tell.
    let ended = transaction.commit().await.map_err(StoreError::sql("end", "a count"));
    let counted = counted?;
    ended?;
    client.finish();
    Ok(counted)
}

struct Counter {
    filter: Filter,
    wanted: Arc<Wanted>,
    deleted: Arc<DeletedTasks>,
    origins: HashMap<OriginId, Origin>,
    bin_us: i64,
    counts: Mutex<Counts>,
}

impl Counter {
    fn new(filter: Filter, wanted: Arc<Wanted>, bin_us: i64) -> Counter {
        let (deleted, origins) = (Arc::default(), HashMap::new());
        Counter { filter, wanted, deleted, origins, bin_us: bin_us.max(1), counts: Mutex::default() }
    }

    fn into_counts(self) -> Counts {
        self.counts.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    async fn count(mut self, session: &mut Session<'_>, deadline: Instant) -> Result<Counts, StoreError> {
        let wanted = Arc::clone(&self.wanted);
        let mut order = Order::new(&wanted, ground::chunks(session.transaction, &wanted).await?);
        let mut has_counted = false;
        loop {
            let mut batch = match order.next(session).await {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(self.into_counts()),
                Err(error) if is_timeout(&error) => {
                    session.rollback_to_savepoint().await?;
                    let next_at_us = order.next_at_us().filter(|time_us| wanted.is_past_begin(*time_us));
                    match next_at_us {
                        _ if order.shrink() => Vec::new(),
                        Some(time_us) => return Ok(self.ended_at(time_us)),
                        None => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            };
            has_counted |= !batch.is_empty();
            batch.retain(|block| !self.takes_whole(block));
            for (tables, blocks) in by_tables(batch) {
                session.reserve_locks(tables).await?;
                let ended_at_us;
                let blocks: Vec<Candidate> = blocks.into();
                (self, ended_at_us) = self.read(session.transaction, &blocks, deadline).await?;
                if let Some(time_us) = ended_at_us {
                    return Ok(self.ended_at(time_us));
                }
            }
            if has_counted
                && Instant::now() >= deadline
                && let Some(time_us) = order.next_at_us().filter(|time_us| wanted.is_past_begin(*time_us))
            {
                return Ok(self.ended_at(time_us));
            }
        }
    }

    /// Nothing that ends before this was looked at.
    fn ended_at(self, time_us: i64) -> Counts {
        let first = time_us.div_euclid(self.bin_us);
        let mut counts = self.into_counts();
        counts.bins = counts.bins.split_off(&first);
        counts.by_block = counts.by_block.min(counts.records());
        counts.searched_to_us = Some(time_us);
        counts
    }

    /// Counts a block by what it says of itself, where that tells how each of its records counts.
    fn takes_whole(&mut self, block: &Candidate) -> bool {
        let Some(Head { tenant, level: Some(level), count }) = &block.head else { return false };
        let bin = block.time_from_us.div_euclid(self.bin_us);
        let is_whole = self.filter.levels_matched() & level.bit() != 0
            && self.wanted.has_time(block.time_from_us)
            && self.wanted.has_time(block.time_to_us)
            && bin == block.time_to_us.div_euclid(self.bin_us)
            && self.wanted.scope.sees_all_of(tenant)
            && !self.deleted.has_some_of(tenant);
        if is_whole {
            let counts = self.counts.get_mut().unwrap_or_else(PoisonError::into_inner);
            counts.bins.entry(bin).or_default()[*level as usize] += count;
            counts.by_block += count;
        }
        is_whole
    }

    fn forget_origins(&mut self) {
        if self.origins.len() > ORIGINS_MAX {
            self.origins.clear();
        }
    }

    /// Returns where the time ran out, if it did; some of the blocks are read all the same.
    async fn read(
        mut self,
        transaction: &Transaction<'_>,
        mut blocks: &[Candidate],
        deadline: Instant,
    ) -> Result<(Counter, Option<i64>), StoreError> {
        let first = fetched_at_once(blocks, FETCH);
        let mut fetched = payloads(transaction, first).await?;
        while !fetched.is_empty() {
            blocks = &blocks[fetched.len()..];
            self.forget_origins();
            let is_over = Instant::now() >= deadline;
            let next = if is_over { &[] } else { fetched_at_once(blocks, FETCH) };
            (self, fetched) =
                both(look(self, transaction, fetched, usize::MAX), payloads(transaction, next)).await?;
            if let (true, Some(block)) = (is_over, blocks.first()) {
                return Ok((self, Some(block.edge_us(Direction::NewestFirst))));
            }
        }
        Ok((self, None))
    }
}

impl Looks for Counter {
    fn knows(&self, origin: OriginId) -> bool {
        self.origins.contains_key(&origin)
    }

    fn learn(&mut self, id: OriginId, origin: Origin) {
        self.origins.insert(id, origin);
    }

    fn block(&self, block: &Block<'_>, records: Option<&[Range<u32>]>) -> Result<(), BlockError> {
        let (filter, wanted, deleted) = (&self.filter, &self.wanted, &self.deleted);
        // Which task a record is of, its body says.
        let reads_bodies = filter.reads_bodies() || !deleted.is_empty();
        let mut bins: BTreeMap<i64, OfLevels> = BTreeMap::new();
        let ended = screened(block, records, &filter.screen(), Direction::OldestFirst, |record| {
            if !wanted.has_level_and_time(block.levels()[record], block.times_us()[record]) {
                return Ok(());
            }
            let record = if reads_bodies { block.record(record)? } else { block.head(record) };
            let Some(origin) = self.origins.get(&record.origin) else { return Ok(()) };
            let is_seen = wanted.scope.sees(record.flags, origin, record.time_us)
                && filter.matches(&record, origin)
                && !deleted.hide(&record, origin);
            if is_seen {
                let bin = record.time_us.div_euclid(self.bin_us);
                bins.entry(bin).or_default()[record.level as usize] += 1;
            }
            Ok(())
        });
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (bin, of_levels) in bins {
            let all = counts.bins.entry(bin).or_default();
            all.iter_mut().zip(of_levels).for_each(|(all, more)| *all += more);
        }
        ended
    }
}
