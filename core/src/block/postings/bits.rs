//! Rice codes of ascending numbers; sets of a block's records.

use crate::bits::{BitReader, BitWriter};

/// The best Rice parameter for these ascending numbers, at most 15, and the bits that it takes.
pub(super) fn rice_bits(numbers: impl Iterator<Item = u32> + Clone, count: usize) -> (u32, u32) {
    let last = numbers.clone().last().map_or(0, |last| last + 1);
    // About log2 of the mean gap is the best, or the one below it.
    let mean = last.checked_div(count as u32).unwrap_or(0);
    let low = mean.checked_ilog2().unwrap_or(0).min(15);
    let bits = |low: u32| {
        let mut next = 0;
        numbers.clone().fold(0, |bits, number| {
            let gap = number - next;
            next = number + 1;
            bits + (gap >> low) + 1 + low
        })
    };
    (low.saturating_sub(1)..=low)
        .map(|low| (low, bits(low)))
        .min_by_key(|&(_, bits)| bits)
        .unwrap_or_default()
}

/// The gaps between ascending numbers.
pub(super) fn put_rice(out: &mut Vec<u8>, numbers: impl Iterator<Item = u32>, low: u32) {
    let mut bits = BitWriter::new(out);
    let mut next = 0;
    for number in numbers {
        let gap = number - next;
        next = number + 1;
        bits.unary(gap >> low);
        bits.put(gap & ((1 << low) - 1), low);
    }
    // A 0 would be the end of a gap.
    bits.finish(true);
}

/// The numbers that [`put_rice`] wrote; ends before one at or above `below`.
pub(super) fn rice(bytes: &[u8], low: u32, below: u32) -> impl Iterator<Item = u32> {
    let mut bits = BitReader::new(bytes, 0);
    let mut next = 0u32;
    std::iter::from_fn(move || {
        let high = bits.unary().filter(|&high| high <= below >> low)?;
        let number = next.checked_add(high << low)?.checked_add(bits.take(low)?)?;
        next = number + 1;
        (number < below).then_some(number)
    })
}

/// Some of a block's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::block) struct RecordSet {
    words: Vec<u64>,
    records: usize,
}

impl RecordSet {
    /// None of so many.
    pub fn clear(&mut self, records: usize) {
        self.words.clear();
        self.words.resize(records.div_ceil(64), 0);
        self.records = records;
    }

    /// All of so many.
    pub fn fill(&mut self, records: usize) {
        self.clear(records);
        self.complement();
    }

    pub fn insert(&mut self, record: u32) {
        self.words[record as usize / 64] |= 1 << (record % 64);
    }

    pub fn contains(&self, record: u32) -> bool {
        self.words.get(record as usize / 64).is_some_and(|word| word >> (record % 64) & 1 == 1)
    }

    pub fn complement(&mut self) {
        for word in &mut self.words {
            *word = !*word;
        }
        if let (Some(last), rest @ 1..) = (self.words.last_mut(), self.records % 64) {
            *last &= (1 << rest) - 1;
        }
    }

    pub fn add(&mut self, other: &RecordSet) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Whether any is left.
    pub fn keep(&mut self, other: &RecordSet) -> bool {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
        self.words.iter().any(|&word| word != 0)
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0..self.records as u32).filter(|&record| self.contains(record))
    }
}
