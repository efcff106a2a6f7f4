//! Bits one after the other, from the lowest of each byte.

/// Appends bits to bytes.
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    word: u64,
    used: u32,
}

impl<'a> BitWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        BitWriter { out, word: 0, used: 0 }
    }

    /// The lowest `count` bits of `value`, which has no others; at most 32.
    #[inline]
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

    /// The same of up to 64 bits.
    pub fn put_wide(&mut self, value: u64, count: u32) {
        let low = count.min(32);
        self.put((value & ((1 << low) - 1)) as u32, low);
        if count > 32 {
            self.put((value >> 32) as u32, count - 32);
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
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
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

    /// The same of up to 64 bits.
    pub fn take_wide(&mut self, count: u32) -> Option<u64> {
        let low = u64::from(self.take(count.min(32))?);
        if count <= 32 {
            return Some(low);
        }
        Some(u64::from(self.take(count - 32)?) << 32 | low)
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
