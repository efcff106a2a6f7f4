mod checked;
mod written;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::pack::{STORED, ZSTD};
use super::*;
use crate::identity::RecordId;
use crate::level::Level;
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_TOKENS_TARGET, RECORD_BYTES_MAX, SEALED_BLOCK_RECORDS};
use crate::origin::{Origin, OriginId};
use crate::record::{Flags, Record};

/// A record with its own body and origin.
#[derive(Clone, Debug)]
struct Owned {
    time_us: i64,
    original_time_us: Option<i64>,
    level: Level,
    flags: u16,
    origin: Origin,
    id: RecordId,
    body: Vec<u8>,
}

impl Owned {
    fn record(&self) -> Record<'_> {
        Record {
            time_us: self.time_us,
            original_time_us: self.original_time_us,
            level: self.level,
            flags: Flags(self.flags),
            origin: self.origin.id(),
            id: self.id,
            body: &self.body,
        }
    }
}

fn origin(name: &str) -> Origin {
    Origin { pod: name.to_owned(), service: "checkout".to_owned(), ..Origin::default() }
}

fn simple(index: u32, body: &[u8]) -> Owned {
    Owned {
        time_us: 1_795_000_000_000_000 + i64::from(index) * 1_000,
        original_time_us: None,
        level: Level::Info,
        flags: 0,
        origin: origin("a"),
        id: RecordId { topic_partition: 3, kafka_offset: 70, index },
        body: body.to_vec(),
    }
}

fn encode(builder: &mut BlockBuilder, records: &[Owned]) -> EncodedBlock {
    for owned in records {
        assert!(builder.push(&owned.record(), &owned.origin));
    }
    builder.finish(3)
}

fn assert_same(block: &EncodedBlock, records: &[Owned]) {
    let opened = Block::open(&block.payload).expect("a block that was just written opens");
    assert_eq!(opened.len(), records.len());
    for (i, owned) in records.iter().enumerate() {
        assert_eq!(opened.record(i).expect("its bodies unpack"), owned.record(), "record {i}");
    }
    assert_eq!(block.count as usize, records.len());
    assert_eq!(block.raw_bytes as usize, records.iter().map(|r| r.body.len()).sum::<usize>());
    assert_eq!(block.level_mask, records.iter().fold(0, |mask, r| mask | r.level.bit()));
    assert_eq!(block.time_from_us, records.iter().map(|r| r.time_us).min().unwrap_or(0));
    assert_eq!(block.time_to_us, records.iter().map(|r| r.time_us).max().unwrap_or(0));
    assert!(!block.bloom.is_empty());
    assert_head(block, records);
}

/// The beginning alone says whose the records are, or that it is too short.
fn assert_head(block: &EncodedBlock, records: &[Owned]) {
    let counted = |origins: Vec<(OriginId, u32)>| {
        let mut counts: BTreeMap<OriginId, u32> = BTreeMap::new();
        origins.into_iter().for_each(|(origin, records)| *counts.entry(origin).or_default() += records);
        counts
    };
    let expected = counted(records.iter().map(|owned| (owned.origin.id(), 1)).collect());
    let whole = Block::origins_of_head(&block.payload).expect("the whole block is enough");
    assert_eq!(counted(whole), expected);
    for bytes in [0, 3, 9, block.payload.len() / 4, block.payload.len() / 2] {
        match Block::origins_of_head(&block.payload[..bytes.min(block.payload.len())]) {
            Ok(origins) => assert_eq!(counted(origins), expected, "{bytes} bytes"),
            Err(error) => assert!(matches!(error, BlockError::Short(_)), "{bytes} bytes: {error}"),
        }
    }
}

prop_compose! {
    fn any_record()(
        time_us in prop_oneof![Just(0), any::<i64>(), 1_795_000_000_000_000i64..1_795_000_100_000_000],
        original_time_us in prop::option::weighted(0.1, any::<i64>()),
        level in 0..5u8,
        flags in prop_oneof![Just(0), any::<u16>()],
        pod in 0..4u8,
        topic_partition in prop_oneof![0..3u32, any::<u32>()],
        kafka_offset in prop_oneof![0..5u64, any::<u64>()],
        index in prop_oneof![0..50u32, any::<u32>()],
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[ -~]{0,60}".prop_map(String::into_bytes),
        ],
    ) -> Owned {
        Owned {
            time_us, original_time_us,
            level: Level::from_u8(level).expect("0 to 4"),
            flags,
            origin: origin(&format!("pod-{pod}")),
            id: RecordId { topic_partition, kafka_offset, index },
            body,
        }
    }
}

proptest! {
    /// What goes in comes out unchanged, also of a builder that was used before.
    #[test]
    fn roundtrip(blocks in prop::collection::vec(prop::collection::vec(any_record(), 0..80), 1..4)) {
        let mut builder = BlockBuilder::new();
        for records in &blocks {
            assert_same(&encode(&mut builder, records), records);
        }
    }

    /// Any bytes: an error or a block, never a panic.
    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Block::open(&bytes);
        let _ = Block::open(&with_checksum(&bytes));
    }

    /// Damage that a forger gave a right checksum is an error or some records, never a panic, nor memory without bound.
    #[test]
    fn forged_blocks_are_no_panic(
        records in prop::collection::vec(any_record(), 1..30),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        compress in any::<bool>(),
    ) {
        let mut builder = BlockBuilder::new();
        for owned in &records {
            prop_assert!(builder.push(&owned.record(), &owned.origin));
        }
        let mut rest = builder.finish(if compress { 3 } else { -100_000 }).payload.split_off(PREFIX_BYTES);
        for (place, byte) in edits {
            let place = place.index(rest.len());
            rest[place] = byte;
        }
        let forged = with_checksum(&rest);
        if let Ok(block) = Block::open(&forged) {
            for i in 0..block.len() {
                let _ = block.record(i);
            }
        }
    }
}

fn with_checksum(rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&checksum(rest).to_le_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

#[test]
fn bodies_are_unpacked_only_when_asked_for() {
    let records: Vec<Owned> = (0..100).map(|i| simple(i, b"the same line again and again")).collect();
    let mut payload = encode(&mut BlockBuilder::new(), &records).payload;
    // The bodies are the last section: damage them, with a right checksum.
    let last = payload.len() - 1;
    payload[last - 8..].fill(0xff);
    let forged = with_checksum(&payload[PREFIX_BYTES..]);
    let block = Block::open(&forged).expect("the columns are whole");
    assert_eq!(block.times_us().len(), 100);
    assert_eq!(block.levels()[99], Level::Info);
    assert_eq!(block.id(99).index, 99);
    assert!(block.record(0).is_err());
}

#[test]
fn every_truncation_and_bit_flip_is_found() {
    let records: Vec<Owned> =
        (0..20).map(|i| simple(i, format!("{{\"n\":{i},\"msg\":\"hello\"}}").as_bytes())).collect();
    let payload = encode(&mut BlockBuilder::new(), &records).payload;
    for len in 0..payload.len() {
        assert!(Block::open(&payload[..len]).is_err(), "cut at {len}");
    }
    let mut longer = payload.clone();
    longer.push(0);
    assert!(Block::open(&longer).is_err());
    for bit in 0..payload.len() * 8 {
        let mut flipped = payload.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Block::open(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn forged_sizes_are_refused_before_memory_is_taken() {
    let open = |rest: &[u8]| Block::open(&with_checksum(rest)).map(|block| block.len());
    let limit =
        |what| move |error: BlockError| matches!(error, BlockError::Limit { what: w, .. } if w == what);
    // count, dictionary, columns (method, unpacked, packed), bodies (same)
    assert!(open(&[0xff, 0xff, 0xff, 0x7f, 0]).is_err_and(limit("count")));
    assert!(open(&[1, 0, 1, 0xff, 0xff, 0xff, 0x7f, 1]).is_err_and(limit("columns")));
    assert!(open(&[1, 0, 1, 10, 2, 1, 0xff, 0xff, 0xff, 0x7f, 1]).is_err_and(limit("bodies")));
    assert_eq!(open(&[1, 7]), Err(BlockError::Dictionary(7)));
    assert_eq!(open(&[1, 0, 9, 0, 0]), Err(BlockError::Invalid("columns")));
    // A bomb: 16 MiB of zeroes in a few hundred bytes, told as 100 bytes.
    let bomb = zstd::bulk::compress(&vec![0; 16 << 20], 19).expect("zeroes are compressed");
    let mut rest = vec![1, 0, ZSTD, 100];
    super::columns::put_varint(&mut rest, 99);
    rest.extend([STORED, 0, 0]);
    rest.extend_from_slice(&bomb[..99]);
    assert!(open(&rest).is_err());
    assert_eq!(Block::open(&[9, 0, 0, 0, 0]).map(|b| b.len()), Err(BlockError::Version(9)));
}

#[test]
fn a_full_block_takes_nothing_and_an_empty_one_anything() {
    let mut builder = BlockBuilder::new();
    let small = simple(0, b"x");
    for _ in 0..SEALED_BLOCK_RECORDS {
        assert!(builder.push(&small.record(), &small.origin));
    }
    assert!(!builder.push(&small.record(), &small.origin));
    assert_eq!(builder.finish(1).count as usize, SEALED_BLOCK_RECORDS);

    let wordy = |n: usize| simple(0, (0..10).map(|w| format!("w{n}x{w} ")).collect::<String>().as_bytes());
    let taken = (0..).map(wordy).take_while(|words| builder.push(&words.record(), &words.origin)).count();
    assert!((BLOCK_TOKENS_TARGET / 10 - 1..=BLOCK_TOKENS_TARGET / 10).contains(&taken), "{taken}");
    let block = builder.finish(1);
    assert!(block.bloom.len() <= 2 * BLOCK_TOKENS_TARGET + 40, "{} bytes", block.bloom.len());

    let large = simple(0, &vec![b'y'; BLOCK_BYTES_MAX + 1]);
    assert!(builder.push(&large.record(), &large.origin));
    assert!(!builder.push(&small.record(), &small.origin));
    assert_same(&builder.finish(1), &[large]);

    let huge = simple(0, &vec![b'z'; RECORD_BYTES_MAX + 1]);
    assert!(builder.push(&huge.record(), &huge.origin));
    let block = builder.finish(1);
    let opened = Block::open(&block.payload).expect("it opens");
    let record = opened.record(0).expect("it unpacks");
    assert_eq!(record.body.len(), RECORD_BYTES_MAX);
    assert!(record.flags.has(Flags::TRUNCATED));
}

#[test]
fn an_origin_is_kept_by_its_id() {
    let mut records: Vec<Owned> = (0..10).map(|i| simple(i, b"line")).collect();
    records[4].origin = origin("other");
    let block = encode(&mut BlockBuilder::new(), &records);
    let opened = Block::open(&block.payload).expect("it opens");
    assert_eq!(opened.origins(), [origin("a").id(), origin("other").id()]);
    assert_eq!((0..10).map(|i| opened.origin_place(i)).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    assert_ne!(opened.origins()[0], OriginId(0));
}
