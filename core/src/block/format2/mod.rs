//! Bodies as columns: format 2 of a block. `docs/block-format.md` defines it to the byte.
//!
//! A body is cut into its *shape* (the text that stays the same from line to line) and the values between. The values at one place of a
//! shape are a *column*. A column is written by its kind: constant, one of few, integers, hex digits, times, decimals, or texts that are
//! cut again. A value that is not of its column's kind is an *exception*.
//!
//! ```text
//! write:  encode -> split (where to cut) -> kinds, ints, values (how to write a column) -> node -> streams
//!                   choices (which way was best before)
//! read:   decode -> streams -> column (values as texts)      look (search without putting bodies together)
//! ```
//! The tree of columns is written in two parts: its description and the small streams lie in the *head*, each large stream by itself.
//! Promises: what goes in comes out unchanged, whatever it is; no bytes make the decoder panic or take memory beyond the limits.

mod choices;
mod column;
mod decode;
mod encode;
mod ints;
mod kinds;
mod look;
mod node;
mod split;
mod streams;
#[cfg(test)]
mod tests;
mod values;

pub use choices::Choices;
pub(super) use decode::Shaped;
pub(super) use encode::{Bodies, write};

use crate::limits::{BLOCK_BYTES_MAX, RECORD_BYTES_MAX};

/// In a shape, where a value was.
const SLOT: u8 = 1;
/// After each shape.
const SHAPE_END: u8 = 0;
/// Values of one text.
const SLOTS_MAX: usize = 255;
/// Values of one block, those of texts that are cut again included.
const CELLS_MAX: usize = 1 << 21;
/// Bytes of all streams of a block, unpacked.
const STREAM_BYTES_MAX: usize = 32 << 20;
const STREAMS_MAX: usize = 1 << 16;
/// Bodies are cut, texts within them, and no more.
const DEPTH_MAX: usize = 3;
/// A list whose places move to the front when they are named is no longer than this.
const RECENT_MAX: usize = 1024;
pub(super) const BODIES_BYTES_MAX: usize =
    if BLOCK_BYTES_MAX > RECORD_BYTES_MAX { BLOCK_BYTES_MAX } else { RECORD_BYTES_MAX };

/// The first byte of a column.
mod tag {
    /// Texts, each with a line feed after it.
    pub const LINES: u8 = 0;
    /// Texts, and how long each is.
    pub const TEXTS: u8 = 1;
    pub const CONSTANT: u8 = 2;
    pub const DICTIONARY: u8 = 3;
    pub const INTEGERS: u8 = 4;
    pub const HEX: u8 = 5;
    pub const TIMES: u8 = 6;
    pub const DECIMALS: u8 = 7;
    pub const SPLIT: u8 = 8;
}
