//! Tokens as 64-bit hashes (XXH3-64 of the token's bytes): what goes into a bloom filter.

use xxhash_rust::xxh3::xxh3_64;

use crate::origin::Origin;
use crate::record::Flags;

use super::values::{self, Visit};
use super::words;

/// A value longer than this has no `key=value` token: its words are rare enough.
pub const PAIR_VALUE_BYTES_MAX: usize = 24;
/// Nor has one under a longer key.
pub const PAIR_KEY_BYTES_MAX: usize = 64;

/// The hash of a lower-cased word.
pub fn word_token(word: &[u8]) -> u64 {
    xxh3_64(word)
}

/// The hash of `key=value`: the key without case, `_`, `-` and `.` (as in [`crate::fields`]), the value without case.
pub fn pair_token(key: &[u8], value: &[u8]) -> u64 {
    let mut token = Vec::with_capacity(key.len() + 1 + value.len());
    put_pair(&mut token, key, value);
    xxh3_64(&token)
}

fn put_pair(token: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    token.extend(key.iter().filter(|byte| !matches!(byte, b'_' | b'-' | b'.')).map(u8::to_ascii_lowercase));
    token.push(b'=');
    if value.is_ascii() {
        token.extend(value.iter().map(u8::to_ascii_lowercase));
    } else {
        token.extend_from_slice(words::lower(value).as_bytes());
    }
}

/// Whether a body's value under this key gets a `key=value` token.
pub fn has_pair(key: &[u8], value: &[u8]) -> bool {
    value.len() <= PAIR_VALUE_BYTES_MAX && key.len() <= PAIR_KEY_BYTES_MAX && key.is_ascii()
}

/// The names of an origin that have a token, each under its filter field.
pub fn origin_pairs(origin: &Origin) -> [(&'static str, &str); 6] {
    [
        ("service", &origin.service),
        ("namespace", &origin.namespace),
        ("pod", &origin.pod),
        ("container", &origin.container),
        ("node", &origin.node),
        ("plugin", &origin.plugin),
    ]
}

/// Calls `each` with the hash of every token of a record; the same token may come more than once.
pub fn for_each_token(body: &[u8], origin: &Origin, flags: Flags, each: &mut impl FnMut(u64)) {
    let mut hasher = TokenHasher::new();
    hasher.origin(origin, each);
    hasher.record(body, flags, each);
}

/// Hashes tokens; keeps a buffer between records.
#[derive(Debug, Default)]
pub struct TokenHasher {
    token: Vec<u8>,
}

impl TokenHasher {
    pub fn new() -> TokenHasher {
        TokenHasher::default()
    }

    pub fn origin(&mut self, origin: &Origin, each: &mut impl FnMut(u64)) {
        for (field, name) in origin_pairs(origin) {
            if !name.is_empty() {
                each(pair_token(field.as_bytes(), name.as_bytes()));
            }
        }
    }

    pub fn record(&mut self, body: &[u8], flags: Flags, each: &mut impl FnMut(u64)) {
        if flags.has(Flags::AUDIT) {
            each(pair_token(b"category", b"audit"));
        }
        values::visit(body, &mut Hashing { token: &mut self.token, each });
    }
}

struct Hashing<'a, F> {
    token: &'a mut Vec<u8>,
    each: &'a mut F,
}

impl<F: FnMut(u64)> Visit for Hashing<'_, F> {
    fn text(&mut self, text: &[u8]) {
        words::for_each(text, &mut |word| (self.each)(word_token(word)));
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) {
        if has_pair(key, value) {
            self.token.clear();
            put_pair(self.token, key, value);
            (self.each)(xxh3_64(self.token));
        }
    }
}
