//! Checks whether a file that is opened again still holds the bytes that were read before. If not, says from which position on it
//! is read as another file.

use std::ops::Range;

use crate::checkpoint::FileCheckpoint;
use crate::milestones::{Found, OnDisk, Read, compare};

use super::Inode;

/// What is left of a file that was read before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// All of it. `known_size`: what it is known to have had at least.
    All { known_size: u64 },
    /// It was cut short, emptied or rewritten in place: from `at` on it is read as another. `unread` was cut off; empty: perhaps
    /// more was, nobody knows.
    UpTo { at: u64, unread: Option<Range<u64>> },
}

/// Compares a file with what the checkpoint says of it. `holds` tells whether the bytes before a place have a marker; `hash_at`
/// is that of the line that ends at a place.
///
/// # Errors
/// When `holds` cannot tell.
pub fn left_of<E>(
    before: &FileCheckpoint,
    inode: Inode,
    size: u64,
    holds: impl Fn(u64, u64) -> Result<bool, E>,
    hash_at: impl Fn(u64) -> Option<u32>,
) -> Result<Left, E> {
    let is_itself = (before.dev, before.ino) == inode;
    let holds = |at: u64, marker: u64| Ok(marker == 0 || (size >= at && holds(at, marker)?));
    let is_same_at_position = holds(before.position, before.marker)?;
    // (A copy may still be shorter than what it is made of.)
    let is_same = match before.ahead {
        Some((at, marker)) if is_itself || size >= at => holds(at, marker)?,
        _ => true,
    };
    let known_size = if is_itself || !is_same_at_position { before.size } else { 0 };
    let read = Read { position: before.position, size: known_size, milestones: &before.milestones };
    Ok(match compare(read, OnDisk { size, is_same, is_same_at_position }, hash_at) {
        Found::Same => Left::All { known_size: if is_itself { before.size } else { 0 } },
        Found::Cut { at, unread } => {
            // Where nothing is known to be cut off it may have been written to before the cut.
            let unread = Some(unread).filter(|unread| is_itself || !unread.is_empty());
            Left::UpTo { at, unread }
        }
    })
}
