//! Writes the indexes of a round beside its blocks, in its transaction.

use std::collections::BTreeMap;

use cordwood_core::retention::class::{ClassId, leaf_table};
use cordwood_core::seal::SegmentIndex;
use cordwood_core::segment::write_ids;
use jiff::Timestamp;
use tokio_postgres::{GenericClient, Transaction};

use super::Placer;
use super::merge::{Index, with_smaller};
use crate::contents::LeafKey;
use crate::ddl::{HEAD, IDS, index_table};
use crate::error::StoreError;
use crate::page_order::{order, row_bytes};
use crate::ring::{BlockRow, CopyBuffer, fill};

/// Table partitions with a table for their indexes.
pub(super) async fn leaves(client: &impl GenericClient) -> Result<Vec<LeafKey>, StoreError> {
    let sql = "select class, time_from from leaves where detached is null and to_regclass( \
                 'blocks_c' || class || '_' || to_char(time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI') || '_index') is not null";
    let rows = client.query(sql, &[]).await.map_err(StoreError::sql("look for", "tables of indexes"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, Timestamp>(1).as_microsecond())).collect())
}

/// The blocks of a round that are in an index, by table partition, in the order in which they were sealed.
#[derive(Debug, Default)]
pub(super) struct Indexed {
    ids: BTreeMap<LeafKey, Vec<u64>>,
}

impl Indexed {
    pub fn block(&mut self, leaf_from_us: i64, id: i64, block: &BlockRow) {
        if block.is_indexed() {
            self.ids.entry((block.class, leaf_from_us)).or_default().push(id.cast_unsigned());
        }
    }

    /// After all blocks. `round`: its number is the segments', which take in [smaller ones](with_smaller).
    pub async fn copy(
        mut self,
        transaction: &Transaction<'_>,
        round: i64,
        placer: &mut impl Placer,
    ) -> Result<(), StoreError> {
        while let Some(SegmentIndex { leaf, head, pages }) = placer.next_index() {
            let table = index_table(&leaf_table(ClassId(leaf.class), leaf.from_us));
            let ids = self.ids.remove(&(leaf.class, leaf.from_us)).unwrap_or_default();
            if ids.len() != head.blocks() {
                let message = format!("the index of {} blocks is of {} of {table}", ids.len(), head.blocks());
                return Err(StoreError::Invalid(message));
            }
            let Index { head, pages, ids } =
                with_smaller(transaction, &table, Index { head, pages, ids }).await?;
            let (ids, head) = (write_ids(&ids), head.to_bytes());
            let mut rows: Vec<(i32, &[u8])> = vec![(IDS, &ids), (HEAD, &head)];
            rows.extend((0..).zip(pages.iter().map(Vec::as_slice)));
            let mut buffer = CopyBuffer::with_capacity(rows.iter().map(|(_, bytes)| bytes.len() + 32).sum());
            let takes: Vec<usize> = rows.iter().map(|(_, bytes)| row_bytes(bytes.len())).collect();
            for place in order(&takes) {
                let (no, bytes) = rows[place];
                buffer.row(3).int8(round).int4(no).bytes(bytes);
            }
            let copy = format!("copy {table} (segment, no, bytes) from stdin binary");
            fill(transaction.copy_in(&copy).await, buffer.finish(), &table).await?;
        }
        match self.ids.into_keys().next() {
            None => Ok(()),
            Some((class, _)) => Err(StoreError::Invalid(format!("blocks of class {class} are in no index"))),
        }
    }
}
