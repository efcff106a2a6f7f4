//! Collects the records of a page during a search: keeps the best ones, and knows when no better one can follow.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cordwood_core::block::{Block, BlockError};
use cordwood_core::filter::Filter;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::task::DeletedTasks;
use tokio::sync::watch;
use tokio_postgres::Transaction;

use super::fetch::Payload;
use super::list::Candidate;
use super::look::{Looks, look, screened};
use super::page::{Cursor, Direction, Found, OwnedRecord};
use super::wanted::Wanted;
use crate::error::StoreError;

/// Where a scan ended.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Nothing from here on in the direction was looked at: `None` when nothing is there.
    pub stopped_at_us: Option<i64>,
    /// The time did not run out.
    pub complete: bool,
}

/// Payloads fetched at a time: few first, because most pages are full after a few blocks, then as many as were read so far.
const FETCH_MIN: usize = 8;
const FETCH_MAX: usize = 64;
/// Unpacked bytes of the blocks fetched at a time; a block is at most a few MiB, unless one record is.
const FETCH_BYTES_MAX: u64 = 32 << 20;
/// Bytes of bodies in a page, or a single larger record: such a page ends early and its cursor goes on.
const PAGE_BYTES_MAX: usize = 32 << 20;
/// Origins known at a time: a search over a long time meets those of every pod there was.
const ORIGINS_MAX: usize = 10_000;

/// The first of these, so many at the most, that may be in memory together.
pub(super) fn fetched_at_once(blocks: &[Candidate], count: usize) -> &[Candidate] {
    let mut bytes = 0;
    let fits = |block: &&Candidate| {
        let first = bytes == 0;
        bytes += block.raw_bytes;
        first || bytes <= FETCH_BYTES_MAX
    };
    &blocks[..blocks.iter().take(count).take_while(fits).count()]
}

/// A search under way.
pub(super) struct Hits {
    filter: Filter,
    /// Told before the first blocks are.
    told: watch::Receiver<Option<Arc<DeletedTasks>>>,
    deleted: Arc<DeletedTasks>,
    pub wanted: Arc<Wanted>,
    best: Mutex<Best>,
    origins: HashMap<OriginId, Origin>,
    pub blocks_read: usize,
}

/// The first records of a direction so far, by (time, id).
struct Best {
    direction: Direction,
    limit: usize,
    records: BTreeMap<Cursor, OwnedRecord>,
    /// Of the bodies.
    bytes: usize,
    /// Records had to go for lack of room: from then on the page takes none beyond its last.
    overflowed: bool,
}

impl Best {
    fn is_full(&self) -> bool {
        self.overflowed || self.records.len() >= self.limit
    }

    /// The last record of a full page.
    fn last(&self) -> Option<Cursor> {
        let last = match self.direction {
            Direction::NewestFirst => self.records.first_key_value(),
            Direction::OldestFirst => self.records.last_key_value(),
        };
        last.map(|(last, _)| *last).filter(|_| self.is_full())
    }

    fn insert(&mut self, record: OwnedRecord) {
        self.bytes += record.body.len();
        if let Some(twin) = self.records.insert(record.cursor(), record) {
            self.bytes -= twin.body.len();
        }
        while self.records.len() > self.limit || (self.bytes > PAGE_BYTES_MAX && self.records.len() > 1) {
            let last = match self.direction {
                Direction::NewestFirst => self.records.pop_first(),
                Direction::OldestFirst => self.records.pop_last(),
            };
            let Some((_, last)) = last else { return };
            self.bytes -= last.body.len();
            self.overflowed = true;
        }
    }
}

impl Hits {
    pub fn new(
        filter: Filter,
        wanted: Wanted,
        limit: usize,
        told: watch::Receiver<Option<Arc<DeletedTasks>>>,
    ) -> Hits {
        let direction = wanted.direction;
        Hits {
            filter,
            told,
            deleted: Arc::default(),
            wanted: Arc::new(wanted),
            best: Mutex::new(Best {
                direction,
                limit,
                records: BTreeMap::new(),
                bytes: 0,
                overflowed: false,
            }),
            origins: HashMap::new(),
            blocks_read: 0,
        }
    }

    fn best(&self) -> MutexGuard<'_, Best> {
        self.best.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks that lie beyond this cannot add to a full page.
    fn end_us(&self) -> Option<i64> {
        self.best().last().map(|last| last.time_us)
    }

    /// The first of these, few at first, but no further than the page can need: what lies beyond its last hit is not fetched.
    pub fn needed<'b>(&self, blocks: &'b [Candidate]) -> &'b [Candidate] {
        let count = (self.blocks_read + FETCH_MIN).min(FETCH_MAX);
        let (direction, end) = (self.wanted.direction, self.end_us());
        let within =
            |block: &&Candidate| end.is_none_or(|end| !direction.is_before(end, block.edge_us(direction)));
        fetched_at_once(&blocks[..blocks.iter().take(count).take_while(within).count()], count)
    }

    /// The page is full, and nothing from `time_us` on can come before its last record.
    pub fn is_final_before(&self, time_us: i64) -> bool {
        self.end_us().is_some_and(|end| self.wanted.direction.is_before(end, time_us))
    }

    /// Searches them on a thread of its own: unpacking is work, and what comes next is fetched meanwhile.
    pub async fn take(
        mut self,
        transaction: &Transaction<'_>,
        payloads: Vec<Payload>,
    ) -> Result<Hits, StoreError> {
        if self.origins.len() > ORIGINS_MAX {
            let used: HashSet<OriginId> = self.best().records.values().map(|record| record.origin).collect();
            self.origins.retain(|id, _| used.contains(id));
        }
        // The first ones fill the page of a common word, and then few records of the others are wanted: threads beside each other would
        // put bodies together in vain.
        let threads = if self.blocks_read == 0 { 1 } else { usize::MAX };
        self.blocks_read += payloads.len();
        let Some(deleted) = self.told.wait_for(Option::is_some).await.ok().and_then(|told| told.clone())
        else {
            return Err(StoreError::Invalid("which tasks are deleted could not be read".to_owned()));
        };
        self.deleted = deleted;
        look(self, transaction, payloads, threads).await
    }

    /// What is known without the body: level, time, page. `last`: the last record of a full page.
    fn is_asked_for(&self, block: &Block<'_>, record: usize, last: Option<Cursor>) -> bool {
        let time_us = block.times_us()[record];
        if !self.wanted.has_level_and_time(block.levels()[record], time_us) {
            return false;
        }
        let key = Cursor { time_us, id: block.id(record) };
        let direction = self.wanted.direction;
        self.wanted.after.is_none_or(|after| direction.is_before(after, key))
            && last.is_none_or(|last| !direction.is_before(last, key))
    }

    fn look_at(&self, block: &Block<'_>, record: usize) -> Result<(), BlockError> {
        let last = self.best().last();
        if !self.is_asked_for(block, record, last) {
            return Ok(());
        }
        let record = block.record(record)?;
        let Some(origin) = self.origins.get(&record.origin) else { return Ok(()) };
        let may_see = self.wanted.scope.sees(record.flags, origin, record.time_us);
        let is_seen = may_see && self.filter.matches(&record, origin);
        if is_seen && !self.deleted.hide(&record, origin) {
            self.best().insert(OwnedRecord::of(&record));
        }
        Ok(())
    }

    pub fn into_found(self, scanned: Scanned) -> Found {
        let best = self.best.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (is_full, direction) = (best.is_full(), best.direction);
        let mut records: Vec<OwnedRecord> = best.records.into_values().collect();
        if direction == Direction::NewestFirst {
            records.reverse();
        }
        let (mut cursor, mut searched_to_us) = (None, None);
        if is_full && scanned.complete {
            cursor = records.last().map(OwnedRecord::cursor);
            searched_to_us = cursor.map(|cursor| cursor.time_us);
        } else if let (false, Some(at_us)) = (scanned.complete, scanned.stopped_at_us) {
            // Records from where the scan stopped are not final: they come with the next page.
            records.retain(|record| direction.is_before(record.time_us, at_us));
            cursor = Some(match direction {
                Direction::NewestFirst => Cursor::end_of(at_us),
                Direction::OldestFirst => Cursor::end_of(at_us.saturating_sub(1)),
            });
            searched_to_us = Some(at_us);
        }
        let mut origins = self.origins;
        let used: HashSet<OriginId> = records.iter().map(|record| record.origin).collect();
        origins.retain(|id, _| used.contains(id));
        let (complete, blocks_read) = (scanned.complete, self.blocks_read);
        let unindexed = self.wanted.unindexed.clone();
        Found { records, origins, cursor, complete, searched_to_us, unindexed, blocks_read }
    }
}

impl Looks for Hits {
    fn knows(&self, origin: OriginId) -> bool {
        self.origins.contains_key(&origin)
    }

    fn learn(&mut self, id: OriginId, origin: Origin) {
        self.origins.insert(id, origin);
    }

    fn block(&self, block: &Block<'_>, records: Option<&[Range<u32>]>) -> Result<(), BlockError> {
        let last = self.best().last();
        if !(0..block.len()).any(|record| self.is_asked_for(block, record, last)) {
            return Ok(());
        }
        // The best of the page come first, so that a full page needs few of the others.
        screened(block, records, &self.filter.screen(), self.wanted.direction, |record| {
            self.look_at(block, record)
        })
    }
}
