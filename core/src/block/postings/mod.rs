//! Postings: which records of a block hold a token. Where a bloom filter says that a block has all words that are sought,
//! they say whether one record has: a search opens only blocks in which the words may meet.
//!
//! ```text
//! postings = version u8 (2) | checksum u32 LE | rest           checksum: low half of XXH3-64 of the rest
//! rest     = records | lists | list... | bucket bits u8 | few | counts | few records
//! list     = keys | key u24 LE... | code u8 | bytes | gaps      records of a token that many have, once for all that share it
//! counts   = for each of 2^(bucket bits) buckets, as many 1 as it has records, then 0
//! few records = the buckets' records, ceil(log2(records)) bits each, ascending within a bucket
//! ```
//! Numbers without a width are LEB128 varints; bits are filled from the lowest. A token's key is the upper 24 bits of its
//! hash, mixed once more; tokens of one key are one: their records are put together. The gaps of a list are Rice coded
//! (`code & 15` low bits, after as many 1 as the rest says and a 0; what is cut off at the end is no gap); with the code's
//! highest bit they are the gaps of the records *without* the token. What at most [`FEW_RECORDS_MAX`] records have lies in the
//! bucket that the upper bits of its key say, if it is a [`TokenKind::Word`] or a [`TokenKind::TimeFraction`]; such identifiers are left
//! out, and a [`TokenKind::Name`] always has a list. A [`TokenKind::Pair`] is never there: its value's words are. Nor is a
//! [`TokenKind::Origin`].
//!
//! [`TokenKind::Word`]: crate::tokens::TokenKind::Word
//! [`TokenKind::TimeFraction`]: crate::tokens::TokenKind::TimeFraction
//! [`TokenKind::Name`]: crate::tokens::TokenKind::Name
//! [`TokenKind::Pair`]: crate::tokens::TokenKind::Pair
//! [`TokenKind::Origin`]: crate::tokens::TokenKind::Origin
//!
//! So a word or a name that is nowhere in the postings is in no record; an identifier or a pair may be in any. Nobody is told
//! less than the truth, sometimes more. No postings at all (no bytes): anything may be.

mod bits;
mod build;
mod read;
#[cfg(test)]
mod tests;

pub(super) use bits::RecordSet;
pub(super) use build::PostingsBuilder;
pub use read::Postings;

use crate::level::Level;
use crate::tokens::Token;

/// The format this build writes. The token hash, [`TokenKind`] and the words ([`crate::tokens::TokenVersion`]) belong to it.
pub const VERSION: u8 = 2;
/// The same with the words of before, which it reads.
const VERSION_FIRST: u8 = 1;

/// Smaller blocks have none: opening them costs as little.
pub const RECORDS_MIN: usize = 16;
/// In more records than this, a token has a list.
pub const FEW_RECORDS_MAX: usize = 7;
const KEY_BITS: u32 = 24;
/// Of a list's code.
const WITHOUT: u8 = 0x80;

/// Every record has that of its level, though no bloom filter does.
pub fn level_token(level: Level) -> Token {
    // No key of a body's value begins so, and if one did, there would be a few records more in the list.
    Token::name(b"\0level", &[level as u8])
}

fn key(hash: u64) -> u32 {
    (crate::tokens::mix(hash) >> (64 - KEY_BITS)) as u32
}

/// Bits that hold every number below `count`.
fn width(count: usize) -> u32 {
    count.saturating_sub(1).checked_ilog2().map_or(0, |log| log + 1)
}
