//! Encodes and decodes batches: an agent sends each as one OTLP message (`ExportLogsServiceRequest`) on Kafka. A batch has records of one
//! stream and one file, the range of that file that they account for, and their origin.
//!
//! ```text
//! agent:   BatchBuilder::push, finish   records + BatchHeader + Origin -> message
//! writer:  decode                       message -> DecodedBatch, one for each resource and scope
//! ```
//! Promises: every OTLP decoder can read the message; decoding gives back what was encoded; for bytes that are no such message, decoding
//! returns an error that says where.

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
/// The format's version. A message with another value is treated as [`Provenance::Foreign`].
pub const KAFKA_HEADER_VALUE: &[u8] = b"1";

/// What a batch accounts for. The batches of one stream and file follow each other without a gap: each `prev` is the `end` of the batch
/// before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub stream: StreamKey,
    pub io: OutputStream,
    pub file: FileId,
    /// The container's restart count.
    pub restart_count: u32,
    /// File positions, bytes: the batch accounts for the lines of this stream that end in `(prev, end]`.
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
    /// Lines that could not be parsed and were not kept.
    pub rejected: u64,
    /// Bytes in the range that could no longer be read.
    pub loss: Option<LossRange>,
}

/// Bytes of a file that were lost. Also the JSON body of the loss record (flag `LOSS`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossRange {
    /// File position of the first lost byte.
    pub from: u64,
    pub bytes: u64,
    /// False: at least `bytes` were lost, perhaps more.
    pub exact: bool,
    pub reason: String,
}

/// Who wrote a message. Tenant, stream and position are taken only from an agent's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    Agent,
    Foreign,
}

impl Provenance {
    /// By the value of the message's [`KAFKA_HEADER`].
    pub fn of_header(value: Option<&[u8]>) -> Provenance {
        if value == Some(KAFKA_HEADER_VALUE) { Provenance::Agent } else { Provenance::Foreign }
    }
}

/// The records of one resource and scope of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedBatch {
    /// `None` for a foreign message.
    pub header: Option<BatchHeader>,
    /// Shared by all batches of a resource. Its names are cleaned, so that PostgreSQL can store them.
    pub origin: Arc<Origin>,
    pub records: Vec<DecodedRecord>,
    /// How many of `records` had their bodies cut by the decoder.
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
