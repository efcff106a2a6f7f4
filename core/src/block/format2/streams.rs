//! Writes and reads the streams of a block's bodies. Each large stream is packed by itself; the small ones lie together in the head, which
//! is packed as one frame.
//!
//! ```text
//! bodies  = unpacked bytes of all bodies | head method u8 | head unpacked bytes | head packed bytes | head | own streams
//! head    = streams | of each: unpacked bytes * 4 + place (0 in the head, 1 own, stored, 2 own, zstd), and for 2 its packed bytes
//!           | description bytes | description | the streams of place 0, one after the other
//! ```

use std::borrow::Cow;

use super::super::BlockError;
use super::super::columns::{Reader, put_varint};
use super::super::pack::{STORED, ZSTD, pack, pack_parts, unpack_zstd};
use super::ints::Encoded;
use super::{STREAM_BYTES_MAX, STREAMS_MAX};

/// A stream that is shorter goes into the head.
const OWN_BYTES_MIN: usize = 600;
/// Planes that would not take so much less are not packed each by itself.
const PLANES_GAIN_MIN: usize = 4;
const IN_HEAD: u64 = 0;
const OWN_STORED: u64 = 1;
const OWN_ZSTD: u64 = 2;

/// A stream that is to be written. It is packed at most once.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    unpacked: Vec<u8>,
    packed: Option<Vec<u8>>,
    /// Of integers: what the planes take by the entropy of each, in bytes, and where they end.
    planes: Option<(usize, Vec<usize>)>,
}

impl Stream {
    pub fn new(unpacked: Vec<u8>) -> Stream {
        Stream { unpacked, packed: None, planes: None }
    }

    pub fn of_integers(encoded: Encoded) -> Stream {
        let Encoded { bytes, bits, ends } = encoded;
        let planes = (!ends.is_empty()).then_some(((bits / 8) as usize, ends));
        Stream { unpacked: bytes, packed: None, planes }
    }

    pub fn unpacked_bytes(&self) -> usize {
        self.unpacked.len()
    }

    /// Packs it if it is not small; answers about how many bytes it takes then.
    pub fn measure(&mut self, level: i32) -> usize {
        if self.unpacked.len() < OWN_BYTES_MIN {
            return self.unpacked.len() / 2 + 2;
        }
        let Stream { unpacked, packed, planes } = self;
        let packed = packed.get_or_insert_with(|| {
            let mut packed = Vec::new();
            pack(level, unpacked, &mut packed);
            if let Some((bytes, ends)) = planes
                && packed.len() > *bytes + PLANES_GAIN_MIN
            {
                let by_planes = pack_parts(unpacked, ends).filter(|by_planes| by_planes.len() < packed.len());
                packed = by_planes.unwrap_or(packed);
            }
            packed
        });
        packed.len() + 4
    }
}

/// Appends the bodies as the module says.
pub(super) fn write(
    out: &mut Vec<u8>,
    level: i32,
    description: &[u8],
    mut streams: Vec<Stream>,
    raw_bytes: usize,
) {
    let (mut head, mut small, mut own) = (Vec::new(), Vec::new(), Vec::new());
    put_varint(&mut head, streams.len() as u64);
    for stream in &mut streams {
        stream.measure(level);
        let size = (stream.unpacked.len() as u64) << 2;
        match &stream.packed {
            None => {
                put_varint(&mut head, size | IN_HEAD);
                small.extend_from_slice(&stream.unpacked);
            }
            Some(packed) if packed.len() >= stream.unpacked.len() => {
                put_varint(&mut head, size | OWN_STORED);
                own.extend_from_slice(&stream.unpacked);
            }
            Some(packed) => {
                put_varint(&mut head, size | OWN_ZSTD);
                put_varint(&mut head, packed.len() as u64);
                own.extend_from_slice(packed);
            }
        }
    }
    put_varint(&mut head, description.len() as u64);
    head.extend_from_slice(description);
    head.extend_from_slice(&small);
    let mut packed = Vec::new();
    let method = pack(level, &head, &mut packed);
    put_varint(out, raw_bytes as u64);
    out.push(method);
    put_varint(out, head.len() as u64);
    put_varint(out, packed.len() as u64);
    out.extend_from_slice(&packed);
    out.extend_from_slice(&own);
}

/// The bytes of all streams as they were written, not unpacked yet.
#[derive(Debug)]
pub(super) struct Packed<'p> {
    pub raw_bytes: usize,
    method: u8,
    head_bytes: usize,
    head: Cow<'p, [u8]>,
    own: Cow<'p, [u8]>,
}

impl<'p> Packed<'p> {
    pub fn read(reader: &mut Reader<'p>) -> Result<Packed<'p>, BlockError> {
        let raw_bytes = reader.bounded("bodies", super::BODIES_BYTES_MAX)?;
        let method = reader.byte("head")?;
        let head_bytes = reader.bounded("head", STREAM_BYTES_MAX)?;
        let packed_bytes = reader.bounded("head", head_bytes)?;
        if !(method == ZSTD || method == STORED && packed_bytes == head_bytes) {
            return Err(BlockError::Invalid("head"));
        }
        let head = Cow::Borrowed(reader.take(packed_bytes, "head")?);
        Ok(Packed { raw_bytes, method, head_bytes, head, own: Cow::Borrowed(reader.rest()) })
    }

    pub fn into_owned(self) -> Packed<'static> {
        let Packed { raw_bytes, method, head_bytes, head, own } = self;
        let (head, own) = (Cow::Owned(head.into_owned()), Cow::Owned(own.into_owned()));
        Packed { raw_bytes, method, head_bytes, head, own }
    }

    pub fn unpack_head(&self) -> Result<Cow<'_, [u8]>, BlockError> {
        if self.method == STORED {
            Ok(Cow::Borrowed(&self.head))
        } else {
            unpack_zstd("head", &self.head, self.head_bytes).map(Cow::Owned)
        }
    }
}

/// The streams of a block, unpacked one after the other as its description asks for them.
pub(super) struct Streams<'s> {
    table: std::vec::IntoIter<Place>,
    small: Reader<'s>,
    own: Reader<'s>,
}

struct Place {
    method: u64,
    unpacked_bytes: usize,
    packed_bytes: usize,
}

impl<'s> Streams<'s> {
    /// The description, and the streams that it speaks of.
    pub fn open(head: &'s [u8], own: &'s Packed<'_>) -> Result<(Reader<'s>, Streams<'s>), BlockError> {
        let mut reader = Reader::new(head);
        let count = reader.bounded("streams", STREAMS_MAX)?;
        let (mut table, mut left) = (Vec::new(), STREAM_BYTES_MAX);
        for _ in 0..count {
            let size = reader.varint("streams")?;
            let (method, unpacked_bytes) = (size & 3, usize::try_from(size >> 2).unwrap_or(usize::MAX));
            if unpacked_bytes > left {
                return Err(BlockError::Limit {
                    what: "streams",
                    value: size >> 2,
                    max: STREAM_BYTES_MAX as u64,
                });
            }
            left -= unpacked_bytes;
            let packed_bytes = match method {
                IN_HEAD | OWN_STORED => unpacked_bytes,
                OWN_ZSTD => reader.bounded("streams", unpacked_bytes)?,
                _ => return Err(BlockError::Invalid("streams")),
            };
            table.push(Place { method, unpacked_bytes, packed_bytes });
        }
        let description = reader.bounded("description", STREAM_BYTES_MAX)?;
        let description = Reader::new(reader.take(description, "description")?);
        let streams = Streams { table: table.into_iter(), small: reader, own: Reader::new(&own.own) };
        Ok((description, streams))
    }

    pub fn next(&mut self) -> Result<Cow<'s, [u8]>, BlockError> {
        let place = self.table.next().ok_or(BlockError::Short("streams"))?;
        let from = if place.method == IN_HEAD { &mut self.small } else { &mut self.own };
        let packed = from.take(place.packed_bytes, "stream")?;
        if place.method == OWN_ZSTD {
            unpack_zstd("stream", packed, place.unpacked_bytes).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(packed))
        }
    }

    /// All were read.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0 && self.small.is_empty() && self.own.is_empty()
    }
}
