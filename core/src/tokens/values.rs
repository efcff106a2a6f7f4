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
    let start = body.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(body.len());
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

/// `false`: it was not a whole JSON object.
fn json(bytes: &[u8], visitor: &mut impl Visit) -> bool {
    let mut whole = true;
    let mut depth = 0usize;
    let mut key: Option<Key<'_>> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let Some(len) = string_len(&bytes[at + 1..]) else {
                    visitor.text(&unescape(&bytes[at + 1..]));
                    return false;
                };
                let raw = &bytes[at + 1..at + 1 + len];
                at += len + 2;
                if is_key(&bytes[at..]) {
                    key = Some(Key { raw, array_depth: None });
                } else {
                    scalar(&mut key, depth, &unescape(raw), visitor);
                }
            }
            b'{' | b'[' => {
                depth += 1;
                key = match key {
                    Some(Key { raw, array_depth: None }) if byte == b'[' => {
                        Some(Key { raw, array_depth: Some(depth) })
                    }
                    _ => None,
                };
                at += 1;
            }
            b'}' | b']' => {
                if depth == 0 {
                    return false;
                }
                depth -= 1;
                key = None;
                at += 1;
                if depth == 0 {
                    return whole && bytes[at..].iter().all(u8::is_ascii_whitespace);
                }
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            _ => {
                let rest = &bytes[at..];
                let len =
                    rest.iter().position(|byte| b",:{}[]\" \t\r\n".contains(byte)).unwrap_or(rest.len());
                let atom = &rest[..len];
                whole &= matches!(byte, b'0'..=b'9' | b'-') || matches!(atom, b"true" | b"false" | b"null");
                scalar(&mut key, depth, atom, visitor);
                at += len;
            }
        }
    }
    false
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
        at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
        if at > bytes.len() {
            return None;
        }
    }
}

fn is_key(after: &[u8]) -> bool {
    after.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

/// A JSON string's content. A lone surrogate and an unknown escape become U+FFFD and themselves; nothing fails.
pub fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', raw) else { return Cow::Borrowed(raw) };
    let mut out = Vec::with_capacity(raw.len());
    out.extend_from_slice(&raw[..first]);
    let mut at = first;
    while at < raw.len() {
        if raw[at] != b'\\' {
            let len = memchr::memchr(b'\\', &raw[at..]).unwrap_or(raw.len() - at);
            out.extend_from_slice(&raw[at..at + len]);
            at += len;
            continue;
        }
        let Some(&escape) = raw.get(at + 1) else {
            out.push(b'\\');
            break;
        };
        at += 2;
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => {
                let (c, used) = unicode_escape(&raw[at..]);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                at += used;
            }
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// The character of the hexadecimal digits after `\u` (of two such escapes, if a surrogate pair) and the bytes it took.
fn unicode_escape(rest: &[u8]) -> (char, usize) {
    let Some(high) = hex4(rest) else { return (char::REPLACEMENT_CHARACTER, 0) };
    if let Some(c) = char::from_u32(high) {
        return (c, 4);
    }
    let low = rest.get(4..6).filter(|escape| escape == b"\\u").and_then(|_| hex4(&rest[6..]));
    match low {
        Some(low) if high < 0xdc00 && (0xdc00..0xe000).contains(&low) => {
            let c = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER), 10)
        }
        _ => (char::REPLACEMENT_CHARACTER, 4),
    }
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    bytes.get(..4)?.iter().try_fold(0, |value, &byte| Some(value << 4 | char::from(byte).to_digit(16)?))
}
