//! Integers as bytes: varints, zigzag, and columns that are written as runs or plainly, whichever is shorter.

use super::BlockError;

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small magnitudes of either sign become small numbers.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Reads what this module wrote; every read checks what is left.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All that is left, and nothing after it.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], BlockError> {
        let (head, tail) = self.bytes.split_at_checked(len).ok_or(BlockError::Short(what))?;
        self.bytes = tail;
        Ok(head)
    }

    pub fn byte(&mut self, what: &'static str) -> Result<u8, BlockError> {
        let (&first, tail) = self.bytes.split_first().ok_or(BlockError::Short(what))?;
        self.bytes = tail;
        Ok(first)
    }

    pub fn varint(&mut self, what: &'static str) -> Result<u64, BlockError> {
        let mut value = 0u64;
        for (i, &byte) in self.bytes.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                if i == 9 && byte > 1 {
                    return Err(BlockError::Invalid(what));
                }
                self.bytes = &self.bytes[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.bytes.len() < 10 { BlockError::Short(what) } else { BlockError::Invalid(what) })
    }

    /// A varint that may not be above `max`.
    pub fn bounded(&mut self, what: &'static str, max: usize) -> Result<usize, BlockError> {
        let value = self.varint(what)?;
        match usize::try_from(value) {
            Ok(fits) if fits <= max => Ok(fits),
            _ => Err(BlockError::Limit { what, value, max: max as u64 }),
        }
    }
}

const RUNS: u8 = 0;
const PLAIN: u8 = 1;

/// Writes `values` as (value, run length) pairs when that is about shorter, else one by one.
pub(crate) fn put_column(out: &mut Vec<u8>, values: &[u64]) {
    let runs = values.windows(2).filter(|pair| pair[0] != pair[1]).count() + 1;
    if runs * 2 <= values.len() {
        out.push(RUNS);
        let mut rest = values;
        while let Some(&value) = rest.first() {
            let run = rest.iter().take_while(|&&next| next == value).count();
            put_varint(out, value);
            put_varint(out, run as u64);
            rest = &rest[run..];
        }
    } else {
        out.push(PLAIN);
        for &value in values {
            put_varint(out, value);
        }
    }
}

/// Calls `each` with the `count` values of a column, in order.
pub(crate) fn read_column(
    reader: &mut Reader<'_>,
    count: usize,
    what: &'static str,
    mut each: impl FnMut(u64) -> Result<(), BlockError>,
) -> Result<(), BlockError> {
    match reader.byte(what)? {
        RUNS => {
            let mut left = count;
            while left > 0 {
                let value = reader.varint(what)?;
                let run = reader.bounded(what, left)?;
                if run == 0 {
                    return Err(BlockError::Invalid(what));
                }
                for _ in 0..run {
                    each(value)?;
                }
                left -= run;
            }
            Ok(())
        }
        PLAIN => {
            for _ in 0..count {
                each(reader.varint(what)?)?;
            }
            Ok(())
        }
        _ => Err(BlockError::Invalid(what)),
    }
}
