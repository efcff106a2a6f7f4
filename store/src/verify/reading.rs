//! Reads rows of blocks, a few at a time, and checks them on a blocking thread.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cordwood_core::block::check::{Checked, Checker, Fault as BlockFault, Stored};
use cordwood_core::block::{Block, Format};
use cordwood_core::origin::{Origin, OriginId};
use jiff::Timestamp;
use tokio_postgres::{Row, Transaction};

use super::{Fault, TableReport};
use crate::error::StoreError;
use crate::origins;

/// The most blocks that are in memory at once; one can hold a record of 12 MiB.
const ROWS: i32 = 8;
/// The most origins that are remembered.
const ORIGINS_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Fresh,
    Sealed { bounds_us: (i64, i64) },
}

/// Collects what is found in one table.
pub(super) struct Seen<'s> {
    pub report: &'s mut TableReport,
    /// Blocks whose row was written again: the new row may lie where it is read a second time.
    pub repaired: &'s mut HashSet<i64>,
    pub repair: bool,
}

#[derive(Debug, Default)]
pub(super) struct Reader {
    checker: Checker,
    /// The origins that were read so far; `None`: the table `origins` has no row of this id.
    origins: HashMap<OriginId, Option<Origin>>,
    /// How many records so far have another time than the one they came with.
    pub adjusted: u64,
}

/// A row of a table of blocks, copied out of the answer.
struct Stood {
    place: String,
    id: i64,
    tenant: String,
    count: i64,
    time_from_us: i64,
    time_to_us: i64,
    level_mask: i64,
    raw_bytes: i64,
    bloom: Vec<u8>,
    payload: Bytes,
    postings: Option<Vec<u8>>,
}

impl Stood {
    fn of(row: &Row) -> Stood {
        let us = |column| row.get::<_, Timestamp>(column).as_microsecond();
        Stood {
            place: row.get(0),
            id: row.get(1),
            tenant: row.get(2),
            count: row.get::<_, i32>(3).into(),
            time_from_us: us(4),
            time_to_us: us(5),
            level_mask: row.get::<_, i16>(6).into(),
            raw_bytes: row.get(7),
            bloom: row.get(8),
            payload: Bytes::copy_from_slice(row.get(9)),
            postings: row.get(10),
        }
    }
}

impl Reader {
    /// Rows of a table `t` in a place.
    pub async fn rows(
        &mut self,
        transaction: &Transaction<'_>,
        (table, place): (&str, &str),
        kind: Kind,
        seen: &mut Seen<'_>,
        told: &mut impl FnMut(Fault),
    ) -> Result<(), StoreError> {
        let sql = |operation| StoreError::sql(operation, table);
        let postings = match kind {
            Kind::Fresh => "null::bytea",
            Kind::Sealed { .. } => "postings",
        };
        let select = format!(
            "select ctid::text, id, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload, {postings} \
             from {table} t where {place}"
        );
        let select = transaction.prepare(&select).await.map_err(sql("prepare reading"))?;
        let portal = transaction.bind(&select, &[]).await.map_err(sql("open"))?;
        loop {
            let rows = transaction.query_portal(&portal, ROWS).await.map_err(sql("read"))?;
            if rows.is_empty() {
                return Ok(());
            }
            let rows: Vec<Stood> = rows.iter().map(Stood::of).collect();
            let rows: Vec<Stood> = rows.into_iter().filter(|row| !seen.repaired.contains(&row.id)).collect();
            for (row, checked) in self.check(transaction, rows, kind).await? {
                self.adjusted += checked.adjusted;
                note(seen.report, &row, &checked);
                let repairs = seen.repair && checked.index.is_some();
                if repairs {
                    repair(transaction, (table, kind), &row, &checked).await?;
                    seen.repaired.insert(row.id);
                }
                for fault in &checked.faults {
                    let repaired = repairs && fault.is_of_index();
                    seen.report.faults += 1;
                    seen.report.repaired += u64::from(repaired);
                    let (table, what) = (table.to_owned(), fault.to_string());
                    told(Fault { table, block: Some(row.id), what, repaired });
                }
            }
        }
    }

    async fn check(
        &mut self,
        transaction: &Transaction<'_>,
        mut rows: Vec<Stood>,
        kind: Kind,
    ) -> Result<Vec<(Stood, Checked)>, StoreError> {
        loop {
            let (mut checker, known) = (std::mem::take(&mut self.checker), std::mem::take(&mut self.origins));
            let task = tokio::task::spawn_blocking(move || {
                let result = once(&mut checker, &known, &rows, kind);
                (checker, known, rows, result)
            });
            let result;
            (self.checker, self.origins, rows, result) =
                task.await.map_err(|error| StoreError::Invalid(format!("a check did not end: {error}")))?;
            let missing = match result {
                Ok(checked) => return Ok(rows.into_iter().zip(checked).collect()),
                Err(missing) => missing,
            };
            if self.origins.len() + missing.len() > ORIGINS_MAX {
                self.origins.clear();
            }
            let mut found = origins::read(transaction, &missing).await?;
            self.origins.extend(missing.into_iter().map(|id| (id, found.remove(&id))));
        }
    }
}

/// `Err`: these origins must be read first.
fn once(
    checker: &mut Checker,
    known: &HashMap<OriginId, Option<Origin>>,
    rows: &[Stood],
    kind: Kind,
) -> Result<Vec<Checked>, Vec<OriginId>> {
    let blocks: Vec<_> = rows.iter().map(|row| Block::open(&row.payload)).collect();
    let ids = blocks.iter().flatten().flat_map(|block| block.origins());
    let mut missing: Vec<OriginId> = ids.clone().filter(|id| !known.contains_key(id)).copied().collect();
    if !missing.is_empty() {
        // All of them: the others may be forgotten before the next try.
        missing = ids.copied().collect();
        missing.sort_unstable();
        missing.dedup();
        return Err(missing);
    }
    let check = |(row, block): (&Stood, Result<Block<'_>, _>)| match block {
        Ok(block) => checker.check(&block, &row.stored(kind), |id| known.get(id)?.as_ref()),
        Err(error) => Checked { faults: vec![BlockFault::Block(error)], ..Checked::default() },
    };
    Ok(rows.iter().zip(blocks).map(check).collect())
}

impl Stood {
    fn stored(&self, kind: Kind) -> Stored<'_> {
        let (postings, bounds_us) = match kind {
            Kind::Fresh => (None, None),
            Kind::Sealed { bounds_us } => {
                (Some(self.postings.as_deref().unwrap_or_default()), Some(bounds_us))
            }
        };
        Stored {
            tenant: &self.tenant,
            count: self.count,
            time_from_us: self.time_from_us,
            time_to_us: self.time_to_us,
            level_mask: self.level_mask,
            raw_bytes: self.raw_bytes,
            bloom: &self.bloom,
            postings,
            bounds_us,
        }
    }
}

fn note(report: &mut TableReport, row: &Stood, checked: &Checked) {
    report.blocks += 1;
    report.blocks_of_format_2 += u64::from(row.payload.first() > Some(&Format::One.version()));
    report.records += checked.records;
    report.raw_bytes += checked.raw_bytes;
    report.packed_bytes += row.payload.len() as u64;
}

async fn repair(
    transaction: &Transaction<'_>,
    (table, kind): (&str, Kind),
    row: &Stood,
    checked: &Checked,
) -> Result<(), StoreError> {
    let Some(index) = &checked.index else { return Ok(()) };
    let sql = StoreError::sql("repair a block of", table);
    match kind {
        Kind::Fresh => {
            let update = format!("update {table} set bloom = $1 where id = $2 and ctid = $3::text::tid");
            transaction.execute(&update, &[&index.bloom, &row.id, &row.place]).await.map_err(sql)?
        }
        Kind::Sealed { .. } => {
            let update = format!(
                "update {table} set bloom = $1, postings = $4 where id = $2 and ctid = $3::text::tid"
            );
            let postings: &[u8] = &index.postings;
            let values = transaction.execute(&update, &[&index.bloom, &row.id, &row.place, &postings]).await;
            values.map_err(sql)?
        }
    };
    Ok(())
}
