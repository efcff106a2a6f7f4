//! Merges small indexes of a table partition, because a search reads a page of each index. A round's index takes in the earlier ones that
//! are not much larger. So a partition has few indexes, each much larger than the next, and each is written again only a few times.

use std::collections::BTreeMap;

use cordwood_core::segment::{GRANULES_MAX, Head, Part, Resolution, merge, read_ids};
use tokio_postgres::Transaction;

use crate::ddl::{HEAD, IDS};
use crate::error::StoreError;

/// An index takes in another one that is at most so many times as large.
const LARGER_MAX: u64 = 2;
/// Granules of a merged segment: as many as a round at its bound has, so that merging takes no more memory.
const MERGED_GRANULES_MAX: u32 = 1 << 15;
const _: () = assert!(MERGED_GRANULES_MAX <= GRANULES_MAX);

/// An index in memory.
pub(super) struct Index {
    pub head: Head,
    /// By their numbers.
    pub pages: Vec<Vec<u8>>,
    /// Of its blocks.
    pub ids: Vec<u64>,
}

/// One that is stored, without its pages.
struct Stored {
    segment: i64,
    head: Head,
    ids: Vec<u64>,
}

/// Takes those of `table` in that are small enough, and deletes them. What cannot be read stays where it is.
pub(super) async fn with_smaller(
    transaction: &Transaction<'_>,
    table: &str,
    new: Index,
) -> Result<Index, StoreError> {
    // Locked before anything of it is read: if the table is packed meanwhile, another one is in its place once this lock is granted.
    let lock = format!("lock table {table} in row exclusive mode");
    transaction.batch_execute(&lock).await.map_err(StoreError::sql("lock", table))?;
    let mut taken = Vec::new();
    let mut granules = new.head.granules();
    for stored in stored(transaction, table).await? {
        let with = granules.saturating_add(stored.head.granules());
        let is_larger = u64::from(stored.head.granules()) > LARGER_MAX * u64::from(granules);
        if is_larger || with > MERGED_GRANULES_MAX {
            break;
        }
        granules = with;
        taken.push(stored);
    }
    if taken.is_empty() {
        return Ok(new);
    }
    taken.reverse();
    let (pages, places) = pages(transaction, table, &taken).await?;
    let mut parts = Vec::new();
    for Stored { segment, head, .. } in &taken {
        match pages.get(segment).filter(|pages| pages.len() == head.pages() as usize) {
            Some(pages) => parts.push(Part { head, pages }),
            None => return Ok(new),
        }
    }
    parts.push(Part { head: &new.head, pages: &new.pages });
    let mut merged = Vec::new();
    let head = match merge(&parts, Resolution::CHOSEN, |_, page| merged.push(page)) {
        Ok(head) => head,
        Err(error) => {
            tracing::error!(table, %error, "an index does not open, so it is not merged: cordwood store verify --repair rebuilds it");
            return Ok(new);
        }
    };
    let delete = format!("delete from {table} where ctid = any($1::text[]::tid[])");
    transaction.execute(&delete, &[&places]).await.map_err(StoreError::sql("merge", table))?;
    let ids = taken.into_iter().flat_map(|stored| stored.ids).chain(new.ids).collect();
    Ok(Index { head, pages: merged, ids })
}

/// The newest first, up to one that cannot be read.
async fn stored(transaction: &Transaction<'_>, table: &str) -> Result<Vec<Stored>, StoreError> {
    let select =
        format!("select segment, no, bytes from {table} where no in ({HEAD}, {IDS}) order by segment desc");
    let rows = transaction.query(&select, &[]).await.map_err(StoreError::sql("read the heads of", table))?;
    let mut heads = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for row in &rows {
        let (segment, bytes): (i64, &[u8]) = (row.get(0), row.get(2));
        match row.get::<_, i32>(1) {
            HEAD => heads.insert(segment, Head::open(bytes).ok().flatten()).is_some(),
            _ => ids.insert(segment, read_ids(bytes).ok().flatten()).is_some(),
        };
    }
    let one = |(segment, head): (i64, Option<Head>)| {
        let (head, ids) = (head?, ids.remove(&segment)??);
        (ids.len() == head.blocks()).then_some(Stored { segment, head, ids })
    };
    Ok(heads.into_iter().rev().map_while(one).collect())
}

/// The pages of these by their numbers, and where all of their rows are.
async fn pages(
    transaction: &Transaction<'_>,
    table: &str,
    segments: &[Stored],
) -> Result<(BTreeMap<i64, Vec<Vec<u8>>>, Vec<String>), StoreError> {
    let numbers: Vec<i64> = segments.iter().map(|stored| stored.segment).collect();
    let counts: Vec<i32> = segments.iter().map(|stored| stored.head.pages() as i32).collect();
    let select = format!(
        "select s.segment, g.no, p.bytes, p.place from unnest($1::bigint[], $2::int[]) as s (segment, pages) \
         cross join lateral generate_series({IDS}, s.pages - 1) as g (no) \
         cross join lateral (select bytes, ctid::text as place from {table} i \
           where i.no = g.no and i.segment = s.segment offset 0) p \
         order by s.segment, g.no"
    );
    let rows = transaction.query(&select, &[&numbers, &counts]).await;
    let rows = rows.map_err(StoreError::sql("read segments of", table))?;
    let mut found: BTreeMap<i64, Vec<Vec<u8>>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.get::<_, i32>(1) >= 0) {
        found.entry(row.get(0)).or_default().push(row.get(2));
    }
    Ok((found, rows.iter().map(|row| row.get(3)).collect()))
}
