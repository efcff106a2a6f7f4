//! Bits one after the other, from the lowest of each byte; Rice codes of ascending numbers; sets of a block's records.

/// Appends bits to bytes.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    word: u64,
    used: u32,
}

impl<'a> BitWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        BitWriter { out, word: 0, used: 0 }
    }

    /// The lowest `count` bits of `value`, which has no others; at most 32.
    pub fn put(&mut self, value: u32, count: u32) {
        debug_assert!(count <= 32 && u64::from(value) >> count == 0);
        self.word |= u64::from(value) << self.used;
        self.used += count;
        if self.used >= 32 {
            self.out.extend_from_slice(&(self.word as u32).to_le_bytes());
            self.word >>= 32;
            self.used -= 32;
        }
    }

    /// `count` times 1, then 0.
    pub fn unary(&mut self, mut count: u32) {
        while count >= 31 {
            self.put(0x7fff_ffff, 31);
            count -= 31;
        }
        self.put((1 << count) - 1, count + 1);
    }

    /// Fills the last byte with `fill`.
    pub fn finish(mut self, fill: bool) {
        if fill && !self.used.is_multiple_of(8) {
            let count = 8 - self.used % 8;
            self.put((1 << count) - 1, count);
        }
        let bytes = self.used.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.word.to_le_bytes()[..bytes]);
    }
}

/// Reads bits; beyond the end there are none.
#[derive(Clone)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> BitReader<'a> {
        BitReader { bytes, at }
    }

    /// The next 57 bits, and some that are none; beyond the end they are `fill`'s.
    fn peek(&self, fill: u64) -> u64 {
        let byte = self.at / 8;
        let word = match self.bytes.get(byte..).and_then(<[u8]>::first_chunk::<8>) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => {
                let mut chunk = fill.to_le_bytes();
                let rest = self.bytes.get(byte..).unwrap_or_default();
                chunk[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(chunk)
            }
        };
        word >> (self.at % 8)
    }

    /// The next `count` bits, at most 32; `None` when there are not as many.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        if self.at + count as usize > self.bytes.len() * 8 {
            return None;
        }
        let value = self.peek(0) & ((1 << count) - 1);
        self.at += count as usize;
        Some(value as u32)
    }

    /// The 1 before the next 0, which is taken too; `None` when no 0 comes.
    pub fn unary(&mut self) -> Option<u32> {
        let mut count = 0;
        while self.at < self.bytes.len() * 8 {
            let ones = self.peek(u64::MAX).trailing_ones().min(56);
            count += ones;
            self.at += ones as usize;
            if ones < 56 {
                self.at += 1;
                return Some(count);
            }
        }
        None
    }
}

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
