//! Keeps records that have no table partition yet in the rings, in lane 0, and notes which partitions they need. When classes, routes or
//! table partitions have changed, sealing looks at all carried records again, a bounded number in each round.

use std::collections::BTreeSet;

use cordwood_core::retention::Hold;
use cordwood_core::retention::catalogue::{Catalogue, LeafState};
use jiff::Timestamp;
use tokio_postgres::{GenericClient, Transaction};

use super::Placed;
use crate::error::StoreError;
use crate::ring::{CARRY_LANE, CopyBuffer, RINGS, copy_ring, fill};

const COPY_BYTES: usize = 4 << 20;
/// Bytes of obsolete rows that carried blocks may keep in the rings, as a multiple of their own size. Beyond that, carried blocks are
/// written again, so that the rings can be emptied.
const OBSOLETE_FACTOR: i64 = 3;
/// Records of one batch of the carry lane: a slice of a later look takes whole batches.
const BATCH_RECORDS: u64 = 250_000;

/// A table partition that records wait for: class, lower and upper bound in microseconds.
pub type WantedLeaf = (i32, i64, i64);

/// Classes, routes and attached table partitions of a round. While they are as in the last round, carried records would only be
/// carried again, so they are not read.
#[derive(PartialEq, Eq)]
pub(super) struct RoutingSnapshot {
    leaves: Vec<(i32, i64, i64)>,
    /// Id, retention, legal hold.
    classes: Vec<(i32, i64, bool)>,
    routes: Option<String>,
    /// Legal holds by match.
    holds: Vec<Hold>,
}

impl RoutingSnapshot {
    pub fn of(catalogue: &Catalogue) -> RoutingSnapshot {
        let attached = catalogue.leaves.iter().filter(|leaf| leaf.state == LeafState::Attached);
        RoutingSnapshot {
            leaves: attached.map(|leaf| (leaf.class.0, leaf.from_us, leaf.to_us)).collect(),
            classes: catalogue.classes.iter().map(|c| (c.id.0, c.retention_us, c.legal_hold)).collect(),
            holds: catalogue.holds.clone(),
            routes: catalogue.routes.as_ref().and_then(|routes| serde_json::to_string(routes).ok()),
        }
    }
}

/// A look at all carried records under a new routing snapshot.
pub(super) struct Walk {
    pub routing: RoutingSnapshot,
    /// The last batch that was there when it began.
    pub until: i64,
    /// The table partitions that the records need that were looked at so far.
    pub wanted: BTreeSet<WantedLeaf>,
    /// Some records were carried although their leaf exists ([`Placed::postponed`]): another walk follows this one.
    pub postponed: bool,
}

/// The number of the last batch of the carry lane.
pub(super) async fn last_batch(client: &impl GenericClient) -> Result<i64, StoreError> {
    let sql =
        "select greatest(upto, (select max(seq) from batches where lane = $1)) from seals where lane = $1";
    let row = client.query_one(sql, &[&CARRY_LANE]).await;
    Ok(row.map_err(StoreError::sql("read", "the carry lane"))?.get(0))
}

/// Carried blocks keep the rings they lie in from being emptied: whether much more than themselves lies there.
pub(super) async fn hold_obsolete_blocks(client: &impl GenericClient) -> Result<bool, StoreError> {
    let rings: Vec<String> =
        (0..RINGS).map(|ring| format!("pg_total_relation_size('ring_{ring}')")).collect();
    let sql = format!(
        "select {} > $2 * (select coalesce(sum(octet_length(f.payload) + octet_length(f.bloom)), 0)::bigint \
         from fresh f join seals z using (lane) where f.lane = $1 and f.seq > z.upto)",
        rings.join(" + ")
    );
    let row = client.query_one(&sql, &[&CARRY_LANE, &OBSOLETE_FACTOR]).await;
    Ok(row.map_err(StoreError::sql("read", "the size of the rings"))?.get(0))
}

/// Notes what records want. `all`: these are all of them, what else is noted is wanted no more.
pub(super) async fn note_wanted(
    client: &impl GenericClient,
    wanted: &BTreeSet<WantedLeaf>,
    all: bool,
) -> Result<(), StoreError> {
    let time = |us: i64| Timestamp::from_microsecond(us).unwrap_or_default();
    let classes: Vec<i32> = wanted.iter().map(|leaf| leaf.0).collect();
    let from: Vec<Timestamp> = wanted.iter().map(|leaf| time(leaf.1)).collect();
    let to: Vec<Timestamp> = wanted.iter().map(|leaf| time(leaf.2)).collect();
    let fail = || StoreError::sql("note", "the table partitions that records wait for");
    if all {
        let others = "delete from wanted_leaves w where not exists (select from unnest($1::int[], $2::timestamptz[]) \
                      as u (class, time_from) where u.class = w.class and u.time_from = w.time_from)";
        client.execute(others, &[&classes, &from]).await.map_err(fail())?;
    }
    if !wanted.is_empty() {
        let sql = "insert into wanted_leaves (class, time_from, time_to) \
                   select * from unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) on conflict do nothing";
        client.execute(sql, &[&classes, &from, &to]).await.map_err(fail())?;
    }
    Ok(())
}

/// The carry lane's batches of one round.
#[derive(Default)]
pub(super) struct Carry {
    batches: Vec<Batch>,
    blocks: u32,
}

struct Batch {
    seq: i64,
    blocks: i32,
    records: u64,
    raw_bytes: u64,
}

impl Carry {
    /// Writes what is carried so far, under numbers above the marks; small amounts wait for more. The round's own snapshot does not
    /// see it.
    pub async fn copy(
        &mut self,
        transaction: &Transaction<'_>,
        placed: &mut Placed,
        (round, ring): (i64, i16),
        last: bool,
    ) -> Result<(), StoreError> {
        let bytes: usize =
            placed.carried.iter().map(|block| block.payload.len() + block.bloom.len() + 256).sum();
        if placed.carried.is_empty() || (bytes < COPY_BYTES && !last) {
            return Ok(());
        }
        if self.batches.is_empty() {
            let seq = 1 + last_batch(transaction).await?;
            self.batches.push(Batch { seq, blocks: 0, records: 0, raw_bytes: 0 });
        }
        let mut buffer = CopyBuffer::with_capacity(bytes);
        for block in placed.carried.drain(..) {
            let Some(mut batch) = self.batches.pop() else { break };
            if batch.records >= BATCH_RECORDS {
                let seq = batch.seq + 1;
                self.batches.push(batch);
                batch = Batch { seq, blocks: 0, records: 0, raw_bytes: 0 };
            }
            buffer.carried_block(batch.seq, round, self.blocks, &block);
            self.blocks += 1;
            batch.blocks += 1;
            batch.records += u64::from(block.count);
            batch.raw_bytes += block.raw_bytes;
            self.batches.push(batch);
        }
        fill(transaction.copy_in(&copy_ring(ring)).await, buffer.finish(), "carried blocks").await.map(drop)
    }

    /// The rows of its batches, after the marks have moved.
    pub async fn mark(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        for batch in &self.batches {
            transaction
                .execute(
                    "insert into batches (lane, seq, blocks, records, raw_bytes) values ($1, $2, $3, $4, $5)",
                    &[
                        &CARRY_LANE,
                        &batch.seq,
                        &batch.blocks,
                        &(batch.records as i64),
                        &(batch.raw_bytes as i64),
                    ],
                )
                .await
                .map_err(StoreError::sql("add batch of", "the carry lane"))?;
        }
        Ok(())
    }
}
