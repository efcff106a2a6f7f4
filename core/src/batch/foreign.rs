//! Decodes records that another OTLP producer wrote. What they say about the tenant is not used.
//! A record that has nothing but a body of text or bytes keeps that body unchanged. A record with attributes, a trace, an event name or a
//! structured body becomes one JSON object, so that nothing is dropped and `fields` finds it.

use bytes::Bytes;

use super::error::{DecodeError, delimited, wire};
use super::header::ResourceRead;
use super::json::Json;
use super::room::{Room, cut_body, push_record};
use super::wire::{Reader, Wire, field};
use super::{DecodedBatch, DecodedRecord};
use crate::identity::OutputStream;
use crate::level::{Level, level_of_word};
use crate::record::Flags;

pub(super) fn batch(
    message: &Bytes,
    bytes: &[u8],
    resource: &ResourceRead,
    room: &mut Room,
) -> Result<DecodedBatch, DecodeError> {
    const WHAT: &str = "ScopeLogs";
    let common = if resource.io == Some(OutputStream::Stderr) { Flags::STDERR } else { Flags::default() };
    let mut records = Vec::new();
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        if number == field::SCOPE_LOGS_RECORDS {
            let record = record(message, delimited(WHAT, number, value)?, common, room)?;
            push_record(&mut records, record, room)?;
        }
    }
    Ok(DecodedBatch {
        header: None,
        origin: resource.shared(),
        records,
        cut_records: room.take_cut_records(),
    })
}

/// A `LogRecord` as it lies on the wire.
#[derive(Default)]
struct Read<'a> {
    /// The whole encoded record. Its attributes are read from here when they are written, because there may be millions of them.
    whole: &'a [u8],
    time: u64,
    observed: u64,
    severity: u64,
    severity_text: &'a [u8],
    body: Option<&'a [u8]>,
    has_attributes: bool,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    event_name: &'a [u8],
}

impl<'a> Read<'a> {
    fn of(bytes: &'a [u8]) -> Result<Read<'a>, DecodeError> {
        const WHAT: &str = "LogRecord";
        let mut read = Read { whole: bytes, ..Read::default() };
        let mut fields = Reader::new(bytes);
        while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
            match (number, value) {
                (field::RECORD_TIME, Wire::Fixed64(value)) => read.time = value,
                (field::RECORD_OBSERVED, Wire::Fixed64(value)) => read.observed = value,
                (field::RECORD_SEVERITY, Wire::Varint(value)) => read.severity = value,
                (field::RECORD_SEVERITY_TEXT, Wire::Delimited(value)) => read.severity_text = value,
                (field::RECORD_BODY, Wire::Delimited(value)) => read.body = Some(value),
                (field::RECORD_ATTRIBUTES, Wire::Delimited(_)) => read.has_attributes = true,
                (field::RECORD_TRACE_ID, Wire::Delimited(value)) => read.trace_id = value,
                (field::RECORD_SPAN_ID, Wire::Delimited(value)) => read.span_id = value,
                (field::RECORD_EVENT_NAME, Wire::Delimited(value)) => read.event_name = value,
                (
                    field::RECORD_TIME
                    | field::RECORD_OBSERVED
                    | field::RECORD_SEVERITY
                    | field::RECORD_SEVERITY_TEXT
                    | field::RECORD_BODY
                    | field::RECORD_ATTRIBUTES
                    | field::RECORD_TRACE_ID
                    | field::RECORD_SPAN_ID,
                    _,
                ) => return Err(DecodeError::Type { what: WHAT, number }),
                _ => {}
            }
        }
        Ok(read)
    }

    fn level(&self) -> Option<Level> {
        let number = i32::try_from(self.severity).ok().and_then(Level::from_otel_severity);
        number.or_else(|| level_of_word(self.severity_text))
    }

    /// The severity's text, if it says more than the level does.
    fn odd_severity_text(&self) -> Option<&'a [u8]> {
        let told = self
            .level()
            .is_some_and(|level| self.severity_text.eq_ignore_ascii_case(level.as_str().as_bytes()));
        (!told && !self.severity_text.is_empty()).then_some(self.severity_text)
    }

    fn is_only_a_body(&self) -> bool {
        !self.has_attributes
            && self.trace_id.is_empty()
            && self.span_id.is_empty()
            && self.event_name.is_empty()
            && self.odd_severity_text().is_none()
    }

    /// The body, and whether it was cut.
    fn body(&self, message: &Bytes, room: &mut Room) -> Result<(Bytes, bool), DecodeError> {
        let plain = match self.body {
            Some(value) => plain(value)?,
            None => Some(&[][..]),
        };
        match plain {
            Some([]) if self.is_only_a_body() => Ok((Bytes::new(), false)),
            Some(body) if self.is_only_a_body() => Ok(cut_body(message.slice_ref(body))),
            plain => {
                let mut json = Json::new(room.json_bytes());
                self.put_object(plain, &mut json)?;
                let (json, cut) = json.finish();
                room.used(json.len());
                Ok((Bytes::from(json), cut))
            }
        }
    }

    /// Writes the whole record as one JSON object. A body that is an object keeps its members at the top level.
    fn put_object(&self, plain: Option<&[u8]>, json: &mut Json) -> Result<(), DecodeError> {
        match (plain, self.body) {
            (Some([]), _) | (None, None) => json.push_raw("{"),
            (Some(body), _) => {
                json.push_raw("{");
                let members = crate::fields::inside_object(body);
                match members.filter(|members| members.len() < json.bytes_left()) {
                    Some(members) => json.push_raw(members),
                    None => {
                        if json.push_key(b"message") {
                            json.push_string(body);
                        }
                    }
                }
            }
            (None, Some(value)) => match members_of(value)? {
                Some(list) => {
                    json.push_raw("{");
                    json.push_members(list, 1, 1)?;
                }
                None if self.is_only_a_body() => return json.push_any_value(value, 0),
                None => {
                    json.push_raw("{");
                    if json.push_key(b"message") {
                        json.push_any_value(value, 0)?;
                    }
                }
            },
        }
        for (key, id) in [("trace_id", self.trace_id), ("span_id", self.span_id)] {
            if !id.is_empty() && json.push_key(key.as_bytes()) {
                // Both have 16 bytes at the most, by OpenTelemetry's definition.
                let hex: String = id.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
                json.push_string(hex.as_bytes());
            }
        }
        if let Some(text) = self.odd_severity_text()
            && json.push_key(b"severity_text")
        {
            json.push_string(text);
        }
        if !self.event_name.is_empty() && json.push_key(b"event_name") {
            json.push_string(self.event_name);
        }
        if self.has_attributes && json.push_key(b"attributes") {
            json.push_raw("{");
            json.push_members(self.whole, field::RECORD_ATTRIBUTES, 0)?;
            json.push_raw("}");
        }
        json.push_raw("}");
        Ok(())
    }
}

/// The list in an `AnyValue` that is an object.
fn members_of(value: &[u8]) -> Result<Option<&[u8]>, DecodeError> {
    let mut read = None;
    let mut fields = Reader::new(value);
    while let Some((number, value)) = fields.next_field().map_err(wire("AnyValue"))? {
        if (field::VALUE_STRING..=field::VALUE_BYTES).contains(&number) {
            read = match (number, value) {
                (field::VALUE_KVLIST, Wire::Delimited(list)) => Some(list),
                _ => None,
            };
        }
    }
    Ok(read)
}

/// The bytes of an `AnyValue` that is a string or bytes; `None` for another kind, an empty slice for none at all.
fn plain(value: &[u8]) -> Result<Option<&[u8]>, DecodeError> {
    let mut read = Some(&[][..]);
    let mut fields = Reader::new(value);
    while let Some((number, value)) = fields.next_field().map_err(wire("AnyValue"))? {
        read = match (number, value) {
            (field::VALUE_STRING | field::VALUE_BYTES, Wire::Delimited(body)) => Some(body),
            (field::VALUE_BOOL..=field::VALUE_KVLIST, _) => None,
            _ => read,
        };
    }
    Ok(read)
}

fn record(
    message: &Bytes,
    bytes: &[u8],
    common: Flags,
    room: &mut Room,
) -> Result<DecodedRecord, DecodeError> {
    let read = Read::of(bytes)?;
    let (body, cut) = read.body(message, room)?;
    let common = if cut { common | Flags::TRUNCATED } else { common };
    let quick = crate::fields::quick(&body);
    let level = read.level().or(quick.named());
    // No namespace that is marked for it stands behind it: anyone who may write to the topic could say so.
    let flags = if quick.audit { common | Flags::AUDIT | Flags::AUDIT_CLAIMED } else { common };
    let flags = if level.is_none() { flags | Flags::UNLEVELED } else { flags };
    let times = [read.time, read.observed].into_iter();
    let time_ns = times.filter_map(|time| i64::try_from(time).ok()).find(|time| *time > 0).unwrap_or(0);
    Ok(DecodedRecord { time_ns, level: level.unwrap_or(Level::Info), flags, position: 0, body })
}
