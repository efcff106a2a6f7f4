//! Columns of a block that was opened: give each value back as the text that it was.

use std::ops::Range;

use super::super::BlockError;
use super::values::{SCALE_MAX, TimeForm, put_decimal, put_digits, put_hex};

/// Several texts in one buffer, one after the other.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub bytes: Vec<u8>,
    /// Where each text ends in the buffer, its separator included.
    pub ends: Vec<u32>,
    /// Bytes of the separator after each text.
    pub beyond: usize,
}

impl Texts {
    pub fn get(&self, place: usize) -> Option<&[u8]> {
        let end = *self.ends.get(place)? as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.bytes.get(start..end.checked_sub(self.beyond)?)
    }
}

/// The values of a column that are not of the column's kind, by their index in the column.
#[derive(Debug, Default)]
pub(super) struct Exceptions {
    pub places: Vec<u64>,
    pub texts: Texts,
}

impl Exceptions {
    fn get(&self, place: usize) -> Option<&[u8]> {
        if self.places.is_empty() {
            return None;
        }
        let found = self.places.binary_search(&(place as u64)).ok()?;
        self.texts.get(found)
    }
}

#[derive(Debug)]
pub(super) enum Column {
    Constant(Vec<u8>),
    Texts(Texts),
    Dictionary { table: Texts, indexes: Vec<u32> },
    Integers(Box<Integers>),
    Hex { bytes: Vec<u8>, bytes_each: usize, upper: bool, dashed: bool, exceptions: Box<Exceptions> },
    Times { form: TimeForm, zone: Vec<u8>, values: Vec<i64>, exceptions: Box<Exceptions> },
    Decimals { scales: Vec<u64>, mantissas: Vec<i64>, exceptions: Box<Exceptions> },
    Split(Box<Split>),
}

#[derive(Debug)]
pub(super) struct Integers {
    pub prefix: Vec<u8>,
    pub suffix: Vec<u8>,
    pub digits: usize,
    pub values: Vec<u64>,
    pub exceptions: Exceptions,
}

/// A column of texts that were cut into shapes and values.
#[derive(Debug)]
pub(super) struct Split {
    /// The constant texts of all shapes, shape after shape. Each shape has one more of them than it has slots.
    pub literals: Texts,
    /// Where the literals of each shape begin, and where those of the last end.
    pub firsts: Vec<u32>,
    /// The column of each slot of all shapes.
    pub slot_columns: Vec<u32>,
    /// The shape of each text.
    pub ids: Vec<u32>,
    pub cells: Cells,
    pub columns: Vec<Column>,
}

/// At which index of its column each value of each text stands.
#[derive(Debug)]
pub(super) enum Cells {
    /// Each text has one value in each column, at the index of the text.
    Same,
    /// `cells`: for each slot of each text, the index in the slot's column. `starts`: where the cells of each text begin.
    Listed { starts: Vec<u32>, cells: Vec<u32> },
}

impl Cells {
    /// Of a slot of a text.
    pub fn get(&self, place: usize, slot: usize) -> Option<usize> {
        match self {
            Cells::Same => Some(place),
            Cells::Listed { starts, cells } => {
                let start = *starts.get(place)? as usize;
                cells.get(start + slot).map(|&cell| cell as usize)
            }
        }
    }
}

const MISSING: BlockError = BlockError::Invalid("column");

/// Appends, if `out` is not longer than `max` then.
fn put(out: &mut Vec<u8>, text: &[u8], max: usize) -> Result<(), BlockError> {
    if text.len() > max.saturating_sub(out.len()) {
        return Err(BlockError::Invalid("bodies"));
    }
    out.extend_from_slice(text);
    Ok(())
}

impl Column {
    /// Appends a value. An error when there is none, or `out` would be longer than `max`.
    pub fn put(&self, place: usize, out: &mut Vec<u8>, max: usize) -> Result<(), BlockError> {
        match self {
            Column::Constant(text) => return put(out, text, max),
            Column::Texts(texts) => return put(out, texts.get(place).ok_or(MISSING)?, max),
            Column::Dictionary { table, indexes } => {
                let index = *indexes.get(place).ok_or(MISSING)?;
                return put(out, table.get(index as usize).ok_or(MISSING)?, max);
            }
            Column::Split(split) => return split.put(place, out, max),
            Column::Integers(integers) => {
                if let Some(exception) = integers.exceptions.get(place) {
                    return put(out, exception, max);
                }
                put(out, &integers.prefix, max)?;
                put_digits(out, *integers.values.get(place).ok_or(MISSING)?, integers.digits);
                put(out, &integers.suffix, max)?;
            }
            Column::Hex { bytes, bytes_each, upper, dashed, exceptions } => {
                if let Some(exception) = exceptions.get(place) {
                    return put(out, exception, max);
                }
                let start = place * bytes_each;
                put_hex(out, bytes.get(start..start + bytes_each).ok_or(MISSING)?, *upper, *dashed);
            }
            Column::Times { form, zone, values, exceptions } => {
                if let Some(exception) = exceptions.get(place) {
                    return put(out, exception, max);
                }
                form.put(out, *values.get(place).ok_or(MISSING)?)?;
                put(out, zone, max)?;
            }
            Column::Decimals { scales, mantissas, exceptions } => {
                if let Some(exception) = exceptions.get(place) {
                    return put(out, exception, max);
                }
                let (scale, mantissa) = scales.get(place).zip(mantissas.get(place)).ok_or(MISSING)?;
                put_decimal(out, *mantissa, (*scale).min(SCALE_MAX) as usize);
            }
        }
        if out.len() > max { Err(BlockError::Invalid("bodies")) } else { Ok(()) }
    }
}

impl Split {
    pub fn shapes(&self) -> usize {
        self.firsts.len().saturating_sub(1)
    }

    /// Panics, as [`Split::slots_of`] does, when there is no such shape.
    pub fn literals_of(&self, shape: usize) -> Range<usize> {
        self.firsts[shape] as usize..self.firsts[shape + 1] as usize
    }

    /// Of a shape, in `slot_columns`: each shape before it has one slot less than literals.
    pub fn slots_of(&self, shape: usize) -> Range<usize> {
        let literals = self.literals_of(shape);
        literals.start - shape..literals.end - shape - 1
    }

    /// As [`Column::put`].
    pub fn put(&self, place: usize, out: &mut Vec<u8>, max: usize) -> Result<(), BlockError> {
        let shape = self.ids.get(place).map(|&id| id as usize).filter(|&id| id < self.shapes());
        let shape = shape.ok_or(MISSING)?;
        let columns = self.slot_columns.get(self.slots_of(shape)).ok_or(MISSING)?;
        let mut literals = self.literals_of(shape).map(|literal| self.literals.get(literal).ok_or(MISSING));
        put(out, literals.next().ok_or(MISSING)??, max)?;
        for ((slot, &column), literal) in columns.iter().enumerate().zip(literals) {
            let cell = self.cells.get(place, slot).ok_or(MISSING)?;
            self.columns.get(column as usize).ok_or(MISSING)?.put(cell, out, max)?;
            put(out, literal?, max)?;
        }
        Ok(())
    }
}
