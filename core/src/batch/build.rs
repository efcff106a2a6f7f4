//! Encodes a batch as an OTLP message: [`BatchBuilder::push`] encodes each record at once, [`BatchBuilder::finish`] puts the header in front.

use prost::encoding::{WireType, encode_varint, encoded_len_varint, key_len};

use super::header::{put_resource, put_scope};
use super::wire::{delimited_len, field, put_bytes, put_delimited};
use super::{BatchHeader, wire};
use crate::identity::StreamKey;
use crate::level::Level;
use crate::origin::Origin;
use crate::record::Flags;

/// Key and value of a `fixed64` field with a number below 16.
const FIXED64_LEN: usize = 9;
/// The most bytes of a record in a message before its body: three lengths, two times, a severity, and their keys.
const HEAD_BYTES_MAX: usize = 3 * (1 + 10) + 2 * FIXED64_LEN + 2;
/// The most bytes that a record's position and flags take in the scope's attributes.
const PLACE_BYTES_MAX: usize = 10 + 3;
/// The most bytes that a record adds to a message besides its body.
pub const RECORD_EXTRA_BYTES_MAX: usize = 64;
/// Names and counts of all attributes of resource and scope, and the frame that Kafka puts around a message.
const ENVELOPE_BYTES: usize = 2048;

/// The most bytes that a message of this stream and origin takes on Kafka besides its records; its key is included.
pub fn envelope_bytes_max(stream: &StreamKey, origin: &Origin) -> usize {
    ENVELOPE_BYTES + 2 * stream.as_str().len() + origin.fields().map(String::len).iter().sum::<usize>()
}

/// Collects the records of one batch. A builder is used for one batch after the other and keeps its memory.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    /// The encoded `ScopeLogs.log_records`. The observed time is the first field of each; [`BatchBuilder::finish`] overwrites it if it is
    /// not the expected one.
    records: Vec<u8>,
    observed_ns: i64,
    /// End positions in the file. They are written as differences once the batch's `prev` is known.
    positions: Vec<u64>,
    flags: Vec<u16>,
    any_flags: bool,
}

impl BatchBuilder {
    pub fn new() -> BatchBuilder {
        BatchBuilder::default()
    }

    /// Adds a record. `end_position` must be larger than that of the record before. [`Flags::STDERR`] belongs to the batch and is dropped
    /// here.
    #[inline]
    pub fn push(&mut self, time_ns: i64, level: Level, flags: Flags, end_position: u64, body: &[u8]) {
        let flags = flags.0 & !Flags::STDERR.0;
        self.any_flags |= flags != 0;
        self.flags.push(flags);
        self.positions.push(end_position);

        let is_text = body.is_ascii() || std::str::from_utf8(body).is_ok();
        let head = RecordHead::new(self.observed_ns, time_ns, level, is_text, body.len());
        self.records.reserve(HEAD_BYTES_MAX + body.len());
        self.records.extend_from_slice(head.bytes());
        self.records.extend_from_slice(body);
    }

    /// Sets the observed time that [`BatchBuilder::finish`] will probably get. If it gets the same, it need not go over the records again.
    pub fn expect_observed(&mut self, observed_ns: i64) {
        if self.is_empty() {
            self.observed_ns = observed_ns;
        }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The most bytes that the records take in a message.
    pub fn bytes(&self) -> usize {
        self.records.len() + self.positions.len() * PLACE_BYTES_MAX
    }

    /// Bytes of memory that the builder holds for records.
    pub fn capacity(&self) -> usize {
        self.records.capacity()
    }

    /// Returns the message and empties the builder. `observed_ns`: when the agent read the lines, nanoseconds since the Unix epoch.
    pub fn finish(&mut self, header: &BatchHeader, origin: &Origin, observed_ns: i64) -> Vec<u8> {
        if observed_ns != self.observed_ns {
            self.patch_observed(observed_ns);
        }
        let positions = self.position_deltas(header.prev);
        let flags = self.any_flags.then(|| {
            let mut out = Vec::with_capacity(self.flags.len());
            self.flags.iter().for_each(|flags| encode_varint(u64::from(*flags), &mut out));
            out
        });
        let mut resource = Vec::with_capacity(512);
        put_resource(&mut resource, header, origin);
        let mut scope = Vec::with_capacity(512 + positions.len());
        put_scope(&mut scope, header, &positions, flags.as_deref());

        let scope_logs_len = delimited_len(field::SCOPE_LOGS_SCOPE, scope.len()) + self.records.len();
        let resource_logs_len = delimited_len(field::RESOURCE_LOGS_RESOURCE, resource.len())
            + delimited_len(field::RESOURCE_LOGS_SCOPE_LOGS, scope_logs_len);
        let mut out = Vec::with_capacity(delimited_len(field::REQUEST_RESOURCE_LOGS, resource_logs_len));
        wire::put_delimited(&mut out, field::REQUEST_RESOURCE_LOGS, resource_logs_len);
        put_bytes(&mut out, field::RESOURCE_LOGS_RESOURCE, &resource);
        put_delimited(&mut out, field::RESOURCE_LOGS_SCOPE_LOGS, scope_logs_len);
        put_bytes(&mut out, field::SCOPE_LOGS_SCOPE, &scope);
        out.extend_from_slice(&self.records);

        self.records.clear();
        self.positions.clear();
        self.flags.clear();
        self.any_flags = false;
        out
    }

    fn position_deltas(&self, prev: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.positions.len() * 2);
        let mut before = prev;
        for position in &self.positions {
            debug_assert!(*position > before, "positions rise strictly from prev");
            encode_varint(position.wrapping_sub(before), &mut out);
            before = *position;
        }
        out
    }

    /// Steps over the records by their lengths and writes the time behind each one's first key.
    fn patch_observed(&mut self, observed_ns: i64) {
        let value = (observed_ns as u64).to_le_bytes();
        let mut at = 0;
        while at < self.records.len() {
            at += key_len(field::SCOPE_LOGS_RECORDS);
            let (len, len_bytes) = read_len(&self.records[at..]);
            at += len_bytes;
            let time_at = at + key_len(field::RECORD_OBSERVED);
            self.records[time_at..time_at + 8].copy_from_slice(&value);
            at += len;
        }
    }
}

/// The bytes of a record before its body, collected here so that they are appended to the message in one piece.
struct RecordHead {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

impl RecordHead {
    #[inline(always)]
    fn new(observed_ns: i64, time_ns: i64, level: Level, is_text: bool, body_len: usize) -> RecordHead {
        let body_field = if is_text { field::VALUE_STRING } else { field::VALUE_BYTES };
        let value_len = delimited_len(body_field, body_len);
        let severity_len = const { key_len(field::RECORD_SEVERITY) + 1 };
        let len = 2 * FIXED64_LEN + severity_len + delimited_len(field::RECORD_BODY, value_len);
        let mut head = RecordHead { bytes: [0; HEAD_BYTES_MAX], len: 0 };
        head.key(field::SCOPE_LOGS_RECORDS, WireType::LengthDelimited);
        head.varint(len);
        head.fixed64(field::RECORD_OBSERVED, observed_ns);
        head.fixed64(field::RECORD_TIME, time_ns);
        head.key(field::RECORD_SEVERITY, WireType::Varint);
        // (OpenTelemetry's numbers are below 25.)
        head.byte(level.otel_severity() as u8);
        head.key(field::RECORD_BODY, WireType::LengthDelimited);
        head.varint(value_len);
        head.key(body_field, WireType::LengthDelimited);
        head.varint(body_len);
        head
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// Of a field with a number below 16.
    #[inline(always)]
    fn key(&mut self, number: u32, wire_type: WireType) {
        self.byte((number << 3) as u8 | wire_type as u8);
    }

    #[inline(always)]
    fn fixed64(&mut self, number: u32, value: i64) {
        self.key(number, WireType::SixtyFourBit);
        self.bytes[self.len..self.len + 8].copy_from_slice(&value.to_le_bytes());
        self.len += 8;
    }

    #[inline(always)]
    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }
}

/// The length of a record, and how many bytes it takes.
fn read_len(bytes: &[u8]) -> (usize, usize) {
    let mut len = 0usize;
    for (index, byte) in bytes.iter().enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            debug_assert_eq!(index + 1, encoded_len_varint(len as u64));
            return (len, index + 1);
        }
    }
    (0, bytes.len())
}
