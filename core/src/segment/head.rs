//! Writes and reads the head of a segment's index: what a reader must know before it fetches a page. It says how many bits of a hash are
//! kept, in which page a token is, and which granules belong to which block.

use crate::block::columns::{put_column, put_varint, read_column};
use crate::block::{BlockError, PREFIX_BYTES, checked, checksum};

use super::{
    BLOCKS_MAX, GRANULE_RECORDS, GRANULES_MAX, HASH_BITS_MAX, HASH_BITS_MIN, LISTS_MAX, PAGE_BITS_MAX,
    VERSION,
};

/// The head of a segment's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of leading bits that are kept of a plain token's hash; of a pair's, [`HASH_BITS_MAX`] are kept.
    pub(super) hash_bits: u32,
    /// Number of leading bits of a hash that give the page of its token.
    pub(super) page_bits: u32,
    /// Number of pages of lists; they follow the pages of tokens.
    pub(super) lists: u32,
    /// The first granule of each block, and last the number of all granules.
    pub(super) firsts: Vec<u32>,
}

impl Head {
    /// `granules`: of each block, at least 1.
    pub(super) fn new(hash_bits: u32, page_bits: u32, lists: u32, granules: &[u32]) -> Head {
        let mut firsts = Vec::with_capacity(granules.len() + 1);
        let mut next = 0;
        firsts.push(0);
        for of_block in granules {
            next += of_block;
            firsts.push(next);
        }
        Head { hash_bits, page_bits, lists, firsts }
    }

    /// Checks version and checksum. A newer version: `None`, anything may be in the segment.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn open(bytes: &[u8]) -> Result<Option<Head>, BlockError> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(0) | None => return Err(BlockError::Invalid("version of a segment's head")),
            Some(_) => return Ok(None),
        }
        let mut reader = checked(bytes)?;
        let hash_bits = u32::from(reader.byte("a segment's head")?);
        let page_bits = u32::from(reader.byte("a segment's head")?);
        if !(HASH_BITS_MIN..=HASH_BITS_MAX).contains(&hash_bits) || page_bits > PAGE_BITS_MAX {
            return Err(BlockError::Invalid("bits of a segment's head"));
        }
        let lists = reader.bounded("pages of lists", LISTS_MAX)? as u32;
        let blocks = reader.bounded("blocks of a segment", BLOCKS_MAX)?;
        let mut firsts = Vec::with_capacity(blocks + 1);
        let mut next = 0;
        firsts.push(0);
        if blocks > 0 {
            read_column(&mut reader, blocks, "granules of blocks", |granules| {
                next += granules;
                if granules == 0 || next > u64::from(GRANULES_MAX) {
                    return Err(BlockError::Invalid("granules of a block"));
                }
                firsts.push(next as u32);
                Ok(())
            })?;
        }
        if !reader.is_empty() {
            return Err(BlockError::Invalid("end of a segment's head"));
        }
        Ok(Some(Head { hash_bits, page_bits, lists, firsts }))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION, 0, 0, 0, 0, self.hash_bits as u8, self.page_bits as u8];
        put_varint(&mut out, u64::from(self.lists));
        put_varint(&mut out, self.blocks() as u64);
        if self.blocks() > 0 {
            let granules: Vec<u64> =
                self.firsts.windows(2).map(|pair| u64::from(pair[1] - pair[0])).collect();
            put_column(&mut out, &granules);
        }
        let sum = checksum(&out[PREFIX_BYTES..]);
        out[1..PREFIX_BYTES].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub fn blocks(&self) -> usize {
        self.firsts.len() - 1
    }

    /// Of all blocks.
    pub fn granules(&self) -> u32 {
        self.firsts.last().copied().unwrap_or(0)
    }

    /// All pages: those of tokens, then those of lists.
    pub fn pages(&self) -> u32 {
        self.token_pages() + self.lists
    }

    pub(super) fn token_pages(&self) -> u32 {
        1 << self.page_bits
    }

    /// In which page a token is, by its hash.
    pub fn page_of(&self, hash: u64) -> u32 {
        hash.checked_shr(64 - self.page_bits).unwrap_or(0) as u32
    }

    /// No fewer blocks have so many records.
    pub(super) fn fewest_blocks_of(&self, records: u64) -> usize {
        let mut granules: Vec<u32> = self.firsts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        granules.sort_unstable();
        let mut left = records.div_ceil(u64::from(GRANULE_RECORDS));
        let is_needed = |granules: &u32| {
            let is_needed = left > 0;
            left = left.saturating_sub(u64::from(*granules));
            is_needed
        };
        granules.into_iter().rev().take_while(is_needed).count()
    }

    /// The block of a granule, and which record of the block is the granule's first.
    pub(super) fn place_of(&self, granule: u32) -> Option<(u32, u32)> {
        let block = self.firsts.partition_point(|&first| first <= granule).checked_sub(1)?;
        let behind = *self.firsts.get(block + 1)?;
        (granule < behind).then(|| (block as u32, (granule - self.firsts[block]) * GRANULE_RECORDS))
    }
}
