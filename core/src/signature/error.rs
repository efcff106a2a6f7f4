//! An error's type, message and stack in a record's body: from the fields of a JSON object, else from a text.

use std::borrow::Cow;

use super::{Version, logfmt};
use crate::fields::{Field, object_in, read as read_fields};
use crate::limits::{SIGNATURE_NAME_BYTES_MAX, SIGNATURE_READ_BYTES_MAX};

pub struct Error<'a> {
    /// What the application says is one group.
    pub fingerprint: Option<String>,
    /// As a field gives it; empty when none does.
    pub error_type: String,
    pub message: Cow<'a, str>,
    pub stack: Option<Cow<'a, str>>,
}

pub fn read(body: &[u8], version: Version) -> Error<'_> {
    if object_in(body).is_none() {
        let read = &body[..body.len().min(SIGNATURE_READ_BYTES_MAX)];
        let message = std::str::from_utf8(read).map_or_else(|_| String::from_utf8_lossy(read), Cow::Borrowed);
        let message = match message {
            Cow::Borrowed(line) if version > Version::V1 && !line.contains('\n') => {
                Cow::Borrowed(logfmt::message(line).unwrap_or(line))
            }
            text => text,
        };
        return Error { fingerprint: None, error_type: String::new(), message, stack: None };
    }
    let mut fields = read_fields(body);
    let named = fields.may_have("fingerprint") && memchr::memmem::find(body, b"\"fingerprint\"").is_some();
    let fingerprint = named
        .then(|| fields.at("fingerprint"))
        .flatten()
        .filter(|text| !matches!(&**text, "" | "null" | "[]"));
    Error {
        fingerprint: fingerprint.map(|text| head(&text).to_owned()),
        error_type: fields.take(Field::ErrorType).map(|name| without_generics(&name)).unwrap_or_default(),
        message: fields.take(Field::Message).unwrap_or_default(),
        stack: fields.take(Field::ErrorStack),
    }
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(SIGNATURE_NAME_BYTES_MAX)]
}

fn without_generics(name: &str) -> String {
    let name = name.trim();
    head(name.split(['<', '`', '[', '(']).next().unwrap_or_default()).to_owned()
}

/// The type that the text before a trace names: the last of its lines that begins with one (`shop.CartError: no such item`,
/// `Exception in thread "main" java.lang.Error`, `panic: ..`, `thread 'main' panicked at ..`).
pub fn type_in_text(text: &str) -> String {
    text.lines().rev().take(16).find_map(type_of_line).unwrap_or_default()
}

fn type_of_line(line: &str) -> Option<String> {
    let line = line.trim();
    if line.starts_with("panic: ") || (line.starts_with("thread '") && line.contains(" panicked at")) {
        return Some("panic".to_owned());
    }
    if line.starts_with("fatal error: ") {
        return Some("fatal error".to_owned());
    }
    let line =
        line.strip_prefix("Unhandled exception. ").or_else(|| line.strip_prefix("Uncaught ")).unwrap_or(line);
    let line = match line.strip_prefix("Exception in thread \"") {
        Some(rest) => rest.split_once("\" ").map_or(rest, |(_, rest)| rest),
        None => line,
    };
    let end = line
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '$')))
        .unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let last = name.rsplit(['.', '$']).next()?;
    let is_type = last.starts_with(|c: char| c.is_ascii_uppercase())
        && [
            "Error",
            "Exception",
            "Throwable",
            "Warning",
            "Fault",
            "Failure",
            "Interrupt",
            "Exit",
            "Iteration",
        ]
        .iter()
        .any(|suffix| last.ends_with(suffix));
    let ends = rest.is_empty() || rest.starts_with([':', ' ', '[', '<']);
    (is_type && ends).then(|| head(name).to_owned())
}
