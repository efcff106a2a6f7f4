//! Encodes records into a block: collects columns and tokens while records are pushed, and compresses them when the block is
//! finished.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::identity::RecordId;
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_TOKENS_TARGET, RECORD_BYTES_MAX, SEALED_BLOCK_RECORDS};
use crate::origin::{Origin, OriginId};
use crate::record::{Flags, Record};
use crate::segment::SegmentBuilder;

use super::columns::{put_column, put_varint, unzigzag, zigzag};
use super::index::{Index, IndexBuilder, SegmentTokens};
use super::pack::{ZSTD, pack_parts, pack_rows};
use super::{Choices, Format, checksum, format2};

/// A finished block: the columns of its row in PostgreSQL (those that depend on its records alone).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedBlock {
    pub count: u32,
    /// The earliest and the latest time in it, microseconds, both inclusive.
    pub time_from_us: i64,
    pub time_to_us: i64,
    /// The bits ([`crate::level::Level::bit`]) of the levels in it.
    pub level_mask: u8,
    /// Bytes of the bodies before packing.
    pub raw_bytes: u64,
    /// See [`crate::tokens`]; empty in [`Format::Three`] alone.
    pub bloom: Vec<u8>,
    /// See [`super::postings`]; empty when there are none.
    pub postings: Vec<u8>,
    pub payload: Vec<u8>,
}

/// Of the buffer for packed sections, which a block with large records makes larger.
const PACKED_BYTES_KEPT: usize = 1 << 20;

/// Builds blocks one after the other; keeps its buffers and compression contexts between them.
pub struct BlockBuilder {
    format: Format,
    bodies: Vec<u8>,
    times: Vec<u64>,
    levels: Vec<u64>,
    flags: Vec<u64>,
    origins: Vec<OriginId>,
    /// Origin (its place in `origins`), topic partition and Kafka offset: of a message, mostly of many records.
    batches: Vec<Batch>,
    /// (origin, topic partition, Kafka offset) -> place in `batches`.
    batch_places: HashMap<(OriginId, u32, u64), usize, RandomState>,
    record_batches: Vec<u64>,
    indexes: Vec<u64>,
    lengths: Vec<u64>,
    original_times: Vec<(usize, i64)>,
    time_last_us: i64,
    time_from_us: i64,
    time_to_us: i64,
    level_mask: u8,
    index: IndexBuilder,
    /// In the place of `index` in [`Format::Three`].
    tokens: SegmentTokens,
    columns: Vec<u8>,
    /// Where each column ends in `columns`.
    column_ends: Vec<usize>,
    packed: Vec<u8>,
    source: u64,
    choices: Choices,
}

#[derive(Clone, Copy)]
struct Batch {
    origin: usize,
    topic_partition: u32,
    kafka_offset: u64,
    index_next: u32,
}

impl Default for BlockBuilder {
    fn default() -> BlockBuilder {
        BlockBuilder::new()
    }
}

impl BlockBuilder {
    pub fn new() -> BlockBuilder {
        BlockBuilder {
            format: Format::One,
            bodies: Vec::new(),
            times: Vec::new(),
            levels: Vec::new(),
            flags: Vec::new(),
            origins: Vec::new(),
            batches: Vec::new(),
            batch_places: HashMap::default(),
            record_batches: Vec::new(),
            indexes: Vec::new(),
            lengths: Vec::new(),
            original_times: Vec::new(),
            time_last_us: 0,
            time_from_us: i64::MAX,
            time_to_us: i64::MIN,
            level_mask: 0,
            index: IndexBuilder::default(),
            tokens: SegmentTokens::default(),
            columns: Vec::new(),
            column_ends: Vec::new(),
            packed: Vec::new(),
            source: 0,
            choices: Choices::default(),
        }
    }

    /// For blocks that last, and are searched often.
    pub fn with_postings() -> BlockBuilder {
        BlockBuilder { index: IndexBuilder::with_postings(), ..BlockBuilder::new() }
    }

    /// Its blocks are of this format, and not of [`Format::One`].
    #[must_use]
    pub fn of_format(self, format: Format) -> BlockBuilder {
        BlockBuilder { format, ..self }
    }

    /// The same of the next block; there is none begun. Who has [`Format::Three`] pushes with [`BlockBuilder::push_into`].
    pub fn set_format(&mut self, format: Format) {
        debug_assert!(self.is_empty());
        self.format = format;
    }

    /// The next blocks are of this source: blocks of one source are alike, so that what was best for the columns of one is best for the
    /// next ([`Format::Two`]).
    pub fn set_source(&mut self, source: u64) {
        self.source = source;
    }

    /// Gives away the choices that were made for columns, for another builder; this one begins without any.
    pub fn take_choices(&mut self) -> Choices {
        std::mem::take(&mut self.choices)
    }

    #[must_use]
    pub fn with_choices(self, choices: Choices) -> BlockBuilder {
        BlockBuilder { choices, ..self }
    }

    /// Takes the record, unless the block is full ([`SEALED_BLOCK_RECORDS`], [`BLOCK_TOKENS_TARGET`], [`BLOCK_BYTES_MAX`]):
    /// then nothing is taken and the answer is `false`. An empty block takes any record. `origin` must be the one that `record.origin`
    /// names. A body above [`RECORD_BYTES_MAX`] is cut there and flagged [`Flags::TRUNCATED`].
    #[must_use = "a full block takes nothing: finish it and push again"]
    pub fn push(&mut self, record: &Record<'_>, origin: &Origin) -> bool {
        debug_assert_ne!(self.format, Format::Three);
        self.take(record, origin, None)
    }

    /// The same of a block of [`Format::Three`], however many words it holds: they go to the segment.
    #[must_use = "a full block takes nothing: finish it and push again"]
    pub fn push_into(&mut self, segment: &mut SegmentBuilder, record: &Record<'_>, origin: &Origin) -> bool {
        debug_assert_eq!(self.format, Format::Three);
        self.take(record, origin, Some(segment))
    }

    fn take(&mut self, record: &Record<'_>, origin: &Origin, segment: Option<&mut SegmentBuilder>) -> bool {
        let cut = record.body.len() > RECORD_BYTES_MAX;
        let body = &record.body[..record.body.len().min(RECORD_BYTES_MAX)];
        let flags = if cut { record.flags | Flags::TRUNCATED } else { record.flags };
        let full = self.len() >= SEALED_BLOCK_RECORDS
            || self.index.distinct().len() >= BLOCK_TOKENS_TARGET
            || self.bodies.len() + body.len() > BLOCK_BYTES_MAX;
        if full && !self.is_empty() {
            return false;
        }
        self.times.push(zigzag(record.time_us.wrapping_sub(self.time_last_us)));
        self.time_last_us = record.time_us;
        self.time_from_us = self.time_from_us.min(record.time_us);
        self.time_to_us = self.time_to_us.max(record.time_us);
        self.levels.push(record.level as u64);
        self.level_mask |= record.level.bit();
        self.flags.push(u64::from(flags.0));
        if let Some(original_us) = record.original_time_us {
            self.original_times.push((self.lengths.len(), original_us));
        }
        let place = self.len();
        let origin_place = self.push_id(record.origin, record.id, origin);
        self.lengths.push(body.len() as u64);
        self.bodies.extend_from_slice(body);
        match segment {
            None => self.index.record(place, origin_place, body, flags, record.level),
            Some(segment) => self.tokens.record(segment, origin_place, body, flags, record.level),
        }
        true
    }

    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The place of its origin.
    fn push_id(&mut self, origin_id: OriginId, id: RecordId, origin: &Origin) -> usize {
        let key = (origin_id, id.topic_partition, id.kafka_offset);
        let last = self
            .batches
            .last()
            .is_some_and(|last| (self.origins[last.origin], last.topic_partition, last.kafka_offset) == key);
        let found = if last { Some(self.batches.len() - 1) } else { self.batch_places.get(&key).copied() };
        let place = found.unwrap_or_else(|| {
            let origin_place =
                self.origins.iter().position(|&known| known == origin_id).unwrap_or_else(|| {
                    self.origins.push(origin_id);
                    match self.format {
                        Format::Three => self.tokens.origin(origin),
                        Format::One | Format::Two => self.index.origin(origin),
                    }
                    self.origins.len() - 1
                });
            self.batches.push(Batch {
                origin: origin_place,
                topic_partition: id.topic_partition,
                kafka_offset: id.kafka_offset,
                index_next: 0,
            });
            self.batch_places.insert(key, self.batches.len() - 1);
            self.batches.len() - 1
        });
        let batch = &mut self.batches[place];
        self.record_batches.push(place as u64);
        self.indexes.push(zigzag(i64::from(id.index) - i64::from(batch.index_next)));
        batch.index_next = id.index.wrapping_add(1);
        batch.origin
    }

    /// Packs what was pushed at zstd `level` and empties the builder. A block without records is valid (and useless).
    pub fn finish(&mut self, level: i32) -> EncodedBlock {
        let count = self.len();
        self.write_columns();
        let mut payload = Vec::with_capacity(self.bodies.len() / 5 + 64);
        payload.push(self.format.version());
        payload.extend_from_slice(&[0; 4]);
        put_varint(&mut payload, count as u64);
        put_varint(&mut payload, 0); // no dictionary
        match self.format {
            Format::One => {
                put_sections(level, &[&self.columns, &self.bodies], &mut self.packed, &mut payload)
            }
            Format::Two | Format::Three => {
                self.put_columns(level, &mut payload);
                let (times_us, source) = (self.times_us(), self.source);
                let bodies = format2::Bodies {
                    bytes: &self.bodies,
                    lengths: &self.lengths,
                    times_us: &times_us,
                    source,
                };
                format2::write(&mut payload, level, bodies, &mut self.choices);
            }
        }
        let sum = checksum(&payload[super::PREFIX_BYTES..]);
        payload[1..super::PREFIX_BYTES].copy_from_slice(&sum.to_le_bytes());
        let Index { bloom, postings } = match self.format {
            Format::Three => Index::default(),
            Format::One | Format::Two => self.index.finish(count),
        };
        self.tokens.clear();
        let block = EncodedBlock {
            count: count as u32,
            time_from_us: if count == 0 { 0 } else { self.time_from_us },
            time_to_us: if count == 0 { 0 } else { self.time_to_us },
            level_mask: self.level_mask,
            raw_bytes: self.bodies.len() as u64,
            bloom,
            postings,
            payload,
        };
        self.clear();
        block
    }

    /// Writes the header of the columns and the columns, as one text or as parts with a table of symbols each, whichever is shorter.
    fn put_columns(&mut self, level: i32, payload: &mut Vec<u8>) {
        self.packed.clear();
        let method = pack_rows(level, &self.columns, &mut self.packed);
        if method == ZSTD {
            let by_columns = pack_parts(&self.columns, &self.column_ends);
            if let Some(by_columns) = by_columns.filter(|packed| packed.len() < self.packed.len()) {
                self.packed = by_columns;
            }
        }
        put_header(method, self.columns.len(), self.packed.len(), payload);
        payload.extend_from_slice(&self.packed);
    }

    fn times_us(&self) -> Vec<i64> {
        let times = self.times.iter().scan(0i64, |time_us, &delta| {
            *time_us = time_us.wrapping_add(unzigzag(delta));
            Some(*time_us)
        });
        times.collect()
    }

    fn write_columns(&mut self) {
        let out = &mut self.columns;
        out.clear();
        for &delta in &self.times {
            put_varint(out, delta);
        }
        self.column_ends.clear();
        self.column_ends.push(out.len());
        put_column(out, &self.levels);
        put_column(out, &self.flags);
        put_varint(out, self.origins.len() as u64);
        for origin in &self.origins {
            out.extend_from_slice(&origin.0.to_le_bytes());
        }
        put_varint(out, self.batches.len() as u64);
        let mut last_offset = 0i64;
        for batch in &self.batches {
            put_varint(out, batch.origin as u64);
            put_varint(out, u64::from(batch.topic_partition));
            put_varint(out, zigzag((batch.kafka_offset as i64).wrapping_sub(last_offset)));
            last_offset = batch.kafka_offset as i64;
        }
        self.column_ends.push(out.len());
        put_column(out, &self.record_batches);
        self.column_ends.push(out.len());
        put_column(out, &self.indexes);
        self.column_ends.push(out.len());
        if self.format == Format::One {
            put_column(out, &self.lengths);
        }
        put_varint(out, self.original_times.len() as u64);
        for &(place, original_us) in &self.original_times {
            put_varint(out, place as u64);
            put_varint(out, zigzag(original_us));
        }
        self.column_ends.push(out.len());
    }

    fn clear(&mut self) {
        self.bodies.clear();
        self.times.clear();
        self.levels.clear();
        self.flags.clear();
        self.origins.clear();
        self.batches.clear();
        self.batch_places.clear();
        self.record_batches.clear();
        self.indexes.clear();
        self.lengths.clear();
        self.original_times.clear();
        self.time_last_us = 0;
        self.time_from_us = i64::MAX;
        self.time_to_us = i64::MIN;
        self.level_mask = 0;
    }
}

/// The header of a section: how it is packed, and its bytes without and with that.
fn put_header(method: u8, unpacked_bytes: usize, packed_bytes: usize, payload: &mut Vec<u8>) {
    payload.push(method);
    put_varint(payload, unpacked_bytes as u64);
    put_varint(payload, packed_bytes as u64);
}

/// All headers, then all bytes. `packed`: kept for its memory.
fn put_sections(level: i32, sections: &[&Vec<u8>], packed: &mut Vec<u8>, payload: &mut Vec<u8>) {
    packed.clear();
    for section in sections {
        let start = packed.len();
        let method = pack_rows(level, section, packed);
        put_header(method, section.len(), packed.len() - start, payload);
    }
    payload.extend_from_slice(packed);
    packed.shrink_to(PACKED_BYTES_KEPT);
}
