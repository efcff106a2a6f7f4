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
use super::session::{Session, both, is_too_slow};
use crate::error::StoreError;

/// A search that has read so many blocks is likely to need more: the next are fetched while these are searched, and postings
/// tell which may be passed over.
const AHEAD_FROM: usize = 24;
/// Blocks whose postings are looked at together: few first, then as many as before.
const POSTINGS_MIN: usize = 64;
const POSTINGS_MAX: usize = 1024;
const POSTINGS_BYTES_MAX: u64 = 16 << 20;

/// All candidate blocks in the order of the search, until the page is final or the time is over.
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
            Err(error) if is_too_slow(&error) => {
                session.let_go().await?;
                let next_at_us = order.next_at_us().filter(|time_us| wanted.is_past_begin(*time_us));
                match next_at_us {
                    _ if order.shrink() => Vec::new(),
                    // What was found so far is not lost; the next page says what is wrong beyond.
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
            session.make_room(tables).await?;
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

/// The same in parts that lie in a bounded number of tables, with that number.
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
    /// Whether what lies from `time_us` on is not to be looked at. The time may run out as soon as the search has made way since
    /// its page began, also where nothing was read: each statement is a bounded one. Blocks that reach across a cursor are read
    /// again with every page, and a cursor among them would not move.
    fn ends_at(&self, hits: &Hits, time_us: i64) -> Option<Scanned> {
        let complete = hits.is_final_before(time_us);
        let is_late = || hits.wanted.is_past_begin(time_us) && Instant::now() >= self.deadline;
        (complete || is_late()).then_some(Scanned { stopped_at_us: Some(time_us), complete })
    }

    /// The same before blocks that were listed: something of them is read, however short the time.
    fn ends_before(&self, hits: &Hits, block: &Candidate) -> Option<Scanned> {
        let ended = self.ends_at(hits, block.edge_us(hits.wanted.direction))?;
        (ended.complete || hits.blocks_read > 0).then_some(ended)
    }

    /// The first as they are; when many have to be looked at, those that postings let through.
    async fn blocks(
        &self,
        hits: Hits,
        mut blocks: VecDeque<Candidate>,
    ) -> Result<(Hits, Option<Scanned>), StoreError> {
        let wanted = Arc::clone(&hits.wanted);
        let as_they_are =
            if wanted.has_to_meet() { AHEAD_FROM.saturating_sub(hits.blocks_read) } else { usize::MAX };
        let first = blocks.drain(..as_they_are.min(blocks.len())).collect();
        let (mut hits, mut ended) = self.read(hits, first).await?;
        let mut looked_at = 0;
        let mut next = to_look_at(&mut blocks, looked_at);
        let mut told = postings(self.transaction, &next).await?;
        while let (None, Some(first)) = (&ended, next.first()) {
            ended = self.ends_before(&hits, first);
            if ended.is_some() {
                break;
            }
            looked_at += next.len();
            let these = std::mem::replace(&mut next, to_look_at(&mut blocks, looked_at));
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
            let many = hits.blocks_read + these.len() >= AHEAD_FROM;
            let ahead = if many { hits.needed(rest) } else { &[] };
            let (searched, next) =
                both(hits.take(self.transaction, these), payloads(self.transaction, ahead)).await?;
            hits = searched;
            fetched = Some(next).filter(|next| !next.is_empty());
        }
        Ok((hits, None))
    }
}

/// The next blocks of a list whose postings are to be looked at, after so many.
fn to_look_at(list: &mut VecDeque<Candidate>, looked_at: usize) -> Vec<Candidate> {
    let mut bytes = 0;
    let fits = |block: &&Candidate| {
        let is_first = bytes == 0;
        bytes += block.postings_bytes;
        is_first || bytes <= POSTINGS_BYTES_MAX
    };
    let count = list.iter().take((looked_at + POSTINGS_MIN).min(POSTINGS_MAX)).take_while(fits).count();
    list.drain(..count).collect()
}
