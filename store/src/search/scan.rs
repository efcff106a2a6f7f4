//! In which order a search looks at blocks, and when it may stop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join;
use tokio_postgres::Transaction;

use super::hits::Hits;
use crate::candidates::{self, Candidate, Lists};
use crate::error::StoreError;

/// A search that has read so many blocks is likely to need more: the next are fetched while these are searched, and postings
/// tell which may be passed over.
const AHEAD_FROM: usize = 24;
/// Blocks whose postings are looked at together: few first, then as many as before.
const POSTINGS_MIN: usize = 64;
const POSTINGS_MAX: usize = 1024;
const POSTINGS_BYTES_MAX: u64 = 16 << 20;

/// Where a scan ended.
pub(super) struct Scanned {
    /// Nothing below was looked at: `None` when there is nothing below.
    pub stopped_above_us: Option<i64>,
    /// The time did not run out.
    pub complete: bool,
}

/// All candidate blocks, newest first, until the page is final or the time is over.
pub(super) async fn scan(
    transaction: &Transaction<'_>,
    mut hits: Hits,
    deadline: Instant,
) -> Result<(Hits, Scanned), StoreError> {
    let wanted = Arc::clone(&hits.wanted);
    let scan = Scan { transaction, deadline };
    let mut lists = Lists::new(&wanted);
    while let Some(list) = lists.next(transaction).await? {
        let mut ended;
        (hits, ended) = scan.list(hits, list.into()).await?;
        if let (None, Some(time_us)) = (&ended, lists.next_below_us()) {
            ended = scan.ends_above(&hits, time_us);
        }
        if let Some(scanned) = ended {
            return Ok((hits, scanned));
        }
    }
    Ok((hits, Scanned { stopped_above_us: None, complete: true }))
}

struct Scan<'t> {
    transaction: &'t Transaction<'t>,
    deadline: Instant,
}

impl Scan<'_> {
    /// Whether what lies at `time_us` and below is not to be looked at.
    fn ends_above(&self, hits: &Hits, time_us: i64) -> Option<Scanned> {
        let complete = hits.is_final_above(time_us);
        // Something is always read, however short the time, and below where this page began: blocks that reach across a
        // cursor are read again with every page, and a cursor among them would not move.
        let may_end = hits.blocks_read > 0 && time_us < hits.wanted.to_us();
        let is_late = || may_end && Instant::now() >= self.deadline;
        (complete || is_late()).then_some(Scanned { stopped_above_us: Some(time_us), complete })
    }

    /// The blocks of one list: the first as they are; when many have to be looked at, those that postings let through.
    async fn list(
        &self,
        hits: Hits,
        mut list: VecDeque<Candidate>,
    ) -> Result<(Hits, Option<Scanned>), StoreError> {
        let wanted = Arc::clone(&hits.wanted);
        let as_they_are =
            if wanted.has_to_meet() { AHEAD_FROM.saturating_sub(hits.blocks_read) } else { usize::MAX };
        let first = list.drain(..as_they_are.min(list.len())).collect();
        let (mut hits, mut ended) = self.read(hits, first).await?;
        let mut looked_at = 0;
        let mut next = to_look_at(&mut list, looked_at);
        let mut postings = candidates::postings(self.transaction, &next).await?;
        while let (None, Some(first)) = (&ended, next.first()) {
            ended = self.ends_above(&hits, first.time_to_us);
            if ended.is_some() {
                break;
            }
            looked_at += next.len();
            let these = std::mem::replace(&mut next, to_look_at(&mut list, looked_at));
            // The postings of the next are on their way while these are read.
            let (ahead, read) = join(candidates::postings(self.transaction, &next), async {
                self.read(hits, candidates::meeting(&wanted, these, &postings)).await
            })
            .await;
            (hits, ended) = read?;
            postings = ahead?;
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
            let ended = self.ends_above(&hits, next.time_to_us);
            if ended.is_some() {
                return Ok((hits, ended));
            }
            let payloads = match fetched.take() {
                Some(payloads) => payloads,
                None => candidates::payloads(self.transaction, hits.needed(rest)).await?,
            };
            rest = &rest[payloads.len()..];
            let many = hits.blocks_read + payloads.len() >= AHEAD_FROM;
            let ahead = if many { hits.needed(rest) } else { &[] };
            let (searched, next) =
                join(hits.take(self.transaction, payloads), candidates::payloads(self.transaction, ahead))
                    .await;
            hits = searched?;
            fetched = Some(next?).filter(|next| !next.is_empty());
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
