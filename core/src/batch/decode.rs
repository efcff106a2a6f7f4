//! Decodes a message into batches without copying bodies: each body is a slice of the message.

use bytes::Bytes;

use super::error::{DecodeError, delimited, text, wire};
use super::header::{ResourceRead, ScopeRead, resource};
use super::room::{Room, cut_body, push_record};
use super::wire::{Reader, Value, Wire, field};
use super::{DecodedBatch, DecodedRecord, Provenance, foreign};
use crate::identity::OutputStream;
use crate::level::Level;
use crate::limits::MESSAGE_BATCHES_MAX;
use crate::record::Flags;

/// Decodes `message` into one batch for each resource and scope. Fields that OTLP does not define are skipped.
pub fn decode(message: &Bytes, provenance: Provenance) -> Result<Vec<DecodedBatch>, DecodeError> {
    const WHAT: &str = "ExportLogsServiceRequest";
    let mut read = Batches::default();
    let mut fields = Reader::new(message);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        if number == field::REQUEST_RESOURCE_LOGS {
            resource_logs(message, delimited(WHAT, number, value)?, provenance, &mut read)?;
        }
    }
    Ok(read.batches)
}

/// The batches that were decoded so far, and how much more the message may hold.
#[derive(Default)]
struct Batches {
    batches: Vec<DecodedBatch>,
    room: Room,
}

fn resource_logs(
    message: &Bytes,
    bytes: &[u8],
    provenance: Provenance,
    all: &mut Batches,
) -> Result<(), DecodeError> {
    const WHAT: &str = "ResourceLogs";
    // Protobuf lets fields come in any order, so the resource is read before the first record is.
    let mut read = ResourceRead::default();
    let mut scopes = Vec::new();
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        match number {
            field::RESOURCE_LOGS_RESOURCE => {
                read_resource(delimited(WHAT, number, value)?, provenance, &mut read)?
            }
            field::RESOURCE_LOGS_SCOPE_LOGS => scopes.push(delimited(WHAT, number, value)?),
            _ => {}
        }
    }
    for scope_logs in scopes {
        let batch = match provenance {
            Provenance::Agent => agent_batch(message, scope_logs, &read, &mut all.room)?,
            Provenance::Foreign => foreign::batch(message, scope_logs, &read, &mut all.room)?,
        };
        // An agent's batch without records says what became of its lines; a foreign one says nothing.
        if provenance == Provenance::Foreign && batch.records.is_empty() {
            continue;
        }
        // Two bytes on the wire can be a batch.
        if all.batches.len() == MESSAGE_BATCHES_MAX {
            return Err(DecodeError::Batches { batches_max: MESSAGE_BATCHES_MAX });
        }
        all.batches.push(batch);
    }
    Ok(())
}

fn read_resource(bytes: &[u8], provenance: Provenance, read: &mut ResourceRead) -> Result<(), DecodeError> {
    const WHAT: &str = "Resource";
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        if number != field::RESOURCE_ATTRIBUTES {
            continue;
        }
        let (key, value) = key_value(delimited(WHAT, number, value)?)?;
        match value {
            Some(Value::Text(text)) => read.set(key, text, provenance == Provenance::Agent),
            Some(Value::Int(count)) if key == resource::RESTART_COUNT => {
                read.restart_count = u32::try_from(count).ok()
            }
            _ => {}
        }
    }
    if read.origin.tenant.is_empty() || read.origin.tenant_id.is_empty() {
        return Err(DecodeError::Attribute(resource::TENANT));
    }
    Ok(())
}

/// Reads a `KeyValue`. The value is `None` if it is of a kind that Cordwood's attributes do not have.
pub(super) fn key_value(bytes: &[u8]) -> Result<(&str, Option<Value<'_>>), DecodeError> {
    const WHAT: &str = "KeyValue";
    let (mut key, mut read) = ("", None);
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        match number {
            field::KEY_VALUE_KEY => key = text(WHAT, delimited(WHAT, number, value)?)?,
            field::KEY_VALUE_VALUE => read = any_value(delimited(WHAT, number, value)?)?,
            _ => {}
        }
    }
    Ok((key, read))
}

fn any_value(bytes: &[u8]) -> Result<Option<Value<'_>>, DecodeError> {
    const WHAT: &str = "AnyValue";
    let mut read = None;
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        read = match (number, value) {
            (field::VALUE_STRING, Wire::Delimited(bytes)) => Some(Value::Text(text(WHAT, bytes)?)),
            (field::VALUE_BYTES, Wire::Delimited(bytes)) => Some(Value::Bytes(bytes)),
            (field::VALUE_BOOL, Wire::Varint(value)) => Some(Value::Bool(value != 0)),
            (field::VALUE_INT, Wire::Varint(value)) => Some(Value::Int(value)),
            (field::VALUE_STRING..=field::VALUE_BYTES, Wire::Varint(_) | Wire::Fixed32(_)) => {
                return Err(DecodeError::Type { what: WHAT, number });
            }
            _ => read,
        };
    }
    Ok(read)
}

fn agent_batch(
    message: &Bytes,
    bytes: &[u8],
    resource: &ResourceRead,
    room: &mut Room,
) -> Result<DecodedBatch, DecodeError> {
    const WHAT: &str = "ScopeLogs";
    let mut scope = ScopeRead::default();
    let mut records = Vec::new();
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        match number {
            field::SCOPE_LOGS_SCOPE => read_scope(delimited(WHAT, number, value)?, &mut scope)?,
            field::SCOPE_LOGS_RECORDS => {
                let record = agent_record(message, delimited(WHAT, number, value)?, records.len())?;
                push_record(&mut records, record, room)?;
            }
            _ => {}
        }
    }
    let header = scope.header(resource).map_err(DecodeError::Attribute)?;
    set_positions(&mut records, &scope, header.prev, header.end)?;
    set_flags(&mut records, &scope, header.io)?;
    Ok(DecodedBatch {
        header: Some(header),
        origin: resource.shared(),
        records,
        cut_records: room.take_cut_records(),
    })
}

fn read_scope<'a>(bytes: &'a [u8], scope: &mut ScopeRead<'a>) -> Result<(), DecodeError> {
    const WHAT: &str = "InstrumentationScope";
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        if number == field::SCOPE_ATTRIBUTES
            && let (key, Some(value)) = key_value(delimited(WHAT, number, value)?)?
        {
            scope.set(key, value);
        }
    }
    Ok(())
}

#[inline]
fn agent_record(message: &Bytes, bytes: &[u8], index: usize) -> Result<DecodedRecord, DecodeError> {
    const WHAT: &str = "LogRecord";
    let (mut time_ns, mut severity, mut body) = (0, 0, None);
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        match (number, value) {
            (field::RECORD_TIME, Wire::Fixed64(value)) => time_ns = value as i64,
            (field::RECORD_SEVERITY, Wire::Varint(value)) => severity = value,
            (field::RECORD_BODY, Wire::Delimited(bytes)) => body = Some(plain_body(message, bytes, index)?),
            (field::RECORD_TIME | field::RECORD_SEVERITY | field::RECORD_BODY, _) => {
                return Err(DecodeError::Type { what: WHAT, number });
            }
            _ => {}
        }
    }
    let level = i32::try_from(severity)
        .ok()
        .and_then(Level::from_otel_severity)
        .ok_or(DecodeError::Severity { index, severity })?;
    let (body, cut) = cut_body(body.ok_or(DecodeError::Body { index })?);
    let flags = if cut { Flags::TRUNCATED } else { Flags::default() };
    Ok(DecodedRecord { time_ns, level, flags, position: 0, body })
}

/// The string or bytes of an `AnyValue` as a slice of the message. A string is not checked for UTF-8, because a body may be any bytes.
#[inline]
fn plain_body(message: &Bytes, bytes: &[u8], index: usize) -> Result<Bytes, DecodeError> {
    let mut fields = Reader::new(bytes);
    match fields.next_field().map_err(wire("AnyValue"))? {
        Some((field::VALUE_STRING | field::VALUE_BYTES, Wire::Delimited(body))) if fields.is_empty() => {
            Ok(message.slice_ref(body))
        }
        _ => Err(DecodeError::Body { index }),
    }
}

fn set_positions(
    records: &mut [DecodedRecord],
    scope: &ScopeRead<'_>,
    prev: u64,
    end: u64,
) -> Result<(), DecodeError> {
    let mut deltas = Reader::new(scope.positions);
    let mut position = prev;
    for (index, record) in records.iter_mut().enumerate() {
        let delta = deltas.varint().unwrap_or(0);
        position = match position.checked_add(delta) {
            Some(next) if delta > 0 && next <= end => next,
            _ => return Err(DecodeError::Position { index, position, prev, end }),
        };
        record.position = position;
    }
    listed_all(&deltas, super::header::scope::POSITIONS, records.len())
}

fn set_flags(
    records: &mut [DecodedRecord],
    scope: &ScopeRead<'_>,
    io: OutputStream,
) -> Result<(), DecodeError> {
    let common = if io == OutputStream::Stderr { Flags::STDERR } else { Flags::default() };
    let Some(listed) = scope.flags else {
        records.iter_mut().for_each(|record| record.flags = record.flags | common);
        return Ok(());
    };
    let attribute = super::header::scope::FLAGS;
    let mut listed = Reader::new(listed);
    for record in records.iter_mut() {
        let flags = listed.varint().ok().and_then(|flags| u16::try_from(flags).ok());
        record.flags = Flags(flags.ok_or(DecodeError::Attribute(attribute))?) | record.flags | common;
    }
    listed_all(&listed, attribute, records.len())
}

/// Checks that an attribute does not list more values than there are records.
fn listed_all(rest: &Reader<'_>, attribute: &'static str, records: usize) -> Result<(), DecodeError> {
    let mut rest = rest.clone();
    let mut more = 0;
    while !rest.is_empty() && rest.varint().is_ok() {
        more += 1;
    }
    match more {
        0 if rest.is_empty() => Ok(()),
        more => Err(DecodeError::Count { attribute, records, listed: records + more.max(1) }),
    }
}
