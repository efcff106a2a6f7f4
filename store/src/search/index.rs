//! What the indexes of segments tell of sealed blocks that have no filter of their own: which of them may hold what is wanted, for some
//! table partitions at a time.
//!
//! Promise: no block is left out that an index does not speak of. A table partition whose index cannot be read whole, or has not as many
//! blocks as sealing noted, tells nothing: its blocks are read.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use cordwood_core::block::BlockError;
use cordwood_core::retention::class::{ClassId, leaf_table};
use cordwood_core::segment::{Head, Records, blocks_at_least, lists_of, meet, read_ids};
use cordwood_core::tokens::Token;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Transaction};

use crate::contents::LeafKey;
use crate::ddl::{HEAD, IDS, index_table};
use crate::error::StoreError;

/// An index that leaves in more than one of so many blocks is not worth being asked of each.
const DENSEST: usize = 4;
/// Of a block in which more records than this are named (two granules), all are screened by their columns.
const RECORDS_MAX: u32 = 128;

/// So many blocks of a table partition are asked for by their ids at the most.
pub(super) const FEW_BLOCKS: usize = 128;

/// A table partition with an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Indexed {
    pub leaf: LeafKey,
    /// In it.
    pub blocks: i64,
    /// The table partition has no others.
    pub is_whole: bool,
}

/// What indexes say of blocks in some table partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ByIndexes {
    /// Not all of them are in one.
    #[default]
    Some,
    /// All are in one, which tells nothing of what is wanted.
    Nothing,
    /// Of all of them, whether they may hold what is wanted.
    All,
    /// The same, and few may.
    Few,
}

/// All of: any of: a token of each record.
pub(super) type Clauses = Arc<[Vec<Token>]>;

/// What the indexes of some table partitions tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The tables that they speak of.
    pub tables: Vec<u32>,
    /// The blocks of these, without a filter of their own, that may hold what is wanted.
    pub ids: Vec<i64>,
    /// Which records of such a block may be it, ascending. Of a block that is not in here, each may.
    pub records: HashMap<i64, Arc<[Range<u32>]>>,
    /// The table partitions that they speak of, and which of `ids` are there.
    pub leaves: HashMap<LeafKey, Range<usize>>,
}

impl Told {
    /// What it is of the blocks of a table partition; `None`: none of them holds what is wanted.
    pub fn of(&self, leaf: &Indexed) -> Option<ByIndexes> {
        match self.leaves.get(&leaf.leaf) {
            _ if !leaf.is_whole => Some(ByIndexes::Some),
            None => Some(ByIndexes::Nothing),
            Some(ids) if ids.is_empty() => None,
            Some(ids) if ids.len() <= FEW_BLOCKS => Some(ByIndexes::Few),
            Some(_) => Some(ByIndexes::All),
        }
    }
}

/// What was read so far, of the table partitions of a window.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    leaves: HashMap<LeafKey, OfLeaf>,
}

/// `None`: it tells nothing.
type OfLeaf = Option<(u32, Vec<Named>)>;

/// A block that may hold what is wanted.
#[derive(Clone, Debug)]
struct Named {
    id: i64,
    /// As [`Told::records`]; `None`: each may be it.
    records: Option<Arc<[Range<u32>]>>,
}

impl Indexes {
    /// Of these table partitions; what is known of others is forgotten.
    pub async fn told(
        &mut self,
        transaction: &Transaction<'_>,
        clauses: &Clauses,
        leaves: &[Indexed],
    ) -> Result<Told, StoreError> {
        self.leaves.retain(|leaf, _| leaves.iter().any(|wanted| wanted.leaf == *leaf));
        let new = leaves.iter().filter(|wanted| !self.leaves.contains_key(&wanted.leaf));
        let new: Vec<Indexed> = new.copied().collect();
        if !new.is_empty() {
            let read = read(transaction, clauses, &new).await?;
            self.leaves.extend(new.iter().map(|indexed| indexed.leaf).zip(read));
        }
        let mut told = Told::default();
        for Indexed { leaf, .. } in leaves {
            let Some(Some((table, blocks))) = self.leaves.get(leaf) else { continue };
            told.tables.push(*table);
            let first = told.ids.len();
            told.ids.extend(blocks.iter().map(|block| block.id));
            told.records.extend(blocks.iter().filter_map(|block| Some((block.id, block.records.clone()?))));
            told.leaves.insert(*leaf, first..told.ids.len());
        }
        Ok(told)
    }
}

fn table(indexed: &Indexed) -> String {
    leaf_table(ClassId(indexed.leaf.0), indexed.leaf.1)
}

/// Of each of these.
async fn read(
    transaction: &Transaction<'_>,
    clauses: &Clauses,
    leaves: &[Indexed],
) -> Result<Vec<OfLeaf>, StoreError> {
    let mut heads: Vec<Heads> = leaves.iter().map(|_| Heads::default()).collect();
    for row in heads_of(transaction, leaves).await? {
        let place = usize::try_from(row.get::<_, i32>(0)).unwrap_or_default();
        if let Some(heads) = heads.get_mut(place) {
            heads.see(&row);
        }
    }
    let mut segments = Vec::new();
    for ((place, heads), indexed) in heads.into_iter().enumerate().zip(leaves) {
        let (relation, of_leaf) = (heads.relation, heads.whole());
        let blocks: usize = of_leaf.iter().flatten().map(|segment| segment.ids.len()).sum();
        match of_leaf {
            Some(of_leaf) if i64::try_from(blocks) == Ok(indexed.blocks) => {
                segments.push((place, relation, of_leaf));
            }
            // Packing shows its rows to every snapshot: it may have taken in what was sealed after this one.
            Some(_) if i64::try_from(blocks).is_ok_and(|blocks| blocks > indexed.blocks) => tracing::debug!(
                table = table(indexed),
                blocks,
                noted = indexed.blocks,
                "its index was packed since this search began, so its blocks are read"
            ),
            _ => tracing::error!(
                table = table(indexed),
                blocks,
                noted = indexed.blocks,
                "its index is not whole, so its blocks are read: cordwood store verify --repair rebuilds it"
            ),
        }
    }
    let mut pages = Pages::default();
    pages.read(transaction, leaves, pages_of_tokens(clauses, &segments)).await?;
    let looking = Arc::clone(clauses);
    let looked = tokio::task::spawn_blocking(move || {
        let segments: Vec<OfPlace> = segments
            .into_iter()
            .filter(|(place, _, segments)| !is_certainly_dense(&looking, segments, *place, &pages))
            .collect();
        let lists = pages_of_lists(&looking, &segments, &pages);
        (segments, pages, lists)
    });
    let (segments, mut pages, lists) = looked.await.map_err(did_not_end)?;
    pages.read(transaction, leaves, lists).await?;
    let (clauses, count) = (Arc::clone(clauses), leaves.len());
    let looked = tokio::task::spawn_blocking(move || {
        let mut all: Vec<OfLeaf> = (0..count).map(|_| None).collect();
        for (place, relation, segments) in segments {
            all[place] = met(&clauses, &segments, place, &pages).map(|blocks| (relation, blocks));
        }
        all
    });
    looked.await.map_err(did_not_end)
}

fn did_not_end(error: tokio::task::JoinError) -> StoreError {
    StoreError::Invalid(format!("a look into an index did not end: {error}"))
}

/// The segments of the table partition at a place among those that are read, which has this oid.
type OfPlace = (usize, u32, Vec<Segment>);

/// One of a table partition.
#[derive(Debug)]
struct Segment {
    id: i64,
    head: Head,
    /// Of its blocks.
    ids: Vec<u64>,
}

/// The heads of a table partition's segments, as they come.
#[derive(Debug, Default)]
struct Heads {
    relation: u32,
    heads: HashMap<i64, Head>,
    ids: HashMap<i64, Vec<u64>>,
    /// Something cannot be read.
    is_damaged: bool,
}

impl Heads {
    fn see(&mut self, row: &Row) {
        self.relation = row.get(1);
        let (segment, bytes): (i64, &[u8]) = (row.get(2), row.get(4));
        let is_read = match row.get::<_, i32>(3) {
            HEAD => told(Head::open(bytes)).map(|head| self.heads.insert(segment, head)).is_some(),
            IDS => told(read_ids(bytes)).map(|ids| self.ids.insert(segment, ids)).is_some(),
            // Of a newer version.
            _ => true,
        };
        self.is_damaged |= !is_read;
    }

    /// All of them, or none.
    fn whole(mut self) -> Option<Vec<Segment>> {
        if self.is_damaged || self.heads.len() != self.ids.len() {
            return None;
        }
        let segment = |(id, head): (i64, Head)| {
            let ids = self.ids.remove(&id).filter(|ids| ids.len() == head.blocks())?;
            Some(Segment { id, head, ids })
        };
        self.heads.into_iter().map(segment).collect()
    }
}

/// `None`: it is damaged, which is said, or of a newer version.
fn told<T>(opened: Result<Option<T>, BlockError>) -> Option<T> {
    opened.unwrap_or_else(|error| {
        tracing::error!(%error, "the index of a segment does not open");
        None
    })
}

async fn heads_of(transaction: &Transaction<'_>, leaves: &[Indexed]) -> Result<Vec<Row>, StoreError> {
    // By equality: a packed table has no statistics, and PostgreSQL expects every third row of an inequality and reads all pages.
    let one = |(place, indexed): (usize, &Indexed)| {
        let leaf = table(indexed);
        format!(
            "select {place}, '{leaf}'::regclass::oid, segment, no, bytes from {index} where no in ({IDS}, {HEAD})",
            index = index_table(&leaf)
        )
    };
    let sql = leaves.iter().enumerate().map(one).collect::<Vec<_>>().join(" union all ");
    transaction.query_typed(&sql, &[]).await.map_err(StoreError::sql("read", "the heads of segments"))
}

/// Where a page is: the table partition's place, the segment and the page's number.
type Place = (usize, i64, i32);

/// The pages in which tokens of the clauses are.
fn pages_of_tokens(clauses: &Clauses, segments: &[OfPlace]) -> Vec<Place> {
    let mut wanted = Vec::new();
    for (place, _, segments) in segments {
        for segment in segments {
            let tokens = clauses.iter().flatten();
            let mut pages: Vec<u32> = tokens.map(|token| segment.head.page_of(token.hash)).collect();
            pages.sort_unstable();
            pages.dedup();
            wanted.extend(pages.into_iter().map(|no| (*place, segment.id, no as i32)));
        }
    }
    wanted
}

/// Whether so many blocks hold what is wanted that it is not worth asking, which is known without a list.
fn is_certainly_dense(clauses: &Clauses, segments: &[Segment], place: usize, pages: &Pages) -> bool {
    let at_least = |segment: &Segment| {
        // A page that does not open is told by [`met`].
        blocks_at_least(&segment.head, clauses, |no| pages.get(place, segment.id, no)).unwrap_or_default()
    };
    segments.iter().map(at_least).sum::<usize>() > most(segments)
}

/// More blocks than this are not asked for one by one.
fn most(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| segment.ids.len()).sum::<usize>() / DENSEST
}

/// The pages in which lists of these are. A page that does not open is told by [`met`].
fn pages_of_lists(clauses: &Clauses, segments: &[OfPlace], pages: &Pages) -> Vec<Place> {
    let mut wanted = Vec::new();
    for (place, _, segments) in segments {
        for segment in segments {
            let lists = lists_of(&segment.head, clauses, |no| pages.get(*place, segment.id, no));
            let lists = lists.unwrap_or_default();
            wanted.extend(lists.into_iter().map(|no| (*place, segment.id, no as i32)));
        }
    }
    wanted
}

/// Those that were read.
#[derive(Debug, Default)]
struct Pages(HashMap<Place, Vec<u8>>);

impl Pages {
    fn get(&self, place: usize, segment: i64, no: u32) -> Option<&[u8]> {
        self.0.get(&(place, segment, no as i32)).map(Vec::as_slice)
    }

    /// Reads some more, which come in the order of their table partitions.
    async fn read(
        &mut self,
        transaction: &Transaction<'_>,
        leaves: &[Indexed],
        wanted: Vec<Place>,
    ) -> Result<(), StoreError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let (mut branches, mut before) = (Vec::new(), 0);
        for of_one in wanted.chunk_by(|a, b| a.0 == b.0) {
            let place = of_one[0].0;
            // One look for each, whatever the planner thinks of it.
            branches.push(format!(
                "select {place}, s.segment, s.no, p.bytes \
                 from unnest(($1::int[])[{from}:{to}], ($2::bigint[])[{from}:{to}]) as s (no, segment) \
                 cross join lateral (select bytes from {index} i where i.no = s.no and i.segment = s.segment offset 0) p",
                from = before + 1,
                to = before + of_one.len(),
                index = index_table(&table(&leaves[place])),
            ));
            before += of_one.len();
        }
        let numbers: Vec<i32> = wanted.iter().map(|(_, _, no)| *no).collect();
        let of_segments: Vec<i64> = wanted.iter().map(|(_, segment, _)| *segment).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&numbers, Type::INT4_ARRAY), (&of_segments, Type::INT8_ARRAY)];
        let rows = transaction.query_typed(&branches.join(" union all "), &parameters).await;
        let rows = rows.map_err(StoreError::sql("read", "pages of segments"))?;
        let place =
            |row: &Row| (usize::try_from(row.get::<_, i32>(0)).unwrap_or_default(), row.get(1), row.get(2));
        self.0.extend(rows.iter().map(|row| (place(row), row.get(3))));
        Ok(())
    }
}

/// The blocks of a table partition that may hold what is wanted; `None`: so many that it is not worth asking. It ends as soon as they are.
fn met(clauses: &Clauses, segments: &[Segment], place: usize, pages: &Pages) -> Option<Vec<Named>> {
    let mut found = Vec::new();
    let most = most(segments);
    for segment in segments {
        let before = found.len();
        if let Err(error) = met_in(clauses, segment, (place, pages), most, &mut found) {
            tracing::error!(segment = segment.id, %error, "a page of its index does not open, so its blocks are read");
            found.truncate(before);
            found.extend(segment.ids.iter().map(|id| Named { id: id.cast_signed(), records: None }));
        }
        if found.len() > most {
            return None;
        }
    }
    Some(found)
}

/// Those of a segment, up to one more than `most` in all.
fn met_in(
    clauses: &Clauses,
    segment: &Segment,
    (place, pages): (usize, &Pages),
    most: usize,
    found: &mut Vec<Named>,
) -> Result<(), BlockError> {
    let page = |no: u32| pages.get(place, segment.id, no);
    let mut meeting = meet(&segment.head, clauses, page)?;
    let mut next = meeting.next().transpose()?;
    while let Some(Records { block, .. }) = next {
        let (mut ranges, mut count): (Vec<Range<u32>>, u32) = (Vec::new(), 0);
        while let Some(records) = next.filter(|records| records.block == block) {
            count += records.to - records.from;
            if count > RECORDS_MAX {
                meeting.pass(block);
            }
            match ranges.last_mut() {
                Some(last) if last.end == records.from => last.end = records.to,
                _ => ranges.push(records.from..records.to),
            }
            next = meeting.next().transpose()?;
        }
        if let Some(id) = segment.ids.get(block as usize) {
            let records = (count <= RECORDS_MAX).then(|| ranges.into());
            found.push(Named { id: id.cast_signed(), records });
        }
        if found.len() > most {
            break;
        }
    }
    Ok(())
}
