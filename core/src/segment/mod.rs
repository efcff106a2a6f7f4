//! The index of a segment: says for each token which records of the segment's blocks may hold it, so that a search opens few other blocks.
//! `docs/segment-index.md` defines the bytes.
//!
//! ```text
//! sealing:  SegmentBuilder (gather -> spill -> page, shared)   tokens of records -> head and pages
//!           merge                                              indexes of small segments -> one
//! search:   Head::page_of -> lists_of -> meet                  words -> which pages to read -> records that may hold all of them
//! verify:   covers                                             does the stored index miss anything that its blocks hold?
//! ```
//! A *segment* is the blocks that were sealed together into one table partition, or several such segments merged. A *granule* is 64
//! records of one block; the last granule of a block may have fewer. Granules are numbered through all blocks of a segment.
//!
//! For each token the index has the records or granules that hold it ([`Resolution`]). It knows a token by the leading bits of its hash, so
//! tokens with the same leading bits are one. So it may name records that do not hold the token, but never leaves one out that does.
//!
//! Two kinds of tokens are not in the index, because they take more space than they are worth:
//! - a [`TokenKind::TimeFraction`]: any record may have one;
//! - a [`TokenKind::Pair`] that is a *twin* of a word of its value: nearly every granule with the word also has the pair. A pair that is not
//!   in the index may be in any record. (A filter also asks for the words of the value.)

mod build;
mod codes;
mod cover;
mod gather;
mod head;
mod ids;
mod list;
mod meet;
mod merge;
mod page;
mod shared;
mod spill;
#[cfg(test)]
mod tests;

pub use build::SegmentBuilder;
pub use cover::covers;
pub use head::Head;
pub use ids::{read_ids, write_ids};
pub use list::Resolution;
pub use meet::{Meeting, Records, blocks_at_least, lists_of, meet};
pub use merge::{Part, merge};

use crate::tokens::{Token, TokenKind};

/// The format that this build writes. The token hash and the words of [`crate::tokens::TokenVersion::Current`] belong to it.
pub const VERSION: u8 = 1;
/// Records of a granule.
pub const GRANULE_RECORDS: u32 = 64;
/// Granules of a segment, at the most: 268 million records.
pub const GRANULES_MAX: u32 = 1 << 22;
/// Blocks of a segment, at the most.
pub const BLOCKS_MAX: usize = 1 << 18;
/// Leading bits of a hash that a builder gathers tokens by, and that pairs keep.
const HASH_BITS_MAX: u32 = 40;
/// Below them, of an occurrence: its granule.
const GRANULE_BITS: u32 = 64 - HASH_BITS_MAX;
/// Also of a small segment: it may be merged with others into a large one, which can have no more bits than its parts.
const HASH_BITS_MIN: u32 = 28;
/// Bits beyond those that tell the tokens of a segment apart: a word that is not there is taken for one that is
/// in one of 64 look-ups of a segment, and then one block is read in vain.
const HASH_BITS_SPARE: u32 = 6;
const PAGE_BITS_MAX: u32 = 24;
/// Pages of lists, at the most.
const LISTS_MAX: usize = 1 << 24;
/// Bytes of a page, on average at the most, without pairs and records told one by one.
const PAGE_BYTES_TARGET: u64 = 3_072;

/// Every record of a tenant has it.
pub fn tenant_token(tenant: &str) -> Token {
    // No key of a body's value begins so.
    Token::name(b"\0tenant", tenant.as_bytes())
}

/// Whether an index tells about tokens of this kind at all.
fn is_indexed(kind: TokenKind) -> bool {
    kind != TokenKind::TimeFraction
}
