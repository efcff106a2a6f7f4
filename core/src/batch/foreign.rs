//! Messages that some other OTLP producer wrote: read tolerantly, stored faithfully, and not believed about the tenant.

use bytes::Bytes;

use super::decode::{DecodeError, delimited, wire};
use super::header::ResourceRead;
use super::wire::{Reader, Wire, field};
use super::{DecodedBatch, DecodedRecord};
use crate::identity::Io;
use crate::level::Level;
use crate::record::Flags;

pub(super) fn batch(
    message: &Bytes,
    bytes: &[u8],
    resource: &ResourceRead,
) -> Result<DecodedBatch, DecodeError> {
    const WHAT: &str = "ScopeLogs";
    let common = if resource.io == Some(Io::Stderr) { Flags::STDERR } else { Flags::default() };
    let mut records = Vec::new();
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        if number == field::SCOPE_LOGS_RECORDS {
            records.push(record(message, delimited(WHAT, number, value)?, common)?);
        }
    }
    Ok(DecodedBatch { header: None, origin: resource.origin.clone(), records })
}

fn record(message: &Bytes, bytes: &[u8], common: Flags) -> Result<DecodedRecord, DecodeError> {
    const WHAT: &str = "LogRecord";
    let (mut time, mut observed, mut severity) = (0, 0, 0);
    let mut body = Bytes::new();
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        match (number, value) {
            (field::RECORD_TIME, Wire::Fixed64(value)) => time = value,
            (field::RECORD_OBSERVED, Wire::Fixed64(value)) => observed = value,
            (field::RECORD_SEVERITY, Wire::Varint(value)) => severity = value,
            (field::RECORD_BODY, Wire::Delimited(value)) => {
                let mut value = Reader::new(value);
                while let Some((number, value)) = value.next_field().map_err(wire("AnyValue"))? {
                    if let (field::VALUE_STRING | field::VALUE_BYTES, Wire::Delimited(value)) =
                        (number, value)
                    {
                        body = message.slice_ref(value);
                    }
                }
            }
            _ => {}
        }
    }
    let quick = crate::fields::quick(&body);
    let level = i32::try_from(severity).ok().and_then(Level::from_otel_severity).unwrap_or(quick.level);
    let flags = if quick.audit { common | Flags::AUDIT } else { common };
    let time_ns = [time, observed].into_iter().find_map(|time| i64::try_from(time).ok().filter(|t| *t > 0));
    Ok(DecodedRecord { time_ns: time_ns.unwrap_or(0), level, flags, position: 0, body })
}
