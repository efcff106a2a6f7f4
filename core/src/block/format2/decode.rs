//! Decodes the bodies of a block: bytes into columns, and columns into bodies. Nothing is unpacked before a caller asks for a body.

use std::sync::OnceLock;

use super::super::columns::{Reader, unzigzag};
use super::super::{BlockError, Sought};
use super::column::{Cells, Column, Exceptions, Integers, Split, Texts};
use super::look::look;
use super::streams::{Packed, Streams};
use super::values::{FRACTION_DIGITS_MAX, SCALE_MAX, TimeForm};
use super::{
    BODIES_BYTES_MAX, CELLS_MAX, DEPTH_MAX, RECENT_MAX, SHAPE_END, SLOT, SLOTS_MAX, STREAM_BYTES_MAX, ints,
    tag,
};

/// The bodies of one block, as columns.
#[derive(Debug)]
pub(in super::super) struct Shaped<'p> {
    packed: Packed<'p>,
    columns: OnceLock<Column>,
    whole: OnceLock<(Vec<u8>, Vec<u32>)>,
    /// Bodies that were asked for one by one.
    alone: OnceLock<Vec<OnceLock<Box<[u8]>>>>,
}

impl<'p> Shaped<'p> {
    pub fn read(reader: &mut Reader<'p>) -> Result<Shaped<'p>, BlockError> {
        Ok(Shaped::of(Packed::read(reader)?))
    }

    fn of(packed: Packed<'p>) -> Shaped<'p> {
        Shaped { packed, columns: OnceLock::new(), whole: OnceLock::new(), alone: OnceLock::new() }
    }

    /// The same, outliving its payload.
    pub fn into_owned(self) -> Shaped<'static> {
        Shaped {
            columns: self.columns,
            whole: self.whole,
            alone: self.alone,
            ..Shaped::of(self.packed.into_owned())
        }
    }

    /// Unpacks the columns the first time.
    pub(super) fn columns(&self, times_us: &[i64]) -> Result<&Column, BlockError> {
        if let Some(columns) = self.columns.get() {
            return Ok(columns);
        }
        let head = self.packed.unpack_head()?;
        let (mut description, streams) = Streams::open(&head, &self.packed)?;
        let mut decoder = Decoder { times_us, cells_left: CELLS_MAX, streams };
        let records: Vec<u32> = (0..times_us.len() as u32).collect();
        let column = decoder.column(&mut description, Some(&records), records.len(), 0)?;
        if !description.is_empty() || !decoder.streams.is_empty() {
            return Err(BlockError::Invalid("end"));
        }
        Ok(self.columns.get_or_init(|| column))
    }

    /// For each record, whether its body holds what is sought, or its begin; no body is put together.
    pub fn may_hold(&self, sought: Sought<'_>, times_us: &[i64]) -> Result<Vec<bool>, BlockError> {
        Ok(look(self.columns(times_us)?, sought)?.marks(times_us.len()))
    }

    /// How many bodies were put together.
    #[cfg(test)]
    pub fn built(&self) -> usize {
        let alone =
            self.alone.get().map_or(0, |alone| alone.iter().filter(|body| body.get().is_some()).count());
        self.whole.get().map_or(alone, |(_, ends)| ends.len())
    }

    /// All bodies one after the other, and where each ends.
    pub fn bodies(&self, times_us: &[i64]) -> Result<(&[u8], &[u32]), BlockError> {
        if self.whole.get().is_none() {
            let columns = self.columns(times_us)?;
            let max = self.packed.raw_bytes;
            let (mut bytes, mut ends) = (Vec::with_capacity(max), Vec::with_capacity(times_us.len()));
            for record in 0..times_us.len() {
                columns.put(record, &mut bytes, max)?;
                ends.push(bytes.len() as u32);
            }
            if bytes.len() != max {
                return Err(BlockError::Invalid("bodies"));
            }
            let _ = self.whole.set((bytes, ends));
        }
        Ok(self.whole.get().map_or((&[], &[]), |(bytes, ends)| (bytes, ends)))
    }

    /// One body; the others are not put together for it.
    pub fn body(&self, record: usize, times_us: &[i64]) -> Result<&[u8], BlockError> {
        if let Some((bytes, ends)) = self.whole.get() {
            let start = record.checked_sub(1).map_or(0, |before| ends[before] as usize);
            return Ok(&bytes[start..ends[record] as usize]);
        }
        let alone = self.alone.get_or_init(|| (0..times_us.len()).map(|_| OnceLock::new()).collect());
        let place = &alone[record];
        if place.get().is_none() {
            let mut body = Vec::new();
            self.columns(times_us)?.put(record, &mut body, self.packed.raw_bytes)?;
            let _ = place.set(body.into());
        }
        Ok(place.get().map_or(&[], |body| body))
    }
}

struct Decoder<'d> {
    times_us: &'d [i64],
    cells_left: usize,
    streams: Streams<'d>,
}

impl Decoder<'_> {
    /// `records`: which record each value is of; `None`: of none.
    fn column(
        &mut self,
        description: &mut Reader<'_>,
        records: Option<&[u32]>,
        count: usize,
        depth: usize,
    ) -> Result<Column, BlockError> {
        let kind = description.byte("column")?;
        Ok(match kind {
            tag::CONSTANT => Column::Constant(text(description)?),
            tag::LINES | tag::TEXTS => Column::Texts(self.texts(kind, count)?),
            tag::DICTIONARY if depth <= DEPTH_MAX => self.dictionary(description, count)?,
            tag::INTEGERS => {
                let (prefix, suffix) = (text(description)?, text(description)?);
                let digits = description.bounded("digits", 20)?;
                let exceptions = self.exceptions(description, count)?;
                let values = self.ints(count, "integers")?;
                Column::Integers(Box::new(Integers { prefix, suffix, digits, values, exceptions }))
            }
            tag::HEX => {
                let flags = description.byte("hex")?;
                let bytes_each = description.bounded("hex", 64)?;
                let (upper, dashed) = (flags & 1 != 0, flags & 2 != 0);
                if flags > 3 || (dashed && bytes_each != 16) {
                    return Err(BlockError::Invalid("hex"));
                }
                let exceptions = Box::new(self.exceptions(description, count)?);
                let bytes = self.streams.next()?.into_owned();
                if bytes.len() != count * bytes_each {
                    return Err(BlockError::Invalid("hex"));
                }
                Column::Hex { bytes, bytes_each, upper, dashed, exceptions }
            }
            tag::TIMES => self.times(description, records, count)?,
            tag::DECIMALS => {
                let exceptions = Box::new(self.exceptions(description, count)?);
                let scales = self.ints(count, "decimals")?;
                if scales.iter().any(|&scale| scale > SCALE_MAX) {
                    return Err(BlockError::Invalid("decimals"));
                }
                let mantissas = self.ints(count, "decimals")?.into_iter().map(unzigzag).collect();
                Column::Decimals { scales, mantissas, exceptions }
            }
            tag::SPLIT if depth < DEPTH_MAX => {
                Column::Split(Box::new(self.split(description, records, count, depth)?))
            }
            _ => return Err(BlockError::Invalid("column")),
        })
    }

    fn ints(&mut self, count: usize, what: &'static str) -> Result<Vec<u64>, BlockError> {
        ints::decode(&self.streams.next()?, count, what)
    }

    fn texts(&mut self, kind: u8, count: usize) -> Result<Texts, BlockError> {
        const INVALID: BlockError = BlockError::Invalid("texts");
        if kind == tag::LINES {
            let bytes = self.streams.next()?.into_owned();
            let ends: Vec<u32> = memchr::memchr_iter(b'\n', &bytes).map(|at| at as u32 + 1).collect();
            let is_whole = ends.len() == count && ends.last().map_or(0, |&end| end as usize) == bytes.len();
            return if is_whole { Ok(Texts { bytes, ends, beyond: 1 }) } else { Err(INVALID) };
        }
        let lengths = self.ints(count, "texts")?;
        let bytes = self.streams.next()?.into_owned();
        let (mut ends, mut end) = (Vec::with_capacity(count), 0usize);
        for len in lengths {
            let next = usize::try_from(len).ok().and_then(|len| end.checked_add(len));
            end = next.filter(|&end| end <= bytes.len()).ok_or(INVALID)?;
            ends.push(end as u32);
        }
        if end == bytes.len() { Ok(Texts { bytes, ends, beyond: 0 }) } else { Err(INVALID) }
    }

    fn exceptions(&mut self, description: &mut Reader<'_>, count: usize) -> Result<Exceptions, BlockError> {
        let exceptions = description.bounded("exceptions", count)?;
        if exceptions == 0 {
            return Ok(Exceptions::default());
        }
        let places = self.ints(exceptions, "exceptions")?;
        let kind = description.byte("exceptions")?;
        if !places.is_sorted() || !matches!(kind, tag::LINES | tag::TEXTS) {
            return Err(BlockError::Invalid("exceptions"));
        }
        Ok(Exceptions { places, texts: self.texts(kind, exceptions)? })
    }

    fn dictionary(&mut self, description: &mut Reader<'_>, count: usize) -> Result<Column, BlockError> {
        const INVALID: BlockError = BlockError::Invalid("dictionary");
        let len = description.bounded("dictionary", count)?;
        let is_recent = match description.byte("dictionary")? {
            0 => false,
            1 if len <= RECENT_MAX => true,
            _ => return Err(INVALID),
        };
        let mut indexes = Vec::with_capacity(count);
        let mut recent: Vec<u32> = Vec::new();
        for number in self.ints(count, "dictionary")? {
            let place = usize::try_from(number).ok().filter(|&place| place < len).ok_or(INVALID)?;
            if !is_recent {
                indexes.push(place as u32);
            } else if place < recent.len() {
                recent[..=place].rotate_right(1);
                indexes.push(recent[0]);
            } else if place == recent.len() {
                recent.insert(0, place as u32);
                indexes.push(place as u32);
            } else {
                return Err(INVALID);
            }
        }
        // Its values, as texts whatever they are: each is asked for often.
        let table = match self.column(description, None, len, DEPTH_MAX + 1)? {
            Column::Texts(texts) => texts,
            column => {
                let mut table = Texts::default();
                for place in 0..len {
                    column.put(place, &mut table.bytes, BODIES_BYTES_MAX)?;
                    table.ends.push(table.bytes.len() as u32);
                }
                table
            }
        };
        Ok(Column::Dictionary { table, indexes })
    }

    fn times(
        &mut self,
        description: &mut Reader<'_>,
        records: Option<&[u32]>,
        count: usize,
    ) -> Result<Column, BlockError> {
        let (between, point) = (description.byte("times")?, description.byte("times")?);
        let digits = description.bounded("times", FRACTION_DIGITS_MAX)?;
        let form = TimeForm { between, point, digits };
        let zone = text(description)?;
        let exceptions = Box::new(self.exceptions(description, count)?);
        let is_of_record = match description.byte("times")? {
            0 => false,
            1 => true,
            _ => return Err(BlockError::Invalid("times")),
        };
        let differences = self.ints(count, "times")?;
        let of_record = |place: usize| {
            let record = records.and_then(|records| records.get(place));
            record.map_or(0, |&record| self.times_us.get(record as usize).copied().unwrap_or(0))
        };
        let values = differences.into_iter().enumerate().map(|(place, difference)| {
            let base = if is_of_record { form.of_record(of_record(place)) } else { 0 };
            base.wrapping_add(unzigzag(difference))
        });
        Ok(Column::Times { form, zone, values: values.collect(), exceptions })
    }

    fn split(
        &mut self,
        description: &mut Reader<'_>,
        records: Option<&[u32]>,
        count: usize,
        depth: usize,
    ) -> Result<Split, BlockError> {
        const INVALID: BlockError = BlockError::Invalid("shapes");
        let shapes_count = description.bounded("shapes", count)?;
        let columns_count = description.bounded("shapes", self.cells_left)?;
        let (literals, firsts) = self.shapes(shapes_count)?;
        let slots = literals.ends.len() - shapes_count;
        let slot_columns = self.ints(slots, "shapes")?.into_iter();
        let slot_columns: Vec<u32> = slot_columns
            .map(|column| if column < columns_count as u64 { Ok(column as u32) } else { Err(INVALID) })
            .collect::<Result<_, _>>()?;
        let ids = self.ints(count, "shapes")?;
        if columns_count > slots || ids.iter().any(|&id| id >= shapes_count as u64) {
            return Err(INVALID);
        }
        // Of each shape, how many texts have it.
        let mut counts = vec![0usize; shapes_count];
        ids.iter().for_each(|&id| counts[id as usize] += 1);
        let ids = ids.into_iter().map(|id| id as u32).collect();
        let columns = Vec::with_capacity(columns_count);
        let mut split = Split { literals, firsts, slot_columns, ids, cells: Cells::Same, columns };
        let mut counts_of_columns = vec![0usize; columns_count];
        for (shape, &count) in counts.iter().enumerate() {
            let slots = split.slots_of(shape);
            let cells = count.checked_mul(slots.len()).and_then(|cells| self.cells_left.checked_sub(cells));
            self.cells_left = cells.ok_or(INVALID)?;
            split.slot_columns[slots].iter().for_each(|&column| counts_of_columns[column as usize] += count);
        }
        let in_order = |(slot, &column): (usize, &u32)| slot == column as usize;
        if shapes_count == 1 && slots == columns_count && split.slot_columns.iter().enumerate().all(in_order)
        {
            for _ in 0..columns_count {
                split.columns.push(self.column(description, records, count, depth + 1)?);
            }
            return Ok(split);
        }
        let (mut starts, mut cells) = (Vec::with_capacity(count), Vec::new());
        let mut owners: Vec<Vec<u32>> = counts_of_columns.into_iter().map(Vec::with_capacity).collect();
        for (place, &id) in split.ids.iter().enumerate() {
            starts.push(cells.len() as u32);
            for &column in &split.slot_columns[split.slots_of(id as usize)] {
                let owners = &mut owners[column as usize];
                cells.push(owners.len() as u32);
                owners.push(place as u32);
            }
        }
        split.cells = Cells::Listed { starts, cells };
        for owners in owners {
            let of: Option<Vec<u32>> = records.map(|records| {
                owners.iter().map(|&owner| records.get(owner as usize).copied().unwrap_or(0)).collect()
            });
            split.columns.push(self.column(description, of.as_deref(), owners.len(), depth + 1)?);
        }
        Ok(split)
    }

    /// The constant texts, and where those of each shape begin; which columns stand between them is not known yet.
    fn shapes(&mut self, count: usize) -> Result<(Texts, Vec<u32>), BlockError> {
        const INVALID: BlockError = BlockError::Invalid("shapes");
        let bytes = self.streams.next()?.into_owned();
        // Each shape is that of a text at least.
        let literals_max = count.saturating_add(self.cells_left);
        let (mut ends, mut firsts) = (Vec::new(), vec![0u32]);
        for at in memchr::memchr2_iter(SLOT, SHAPE_END, &bytes) {
            ends.push(at as u32 + 1);
            if bytes[at] == SHAPE_END {
                let literals = ends.len() - firsts.last().map_or(0, |&first| first as usize);
                if literals > SLOTS_MAX + 1 {
                    return Err(INVALID);
                }
                firsts.push(ends.len() as u32);
            }
            if ends.len() > literals_max {
                return Err(INVALID);
            }
        }
        let is_whole = firsts.len() == count + 1
            && firsts.last().is_some_and(|&last| last as usize == ends.len())
            && ends.last().map_or(0, |&end| end as usize) == bytes.len();
        if is_whole { Ok((Texts { bytes, ends, beyond: 1 }, firsts)) } else { Err(INVALID) }
    }
}

fn text(description: &mut Reader<'_>) -> Result<Vec<u8>, BlockError> {
    let len = description.bounded("text", STREAM_BYTES_MAX)?;
    Ok(description.take(len, "text")?.to_vec())
}
