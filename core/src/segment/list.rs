//! Writes and reads the lists of frequent tokens: the granules, or smaller cells of records, that hold one token. A list begins with its
//! length, so that it can be skipped.
//!
//! ```text
//! list = kind u8 | bytes | so many bytes        kind: records of a cell as a power of two (0 to 6) | coding * 16
//! ```
//! Coding 0: the cells, 1: the cells without the token (both ascending, interpolative codes), 2: a bit for each cell; 3: the list is
//! [elsewhere](super::shared).

use crate::bits::{BitReader, BitWriter};
use crate::block::BlockError;
use crate::block::columns::{Reader, put_varint};

use super::GRANULE_RECORDS;
use super::codes::{Ascending, put_ascending};

/// In fewer granules than this, a token's are written together with its count.
pub(super) const LONG_MIN: usize = 16;
pub(super) const GRANULE_LOG: u32 = GRANULE_RECORDS.ilog2();
/// Of a list's kind: records of a cell.
pub(super) const LOG_MASK: u8 = 15;
const WITH: u8 = 0;
const WITHOUT: u8 = 1;
const BITMAP: u8 = 2;
/// The coding that stands for a list elsewhere.
pub(super) const ELSEWHERE: u8 = 3;

/// How exactly an index says where a token is. Of tokens of middle frequency it lists cells of `1 << log` records, of all others granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Records of a cell, as a power of two.
    pub log: u32,
    /// Lower end of middle frequency: at least one record in so many has the token. (Rarer tokens gain little: few granules have them.)
    pub rarest: u32,
    /// Upper end: at most one granule in so many has the token,
    pub densest: u32,
    /// and at most one record in so many.
    pub fullest: u32,
}

impl Resolution {
    /// What builders are to take; `docs/segment-index.md` has the figures. Record by record, so that words that never meet open no block,
    /// but for those that are in more than half of the records.
    pub const CHOSEN: Resolution = Resolution { log: 0, rarest: 2_500, densest: 1, fullest: 2 };

    /// Granules for all tokens.
    pub const GRANULES: Resolution = Resolution { log: GRANULE_LOG, rarest: 1, densest: 1, fullest: 1 };

    /// Records of a cell, as a power of two, for a token in so many granules and so many of their records.
    pub(super) fn of(&self, granules: usize, records: u64, granules_in_all: u32) -> u32 {
        let (granules, all) = (granules as u64, u64::from(granules_in_all));
        let is_middle = granules as usize >= LONG_MIN
            && granules * u64::from(self.rarest) >= all * u64::from(GRANULE_RECORDS)
            && granules * u64::from(self.densest) <= all
            && records * u64::from(self.fullest) <= all * u64::from(GRANULE_RECORDS);
        if is_middle { self.log } else { GRANULE_LOG }
    }
}

/// Writes cells of `1 << log` records, of so many in all.
pub(super) fn put_long(out: &mut Vec<u8>, cells: &[u32], log: u32, cells_in_all: u32) {
    let mut packed = Vec::new();
    let mut bits = BitWriter::new(&mut packed);
    let mut coding = WITH;
    if cells.len() as u32 > cells_in_all / 2 {
        coding = WITHOUT;
        let mut held = cells.iter().copied().peekable();
        let without: Vec<u32> = (0..cells_in_all).filter(|&cell| held.next_if_eq(&cell).is_none()).collect();
        put_ascending(&mut bits, &without, 0, cells_in_all);
    } else {
        put_ascending(&mut bits, cells, 0, cells_in_all);
    }
    bits.finish(false);
    // A bit for each is read much faster, and little longer where about half of them are there.
    let bitmap = (cells_in_all as usize).div_ceil(8);
    if bitmap <= packed.len() + packed.len() / 8 {
        coding = BITMAP;
        packed.clear();
        packed.resize(bitmap, 0);
        cells.iter().for_each(|&cell| packed[cell as usize / 8] |= 1 << (cell % 8));
    }
    out.push(log as u8 | coding << 4);
    put_varint(out, packed.len() as u64);
    out.extend_from_slice(&packed);
}

/// Writes records, told by the granules that have any and a bit for each of their records; returns how many there are.
pub(super) fn put_records(out: &mut Vec<u8>, granules: &[u32], records: &[u64], granules_in_all: u32) -> u32 {
    let count: u32 = records.iter().map(|records| records.count_ones()).sum();
    // In nearly every granule, and in about half of their records: nothing is shorter than a bit for each.
    let (tenths, within) = (u64::from(count) * 10, granules.len() as u64 * u64::from(GRANULE_RECORDS));
    let is_everywhere = granules.len() as u64 * 10 >= u64::from(granules_in_all) * 9;
    if is_everywhere && (within * 3..within * 7).contains(&tenths) {
        const BYTES: usize = GRANULE_RECORDS as usize / 8;
        let bytes = granules_in_all as usize * BYTES;
        out.push(BITMAP << 4);
        put_varint(out, bytes as u64);
        let begin = out.len();
        out.resize(begin + bytes, 0);
        for (&granule, records) in granules.iter().zip(records) {
            let at = begin + granule as usize * BYTES;
            out[at..at + BYTES].copy_from_slice(&records.to_le_bytes());
        }
    } else {
        let mut cells = Vec::with_capacity(count as usize);
        for (&granule, &records) in granules.iter().zip(records) {
            put_cells(granule, records, 0, &mut cells);
        }
        put_long(out, &cells, 0, granules_in_all << GRANULE_LOG);
    }
    count
}

/// The cells of `1 << log` records in which these of a granule lie.
pub(super) fn put_cells(granule: u32, mut records: u64, log: u32, cells: &mut Vec<u32>) {
    if log == GRANULE_LOG {
        cells.push(granule);
        return;
    }
    let whole = (1u64 << (1u32 << log)) - 1;
    while records != 0 {
        let cell = records.trailing_zeros() >> log;
        cells.push((granule << (GRANULE_LOG - log)) + cell);
        records &= !(whole << (cell << log));
    }
}

const _: () = assert!(GRANULE_RECORDS == u64::BITS);

/// The place of a list that lies on a page of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the page among the pages of lists.
    pub page: u32,
    /// Bytes from the end of the page's checksum.
    pub offset: u32,
}

/// What follows a kind of [`ELSEWHERE`].
fn read_place(reader: &mut Reader<'_>) -> Result<Place, BlockError> {
    let mut number = || {
        let number = reader.varint("place of a list")?;
        u32::try_from(number).map_err(|_| BlockError::Invalid("place of a list"))
    };
    Ok(Place { page: number()?, offset: number()? })
}

/// The list of a token: in the token's page, or the place of it on a page of lists.
#[derive(Clone, Debug)]
pub(super) enum List<'p> {
    Here(Cells<'p>),
    /// Its cells are of `1 << log` records.
    At(Place, u32),
}

pub(super) fn skip_list(reader: &mut Reader<'_>) -> Result<(), BlockError> {
    if reader.byte("a list")? >> 4 == ELSEWHERE {
        return read_place(reader).map(|_| ());
    }
    let bytes = reader.bounded("a list", usize::MAX)?;
    reader.take(bytes, "a list").map(|_| ())
}

/// Of a token in so many cells.
pub(super) fn list<'p>(reader: &mut Reader<'p>, count: u32, granules: u32) -> Result<List<'p>, BlockError> {
    let kind = reader.byte("a list")?;
    match kind >> 4 {
        ELSEWHERE if u32::from(kind & LOG_MASK) > GRANULE_LOG => Err(BlockError::Invalid("cells of a list")),
        ELSEWHERE => Ok(List::At(read_place(reader)?, u32::from(kind & LOG_MASK))),
        _ => long(kind, reader, count, granules).map(List::Here),
    }
}

/// The same, of one that follows its kind.
pub(super) fn long<'p>(
    kind: u8,
    reader: &mut Reader<'p>,
    count: u32,
    granules: u32,
) -> Result<Cells<'p>, BlockError> {
    let bytes = reader.bounded("a list", usize::MAX)?;
    let bytes = reader.take(bytes, "a list")?;
    let log = u32::from(kind & LOG_MASK);
    if log > GRANULE_LOG {
        return Err(BlockError::Invalid("cells of a list"));
    }
    let all = granules << (GRANULE_LOG - log);
    let ascending = |count| {
        Ascending::new(BitReader::new(bytes, 0), count, 0, all).ok_or(BlockError::Invalid("count of a list"))
    };
    let coded = match kind >> 4 {
        WITH => Coded::With(ascending(count)?),
        WITHOUT => {
            let without = all.checked_sub(count).ok_or(BlockError::Invalid("count of a list"))?;
            let mut without = ascending(without)?;
            let hole = without.next();
            Coded::Without { without, hole, next: 0, all }
        }
        BITMAP if bytes.len() == (all as usize).div_ceil(8) => Coded::Bitmap { bytes, next: 0, all },
        _ => return Err(BlockError::Invalid("coding of a list")),
    };
    Ok(Cells { log, coded })
}

/// The cells of records that hold a token, ascending. They are decoded one by one as they are asked for.
#[derive(Clone, Debug)]
pub(super) struct Cells<'p> {
    /// A cell has `1 << log` records.
    pub log: u32,
    coded: Coded<'p>,
}

#[derive(Clone, Debug)]
enum Coded<'p> {
    With(Ascending<'p>),
    Without { without: Ascending<'p>, hole: Option<u32>, next: u32, all: u32 },
    Bitmap { bytes: &'p [u8], next: u32, all: u32 },
}

impl<'p> Cells<'p> {
    /// Of whole granules.
    pub fn short(granules: Ascending<'p>) -> Cells<'p> {
        Cells { log: GRANULE_LOG, coded: Coded::With(granules) }
    }

    /// Some that are there may not have come: the bytes ended.
    pub fn is_cut(&self) -> bool {
        match &self.coded {
            Coded::With(numbers) | Coded::Without { without: numbers, .. } => numbers.is_cut,
            Coded::Bitmap { .. } => false,
        }
    }

    /// The first at `cell` or above; those before are passed over.
    pub fn seek(&mut self, cell: u32) -> Option<u32> {
        match &mut self.coded {
            Coded::With(numbers) => numbers.find(|&number| number >= cell),
            Coded::Without { without, hole, next, all } => {
                *next = (*next).max(cell);
                while let Some(number) = *hole {
                    if number > *next {
                        break;
                    }
                    *next += u32::from(number == *next);
                    *hole = without.next();
                }
                (*next < *all).then(|| {
                    *next += 1;
                    *next - 1
                })
            }
            Coded::Bitmap { bytes, next, all } => {
                *next = (*next).max(cell);
                loop {
                    let rest = bytes.get(*next as usize / 8)? >> (*next % 8);
                    if rest != 0 {
                        *next += rest.trailing_zeros();
                        break;
                    }
                    *next = (*next / 8 + 1) * 8;
                }
                (*next < *all).then(|| {
                    *next += 1;
                    *next - 1
                })
            }
        }
    }
}
