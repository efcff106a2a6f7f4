//! The records of a page while it is searched for: what blocks hold of it, the best of that, and when no more can come.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use cordwood_core::block::{Block, BlockError};
use cordwood_core::filter::{Filter, Screen};
use cordwood_core::identity::RecordId;
use cordwood_core::origin::{Origin, OriginId};
use tokio_postgres::Transaction;

use super::scan::Scanned;
use super::{Cursor, Found, OwnedRecord};
use crate::candidates::{Candidate, Payload, Wanted};
use crate::error::StoreError;
use crate::origins;

/// Payloads fetched at a time: few first, because most pages are full after a few blocks, then as many as were read so far.
const FETCH_MIN: usize = 8;
const FETCH_MAX: usize = 64;
/// Unpacked bytes of the blocks fetched at a time; a block is at most a few MiB, unless one record is.
const FETCH_BYTES_MAX: u64 = 32 << 20;
/// Bytes of bodies in a page, or a single larger record: such a page ends early and its cursor goes on.
const PAGE_BYTES_MAX: usize = 32 << 20;
/// Origins known at a time: a search over a long time meets those of every pod there was.
const ORIGINS_MAX: usize = 10_000;

/// A search under way: the best records so far, by (time, id).
pub(super) struct Hits {
    filter: Filter,
    pub wanted: Arc<Wanted>,
    limit: usize,
    best: BTreeMap<Cursor, OwnedRecord>,
    /// Of the bodies.
    bytes: usize,
    /// Older records had to go for lack of room: from then on the page takes none below its last.
    overflowed: bool,
    origins: HashMap<OriginId, Origin>,
    pub blocks_read: usize,
}

impl Hits {
    pub fn new(filter: Filter, wanted: Wanted, limit: usize) -> Hits {
        Hits {
            filter,
            wanted: Arc::new(wanted),
            limit,
            best: BTreeMap::new(),
            bytes: 0,
            overflowed: false,
            origins: HashMap::new(),
            blocks_read: 0,
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

    /// The first of these, few at first, but no further than the page can need: what lies below its last hit is not fetched.
    pub fn needed<'b>(&self, blocks: &'b [Candidate]) -> &'b [Candidate] {
        let count = (self.blocks_read + FETCH_MIN).min(FETCH_MAX);
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
    pub fn is_final_above(&self, time_us: i64) -> bool {
        self.floor_us().is_some_and(|floor| floor > time_us)
    }

    /// Searches them on a thread of its own: unpacking is work, and what comes next is fetched meanwhile.
    pub async fn take(
        mut self,
        transaction: &Transaction<'_>,
        payloads: Vec<Payload>,
    ) -> Result<Hits, StoreError> {
        if self.origins.len() > ORIGINS_MAX {
            let used: HashSet<OriginId> = self.best.values().map(|record| record.origin).collect();
            self.origins.retain(|id, _| used.contains(id));
        }
        self.blocks_read += payloads.len();
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

    pub fn into_found(self, scanned: Scanned) -> Found {
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
        Found { records, origins, cursor, complete: scanned.complete, blocks_read: self.blocks_read }
    }
}

/// A damaged block hides its own records, not the others'.
fn damaged(block: i64, error: &BlockError) {
    tracing::error!(block, %error, "block does not open");
}
