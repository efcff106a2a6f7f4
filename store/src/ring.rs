//! Fresh blocks and the ring tables: how a block becomes a row of binary COPY. `seals` decides which rows of a
//! ring count: the others are obsolete, so writing into a stale or full ring is harmless.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use cordwood_core::block::{EncodedBlock, Format};
use futures::SinkExt;
use tokio_postgres::CopyInSink;

use crate::error::StoreError;

/// Ring tables; made once by the first migration.
pub const RINGS: i16 = 4;
/// Blocks of one transaction at the most: their ids have 12 bits for it.
pub const BLOCKS_PER_COMMIT_MAX: usize = 4096;
/// The lane of the records that sealing carried over (their table partition did not exist yet). No writer takes it.
pub const CARRY_LANE: i16 = 0;
/// In place of a lane in the ids of sealed and of carried blocks.
const SEALED: i64 = 0x7fff;
const CARRIED: i64 = 0x7ffe;

/// A block as both kinds of tables hold it. Times are microseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub struct BlockRow {
    /// Fresh: the [`cordwood_core::level::LevelGroup`]; sealed: the retention class.
    pub class: i32,
    pub tenant: Arc<str>,
    pub count: u32,
    pub time_from_us: i64,
    pub time_to_us: i64,
    pub level_mask: u8,
    pub raw_bytes: u64,
    pub bloom: Bytes,
    /// Of a sealed block; a fresh one's are not stored.
    pub postings: Bytes,
    pub payload: Bytes,
}

/// A block of the writer's transaction: one tenant, one level group.
pub type FreshBlock = BlockRow;

impl BlockRow {
    pub fn of(class: i32, tenant: Arc<str>, block: EncodedBlock) -> BlockRow {
        BlockRow {
            class,
            tenant,
            count: block.count,
            time_from_us: block.time_from_us,
            time_to_us: block.time_to_us,
            level_mask: block.level_mask,
            raw_bytes: block.raw_bytes,
            bloom: block.bloom.into(),
            postings: block.postings.into(),
            payload: block.payload.into(),
        }
    }

    /// Whether it is in the index of a segment, and has no filter of its own.
    pub fn is_indexed(&self) -> bool {
        self.payload.first() == Some(&Format::Three.version())
    }
}

/// The id of a fresh block: lane, transaction and place in it. No sequence, never used twice.
pub fn fresh_id(lane: i16, seq: i64, index: usize) -> i64 {
    (i64::from(lane) << 48) | ((seq & 0xf_ffff_ffff) << 12) | (index as i64 & 0xfff)
}

/// The id of a sealed block (and, apart, of a carried one): round of sealing and place in it, 20 bits.
pub fn sealed_id(round: i64, index: u32) -> i64 {
    of_round(SEALED, round, index)
}

fn of_round(kind: i64, round: i64, index: u32) -> i64 {
    (kind << 48) | ((round & 0x0fff_ffff) << 20) | i64::from(index & 0xf_ffff)
}

pub fn copy_ring(ring: i16) -> String {
    format!(
        "copy ring_{ring} (lane, seq, id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload) \
         from stdin binary"
    )
}

pub fn copy_rollup_ring(ring: i16) -> String {
    format!(
        "copy rollup_ring_{ring} (lane, seq, minute, tenant, namespace, service, source, level, count, bytes) \
         from stdin binary"
    )
}

pub fn copy_error_ring(ring: i16) -> String {
    format!(
        "copy error_ring_{ring} (lane, seq, hour, signature, tenant, namespace, service, level, audit, task_id, count, first_seen, \
         last_seen, topic_partition, kafka_offset, record_index, error_type, message, version) from stdin binary"
    )
}

/// Of a row of a ring. The marks are an array that is made once: a look-up per row was a hundred times slower. Lanes are dense from 0.
pub(crate) const IS_FRESH: &str = "seq > ((select array_agg(upto order by lane) from seals))[lane + 1]";

pub const COPY_BLOCKS: &str = "copy blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, \
                               payload, postings) from stdin binary";

/// Bytes of a binary COPY (PostgreSQL's documentation of COPY, "Binary Format").
#[derive(Debug)]
pub struct CopyBuffer(BytesMut);

const EPOCH_2000_US: i64 = 946_684_800_000_000;

impl CopyBuffer {
    pub fn with_capacity(bytes: usize) -> CopyBuffer {
        let mut buffer = BytesMut::with_capacity(bytes + 32);
        buffer.put_slice(b"PGCOPY\n\xff\r\n\0");
        buffer.put_i32(0);
        buffer.put_i32(0);
        CopyBuffer(buffer)
    }

    pub fn row(&mut self, columns: i16) -> &mut CopyBuffer {
        self.0.put_i16(columns);
        self
    }

    pub fn int2(&mut self, value: i16) -> &mut CopyBuffer {
        self.0.put_i32(2);
        self.0.put_i16(value);
        self
    }

    pub fn int4(&mut self, value: i32) -> &mut CopyBuffer {
        self.0.put_i32(4);
        self.0.put_i32(value);
        self
    }

    pub fn int8(&mut self, value: i64) -> &mut CopyBuffer {
        self.0.put_i32(8);
        self.0.put_i64(value);
        self
    }

    pub fn boolean(&mut self, value: bool) -> &mut CopyBuffer {
        self.0.put_i32(1);
        self.0.put_u8(u8::from(value));
        self
    }

    /// `timestamptz`, from microseconds since the Unix epoch.
    pub fn time(&mut self, time_us: i64) -> &mut CopyBuffer {
        self.int8(time_us.saturating_sub(EPOCH_2000_US))
    }

    /// `text` or `bytea`.
    pub fn bytes(&mut self, value: &[u8]) -> &mut CopyBuffer {
        self.0.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.0.put_slice(value);
        self
    }

    /// The ten columns that fresh and sealed blocks share.
    fn block(&mut self, id: i64, block: &BlockRow) {
        self.int8(id)
            .int4(block.class)
            .bytes(block.tenant.as_bytes())
            .int4(i32::try_from(block.count).unwrap_or(i32::MAX))
            .time(block.time_from_us)
            .time(block.time_to_us)
            .int2(i16::from(block.level_mask))
            .int8(i64::try_from(block.raw_bytes).unwrap_or(i64::MAX))
            .bytes(&block.bloom)
            .bytes(&block.payload);
    }

    pub fn fresh_block(&mut self, lane: i16, seq: i64, index: usize, block: &BlockRow) {
        self.row(12).int2(lane).int8(seq).block(fresh_id(lane, seq, index), block);
    }

    pub fn carried_block(&mut self, seq: i64, round: i64, index: u32, block: &BlockRow) {
        self.row(12).int2(CARRY_LANE).int8(seq).block(of_round(CARRIED, round, index), block);
    }

    pub fn sealed_block(&mut self, round: i64, index: u32, block: &BlockRow) {
        self.row(11).block(sealed_id(round, index), block);
        self.bytes(&block.postings);
    }

    pub fn finish(mut self) -> Bytes {
        self.0.put_i16(-1);
        self.0.freeze()
    }
}

/// Sends what a COPY that was begun takes. Returns the rows.
pub(crate) async fn fill(
    begun: Result<CopyInSink<Bytes>, tokio_postgres::Error>,
    bytes: Bytes,
    thing: &str,
) -> Result<u64, StoreError> {
    let mut sink = std::pin::pin!(begun.map_err(StoreError::sql("copy into", thing))?);
    sink.send(bytes).await.map_err(StoreError::sql("copy into", thing))?;
    sink.as_mut().finish().await.map_err(StoreError::sql("copy into", thing))
}
