//! In which order a search reads blocks, and when it may stop.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::Transaction;

use super::fetch::{meeting, payloads, postings};
use super::ground;
use super::hits::{Hits, Scanned};
use super::list::Candidate;
use super::order::Order;
use super::session::LEAVES_MAX;
use super::session::{Session, both, is_timeout};
use crate::error::StoreError;

/// A search that has read so many blocks is likely to need more. From here on it prefetches the next blocks while it searches these, and
/// skips blocks by their postings.
const PREFETCH_FROM: usize = 24;
/// Blocks whose postings one statement reads: few first, then as many as all before together.
const POSTINGS_BLOCKS_MIN: usize = 64;
const POSTINGS_BLOCKS_MAX: usize = 1024;
const POSTINGS_BYTES_MAX: u64 = 16 << 20;

/// Reads the candidate blocks in the order of the search, until the page is final or the deadline has passed.
pub(super) async fn scan(
    session: &mut Session<'_>,
    mut hits: Hits,
    deadline: Instant,
) -> Result<(Hits, Scanned), StoreError> {
    let wanted = Arc::clone(&hits.wanted);
    let scan = Scan { transaction: session.transaction, deadline };
    let mut order = Order::new(&wanted, ground::chunks(session.transaction, &wanted).await?);
    loop {
        let batch = match order.next(session).await {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok((hits, Scanned { stopped_at_us: None, complete: true })),
            Err(error) if is_timeout(&error) => {
                session.rollback_to_savepoint().await?;
                let next_at_us = order.next_at_us().filter(|time_us| wanted.is_past_begin(*time_us));
                match next_at_us {
                    _ if order.shrink() => Vec::new(),
                    // The search keeps what it found so far; the next page reports what is wrong beyond.
                    Some(time_us) => {
                        return Ok((hits, Scanned { stopped_at_us: Some(time_us), complete: false }));
                    }
                    None => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        let mut ended = None;
        for (tables, blocks) in by_tables(batch) {
            session.reserve_locks(tables).await?;
            (hits, ended) = scan.blocks(hits, blocks).await?;
            if ended.is_some() {
                break;
            }
        }
        if let (None, Some(time_us)) = (&ended, order.next_at_us()) {
            ended = scan.ends_at(&hits, time_us);
        }
        if let Some(scanned) = ended {
            return Ok((hits, scanned));
        }
    }
}

/// Splits the blocks into parts of at most [`LEAVES_MAX`] tables. Returns each part with its number of tables.
pub(super) fn by_tables(blocks: Vec<Candidate>) -> Vec<(usize, VecDeque<Candidate>)> {
    let mut parts: Vec<(usize, VecDeque<Candidate>)> = Vec::new();
    let mut tables = HashSet::new();
    for block in blocks {
        let is_new = !tables.contains(&block.table);
        if parts.is_empty() || (is_new && tables.len() >= LEAVES_MAX) {
            tables.clear();
            parts.push((0, VecDeque::new()));
        }
        tables.insert(block.table.clone());
        if let Some((count, part)) = parts.last_mut() {
            *count = tables.len();
            part.push_back(block);
        }
    }
    parts
}

struct Scan<'t> {
    transaction: &'t Transaction<'t>,
    deadline: Instant,
}

impl Scan<'_> {
    /// The end of the search, if it need not look beyond `time_us`. The deadline may end a search that has moved since its page began, also
    /// one that has read nothing: each statement is bounded. (Every page reads the blocks again that reach across its cursor; a cursor
    /// among them would not move.)
    fn ends_at(&self, hits: &Hits, time_us: i64) -> Option<Scanned> {
        let complete = hits.is_final_before(time_us);
        let is_late = || hits.wanted.is_past_begin(time_us) && Instant::now() >= self.deadline;
        (complete || is_late()).then_some(Scanned { stopped_at_us: Some(time_us), complete })
    }

    /// The same before blocks that were listed. The search reads some of them, however little time is left.
    fn ends_before(&self, hits: &Hits, block: &Candidate) -> Option<Scanned> {
        let ended = self.ends_at(hits, block.edge_us(hits.wanted.direction))?;
        (ended.complete || hits.blocks_read > 0).then_some(ended)
    }

    /// Reads the first blocks without postings. Of many more it reads only those whose postings match.
    async fn blocks(
        &self,
        hits: Hits,
        mut blocks: VecDeque<Candidate>,
    ) -> Result<(Hits, Option<Scanned>), StoreError> {
        let wanted = Arc::clone(&hits.wanted);
        let without_postings =
            if wanted.is_conjunction() { PREFETCH_FROM.saturating_sub(hits.blocks_read) } else { usize::MAX };
        let first = blocks.drain(..without_postings.min(blocks.len())).collect();
        let (mut hits, mut ended) = self.read(hits, first).await?;
        let mut checked = 0;
        let mut next = take_postings_batch(&mut blocks, checked);
        let mut told = postings(self.transaction, &next).await?;
        while let (None, Some(first)) = (&ended, next.first()) {
            ended = self.ends_before(&hits, first);
            if ended.is_some() {
                break;
            }
            checked += next.len();
            let these = std::mem::replace(&mut next, take_postings_batch(&mut blocks, checked));
            // The postings of the next are on their way while these are read.
            let ahead = postings(self.transaction, &next);
            ((hits, ended), told) =
                both(async { self.read(hits, meeting(&wanted, these, &told)).await }, ahead).await?;
        }
        Ok((hits, ended))
    }

    async fn read(
        &self,
        mut hits: Hits,
        blocks: Vec<Candidate>,
    ) -> Result<(Hits, Option<Scanned>), StoreError> {
        let mut rest = &blocks[..];
        let mut fetched = None;
        while let Some(next) = rest.first() {
            let ended = self.ends_before(&hits, next);
            if ended.is_some() {
                return Ok((hits, ended));
            }
            let these = match fetched.take() {
                Some(payloads) => payloads,
                None => payloads(self.transaction, hits.needed(rest)).await?,
            };
            rest = &rest[these.len()..];
            let many = hits.blocks_read + these.len() >= PREFETCH_FROM;
            let ahead = if many { hits.needed(rest) } else { &[] };
            let (searched, next) =
                both(hits.take(self.transaction, these), payloads(self.transaction, ahead)).await?;
            hits = searched;
            fetched = Some(next).filter(|next| !next.is_empty());
        }
        Ok((hits, None))
    }
}

/// Takes the next blocks whose postings to read from a list, after so many were checked.
fn take_postings_batch(list: &mut VecDeque<Candidate>, checked: usize) -> Vec<Candidate> {
    let mut bytes = 0;
    let fits = |block: &&Candidate| {
        let is_first = bytes == 0;
        bytes += block.postings_bytes;
        is_first || bytes <= POSTINGS_BYTES_MAX
    };
    let count =
        list.iter().take((checked + POSTINGS_BLOCKS_MIN).min(POSTINGS_BLOCKS_MAX)).take_while(fits).count();
    list.drain(..count).collect()
}
