//! Decides where a text is cut into its shape (the text that stays the same from line to line) and the values between. It need not be right
//! about JSON or words: shape and values together always give the same text back.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::values::TimeForm;
use super::{SHAPE_END, SLOT, SLOTS_MAX};

/// The cuts of one text. The value is used again for the next text, to keep its memory.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// The constant text, with [`SLOT`] where a value was.
    pub shape: Vec<u8>,
    pub slots: Vec<Slot>,
    stack: Vec<Level>,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub range: Range<usize>,
    /// What the value is or, in JSON, its path. Values of one kind share a column, unless their shape has columns of its own.
    pub kind: u64,
}

/// An object or array that is not closed yet.
#[derive(Clone, Copy, Debug)]
struct Level {
    path: u64,
    is_array: bool,
}

/// The kind of texts that are not cut at all.
pub(super) const WHOLE: u64 = 0;
const TIME: u64 = 1;
const NUMBER: u64 = 2;
const HEX: u64 = 3;
pub(super) const OTHER: u64 = 4;
pub(super) const WORD: u64 = 5;
const ROOT: u64 = 7;

/// A word is common if it is counted at least once for so many values, and at least [`COMMON_MIN`] times.
const COMMON_SHARE: usize = 32;
const COMMON_MIN: usize = 6;

impl Cuts {
    fn clear(&mut self) {
        self.shape.clear();
        self.slots.clear();
        self.stack.clear();
    }

    /// The whole text is one value.
    pub fn whole(&mut self, text: &[u8]) {
        self.clear();
        self.slot(0..text.len(), WHOLE);
    }

    fn slot(&mut self, range: Range<usize>, kind: u64) {
        self.shape.push(SLOT);
        self.slots.push(Slot { range, kind });
    }

    /// `false`: this would not come back, or is too much.
    fn literal(&mut self, text: &[u8]) -> bool {
        self.shape.extend_from_slice(text);
        memchr::memchr2(SLOT, SHAPE_END, text).is_none() && self.slots.len() <= SLOTS_MAX
    }

    /// Cuts an object of JSON at its values, those of one path to one column. `false`: it is not one.
    pub fn json(&mut self, text: &[u8]) -> bool {
        self.clear();
        if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return false;
        }
        let (mut at, mut literal, mut path, mut wants_key) = (0, 0, ROOT, false);
        while let Some(&byte) = text.get(at) {
            match byte {
                b'{' | b'[' => {
                    self.stack.push(Level { path, is_array: byte == b'[' });
                    wants_key = byte == b'{';
                    at += 1;
                }
                b'}' | b']' => {
                    let Some(level) = self.stack.pop() else { return false };
                    path = level.path;
                    wants_key = false;
                    at += 1;
                }
                b',' => {
                    let Some(level) = self.stack.last() else { return false };
                    wants_key = !level.is_array;
                    path = level.path;
                    at += 1;
                }
                b'"' => {
                    let Some(close) = string_end(text, at + 1) else { return false };
                    if wants_key {
                        let parent = self.stack.last().map_or(ROOT, |level| level.path);
                        path = xxh3_64_with_seed(&text[at + 1..close], parent);
                        wants_key = false;
                    } else {
                        if !self.literal(&text[literal..=at]) {
                            return false;
                        }
                        self.slot(at + 1..close, path.wrapping_mul(2) | 1 << 63);
                        literal = close;
                    }
                    at = close + 1;
                }
                b':' | b' ' | b'\t' | b'\r' | b'\n' => at += 1,
                _ => {
                    let len = text[at..].iter().take_while(|&&byte| !is_mark(byte)).count();
                    if len == 0 || wants_key || !self.literal(&text[literal..at]) {
                        return false;
                    }
                    self.slot(at..at + len, path.wrapping_mul(2) | 1 << 63 | 1);
                    at += len;
                    literal = at;
                }
            }
        }
        self.literal(&text[literal..]) && self.stack.is_empty()
    }

    /// Cuts at words that have a digit, and at times. `words`: at all words. `false`: it cannot be cut.
    pub fn text(&mut self, text: &[u8], words: bool) -> bool {
        self.cut(text, |_| words)
    }

    /// Cuts at what stands between blanks and is not [common](Common), and at times.
    pub fn fields(&mut self, text: &[u8], common: &Common) -> bool {
        self.clear();
        let (mut at, mut literal) = (0, 0);
        while at < text.len() {
            if text[at].is_ascii_whitespace() {
                at += 1;
                continue;
            }
            let time = if text[at].is_ascii_digit() { TimeForm::of(&text[at..]) } else { None };
            let time = time.map(|(form, zone)| at + form.chars() + zone_chars(zone));
            let (end, kind) = match time.filter(|&end| text.get(end).is_none_or(u8::is_ascii_whitespace)) {
                Some(end) => (end, TIME),
                None => field(text, at),
            };
            if kind == TIME || !common.has(&text[at..end]) {
                if !self.literal(&text[literal..at]) {
                    return false;
                }
                self.slot(at..end, kind);
                literal = end;
            }
            at = end;
        }
        self.literal(&text[literal..])
    }

    /// Cuts at words that have a digit, at times, and at the other words that are not [common](Common).
    pub fn template(&mut self, text: &[u8], common: &Common) -> bool {
        self.cut(text, |word| !common.has(word))
    }

    fn cut(&mut self, text: &[u8], is_value: impl Fn(&[u8]) -> bool) -> bool {
        self.clear();
        let (mut at, mut literal) = (0, 0);
        while at < text.len() {
            if !is_word(text[at]) {
                at += 1;
                continue;
            }
            let time = if text[at].is_ascii_digit() { TimeForm::of(&text[at..]) } else { None };
            let (end, kind) = if let Some((form, zone)) = time {
                // A zone belongs to it where it ends as a word does.
                let zone = zone_chars(zone);
                let end = at + form.chars() + zone;
                if text.get(end).is_some_and(|&next| is_word(next)) { word(text, at) } else { (end, TIME) }
            } else {
                word(text, at)
            };
            if kind != WORD || is_value(&text[at..end]) {
                if !self.literal(&text[literal..at]) {
                    return false;
                }
                self.slot(at..end, kind);
                literal = end;
            }
            at = end.max(at + 1);
        }
        self.literal(&text[literal..])
    }
}

/// Counts the words, or the fields, of a column's values. Frequent ones belong to the text that a program writes around its values.
#[derive(Debug, Default)]
pub(super) struct Common {
    counts: HashMap<u64, u32, RandomState>,
    count_min: u32,
}

impl Common {
    /// Words without a digit.
    pub fn words(values: &[&[u8]]) -> Common {
        let mut common = Common::least(values.len());
        for value in values {
            let mut at = 0;
            while at < value.len() {
                if !is_word(value[at]) {
                    at += 1;
                    continue;
                }
                let (end, kind) = word(value, at);
                if kind == WORD {
                    common.add(&value[at..end]);
                }
                at = end.max(at + 1);
            }
        }
        common
    }

    /// What stands between blanks.
    pub fn fields(values: &[&[u8]]) -> Common {
        let mut common = Common::least(values.len());
        values
            .iter()
            .flat_map(|value| value.split(u8::is_ascii_whitespace))
            .for_each(|field| common.add(field));
        common
    }

    fn least(values: usize) -> Common {
        let count_min = (values / COMMON_SHARE).max(COMMON_MIN) as u32;
        Common { counts: HashMap::default(), count_min }
    }

    fn add(&mut self, text: &[u8]) {
        *self.counts.entry(xxh3_64_with_seed(text, 0)).or_default() += 1;
    }

    fn has(&self, text: &[u8]) -> bool {
        self.counts.get(&xxh3_64_with_seed(text, 0)).is_some_and(|&count| count >= self.count_min)
    }
}

impl Cuts {
    /// Cuts at digits, wherever they stand.
    pub fn digits(&mut self, text: &[u8]) -> bool {
        self.clear();
        let mut at = 0;
        for run in text.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
            let start = at;
            at += run.len();
            if run[0].is_ascii_digit() {
                self.slot(start..at, NUMBER);
            } else if !self.literal(run) {
                return false;
            }
        }
        self.slots.len() <= SLOTS_MAX
    }
}

fn is_mark(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b',' | b':' | b'{' | b'}' | b'[' | b']')
}

/// Where the quote is that closes a string.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Letters and digits: a word begins and ends with one, so that no word of a search lies across a cut.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Where the word ends that begins here, and its kind.
fn word(text: &[u8], at: usize) -> (usize, u64) {
    let inner = |byte: &u8| is_word(*byte) || matches!(byte, b'_' | b'-' | b'.');
    let len = text[at..].iter().take_while(|byte| inner(byte)).count();
    let trimmed = text[at..at + len].iter().rposition(|&byte| is_word(byte)).map_or(0, |last| last + 1);
    let found = &text[at..at + trimmed];
    let digits = found.iter().filter(|byte| byte.is_ascii_digit()).count();
    let kind = if digits == 0 {
        WORD
    } else if digits == found.len() {
        NUMBER
    } else if found.len() >= 8 && found.iter().all(u8::is_ascii_hexdigit) {
        HEX
    } else {
        OTHER
    };
    (at + trimmed, kind)
}

/// Where the field ends that begins here, and its kind.
fn field(text: &[u8], at: usize) -> (usize, u64) {
    let len = text[at..].iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
    let found = &text[at..at + len];
    let kind = if found.iter().all(u8::is_ascii_digit) { NUMBER } else { OTHER };
    (at + len, kind)
}

/// `Z`, `+01:00`, `-0330`; 0: none.
fn zone_chars(rest: &[u8]) -> usize {
    match rest {
        [b'Z' | b'z', ..] => 1,
        [b'+' | b'-', a, b, b':', c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) => 6,
        [b'+' | b'-', a, b, c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) => 5,
        _ => 0,
    }
}
