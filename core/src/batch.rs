//! A batch as one OTLP message (`ExportLogsServiceRequest`) on Kafka: lines of one stream and one file, the range of that
//! file that they account for, and the pod that they came from.
//! Promises: any OTLP decoder reads it; `decode(encode(x)) = x`; a message that is not one is an error that says where.

mod build;
mod decode;
mod error;
mod foreign;
mod header;
mod json;
mod room;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::identity::{FileId, OutputStream, StreamKey};
use crate::level::Level;
use crate::origin::Origin;
use crate::record::Flags;

pub use build::{BatchBuilder, RECORD_EXTRA_BYTES_MAX, envelope_bytes_max};
pub use decode::decode;
pub use error::DecodeError;

/// Kafka header that marks a message as an agent's; its value is [`KAFKA_HEADER_VALUE`].
pub const KAFKA_HEADER: &str = "cordwood";
/// The format's version. Another value is not believed.
pub const KAFKA_HEADER_VALUE: &[u8] = b"1";

/// What a batch accounts for. Batches of one stream and file tile it: each `prev` is the `end` before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub stream: StreamKey,
    pub io: OutputStream,
    pub file: FileId,
    /// The container's restart count.
    pub restart_count: u32,
    /// File positions: the batch accounts for the bytes of this stream in `(prev, end]`.
    pub prev: u64,
    pub end: u64,
    /// Lines (after joining) in that range: shipped, gated, limited and rejected ones together.
    pub lines: u64,
    /// Bytes of these lines in the file, as they lie there.
    pub bytes: u64,
    /// Lines dropped by a level rule.
    pub gated: u64,
    /// Lines dropped by a rate limit.
    pub limited: u64,
    /// Lines that nothing could be made of.
    pub rejected: u64,
    /// Bytes in the range that could not be read any more.
    pub loss: Option<LossRange>,
}

/// Bytes that rotated away unread. Also the JSON body of the record flagged `LOSS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossRange {
    /// File position of the first lost byte.
    pub from: u64,
    pub bytes: u64,
    /// False: `bytes` is what is known to be lost at the least.
    pub exact: bool,
    pub reason: String,
}

/// Who wrote a message. What is not an agent's is not believed about tenant, stream and position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    Agent,
    Foreign,
}

impl Provenance {
    /// From the value of the message's [`KAFKA_HEADER`].
    pub fn of_header(value: Option<&[u8]>) -> Provenance {
        if value == Some(KAFKA_HEADER_VALUE) { Provenance::Agent } else { Provenance::Foreign }
    }
}

/// The records of one resource and scope of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedBatch {
    /// `None` for a foreign message.
    pub header: Option<BatchHeader>,
    /// One for all batches of a resource; its names as PostgreSQL can hold them.
    pub origin: Arc<Origin>,
    pub records: Vec<DecodedRecord>,
    /// Of them, those whose bodies were cut here.
    pub cut_records: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedRecord {
    /// Nanoseconds since the Unix epoch, UTC; 0 when a foreign message gives none.
    pub time_ns: i64,
    pub level: Level,
    pub flags: Flags,
    /// End position in the file; 0 in a foreign message.
    pub position: u64,
    /// The application's bytes: a slice of the message.
    pub body: Bytes,
}

#[cfg(test)]
mod tests;
