//! Splits text that is not plain ASCII into words: other scripts, terminal colours, escapes that are written out.

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::fields;

pub const ESC: u8 = 0x1b;
/// ESC and `[` in one character.
const CSI: char = '\u{9b}';
/// NFC would make it an ASCII letter.
const KELVIN: char = '\u{212a}';

/// What was found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Word,
    /// The word before, read in another way: it stands at the same place.
    Again,
    /// The first character of a run without spaces.
    First,
    /// A character that directly follows the one before.
    Next,
}

/// [`super::words::for_each`] for any text.
pub(super) fn for_each(text: &[u8], each: &mut impl FnMut(Kind, &[u8])) {
    let mut open = Open::default();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte.is_ascii_alphanumeric() {
            let rest = &text[at..];
            let len = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
            open.push_ascii(&rest[..len], each);
            at += len;
            continue;
        }
        let (seen, len) = see(&text[at..]);
        at += len;
        match seen {
            Seen::Nothing => open.end(each),
            Seen::Colour => {
                open.end(each);
                at += control(&text[at..]).0;
            }
            Seen::Escape(letters) => {
                open.end(each);
                // Behind it a word may begin, or go on.
                let goes_on =
                    matches!(see(&text[at..]), (Seen::Char(next), _) if class(next) == Class::Letter);
                if goes_on || letters.len() > 1 {
                    open.text.extend(letters.iter().map(|&letter| char::from(letter)));
                    open.escaped = if goes_on { letters.len() } else { 0 };
                }
            }
            Seen::Char('\u{1b}') => {
                let (len, joins) = sequence(&text[at..]);
                at += len;
                if !joins {
                    open.end(each);
                }
            }
            Seen::Char(CSI) => {
                at += control(&text[at..]).0;
                open.end(each);
            }
            Seen::Char(c) => open.push(c, each),
        }
    }
    open.end(each);
}

/// Whether nothing but a separator stands here, though its byte may begin something.
pub(super) fn is_plain(text: &[u8]) -> bool {
    match text.first() {
        Some(b'#') => !matches!(text, [_, b'0', b'0'..=b'3', b'0'..=b'7', ..]),
        Some(b'^') => !text.starts_with(b"^[["),
        _ => false,
    }
}

enum Seen<'t> {
    Char(char),
    /// A sign and these letters: a line's end, a tab, ... if it was written by a program that quotes.
    Escape(&'t [u8]),
    /// ESC and `[`, written out.
    Colour,
    /// Bytes that are not UTF-8, or the end.
    Nothing,
}

/// What stands at the beginning of `text`, and its bytes (0 only at the end).
fn see(text: &[u8]) -> (Seen<'_>, usize) {
    match text {
        [] => (Seen::Nothing, 0),
        [b'\\', b'b' | b'f' | b'n' | b'r' | b't', ..] => (Seen::Escape(&text[1..2]), 2),
        [b'\\', b'x', b'1', b'b' | b'B', b'[', ..] | [b'\\', b'0', b'3', b'3', b'[', ..] => (Seen::Colour, 5),
        [b'\\', b'e', b'[', ..] | [b'^', b'[', b'[', ..] => (Seen::Colour, 3),
        [b'#', b'0', b'3', b'3', b'[', ..] => (Seen::Colour, 5),
        [b'\\', b'x', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
            (Seen::Escape(&text[1..4]), 4)
        }
        [b'#', b'0', b'0'..=b'3', b'0'..=b'7', ..] => (Seen::Escape(&text[1..4]), 4),
        [b'\\', b'u', ..] => match unicode_escape(text) {
            Some((c, len)) => (Seen::Char(c), len),
            None => (Seen::Char('\\'), 1),
        },
        [byte, ..] if byte.is_ascii() => (Seen::Char(char::from(*byte)), 1),
        _ => {
            let head = text[..text.len().min(4)].utf8_chunks().next();
            match head.and_then(|chunk| chunk.valid().chars().next()) {
                Some(c) => (Seen::Char(c), c.len_utf8()),
                None => (Seen::Nothing, 1),
            }
        }
    }
}

/// `\uXXXX`, or a pair of them.
fn unicode_escape(text: &[u8]) -> Option<(char, usize)> {
    [12, 6].into_iter().find_map(|len| {
        let escape = text.get(..len)?;
        let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
        if !is_hex(&escape[2..6]) || (len == 12 && !(escape[6..8] == *b"\\u" && is_hex(&escape[8..]))) {
            return None;
        }
        let meant = fields::unescape(escape);
        let mut chars = std::str::from_utf8(&meant).ok()?.chars();
        chars.next().filter(|_| chars.next().is_none()).map(|c| (c, len))
    })
}

/// What follows an ESC and belongs to it, in bytes, and whether the text goes on behind it as if nothing had been there.
fn sequence(text: &[u8]) -> (usize, bool) {
    match text {
        [b'[', rest @ ..] => {
            let (len, joins) = control(rest);
            (len + 1, joins)
        }
        // Character sets.
        [b'(' | b')', set, ..] if set.is_ascii_alphanumeric() => (2, true),
        // The numbers of titles and links; what they say is text.
        [b']', rest @ ..] => {
            (1 + rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b';')).count(), false)
        }
        _ => (0, false),
    }
}

/// The parameters of a control sequence and the letter that ends it. Colours, modes and erasing leave the text together;
/// moves of the cursor do not.
fn control(text: &[u8]) -> (usize, bool) {
    let parameters = text.iter().take_while(|byte| matches!(byte, 0x30..=0x3f)).count();
    match text.get(parameters) {
        Some(b'A'..=b'H' | b'J' | b'd' | b'f') => (parameters + 1, false),
        Some(b'\\') | None => (parameters, false),
        Some(0x40..=0x7e) => (parameters + 1, true),
        Some(_) => (parameters, false),
    }
}

/// The bytes that are seen: without the sequences that leave the text together.
pub(crate) fn without_colours(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(ESC, rest) {
        out.extend_from_slice(&rest[..at]);
        let (len, joins) = sequence(&rest[at + 1..]);
        if !joins {
            out.push(ESC);
        }
        rest = &rest[at + 1 + len..];
    }
    out.extend_from_slice(rest);
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Separator,
    Letter,
    /// Belongs to what is before it.
    Mark,
    /// Of a script that is written without spaces.
    Run,
    Symbol,
    /// Not seen; within a word of another script it says how letters join, behind an emoji how it looks.
    Invisible,
}

fn class(c: char) -> Class {
    if c.is_ascii() {
        return if c.is_ascii_alphanumeric() { Class::Letter } else { Class::Separator };
    }
    match c {
        '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => Class::Invisible,
        KELVIN => Class::Symbol,
        _ if is_combining_mark(c) => Class::Mark,
        _ if c.is_alphanumeric() => {
            if is_without_spaces(c) {
                Class::Run
            } else {
                Class::Letter
            }
        }
        _ if is_symbol(c) => Class::Symbol,
        _ => Class::Separator,
    }
}

pub(super) fn is_of_word(c: char) -> bool {
    matches!(class(c), Class::Letter | Class::Mark | Class::Run)
}

/// Thai, Lao, Myanmar, Khmer, Tai; Chinese, Japanese, Korean (whose words have their particles at them).
fn is_without_spaces(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{1950}'..='\u{19df}'
        | '\u{1a20}'..='\u{1aaf}' | '\u{1100}'..='\u{11ff}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}'
        | '\u{303b}' | '\u{3040}'..='\u{30ff}' | '\u{3100}'..='\u{318f}' | '\u{31a0}'..='\u{31bf}'
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{a960}'..='\u{a97f}'
        | '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aadf}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ffdc}' | '\u{1b000}'..='\u{1b16f}' | '\u{20000}'..='\u{3ffff}')
}

/// Emoji, arrows, check marks, dingbats; not what tables and progress bars are drawn with.
fn is_symbol(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{2328}'
        | '\u{232b}'..='\u{23ff}' | '\u{25a0}'..='\u{27bf}' | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}'
        | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

/// A word or a run in the making.
#[derive(Default)]
struct Open {
    text: String,
    /// It is a run.
    run: bool,
    /// So many of its first letters may be an escape's.
    escaped: usize,
    /// Reused.
    folded: String,
}

impl Open {
    fn push_ascii(&mut self, letters: &[u8], each: &mut impl FnMut(Kind, &[u8])) {
        if self.run {
            self.end(each);
            self.run = false;
        }
        self.text.extend(letters.iter().map(|&byte| char::from(byte)));
    }

    fn push(&mut self, c: char, each: &mut impl FnMut(Kind, &[u8])) {
        match class(c) {
            Class::Separator => self.end(each),
            Class::Letter | Class::Run => {
                let run = class(c) == Class::Run;
                if self.run != run {
                    self.end(each);
                }
                self.run = run;
                self.text.push(c);
            }
            Class::Mark => {
                if self.text.is_empty() && is_without_spaces(c) {
                    self.run = true;
                }
                if !self.text.is_empty() || self.run {
                    self.text.push(c);
                }
            }
            Class::Symbol => {
                self.end(each);
                each(Kind::Word, c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Class::Invisible => {
                // Were it left out of ASCII, a word would be there whose letters are not together.
                if self.text.chars().next_back().is_none_or(|last| last.is_ascii()) {
                    self.end(each);
                }
            }
        }
    }

    fn end(&mut self, each: &mut impl FnMut(Kind, &[u8])) {
        if self.text.is_empty() {
            return;
        }
        if self.run {
            fold(&self.text, &mut self.folded);
            for (place, c) in self.folded.chars().enumerate() {
                let kind = if place == 0 { Kind::First } else { Kind::Next };
                each(kind, c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        } else {
            if self.text.is_ascii() {
                self.text.make_ascii_lowercase();
                std::mem::swap(&mut self.text, &mut self.folded);
            } else {
                fold(&self.text, &mut self.folded);
            }
            each(Kind::Word, self.folded.as_bytes());
            if self.escaped > 0
                && let Some(rest) = self.folded.get(self.escaped..)
            {
                each(Kind::Again, rest.as_bytes());
            }
        }
        self.text.clear();
        self.run = false;
        self.escaped = 0;
    }
}

/// Lower case and NFC. Only ASCII letters become ASCII letters.
pub(super) fn fold(text: &str, out: &mut String) {
    out.clear();
    for (place, part) in text.split(KELVIN).enumerate() {
        if place > 0 {
            out.push(KELVIN);
        }
        part.nfc().for_each(|c| push_lower(out, c));
    }
    if is_nfc_quick(out.chars()) != IsNormalized::Yes {
        // Only what was in lower case already can become otherwise composed.
        let again = out.split(KELVIN).map(|part| part.nfc().collect::<String>()).collect::<Vec<_>>();
        *out = again.join(KELVIN.encode_utf8(&mut [0; 4]));
    }
}

fn push_lower(out: &mut String, c: char) {
    match c {
        // The same letter, at the end of a word.
        'ς' => out.push('σ'),
        c if c.is_ascii() => out.push(c.to_ascii_lowercase()),
        c if c.to_lowercase().any(|lower| lower.is_ascii()) => out.push(c),
        c => out.extend(c.to_lowercase()),
    }
}
