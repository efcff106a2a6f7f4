//! New records in the order in which they are stored: fresh blocks above the last seen (lane, seq). For whoever watches and
//! has no live feed. The sealer's own lane is left out: what it carries over was seen before.
//!
//! Who was cut off goes on [from a cursor](Follow::after): first the stored records beyond it, oldest first, then the new ones. Where the
//! feed begins is fixed before the search, and a record's id says on which side of that place it was stored: each comes once.
//! Who kept [the place](Place) that a look reached goes on [from there](Follow::go_back): with what was stored since, whatever its time.

mod place;

use std::collections::{BTreeMap, HashMap, HashSet};

use cordwood_core::block::Block;
use cordwood_core::filter::Filter;
use cordwood_core::limits;
use cordwood_core::origin::{Origin, OriginId};

use crate::connect::Store;
use crate::error::StoreError;
use crate::scope::{self, Scope};
use crate::search::{Cursor, Direction, Found, OwnedRecord, Page, TimeRange, search};
use crate::tombstones;

pub use place::{Place, Step};

/// Of each lane in one statement, and [`limits::FOLLOW_LOOK_BYTES_MAX`] of all; the next look goes on.
const TRANSACTIONS_MAX: i64 = 50;
/// Of a look at what was stored before.
const PAGE_RECORDS: usize = 10_000;
const PAGE_BUDGET_MS: u64 = 2_000;
/// Records that the search showed although they were stored after the feed began: the feed leaves them out. What is above is left to
/// the feed.
const AHEAD_MAX: usize = 1_000_000;

/// Where somebody has got to. Starts at the end, or after a cursor.
#[derive(Debug)]
pub struct Follow {
    store: Store,
    /// Of the feed.
    place: Place,
    origins: HashMap<OriginId, Origin>,
    /// To be searched for from this cursor on, but for what was shown.
    wanted: Option<(Cursor, Place)>,
    catch_up: Option<CatchUp>,
    /// The feed has not come to its end since the search: where that began, and what was stored then.
    caught_up: Option<(Cursor, Place)>,
    /// Shown by the search, and still to come with the feed.
    ahead: HashSet<Cursor>,
    /// The search shows nothing that was stored after the feed began, so that a look's reach says exactly what was shown. From where on
    /// to search should the feed be gone.
    exact_from: Option<Cursor>,
}

/// What was stored before the feed's place is shown first.
#[derive(Debug)]
struct CatchUp {
    began: Cursor,
    /// Everything up to here was shown.
    after: Cursor,
    /// What was shown before this catching up.
    shown: Place,
    /// At the feed's place, which has all the others.
    stored: Place,
}

#[derive(Debug, Default)]
pub struct News {
    /// Oldest first within what was stored together; while catching up, oldest first throughout.
    pub records: Vec<OwnedRecord>,
    /// Blocks were gone before they were looked at: something may have been missed, also of others' tenants.
    pub gap: bool,
    /// There is more already.
    pub more: bool,
    /// Still among what was stored before.
    pub catching_up: bool,
    /// How far this look came.
    pub reach: Step,
    /// What was stored since the place gone back to was no longer fresh; of it, what is older than this was not looked for.
    pub unknown_before: Option<Cursor>,
}

impl Follow {
    /// From here on.
    pub async fn from_now(store: &Store) -> Result<Follow, StoreError> {
        let mut follow = Follow {
            store: store.clone(),
            place: Place::default(),
            origins: HashMap::new(),
            wanted: None,
            catch_up: None,
            caught_up: None,
            ahead: HashSet::new(),
            exact_from: None,
        };
        follow.take_place().await?;
        Ok(follow)
    }

    /// Everything beyond a cursor: what is stored, then what comes.
    pub async fn after(store: &Store, cursor: Cursor) -> Result<Follow, StoreError> {
        let mut follow = Follow::from_now(store).await?;
        follow.wanted = Some((cursor, Place::default()));
        Ok(follow)
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Goes on as if nothing were known but what was stored up to a place, of that only the records up to a cursor where there is one.
    /// What is stored since comes with the feed, whatever its time; should the feed be gone by then, what has a time from
    /// `search_from` on is searched for, and that older records may be missing is told.
    pub fn go_back(&mut self, step: Step, search_from: Cursor) {
        let Step { place, upto } = step;
        self.place = place.clone();
        self.exact_from = Some(search_from);
        match upto {
            None => self.caught_up = Some((search_from, place)),
            Some(after) => {
                let shown = Place::default();
                self.catch_up = Some(CatchUp { began: search_from, after, shown, stored: place });
            }
        }
    }

    /// The feed begins here. Returns what is stored up to here, of the same snapshot.
    async fn take_place(&mut self) -> Result<Place, StoreError> {
        let client = self.store.pooled().await?;
        let sql = "select lane, max(seq), null, null from batches group by lane \
                   union all select null, null, topic_partition, next_offset from positions";
        let rows = client.query(sql, &[]).await.map_err(StoreError::sql("read", "the batches"))?;
        drop(client);
        let mut offsets = BTreeMap::new();
        for row in rows {
            match row.get::<_, Option<i16>>(0) {
                Some(lane) => self.place.see(lane, row.get(1)),
                None => {
                    let (partition, next): (i32, i64) = (row.get(2), row.get(3));
                    offsets.insert(partition.cast_unsigned(), next.max(0).unsigned_abs());
                }
            }
        }
        self.place.offsets = offsets;
        Ok(self.place.clone())
    }

    /// What was stored since the last look, as the filter and the scope let through. Dropped before its end, it has done nothing.
    pub async fn next(&mut self, scope: &Scope, filter: &Filter) -> Result<News, StoreError> {
        if let Some((began, shown)) = self.wanted.clone() {
            let stored = self.take_place().await?;
            self.catch_up = Some(CatchUp { began, after: began, shown, stored });
            self.wanted = None;
        }
        if let Some(after) = self.catch_up.as_ref().map(|catch_up| catch_up.after) {
            let page = Page { limit: PAGE_RECORDS, after: Some(after), direction: Direction::OldestFirst };
            let range = TimeRange::default();
            let found = search(&self.store, scope, filter, range, page, PAGE_BUDGET_MS).await?;
            return Ok(self.stored(found));
        }
        let mut news = self.next_new(scope, filter).await?;
        match &self.caught_up {
            Some((from, shown)) if news.gap && self.exact_from.is_some() => {
                let reach = Step { place: shown.clone(), upto: None };
                news = News {
                    more: true,
                    catching_up: true,
                    reach,
                    unknown_before: Some(*from),
                    ..News::default()
                };
                self.wanted = self.caught_up.take();
            }
            // The search took longer than fresh blocks stay: what is gone of them is searched for, and with it what is not.
            Some((began, _)) if news.gap => {
                news.records.retain(|record| record.cursor() <= *began);
                (news.gap, news.more, news.catching_up) = (false, true, true);
                self.wanted = self.caught_up.take();
            }
            Some(_) if news.more => self.ahead.extend(news.records.iter().map(OwnedRecord::cursor)),
            _ if news.more => {}
            _ => {
                self.ahead.clear();
                self.caught_up = None;
            }
        }
        Ok(news)
    }

    /// What a page of the search brings.
    fn stored(&mut self, found: Found) -> News {
        self.origins.extend(found.origins);
        let Some(mut catch_up) = self.catch_up.take() else { return News::default() };
        let mut records = Vec::with_capacity(found.records.len());
        for record in found.records {
            let was_shown = catch_up.shown.has(record.id) || self.ahead.contains(&record.cursor());
            let is_ahead = !catch_up.stored.has(record.id);
            let is_left = self.exact_from.is_some() || self.ahead.len() >= AHEAD_MAX;
            if was_shown || (is_ahead && is_left) {
                continue;
            }
            if is_ahead {
                self.ahead.insert(record.cursor());
            }
            records.push(record);
        }
        let catching_up = found.cursor.is_some();
        let reach = Step { place: catch_up.stored.clone(), upto: found.cursor };
        match found.cursor {
            Some(cursor) => {
                catch_up.after = cursor;
                self.catch_up = Some(catch_up);
            }
            None => self.caught_up = Some((catch_up.began, catch_up.stored)),
        }
        News { records, more: true, catching_up, reach, ..News::default() }
    }

    async fn next_new(&mut self, scope: &Scope, filter: &Filter) -> Result<News, StoreError> {
        let client = self.store.pooled().await?;
        // The last transaction of a lane keeps its row in `batches`, so what has no blocks is seen too. The seals of the
        // same snapshot say what may have been truncated between two looks. The oldest transactions of all lanes come first (those
        // without a row in `batches` are older than the others), up to so many bytes; what is cut of a lane, the next look takes.
        let sql = "with seen as (select $1::bigint[] as seq),
                   news as materialized (
                     select f.lane, f.seq, f.payload, f.raw_bytes from fresh f, seen
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
                   select n.lane, n.seq, n.payload, null::bigint as newest, null::bigint as emptied_to, null::bigint as cut
                     from news n left join cut c using (lane) where c.seq is null or n.seq < c.seq
                   union all
                   select b.lane, null, null, max(b.seq), max(z.emptied_to), max(c.seq)
                     from batches b join seals z using (lane) left join cut c using (lane) where b.lane > 0 group by b.lane
                   order by 2 nulls first, 1";
        let rows = client
            .query(
                sql,
                &[
                    &self.place.lanes,
                    &scope::tenants(scope),
                    &TRANSACTIONS_MAX,
                    &limits::FOLLOW_LOOK_BYTES_MAX,
                ],
            )
            .await
            .map_err(StoreError::sql("read", "new blocks"))?;
        let deleted = tombstones::read(&self.store, &*client).await?;
        drop(client);
        let mut lanes: Vec<(i16, i64, i64, Option<i64>)> = Vec::new();
        let mut blocks = Vec::new();
        for row in &rows {
            match row.get::<_, Option<i64>>(1) {
                None => lanes.push((row.get(0), row.get(3), row.get(4), row.get(5))),
                Some(seq) => blocks.push((row.get::<_, i16>(0), seq, row.get::<_, &[u8]>(2))),
            }
        }
        let mut opened = Vec::with_capacity(blocks.len());
        for (lane, seq, payload) in &blocks {
            // A damaged block hides its own records, not the others'.
            match Block::open(payload) {
                Ok(block) => opened.push((*lane, *seq, block)),
                Err(error) => tracing::error!(lane, seq, %error, "block does not open"),
            }
        }
        self.learn_origins(opened.iter().flat_map(|(_, _, block)| block.origins().iter().copied())).await?;
        let mut news = News::default();
        for (lane, seq, block) in &opened {
            for index in 0..block.len() {
                let record = match block.record(index) {
                    Ok(record) => record,
                    Err(error) => {
                        tracing::error!(lane, seq, %error, "block does not open");
                        break;
                    }
                };
                self.place.pass(record.id);
                let Some(origin) = self.origins.get(&record.origin) else { continue };
                let key = Cursor { time_us: record.time_us, id: record.id };
                let is_shown = !self.ahead.is_empty() && self.ahead.contains(&key);
                let is_seen = scope.sees(record.flags, origin) && filter.matches(&record, origin);
                if !is_shown && is_seen && !deleted.hide(&record, origin) {
                    news.records.push(OwnedRecord::of(&record));
                }
            }
        }
        news.records.sort_by_key(OwnedRecord::cursor);
        for (lane, newest, emptied_to, cut) in lanes {
            let seen = self.place.seen(lane);
            let upto = newest.min(seen + TRANSACTIONS_MAX).min(cut.map_or(i64::MAX, |cut| cut - 1));
            // Perhaps nothing of what is gone was wanted: a gap too many, never one too few.
            news.gap |= emptied_to > seen;
            news.more |= upto < newest;
            self.place.see(lane, upto);
        }
        news.reach = Step { place: self.place.clone(), upto: None };
        Ok(news)
    }

    /// The origins of records that were returned.
    pub fn origin(&self, id: OriginId) -> Option<&Origin> {
        self.origins.get(&id)
    }

    async fn learn_origins(&mut self, ids: impl Iterator<Item = OriginId>) -> Result<(), StoreError> {
        let missing: HashSet<OriginId> = ids.filter(|id| !self.origins.contains_key(id)).collect();
        if !missing.is_empty() {
            let client = self.store.pooled().await?;
            let missing: Vec<OriginId> = missing.into_iter().collect();
            self.origins.extend(crate::origins::read(&*client, &missing).await?);
        }
        Ok(())
    }
}
