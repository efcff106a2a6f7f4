//! Holes in a file: regions of NUL bytes that no program wrote. They are not lines.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{SeekFrom, seek};

use crate::folder::stat_of;

/// What the usual file systems give to files at a time, or a part of it.
const BLOCK_BYTES: u64 = 4096;

/// What lay at the position of a file that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    None,
    Skipped,
    /// Nothing was ever written from here to the end: room for what is to come.
    ToTheEnd(u64),
}

/// What lies at a place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    None,
    /// A hole up to there.
    UpTo(u64),
    /// A hole up to the end, which is there now.
    ToTheEnd(u64),
}

/// Looks for a hole at `position`; `given` is what was read there.
pub fn find(file: &File, given: &[u8], position: u64) -> io::Result<Found> {
    if given.iter().any(|byte| *byte != 0) {
        return Ok(Found::None);
    }
    // A hole begins where a block does: what is read up to there was filled with NUL behind the text.
    let block = position.next_multiple_of(BLOCK_BYTES);
    let from = if block <= position + given.len() as u64 { block } else { position };
    // (The place in the file that this moves is used by nobody.)
    let found = seek(file, SeekFrom::Data(from));
    // (Text may have come into the block since it was read; a file that was cut there is looked at elsewhere.)
    let mut filled = [0; BLOCK_BYTES as usize];
    let filled = &mut filled[..(from - position) as usize];
    let count = file.read_at(filled, position)?;
    if filled[..count].iter().any(|byte| *byte != 0) {
        return Ok(Found::None);
    }
    Ok(match found {
        Ok(data) if data > from => Found::UpTo(data),
        Err(rustix::io::Errno::NXIO) => Found::ToTheEnd(stat_of(file)?.size),
        Ok(_) | Err(_) => Found::None,
    })
}
