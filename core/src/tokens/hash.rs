//! Tokens as 64-bit hashes: what goes into a bloom filter and into postings. A word's is XXH3-64 of its bytes.

use xxhash_rust::xxh3::xxh3_64;

use crate::origin::Origin;
use crate::record::Flags;

use super::repeated::{Known, RepeatedValues, TEXT_BYTES_MAX, TakeTokens};
use super::values::{self, Visit};
use super::words::{self, Kind};

/// The finalizer of SplitMix64.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A token's hash, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    pub hash: u64,
    pub kind: TokenKind,
    /// Of a [`TokenKind::Pair`] of a body: the hash of the longest word of its value (the last of them), which every record with the pair
    /// has. A filter's pairs have none.
    pub word: Option<u64>,
}

/// What a token is to [`crate::block::postings`], whose version these rules belong to. A filter's words are of the kind that
/// they are of in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// `key=value` of a body, whose value's words are tokens too.
    Pair,
    /// `key=value` of an origin, but for its service.
    Origin,
    /// A long word with a digit: few records have it, anywhere.
    Identifier,
    Word,
    /// A word of three to nine digits and a `z`, as RFC 3339 times end: one of its own in nearly every record.
    TimeFraction,
    /// A record's service, tenant, level or category, which filters ask for beside words.
    Name,
}

impl Token {
    pub fn word(word: &[u8]) -> Token {
        Token { hash: word_token(word), kind: TokenKind::of_word(word), word: None }
    }

    /// Two characters that are neighbours in a script without spaces.
    pub fn neighbours(before: &[u8], after: &[u8]) -> Token {
        let mut both = [0; 8];
        let len = before.len() + after.len();
        both[..before.len()].copy_from_slice(before);
        both[before.len()..len].copy_from_slice(after);
        Token { hash: word_token(&both[..len]), kind: TokenKind::Word, word: None }
    }

    pub fn pair(key: &[u8], value: &[u8]) -> Token {
        Token { hash: pair_token(key, value), kind: TokenKind::Pair, word: None }
    }

    /// Of what is no value of a body.
    pub fn name(key: &[u8], value: &[u8]) -> Token {
        Token { hash: pair_token(key, value), kind: TokenKind::Name, word: None }
    }

    /// Of a field of [`origin_pairs`].
    pub fn origin(field: &str, name: &str) -> Token {
        let kind = if field == "service" { TokenKind::Name } else { TokenKind::Origin };
        Token { kind, ..Token::name(field.as_bytes(), name.as_bytes()) }
    }

    /// Of a record whose flags say so.
    pub fn audit() -> Token {
        Token::name(b"category", b"audit")
    }
}

impl TokenKind {
    #[inline]
    fn of_word(word: &[u8]) -> TokenKind {
        if word.len() >= IDENTIFIER_BYTES_MIN {
            return if word.iter().any(u8::is_ascii_digit) { TokenKind::Identifier } else { TokenKind::Word };
        }
        match word.split_last() {
            Some((b'z', digits))
                if (3..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) =>
            {
                TokenKind::TimeFraction
            }
            _ => TokenKind::Word,
        }
    }
}

/// Shorter words with a digit are users, orders, durations, which many records may have.
const IDENTIFIER_BYTES_MIN: usize = 16;

/// A value longer than this has no `key=value` token: its words are rare enough. (Nor do times as most loggers write
/// them, which differ in every record.)
pub const PAIR_VALUE_BYTES_MAX: usize = 16;
/// Nor has one under a longer key.
pub const PAIR_KEY_BYTES_MAX: usize = 64;
/// Keys of a record whose hashes are remembered for the next record, which mostly has the same.
const KEYS_KEPT_MAX: usize = 64;

/// The hash of a lower-cased word.
pub fn word_token(word: &[u8]) -> u64 {
    xxh3_64(word)
}

/// The hash of `key=value`: the key without case, `_`, `-` and `.` (as in [`crate::fields`]), the value without case.
pub fn pair_token(key: &[u8], value: &[u8]) -> u64 {
    join(key_hash(key), value_hash(value))
}

/// Mixes the hashes of key and value, so that neither order nor equality of the two cancels anything.
fn join(key: u64, value: u64) -> u64 {
    mix(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ value)
}

fn key_hash(key: &[u8]) -> u64 {
    let plain = key.iter().filter(|byte| !matches!(byte, b'_' | b'-' | b'.')).map(u8::to_ascii_lowercase);
    let mut buffer = [0; PAIR_KEY_BYTES_MAX];
    let mut len = 0;
    for byte in plain.clone() {
        match buffer.get_mut(len) {
            Some(slot) => *slot = byte,
            None => return xxh3_64(&plain.collect::<Vec<u8>>()),
        }
        len += 1;
    }
    xxh3_64(&buffer[..len])
}

fn value_hash(value: &[u8]) -> u64 {
    let mut buffer = [0; PAIR_VALUE_BYTES_MAX];
    match buffer.get_mut(..value.len()) {
        Some(lower) if value.is_ascii() => {
            lower.copy_from_slice(value);
            lower.make_ascii_lowercase();
            xxh3_64(lower)
        }
        _ => xxh3_64(words::lower(value).as_bytes()),
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

/// Calls `each` with every token of a record; the same may come more than once.
pub fn for_each_token(body: &[u8], origin: &Origin, flags: Flags, each: &mut impl FnMut(Token)) {
    let mut hasher = TokenHasher::new();
    hasher.origin(origin, each);
    hasher.record(body, flags, each);
}

/// Hashes tokens; remembers the keys of the last record by their place in it.
#[derive(Debug, Default)]
pub struct TokenHasher {
    keys: Vec<(Vec<u8>, u64)>,
}

impl TokenHasher {
    pub fn new() -> TokenHasher {
        TokenHasher::default()
    }

    pub fn origin(&mut self, origin: &Origin, each: &mut impl FnMut(Token)) {
        for (field, name) in origin_pairs(origin) {
            if !name.is_empty() {
                each(Token::origin(field, name));
            }
        }
    }

    pub fn record(&mut self, body: &[u8], flags: Flags, each: &mut impl FnMut(Token)) {
        if flags.has(Flags::AUDIT) {
            each(Token::audit());
        }
        values::visit(body, &mut Hashing { keys: &mut self.keys, key_next: 0, each });
    }

    /// The same tokens, those of values that came before as groups.
    pub fn record_repeated(
        &mut self,
        body: &[u8],
        flags: Flags,
        repeated: &mut RepeatedValues,
        take: &mut impl TakeTokens,
    ) {
        if flags.has(Flags::AUDIT) {
            take.token(Token::audit());
        }
        values::visit(body, &mut Repeating { keys: &mut self.keys, key_next: 0, repeated, take });
    }
}

/// Asks for each value whether it came before.
struct Repeating<'a, T> {
    keys: &'a mut Vec<(Vec<u8>, u64)>,
    key_next: usize,
    repeated: &'a mut RepeatedValues,
    take: &'a mut T,
}

impl<T: TakeTokens> Visit for Repeating<'_, T> {
    #[inline]
    fn value(&mut self, key: Option<&[u8]>, text: &[u8]) {
        let key_next = self.key_next;
        self.key_next += usize::from(key.is_some());
        let take = &mut *self.take;
        if text.len() > TEXT_BYTES_MAX {
            let each = &mut |token| take.token(token);
            return Hashing { keys: self.keys, key_next, each }.value(key, text);
        }
        let hash_of = |key: &[u8]| (key_hash_at(self.keys, key_next, key), key.len());
        let known_key = key.map(hash_of);
        match self.repeated.look(known_key, text) {
            Known::Group(group, tokens) => take.group(group, tokens),
            Known::Nothing => {
                let each = &mut |token| take.token(token);
                Hashing { keys: self.keys, key_next, each }.value(key, text);
            }
            Known::Again(hash) => {
                let keys = &mut *self.keys;
                let tokens = |tokens: &mut Vec<Token>| {
                    let each = &mut |token| tokens.push(token);
                    Hashing { keys, key_next, each }.value(key, text);
                };
                let (group, tokens) = self.repeated.remember(hash, known_key, text, tokens);
                take.group(group, tokens);
            }
        }
    }

    fn number(&mut self, key: Option<&[u8]>, canonical: &[u8]) {
        let take = &mut *self.take;
        let each = &mut |token| take.token(token);
        Hashing { keys: self.keys, key_next: self.key_next, each }.number(key, canonical);
    }
}

struct Hashing<'a, F> {
    keys: &'a mut Vec<(Vec<u8>, u64)>,
    /// The place of the next key in this record.
    key_next: usize,
    each: &'a mut F,
}

impl<F: FnMut(Token)> Visit for Hashing<'_, F> {
    #[inline]
    fn value(&mut self, key: Option<&[u8]>, text: &[u8]) {
        let mut last = (0, 0);
        let mut longest = Longest::default();
        let mut before = ([0; 4], 0);
        words::for_each(text, &mut |kind, word| match kind {
            Kind::Word | Kind::Again => {
                let token = Token::word(word);
                last = (token.hash, word.len());
                longest.see(token, word);
                (self.each)(token);
            }
            Kind::First | Kind::Next => {
                if kind == Kind::Next {
                    (self.each)(Token::neighbours(&before.0[..before.1], word));
                }
                before.0[..word.len()].copy_from_slice(word);
                before.1 = word.len();
            }
        });
        let Some(key) = key else { return };
        let place = self.key_next;
        self.key_next += 1;
        if !has_pair(key, text) {
            return;
        }
        // A value that is one word has its hash already.
        let value =
            if last.1 == text.len() && text.is_ascii() && last.1 > 0 { last.0 } else { value_hash(text) };
        let key = key_hash_at(self.keys, place, key);
        (self.each)(Token { hash: join(key, value), kind: TokenKind::Pair, word: longest.word });
    }

    fn number(&mut self, key: Option<&[u8]>, canonical: &[u8]) {
        let mut longest = Longest::default();
        words::for_each(canonical, &mut |_, word| {
            let token = Token::word(word);
            longest.see(token, word);
            (self.each)(token);
        });
        if let Some(key) = key.filter(|key| has_pair(key, canonical)) {
            (self.each)(Token { word: longest.word, ..Token::pair(key, canonical) });
        }
    }
}

/// The longest word of a value.
#[derive(Default)]
struct Longest {
    bytes: usize,
    word: Option<u64>,
}

impl Longest {
    #[inline]
    fn see(&mut self, token: Token, word: &[u8]) {
        if word.len() >= self.bytes && token.kind != TokenKind::TimeFraction {
            *self = Longest { bytes: word.len(), word: Some(token.hash) };
        }
    }
}

/// The hash of the key at a place of a record.
#[inline]
fn key_hash_at(keys: &mut Vec<(Vec<u8>, u64)>, place: usize, key: &[u8]) -> u64 {
    match keys.get_mut(place) {
        Some((known, hash)) if known == key && !key.is_empty() => *hash,
        Some((known, hash)) => {
            known.clear();
            known.extend_from_slice(key);
            *hash = key_hash(key);
            *hash
        }
        None if place < KEYS_KEPT_MAX => {
            // Keys without a token leave gaps.
            keys.resize_with(place, Default::default);
            keys.push((key.to_vec(), key_hash(key)));
            keys[place].1
        }
        None => key_hash(key),
    }
}
