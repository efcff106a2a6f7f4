//! Builds the index of a segment from the tokens of its records, block after block. To bound memory, gathered tokens are sorted and coded
//! as a [`Spill`] whenever there are enough; the end merges all spills in the order of the hashes, which is the order of the pages.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::gather::Gather;
use super::head::Head;
use super::list::{LONG_MIN, Resolution};
use super::page::PageWriter;
use super::spill::{Entry, Linked, Merged, Occurrence, Plain, Source, Spill, count};
use super::{
    BLOCKS_MAX, GRANULE_RECORDS, GRANULES_MAX, HASH_BITS_MAX, HASH_BITS_MIN, HASH_BITS_SPARE, PAGE_BITS_MAX,
    PAGE_BYTES_TARGET,
};
use crate::tokens::Token;

/// Bytes of what is gathered before it is sorted and coded.
const GATHERED_BYTES_MAX: usize = 16 << 20;
/// A pair whose word is in fewer granules than this many eighths more is left out.
const TWIN_EIGHTHS: u64 = 7;

/// Of a list, in its token's page.
const LIST_BITS: u64 = 8 * 16;

/// Builds one index: [`SegmentBuilder::add`] for each token of a record, [`SegmentBuilder::end_record`], [`SegmentBuilder::end_block`],
/// and at last [`SegmentBuilder::finish`].
#[derive(Debug)]
pub struct SegmentBuilder {
    resolution: Resolution,
    /// Bytes of gathered tokens above which they are coded.
    gathered_max: usize,
    /// Tokens that are not coded yet.
    gather: Gather,
    /// The coded tokens, the earliest first: plain tokens, and pairs.
    spills: Vec<(Spill, Spill)>,
    /// Granules that `spills` cover.
    granules_coded: u32,
    /// How many granules each complete block has.
    granules: Vec<u32>,
    /// Granules of all complete blocks.
    granules_before: u32,
    /// Complete records of the current block.
    records: u32,
}

impl SegmentBuilder {
    pub fn new(resolution: Resolution) -> SegmentBuilder {
        SegmentBuilder {
            resolution,
            gathered_max: GATHERED_BYTES_MAX,
            gather: Gather::new(),
            spills: Vec::new(),
            granules_coded: 0,
            granules: Vec::new(),
            granules_before: 0,
            records: 0,
        }
    }

    /// So many bytes are gathered before they are sorted and coded.
    #[must_use]
    pub fn with_gathered_max(self, bytes: usize) -> SegmentBuilder {
        SegmentBuilder { gathered_max: bytes, ..self }
    }

    /// The record that comes next has the token.
    #[inline]
    pub fn add(&mut self, token: Token) {
        let granule = self.granules_before + self.records / GRANULE_RECORDS;
        self.gather.add(token, granule, self.records % GRANULE_RECORDS);
    }

    /// The record that comes next has the tokens of a group: always the same ones of this number in a block.
    #[inline]
    pub fn add_group(&mut self, group: usize, tokens: &[Token]) {
        let granule = self.granules_before + self.records / GRANULE_RECORDS;
        self.gather.add_group(group, granule, self.records % GRANULE_RECORDS, tokens);
    }

    /// The record has all of its tokens.
    pub fn end_record(&mut self) {
        self.records += 1;
        if self.records.is_multiple_of(GRANULE_RECORDS) {
            self.gather.end_granule();
        }
    }

    /// What comes next is of another block.
    pub fn end_block(&mut self) {
        self.gather.end_granule();
        let granules = self.records.div_ceil(GRANULE_RECORDS).max(1);
        self.granules.push(granules);
        self.granules_before += granules;
        self.records = 0;
        if self.gather.bytes() > self.gathered_max {
            self.code();
        }
    }

    /// Whether so many more blocks, of a record each or of so many records together, are not too many for a segment.
    pub fn has_room_for(&self, blocks: usize) -> bool {
        self.granules.len() + blocks <= BLOCKS_MAX
            && self.granules_before as usize + blocks <= GRANULES_MAX as usize
    }

    pub fn blocks(&self) -> usize {
        self.granules.len()
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.gather.bytes()
            + self.spills.iter().map(|(plain, pairs)| plain.bytes() + pairs.bytes()).sum::<usize>()
    }

    /// Of these, those that are gathered and not coded.
    pub fn gathered_bytes(&self) -> usize {
        self.gather.bytes()
    }

    /// Lets go of what it only needs while records come; between two blocks.
    pub fn rest(&mut self) {
        self.gather.rest();
    }

    /// Codes what is gathered, which then takes less room. Between two blocks.
    pub fn code(&mut self) {
        self.gather.sort();
        let granules = self.granules_coded..self.granules_before;
        self.spills.push((
            Spill::of(&self.gather.plain, granules.clone(), false),
            Spill::of(&self.gather.pairs, granules, true),
        ));
        self.granules_coded = self.granules_before;
        self.gather.clear();
    }

    /// Gives the pages out, by their numbers, and returns the head. Every block must have ended.
    pub fn finish(mut self, mut emit: impl FnMut(u32, Vec<u8>)) -> Head {
        debug_assert_eq!(self.records, 0);
        self.gather.sort();
        let (resolution, in_all) = (self.resolution, self.granules_before);
        let mut entry = Entry::default();

        // In how many granules words are: 1, unless it is here.
        let mut counts: HashMap<u64, u32, RandomState> = HashMap::default();
        let (mut tokens, mut bits) = (0u64, 0u64);
        count(sources(self.spills.iter().map(|(plain, _)| plain), &self.gather.plain), |hash, granules| {
            tokens += 1;
            bits += list_bits(granules, in_all);
            if granules > 1 {
                counts.insert(hash, granules);
            }
        });
        let hash_bits = (tokens.max(1).ilog2() + 1 + HASH_BITS_SPARE).clamp(HASH_BITS_MIN, HASH_BITS_MAX);
        bits += tokens * u64::from(HASH_BITS_SPARE + 3);
        let is_twin = |entry: &Entry| {
            let of_word = counts.get(&entry.word).map_or(1, |&count| u64::from(count));
            entry.word != Linked::NONE && entry.granules.len() as u64 * 8 >= of_word * TWIN_EIGHTHS
        };
        // Most pairs are left out, so words alone say how many pages there are, and pairs are read once.
        let page_bits = (bits / 8).div_ceil(PAGE_BYTES_TARGET).max(1).next_power_of_two().ilog2();
        let page_bits = page_bits.min(PAGE_BITS_MAX);

        let (mut plain, mut pairs) = (self.plain(), self.pairs());
        let mut page = PageWriter::new(resolution, in_all);
        let mut next = Entry::default();
        for number in 0..1u32 << page_bits {
            let is_here = |hash: u64| hash >> (HASH_BITS_MAX - page_bits) == u64::from(number);
            page.begin(hash_bits - page_bits, HASH_BITS_MAX - page_bits);
            while plain.peek().is_some_and(is_here) && plain.next(&mut entry) {
                let cut = HASH_BITS_MAX - hash_bits;
                // Tokens that only the bits beyond tell apart are one.
                while plain.peek().is_some_and(|hash| hash >> cut == entry.hash >> cut) {
                    plain.next(&mut next);
                    entry.join(&next);
                }
                page.plain(entry.hash >> cut, &entry);
            }
            while pairs.peek().is_some_and(is_here) && pairs.next(&mut entry) {
                if !is_twin(&entry) {
                    page.pair(entry.hash, &entry);
                }
            }
            emit(number, page.finish());
        }
        let lists = page.lists();
        let head = Head::new(hash_bits, page_bits, lists.len() as u32, &self.granules);
        (head.token_pages()..).zip(lists).for_each(|(number, list)| emit(number, list));
        head
    }

    fn plain(&self) -> Merged<'_, Plain> {
        Merged::new(sources(self.spills.iter().map(|(plain, _)| plain), &self.gather.plain))
    }

    fn pairs(&self) -> Merged<'_, Linked> {
        Merged::new(sources(self.spills.iter().map(|(_, pairs)| pairs), &self.gather.pairs))
    }
}

fn sources<'a, T: Occurrence>(
    spills: impl Iterator<Item = &'a Spill>,
    last: &'a [T],
) -> impl Iterator<Item = Source<'a, T>> {
    spills.map(Spill::read).chain(std::iter::once(Source::Sorted(last)))
}

/// About so many bits take the count of a token and its granules, of so many, or where its list is.
fn list_bits(granules: u32, in_all: u32) -> u64 {
    if granules as usize >= LONG_MIN {
        return LIST_BITS;
    }
    let gap = u64::from(in_all / granules);
    2 * u64::from(granules.ilog2()) + 1 + u64::from(granules) * (u64::from(gap.max(1).ilog2()) + 1)
}
