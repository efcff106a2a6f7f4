//! Decodes a block into records: small columns at once, bodies on the first request for one.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::identity::RecordId;
use crate::level::Level;
use crate::limits::BLOCK_RECORDS_MAX;
use crate::origin::OriginId;
use crate::record::{Flags, Record};

use super::columns::{Reader, read_column, unzigzag};
use super::format2::{BODIES_BYTES_MAX, Shaped};
use super::pack::{STORED, ZSTD, unpack_zstd};
use super::{BlockError, Format, PREFIX_BYTES, Sought, checked};

/// Unpacked bytes of the columns for each record at the most, and besides.
const COLUMN_BYTES_PER_RECORD_MAX: usize = 100;
const COLUMN_BYTES_BESIDES_MAX: usize = 64;

/// An opened block. Columns are ready; bodies are unpacked by the first [`Block::record`] or [`Block::bodies`].
#[derive(Debug)]
pub struct Block<'p> {
    times: Vec<i64>,
    levels: Vec<Level>,
    flags: Vec<Flags>,
    origins: Vec<OriginId>,
    batches: Vec<Batch>,
    record_batches: Vec<u32>,
    indexes: Vec<u32>,
    /// (record, time), by record.
    original_times: Vec<(u32, i64)>,
    bodies: Bodies<'p>,
}

#[derive(Debug)]
enum Bodies<'p> {
    /// One after the other; where each ends in the unpacked section.
    Rows { section: Section<'p>, ends: Vec<u32>, unpacked: OnceLock<Vec<u8>> },
    /// As columns.
    Shaped { shaped: Box<Shaped<'p>>, format: Format },
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    origin: u32,
    topic_partition: u32,
    kafka_offset: u64,
}

#[derive(Clone, Debug)]
struct Section<'p> {
    what: &'static str,
    method: u8,
    unpacked_bytes: usize,
    packed: Cow<'p, [u8]>,
}

impl<'p> Block<'p> {
    /// Checks version and checksum and reads all columns but the bodies.
    pub fn open(payload: &'p [u8]) -> Result<Block<'p>, BlockError> {
        let format = Format::of(*payload.first().ok_or(BlockError::Short("version"))?)?;
        let mut reader = checked(payload)?;
        let count = reader.bounded("count", BLOCK_RECORDS_MAX)?;
        let dictionary = reader.bounded("dictionary id", u32::MAX as usize)? as u32;
        if dictionary != 0 {
            return Err(BlockError::Dictionary(dictionary));
        }
        let columns_max = COLUMN_BYTES_BESIDES_MAX + count * COLUMN_BYTES_PER_RECORD_MAX;
        let (mut columns, columns_packed_bytes) = Section::header(&mut reader, "columns", columns_max)?;
        let bodies = match format {
            Format::One => {
                let (mut section, bodies_packed_bytes) =
                    Section::header(&mut reader, "bodies", BODIES_BYTES_MAX)?;
                columns.packed = Cow::Borrowed(reader.take(columns_packed_bytes, "columns")?);
                section.packed = Cow::Borrowed(reader.take(bodies_packed_bytes, "bodies")?);
                Bodies::Rows { section, ends: Vec::with_capacity(count), unpacked: OnceLock::new() }
            }
            Format::Two | Format::Three => {
                columns.packed = Cow::Borrowed(reader.take(columns_packed_bytes, "columns")?);
                Bodies::Shaped { shaped: Box::new(Shaped::read(&mut reader)?), format }
            }
        };
        if !reader.is_empty() {
            return Err(BlockError::Invalid("end"));
        }
        let mut block = Block::unread(bodies, count);
        block.read_columns(count, &columns.unpack()?)?;
        Ok(block)
    }

    fn unread(bodies: Bodies<'_>, count: usize) -> Block<'_> {
        Block {
            times: Vec::with_capacity(count),
            levels: Vec::with_capacity(count),
            flags: Vec::with_capacity(count),
            origins: Vec::new(),
            batches: Vec::new(),
            record_batches: Vec::with_capacity(count),
            indexes: Vec::with_capacity(count),
            original_times: Vec::new(),
            bodies,
        }
    }

    /// How many records of which origin a block has, from its beginning: its bodies need not be there, and nothing is compared with its
    /// checksum. An origin may come twice.
    ///
    /// # Errors
    /// [`BlockError::Short`] also where `head` ends within the columns.
    pub fn origins_of_head(head: &[u8]) -> Result<Vec<(OriginId, u32)>, BlockError> {
        let format = Format::of(*head.first().ok_or(BlockError::Short("version"))?)?;
        let mut reader = Reader::new(head.get(PREFIX_BYTES..).ok_or(BlockError::Short("checksum"))?);
        let count = reader.bounded("count", BLOCK_RECORDS_MAX)?;
        reader.bounded("dictionary id", 0)?;
        let columns_max = COLUMN_BYTES_BESIDES_MAX + count * COLUMN_BYTES_PER_RECORD_MAX;
        let (mut columns, packed_bytes) = Section::header(&mut reader, "columns", columns_max)?;
        if format == Format::One {
            Section::header(&mut reader, "bodies", BODIES_BYTES_MAX)?;
        }
        columns.packed = Cow::Borrowed(reader.take(packed_bytes, "columns")?);
        let unpacked = columns.unpack()?;
        let reader = &mut Reader::new(&unpacked);
        for _ in 0..count {
            reader.varint("times")?;
        }
        read_column(reader, count, "levels", |_| Ok(()))?;
        read_column(reader, count, "flags", |_| Ok(()))?;
        let nothing =
            Section { what: "bodies", method: STORED, unpacked_bytes: 0, packed: Cow::Borrowed(&[]) };
        let bodies = Bodies::Rows { section: nothing, ends: Vec::new(), unpacked: OnceLock::new() };
        let mut block = Block::unread(bodies, count);
        block.read_origins(count, reader)?;
        block.read_batches(count, reader)?;
        let mut records = vec![0_u32; block.origins.len()];
        (0..count).for_each(|record| records[block.origin_place(record)] += 1);
        Ok(block.origins.into_iter().zip(records).collect())
    }

    fn read_origins(&mut self, count: usize, reader: &mut Reader<'_>) -> Result<(), BlockError> {
        let origins = reader.bounded("origins", count)?;
        for _ in 0..origins {
            let mut id = [0; 8];
            id.copy_from_slice(reader.take(8, "origins")?);
            self.origins.push(OriginId(u64::from_le_bytes(id)));
        }
        Ok(())
    }

    fn read_columns(&mut self, count: usize, bytes: &[u8]) -> Result<(), BlockError> {
        let reader = &mut Reader::new(bytes);
        let mut time_us = 0i64;
        for _ in 0..count {
            time_us = time_us.wrapping_add(unzigzag(reader.varint("times")?));
            self.times.push(time_us);
        }
        read_column(reader, count, "levels", |value| {
            let level = u8::try_from(value).ok().and_then(Level::from_u8);
            self.levels.push(level.ok_or(BlockError::Invalid("levels"))?);
            Ok(())
        })?;
        read_column(reader, count, "flags", |value| {
            self.flags.push(Flags(u16::try_from(value).map_err(|_| BlockError::Invalid("flags"))?));
            Ok(())
        })?;
        self.read_origins(count, reader)?;
        self.read_batches(count, reader)?;
        if let Bodies::Rows { section, ends, .. } = &mut self.bodies {
            read_column(reader, count, "body lengths", |value| {
                let start = ends.last().map_or(0, |&end| end as usize);
                let end = usize::try_from(value).ok().and_then(|len| start.checked_add(len));
                let end = end.filter(|&end| end <= section.unpacked_bytes);
                ends.push(end.ok_or(BlockError::Invalid("body lengths"))? as u32);
                Ok(())
            })?;
            if ends.last().map_or(0, |&end| end as usize) != section.unpacked_bytes {
                return Err(BlockError::Invalid("body lengths"));
            }
        }
        for _ in 0..reader.bounded("original times", count)? {
            let place = reader.bounded("original times", count.saturating_sub(1))? as u32;
            if self.original_times.last().is_some_and(|&(last, _)| last >= place) {
                return Err(BlockError::Invalid("original times"));
            }
            self.original_times.push((place, unzigzag(reader.varint("original times")?)));
        }
        if reader.is_empty() { Ok(()) } else { Err(BlockError::Invalid("columns")) }
    }

    fn read_batches(&mut self, count: usize, reader: &mut Reader<'_>) -> Result<(), BlockError> {
        let mut last_offset = 0i64;
        let batches = reader.bounded("batches", count)?;
        for _ in 0..batches {
            let origin = reader.bounded("origin of a batch", self.origins.len().saturating_sub(1))?;
            let topic_partition = reader.bounded("topic partition", u32::MAX as usize)? as u32;
            last_offset = last_offset.wrapping_add(unzigzag(reader.varint("kafka offset")?));
            if origin >= self.origins.len() {
                return Err(BlockError::Invalid("origin of a batch"));
            }
            self.batches.push(Batch {
                origin: origin as u32,
                topic_partition,
                kafka_offset: last_offset as u64,
            });
        }
        read_column(reader, count, "batch of a record", |value| {
            let batch = usize::try_from(value).ok().filter(|&batch| batch < batches);
            self.record_batches.push(batch.ok_or(BlockError::Invalid("batch of a record"))? as u32);
            Ok(())
        })?;
        let mut index_next = vec![0u32; batches];
        let mut record = 0;
        read_column(reader, count, "index", |value| {
            let next = &mut index_next[self.record_batches[record] as usize];
            let index = i64::from(*next).checked_add(unzigzag(value));
            let index =
                index.and_then(|index| u32::try_from(index).ok()).ok_or(BlockError::Invalid("index"))?;
            self.indexes.push(index);
            *next = index.wrapping_add(1);
            record += 1;
            Ok(())
        })
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// All times, microseconds, in the order of the records.
    pub fn times_us(&self) -> &[i64] {
        &self.times
    }

    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    pub fn flags(&self) -> &[Flags] {
        &self.flags
    }

    /// The distinct origins, in order of appearance.
    pub fn origins(&self) -> &[OriginId] {
        &self.origins
    }

    /// The place of a record's origin in [`Block::origins`].
    pub fn origin_place(&self, record: usize) -> usize {
        self.batches[self.record_batches[record] as usize].origin as usize
    }

    pub fn id(&self, record: usize) -> RecordId {
        let batch = self.batches[self.record_batches[record] as usize];
        RecordId {
            topic_partition: batch.topic_partition,
            kafka_offset: batch.kafka_offset,
            index: self.indexes[record],
        }
    }

    /// The same with packed bodies of its own: it outlives its payload.
    pub fn into_owned(self) -> Block<'static> {
        let Block { times, levels, flags, origins, batches, record_batches, indexes, original_times, bodies } =
            self;
        let bodies = match bodies {
            Bodies::Rows { section, ends, unpacked } => {
                let packed = Cow::Owned(section.packed.into_owned());
                Bodies::Rows { section: Section { packed, ..section }, ends, unpacked }
            }
            Bodies::Shaped { shaped, format } => {
                Bodies::Shaped { shaped: Box::new(shaped.into_owned()), format }
            }
        };
        Block { times, levels, flags, origins, batches, record_batches, indexes, original_times, bodies }
    }

    pub fn format(&self) -> Format {
        match self.bodies {
            Bodies::Rows { .. } => Format::One,
            Bodies::Shaped { format, .. } => format,
        }
    }

    /// All bodies, one after the other, and where each ends; unpacks them the first time.
    pub fn bodies(&self) -> Result<(&[u8], &[u32]), BlockError> {
        match &self.bodies {
            Bodies::Rows { section, ends, .. } if section.method == STORED => Ok((&section.packed, ends)),
            Bodies::Rows { section, ends, unpacked } => {
                if unpacked.get().is_none() {
                    let _ = unpacked.set(section.unpack_zstd()?);
                }
                Ok((unpacked.get().map_or(&[], Vec::as_slice), ends))
            }
            Bodies::Shaped { shaped, .. } => shaped.bodies(&self.times),
        }
    }

    /// For each record, whether its body holds what is sought, or the begin of it; of a block whose bodies are columns, none of which is
    /// put together for it. `None`: only the [bodies](Block::bodies) tell.
    ///
    /// # Errors
    /// Damage within the bodies.
    pub fn may_hold(&self, sought: Sought<'_>) -> Result<Option<Vec<bool>>, BlockError> {
        match &self.bodies {
            Bodies::Rows { .. } => Ok(None),
            Bodies::Shaped { shaped, .. } => shaped.may_hold(sought, &self.times).map(Some),
        }
    }

    /// How many bodies were put together of columns.
    #[cfg(test)]
    pub(crate) fn built(&self) -> usize {
        match &self.bodies {
            Bodies::Rows { .. } => 0,
            Bodies::Shaped { shaped, .. } => shaped.built(),
        }
    }

    /// Of a block whose bodies are columns, only this one is put together, unless all are.
    fn body(&self, record: usize) -> Result<&[u8], BlockError> {
        if let Bodies::Shaped { shaped, .. } = &self.bodies {
            return shaped.body(record, &self.times);
        }
        let (bodies, ends) = self.bodies()?;
        let start = record.checked_sub(1).map_or(0, |before| ends[before] as usize);
        Ok(&bodies[start..ends[record] as usize])
    }

    /// A record as it was pushed. Panics when there are not as many. The only error is damage within the bodies.
    pub fn record(&self, record: usize) -> Result<Record<'_>, BlockError> {
        Ok(Record { body: self.body(record)?, ..self.head(record) })
    }

    /// The same with an empty body: nothing is unpacked for it.
    pub fn head(&self, record: usize) -> Record<'static> {
        let original = self.original_times.binary_search_by_key(&(record as u32), |&(place, _)| place);
        Record {
            time_us: self.times[record],
            original_time_us: original.ok().map(|found| self.original_times[found].1),
            level: self.levels[record],
            flags: self.flags[record],
            origin: self.origins[self.origin_place(record)],
            id: self.id(record),
            body: &[],
        }
    }
}

impl<'p> Section<'p> {
    /// Reads one section's header; its bytes are taken when both headers are read.
    fn header(
        reader: &mut Reader<'p>,
        what: &'static str,
        max: usize,
    ) -> Result<(Section<'p>, usize), BlockError> {
        let method = reader.byte(what)?;
        let unpacked_bytes = reader.bounded(what, max)?;
        let packed_bytes = reader.bounded(what, unpacked_bytes)?;
        match method {
            STORED if packed_bytes == unpacked_bytes => {}
            ZSTD => {}
            _ => return Err(BlockError::Invalid(what)),
        }
        Ok((Section { what, method, unpacked_bytes, packed: Cow::Borrowed(&[]) }, packed_bytes))
    }

    fn unpack(&self) -> Result<Cow<'_, [u8]>, BlockError> {
        if self.method == STORED {
            Ok(Cow::Borrowed(&self.packed))
        } else {
            self.unpack_zstd().map(Cow::Owned)
        }
    }

    fn unpack_zstd(&self) -> Result<Vec<u8>, BlockError> {
        unpack_zstd(self.what, &self.packed, self.unpacked_bytes)
    }
}
