//! Builds the indexes of one round of sealing: one for each leaf that may have one, while the packer makes the leaf's blocks.
//! Promise: what the indexes have gathered and not coded takes at most [`SEAL_INDEX_BYTES_MAX`].

use std::collections::{BTreeMap, HashSet};

use foldhash::fast::RandomState;

use super::{Leaf, SEAL_RECORDS_MAX};
use crate::limits::SEAL_INDEX_BYTES_MAX;
use crate::segment::{Head, Resolution, SegmentBuilder};

/// The index of the blocks that one round put into a leaf. Block 0 of the index is the first block that was emitted for the leaf.
#[derive(Debug)]
pub struct SegmentIndex {
    pub leaf: Leaf,
    pub head: Head,
    /// Page `n` is the n-th of these.
    pub pages: Vec<Vec<u8>>,
}

/// The indexes of a round that are not finished.
#[derive(Default)]
pub(super) struct Segments {
    /// Leaves whose next blocks go into an index.
    leaves: HashSet<Leaf, RandomState>,
    building: BTreeMap<Leaf, SegmentBuilder>,
    /// Bytes that all builders have gathered and not coded.
    gathered_bytes: usize,
}

impl Segments {
    pub fn allow(&mut self, leaves: impl IntoIterator<Item = Leaf>) {
        self.leaves.extend(leaves);
    }

    pub fn has(&self, leaf: &Leaf) -> bool {
        self.leaves.contains(leaf)
    }

    /// Takes the leaf's builder out, to add blocks to it; [`Segments::put`] puts it back.
    pub fn take(&mut self, leaf: Leaf) -> SegmentBuilder {
        let segment = self.building.remove(&leaf);
        let segment = segment.unwrap_or_else(|| SegmentBuilder::new(Resolution::CHOSEN));
        self.gathered_bytes -= segment.gathered_bytes();
        segment
    }

    pub fn put(&mut self, leaf: Leaf, mut segment: SegmentBuilder) {
        if !segment.has_room_for(SEAL_RECORDS_MAX) {
            // The segment is full: the leaf's next blocks go into no index.
            self.leaves.remove(&leaf);
        }
        segment.rest();
        self.gathered_bytes += segment.gathered_bytes();
        self.building.insert(leaf, segment);
        while self.gathered_bytes > SEAL_INDEX_BYTES_MAX {
            let largest = self.building.values_mut().max_by_key(|segment| segment.gathered_bytes());
            let Some(largest) = largest.filter(|segment| segment.gathered_bytes() > 0) else { return };
            self.gathered_bytes -= largest.gathered_bytes();
            largest.code();
        }
    }

    /// Finishes one index; `None` when all are finished.
    pub fn next(&mut self) -> Option<SegmentIndex> {
        let (leaf, segment) = self.building.pop_first()?;
        self.gathered_bytes -= segment.gathered_bytes();
        let mut pages = Vec::new();
        let head = segment.finish(|_, page| pages.push(page));
        Some(SegmentIndex { leaf, head, pages })
    }

    #[cfg(test)]
    pub fn gathered_bytes(&self) -> usize {
        let all: usize = self.building.values().map(SegmentBuilder::gathered_bytes).sum();
        assert_eq!(all, self.gathered_bytes);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LeafPacker, SealedBlock};
    use super::*;
    use crate::block::{Block, Format};
    use crate::identity::RecordId;
    use crate::level::Level;
    use crate::origin::Origin;
    use crate::record::{Flags, Record};
    use crate::segment::{meet, tenant_token};
    use crate::tokens::Token;

    const RECORDS: u64 = 12_000;

    fn leaf(class: i32) -> Leaf {
        Leaf { class, from_us: 0, to_us: 1 << 40 }
    }

    /// Two leaves with an index and one without, of two tenants.
    fn sealed() -> (Vec<SealedBlock>, Vec<SegmentIndex>) {
        let mut packer = LeafPacker::new(1).of_format(Format::Three);
        packer.index([leaf(1), leaf(3), leaf(4)]);
        let mut blocks = Vec::new();
        for n in 0..RECORDS {
            let tenant = format!("tenant-{}", n / (RECORDS / 2));
            let origin =
                Origin { tenant: tenant.clone(), service: format!("s{}", n % 3), ..Origin::default() };
            let body = format!(r#"{{"msg":"line {n}x","user":"u{}"}}"#, n % 50);
            let record = Record {
                time_us: n as i64 * 1_000,
                original_time_us: None,
                level: Level::Info,
                flags: Flags::default(),
                origin: origin.id(),
                id: RecordId { topic_partition: 0, kafka_offset: n, index: 0 },
                body: body.as_bytes(),
            };
            let leaf = leaf((n % 3) as i32 + 1);
            packer.push(&tenant, leaf, &record, &origin, &mut |block| blocks.push(block));
            if n % 1_000 == 0 {
                packer.segments.gathered_bytes();
            }
        }
        packer.finish(&mut |block| blocks.push(block));
        let indexes = std::iter::from_fn(|| packer.next_index()).collect();
        assert_eq!(packer.segments.gathered_bytes(), 0);
        (blocks, indexes)
    }

    #[test]
    fn the_blocks_of_a_leaf_are_in_its_index_in_their_order() {
        let (blocks, indexes) = sealed();
        let leaves: Vec<i32> = indexes.iter().map(|index| index.leaf.class).collect();
        assert_eq!(leaves, [1, 3], "one for each leaf that has blocks and may have an index");
        for class in 1..=3 {
            let of_leaf: Vec<&SealedBlock> =
                blocks.iter().filter(|block| block.leaf == leaf(class)).collect();
            let opened = of_leaf.iter().map(|block| Block::open(&block.block.payload).expect("it opens"));
            let opened: Vec<Block<'_>> = opened.collect();
            let format = if class == 2 { Format::Two } else { Format::Three };
            assert!(opened.iter().all(|block| block.format() == format), "{class}");
            for block in &of_leaf {
                let has_own = !block.block.bloom.is_empty() && !block.block.postings.is_empty();
                assert_eq!(has_own, class == 2);
            }
            let Some(index) = indexes.iter().find(|index| index.leaf == leaf(class)) else { continue };
            assert_eq!(index.head.blocks(), of_leaf.len());
            let found = |clauses: &[Vec<Token>]| -> Vec<u32> {
                let page = |no: u32| index.pages.get(no as usize).map(Vec::as_slice);
                let met = meet(&index.head, clauses, page).expect("it opens");
                let mut blocks: Vec<u32> = met.map(|records| records.expect("it is whole").block).collect();
                blocks.dedup();
                blocks
            };
            for (number, block) in (0..).zip(&opened) {
                let record = block.record(0).expect("it unpacks");
                let text = String::from_utf8_lossy(record.body);
                let n: u64 = text[13..text.find('x').expect("a word")].trim().parse().expect("a number");
                let word = Token::word(format!("{n}x").as_bytes());
                let user = Token::word(format!("u{}", n % 50).as_bytes());
                let service = Token::origin("service", &format!("s{}", n % 3));
                let tenant = tenant_token(&of_leaf[number as usize].tenant);
                assert_eq!(found(&[vec![word]]), [number]);
                assert_eq!(found(&[vec![word], vec![user], vec![service], vec![tenant]]), [number]);
                assert_eq!(found(&[vec![word], vec![Token::word(b"nosuchword")]]), Vec::<u32>::new());
            }
        }
    }
}
