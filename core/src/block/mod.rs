//! The block codec: some records of one tenant as compressed columns, versioned and checksummed.
//!
//! ```text
//! block   = version u8 (1; 2 or 3: its bodies are columns, see `docs/block-format.md`) | checksum u32 LE | rest           checksum: low half of XXH3-64 of the rest
//! rest    = count | dictionary id (0: none) | section columns | section bodies
//! section = method u8 (0 as it is, 1 zstd) | unpacked bytes | packed bytes, then, after both headers, the packed bytes
//! columns = times | levels | flags | origins | batches | batch of each record | index in the batch | body lengths
//!           | original times
//! ```
//! Numbers without a width are LEB128 varints. The two sections are packed apart, so that a filter on time, level or
//! origin does not unpack bodies. What goes in comes out unchanged: `Block::open(encode(records))` has the same records.
//! Opening never panics and never allocates more than the limits allow, whatever the bytes are.
//!
//! Beside it lie what tells whether to open it at all: its bloom filter ([`crate::tokens`]) and its [`postings`]; of a block of format 3
//! the index of its segment ([`crate::segment`]) does.

pub mod check;
pub(crate) mod columns;
mod decode;
mod encode;
mod format2;
mod index;
mod pack;
pub mod postings;
mod sought;
#[cfg(test)]
mod tests;

pub use decode::Block;
pub use encode::{BlockBuilder, EncodedBlock};
pub use format2::Choices;
pub use index::Index;
pub use sought::Sought;

/// How a block writes its bodies, and what tells whether to open it; all are read by one [`Block`]. Which words its filter knows is [`crate::tokens::TokenVersion`]'s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One after the other, packed as one section.
    #[default]
    One,
    /// As columns.
    Two,
    /// As columns, too. It has neither a filter nor postings of its own: it is in the index of a segment.
    Three,
}

impl Format {
    /// The newest that this program reads.
    pub const NEWEST: Format = Format::Three;

    /// A block's first byte.
    pub fn version(self) -> u8 {
        match self {
            Format::One => 1,
            Format::Two => 2,
            Format::Three => 3,
        }
    }

    /// By a block's first byte.
    ///
    /// # Errors
    /// There is none of that number, or this program does not know it.
    pub fn of(version: u8) -> Result<Format, BlockError> {
        match version {
            0 => Err(BlockError::Invalid("version")),
            1 => Ok(Format::One),
            2 => Ok(Format::Two),
            3 => Ok(Format::Three),
            newer => Err(BlockError::Version(newer)),
        }
    }
}

/// Version and checksum.
pub(crate) const PREFIX_BYTES: usize = 5;

pub(crate) fn checksum(rest: &[u8]) -> u32 {
    xxhash_rust::xxh3::xxh3_64(rest) as u32
}

/// What follows a version and a checksum, once that is right.
pub(crate) fn checked(bytes: &[u8]) -> Result<columns::Reader<'_>, BlockError> {
    let (prefix, rest) = bytes.split_first_chunk::<PREFIX_BYTES>().ok_or(BlockError::Short("checksum"))?;
    let [_, a, b, c, d] = *prefix;
    let (expected, found) = (u32::from_le_bytes([a, b, c, d]), checksum(rest));
    if expected != found {
        return Err(BlockError::Checksum { expected, found });
    }
    Ok(columns::Reader::new(rest))
}

/// Why a payload is not a block. All but [`BlockError::Dictionary`] and [`BlockError::Version`] mean damage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("open block: version {0} is newer than this program reads (3)")]
    Version(u8),
    #[error("open block: checksum is {found:08x}, expected {expected:08x}")]
    Checksum { expected: u32, found: u32 },
    #[error("open block: {0} is cut short")]
    Short(&'static str),
    #[error("open block: {what} is {value}, above the limit of {max}")]
    Limit { what: &'static str, value: u64, max: u64 },
    #[error("open block: {0} is invalid")]
    Invalid(&'static str),
    #[error("open block: it needs dictionary {0}, which was not given")]
    Dictionary(u32),
    #[error("unpack block: {what}: {reason}")]
    Unpack { what: &'static str, reason: String },
}
