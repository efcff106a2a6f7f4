//! Packs records into sealed blocks at sealing: [`LeafPacker`] gathers the records of each leaf, sorts them by time and cuts them into
//! blocks of about 1,024 records. No block reaches over the end of a [slice of its leaf](Leaf::slice_us).
//!
//! ```text
//! writer::sealer       the task: when a round runs
//!  store::SealSession   one round, one transaction: reads fresh blocks, writes what comes back
//!   writer::RecordPlacer (a store::Placer)   which leaf each record goes to, by `retention`
//!    LeafPacker           the records of a leaf -> sealed blocks, and the index of its segment
//! ```
//! Fresh blocks come sorted by (tenant, lane, seq), not by class or time. A leaf's records are sorted and packed when
//! [`SEAL_RECORDS_MAX`] of them are there. Promises: a block never mixes tenants, classes or leaves; the bodies that wait take at most
//! [`SEAL_BYTES_MAX`]; emptied buffers keep at most [`SEAL_SPARE_BYTES_MAX`] for the next leaf.

use std::collections::HashMap;

mod segments;

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::block::{BlockBuilder, Choices, EncodedBlock, Format};
use crate::identity::RecordId;
use crate::level::Level;
use crate::limits::{
    SEAL_SPARE_BUFFER_BYTES_MAX, SEAL_SPARE_BYTES_MAX, SEALED_BLOCK_RECORDS, SEALED_LEAF_SLICES_MAX,
    SEALED_SLICE_US_MIN,
};
use crate::origin::{Origin, OriginId};
use crate::record::{Flags, Record};
use crate::segment::SegmentBuilder;

pub use segments::SegmentIndex;

use segments::Segments;

/// Records of one class and leaf that are sorted together.
pub const SEAL_RECORDS_MAX: usize = 8 * SEALED_BLOCK_RECORDS;
/// Bytes of bodies that wait in all leaves together; above it the fullest leaf is packed early.
pub const SEAL_BYTES_MAX: usize = 64 << 20;

/// A table partition of the sealed blocks: a retention class and a range of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Leaf {
    pub class: i32,
    /// Microseconds, inclusive.
    pub from_us: i64,
    /// Microseconds, exclusive.
    pub to_us: i64,
}

impl Leaf {
    /// Length of the leaf's slices, microseconds. No block is wider: otherwise one late record beside current ones would make a block
    /// that spans hours, and every search that begins within these hours would have to look for such blocks among all later ones.
    pub fn slice_us(&self) -> i64 {
        let width_us = self.to_us.saturating_sub(self.from_us);
        (width_us / SEALED_LEAF_SLICES_MAX).max(SEALED_SLICE_US_MIN)
    }

    fn slice(&self, time_us: i64) -> i64 {
        time_us.saturating_sub(self.from_us).div_euclid(self.slice_us())
    }
}

/// A block, and the leaf that it goes into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBlock {
    pub tenant: String,
    pub leaf: Leaf,
    pub block: EncodedBlock,
}

/// Gathers the records of one tenant by leaf and packs them into blocks; then it does the same for the next tenant.
pub struct LeafPacker {
    /// zstd's.
    level: i32,
    format: Format,
    /// Whose records wait.
    tenant: String,
    waiting: HashMap<Leaf, Waiting, RandomState>,
    /// Bytes of all bodies in `waiting`.
    waiting_bytes: usize,
    builder: BlockBuilder,
    origins: HashMap<OriginId, Origin, RandomState>,
    spare: Spare,
    segments: Segments,
}

/// The records of one leaf that are not packed yet, in the order in which they came.
#[derive(Default)]
struct Waiting {
    records: Vec<Slim>,
    /// Their bodies, one after the other.
    bodies: Vec<u8>,
}

impl Waiting {
    fn capacity_bytes(&self) -> usize {
        self.records.capacity() * size_of::<Slim>() + self.bodies.capacity()
    }
}

/// Empty buffers that keep their capacity for the next leaf, within [`SEAL_SPARE_BYTES_MAX`].
#[derive(Default)]
struct Spare {
    buffers: Vec<Waiting>,
    /// Capacity of all buffers together.
    bytes: usize,
}

impl Spare {
    fn take(&mut self) -> Waiting {
        let waiting = self.buffers.pop().unwrap_or_default();
        self.bytes -= waiting.capacity_bytes();
        waiting
    }

    fn keep(&mut self, mut waiting: Waiting) {
        waiting.records.clear();
        waiting.bodies.clear();
        waiting.bodies.shrink_to(SEAL_SPARE_BUFFER_BYTES_MAX);
        let bytes = waiting.capacity_bytes();
        if self.bytes + bytes <= SEAL_SPARE_BYTES_MAX {
            self.bytes += bytes;
            self.buffers.push(waiting);
        }
    }
}

/// A record whose body lies in [`Waiting::bodies`].
#[derive(Clone, Copy)]
struct Slim {
    time_us: i64,
    original_time_us: Option<i64>,
    id: RecordId,
    origin: OriginId,
    level: Level,
    flags: Flags,
    body_start: usize,
    body_len: usize,
}

impl LeafPacker {
    /// `level`: zstd's.
    pub fn new(level: i32) -> LeafPacker {
        LeafPacker {
            level,
            format: Format::One,
            tenant: String::new(),
            waiting: HashMap::default(),
            waiting_bytes: 0,
            builder: BlockBuilder::with_postings(),
            origins: HashMap::default(),
            spare: Spare::default(),
            segments: Segments::default(),
        }
    }

    /// Writes blocks of `format` in place of [`Format::One`]. [`Format::Three`] is written only in leaves that
    /// [may have an index](LeafPacker::index), [`Format::Two`] in the others.
    #[must_use]
    pub fn of_format(self, format: Format) -> LeafPacker {
        LeafPacker { format, ..self }
    }

    /// Allows blocks of [`Format::Three`] in these leaves, because each has a table for its index.
    pub fn index(&mut self, leaves: impl IntoIterator<Item = Leaf>) {
        self.segments.allow(leaves);
    }

    /// The index of the blocks that went into one leaf; `None` when all were given out. Call after [`LeafPacker::finish`].
    pub fn next_index(&mut self) -> Option<SegmentIndex> {
        self.segments.next()
    }

    /// Takes over the choices that another packer made for its columns.
    #[must_use]
    pub fn with_choices(self, choices: Choices) -> LeafPacker {
        LeafPacker { builder: self.builder.with_choices(choices), ..self }
    }

    /// Gives away the choices that were made for columns, for the packer of the next round.
    pub fn take_choices(&mut self) -> Choices {
        self.builder.take_choices()
    }

    /// Takes a record and passes full blocks to `emit`. All records of a tenant must come together: its last blocks are emitted with the
    /// next tenant's first record, or by [`LeafPacker::finish`]. `origin` must be the one that `record.origin` names, and
    /// `record.time_us` must lie within `leaf`.
    pub fn push(
        &mut self,
        tenant: &str,
        leaf: Leaf,
        record: &Record<'_>,
        origin: &Origin,
        emit: &mut impl FnMut(SealedBlock),
    ) {
        debug_assert!((leaf.from_us..leaf.to_us).contains(&record.time_us));
        if self.tenant != tenant {
            self.finish(emit);
            tenant.clone_into(&mut self.tenant);
        }
        self.origins.entry(record.origin).or_insert_with(|| origin.clone());
        let waiting = self.waiting.entry(leaf).or_insert_with(|| self.spare.take());
        waiting.records.push(Slim {
            time_us: record.time_us,
            original_time_us: record.original_time_us,
            id: record.id,
            origin: record.origin,
            level: record.level,
            flags: record.flags,
            body_start: waiting.bodies.len(),
            body_len: record.body.len(),
        });
        waiting.bodies.extend_from_slice(record.body);
        self.waiting_bytes += record.body.len();
        if waiting.records.len() >= SEAL_RECORDS_MAX {
            self.pack(leaf, emit);
        } else if self.waiting_bytes > SEAL_BYTES_MAX {
            let fullest = self.waiting.iter().max_by_key(|(_, waiting)| waiting.bodies.len());
            if let Some((&fullest, _)) = fullest {
                self.pack(fullest, emit);
            }
        }
    }

    /// Packs all records that wait.
    pub fn finish(&mut self, emit: &mut impl FnMut(SealedBlock)) {
        let mut leaves: Vec<Leaf> = self.waiting.keys().copied().collect();
        leaves.sort_unstable();
        for leaf in leaves {
            self.pack(leaf, emit);
        }
        self.origins.clear();
    }

    fn pack(&mut self, leaf: Leaf, emit: &mut impl FnMut(SealedBlock)) {
        let Some(mut waiting) = self.waiting.remove(&leaf) else { return };
        waiting.records.sort_unstable_by_key(|record| (record.time_us, record.id));
        // Records of different levels have different texts, so each class of a tenant is a source of its own.
        let source = xxh3_64_with_seed(self.tenant.as_bytes(), u64::from(leaf.class.cast_unsigned()));
        self.builder.set_source(source);
        let mut segment = None;
        self.builder.set_format(match self.format {
            Format::Three if self.segments.has(&leaf) => {
                segment = Some(self.segments.take(leaf));
                Format::Three
            }
            Format::Three => Format::Two,
            other => other,
        });
        let in_one_slice = |a: &Slim, b: &Slim| leaf.slice(a.time_us) == leaf.slice(b.time_us);
        for slice in waiting.records.chunk_by(in_one_slice) {
            let blocks = slice.len().div_ceil(SEALED_BLOCK_RECORDS).max(1);
            let each = slice.len().div_ceil(blocks);
            for record in slice {
                if self.builder.len() >= each || !self.add(record, &waiting.bodies, segment.as_mut()) {
                    self.cut(leaf, segment.as_mut(), emit);
                    let taken = self.add(record, &waiting.bodies, segment.as_mut());
                    debug_assert!(taken, "an empty block takes any record");
                }
            }
            self.cut(leaf, segment.as_mut(), emit);
        }
        if let Some(segment) = segment {
            self.segments.put(leaf, segment);
        }
        self.waiting_bytes -= waiting.bodies.len();
        self.spare.keep(waiting);
    }

    fn add(&mut self, record: &Slim, bodies: &[u8], segment: Option<&mut SegmentBuilder>) -> bool {
        let Some(origin) = self.origins.get(&record.origin) else { return true };
        let record = Record {
            time_us: record.time_us,
            original_time_us: record.original_time_us,
            level: record.level,
            flags: record.flags,
            origin: record.origin,
            id: record.id,
            body: &bodies[record.body_start..record.body_start + record.body_len],
        };
        match segment {
            None => self.builder.push(&record, origin),
            Some(segment) => self.builder.push_into(segment, &record, origin),
        }
    }

    fn cut(&mut self, leaf: Leaf, segment: Option<&mut SegmentBuilder>, emit: &mut impl FnMut(SealedBlock)) {
        if self.builder.is_empty() {
            return;
        }
        emit(SealedBlock { tenant: self.tenant.clone(), leaf, block: self.builder.finish(self.level) });
        if let Some(segment) = segment {
            segment.end_block();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::block::Block;
    use crate::retention::class::bucket_us;

    const HOUR_US: i64 = 3_600_000_000;

    fn origin(n: u8) -> Origin {
        Origin { pod: format!("pod-{n}"), ..Origin::default() }
    }

    fn leaf(class: i32, time_us: i64) -> Leaf {
        let from_us = time_us.div_euclid(HOUR_US) * HOUR_US;
        Leaf { class, from_us, to_us: from_us + HOUR_US }
    }

    fn push(
        packer: &mut LeafPacker,
        tenant: u8,
        class: i32,
        time_us: i64,
        n: u64,
        body: &[u8],
        out: &mut Vec<SealedBlock>,
    ) {
        let origin = origin((n % 3) as u8);
        let record = Record {
            time_us,
            original_time_us: None,
            level: Level::ALL[(n % 5) as usize],
            flags: Flags::default(),
            origin: origin.id(),
            id: RecordId { topic_partition: 0, kafka_offset: n / 7, index: (n % 7) as u32 },
            body,
        };
        packer.push(&format!("tenant-{tenant}"), leaf(class, time_us), &record, &origin, &mut |block| {
            out.push(block)
        });
    }

    /// Every block lies in its leaf, is sorted by time, and is of its tenant; every record is there once.
    fn check(blocks: &[SealedBlock], expected: usize) {
        let mut seen = HashSet::new();
        for sealed in blocks {
            let block = Block::open(&sealed.block.payload).expect("it opens");
            assert!(!block.is_empty() && block.len() <= SEALED_BLOCK_RECORDS);
            assert!(block.times_us().windows(2).all(|pair| pair[0] <= pair[1]), "sorted by time");
            let slices = block.times_us().iter().map(|time_us| sealed.leaf.slice(*time_us));
            assert_eq!(slices.collect::<HashSet<_>>().len(), 1, "within one slice");
            for i in 0..block.len() {
                let record = block.record(i).expect("it unpacks");
                assert!((sealed.leaf.from_us..sealed.leaf.to_us).contains(&record.time_us));
                assert!(seen.insert(record.id), "{} twice", record.id);
                let text = String::from_utf8_lossy(record.body);
                assert!(text.starts_with(&format!("{} {} ", sealed.tenant, sealed.leaf.class)), "{text}");
            }
        }
        assert_eq!(seen.len(), expected);
    }

    proptest! {
        #[test]
        fn nothing_is_mixed_lost_or_doubled(
            runs in prop::collection::vec((0..4u8, prop::collection::vec((1..4i32, 0..4 * HOUR_US), 0..200)), 1..6),
        ) {
            let (mut packer, mut out, mut n) = (LeafPacker::new(1), Vec::new(), 0);
            for (tenant, records) in runs {
                for (class, time_us) in records {
                    let body = format!("tenant-{tenant} {class} line {n}");
                    push(&mut packer, tenant, class, time_us, n, body.as_bytes(), &mut out);
                    n += 1;
                }
            }
            packer.finish(&mut |block| out.push(block));
            check(&out, n as usize);
        }
    }

    #[test]
    fn a_late_record_makes_no_wide_block() {
        const MINUTE_US: i64 = 60_000_000;
        let slices = [(4, 10), (60, 10), (12 * 60, 10), (2 * 24 * 60, 11), (28 * 24 * 60, 157)];
        for (leaf_minutes, slice_minutes) in slices {
            let leaf = Leaf { class: 1, from_us: 0, to_us: leaf_minutes * MINUTE_US };
            assert_eq!(leaf.slice_us() / MINUTE_US, slice_minutes, "{leaf_minutes} min");
        }
        let (mut packer, mut out) = (LeafPacker::new(1), Vec::new());
        let now_us = 7 * HOUR_US + 50 * MINUTE_US + 1;
        for n in 0..100 {
            let age_us = if n == 40 { 43 * MINUTE_US } else { n as i64 };
            push(&mut packer, 0, 1, now_us + 1_000 - age_us, n, b"tenant-0 1 line", &mut out);
        }
        packer.finish(&mut |block| out.push(block));
        check(&out, 100);
        let widths: Vec<i64> =
            out.iter().map(|sealed| sealed.block.time_to_us - sealed.block.time_from_us).collect();
        assert_eq!(widths, [0, 99]);
    }

    /// Few records come in each round of sealing, and slices are not what cuts them into small blocks.
    #[test]
    fn a_quiet_service_makes_about_one_block_a_round() {
        const ROUND_US: i64 = 120_000_000;
        const ROUNDS: i64 = 90;
        for days in [1, 7, 30] {
            let (mut packer, mut out) = (LeafPacker::new(1), Vec::new());
            let (mut n, origin) = (0, origin(1));
            for round in 0..ROUNDS {
                for record in 0..300 {
                    let time_us = 7 * HOUR_US + round * ROUND_US + record * (ROUND_US / 300);
                    let (from_us, to_us) = bucket_us(days * 24 * HOUR_US, time_us);
                    let body = format!("GET /carts/{} took {} ms", record * 7919 % 1000, n % 97);
                    let record = Record {
                        time_us,
                        original_time_us: None,
                        level: Level::ALL[2],
                        flags: Flags::default(),
                        origin: origin.id(),
                        id: RecordId { topic_partition: 0, kafka_offset: n, index: 0 },
                        body: body.as_bytes(),
                    };
                    packer.push("t", Leaf { class: 1, from_us, to_us }, &record, &origin, &mut |block| {
                        out.push(block)
                    });
                    n += 1;
                }
                packer.finish(&mut |block| out.push(block));
            }
            let a_round = out.len() as f64 / ROUNDS as f64;
            assert!(a_round <= 1.25, "{days} days: {a_round:.2} blocks a round");
        }
    }

    #[test]
    fn memory_is_bounded_and_blocks_are_full() {
        let (mut packer, mut out) = (LeafPacker::new(1), Vec::new());
        for n in 0..30_000u64 {
            push(&mut packer, 0, 1, n as i64 * 1_979, n, b"tenant-0 1 line", &mut out);
            assert!(packer.waiting.values().all(|waiting| waiting.records.len() < SEAL_RECORDS_MAX));
        }
        packer.finish(&mut |block| out.push(block));
        check(&out, 30_000);
        assert_eq!(out.len(), 3 * 8 + 6, "three full loads of eight blocks, and 5,424 records in six");

        out.clear();
        let large = [b"tenant-0 1 ".as_slice(), &vec![b'x'; 1 << 20]].concat();
        for n in 0..200 {
            push(&mut packer, 0, 1, (n as i64 % 3) * HOUR_US, n, &large, &mut out);
            assert!(packer.waiting_bytes <= SEAL_BYTES_MAX + large.len());
        }
        assert!(!out.is_empty());
        packer.finish(&mut |block| out.push(block));
        assert_eq!(packer.waiting_bytes, 0);
        check(&out, 200);
    }

    #[test]
    fn what_is_kept_for_the_next_leaf_is_bounded() {
        let (mut packer, mut out) = (LeafPacker::new(1), Vec::new());
        let kept = |packer: &LeafPacker| {
            let bytes: usize = packer.spare.buffers.iter().map(Waiting::capacity_bytes).sum();
            assert_eq!(bytes, packer.spare.bytes);
            bytes
        };
        // One leaf with large bodies leaves a small buffer.
        let large = [b"tenant-0 1 ".as_slice(), &vec![b'x'; 1 << 20]].concat();
        (0..40).for_each(|n| push(&mut packer, 0, 1, 0, n, &large, &mut out));
        packer.finish(&mut |block| out.push(block));
        let one = kept(&packer);
        assert!((1..=SEAL_SPARE_BUFFER_BYTES_MAX + (1 << 20)).contains(&one), "{one}");
        // One that is small takes it, and gives it back.
        push(&mut packer, 0, 1, 0, 40, b"tenant-0 1 line", &mut out);
        assert_eq!(kept(&packer), 0);
        packer.finish(&mut |block| out.push(block));
        assert_eq!(kept(&packer), one);
        // Many leaves with 512 KiB each.
        let half = &large[..512 << 10];
        for n in 0..120 {
            push(&mut packer, 0, 1, n as i64 * HOUR_US, 41 + n, half, &mut out);
        }
        packer.finish(&mut |block| out.push(block));
        assert!((one..=SEAL_SPARE_BYTES_MAX).contains(&kept(&packer)), "{}", kept(&packer));
        check(&out, 161);
    }
}
