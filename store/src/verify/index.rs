//! Verifies the indexes of a table partition against its blocks: they must name all blocks without a filter and no others, and every word of
//! the blocks' records must be found where it is. On request it rebuilds an index.
//!
//! Promise: the indexes of one segment are in memory at a time, which is bounded by a round of sealing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use cordwood_core::block::Block;
use cordwood_core::block::check::Checker;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::segment::{Head, Part, Resolution, SegmentBuilder, covers, read_ids, write_ids};
use jiff::Timestamp;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::{Fault, Leaf, TableReport};
use crate::ddl::{HEAD, IDS, index_table};
use crate::error::StoreError;
use crate::origins;

/// Blocks in memory.
const BLOCKS: usize = 8;
/// Blocks of a segment that is rebuilt, as far as rounds go.
const SEGMENT_BLOCKS: usize = 2_048;
/// Rows of an index that are written together.
const ROWS: usize = 1_000;
/// Of a sealed block's id: below them is its round.
const PLACE_BITS: u32 = 20;

/// A segment as it is stored, and what is to be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows(BTreeMap<i32, Vec<u8>>);

impl Rows {
    /// Whether it tells no less than `should`, which was made at once where this one may have been merged.
    fn tells(&self, should: &Rows) -> bool {
        let tell = |one: &Rows, other: &Rows| {
            let (head, pages) = one.parts()?;
            let (other_head, other_pages) = other.parts()?;
            let (one, other) =
                (Part { head: &head, pages: &pages }, Part { head: &other_head, pages: &other_pages });
            covers(&one, &other).ok()
        };
        self == should || (self.0.get(&IDS) == should.0.get(&IDS) && tell(self, should) == Some(true))
    }

    /// `None`: something is missing or cannot be read.
    fn parts(&self) -> Option<(Head, Vec<Vec<u8>>)> {
        let head = Head::open(self.0.get(&HEAD)?).ok()??;
        let pages: Vec<Vec<u8>> = (0..head.pages() as i32).map_while(|no| self.0.get(&no).cloned()).collect();
        (pages.len() == head.pages() as usize && self.0.len() == pages.len() + 2).then_some((head, pages))
    }
}

/// In one snapshot: sealing goes on meanwhile.
pub(super) async fn check(
    client: &mut Client,
    leaf: &Leaf,
    repair: bool,
    report: &mut TableReport,
    told: &mut impl FnMut(Fault),
) -> Result<(), StoreError> {
    let (table, index) = (&leaf.table, index_table(&leaf.table));
    let sql = |operation| StoreError::sql(operation, &index);
    let row = client.query_one("select to_regclass($1) is not null", &[&index]).await;
    let is_there: bool = row.map_err(sql("look for"))?.get(0);
    let begin = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start();
    let transaction = begin.await.map_err(sql("begin to read"))?;
    if is_there {
        // Before the snapshot, which this statement does not take: the index is not packed between the two.
        let mode = if repair { "row exclusive" } else { "access share" };
        let lock = format!("lock table {index} in {mode} mode");
        transaction.batch_execute(&lock).await.map_err(sql("lock"))?;
    }
    let blocks = Blocks::read(&transaction, table).await?;
    let mut faults = Vec::new();
    let stored = if is_there { heads(&transaction, &index, &mut faults).await? } else { BTreeMap::new() };
    let mut spoken_of = BTreeSet::new();
    for ids in stored.values() {
        spoken_of.extend(ids.iter().copied());
    }
    let missing = blocks.places.keys().filter(|id| !spoken_of.contains(id)).count();
    let strange = spoken_of.iter().filter(|id| !blocks.places.contains_key(id)).count();
    if missing + strange > 0 {
        faults.push(format!(
            "its index lacks {missing} blocks, which are read by every search, and has {strange} that are not there"
        ));
    }
    let from = Timestamp::from_microsecond(leaf.from_us).unwrap_or_default();
    let noted = "select indexed_blocks from sealed_leaves where class = $1 and time_from = $2";
    let noted =
        transaction.query_opt(noted, &[&leaf.class, &from]).await.map_err(sql("count the blocks of"))?;
    let noted: i64 = noted.map_or(0, |row| row.get(0));
    if noted != blocks.places.len() as i64 && !leaf.is_detached {
        faults.push(format!("sealing noted {noted} blocks in its index, there are {}", blocks.places.len()));
    }
    let mut maker = Maker::default();
    for (segment, ids) in &stored {
        let should = maker.make(&transaction, &blocks, ids).await?;
        if !segment_rows(&transaction, &index, *segment).await?.tells(&should) {
            faults.push(format!(
                "the index of segment {segment} is not that of its {} blocks: a search may pass over some",
                ids.len()
            ));
        }
    }
    let repaired = repair && is_there && !faults.is_empty();
    if repaired {
        transaction.batch_execute(&format!("delete from {index}")).await.map_err(sql("empty"))?;
        for (segment, ids) in blocks.segments() {
            let rows = maker.make(&transaction, &blocks, &ids).await?;
            write(&transaction, &index, segment, &rows).await?;
        }
        let count = i64::try_from(blocks.places.len()).unwrap_or(i64::MAX);
        let note = "update sealed_leaves set indexed_blocks = $3 where class = $1 and time_from = $2";
        transaction.execute(note, &[&leaf.class, &from, &count]).await.map_err(sql("note the blocks of"))?;
        // Its old rows take room: it is packed again.
        let packed = "delete from packed_leaves where class = $1 and time_from = $2";
        transaction.execute(packed, &[&leaf.class, &from]).await.map_err(sql("note the repair of"))?;
    }
    transaction.commit().await.map_err(sql("end reading"))?;
    for what in faults {
        report.faults += 1;
        report.repaired += u64::from(repaired);
        told(Fault { table: index.clone(), block: None, what, repaired });
    }
    Ok(())
}

/// The ids of the blocks of each segment; what cannot be read is a fault.
async fn heads(
    transaction: &Transaction<'_>,
    index: &str,
    faults: &mut Vec<String>,
) -> Result<BTreeMap<i64, Vec<u64>>, StoreError> {
    let heads = format!("select segment, no, bytes from {index} where no < 0");
    let rows = transaction.query(&heads, &[]).await.map_err(StoreError::sql("read the heads of", index))?;
    let (mut found, mut blocks) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        let (segment, no, bytes): (i64, i32, &[u8]) = (row.get(0), row.get(1), row.get(2));
        let read = match no {
            HEAD => Head::open(bytes).map(|head| {
                blocks.extend(head.map(|head| (segment, head.blocks())));
            }),
            IDS => read_ids(bytes).map(|ids| {
                found.extend(ids.map(|ids| (segment, ids)));
            }),
            _ => Ok(()),
        };
        if let Err(error) = read {
            faults.push(format!("the head of segment {segment} does not open: {error}"));
        }
    }
    found.retain(|segment, ids| blocks.get(segment) == Some(&ids.len()));
    Ok(found)
}

async fn segment_rows(transaction: &Transaction<'_>, index: &str, segment: i64) -> Result<Rows, StoreError> {
    let select = format!("select no, bytes from {index} where segment = $1");
    let rows = transaction.query(&select, &[&segment]).await;
    let rows = rows.map_err(StoreError::sql("read a segment of", index))?;
    Ok(Rows(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
}

async fn write(
    transaction: &Transaction<'_>,
    index: &str,
    segment: i64,
    rows: &Rows,
) -> Result<(), StoreError> {
    let insert =
        format!("insert into {index} (segment, no, bytes) select $1, * from unnest($2::int[], $3::bytea[])");
    let rows: Vec<(&i32, &Vec<u8>)> = rows.0.iter().collect();
    for some in rows.chunks(ROWS) {
        let numbers: Vec<i32> = some.iter().map(|(no, _)| **no).collect();
        let bytes: Vec<&[u8]> = some.iter().map(|(_, bytes)| &bytes[..]).collect();
        let written = transaction.execute(&insert, &[&segment, &numbers, &bytes]).await;
        written.map_err(StoreError::sql("repair", index))?;
    }
    Ok(())
}

/// The blocks of a table partition that have no filter of their own.
struct Blocks<'t> {
    table: &'t str,
    places: BTreeMap<u64, String>,
}

impl Blocks<'_> {
    async fn read<'t>(transaction: &Transaction<'_>, table: &'t str) -> Result<Blocks<'t>, StoreError> {
        let select = format!(
            "select id, ctid::text from {table} where octet_length(bloom) = 0 and substring(payload from 1 for 1) = '\\x03'"
        );
        let rows = transaction.query(&select, &[]).await;
        let rows = rows.map_err(StoreError::sql("read the blocks of", table))?;
        let places = rows.iter().map(|row| (row.get::<_, i64>(0).cast_unsigned(), row.get(1))).collect();
        Ok(Blocks { table, places })
    }

    /// Ids by segments of whole rounds, each with the number of its last.
    fn segments(&self) -> Vec<(i64, Vec<u64>)> {
        let round_of = |id: u64| (id << 16 >> (16 + PLACE_BITS)).cast_signed();
        let mut segments: Vec<(i64, Vec<u64>)> = Vec::new();
        for &id in self.places.keys() {
            let round = round_of(id);
            match segments.last_mut() {
                Some((last, ids)) if *last == round || ids.len() < SEGMENT_BLOCKS => {
                    *last = round;
                    ids.push(id);
                }
                _ => segments.push((round, vec![id])),
            }
        }
        segments
    }

    /// Payloads of some, in their order; `None`: it is not there.
    async fn payloads(
        &self,
        transaction: &Transaction<'_>,
        ids: &[u64],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let places: Vec<&str> = ids.iter().filter_map(|id| self.places.get(id)).map(String::as_str).collect();
        let select = format!("select id, payload from {} where ctid = any($1::text[]::tid[])", self.table);
        let rows = transaction.query_typed(&select, &[(&places, Type::TEXT_ARRAY)]).await;
        let rows = rows.map_err(StoreError::sql("read blocks of", self.table))?;
        let mut found: HashMap<u64, Bytes> = rows
            .iter()
            .map(|row| (row.get::<_, i64>(0).cast_unsigned(), Bytes::copy_from_slice(row.get(1))))
            .collect();
        Ok(ids.iter().map(|id| found.remove(id)).collect())
    }
}

/// Makes indexes from blocks, as sealing does.
#[derive(Default)]
struct Maker {
    checker: Checker,
    origins: HashMap<OriginId, Origin>,
}

impl Maker {
    /// Of blocks with these ids. One that does not open is told where blocks are checked; it counts as a block without a word.
    async fn make(
        &mut self,
        transaction: &Transaction<'_>,
        blocks: &Blocks<'_>,
        ids: &[u64],
    ) -> Result<Rows, StoreError> {
        let mut segment = SegmentBuilder::new(Resolution::CHOSEN);
        for some in ids.chunks(BLOCKS) {
            let payloads = blocks.payloads(transaction, some).await?;
            self.learn(transaction, &payloads).await?;
            let (mut checker, origins) =
                (std::mem::take(&mut self.checker), std::mem::take(&mut self.origins));
            let task = tokio::task::spawn_blocking(move || {
                for payload in &payloads {
                    match payload.as_ref().map(|payload| Block::open(payload)) {
                        // What is damaged within is a fault of the block.
                        Some(Ok(block)) => {
                            let _ = checker.index_into(&mut segment, &block, |id| origins.get(id));
                        }
                        Some(Err(_)) | None => segment.end_block(),
                    }
                }
                (checker, origins, segment)
            });
            (self.checker, self.origins, segment) =
                task.await.map_err(|error| StoreError::Invalid(format!("a check did not end: {error}")))?;
        }
        let ids = ids.to_vec();
        let task = tokio::task::spawn_blocking(move || {
            let mut rows = BTreeMap::new();
            let head = segment.finish(|no, page| {
                rows.insert(no as i32, page);
            });
            rows.insert(HEAD, head.to_bytes());
            rows.insert(IDS, write_ids(&ids));
            Rows(rows)
        });
        task.await.map_err(|error| StoreError::Invalid(format!("a check did not end: {error}")))
    }

    async fn learn(
        &mut self,
        transaction: &Transaction<'_>,
        payloads: &[Option<Bytes>],
    ) -> Result<(), StoreError> {
        let blocks = payloads.iter().flatten().filter_map(|payload| Block::open(payload).ok());
        let mut missing: Vec<OriginId> = blocks.flat_map(|block| block.origins().to_vec()).collect();
        missing.retain(|id| !self.origins.contains_key(id));
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            self.origins.extend(origins::read(transaction, &missing).await?);
        }
        Ok(())
    }
}
