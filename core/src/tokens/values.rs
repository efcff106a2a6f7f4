//! A body's text values: what a JSON object says without its keys, or a text as it is. One pass, no tree.
//!
//! A body whose first character is `{` is read as JSON; strings come unescaped. If it then turns out not to be a whole
//! JSON object (cut off, words where none belong), the body as a whole is given as one more text, so that nothing that
//! is shown cannot be found.

use std::borrow::Cow;

/// What [`visit`] finds.
pub trait Visit {
    /// A value's text: a string's content, a number or literal as written, or a whole text.
    fn text(&mut self, text: &[u8]);
    /// A scalar value that stands under `key`, directly or as an element of the array there. `text` was called for it.
    fn pair(&mut self, key: &[u8], value: &[u8]);
}

pub fn visit(body: &[u8], visitor: &mut impl Visit) {
    let start = body.iter().position(|&byte| !is_blank(byte)).unwrap_or(body.len());
    if body.get(start) != Some(&b'{') || !json(&body[start..], visitor) {
        visitor.text(body);
    }
}

/// The key whose value is awaited, or whose array is being read.
#[derive(Clone, Copy)]
struct Key<'a> {
    raw: &'a [u8],
    /// The depth at which its elements lie, once its array has begun.
    array_depth: Option<usize>,
}

/// What may come next in the outermost object. Deeper, only quotes and brackets count, as in [`crate::fields`].
#[derive(Clone, Copy, PartialEq)]
enum Next {
    KeyOrEnd,
    Key,
    Colon,
    Value,
    CommaOrEnd,
}

/// `false`: it was not a whole JSON object.
fn json(bytes: &[u8], visitor: &mut impl Visit) -> bool {
    let mut whole = true;
    let mut depth = 0usize;
    let mut next = Next::KeyOrEnd;
    let mut key: Option<Key<'_>> = None;
    let mut after_colon = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        // At the top: what this must be, and what it lets follow.
        let mut step = |from: &[Next], to: Next| {
            if depth == 1 {
                whole &= from.contains(&next);
                next = to;
            }
        };
        match byte {
            b'"' => {
                let Some(len) = string_len(&bytes[at + 1..]) else {
                    visitor.text(&unescape(&bytes[at + 1..]));
                    return false;
                };
                let raw = &bytes[at + 1..at + 1 + len];
                at += len + 2;
                if !after_colon && is_key(&bytes[at..]) {
                    step(&[Next::KeyOrEnd, Next::Key], Next::Colon);
                    key = Some(Key { raw, array_depth: None });
                } else {
                    step(&[Next::Value], Next::CommaOrEnd);
                    scalar(&mut key, depth, &unescape(raw), visitor);
                    after_colon = false;
                }
            }
            b':' => {
                step(&[Next::Colon], Next::Value);
                after_colon = true;
                at += 1;
            }
            b',' => {
                step(&[Next::CommaOrEnd], Next::Key);
                at += 1;
            }
            b'{' | b'[' => {
                step(&[Next::Value], Next::CommaOrEnd);
                depth += 1;
                key = match key {
                    Some(Key { raw, array_depth: None }) if byte == b'[' => {
                        Some(Key { raw, array_depth: Some(depth) })
                    }
                    _ => None,
                };
                after_colon = false;
                at += 1;
            }
            b'}' | b']' => {
                if depth == 1 {
                    let ends = byte == b'}' && matches!(next, Next::KeyOrEnd | Next::CommaOrEnd);
                    return whole && ends && bytes[at + 1..].iter().all(|&byte| is_blank(byte));
                }
                depth -= 1;
                key = None;
                at += 1;
            }
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            _ => {
                step(&[Next::Value], Next::CommaOrEnd);
                let rest = &bytes[at..];
                let len = rest.iter().position(|byte| !is_scalar(*byte)).unwrap_or(rest.len());
                let atom = &rest[..len];
                whole &= matches!(byte, b'0'..=b'9' | b'-') || matches!(atom, b"true" | b"false" | b"null");
                if len > 0 {
                    scalar(&mut key, depth, atom, visitor);
                    after_colon = false;
                }
                at += len.max(1);
            }
        }
    }
    false
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What numbers and literals, also wrong ones, consist of: the alphabet of [`crate::fields`].
fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

fn scalar(key: &mut Option<Key<'_>>, depth: usize, value: &[u8], visitor: &mut impl Visit) {
    visitor.text(value);
    match *key {
        Some(Key { raw, array_depth: None }) => {
            visitor.pair(&unescape(raw), value);
            *key = None;
        }
        Some(Key { raw, array_depth: Some(at) }) if at == depth => visitor.pair(&unescape(raw), value),
        _ => {}
    }
}

/// Bytes up to the quote that ends the string; `None` if there is none.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn is_key(after: &[u8]) -> bool {
    after.iter().find(|byte| !is_blank(**byte)) == Some(&b':')
}

fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', raw).is_some() {
        Cow::Owned(crate::fields::unescape(raw))
    } else {
        Cow::Borrowed(raw)
    }
}
