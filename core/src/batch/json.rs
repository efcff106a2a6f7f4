//! OTLP values as JSON text: what a foreign record carries beside a plain text.

use base64_alphabet::encode as base64;

use super::decode::{DecodeError, delimited, wire};
use super::wire::{Reader, Wire, field};

/// Nesting of values at the most; deeper ones are nobody's log.
const DEPTH_MAX: usize = 64;

/// A comma if something stands before, and the key.
pub fn push_key(out: &mut String, key: &[u8]) {
    if !out.ends_with(['{', '[']) {
        out.push(',');
    }
    push_string(out, key);
    out.push(':');
}

/// A JSON string; bytes that are not UTF-8 become U+FFFD.
pub fn push_string(out: &mut String, text: &[u8]) {
    let text = String::from_utf8_lossy(text).into_owned();
    out.push_str(&serde_json::Value::String(text).to_string());
}

/// `KeyValue` messages as one object.
pub fn push_key_values(out: &mut String, rows: &[&[u8]], depth: usize) -> Result<(), DecodeError> {
    const WHAT: &str = "KeyValue";
    out.push('{');
    for row in rows {
        let (mut key, mut value) = (&[][..], None);
        let mut fields = Reader::new(row);
        while let Some((number, read)) = fields.next_field().map_err(wire(WHAT))? {
            match number {
                field::KEY_VALUE_KEY => key = delimited(WHAT, number, read)?,
                field::KEY_VALUE_VALUE => value = Some(delimited(WHAT, number, read)?),
                _ => {}
            }
        }
        push_key(out, key);
        push_any_value(out, value.unwrap_or(&[]), depth)?;
    }
    out.push('}');
    Ok(())
}

/// An `AnyValue`: bytes in base64 and numbers that JSON does not have as strings, as OTLP's own JSON does it.
pub fn push_any_value(out: &mut String, bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
    const WHAT: &str = "AnyValue";
    if depth > DEPTH_MAX {
        return Err(DecodeError::Depth { depth_max: DEPTH_MAX });
    }
    let mut last = None;
    let mut fields = Reader::new(bytes);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        if (field::VALUE_STRING..=field::VALUE_BYTES).contains(&number) {
            last = Some((number, value));
        }
    }
    match last {
        None => out.push_str("null"),
        Some((field::VALUE_STRING, Wire::Delimited(text))) => push_string(out, text),
        Some((field::VALUE_BOOL, Wire::Varint(value))) => {
            out.push_str(if value != 0 { "true" } else { "false" })
        }
        Some((field::VALUE_INT, Wire::Varint(value))) => out.push_str(&(value as i64).to_string()),
        Some((field::VALUE_DOUBLE, Wire::Fixed64(bits))) => push_double(out, f64::from_bits(bits)),
        Some((field::VALUE_BYTES, Wire::Delimited(bytes))) => push_string(out, base64(bytes).as_bytes()),
        Some((field::VALUE_ARRAY, Wire::Delimited(list))) => {
            out.push('[');
            for (index, value) in repeated(list)?.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_any_value(out, value, depth + 1)?;
            }
            out.push(']');
        }
        Some((field::VALUE_KVLIST, Wire::Delimited(list))) => {
            push_key_values(out, &repeated(list)?, depth + 1)?
        }
        Some((number, _)) => return Err(DecodeError::Type { what: WHAT, number }),
    }
    Ok(())
}

fn push_double(out: &mut String, value: f64) {
    match serde_json::Number::from_f64(value) {
        Some(number) => out.push_str(&number.to_string()),
        None => push_string(out, value.to_string().as_bytes()),
    }
}

/// Field 1 of an `ArrayValue` or `KeyValueList`, again and again.
fn repeated(list: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    const WHAT: &str = "list of values";
    let mut rows = Vec::new();
    let mut fields = Reader::new(list);
    while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
        if number == 1 {
            rows.push(delimited(WHAT, number, value)?);
        }
    }
    Ok(rows)
}

mod base64_alphabet {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// RFC 4648, section 4, padded.
    pub fn encode(bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
                out.push(if at <= chunk.len() { char::from(letter) } else { '=' });
            }
        }
        out
    }
}
