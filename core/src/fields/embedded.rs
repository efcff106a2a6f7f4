//! Finds JSON that is not the whole of a body: behind a byte order mark, behind a prefix (`web-1  | {..}`, `@cee: {..}`, a logger's
//! text with its context at the end), or the only element of an array.

use super::scan::{Members, is_whole};

/// Objects that are tried: a `{` of the prefix is none.
const TRIES_MAX: usize = 4;

pub struct Embedded<'a> {
    /// What stands before the object; empty when nothing does.
    pub prefix: &'a [u8],
    pub json: &'a [u8],
}

/// A body without its byte order mark.
pub fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Without the sequences that end a coloured line.
fn without_reset(mut text: &[u8]) -> &[u8] {
    while let Some(front) = text.strip_suffix(b"m")
        && let Some(escape) = front.iter().rev().take(8).position(|byte| *byte == 0x1b)
        && let Some(parameters) = front[front.len() - escape..].strip_prefix(b"[")
        && parameters.iter().all(|byte| matches!(byte, b'0'..=b'9' | b';'))
    {
        text = front[..front.len() - escape - 1].trim_ascii_end();
    }
    text
}

/// The object in a body that does not begin with one: behind a mark, a prefix, or in an array.
pub fn object_in(body: &[u8]) -> Option<&[u8]> {
    let text = without_mark(body);
    if Members::open(text).is_some() { Some(text) } else { embedded(text).map(|found| found.json) }
}

/// The object that a text ends with; `None` when there is none. `text` itself does not begin with one.
pub fn embedded(text: &[u8]) -> Option<Embedded<'_>> {
    let text = without_reset(text.trim_ascii_end());
    match text.last()? {
        b'}' => {}
        b']' => {
            let inner = text.trim_ascii_start().strip_prefix(b"[")?.strip_suffix(b"]")?.trim_ascii();
            let whole = Members::open(inner).is_some() && is_whole(inner);
            return whole.then_some(Embedded { prefix: b"", json: inner });
        }
        _ => return None,
    }
    let mut tries = 0;
    for at in memchr::memchr_iter(b'{', text) {
        if text[at + 1..].trim_ascii_start().first() != Some(&b'"') {
            continue;
        }
        if is_whole(&text[at..]) {
            return Some(Embedded { prefix: &text[..at], json: &text[at..] });
        }
        tries += 1;
        if tries == TRIES_MAX {
            break;
        }
    }
    None
}
