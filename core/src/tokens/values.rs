//! Visits a body's text values: the values of a JSON object without its keys, or a text as it is. One pass, no tree.
//!
//! A body whose first character is `{` is read as JSON; strings come unescaped. If it then turns out not to be a whole
//! JSON object (cut off, words where none belong), the body as a whole is given as one more text, so that nothing that
//! is shown cannot be found. Of a text that ends with an object the object's values are given too, and of a message that is
//! written as bytes its text.

use crate::decimal;
use crate::fields;

/// What [`visit`] finds.
pub trait Visit {
    /// A value's text: a string's content, a number or literal as written, or a whole text. `key`: the one that a scalar
    /// stands under, directly or as an element of the array there.
    fn value(&mut self, key: Option<&[u8]>, text: &[u8]);

    /// After a number that can be written otherwise: how all that equal it are ([`crate::decimal`]).
    fn number(&mut self, _key: Option<&[u8]>, _canonical: &[u8]) {}
}

pub fn visit(body: &[u8], visitor: &mut impl Visit) {
    let start = body.iter().position(|&byte| !is_blank(byte)).unwrap_or(body.len());
    if body.get(start) != Some(&b'{') {
        visitor.value(None, body);
        if let Some(object) = fields::object_in(body) {
            json(object, visitor);
        }
    } else if !json(&body[start..], visitor) {
        visitor.value(None, body);
    }
    if let Some(text) = fields::message_of_bytes(body) {
        visitor.value(None, text.as_bytes());
    }
}

/// What programs read that wrote the first version of the tokens: nothing behind a prefix, no bytes.
#[cfg(test)]
pub fn visit_first(body: &[u8], visitor: &mut impl Visit) {
    let start = body.iter().position(|&byte| !is_blank(byte)).unwrap_or(body.len());
    if body.get(start) != Some(&b'{') || !json(&body[start..], visitor) {
        visitor.value(None, body);
    }
}

/// The key whose value is awaited, or whose array is being read.
#[derive(Clone, Copy)]
struct Key<'a> {
    raw: &'a [u8],
    escaped: bool,
    /// The depth at which its elements lie, once its array has begun.
    array_depth: Option<usize>,
}

/// What may come next in the outermost object, as bits. Deeper, only quotes and brackets count, as in [`crate::fields`].
mod next {
    pub const KEY_OR_END: u8 = 1;
    pub const KEY: u8 = 2;
    pub const COLON: u8 = 4;
    pub const VALUE: u8 = 8;
    pub const COMMA_OR_END: u8 = 16;
}

/// `false`: it was not a whole JSON object.
fn json(bytes: &[u8], visitor: &mut impl Visit) -> bool {
    let mut whole = true;
    let mut depth = 0usize;
    let mut next = next::KEY_OR_END;
    let mut key: Option<Key<'_>> = None;
    let mut after_colon = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        // At the top: what this must be, and what it lets follow.
        let mut step = |from: u8, to: u8| {
            if depth == 1 {
                whole &= from & next != 0;
                next = to;
            }
        };
        match byte {
            b'"' => {
                let start = at + 1;
                let Some((end, escaped)) = string_end(bytes, start) else {
                    visitor.value(None, &fields::unescape(&bytes[start..]));
                    return false;
                };
                let raw = &bytes[start..end];
                at = end + 1;
                if !after_colon && is_key(&bytes[at..]) {
                    step(next::KEY_OR_END | next::KEY, next::COLON);
                    key = Some(Key { raw, escaped, array_depth: None });
                } else {
                    step(next::VALUE, next::COMMA_OR_END);
                    if escaped {
                        scalar(&mut key, depth, &fields::unescape(raw), None, visitor);
                    } else {
                        scalar(&mut key, depth, raw, None, visitor);
                    }
                    after_colon = false;
                }
            }
            b':' => {
                step(next::COLON, next::VALUE);
                after_colon = true;
                at += 1;
            }
            b',' => {
                step(next::COMMA_OR_END, next::KEY);
                at += 1;
            }
            b'{' | b'[' => {
                step(next::VALUE, next::COMMA_OR_END);
                depth += 1;
                key = match key {
                    Some(key) if byte == b'[' && key.array_depth.is_none() => {
                        Some(Key { array_depth: Some(depth), ..key })
                    }
                    _ => None,
                };
                after_colon = false;
                at += 1;
            }
            b'}' | b']' => {
                if depth == 1 {
                    let ends = byte == b'}' && next & (next::KEY_OR_END | next::COMMA_OR_END) != 0;
                    return whole && ends && bytes[at + 1..].iter().all(|&byte| is_blank(byte));
                }
                depth -= 1;
                key = None;
                at += 1;
            }
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            _ => {
                step(next::VALUE, next::COMMA_OR_END);
                let rest = &bytes[at..];
                let len = rest.iter().position(|&byte| !is_scalar(byte)).unwrap_or(rest.len());
                let atom = &rest[..len];
                whole &= matches!(byte, b'0'..=b'9' | b'-') || matches!(atom, b"true" | b"false" | b"null");
                if len > 0 {
                    let canonical = decimal::canonical_unless_written_so(atom);
                    scalar(&mut key, depth, atom, canonical.as_deref(), visitor);
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

#[inline]
fn scalar(
    key: &mut Option<Key<'_>>,
    depth: usize,
    value: &[u8],
    canonical: Option<&str>,
    visitor: &mut impl Visit,
) {
    let mut give = |key: Option<&[u8]>| {
        visitor.value(key, value);
        if let Some(canonical) = canonical {
            visitor.number(key, canonical.as_bytes());
        }
    };
    match *key {
        Some(found) if found.array_depth.is_none_or(|at| at == depth) => {
            if found.escaped {
                give(Some(&fields::unescape(found.raw)));
            } else {
                give(Some(found.raw));
            }
            if found.array_depth.is_none() {
                *key = None;
            }
        }
        _ => give(None),
    }
}

#[inline]
fn is_key(after: &[u8]) -> bool {
    after.first() == Some(&b':') || after.iter().find(|&&byte| !is_blank(byte)) == Some(&b':')
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The lowest set bit is the highest of the first byte of `word` that is zero.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// The place of the quote that ends the string whose content begins at `at`, and whether a backslash is in it; `None` if
/// no quote does. Eight bytes at a time, as most strings are short; a long one by memchr.
#[inline]
fn string_end(bytes: &[u8], mut at: usize) -> Option<(usize, bool)> {
    let mut escaped = false;
    let mut chunks = 0;
    loop {
        match bytes.get(at..)?.first_chunk::<8>() {
            Some(chunk) if chunks < 8 => {
                let word = u64::from_le_bytes(*chunk);
                let hits = zero_bytes(word ^ (ONES * b'"' as u64)) | zero_bytes(word ^ (ONES * b'\\' as u64));
                if hits == 0 {
                    at += 8;
                    chunks += 1;
                    continue;
                }
                at += hits.trailing_zeros() as usize / 8;
            }
            _ => at += memchr::memchr2(b'"', b'\\', &bytes[at..])?,
        }
        if bytes[at] == b'"' {
            return Some((at, escaped));
        }
        escaped = true;
        at += 2;
    }
}
