//! Writes and reads the ids of a segment's blocks: the id of each block's row in PostgreSQL, in the order of the blocks in the segment.
//!
//! ```text
//! ids = version u8 (1) | checksum u32 | count | the first, then each one's difference to the one before
//! ```

use crate::block::columns::put_varint;
use crate::block::{BlockError, PREFIX_BYTES, checked, checksum};

use super::{BLOCKS_MAX, VERSION};

/// `ids`: ascending.
pub fn write_ids(ids: &[u64]) -> Vec<u8> {
    let mut out = vec![VERSION, 0, 0, 0, 0];
    put_varint(&mut out, ids.len() as u64);
    let mut last = 0;
    for &id in ids {
        debug_assert!(id > last || last == 0);
        put_varint(&mut out, id - last);
        last = id;
    }
    let sum = checksum(&out[PREFIX_BYTES..]);
    out[1..PREFIX_BYTES].copy_from_slice(&sum.to_le_bytes());
    out
}

/// What [`write_ids`] wrote. A newer version: `None`.
///
/// # Errors
/// The bytes are damaged.
pub fn read_ids(bytes: &[u8]) -> Result<Option<Vec<u64>>, BlockError> {
    match bytes.first() {
        Some(&VERSION) => {}
        Some(0) | None => return Err(BlockError::Invalid("version of a segment's blocks")),
        Some(_) => return Ok(None),
    }
    let mut reader = checked(bytes)?;
    let count = reader.bounded("blocks of a segment", BLOCKS_MAX)?;
    let mut ids: Vec<u64> = Vec::with_capacity(count);
    let mut last = 0u64;
    for _ in 0..count {
        let more = reader.varint("blocks of a segment")?;
        last = last.checked_add(more).ok_or(BlockError::Invalid("blocks of a segment"))?;
        if more == 0 && !ids.is_empty() {
            return Err(BlockError::Invalid("blocks of a segment"));
        }
        ids.push(last);
    }
    if reader.is_empty() { Ok(Some(ids)) } else { Err(BlockError::Invalid("end of a segment's blocks")) }
}
