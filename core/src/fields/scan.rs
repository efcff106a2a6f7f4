//! Scans JSON's structure without its meaning: gives the members of an object as slices of the input.
//! Promises: linear in the input, no recursion, no allocation; what is valid JSON is read as such; what is not may pass as
//! long as its quotes and brackets close (the inside of nested values is only skipped here), else it is [`Broken`].

use std::borrow::Cow;

/// The structure ends before it is closed, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    Object,
    Array,
    /// A number, `true`, `false`, `null`; or letters and digits that are none of them.
    Scalar,
}

/// What stands between two quotes, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    pub raw: &'a [u8],
    /// Contains a backslash.
    pub escaped: bool,
}

/// A value, as it is written, without blanks around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    pub raw: &'a [u8],
    pub kind: Kind,
    pub escaped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    pub key: Text<'a>,
    pub value: Value<'a>,
}

/// The members of one object, in their order.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
    first: bool,
}

impl<'a> Members<'a> {
    /// `None` when the text does not begin like an object.
    #[inline]
    pub fn open(text: &'a [u8]) -> Option<Members<'a>> {
        let at = skip_blanks(text, 0);
        (text.get(at) == Some(&b'{')).then_some(Members { bytes: text, at: at + 1, first: true })
    }

    /// The next member; `None` when the object is closed and nothing but blanks follows it.
    #[inline(always)]
    pub fn next_member(&mut self) -> Result<Option<Member<'a>>, Broken> {
        let bytes = self.bytes;
        let mut at = skip_blanks(bytes, self.at);
        match bytes.get(at) {
            Some(b'}') => return self.close(at + 1),
            Some(b',') if !self.first => at = skip_blanks(bytes, at + 1),
            Some(b'"') if self.first => {}
            _ => return Err(Broken),
        }
        self.first = false;
        if bytes.get(at) != Some(&b'"') {
            return Err(Broken);
        }
        let (key_end, escaped) = string_end(bytes, at + 1)?;
        let key = Text { raw: &bytes[at + 1..key_end], escaped };
        at = skip_blanks(bytes, key_end + 1);
        if bytes.get(at) != Some(&b':') {
            return Err(Broken);
        }
        at = skip_blanks(bytes, at + 1);
        let (value, end) = value(bytes, at)?;
        self.at = end;
        Ok(Some(Member { key, value }))
    }

    /// What follows the last member that was given.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn close(&self, at: usize) -> Result<Option<Member<'a>>, Broken> {
        if skip_blanks(self.bytes, at) == self.bytes.len() { Ok(None) } else { Err(Broken) }
    }
}

/// Up to where the structure breaks.
impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        self.next_member().ok()?
    }
}

/// The elements of one array, in their order; the last is [`Broken`] when it is none.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    first: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Value<'a>, Broken>;

    fn next(&mut self) -> Option<Result<Value<'a>, Broken>> {
        let mut at = skip_blanks(self.bytes, self.at);
        match self.bytes.get(at)? {
            b']' if at + 1 == self.bytes.len() => return None,
            b',' if !self.first => at = skip_blanks(self.bytes, at + 1),
            _ if self.first => {}
            _ => return self.broken(),
        }
        self.first = false;
        match value(self.bytes, at) {
            Ok((value, end)) => {
                self.at = end;
                Some(Ok(value))
            }
            Err(Broken) => self.broken(),
        }
    }
}

impl<'a> Elements<'a> {
    fn broken(&mut self) -> Option<Result<Value<'a>, Broken>> {
        self.at = self.bytes.len();
        Some(Err(Broken))
    }
}

/// Whether a text is one object, from its first character to its last.
pub fn is_whole(text: &[u8]) -> bool {
    let Some(mut members) = Members::open(text) else { return false };
    loop {
        match members.next_member() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

impl<'a> Value<'a> {
    /// The text of a string.
    #[inline]
    pub fn text(&self) -> Option<Text<'a>> {
        (self.kind == Kind::String)
            .then(|| Text { raw: &self.raw[1..self.raw.len() - 1], escaped: self.escaped })
    }

    /// The members of an object.
    pub fn members(&self) -> Option<Members<'a>> {
        if self.kind == Kind::Object { Members::open(self.raw) } else { None }
    }

    /// The elements of an array.
    pub fn elements(&self) -> Option<Elements<'a>> {
        (self.kind == Kind::Array).then_some(Elements { bytes: self.raw, at: 1, first: true })
    }

    pub fn is_null(&self) -> bool {
        self.kind == Kind::Scalar && self.raw == b"null"
    }

    /// A string unescaped; anything else as it is written. Bytes that are not UTF-8 become U+FFFD.
    pub fn to_text(self) -> Cow<'a, str> {
        match self.text() {
            Some(text) => text.to_str(),
            None => lossy(self.raw),
        }
    }

    /// As JSON that every strict parser takes: as it is written when that is such, else (a number out of range, a lone
    /// surrogate, bytes that are not UTF-8, nesting deeper than 128, letters that are nothing) its text as a string.
    pub fn to_json(self) -> Cow<'a, str> {
        if let Ok(text) = std::str::from_utf8(self.raw)
            && serde_json::from_str::<super::strict::Strict>(text).is_ok()
        {
            return Cow::Borrowed(text);
        }
        Cow::Owned(serde_json::Value::String(self.to_text().into_owned()).to_string())
    }
}

impl<'a> Text<'a> {
    /// The bytes that are meant.
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }

    /// The text that is meant; bytes that are not UTF-8 and lone surrogates become U+FFFD.
    pub fn to_str(self) -> Cow<'a, str> {
        if !self.escaped {
            return lossy(self.raw);
        }
        match String::from_utf8(unescape(self.raw)) {
            Ok(text) => Cow::Owned(text),
            Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        }
    }

    /// Whether the text that is meant begins with `prefix` (which is ASCII).
    #[inline]
    pub fn starts_with(&self, prefix: &[u8]) -> bool {
        if !self.escaped {
            return self.raw.starts_with(prefix);
        }
        // An escape takes six bytes at the most, so this much decides.
        let head = &self.raw[..self.raw.len().min(prefix.len() * 6)];
        unescape(head).starts_with(prefix)
    }
}

/// `String::from_utf8_lossy`, which takes byte after byte, only where it is needed.
#[inline]
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

#[inline]
fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The value at `at`, and where what follows it begins.
#[inline(always)]
fn value(bytes: &[u8], at: usize) -> Result<(Value<'_>, usize), Broken> {
    match bytes.get(at).ok_or(Broken)? {
        b'"' => {
            let (end, escaped) = string_end(bytes, at + 1)?;
            Ok((Value { raw: &bytes[at..=end], kind: Kind::String, escaped }, end + 1))
        }
        open @ (b'{' | b'[') => {
            let end = nested_end(bytes, at)?;
            let kind = if *open == b'{' { Kind::Object } else { Kind::Array };
            Ok((Value { raw: &bytes[at..end], kind, escaped: false }, end))
        }
        _ => {
            let rest = &bytes[at..];
            let len = rest
                .iter()
                .position(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.'))
                .unwrap_or(rest.len());
            if len == 0 {
                return Err(Broken);
            }
            Ok((Value { raw: &rest[..len], kind: Kind::Scalar, escaped: false }, at + len))
        }
    }
}

pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
pub(super) const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Bytes of `word` that are zero get their highest bit set (and perhaps some above the lowest such byte).
#[inline]
pub(super) fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// The closing quote of the string whose content begins at `at`, and whether a backslash is in it. Keys and most values
/// are short, so eight bytes at a time beat a call to a vectorized search; a long one is handed over to it.
#[inline(always)]
fn string_end(bytes: &[u8], mut at: usize) -> Result<(usize, bool), Broken> {
    let mut escaped = false;
    let mut words = 0;
    loop {
        if words < 8
            && let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>())
        {
            let word = u64::from_le_bytes(*chunk);
            let hits = zero_bytes(word ^ (ONES * b'"' as u64)) | zero_bytes(word ^ (ONES * b'\\' as u64));
            if hits == 0 {
                at += 8;
                words += 1;
                continue;
            }
            at += hits.trailing_zeros() as usize / 8;
        } else {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..).ok_or(Broken)?).ok_or(Broken)?;
        }
        if bytes[at] == b'"' {
            return Ok((at, escaped));
        }
        escaped = true;
        at += 2;
    }
}

/// Just past the bracket that closes the one at `at`. Which kind of bracket closes which is not checked here.
fn nested_end(bytes: &[u8], mut at: usize) -> Result<usize, Broken> {
    let mut depth = 0usize;
    loop {
        match bytes.get(at).ok_or(Broken)? {
            b'"' => at = string_end(bytes, at + 1)?.0,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The members of a text that is one JSON object and takes any strict parser, as they are written; `None` for any other.
pub fn inside_object(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let members = text.strip_prefix('{')?.strip_suffix('}')?;
    serde_json::from_str::<super::strict::Strict>(text).ok()?;
    Some(members.trim_ascii())
}

/// Replaces escapes by what they mean. A lone surrogate becomes U+FFFD; an escape that JSON does not have stays as it is.
pub fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let plain = match rest.get(1) {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(same @ (b'"' | b'\\' | b'/')) => *same,
            Some(b'u') => {
                let (character, used) = unicode_escape(rest);
                match character {
                    Some(character) => {
                        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    None => out.extend_from_slice(&rest[..used]),
                }
                rest = &rest[used..];
                continue;
            }
            _ => {
                out.push(b'\\');
                rest = &rest[1..];
                continue;
            }
        };
        out.push(plain);
        rest = &rest[2..];
    }
    out.extend_from_slice(rest);
    out
}

/// The character of `\uXXXX` (or of a pair of them) at the beginning of `rest`, and how many bytes it takes; `None` when
/// the digits are none.
fn unicode_escape(rest: &[u8]) -> (Option<char>, usize) {
    let Some(first) = hex4(rest.get(2..6)) else { return (None, 2) };
    if (0xd800..0xdc00).contains(&first)
        && rest.get(6..8) == Some(b"\\u")
        && let Some(second @ 0xdc00..0xe000) = hex4(rest.get(8..12))
    {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code), 12);
    }
    (Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)), 6)
}

fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}
