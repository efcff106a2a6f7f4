//! The bloom filter: 16 bits for each distinct token, 5 probes, about 1 in 700 falsely there.
//!
//! The bytes are two for each token and one more: an odd number of them says [`super::TokenVersion::Current`].
//! A token is in the filter if for each of its probes the bit `probe % (8 * bytes)` is set, bit n being bit `n % 8` of
//! byte `n / 8`: PostgreSQL's `get_bit(bloom, probe % (8 * octet_length(bloom)))`. A filter is never empty.

use crate::limits::BLOOM_TOKENS_MAX;

use super::hash::{mix, word_token};

pub const PROBES: usize = 5;
const BYTES_PER_TOKEN: usize = 2;
const BYTES_MIN: usize = 8;
/// Of the version.
const BYTES_MORE: usize = 1;

/// Non-negative, below 2^32.
pub type Probes = [i64; PROBES];

/// The probes of a token's hash: independent 32-bit numbers.
pub fn probes_of(token: u64) -> Probes {
    let token = token.max(1); // of the format: 0 and 1 have the same
    let [a, b, c] = [mix(token), mix(token ^ 0x9e37_79b9_7f4a_7c15), mix(token ^ 0xc2b2_ae3d_27d4_eb4f)];
    [a >> 32, a & 0xffff_ffff, b >> 32, b & 0xffff_ffff, c >> 32].map(|probe| probe as i64)
}

/// The probes of a lower-cased word. (For `key=value`: [`super::pair_token`].)
pub fn probes(token: &str) -> Probes {
    probes_of(word_token(token.as_bytes()))
}

/// What the SQL of a search asks of a block's filter.
pub fn may_contain(bloom: &[u8], probes: &Probes) -> bool {
    let bits = bloom.len() as i64 * 8;
    bits > 0
        && probes.iter().all(|probe| {
            let bit = (probe % bits) as usize;
            bloom[bit / 8] & (1 << (bit % 8)) != 0
        })
}

/// The filter over some tokens' hashes.
pub fn build(tokens: &[u64]) -> Vec<u8> {
    let mut builder = BloomBuilder::new();
    for &token in tokens {
        builder.insert(token);
    }
    builder.finish()
}

/// Gathers the distinct tokens of a block, then builds its filter; reusable.
#[derive(Debug)]
pub struct BloomBuilder {
    distinct: Vec<u64>,
    /// Open addressing, a power of two, at most half full: 0 is free, else one more than a place in `distinct`.
    table: Vec<u32>,
    /// With too many tokens the filter is begun at its greatest size and filled at once.
    overflow: Option<Vec<u8>>,
}

const TABLE_MIN: usize = 1024;

impl Default for BloomBuilder {
    fn default() -> BloomBuilder {
        BloomBuilder::new()
    }
}

impl BloomBuilder {
    pub fn new() -> BloomBuilder {
        BloomBuilder { distinct: Vec::new(), table: vec![0; TABLE_MIN], overflow: None }
    }

    /// The distinct tokens so far, in the order of their first insertion.
    pub fn distinct(&self) -> &[u64] {
        &self.distinct
    }

    /// The token's place among the distinct ones; `None` when there are too many to tell.
    #[inline]
    pub fn insert(&mut self, token: u64) -> Option<usize> {
        if let Some(bloom) = &mut self.overflow {
            let remainder = Remainder::new(bloom.len());
            set(bloom, &remainder, token);
            return None;
        }
        let mask = self.table.len() - 1;
        let mut slot = (token >> 32) as usize & mask;
        while let Some(place) = (self.table[slot] as usize).checked_sub(1) {
            if self.distinct[place] == token {
                return Some(place);
            }
            slot = (slot + 1) & mask;
        }
        self.distinct.push(token);
        let places = self.distinct.len();
        self.table[slot] = places as u32;
        if places * 2 > self.table.len() {
            self.grow();
        }
        Some(places - 1)
    }

    fn grow(&mut self) {
        if self.distinct.len() >= BLOOM_TOKENS_MAX {
            self.overflow = Some(filter(&self.distinct, BLOOM_TOKENS_MAX * BYTES_PER_TOKEN + BYTES_MORE));
            return;
        }
        let mask = self.table.len() * 2 - 1;
        self.table.clear();
        self.table.resize(mask + 1, 0);
        for (place, &token) in self.distinct.iter().enumerate() {
            let mut slot = (token >> 32) as usize & mask;
            while self.table[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.table[slot] = place as u32 + 1;
        }
    }

    /// The filter of what was inserted; empties the builder.
    pub fn finish(&mut self) -> Vec<u8> {
        let bytes = (self.distinct.len() * BYTES_PER_TOKEN).max(BYTES_MIN) + BYTES_MORE;
        let bloom = self.overflow.take().unwrap_or_else(|| filter(&self.distinct, bytes));
        let table = (self.distinct.len() * 4).next_power_of_two().clamp(TABLE_MIN, self.table.len());
        self.distinct.clear();
        self.table.clear();
        self.table.resize(table, 0);
        bloom
    }
}

fn filter(tokens: &[u64], bytes: usize) -> Vec<u8> {
    let mut bloom = vec![0; bytes];
    let remainder = Remainder::new(bytes);
    for &token in tokens {
        set(&mut bloom, &remainder, token);
    }
    bloom
}

#[inline]
fn set(bloom: &mut [u8], remainder: &Remainder, token: u64) {
    for probe in probes_of(token) {
        let bit = remainder.of(probe as u32);
        bloom[bit / 8] |= 1 << (bit % 8);
    }
}

/// `probe % bits` for one filter by two multiplications (Lemire, Kaser, Kurz: Faster remainder by direct computation;
/// exact for 32-bit numbers).
#[derive(Clone, Copy, Debug)]
struct Remainder {
    bits: u64,
    inverse: u64,
}

impl Remainder {
    fn new(bytes: usize) -> Remainder {
        let bits = bytes as u64 * 8;
        debug_assert!(bits > 1 && bits <= u64::from(u32::MAX));
        Remainder { bits, inverse: u64::MAX / bits + 1 }
    }

    #[inline]
    fn of(&self, probe: u32) -> usize {
        let low = self.inverse.wrapping_mul(u64::from(probe));
        ((u128::from(low) * u128::from(self.bits)) >> 64) as usize
    }
}
