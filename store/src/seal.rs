//! Runs a round of sealing in one transaction: reads fresh blocks of its snapshot, the oldest first and up to a bound, writes the blocks
//! of the table partitions, and moves the marks. This file has the statements; a [`Placer`] decides what becomes of each record.
//!
//! Promises: a round that is killed at any point has done nothing or everything. Readers see each record once at every moment, because
//! marks and blocks change in one commit. Sealing never waits for the writer, nor the writer for sealing.

use std::collections::{BTreeSet, HashMap};

mod bounds;
mod carry;
mod errors;
mod index;
mod merge;

use bytes::Bytes;
use cordwood_core::block::Format;
use cordwood_core::limits::{SEAL_ROUND_BYTES_MAX, SEAL_ROUND_RECORDS_MAX};
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::retention::catalogue::Catalogue;
use cordwood_core::seal::SegmentIndex;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use crate::catalogue;
use crate::connect::Store;
use crate::contents::{self, LeafKey, LeafNamespace, Noted};
use crate::error::StoreError;
use crate::migrate::{LOCK_ROUND, LOCK_SEALER, LOCK_SPACE};
use crate::origins;
use crate::ring::{BlockRow, CARRY_LANE, COPY_BLOCKS, CopyBuffer, RINGS, fill, sealed_id};

pub use carry::WantedLeaf;

use bounds::{Limit, Range, Taken, rows_of};
use carry::{Carry, RoutingSnapshot, Walk};
use index::Indexed;

/// Fresh blocks fetched at a time. Most are small, but one can hold a record of 12 MiB, and these are all in memory at once.
const PORTAL_ROWS: i32 = 16;
const COPY_BYTES: usize = 4 << 20;
/// How long a round waits for an empty table partition that is being detached.
const DETACH_WAIT_MS_MAX: u64 = 5_000;
/// How long emptying a ring may keep others waiting for it.
const TRUNCATE_LOCK_TIMEOUT: &str = "set local lock_timeout = '50ms'";

/// Decides for each record of fresh blocks where it goes: into a leaf, back into the rings (carried), or nowhere because it has expired.
/// Gives back the blocks to write.
pub trait Placer: Send {
    /// Begins a round with its snapshot of classes, leaves and routes. `now_us`: PostgreSQL's clock.
    fn begin(&mut self, catalogue: Catalogue, now_us: i64);

    /// Names the leaves that have a table for indexes. Only these may get blocks of [`Format::Three`].
    fn index(&mut self, leaves: Vec<LeafKey>);

    /// Takes a fresh block; blocks come ordered by tenant. `stored_us`: when the writer stored it, by PostgreSQL's clock; `None` for a
    /// carried block.
    ///
    /// # Errors
    /// Origins that the placer does not know: the caller passes them to [`Placer::learn`] and then gives the same block again.
    fn block(
        &mut self,
        block: &BlockRow,
        stored_us: Option<i64>,
        output: &mut Placed,
    ) -> Result<(), Vec<OriginId>>;

    fn learn(&mut self, origins: HashMap<OriginId, Origin>);

    /// Gives back everything that is still held.
    fn finish(&mut self, output: &mut Placed);

    /// The index of the blocks of [`Format::Three`] of one leaf, in the order in which they were given back; `None` when all indexes were
    /// given out. Called after [`Placer::finish`].
    fn next_index(&mut self) -> Option<SegmentIndex>;
}

/// What a [`Placer`] gives back: blocks to write, and what to note.
#[derive(Debug, Default)]
pub struct Placed {
    /// Blocks for table partitions: the lower bound of the partition in microseconds, and the block, whose `class` is its retention class.
    pub sealed: Vec<(i64, BlockRow)>,
    /// Records of these blocks by leaf, tenant and namespace.
    pub namespaces: Vec<LeafNamespace>,
    /// Blocks that go back into the rings, because their records have no leaf yet. Their `class` is their level group.
    pub carried: Vec<BlockRow>,
    /// The table partitions that the carried records need.
    pub wanted: BTreeSet<WantedLeaf>,
    /// Some records are carried although their leaf exists, because the round fills as many leaves as it may. The next round takes them.
    pub postponed: bool,
    /// Expired records by class: how many, and bytes of their bodies.
    pub expired: HashMap<i32, (u64, u64)>,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    pub records: u64,
    pub blocks: u64,
    /// All that wait for their table partition now, of this and of earlier rounds.
    pub carried: u64,
    pub expired: u64,
    /// There is more to seal at once: this round reached its bound.
    pub more: bool,
    /// How long a record has waited for its table partition, microseconds.
    pub waits_us: i64,
    /// The transaction's id, low 32 bits: no ring may be emptied while a snapshot as old as it lives.
    pub xid: u32,
}

/// The sealer's connection to PostgreSQL. It holds an advisory lock, so there is one in a database.
pub struct SealSession {
    client: Client,
    /// Under which classes, routes and leaves carried records were last looked at. While these stay the same, so do the records.
    carried_under: Option<RoutingSnapshot>,
    walk: Option<Walk>,
    limit: Limit,
    /// PostgreSQL's clock at the beginning of the last round.
    last_round: Option<jiff::Timestamp>,
    /// The last look found no empty ring to go on in.
    rings_full: bool,
}

impl SealSession {
    /// Takes the lock; `None` when another session has it. If a sealer of an older version worked here before, this also reads what every
    /// table partition holds.
    pub async fn claim(store: &Store) -> Result<Option<SealSession>, StoreError> {
        let client = store.writable("cordwood sealer").await?;
        let row = client
            .query_one("select pg_try_advisory_lock($1, $2)", &[&LOCK_SPACE, &LOCK_SEALER])
            .await
            .map_err(StoreError::sql("lock", "sealing"))?;
        if !row.get::<_, bool>(0) {
            return Ok(None);
        }
        contents::complete(&client).await?;
        let limit = Limit { records: SEAL_ROUND_RECORDS_MAX, bytes: SEAL_ROUND_BYTES_MAX };
        Ok(Some(SealSession {
            client,
            carried_under: None,
            walk: None,
            limit,
            last_round: None,
            rings_full: false,
        }))
    }

    /// Another bound of a round than [`SEAL_ROUND_RECORDS_MAX`].
    pub fn set_round_records_max(&mut self, records: i64) {
        self.limit.records = records;
    }

    /// The newest format of blocks that this database has, or the newest there was when it was made.
    ///
    /// # Errors
    /// PostgreSQL's, or this program does not know the format.
    pub async fn newest_format(&self) -> Result<Format, StoreError> {
        let row = self.client.query_one("select block_format from ring_ctl", &[]).await;
        let found: i16 = row.map_err(StoreError::sql("read", "the format of the blocks"))?.get(0);
        let known = i16::from(Format::NEWEST.version());
        let format = u8::try_from(found).ok().and_then(|version| Format::of(version).ok());
        format.ok_or(StoreError::BlockFormat { found, known })
    }

    /// Whether a table partition that records wait for was created since the last round (or a moment before it).
    pub async fn room_was_made(&self) -> Result<bool, StoreError> {
        let sql = "select exists (select from wanted_leaves w join leaves l on l.class = w.class and l.time_from < w.time_to \
                     and l.time_to > w.time_from and l.detached is null \
                   where l.created > w.since and l.created > $1::timestamptz - interval '2 seconds')";
        let Some(last) = self.last_round else { return Ok(false) };
        let row = self.client.query_one(sql, &[&last]).await;
        Ok(row.map_err(StoreError::sql("look for", "new table partitions"))?.get(0))
    }

    /// Records that are not sealed, from the transactions' own counts (the carried ones apart).
    pub async fn unsealed(&self) -> Result<u64, StoreError> {
        let row = self
            .client
            .query_one(
                "select coalesce(sum(b.records), 0)::bigint from batches b join seals z using (lane) \
                 where b.seq > z.upto and lane <> $1",
                &[&CARRY_LANE],
            )
            .await
            .map_err(StoreError::sql("count", "unsealed records"))?;
        Ok(row.get::<_, i64>(0) as u64)
    }

    /// Points the writers to an empty ring, if there is one: the others can then be emptied after the round.
    pub async fn switch_ring(&mut self) -> Result<(), StoreError> {
        self.rings_full = false;
        let row = self.client.query_one("select cur from ring_ctl", &[]).await;
        let cur: i16 = row.map_err(StoreError::sql("read", "ring_ctl"))?.get(0);
        for next in (1..RINGS).map(|step| (cur + step) % RINGS) {
            let empty = format!(
                "update ring_ctl set cur = {next} where not exists (select from ring_{next}) \
                 and not exists (select from rollup_ring_{next}) and not exists (select from error_ring_{next})"
            );
            let switched = self.client.execute(&empty, &[]).await;
            if switched.map_err(StoreError::sql("switch to", format!("ring_{next}")))? == 1 {
                return Ok(());
            }
        }
        self.rings_full = true;
        Ok(())
    }

    /// Seals what is fresh now, the oldest first, up to the bound of a round. A lock keeps others from detaching an empty table partition
    /// meanwhile, because the round might put the first records into it. The session takes that lock, not the transaction: the
    /// transaction's snapshot would be older than the lock.
    pub async fn round(&mut self, placer: &mut impl Placer) -> Result<Round, StoreError> {
        let lock = format!(
            "set lock_timeout = {DETACH_WAIT_MS_MAX}; select pg_advisory_lock_shared({LOCK_SPACE}, {LOCK_ROUND}); reset lock_timeout"
        );
        self.client.batch_execute(&lock).await.map_err(StoreError::sql("begin", "a round of sealing"))?;
        let round = self.round_alone(placer).await;
        let unlock = format!("select pg_advisory_unlock_shared({LOCK_SPACE}, {LOCK_ROUND})");
        let unlocked = self.client.batch_execute(&unlock).await;
        // If the session has failed, its lock is gone too; report the round's own error.
        let round = round?;
        unlocked.map_err(StoreError::sql("end", "a round of sealing"))?;
        Ok(round)
    }

    async fn round_alone(&mut self, placer: &mut impl Placer) -> Result<Round, StoreError> {
        let transaction = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .start()
            .await
            .map_err(StoreError::sql("begin", "sealing"))?;
        let sql = StoreError::sql;
        let number = transaction
            .query_one("update ring_ctl set round = round + 1 returning round, cur, block_format", &[])
            .await
            .map_err(sql("number", "the round"))?;
        // Within the snapshot, like everything that follows.
        let catalogue = catalogue::read(&transaction).await?;
        let now_us = catalogue::clock(&transaction).await?;
        let routing = RoutingSnapshot::of(&catalogue);
        // Carried records are read again only after a class, a route or a leaf has changed. Otherwise each round would read and write
        // hours of them again.
        let look_again = self.carried_under.as_ref() != Some(&routing)
            || (self.rings_full && carry::hold_obsolete_blocks(&transaction).await?);
        let mut walk = match self.walk.take() {
            Some(walk) if walk.routing == routing => Some(walk),
            _ if look_again => {
                let until = carry::last_batch(&transaction).await?;
                Some(Walk { routing, until, wanted: BTreeSet::new(), postponed: false })
            }
            _ => None,
        };
        let fresh = bounds::fresh(&transaction, self.limit).await?;
        let carried = match &walk {
            Some(walk) => bounds::carried(&transaction, self.limit, walk.until).await?,
            None => Taken::default(),
        };
        let mut work = Work {
            round: number.get(0),
            cur: number.get(1),
            index: 0,
            ranges: [fresh.ranges, carried.ranges].concat(),
            carry: Carry::default(),
            noted: Noted::default(),
            indexed: Indexed::default(),
            format: number.get::<_, i16>(2),
            done: Round::default(),
        };
        let format_before = work.format;
        placer.begin(catalogue, now_us);
        placer.index(index::leaves(&transaction).await?);
        let mut placed = Placed::default();
        let select = format!(
            "select f.class, f.tenant, f.count, f.time_from, f.time_to, f.level_mask, f.raw_bytes, f.bloom, f.payload, \
               case when f.lane <> {CARRY_LANE} then b.committed_at end \
             from {} f left join batches b using (lane, seq) order by f.tenant, f.lane, f.seq",
            rows_of("fresh", &work.ranges)
        );
        let select = transaction.prepare(&select).await.map_err(sql("prepare", "fresh blocks"))?;
        let portal = transaction.bind(&select, &[]).await.map_err(sql("open", "fresh blocks"))?;
        loop {
            let rows = transaction.query_portal(&portal, PORTAL_ROWS).await;
            let rows = rows.map_err(sql("read", "fresh blocks"))?;
            let last = rows.is_empty();
            for row in &rows {
                let block = fresh_block(row);
                let stored_us = row.get::<_, Option<jiff::Timestamp>>(9).map(jiff::Timestamp::as_microsecond);
                while let Err(wanted) = placer.block(&block, stored_us, &mut placed) {
                    placer.learn(origins::read_or_default(&transaction, &wanted, &block.tenant).await?);
                }
            }
            if last {
                placer.finish(&mut placed);
            }
            work.copy(&transaction, &mut placed, last).await?;
            let place = (work.round, work.cur);
            work.carry.copy(&transaction, &mut placed, place, last).await?;
            if last {
                break;
            }
        }
        std::mem::take(&mut work.indexed).copy(&transaction, work.round, placer).await?;
        work.mark(&transaction).await?;
        if work.format > format_before {
            let note = transaction.execute("update ring_ctl set block_format = $1", &[&work.format]).await;
            note.map_err(sql("note", "the format of the blocks"))?;
        }
        work.count(&transaction, &placed).await?;
        work.noted.namespaces(std::mem::take(&mut placed.namespaces));
        work.noted.write(&transaction, work.round).await?;
        let walked = match &mut walk {
            Some(walk) => {
                walk.wanted.append(&mut placed.wanted);
                walk.postponed |= placed.postponed;
                carry::note_wanted(&transaction, &walk.wanted, !carried.more).await?;
                !carried.more
            }
            None => {
                carry::note_wanted(&transaction, &placed.wanted, false).await?;
                false
            }
        };
        work.done.more = fresh.more || carried.more || placed.postponed;
        let waits = "select coalesce((extract(epoch from clock_timestamp() - min(since)) * 1000000)::bigint, 0) from wanted_leaves";
        let row = transaction.query_one(waits, &[]).await.map_err(sql("read", "wanted_leaves"))?;
        work.done.waits_us = row.get(0);
        let row =
            transaction.query_one("select (pg_current_xact_id()::text::numeric % 4294967296)::bigint", &[]);
        work.done.xid = row.await.map_err(sql("read", "the transaction's id"))?.get::<_, i64>(0) as u32;
        transaction.commit().await.map_err(sql("commit", "sealing"))?;
        match walk {
            Some(walk) if !walked => self.walk = Some(walk),
            Some(walk) => self.carried_under = (!walk.postponed).then_some(walk.routing),
            None if placed.postponed => self.carried_under = None,
            None => {}
        }
        self.last_round = jiff::Timestamp::from_microsecond(now_us).ok();
        Ok(work.done)
    }

    /// True when no snapshot (nor replication slot) is as old as that round. Each call is a transaction of its own:
    /// pg_stat_activity is cached within one.
    pub async fn is_past(&self, xid: u32) -> Result<bool, StoreError> {
        let row = self
            .client
            .query_one(
                "select count(*) from (select backend_xmin x from pg_stat_activity where pid <> pg_backend_pid() \
                 union all select xmin from pg_replication_slots) v \
                 where x is not null and age(x) >= age($1::text::xid)",
                &[&xid.to_string()],
            )
            .await
            .map_err(StoreError::sql("read", "the oldest snapshot"))?;
        Ok(row.get::<_, i64>(0) == 0)
    }

    /// Empties the rings that are not written to and hold nothing but what is sealed. Call after [`SealSession::is_past`].
    /// A ring that is in use is left for the next time. Returns how many were emptied.
    pub async fn truncate(&mut self) -> Result<u32, StoreError> {
        let row = self.client.query_one("select cur from ring_ctl", &[]).await;
        let cur: i16 = row.map_err(StoreError::sql("read", "ring_ctl"))?.get(0);
        let mut emptied = 0;
        for ring in (0..RINGS).filter(|ring| *ring != cur) {
            match self.truncate_ring(ring).await {
                Ok(true) => emptied += 1,
                Ok(false) => {}
                Err(error) if error.code().is_some_and(|code| code.code() == "55P03") => {
                    tracing::debug!(ring, "in use; emptied later");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(emptied)
    }

    async fn truncate_ring(&mut self, ring: i16) -> Result<bool, StoreError> {
        let sql = |operation| StoreError::sql(operation, format!("ring_{ring}"));
        let any = format!(
            "select exists (select from ring_{ring}) or exists (select from rollup_ring_{ring}) \
             or exists (select from error_ring_{ring})"
        );
        let row = self.client.query_one(&any, &[]).await.map_err(sql("look into"))?;
        if !row.get::<_, bool>(0) {
            return Ok(false);
        }
        let transaction = self.client.transaction().await.map_err(sql("begin emptying"))?;
        let lock = format!(
            "{TRUNCATE_LOCK_TIMEOUT}; lock table ring_{ring}, rollup_ring_{ring}, error_ring_{ring} in access exclusive mode"
        );
        transaction.batch_execute(&lock).await.map_err(sql("lock"))?;
        let fresh = format!(
            "select exists (select from ring_{ring} f join seals z using (lane) where f.seq > z.upto) \
             or exists (select from rollup_ring_{ring} f join seals z using (lane) where f.seq > z.upto) \
             or exists (select from error_ring_{ring} f join seals z using (lane) where f.seq > z.errors_upto)"
        );
        let row = transaction.query_one(&fresh, &[]).await.map_err(sql("look into"))?;
        if row.get(0) {
            return Ok(false);
        }
        // Who follows learns from it that there was something; one probe of an index per lane.
        let emptied = format!(
            "update seals z set emptied_to = m.seq from (select lane, \
               (select max(f.seq) from ring_{ring} f where f.lane = s.lane) as seq from seals s) m \
             where m.lane = z.lane and m.seq > z.emptied_to"
        );
        transaction.execute(&emptied, &[]).await.map_err(sql("note what is gone of"))?;
        transaction
            .batch_execute(&format!("truncate ring_{ring}, rollup_ring_{ring}, error_ring_{ring}"))
            .await
            .map_err(sql("empty"))?;
        transaction.commit().await.map_err(sql("empty"))?;
        Ok(true)
    }
}

struct Work {
    round: i64,
    cur: i16,
    index: u32,
    ranges: Vec<Range>,
    carry: Carry,
    noted: Noted,
    indexed: Indexed,
    /// The newest of any block that was ever sealed here.
    format: i16,
    done: Round,
}

impl Work {
    /// Writes what is sealed so far; small amounts wait for more.
    async fn copy(
        &mut self,
        transaction: &Transaction<'_>,
        placed: &mut Placed,
        last: bool,
    ) -> Result<(), StoreError> {
        let bytes: usize =
            placed.sealed.iter().map(|(_, b)| b.payload.len() + b.bloom.len() + b.postings.len() + 128).sum();
        if placed.sealed.is_empty() || (bytes < COPY_BYTES && !last) {
            return Ok(());
        }
        let mut buffer = CopyBuffer::with_capacity(bytes);
        for (leaf_from_us, block) in placed.sealed.drain(..) {
            buffer.sealed_block(self.round, self.index, &block);
            self.noted.block(leaf_from_us, &block);
            self.indexed.block(leaf_from_us, sealed_id(self.round, self.index), &block);
            self.format = self.format.max(block.payload.first().map_or(0, |version| i16::from(*version)));
            self.index += 1;
            self.done.blocks += 1;
            self.done.records += u64::from(block.count);
        }
        fill(transaction.copy_in(COPY_BLOCKS).await, buffer.finish(), "blocks").await?;
        Ok(())
    }

    /// Rollup, marks, pruning; then the carried blocks' own batch, above the marks.
    async fn mark(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let sql = StoreError::sql;
        transaction
            .execute(
                &format!(
                    "insert into rollup as r (minute, tenant, namespace, service, source, level, count, bytes) \
                 select minute, tenant, namespace, service, source, level, sum(count)::bigint, sum(bytes)::bigint \
                 from {} f \
                 group by minute, tenant, namespace, service, source, level order by 1, 2, 3, 4, 5, 6 \
                 on conflict (minute, tenant, namespace, service, source, level) do update \
                 set count = r.count + excluded.count, bytes = r.bytes + excluded.bytes",
                    rows_of("rollup_fresh", &self.ranges)
                ),
                &[],
            )
            .await
            .map_err(sql("fold", "rollup"))?;
        let lanes: Vec<i16> = self.ranges.iter().map(|range| range.lane).collect();
        let upto: Vec<i64> = self.ranges.iter().map(|range| range.upto).collect();
        transaction
            .execute(
                "update seals z set upto = b.upto from unnest($1::smallint[], $2::bigint[]) as b (lane, upto) \
                 where b.lane = z.lane and b.upto > z.upto",
                &[&lanes, &upto],
            )
            .await
            .map_err(sql("move", "seals"))?;
        errors::fold(transaction).await?;
        transaction
            .execute("delete from batches b using seals z where z.lane = b.lane and b.seq < z.upto", &[])
            .await
            .map_err(sql("prune", "batches"))?;
        self.carry.mark(transaction).await?;
        let row = transaction
            .query_one(
                "select coalesce(sum(b.records), 0)::bigint from batches b join seals z using (lane) \
                 where b.lane = $1 and b.seq > z.upto",
                &[&CARRY_LANE],
            )
            .await;
        self.done.carried = row.map_err(sql("count", "carried records"))?.get::<_, i64>(0) as u64;
        Ok(())
    }

    async fn count(&mut self, transaction: &Transaction<'_>, placed: &Placed) -> Result<(), StoreError> {
        let class: Vec<i32> = placed.expired.keys().copied().collect();
        let records: Vec<i64> = placed.expired.values().map(|(records, _)| *records as i64).collect();
        let bytes: Vec<i64> = placed.expired.values().map(|(_, bytes)| *bytes as i64).collect();
        self.done.expired = records.iter().sum::<i64>() as u64;
        if class.is_empty() {
            return Ok(());
        }
        transaction
            .execute(
                "insert into sealed_counts as c (class, expired, expired_bytes) \
                 select * from unnest($1::int[], $2::bigint[], $3::bigint[]) \
                 on conflict (class) do update set expired = c.expired + excluded.expired, \
                   expired_bytes = c.expired_bytes + excluded.expired_bytes",
                &[&class, &records, &bytes],
            )
            .await
            .map_err(StoreError::sql("count", "expired records"))?;
        Ok(())
    }
}

fn fresh_block(row: &Row) -> BlockRow {
    let time = |column: usize| row.get::<_, jiff::Timestamp>(column).as_microsecond();
    BlockRow {
        class: row.get(0),
        tenant: row.get::<_, &str>(1).into(),
        count: row.get::<_, i32>(2) as u32,
        time_from_us: time(3),
        time_to_us: time(4),
        level_mask: row.get::<_, i16>(5) as u8,
        raw_bytes: row.get::<_, i64>(6) as u64,
        bloom: Bytes::copy_from_slice(row.get(7)),
        postings: Bytes::new(),
        payload: Bytes::copy_from_slice(row.get(8)),
    }
}
