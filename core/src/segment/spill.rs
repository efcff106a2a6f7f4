//! Codes sorted occurrences (a token in a granule) as a [`Spill`], and merges several spills and the occurrences that are not coded yet. A
//! spill takes about as much memory as the index that is built from it.

use crate::bits::{BitReader, BitWriter};

use super::codes::{gamma, put_ascending, put_gamma, read_ascending};
use super::list::GRANULE_LOG;
use super::{GRANULE_BITS, GRANULE_RECORDS, HASH_BITS_MAX};

/// One token in one granule.
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

/// A token and all granules that hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The leading [`HASH_BITS_MAX`] bits of the token's hash.
    pub hash: u64,
    /// Of a pair, the word that it may be a twin of; else [`Linked::NONE`].
    pub word: u64,
    /// Ascending, each once.
    pub granules: Vec<u32>,
    /// For each of `granules`, a bit for each record that holds the token.
    pub records: Vec<u64>,
}

impl Entry {
    fn clear(&mut self) {
        self.granules.clear();
        self.records.clear();
    }

    /// Records that hold it.
    pub fn count(&self) -> u64 {
        self.records.iter().map(|records| u64::from(records.count_ones())).sum()
    }

    /// It is wherever `other` is, too.
    pub fn join(&mut self, other: &Entry) {
        let of = |entry: &Entry| -> Vec<(u32, u64)> {
            entry.granules.iter().copied().zip(entry.records.iter().copied()).collect()
        };
        let mut all = [of(self), of(other)].concat();
        all.sort_unstable_by_key(|(granule, _)| *granule);
        self.clear();
        for (granule, records) in all {
            match (self.granules.last(), self.records.last_mut()) {
                (Some(&last), Some(known)) if last == granule => *known |= records,
                _ => {
                    self.granules.push(granule);
                    self.records.push(records);
                }
            }
        }
    }
}

/// Sorted occurrences in few bytes.
#[derive(Debug)]
pub(super) struct Spill {
    tokens: u64,
    low: u32,
    granules_from: u32,
    granules_to: u32,
    are_linked: bool,
    /// The tokens' hashes, and in how many granules each is.
    hashes: Vec<u8>,
    /// The granules of each token, which of their records hold it, and of pairs the words.
    places: Vec<u8>,
}

impl Spill {
    /// Of occurrences in these granules.
    pub fn of<T: Occurrence>(sorted: &[T], granules: std::ops::Range<u32>, are_linked: bool) -> Spill {
        let tokens = sorted.chunk_by(|a, b| a.at() >> GRANULE_BITS == b.at() >> GRANULE_BITS).count() as u64;
        let mut entry = Entry::default();
        let low = rice_low(HASH_BITS_MAX, tokens);
        let (mut hashes, mut places) = (Vec::new(), Vec::new());
        let (mut hash_bits, mut bits) = (BitWriter::new(&mut hashes), BitWriter::new(&mut places));
        let mut source = Source::Sorted(sorted);
        let mut next = 0;
        while source.next(&mut entry) {
            put_gap(&mut hash_bits, entry.hash - next, low);
            next = entry.hash + 1;
            put_gamma(&mut hash_bits, entry.granules.len() as u32);
            put_ascending(&mut bits, &entry.granules, granules.start, granules.end);
            entry.records.iter().for_each(|&records| put_records(&mut bits, records));
            if are_linked {
                bits.put(u32::from(entry.word != Linked::NONE), 1);
                if entry.word != Linked::NONE {
                    bits.put_wide(entry.word, HASH_BITS_MAX);
                }
            }
        }
        hash_bits.finish(false);
        bits.finish(false);
        hashes.shrink_to_fit();
        places.shrink_to_fit();
        let (granules_from, granules_to) = (granules.start, granules.end);
        Spill { tokens, low, granules_from, granules_to, are_linked, hashes, places }
    }

    pub fn bytes(&self) -> usize {
        self.hashes.len() + self.places.len()
    }

    pub fn read<T>(&self) -> Source<'_, T> {
        let (hashes, places) = (BitReader::new(&self.hashes, 0), BitReader::new(&self.places, 0));
        Source::Spill(SpillReader { spill: self, hashes, places, left: self.tokens, next: 0 })
    }
}

/// A single record by its number, several by a bit for each.
fn put_records(bits: &mut BitWriter<'_>, records: u64) {
    let is_one = records.is_power_of_two();
    bits.put(u32::from(is_one), 1);
    match is_one {
        true => bits.put(records.trailing_zeros(), GRANULE_LOG),
        false => bits.put_wide(records, GRANULE_RECORDS),
    }
}

fn records(bits: &mut BitReader<'_>) -> Option<u64> {
    match bits.take(1)? {
        1 => Some(1 << bits.take(GRANULE_LOG)?),
        _ => bits.take_wide(GRANULE_RECORDS),
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

/// Gives entries in the order of their hashes, from occurrences that are not coded or from a spill.
pub(super) enum Source<'a, T> {
    Sorted(&'a [T]),
    Spill(SpillReader<'a>),
}

pub(super) struct SpillReader<'a> {
    spill: &'a Spill,
    hashes: BitReader<'a>,
    places: BitReader<'a>,
    left: u64,
    next: u64,
}

impl<T: Occurrence> Source<'_, T> {
    /// Puts the next one into `entry`; false: there is none.
    pub fn next(&mut self, entry: &mut Entry) -> bool {
        entry.clear();
        match self {
            Source::Sorted(rest) => {
                let Some(first) = rest.first() else { return false };
                (entry.hash, entry.word) = (first.at() >> GRANULE_BITS, first.word());
                let mut taken = 0;
                for one in rest.iter().take_while(|one| one.at() >> GRANULE_BITS == entry.hash) {
                    taken += 1;
                    if one.word() != entry.word {
                        entry.word = Linked::NONE;
                    }
                    entry.granules.push((one.at() & ((1 << GRANULE_BITS) - 1)) as u32);
                    entry.records.push(one.records());
                }
                *rest = &rest[taken..];
                true
            }
            Source::Spill(reader) => reader.next(entry).is_some(),
        }
    }

    /// The next one and in how many granules it is, for who asks for nothing else.
    fn next_count(&mut self) -> Option<(u64, u32)> {
        match self {
            Source::Sorted(rest) => {
                let hash = rest.first()?.at() >> GRANULE_BITS;
                let count = rest.iter().take_while(|one| one.at() >> GRANULE_BITS == hash).count();
                *rest = &rest[count..];
                Some((hash, count as u32))
            }
            Source::Spill(reader) => reader.next_count(),
        }
    }
}

/// Calls `each` with each token of some sources and in how many granules it is.
pub(super) fn count<'a, T: Occurrence + 'a>(
    sources: impl Iterator<Item = Source<'a, T>>,
    mut each: impl FnMut(u64, u32),
) {
    let mut sources: Vec<_> = sources
        .map(|mut source| {
            let head = source.next_count();
            (source, head)
        })
        .collect();
    while let Some(hash) = sources.iter().filter_map(|(_, head)| head.map(|(hash, _)| hash)).min() {
        let mut in_all = 0;
        for (source, head) in &mut sources {
            if let Some((_, count)) = head.filter(|(other, _)| *other == hash) {
                in_all += count;
                *head = source.next_count();
            }
        }
        each(hash, in_all);
    }
}

impl SpillReader<'_> {
    /// `None` at the end: what is written here is whole.
    fn next_count(&mut self) -> Option<(u64, u32)> {
        self.left = self.left.checked_sub(1)?;
        let hash = self.next + gap(&mut self.hashes, self.spill.low)?;
        self.next = hash + 1;
        Some((hash, gamma(&mut self.hashes)?))
    }

    fn next(&mut self, entry: &mut Entry) -> Option<()> {
        let (hash, count) = self.next_count()?;
        entry.hash = hash;
        let (from, to) = (self.spill.granules_from, self.spill.granules_to);
        read_ascending(&mut self.places, count, from, to, &mut entry.granules)?;
        for _ in 0..count {
            entry.records.push(records(&mut self.places)?);
        }
        entry.word = if self.spill.are_linked && self.places.take(1)? == 1 {
            self.places.take_wide(HASH_BITS_MAX)?
        } else {
            Linked::NONE
        };
        Some(())
    }
}

/// Merges several sources into one. The granules of each source lie behind those of the sources before it.
pub(super) struct Merged<'a, T> {
    /// Each source, its next entry, and whether there is one.
    sources: Vec<(Source<'a, T>, Entry, bool)>,
    /// The smallest hash of the next entries.
    next: Option<u64>,
}

impl<'a, T: Occurrence> Merged<'a, T> {
    pub fn new(sources: impl Iterator<Item = Source<'a, T>>) -> Merged<'a, T> {
        let sources = sources.map(|mut source| {
            let mut entry = Entry::default();
            let is_there = source.next(&mut entry);
            (source, entry, is_there)
        });
        let sources: Vec<_> = sources.collect();
        let next = sources.iter().filter(|(_, _, is_there)| *is_there).map(|(_, entry, _)| entry.hash).min();
        Merged { sources, next }
    }

    /// The hash of the next one.
    pub fn peek(&self) -> Option<u64> {
        self.next
    }

    pub fn next(&mut self, entry: &mut Entry) -> bool {
        let Some(hash) = self.next else { return false };
        entry.clear();
        (entry.hash, entry.word) = (hash, Linked::NONE);
        let (mut is_first, mut next) = (true, u64::MAX);
        let mut is_any = false;
        for (source, head, is_there) in &mut self.sources {
            if *is_there && head.hash == hash {
                entry.word = if is_first || entry.word == head.word { head.word } else { Linked::NONE };
                if is_first {
                    std::mem::swap(&mut entry.granules, &mut head.granules);
                    std::mem::swap(&mut entry.records, &mut head.records);
                } else {
                    entry.granules.extend_from_slice(&head.granules);
                    entry.records.extend_from_slice(&head.records);
                }
                is_first = false;
                *is_there = source.next(head);
            }
            if *is_there {
                (is_any, next) = (true, next.min(head.hash));
            }
        }
        self.next = is_any.then_some(next);
        true
    }
}
