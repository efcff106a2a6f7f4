//! Reads the headers of a request that say whose it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use crate::fields::Fields;

/// Header and field.
const HEADERS: [(&str, &str); 6] = [
    ("x-tenant-id", "tenantId"),
    ("x-tenant-slug", "tenantSlug"),
    ("x-user-id", "userId"),
    ("x-session-id", "sessionId"),
    ("x-impersonator-id", "impersonatorId"),
    ("x-request-id", "requestId"),
];
const VALUE_CHARS_MAX: usize = 256;

/// Something with headers.
pub trait Headers {
    /// The first value of a header; the name is given in lower case.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
}

fn find<'a, K: AsRef<str>, V: AsRef<str> + 'a>(
    mut pairs: impl Iterator<Item = (K, &'a V)>,
    name: &str,
) -> Option<Cow<'a, str>> {
    pairs.find(|(key, _)| key.as_ref().eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref().into())
}

impl<K: AsRef<str>, V: AsRef<str>, S> Headers for HashMap<K, V, S> {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        find(self.iter(), name)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Headers for BTreeMap<K, V> {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        find(self.iter(), name)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Headers for [(K, V)] {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        find(self.iter().map(|(key, value)| (key, value)), name)
    }
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> Headers for [(K, V); N] {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.as_slice().header(name)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Headers for Vec<(K, V)> {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.as_slice().header(name)
    }
}

#[cfg(feature = "http")]
impl Headers for http::HeaderMap {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
    }
}

/// The fields that a request's headers give.
pub fn request_fields(headers: &(impl Headers + ?Sized)) -> Fields {
    let mut fields = Fields::new();
    for (header, field) in HEADERS {
        let value = headers.header(header);
        let value = value.as_deref().map(str::trim).unwrap_or_default();
        if !value.is_empty() {
            let end = value.char_indices().nth(VALUE_CHARS_MAX).map_or(value.len(), |(end, _)| end);
            fields.put(field, &value[..end]);
        }
    }
    if let Some((trace, span)) = headers.header("traceparent").as_deref().and_then(trace_parent) {
        fields.put("traceId", trace);
        fields.put("spanId", span);
    }
    fields
}

/// Trace and span of a `traceparent` (W3C Trace Context).
fn trace_parent(value: &str) -> Option<(&str, &str)> {
    let mut parts = value.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    };
    let is_id = |text: &str, length: usize| is_hex(text, length) && text.bytes().any(|byte| byte != b'0');
    let is_whole = version != "00" || parts.next().is_none();
    (is_hex(version, 2)
        && version != "ff"
        && is_id(trace, 32)
        && is_id(span, 16)
        && is_hex(flags, 2)
        && is_whole)
        .then_some((trace, span))
}
