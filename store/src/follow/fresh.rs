//! Reads the fresh records behind a place from PostgreSQL once, for any number of readers. Each reader has its own [`Selection`] (filter and
//! scope); without a scope it gets no record.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use cordwood_core::block::Block;
use cordwood_core::filter::Filter;
use cordwood_core::limits;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::task::DeletedTasks;

use super::place::Place;
use crate::connect::Store;
use crate::error::StoreError;
use crate::origins;
use crate::scope::Scope;
use crate::search::{Direction, OwnedRecord, Page, TimeRange, Wanted};
use crate::tombstones;

/// Of each lane in one statement, and so many bytes of all; the next look goes on.
const TRANSACTIONS_MAX: i64 = 50;
/// Origins that who follows keeps: the pods of a long time are many.
const ORIGINS_MAX: usize = 10_000;

/// Follows the end of the store for many readers.
#[derive(Debug)]
pub struct Feed {
    store: Store,
    place: Arc<Place>,
    origins: Origins,
}

impl Feed {
    /// From here on.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn from_now(store: &Store) -> Result<Feed, StoreError> {
        let place = Place::of_now(store).await?;
        Ok(Feed { store: store.clone(), place: Arc::new(place), origins: Origins::default() })
    }

    pub fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// What was stored since the last look. Dropped before its end, it has done nothing.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn next(&mut self) -> Result<Fresh, StoreError> {
        let fresh =
            read(&self.store, &self.place, None, limits::SHARED_LOOK_BYTES_MAX, &mut self.origins).await?;
        self.place = Arc::clone(&fresh.after);
        Ok(fresh)
    }
}

/// Which records one reader gets: those that match its filter within its scope. Made once for many blocks.
#[derive(Debug)]
pub struct Selection {
    scope: Scope,
    filter: Filter,
    /// `None`: nothing can match.
    wanted: Option<Wanted>,
}

impl Selection {
    pub fn new(scope: &Scope, filter: &Filter) -> Selection {
        let page = Page { limit: 1, after: None, direction: Direction::OldestFirst };
        let wanted = Wanted::new(scope, filter, TimeRange::default(), page);
        Selection { scope: scope.clone(), filter: filter.clone(), wanted }
    }
}

/// Origins by their ids.
#[derive(Debug, Default)]
pub(super) struct Origins(HashMap<OriginId, Arc<Origin>>);

impl Origins {
    /// Those of these ids.
    async fn of(
        &mut self,
        store: &Store,
        ids: HashSet<OriginId>,
    ) -> Result<HashMap<OriginId, Arc<Origin>>, StoreError> {
        let missing: Vec<OriginId> = ids.iter().copied().filter(|id| !self.0.contains_key(id)).collect();
        if !missing.is_empty() {
            let client = store.pooled().await?.abandonable();
            let found = origins::read(&*client, &missing).await?;
            client.finish();
            self.0.extend(found.into_iter().map(|(id, origin)| (id, Arc::new(origin))));
        }
        let known = |id: OriginId| self.0.get(&id).map(|origin| (id, Arc::clone(origin)));
        let these = ids.into_iter().filter_map(known).collect();
        if self.0.len() > ORIGINS_MAX {
            self.0.clone_from(&these);
        }
        Ok(these)
    }
}

/// The records that one look at the rings found.
#[derive(Debug, Default)]
pub struct Fresh {
    /// The places before and after this look.
    pub before: Arc<Place>,
    pub after: Arc<Place>,
    /// Blocks were truncated before they were looked at.
    pub gap: bool,
    /// More blocks are stored already.
    pub more: bool,
    blocks: Vec<Part>,
    origins: HashMap<OriginId, Arc<Origin>>,
    deleted: Arc<DeletedTasks>,
    bytes: usize,
}

#[derive(Debug)]
struct Part {
    lane: i16,
    seq: i64,
    tenant: String,
    level_mask: u8,
    bloom: Vec<u8>,
    block: Block<'static>,
}

impl Fresh {
    /// How many parts it has, each a bounded piece of work.
    pub fn parts(&self) -> usize {
        self.blocks.len()
    }

    /// Unpacked, of all bodies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn origin(&self, id: OriginId) -> Option<&Origin> {
        self.origins.get(&id).map(Arc::as_ref)
    }

    /// The tasks that were deleted before this look: no selection has their records.
    pub fn deleted(&self) -> &Arc<DeletedTasks> {
        &self.deleted
    }

    /// Adds the records of a part that the selection has.
    pub fn matching(&self, part: usize, selection: &Selection, found: &mut Vec<OwnedRecord>) {
        let (Some(part), Some(wanted)) = (self.blocks.get(part), &selection.wanted) else { return };
        if !wanted.may_be_in(&part.tenant, part.level_mask, &part.bloom) {
            return;
        }
        let screened = match selection.filter.screen().of_block(&part.block) {
            Ok(screened) => screened,
            Err(error) => return damaged(part.lane, part.seq, &error),
        };
        match screened {
            Some(records) => {
                records
                    .iter()
                    .for_each(|&record| self.look_at(part, record as usize, selection, wanted, found));
            }
            None => {
                (0..part.block.len()).for_each(|record| self.look_at(part, record, selection, wanted, found));
            }
        }
    }

    fn look_at(
        &self,
        part: &Part,
        record: usize,
        selection: &Selection,
        wanted: &Wanted,
        found: &mut Vec<OwnedRecord>,
    ) {
        if !wanted.has_level_and_time(part.block.levels()[record], part.block.times_us()[record]) {
            return;
        }
        let record = match part.block.record(record) {
            Ok(record) => record,
            Err(error) => return damaged(part.lane, part.seq, &error),
        };
        let Some(origin) = self.origins.get(&record.origin) else { return };
        let is_seen = selection.scope.sees(record.flags, origin, record.time_us)
            && selection.filter.matches(&record, origin);
        if is_seen && !self.deleted.hide(&record, origin) {
            found.push(OwnedRecord::of(&record));
        }
    }

    /// All records that the selection has, by time and id.
    pub(super) fn all(&self, selection: &Selection) -> Vec<OwnedRecord> {
        let mut found = Vec::new();
        (0..self.parts()).for_each(|part| self.matching(part, selection, &mut found));
        found.sort_by_key(OwnedRecord::cursor);
        found
    }

    /// The tenants and namespaces of all its records, also of those that no selection has. For asking about rights; shown to nobody.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.origins.values().map(Arc::as_ref)
    }
}

/// A damaged block hides its own records, not the others'.
fn damaged(lane: i16, seq: i64, error: &dyn std::fmt::Display) {
    tracing::error!(lane, seq, %error, "block does not open");
}

/// A lane as the statement tells of it.
struct LaneEnd {
    lane: i16,
    newest: i64,
    emptied_to: i64,
    cut: Option<i64>,
}

/// Of these tenants, or of all.
pub(super) async fn read(
    store: &Store,
    before: &Arc<Place>,
    tenants: Option<Vec<&str>>,
    bytes_max: i64,
    origins: &mut Origins,
) -> Result<Fresh, StoreError> {
    let client = store.pooled().await?.abandonable();
    // The last transaction of a lane keeps its row in `batches`, so what has no blocks is seen too. The seals of the
    // same snapshot say what may have been truncated between two looks. The oldest transactions of all lanes come first (those
    // without a row in `batches` are older than the others), up to so many bytes; what is cut of a lane, the next look takes.
    let sql = "with seen as (select $1::bigint[] as seq),
               news as materialized (
                 select f.lane, f.seq, f.tenant, f.level_mask, f.bloom, f.payload, f.raw_bytes from fresh f, seen
                  where f.lane > 0 and f.seq > coalesce(seen.seq[f.lane + 1], 0)
                    and f.seq <= coalesce(seen.seq[f.lane + 1], 0) + $3
                    and ($2::text[] is null or f.tenant = any($2))),
               transactions as (
                 select n.lane, n.seq, n.bytes, max(coalesce(b.committed_at, '-infinity'))
                     over (partition by n.lane order by n.seq) as at
                   from (select lane, seq, sum(raw_bytes)::bigint as bytes from news group by 1, 2) n
                   left join batches b using (lane, seq)),
               cut as (
                 select lane, min(seq) as seq from (
                   select lane, seq, sum(bytes) over (order by at, seq, lane) - bytes as before from transactions) t
                  where before >= $4::bigint group by lane)
               select n.lane, n.seq, n.payload, null::bigint as newest, null::bigint as emptied_to, null::bigint as cut,
                      n.tenant, n.level_mask, n.bloom, n.raw_bytes
                 from news n left join cut c using (lane) where c.seq is null or n.seq < c.seq
               union all
               select b.lane, null, null, max(b.seq), max(z.emptied_to), max(c.seq), null, null, null, null
                 from batches b join seals z using (lane) left join cut c using (lane) where b.lane > 0 group by b.lane
               order by 2 nulls first, 1";
    let rows = client
        .query(sql, &[&before.lanes, &tenants, &TRANSACTIONS_MAX, &bytes_max])
        .await
        .map_err(StoreError::sql("read", "new blocks"))?;
    let deleted = tombstones::read(store, &*client).await?;
    client.finish();
    let mut fresh = Fresh { before: Arc::clone(before), deleted, ..Fresh::default() };
    let mut after = Place::clone(before);
    let mut lanes: Vec<LaneEnd> = Vec::new();
    for row in &rows {
        let lane = row.get(0);
        match row.get::<_, Option<i64>>(1) {
            None => {
                lanes.push(LaneEnd { lane, newest: row.get(3), emptied_to: row.get(4), cut: row.get(5) });
            }
            Some(seq) => fresh.open(row, lane, seq, &mut after),
        }
    }
    let ids = fresh.blocks.iter().flat_map(|part| part.block.origins().iter().copied()).collect();
    fresh.origins = origins.of(store, ids).await?;
    for LaneEnd { lane, newest, emptied_to, cut } in lanes {
        let seen = before.seen(lane);
        let upto = newest.min(seen + TRANSACTIONS_MAX).min(cut.map_or(i64::MAX, |cut| cut - 1));
        // Perhaps nothing of what is gone was wanted: a gap too many, never one too few.
        fresh.gap |= emptied_to > seen;
        fresh.more |= upto < newest;
        after.see(lane, upto);
    }
    fresh.after = Arc::new(after);
    Ok(fresh)
}

impl Fresh {
    fn open(&mut self, row: &tokio_postgres::Row, lane: i16, seq: i64, after: &mut Place) {
        match Block::open(row.get::<_, &[u8]>(2)) {
            Ok(block) => {
                (0..block.len()).for_each(|record| after.pass(block.id(record)));
                self.bytes += usize::try_from(row.get::<_, i64>(9)).unwrap_or_default();
                self.blocks.push(Part {
                    lane,
                    seq,
                    tenant: row.get(6),
                    level_mask: row.get::<_, i16>(7).to_le_bytes()[0],
                    bloom: row.get(8),
                    block: block.into_owned(),
                });
            }
            Err(error) => damaged(lane, seq, &error),
        }
    }
}

impl Place {
    /// What is stored now.
    pub(super) async fn of_now(store: &Store) -> Result<Place, StoreError> {
        let client = store.pooled().await?.abandonable();
        let sql = "select lane, max(seq), null, null from batches group by lane \
                   union all select null, null, topic_partition, next_offset from positions";
        let rows = client.query(sql, &[]).await.map_err(StoreError::sql("read", "the batches"))?;
        client.finish();
        let mut place = Place::default();
        let mut offsets = BTreeMap::new();
        for row in rows {
            match row.get::<_, Option<i16>>(0) {
                Some(lane) => place.see(lane, row.get(1)),
                None => {
                    let (partition, next): (i32, i64) = (row.get(2), row.get(3));
                    offsets.insert(partition.cast_unsigned(), next.max(0).unsigned_abs());
                }
            }
        }
        place.offsets = offsets;
        Ok(place)
    }
}
