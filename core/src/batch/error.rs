//! The errors of decoding a message, and readers of wire fields that return them.

use super::wire::{Wire, WireError};

/// Why a message cannot be decoded into records. The writer then stores its bytes as a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("decode OTLP message: {what}: {source}")]
    Wire { what: &'static str, source: WireError },
    #[error("decode OTLP message: {what} has field {number} in a wire type that OTLP does not give it")]
    Type { what: &'static str, number: u32 },
    #[error("decode OTLP message: {what} is not UTF-8")]
    Utf8 { what: &'static str },
    #[error("decode batch of an agent: attribute {0} is missing or wrong")]
    Attribute(&'static str),
    #[error("decode batch of an agent: {records} records, but {listed} of {attribute}")]
    Count { attribute: &'static str, records: usize, listed: usize },
    #[error(
        "decode batch of an agent: record {index}'s position {position} does not rise, or lies outside of ({prev}, {end}]"
    )]
    Position { index: usize, position: u64, prev: u64, end: u64 },
    #[error("decode batch of an agent: record {index}'s severity {severity} is none")]
    Severity { index: usize, severity: u64 },
    #[error("decode batch of an agent: record {index}'s body is neither text nor bytes")]
    Body { index: usize },
    #[error("decode OTLP message: it holds more than {records_max} records")]
    Records { records_max: usize },
    #[error("decode OTLP message: it holds more than {batches_max} batches")]
    Batches { batches_max: usize },
    #[error("decode OTLP message: values are nested deeper than {depth_max}")]
    Depth { depth_max: usize },
}

pub(super) fn wire(what: &'static str) -> impl Fn(WireError) -> DecodeError {
    move |source| DecodeError::Wire { what, source }
}

pub(super) fn delimited<'a>(
    what: &'static str,
    number: u32,
    wire: Wire<'a>,
) -> Result<&'a [u8], DecodeError> {
    match wire {
        Wire::Delimited(bytes) => Ok(bytes),
        _ => Err(DecodeError::Type { what, number }),
    }
}

pub(super) fn text<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8 { what })
}
