//! Pages of records: candidate blocks newest first, their payloads, the one evaluator. All within one snapshot.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cordwood_core::block::{Block, BlockError};
use cordwood_core::filter::{Filter, Screen};
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::record::{Flags, Record};
use futures::future::join;
use tokio_postgres::{IsolationLevel, Transaction};

use crate::candidates::{self, Candidate, Payload, Wanted};
use crate::connect::Store;
use crate::error::StoreError;
use crate::origins;
use crate::scope::TenantScope;

/// Payloads fetched at a time: few first, because most pages are full after a few blocks.
const FETCH: [usize; 4] = [8, 16, 32, 64];
/// A search that has read so many blocks is likely to need more: the next are fetched while these are searched, and postings
/// tell which may be passed over.
const AHEAD_FROM: usize = 24;
/// Blocks whose postings are looked at together: few first.
const POSTINGS: [usize; 4] = [64, 128, 256, 512];
/// Unpacked bytes of the blocks fetched at a time; a block is at most a few MiB, unless one record is.
const FETCH_BYTES_MAX: u64 = 32 << 20;
const PAGE_RECORDS_MAX: usize = 10_000;
/// Bytes of bodies in a page, or a single larger record: such a page ends early and its cursor goes on.
const PAGE_BYTES_MAX: usize = 32 << 20;
/// Origins known at a time: a search over a long time meets those of every pod there was.
const ORIGINS_MAX: usize = 10_000;
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

/// Where a scan ended.
struct Scanned {
    /// Nothing below was looked at: `None` when there is nothing below.
    stopped_above_us: Option<i64>,
    complete: bool,
    blocks_read: usize,
}

async fn scan(
    transaction: &Transaction<'_>,
    mut hits: Hits,
    deadline: Instant,
) -> Result<(Hits, Scanned), StoreError> {
    let wanted = Arc::clone(&hits.wanted);
    let mut below = None;
    let mut blocks_read = 0;
    let mut fetches = growing(&FETCH);
    let mut looks = growing(&POSTINGS);
    let mut limits = growing(&candidates::LIMITS);
    // Whether the search ends above a block that is next.
    let ends = |hits: &Hits, next: &Candidate, blocks_read: usize| {
        let complete = hits.is_final_above(next.time_to_us);
        // Only below where this page began: blocks that reach across a cursor are read again with every page, and a
        // cursor among them would not move.
        let late = || blocks_read > 0 && next.time_to_us < wanted.to_us() && Instant::now() >= deadline;
        (complete || late()).then_some(Scanned {
            stopped_above_us: Some(next.time_to_us),
            complete,
            blocks_read,
        })
    };
    loop {
        let limit = limits();
        let mut list = VecDeque::from(candidates::list(transaction, &wanted, below, limit).await?);
        below = list.back().filter(|_| list.len() == limit).map(|last| (last.time_to_us, last.id));
        while let Some(next) = list.front() {
            if let Some(scanned) = ends(&hits, next, blocks_read) {
                return Ok((hits, scanned));
            }
            let blocks: Vec<Candidate> = if !wanted.has_to_meet() {
                list.drain(..).collect()
            } else if blocks_read < AHEAD_FROM {
                list.drain(..list.len().min(AHEAD_FROM)).collect()
            } else {
                let these = list.drain(..list.len().min(looks())).collect();
                candidates::meeting(transaction, &wanted, these).await?
            };
            let mut rest = &blocks[..];
            let mut fetched: Option<Vec<Payload>> = None;
            while let Some(next) = rest.first() {
                if let Some(scanned) = ends(&hits, next, blocks_read) {
                    return Ok((hits, scanned));
                }
                let payloads = match fetched.take() {
                    Some(payloads) => payloads,
                    None => candidates::payloads(transaction, hits.needed(rest, fetches())).await?,
                };
                rest = &rest[payloads.len()..];
                blocks_read += payloads.len();
                let ahead = if blocks_read >= AHEAD_FROM { hits.needed(rest, fetches()) } else { &[] };
                let (searched, next) =
                    join(hits.take(transaction, payloads), candidates::payloads(transaction, ahead)).await;
                hits = searched?;
                fetched = Some(next?).filter(|next| !next.is_empty());
            }
        }
        if below.is_none() {
            return Ok((hits, Scanned { stopped_above_us: None, complete: true, blocks_read }));
        }
    }
}

/// One size after the other, the last again and again.
fn growing(sizes: &[usize]) -> impl FnMut() -> usize {
    let mut rest = sizes.iter().copied();
    let mut size = 0;
    move || {
        size = rest.next().unwrap_or(size);
        size
    }
}

/// A search under way: the best records so far, by (time, id).
struct Hits {
    filter: Filter,
    wanted: Arc<Wanted>,
    limit: usize,
    best: BTreeMap<Cursor, OwnedRecord>,
    /// Of the bodies.
    bytes: usize,
    /// Older records had to go for lack of room: from then on the page takes none below its last.
    overflowed: bool,
    origins: HashMap<OriginId, Origin>,
}

impl Hits {
    fn new(filter: Filter, wanted: Wanted, limit: usize) -> Hits {
        Hits {
            filter,
            wanted: Arc::new(wanted),
            limit,
            best: BTreeMap::new(),
            bytes: 0,
            overflowed: false,
            origins: HashMap::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.overflowed || self.best.len() >= self.limit
    }

    /// The last record of a full page.
    fn last(&self) -> Option<Cursor> {
        self.best.first_key_value().map(|(last, _)| *last).filter(|_| self.is_full())
    }

    /// Blocks that end below this cannot add to a full page.
    fn floor_us(&self) -> Option<i64> {
        self.last().map(|last| last.time_us)
    }

    fn insert(&mut self, record: OwnedRecord) {
        self.bytes += record.body.len();
        if let Some(twin) = self.best.insert(record.cursor(), record) {
            self.bytes -= twin.body.len();
        }
        while self.best.len() > self.limit || (self.bytes > PAGE_BYTES_MAX && self.best.len() > 1) {
            let Some((_, oldest)) = self.best.pop_first() else { return };
            self.bytes -= oldest.body.len();
            self.overflowed = true;
        }
    }

    /// The first `count` of these, but no further than the page can need: what lies below its last hit is not fetched.
    fn needed<'b>(&self, blocks: &'b [Candidate], count: usize) -> &'b [Candidate] {
        let floor = self.floor_us();
        let above = |block: &&Candidate| floor.is_none_or(|floor| block.time_to_us >= floor);
        let mut bytes = 0;
        let fits = |block: &&Candidate| {
            let first = bytes == 0;
            bytes += block.raw_bytes;
            first || bytes <= FETCH_BYTES_MAX
        };
        &blocks[..blocks.iter().take(count).take_while(above).take_while(fits).count()]
    }

    /// The page is full and nothing at or below `time_us` can come before its last record.
    fn is_final_above(&self, time_us: i64) -> bool {
        self.floor_us().is_some_and(|floor| floor > time_us)
    }

    /// Searches them on a thread of its own: unpacking is work, and what comes next is fetched meanwhile.
    async fn take(
        mut self,
        transaction: &Transaction<'_>,
        payloads: Vec<Payload>,
    ) -> Result<Hits, StoreError> {
        if self.origins.len() > ORIGINS_MAX {
            let used: HashSet<OriginId> = self.best.values().map(|record| record.origin).collect();
            self.origins.retain(|id, _| used.contains(id));
        }
        let payloads = Arc::new(payloads);
        loop {
            let these = Arc::clone(&payloads);
            let missing;
            (self, missing) = tokio::task::spawn_blocking(move || {
                let missing = self.search(&these);
                (self, missing)
            })
            .await
            .map_err(|error| StoreError::Invalid(format!("a search did not end: {error}")))?;
            if missing.is_empty() {
                return Ok(self);
            }
            let found = origins::read(transaction, &missing).await?;
            for id in missing {
                self.origins.insert(id, found.get(&id).cloned().unwrap_or_default());
            }
        }
    }

    /// Returns origins that have to be known first; then nothing was searched.
    fn search(&mut self, payloads: &[Payload]) -> Vec<OriginId> {
        let mut opened = Vec::with_capacity(payloads.len());
        for payload in payloads {
            match Block::open(&payload.bytes) {
                Ok(block) => opened.push((payload.block, block)),
                Err(error) => damaged(payload.block, &error),
            }
        }
        let all = opened.iter().flat_map(|(_, block)| block.origins());
        let mut missing: Vec<OriginId> = all.filter(|id| !self.origins.contains_key(id)).copied().collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            return missing;
        }
        let filter = self.filter.clone();
        let screen = filter.screen();
        for (id, block) in opened {
            if let Err(error) = self.search_block(&block, &screen) {
                damaged(id, &error);
            }
        }
        missing
    }

    fn search_block(&mut self, block: &Block<'_>, screen: &Screen<'_>) -> Result<(), BlockError> {
        if !(0..block.len()).any(|record| self.is_asked_for(block, record)) {
            return Ok(());
        }
        match screen.may_match(block.bodies()?, block.body_ends()) {
            Some(records) => records.iter().try_for_each(|&record| self.look_at(block, record as usize)),
            None => (0..block.len()).try_for_each(|record| self.look_at(block, record)),
        }
    }

    /// What is known without the body: level, time, page.
    fn is_asked_for(&self, block: &Block<'_>, record: usize) -> bool {
        let time_us = block.times_us()[record];
        if block.levels()[record].bit() & self.wanted.level_mask == 0 || !self.wanted.has_time(time_us) {
            return false;
        }
        let key = Cursor { time_us, id: block.id(record) };
        self.wanted.after.is_none_or(|after| key < after) && self.last().is_none_or(|last| key >= last)
    }

    fn look_at(&mut self, block: &Block<'_>, record: usize) -> Result<(), BlockError> {
        if !self.is_asked_for(block, record) {
            return Ok(());
        }
        let record = block.record(record)?;
        let Some(origin) = self.origins.get(&record.origin) else { return Ok(()) };
        if self.filter.matches(&record, origin) {
            self.insert(OwnedRecord::of(&record));
        }
        Ok(())
    }

    fn into_found(self, scanned: Scanned) -> Found {
        let is_full = self.is_full();
        let mut records: Vec<OwnedRecord> = self.best.into_values().rev().collect();
        let mut cursor = None;
        if is_full && scanned.complete {
            cursor = records.last().map(OwnedRecord::cursor);
        } else if let (false, Some(above_us)) = (scanned.complete, scanned.stopped_above_us) {
            // Records at or below where the scan stopped are not final: they come with the next page.
            records.retain(|record| record.time_us > above_us);
            let everything_at =
                RecordId { topic_partition: u32::MAX, kafka_offset: u64::MAX, index: u32::MAX };
            cursor = Some(Cursor { time_us: above_us, id: everything_at });
        }
        let mut origins = self.origins;
        let used: HashSet<OriginId> = records.iter().map(|record| record.origin).collect();
        origins.retain(|id, _| used.contains(id));
        Found { records, origins, cursor, complete: scanned.complete, blocks_read: scanned.blocks_read }
    }
}

/// A damaged block hides its own records, not the others'.
fn damaged(block: i64, error: &BlockError) {
    tracing::error!(block, %error, "block does not open");
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
