//! Reads and writes the protobuf wire format as far as OTLP logs need it: field numbers, writing into one `Vec`, reading without copies.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// `ExportLogsServiceRequest.resource_logs`, `ResourceLogs.resource`, ... (opentelemetry-proto 1.x, `logs/v1/logs.proto`).
pub mod field {
    pub const REQUEST_RESOURCE_LOGS: u32 = 1;
    pub const RESOURCE_LOGS_RESOURCE: u32 = 1;
    pub const RESOURCE_LOGS_SCOPE_LOGS: u32 = 2;
    pub const RESOURCE_ATTRIBUTES: u32 = 1;
    pub const SCOPE_LOGS_SCOPE: u32 = 1;
    pub const SCOPE_LOGS_RECORDS: u32 = 2;
    pub const SCOPE_NAME: u32 = 1;
    pub const SCOPE_VERSION: u32 = 2;
    pub const SCOPE_ATTRIBUTES: u32 = 3;
    pub const KEY_VALUE_KEY: u32 = 1;
    pub const KEY_VALUE_VALUE: u32 = 2;
    pub const RECORD_TIME: u32 = 1;
    pub const RECORD_SEVERITY: u32 = 2;
    pub const RECORD_SEVERITY_TEXT: u32 = 3;
    pub const RECORD_BODY: u32 = 5;
    pub const RECORD_ATTRIBUTES: u32 = 6;
    pub const RECORD_TRACE_ID: u32 = 9;
    pub const RECORD_SPAN_ID: u32 = 10;
    pub const RECORD_OBSERVED: u32 = 11;
    pub const RECORD_EVENT_NAME: u32 = 12;
    pub const VALUE_STRING: u32 = 1;
    pub const VALUE_BOOL: u32 = 2;
    pub const VALUE_INT: u32 = 3;
    pub const VALUE_DOUBLE: u32 = 4;
    pub const VALUE_ARRAY: u32 = 5;
    pub const VALUE_KVLIST: u32 = 6;
    pub const VALUE_BYTES: u32 = 7;
}

/// Bytes that a length-delimited field of `len` bytes takes with its key and length.
pub fn delimited_len(number: u32, len: usize) -> usize {
    key_len(number) + encoded_len_varint(len as u64) + len
}

/// Writes key and length of a length-delimited field. The caller writes the content.
pub fn put_delimited(out: &mut Vec<u8>, number: u32, len: usize) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_delimited(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

pub fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    encode_key(number, WireType::Varint, out);
    encode_varint(value, out);
}

/// The value of a `KeyValue`: a string, integer, boolean or bytes in its `AnyValue`.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Text(&'a str),
    Int(u64),
    Bool(bool),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    fn len(self) -> usize {
        match self {
            Value::Text(text) => delimited_len(field::VALUE_STRING, text.len()),
            Value::Int(value) => key_len(field::VALUE_INT) + encoded_len_varint(value),
            Value::Bool(_) => key_len(field::VALUE_BOOL) + 1,
            Value::Bytes(bytes) => delimited_len(field::VALUE_BYTES, bytes.len()),
        }
    }
}

/// Writes one attribute as field `number` of its parent.
pub fn put_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: Value<'_>) {
    let value_len = value.len();
    let len =
        delimited_len(field::KEY_VALUE_KEY, key.len()) + delimited_len(field::KEY_VALUE_VALUE, value_len);
    put_delimited(out, number, len);
    put_bytes(out, field::KEY_VALUE_KEY, key.as_bytes());
    put_delimited(out, field::KEY_VALUE_VALUE, value_len);
    match value {
        Value::Text(text) => put_bytes(out, field::VALUE_STRING, text.as_bytes()),
        Value::Int(value) => put_varint(out, field::VALUE_INT, value),
        Value::Bool(value) => put_varint(out, field::VALUE_BOOL, u64::from(value)),
        Value::Bytes(bytes) => put_bytes(out, field::VALUE_BYTES, bytes),
    }
}

/// Why bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("ends in the middle of a field")]
    Short,
    #[error("has a number longer than 64 bits")]
    Varint,
    #[error("has a field key that does not exist")]
    Key,
}

/// The value of one field on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Delimited(&'a [u8]),
    Fixed32(u32),
}

/// Reads the fields of one message in their order. A group is an error; OTLP never had groups.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    #[inline]
    pub fn next_field(&mut self) -> Result<Option<(u32, Wire<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| WireError::Key)?;
        if number == 0 || number > (1 << 29) - 1 {
            return Err(WireError::Key);
        }
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| WireError::Short)?;
                let (bytes, rest) = self.rest.split_at_checked(len).ok_or(WireError::Short)?;
                self.rest = rest;
                Wire::Delimited(bytes)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError::Key),
        };
        Ok(Some((number, wire)))
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        if let [byte @ 0..=0x7f, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            if index == 9 && *byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Short } else { WireError::Varint })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(*head)
    }
}
