//! Occurrences sorted by token and granule: the last ones as they are, those before coded, as a spill each, which takes about as much room
//! as the index that comes of it.

use crate::bits::{BitReader, BitWriter};

use super::codes::{Ascending, gamma, put_ascending, put_gamma};
use super::list::GRANULE_LOG;
use super::{GRANULE_BITS, GRANULE_RECORDS, HASH_BITS_MAX};

/// A token in a granule.
pub(super) trait Occurrence: Copy {
    /// Leading bits of the token's hash, and the granule.
    fn at(self) -> u64;

    /// A bit for each record that holds it.
    fn records(self) -> u64;

    /// Of a pair, the word that it may be a twin of.
    fn word(self) -> u64 {
        Linked::NONE
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    pub at: u64,
    pub records: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Linked {
    pub at: u64,
    pub records: u64,
    pub word: u64,
}

impl Linked {
    /// No word, or different ones.
    pub const NONE: u64 = u64::MAX;
}

impl Occurrence for Plain {
    fn at(self) -> u64 {
        self.at
    }

    fn records(self) -> u64 {
        self.records
    }
}

impl Occurrence for Linked {
    fn at(self) -> u64 {
        self.at
    }

    fn records(self) -> u64 {
        self.records
    }

    fn word(self) -> u64 {
        self.word
    }
}

/// A token and its cells, ascending, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// [`HASH_BITS_MAX`] bits.
    pub hash: u64,
    pub word: u64,
    pub cells: Vec<u32>,
}

/// Sorted occurrences in few bytes.
#[derive(Debug)]
pub(super) struct Spill {
    tokens: u64,
    low: u32,
    /// Records of its cells, as a power of two.
    log: u32,
    cells_from: u32,
    cells_to: u32,
    are_linked: bool,
    bytes: Vec<u8>,
}

impl Spill {
    /// Of occurrences in these granules, told by cells of `1 << log` records.
    pub fn of<T: Occurrence>(
        sorted: &[T],
        log: u32,
        granules: std::ops::Range<u32>,
        are_linked: bool,
    ) -> Spill {
        let fine = GRANULE_LOG - log;
        let (cells_from, cells_to) = (granules.start << fine, granules.end << fine);
        let tokens = sorted.chunk_by(|a, b| a.at() >> GRANULE_BITS == b.at() >> GRANULE_BITS).count() as u64;
        let mut entry = Entry::default();
        let low = rice_low(HASH_BITS_MAX, tokens);
        let mut bytes = Vec::new();
        let mut bits = BitWriter::new(&mut bytes);
        let mut source = Source::Sorted(sorted, log);
        let mut next = 0;
        while source.next(&mut entry) {
            put_gap(&mut bits, entry.hash - next, low);
            next = entry.hash + 1;
            put_gamma(&mut bits, entry.cells.len() as u32);
            put_ascending(&mut bits, &entry.cells, cells_from, cells_to);
            if are_linked {
                bits.put(u32::from(entry.word != Linked::NONE), 1);
                if entry.word != Linked::NONE {
                    bits.put_wide(entry.word, HASH_BITS_MAX);
                }
            }
        }
        bits.finish(false);
        bytes.shrink_to_fit();
        Spill { tokens, low, log, cells_from, cells_to, are_linked, bytes }
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Told by cells of `1 << log` records, which are no smaller than its own.
    pub fn read<T>(&self, log: u32) -> Source<'_, T> {
        let bits = BitReader::new(&self.bytes, 0);
        Source::Spill(SpillReader { spill: self, coarser: log - self.log, bits, left: self.tokens, next: 0 })
    }
}

/// The Rice parameter for the gaps of so many numbers of so many bits.
pub(super) fn rice_low(bits: u32, count: u64) -> u32 {
    // The mean gap times ln 2 is the best; a quarter below it is near enough.
    let mean = (1u64 << bits) / count.max(1);
    (mean - mean / 4).max(1).ilog2()
}

pub(super) fn put_gap(bits: &mut BitWriter<'_>, gap: u64, low: u32) {
    bits.unary((gap >> low) as u32);
    bits.put_wide(gap & ((1 << low) - 1), low);
}

pub(super) fn gap(bits: &mut BitReader<'_>, low: u32) -> Option<u64> {
    let high = u64::from(bits.unary()?);
    // Numbers are below 2^40.
    let gap = high.checked_shl(low).filter(|gap| gap >> low == high)? | bits.take_wide(low)?;
    (gap >> HASH_BITS_MAX == 0).then_some(gap)
}

/// Where entries come from, in the order of their hashes.
pub(super) enum Source<'a, T> {
    /// Told by cells of so many records, as a power of two.
    Sorted(&'a [T], u32),
    Spill(SpillReader<'a>),
}

pub(super) struct SpillReader<'a> {
    spill: &'a Spill,
    coarser: u32,
    bits: BitReader<'a>,
    left: u64,
    next: u64,
}

impl<T: Occurrence> Source<'_, T> {
    /// Puts the next one into `entry`; false: there is none.
    pub fn next(&mut self, entry: &mut Entry) -> bool {
        entry.cells.clear();
        match self {
            Source::Sorted(rest, log) => {
                let Some(first) = rest.first() else { return false };
                (entry.hash, entry.word) = (first.at() >> GRANULE_BITS, first.word());
                let mut taken = 0;
                for one in rest.iter().take_while(|one| one.at() >> GRANULE_BITS == entry.hash) {
                    taken += 1;
                    let granule = (one.at() & ((1 << GRANULE_BITS) - 1)) as u32;
                    if one.word() != entry.word {
                        entry.word = Linked::NONE;
                    }
                    put_cells(granule, one.records(), *log, &mut entry.cells);
                }
                *rest = &rest[taken..];
                true
            }
            Source::Spill(reader) => reader.next(entry).is_some(),
        }
    }
}

/// The cells of `1 << log` records in which these of a granule lie.
fn put_cells(granule: u32, mut records: u64, log: u32, cells: &mut Vec<u32>) {
    if log == GRANULE_LOG {
        cells.push(granule);
        return;
    }
    let whole = (1u64 << (1u32 << log)) - 1;
    while records != 0 {
        let cell = records.trailing_zeros() >> log;
        cells.push((granule << (GRANULE_LOG - log)) + cell);
        records &= !(whole << (cell << log));
    }
}

const _: () = assert!(GRANULE_RECORDS == u64::BITS);

impl SpillReader<'_> {
    /// `None` at the end: what is written here is whole.
    fn next(&mut self, entry: &mut Entry) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        entry.hash = self.next + gap(&mut self.bits, self.spill.low)?;
        self.next = entry.hash + 1;
        let count = gamma(&mut self.bits)?;
        let mut cells = Ascending::new(self.bits.clone(), count, self.spill.cells_from, self.spill.cells_to)?;
        let coarser = self.coarser;
        cells.by_ref().for_each(|cell| entry.cells.push(cell >> coarser));
        if coarser > 0 {
            entry.cells.dedup();
        }
        self.bits = cells.into_bits()?;
        entry.word = if self.spill.are_linked && self.bits.take(1)? == 1 {
            self.bits.take_wide(HASH_BITS_MAX)?
        } else {
            Linked::NONE
        };
        Some(())
    }
}

/// Several sources as one. Cells of a later one lie behind those of the ones before.
pub(super) struct Merged<'a, T> {
    sources: Vec<(Source<'a, T>, Entry, bool)>,
}

impl<'a, T: Occurrence> Merged<'a, T> {
    pub fn new(sources: impl Iterator<Item = Source<'a, T>>) -> Merged<'a, T> {
        let sources = sources.map(|mut source| {
            let mut entry = Entry::default();
            let is_there = source.next(&mut entry);
            (source, entry, is_there)
        });
        Merged { sources: sources.collect() }
    }

    /// The hash of the next one.
    pub fn peek(&self) -> Option<u64> {
        self.sources.iter().filter(|(_, _, is_there)| *is_there).map(|(_, entry, _)| entry.hash).min()
    }

    pub fn next(&mut self, entry: &mut Entry) -> bool {
        let Some(hash) = self.peek() else { return false };
        entry.cells.clear();
        (entry.hash, entry.word) = (hash, Linked::NONE);
        let mut is_first = true;
        for (source, head, is_there) in &mut self.sources {
            if !*is_there || head.hash != hash {
                continue;
            }
            entry.word = if is_first || entry.word == head.word { head.word } else { Linked::NONE };
            if is_first {
                std::mem::swap(&mut entry.cells, &mut head.cells);
            } else {
                entry.cells.extend_from_slice(&head.cells);
            }
            is_first = false;
            *is_there = source.next(head);
        }
        true
    }
}
