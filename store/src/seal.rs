//! Sealing: one transaction that turns what is fresh in its snapshot into blocks of the table partitions, and moves the
//! marks. The statements are here; what becomes of each record is the [`Sorter`]'s business.
//!
//! Killed at any point, nothing has happened, or all of it. Readers see each record once at every moment, because marks
//! and blocks change in one commit. The writer is never waited for and never waits.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::retention::catalogue::{Catalogue, LeafState};
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use crate::catalogue;
use crate::connect::Store;
use crate::contents::{self, Noted};
use crate::error::StoreError;
use crate::migrate::{LOCK_SEALER, LOCK_SPACE};
use crate::origins;
use crate::ring::{BlockRow, CARRY_LANE, COPY_BLOCKS, CopyBuffer, RINGS, copy_ring, fill};

/// Fresh blocks fetched at a time. Most are small, but one can hold a record of 12 MiB, and these are all in memory at once.
const PORTAL_ROWS: i32 = 16;
const COPY_BYTES: usize = 4 << 20;
/// Waste that carried blocks may keep in the rings, as a multiple of their own size: they are written anew to let it go.
const WASTE_FACTOR: i64 = 3;
/// How long emptying a ring may keep others waiting for it.
const TRUNCATE_LOCK_TIMEOUT: &str = "set local lock_timeout = '50ms'";

/// Decides what becomes of the records of fresh blocks.
pub trait Sorter: Send {
    /// The round's snapshot of classes, leaves and routes; `now_us`: PostgreSQL's clock.
    fn begin(&mut self, catalogue: Catalogue, now_us: i64);

    /// A fresh block; blocks come ordered by tenant. `Err`: these origins must be [learned](Sorter::learn) first, then
    /// the same block comes again.
    fn block(&mut self, block: &BlockRow, output: &mut Sorted) -> Result<(), Vec<OriginId>>;

    fn learn(&mut self, origins: HashMap<OriginId, Origin>);

    /// Everything still held.
    fn finish(&mut self, output: &mut Sorted);
}

/// What a [`Sorter`] gives back.
#[derive(Debug, Default)]
pub struct Sorted {
    /// With their retention class, beside the lower bound of their table partition, microseconds.
    pub sealed: Vec<(i64, BlockRow)>,
    /// With their level group: no leaf for them yet.
    pub carried: Vec<BlockRow>,
    /// Records and bytes by class whose retention had passed.
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
    /// The transaction's id, low 32 bits: no ring may be emptied while a snapshot as old as it lives.
    pub xid: u32,
}

/// Points of a round at which a test may kill it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Begun,
    MidCopy,
    Copied,
    Moved,
    /// Right before COMMIT.
    Committing,
    /// After COMMIT, before any ring is emptied.
    Committed,
    /// With a ring locked and not yet emptied.
    Truncating,
}

/// The sealer's session. There is one in a database: it holds an advisory lock.
pub struct Sealing {
    client: Client,
    /// What carried records were last held against: as long as it stays the same they stay where they are.
    carried_under: Option<Places>,
    /// The last look found no empty ring to go on in.
    rings_full: bool,
    /// Ends the session at this step, as a kill would (fault injection of the tests).
    pub kill_at: Option<Step>,
}

impl Sealing {
    /// `None`: another session seals. After one of an older version it reads what every table partition holds.
    pub async fn claim(store: &Store) -> Result<Option<Sealing>, StoreError> {
        let client = store.client("cordwood sealer").await?;
        let row = client
            .query_one("select pg_try_advisory_lock($1, $2)", &[&LOCK_SPACE, &LOCK_SEALER])
            .await
            .map_err(StoreError::sql("lock", "sealing"))?;
        if !row.get::<_, bool>(0) {
            return Ok(None);
        }
        contents::complete(&client).await?;
        Ok(Some(Sealing { client, carried_under: None, rings_full: false, kill_at: None }))
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
                 and not exists (select from rollup_ring_{next})"
            );
            let switched = self.client.execute(&empty, &[]).await;
            if switched.map_err(StoreError::sql("switch to", format!("ring_{next}")))? == 1 {
                return Ok(());
            }
        }
        self.rings_full = true;
        Ok(())
    }

    /// Seals everything that is fresh now.
    pub async fn round(&mut self, sorter: &mut impl Sorter) -> Result<Round, StoreError> {
        let kill_at = self.kill_at;
        let transaction = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .start()
            .await
            .map_err(StoreError::sql("begin", "sealing"))?;
        let sql = StoreError::sql;
        let number = transaction
            .query_one("update ring_ctl set round = round + 1 returning round, cur", &[])
            .await
            .map_err(sql("number", "the round"))?;
        // Within the snapshot, like everything that follows.
        let catalogue = catalogue::read(&transaction).await?;
        let now_us = catalogue::clock(&transaction).await?;
        let places = Places::of(&catalogue);
        // What no leaf or route is new for needs no look: hours of it would be read and written again in every round.
        let all = self.carried_under.as_ref() != Some(&places)
            || (self.rings_full && carried_hold_waste(&transaction).await?);
        let mut work = Work {
            round: number.get(0),
            cur: number.get(1),
            index: 0,
            all,
            carry: None,
            noted: Noted::default(),
            done: Round::default(),
            kill_at,
        };
        sorter.begin(catalogue, now_us);
        kill(&transaction, kill_at, Step::Begun).await?;
        let mut sorted = Sorted::default();
        let select = transaction
            .prepare(
                "select f.class, f.tenant, f.count, f.time_from, f.time_to, f.level_mask, f.raw_bytes, f.bloom, f.payload \
                 from fresh f join seals z using (lane) where f.seq > z.upto and (f.lane <> $1 or $2) \
                 order by f.tenant, f.lane, f.seq",
            )
            .await
            .map_err(sql("prepare", "fresh blocks"))?;
        let portal =
            transaction.bind(&select, &[&CARRY_LANE, &all]).await.map_err(sql("open", "fresh blocks"))?;
        loop {
            let rows = transaction.query_portal(&portal, PORTAL_ROWS).await;
            let rows = rows.map_err(sql("read", "fresh blocks"))?;
            let last = rows.is_empty();
            for row in &rows {
                let block = fresh_block(row);
                while let Err(wanted) = sorter.block(&block, &mut sorted) {
                    sorter.learn(origins::read_or_default(&transaction, &wanted, &block.tenant).await?);
                }
            }
            if last {
                sorter.finish(&mut sorted);
            }
            work.copy(&transaction, &mut sorted, last).await?;
            work.copy_carried(&transaction, &mut sorted, last).await?;
            if last {
                break;
            }
        }
        kill(&transaction, kill_at, Step::Copied).await?;
        work.mark(&transaction).await?;
        work.count(&transaction, &sorted).await?;
        work.noted.write(&transaction, work.round).await?;
        kill(&transaction, kill_at, Step::Moved).await?;
        let row =
            transaction.query_one("select (pg_current_xact_id()::text::numeric % 4294967296)::bigint", &[]);
        work.done.xid = row.await.map_err(sql("read", "the transaction's id"))?.get::<_, i64>(0) as u32;
        kill(&transaction, kill_at, Step::Committing).await?;
        transaction.commit().await.map_err(sql("commit", "sealing"))?;
        self.carried_under = Some(places);
        kill(&self.client, kill_at, Step::Committed).await?;
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

    /// Empties the rings that are not written to and hold nothing but what is sealed. Call after [`Sealing::is_past`].
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
        let any =
            format!("select exists (select from ring_{ring}) or exists (select from rollup_ring_{ring})");
        let row = self.client.query_one(&any, &[]).await.map_err(sql("look into"))?;
        if !row.get::<_, bool>(0) {
            return Ok(false);
        }
        let kill_at = self.kill_at;
        let transaction = self.client.transaction().await.map_err(sql("begin emptying"))?;
        let lock = format!(
            "{TRUNCATE_LOCK_TIMEOUT}; lock table ring_{ring}, rollup_ring_{ring} in access exclusive mode"
        );
        transaction.batch_execute(&lock).await.map_err(sql("lock"))?;
        kill(&transaction, kill_at, Step::Truncating).await?;
        let fresh = format!(
            "select exists (select from ring_{ring} f join seals z using (lane) where f.seq > z.upto) \
             or exists (select from rollup_ring_{ring} f join seals z using (lane) where f.seq > z.upto)"
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
            .batch_execute(&format!("truncate ring_{ring}, rollup_ring_{ring}"))
            .await
            .map_err(sql("empty"))?;
        transaction.commit().await.map_err(sql("empty"))?;
        Ok(true)
    }
}

/// What decides where a record goes: a round under the same places would carry the same records again.
#[derive(PartialEq, Eq)]
struct Places {
    leaves: Vec<(i32, i64, i64)>,
    /// Id, retention, legal hold.
    classes: Vec<(i32, i64, bool)>,
    routes: Option<String>,
}

impl Places {
    fn of(catalogue: &Catalogue) -> Places {
        let attached = catalogue.leaves.iter().filter(|leaf| leaf.state == LeafState::Attached);
        Places {
            leaves: attached.map(|leaf| (leaf.class.0, leaf.from_us, leaf.to_us)).collect(),
            classes: catalogue.classes.iter().map(|c| (c.id.0, c.retention_us, c.legal_hold)).collect(),
            routes: catalogue.routes.as_ref().and_then(|routes| serde_json::to_string(routes).ok()),
        }
    }
}

/// Carried blocks keep the rings they lie in from being emptied: whether much more than themselves lies there.
async fn carried_hold_waste(transaction: &Transaction<'_>) -> Result<bool, StoreError> {
    let rings: Vec<String> =
        (0..RINGS).map(|ring| format!("pg_total_relation_size('ring_{ring}')")).collect();
    let sql = format!(
        "select {} > $2 * (select coalesce(sum(octet_length(f.payload) + octet_length(f.bloom)), 0)::bigint \
         from fresh f join seals z using (lane) where f.lane = $1 and f.seq > z.upto)",
        rings.join(" + ")
    );
    let row = transaction.query_one(&sql, &[&CARRY_LANE, &WASTE_FACTOR]).await;
    Ok(row.map_err(StoreError::sql("read", "the size of the rings"))?.get(0))
}

struct Work {
    round: i64,
    cur: i16,
    index: u32,
    /// The carried records of earlier rounds too.
    all: bool,
    carry: Option<Carry>,
    noted: Noted,
    done: Round,
    kill_at: Option<Step>,
}

/// The carry lane's transaction of this round.
struct Carry {
    seq: i64,
    blocks: u32,
    records: u64,
    raw_bytes: u64,
}

impl Work {
    /// Writes what is sealed so far; small amounts wait for more.
    async fn copy(
        &mut self,
        transaction: &Transaction<'_>,
        sorted: &mut Sorted,
        last: bool,
    ) -> Result<(), StoreError> {
        let bytes: usize =
            sorted.sealed.iter().map(|(_, b)| b.payload.len() + b.bloom.len() + b.postings.len() + 128).sum();
        if sorted.sealed.is_empty() || (bytes < COPY_BYTES && !last) {
            return Ok(());
        }
        let mut buffer = CopyBuffer::with_capacity(bytes);
        for (leaf_from_us, block) in sorted.sealed.drain(..) {
            buffer.sealed_block(self.round, self.index, &block);
            self.noted.block(leaf_from_us, &block);
            self.index += 1;
            self.done.blocks += 1;
            self.done.records += u64::from(block.count);
        }
        fill(transaction.copy_in(COPY_BLOCKS).await, buffer.finish(), "blocks").await?;
        kill(transaction, self.kill_at, Step::MidCopy).await
    }

    /// Writes what is carried so far, under a number above the marks. The round's own snapshot does not see it.
    async fn copy_carried(
        &mut self,
        transaction: &Transaction<'_>,
        sorted: &mut Sorted,
        last: bool,
    ) -> Result<(), StoreError> {
        let bytes: usize =
            sorted.carried.iter().map(|block| block.payload.len() + block.bloom.len() + 256).sum();
        if sorted.carried.is_empty() || (bytes < COPY_BYTES && !last) {
            return Ok(());
        }
        let mut carry = match self.carry.take() {
            Some(carry) => carry,
            None => {
                let number = "select 1 + coalesce((select max(seq) from batches where lane = $1), upto) from seals \
                              where lane = $1";
                let row = transaction.query_one(number, &[&CARRY_LANE]).await;
                let seq = row.map_err(StoreError::sql("number the batch of", "the carry lane"))?.get(0);
                Carry { seq, blocks: 0, records: 0, raw_bytes: 0 }
            }
        };
        let mut buffer = CopyBuffer::with_capacity(bytes);
        for block in sorted.carried.drain(..) {
            buffer.carried_block(carry.seq, self.round, carry.blocks, &block);
            carry.blocks += 1;
            carry.records += u64::from(block.count);
            carry.raw_bytes += block.raw_bytes;
        }
        self.carry = Some(carry);
        fill(transaction.copy_in(&copy_ring(self.cur)).await, buffer.finish(), "carried blocks")
            .await
            .map(drop)
    }

    /// Rollup, marks, pruning; then the carried blocks' own batch, above the marks.
    async fn mark(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let sql = StoreError::sql;
        transaction
            .execute(
                "insert into rollup as r (minute, tenant, namespace, service, source, level, count, bytes) \
                 select minute, tenant, namespace, service, source, level, sum(count)::bigint, sum(bytes)::bigint \
                 from rollup_fresh f join seals z using (lane) where f.seq > z.upto \
                 group by minute, tenant, namespace, service, source, level order by 1, 2, 3, 4, 5, 6 \
                 on conflict (minute, tenant, namespace, service, source, level) do update \
                 set count = r.count + excluded.count, bytes = r.bytes + excluded.bytes",
                &[],
            )
            .await
            .map_err(sql("fold", "rollup"))?;
        transaction
            .execute(
                "update seals z set upto = b.m from (select lane, max(seq) m from batches group by lane) b \
                 where b.lane = z.lane and b.m > z.upto and (z.lane <> $1 or $2)",
                &[&CARRY_LANE, &self.all],
            )
            .await
            .map_err(sql("move", "seals"))?;
        transaction
            .execute("delete from batches b using seals z where z.lane = b.lane and b.seq < z.upto", &[])
            .await
            .map_err(sql("prune", "batches"))?;
        if let Some(carry) = &self.carry {
            let counts = (carry.blocks as i32, carry.records as i64, carry.raw_bytes as i64);
            transaction
                .execute(
                    "insert into batches (lane, seq, blocks, records, raw_bytes) values ($1, $2, $3, $4, $5)",
                    &[&CARRY_LANE, &carry.seq, &counts.0, &counts.1, &counts.2],
                )
                .await
                .map_err(sql("add batch of", "the carry lane"))?;
        }
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

    async fn count(&mut self, transaction: &Transaction<'_>, sorted: &Sorted) -> Result<(), StoreError> {
        let class: Vec<i32> = sorted.expired.keys().copied().collect();
        let records: Vec<i64> = sorted.expired.values().map(|(records, _)| *records as i64).collect();
        let bytes: Vec<i64> = sorted.expired.values().map(|(_, bytes)| *bytes as i64).collect();
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

/// Ends the session from the server's side, in the middle of what it does.
async fn kill(
    client: &impl tokio_postgres::GenericClient,
    at: Option<Step>,
    now: Step,
) -> Result<(), StoreError> {
    if at != Some(now) {
        return Ok(());
    }
    client
        .query("select pg_terminate_backend(pg_backend_pid())", &[])
        .await
        .map_err(StoreError::sql("be killed at", format!("{now:?}")))?;
    // The server ends the session when it next waits for a statement.
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.query("select 1", &[]).await.map_err(StoreError::sql("be killed at", format!("{now:?}")))?;
    Ok(())
}
