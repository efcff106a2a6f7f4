//! Decodes texts that a logger wrote as something else: bytes as numbers (journald, Node's `Buffer`), lines as an array, a trace as a path (Google Cloud).

use std::borrow::Cow;

use super::scan::{Kind, Value};

/// `false`: there is no array of numbers in it.
pub fn may_have_bytes(body: &[u8]) -> bool {
    memchr::memchr_iter(b'[', body)
        .any(|at| body[at + 1..].trim_ascii_start().first().is_some_and(u8::is_ascii_digit))
}

/// The text of an array of bytes, or of Node's `{"type":"Buffer","data":[..]}`.
pub fn text_of_bytes(value: &Value<'_>) -> Option<String> {
    bytes(value).or_else(|| text_of_buffer(value))
}

/// An array of bytes or of lines, as the text that it means; `None` for any other array.
pub fn text_of_array(value: &Value<'_>) -> Option<String> {
    bytes(value).or_else(|| lines(value))
}

/// `{"type":"Buffer","data":[..]}`.
pub fn text_of_buffer(value: &Value<'_>) -> Option<String> {
    let mut members = value.members()?;
    let (mut is_buffer, mut text) = (false, None);
    while let Ok(Some(member)) = members.next_member() {
        match member.key.raw {
            b"type" => is_buffer = member.value.raw == b"\"Buffer\"",
            b"data" => text = bytes(&member.value),
            _ => {}
        }
    }
    text.filter(|_| is_buffer)
}

fn bytes(value: &Value<'_>) -> Option<String> {
    let mut bytes = Vec::new();
    for element in value.elements()? {
        let number = std::str::from_utf8(element.ok()?.raw).ok()?;
        bytes.push(number.parse::<u8>().ok()?);
    }
    if bytes.is_empty() {
        return None;
    }
    let text = bytes.trim_ascii_end();
    Some(String::from_utf8_lossy(text).into_owned())
}

/// The elements of an array of texts, each without a newline at its end, joined by newlines.
pub fn lines(value: &Value<'_>) -> Option<String> {
    let mut text = String::new();
    let mut any = false;
    for element in value.elements()? {
        let element = element.ok()?;
        if element.kind != Kind::String {
            return None;
        }
        if any {
            text.push('\n');
        }
        any = true;
        text.push_str(element.to_text().trim_end_matches(['\r', '\n']));
    }
    any.then_some(text)
}

/// `KeyError`, `java.lang.IllegalStateException`, `ActionView::Template::Error`.
pub fn is_type_name(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '_' | '$' | '\\'))
        && text.chars().any(|c| c.is_ascii_uppercase())
}

/// Google Cloud writes a trace as `projects/<project>/traces/<id>`; anything else is the id itself.
pub fn trace_id(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.rsplit_once("/traces/") {
        Some((_, id)) if text.starts_with("projects/") && !id.is_empty() => Cow::Owned(id.to_owned()),
        _ => text,
    }
}
