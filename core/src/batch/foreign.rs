//! Messages that some other OTLP producer wrote: read tolerantly, stored faithfully, and not believed about the tenant.
//! A body that is a text (or bytes) and all there is stays as it is. When a record also carries attributes, trace or event,
//! or a body that is no text, it is written as one JSON object, so that nothing is dropped and `fields` finds it.

use bytes::Bytes;

use super::decode::{DecodeError, delimited, push_record, wire};
use super::header::ResourceRead;
use super::json::{push_any_value, push_key, push_key_values, push_string};
use super::wire::{Reader, Wire, field};
use super::{DecodedBatch, DecodedRecord};
use crate::identity::Io;
use crate::level::Level;
use crate::record::Flags;

pub(super) fn batch(
    message: &Bytes,
    bytes: &[u8],
    resource: &ResourceRead,
    room: usize,
) -> Result<DecodedBatch, DecodeError> {
    const WHAT: &str = "ScopeLogs";
    let common = if resource.io == Some(Io::Stderr) { Flags::STDERR } else { Flags::default() };
    let mut records = Vec::new();
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        if number == field::SCOPE_LOGS_RECORDS {
            push_record(&mut records, record(message, delimited(WHAT, number, value)?, common)?, room)?;
        }
    }
    Ok(DecodedBatch { header: None, origin: resource.origin.clone(), records })
}

/// A `LogRecord` as it lies on the wire.
#[derive(Default)]
struct Read<'a> {
    time: u64,
    observed: u64,
    severity: u64,
    severity_text: &'a [u8],
    body: Option<&'a [u8]>,
    attributes: Vec<&'a [u8]>,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    event_name: &'a [u8],
}

impl<'a> Read<'a> {
    fn of(bytes: &'a [u8]) -> Result<Read<'a>, DecodeError> {
        const WHAT: &str = "LogRecord";
        let mut read = Read::default();
        let mut fields = Reader::new(bytes);
        while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
            match (number, value) {
                (field::RECORD_TIME, Wire::Fixed64(value)) => read.time = value,
                (field::RECORD_OBSERVED, Wire::Fixed64(value)) => read.observed = value,
                (field::RECORD_SEVERITY, Wire::Varint(value)) => read.severity = value,
                (field::RECORD_SEVERITY_TEXT, Wire::Delimited(value)) => read.severity_text = value,
                (field::RECORD_BODY, Wire::Delimited(value)) => read.body = Some(value),
                (field::RECORD_ATTRIBUTES, Wire::Delimited(value)) => read.attributes.push(value),
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
        number.or_else(|| Level::from_word(self.severity_text))
    }

    /// The severity's text when it says more than the level does.
    fn odd_severity_text(&self) -> Option<&'a [u8]> {
        let told = self
            .level()
            .is_some_and(|level| self.severity_text.eq_ignore_ascii_case(level.as_str().as_bytes()));
        (!told && !self.severity_text.is_empty()).then_some(self.severity_text)
    }

    fn is_only_a_body(&self) -> bool {
        self.attributes.is_empty()
            && self.trace_id.is_empty()
            && self.span_id.is_empty()
            && self.event_name.is_empty()
            && self.odd_severity_text().is_none()
    }

    fn body(&self, message: &Bytes) -> Result<Bytes, DecodeError> {
        let plain = match self.body {
            Some(value) => plain(value)?,
            None => Some(&[][..]),
        };
        match plain {
            Some([]) if self.is_only_a_body() => Ok(Bytes::new()),
            Some(body) if self.is_only_a_body() => Ok(message.slice_ref(body)),
            plain => Ok(Bytes::from(self.as_object(plain)?)),
        }
    }

    /// Everything as one JSON object; a body that is an object itself keeps its members at the top.
    fn as_object(&self, plain: Option<&[u8]>) -> Result<String, DecodeError> {
        let mut out = String::from("{");
        match (plain, self.body) {
            (Some([]), _) | (None, None) => {}
            (Some(body), _) => match crate::fields::inside_object(body) {
                Some(members) => out.push_str(members),
                None => {
                    push_key(&mut out, b"message");
                    push_string(&mut out, body);
                }
            },
            (None, Some(value)) => {
                let mut json = String::new();
                push_any_value(&mut json, value, 0)?;
                match json.strip_prefix('{').and_then(|json| json.strip_suffix('}')) {
                    Some(members) => out.push_str(members),
                    None if self.is_only_a_body() => return Ok(json),
                    None => {
                        push_key(&mut out, b"message");
                        out.push_str(&json);
                    }
                }
            }
        }
        for (key, id) in [("trace_id", self.trace_id), ("span_id", self.span_id)] {
            if !id.is_empty() {
                push_key(&mut out, key.as_bytes());
                let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
                push_string(&mut out, hex.as_bytes());
            }
        }
        if let Some(text) = self.odd_severity_text() {
            push_key(&mut out, b"severity_text");
            push_string(&mut out, text);
        }
        if !self.event_name.is_empty() {
            push_key(&mut out, b"event_name");
            push_string(&mut out, self.event_name);
        }
        if !self.attributes.is_empty() {
            push_key(&mut out, b"attributes");
            push_key_values(&mut out, &self.attributes, 0)?;
        }
        out.push('}');
        Ok(out)
    }
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

fn record(message: &Bytes, bytes: &[u8], common: Flags) -> Result<DecodedRecord, DecodeError> {
    let read = Read::of(bytes)?;
    let body = read.body(message)?;
    let quick = crate::fields::quick(&body);
    let flags = if quick.audit { common | Flags::AUDIT } else { common };
    let times = [read.time, read.observed].into_iter();
    let time_ns = times.filter_map(|time| i64::try_from(time).ok()).find(|time| *time > 0).unwrap_or(0);
    Ok(DecodedRecord { time_ns, level: read.level().unwrap_or(quick.level), flags, position: 0, body })
}
