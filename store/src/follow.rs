//! New records in the order in which they are stored: fresh blocks above the last seen (lane, seq). For whoever watches and
//! has no live feed. The sealer's own lane is left out: what it carries over was seen before.

use std::collections::{HashMap, HashSet};

use cordwood_core::block::Block;
use cordwood_core::filter::Filter;
use cordwood_core::origin::{Origin, OriginId};

use crate::connect::Store;
use crate::error::StoreError;
use crate::scope::TenantScope;
use crate::search::OwnedRecord;

/// Of each lane in one statement; the next look goes on.
const TRANSACTIONS_MAX: i64 = 50;

/// Where somebody has got to. Starts at the end.
#[derive(Debug)]
pub struct Follow {
    store: Store,
    /// By lane.
    seen: Vec<i64>,
    origins: HashMap<OriginId, Origin>,
}

#[derive(Debug, Default)]
pub struct News {
    /// Oldest first within what was stored together.
    pub records: Vec<OwnedRecord>,
    /// Blocks were gone before they were looked at: something may have been missed, also of others' tenants.
    pub gap: bool,
    /// There is more already.
    pub more: bool,
}

impl Follow {
    /// From here on.
    pub async fn from_now(store: &Store) -> Result<Follow, StoreError> {
        let mut follow = Follow { store: store.clone(), seen: Vec::new(), origins: HashMap::new() };
        let client = store.pooled().await?;
        let sql = "select lane, max(seq) from batches group by lane";
        let rows = client.query(sql, &[]).await.map_err(StoreError::sql("read", "the batches"))?;
        for row in rows {
            follow.see(row.get(0), row.get(1));
        }
        Ok(follow)
    }

    fn see(&mut self, lane: i16, seq: i64) {
        let lane = usize::try_from(lane).unwrap_or(0);
        if self.seen.len() <= lane {
            self.seen.resize(lane + 1, 0);
        }
        self.seen[lane] = self.seen[lane].max(seq);
    }

    /// What was stored since the last look, as the filter and the scope let through.
    pub async fn next(&mut self, scope: &TenantScope, filter: &Filter) -> Result<News, StoreError> {
        let client = self.store.pooled().await?;
        // The last transaction of a lane keeps its row in `batches`, so what has no blocks is seen too. The seals of the
        // same snapshot say what may have been truncated between two looks.
        let sql = "with seen as (select $1::bigint[] as seq)
                   select f.lane, f.seq, f.payload, null::bigint as newest, null::bigint as emptied_to
                     from fresh f, seen
                    where f.lane > 0 and f.seq > coalesce(seen.seq[f.lane + 1], 0)
                      and f.seq <= coalesce(seen.seq[f.lane + 1], 0) + $3
                      and ($2::text[] is null or f.tenant = any($2))
                   union all
                   select b.lane, null, null, max(b.seq), max(z.emptied_to)
                     from batches b join seals z using (lane) where b.lane > 0 group by b.lane
                   order by 2 nulls first, 1";
        let rows = client
            .query(sql, &[&self.seen, &scope.parameter(), &TRANSACTIONS_MAX])
            .await
            .map_err(StoreError::sql("read", "new blocks"))?;
        drop(client);
        let mut lanes: Vec<(i16, i64, i64)> = Vec::new();
        let mut blocks = Vec::new();
        for row in &rows {
            match row.get::<_, Option<i64>>(1) {
                None => lanes.push((row.get(0), row.get(3), row.get(4))),
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
                if self.origins.get(&record.origin).is_some_and(|origin| filter.matches(&record, origin)) {
                    news.records.push(OwnedRecord::of(&record));
                }
            }
        }
        news.records.sort_by_key(OwnedRecord::cursor);
        for (lane, newest, emptied_to) in lanes {
            let seen = usize::try_from(lane).ok().and_then(|lane| self.seen.get(lane)).copied().unwrap_or(0);
            let upto = newest.min(seen + TRANSACTIONS_MAX);
            // Perhaps nothing of what is gone was wanted: a gap too many, never one too few.
            news.gap |= emptied_to > seen;
            news.more |= upto < newest;
            self.see(lane, upto);
        }
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
