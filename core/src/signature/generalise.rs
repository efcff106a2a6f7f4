//! The generalised message: what stays of a message when all that changes from record to record is a mark.
//! Promises: generalising it again changes nothing; each byte is looked at a bounded number of times. What the rules of the version
//! before did not know is asked of the version.

use std::borrow::Cow;

use super::behind::without_fields;
use super::marks::Mark;
use super::names::is_ipv6;
use super::out::Out;
use super::times::named_date;
use super::words::{REASONS, WRONG};
use super::{Version, counted};
use crate::level::without_ansi;
use crate::limits::SIGNATURE_READ_BYTES_MAX;

/// What ends a word: blanks, control characters, quotation marks, brackets and these.
pub(super) const fn ends_word(byte: u8) -> bool {
    matches!(
        byte,
        0..=b' '
            | 0x7f
            | b'"'
            | b'\''
            | b'`'
            | b','
            | b';'
            | b'('
            | b')'
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b'<'
            | b'>'
            | b'|'
            | b'='
    )
}

pub(super) const DIGIT: u8 = 1;
pub(super) const DOT: u8 = 1 << 1;
pub(super) const COLON: u8 = 1 << 2;
/// One that leans to either side.
pub(super) const SLASH: u8 = 1 << 3;
pub(super) const AT: u8 = 1 << 4;
const END: u8 = 1 << 5;
/// The first byte of a quotation mark that is not ASCII.
const WIDE: u8 = 1 << 6;

/// What each byte is for the scan of a word.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'.' => DOT,
            b':' => COLON,
            b'/' | b'\\' => SLASH,
            b'@' => AT,
            0xc2 | 0xe2 => WIDE,
            other if ends_word(other) => END,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// The message without what changes from record to record, at most `SIGNATURE_MESSAGE_BYTES_MAX` bytes.
pub fn generalise(message: &str, version: Version) -> String {
    Reader::read(message, version).0
}

/// The message as it is read.
pub(super) struct Reader<'a> {
    pub text: &'a [u8],
    pub out: Out,
    /// The two last words, the later one first; empty ones for marks.
    pub before: [&'a [u8]; 2],
    /// No closing mark of this kind (`"`, `` ` ``, `'`) lies before here.
    unclosed: [usize; 3],
    /// No closing mark of this kind (`”`, `’`, `»`) lies before here.
    pub(super) unclosed_wide: [usize; 3],
    /// The text begins with klog's header.
    pub(super) is_klog: bool,
    /// Nothing but times, numbers and names of levels was read yet.
    pub(super) in_header: bool,
    /// What is read now is the value of a `key=`.
    pub(super) in_value: bool,
    /// A word behind a comma is one more of the things that are named.
    listing: bool,
    /// Words that may still belong to what a number counts.
    pub(super) counting: u8,
    /// Where the quoted message ends; 0: nowhere.
    message_end: usize,
    /// The rules are not those of the first version.
    pub(super) newer: bool,
    /// Bytes that were looked at.
    pub steps: usize,
}

impl<'a> Reader<'a> {
    /// The generalised message and how many bytes were looked at for it.
    pub fn read(message: &str, version: Version) -> (String, usize) {
        let end = message.floor_char_boundary(SIGNATURE_READ_BYTES_MAX);
        let plain: Cow<'_, [u8]> = without_ansi(&message.as_bytes()[..end], SIGNATURE_READ_BYTES_MAX);
        let newer = version > Version::V1;
        let plain = if newer { counted::without_repeats(plain) } else { plain };
        let mut reader = Reader {
            text: &plain,
            out: Out::new(version),
            before: [b""; 2],
            unclosed: [0; 3],
            unclosed_wide: [0; 3],
            is_klog: false,
            in_header: true,
            in_value: false,
            listing: false,
            counting: 0,
            message_end: 0,
            newer,
            steps: 0,
        };
        reader.run();
        let text = reader.out.finish();
        (if reader.newer { without_fields(text) } else { text }, reader.steps)
    }

    fn run(&mut self) {
        let text = self.text;
        let mut at = self.header();
        while at < text.len() && !self.out.is_full() {
            self.steps += 1;
            self.out.begin();
            self.in_value = self.is_value(at);
            at = match text[at] {
                0..=b' ' | 0x7f => {
                    self.out.blank();
                    at + 1
                }
                b'"' if at == self.message_end => self.delimiter(at),
                b'"' if self.quotes_the_message() => {
                    self.message_end = self.closing(at, b'"').unwrap_or(0);
                    self.delimiter(at)
                }
                quote @ (b'"' | b'\'' | b'`') => match self.closing(at, quote) {
                    Some(end) => self.mark(Mark::Quoted, end + 1),
                    None => self.delimiter(at),
                },
                b'<' => match Mark::at(&text[at..text.len().min(at + 16)]) {
                    Some(mark) => self.mark(mark, at + mark.as_bytes().len()),
                    None => self.delimiter(at),
                },
                b'[' => match self.bracketed_address(at) {
                    Some(end) => self.mark(Mark::Ip, end),
                    None if self.newer => self.bracket(at),
                    None => self.delimiter(at),
                },
                b'(' if self.newer => self.parenthesis(at),
                b'{' | b'}' | b']' if self.newer => self.brace(at),
                byte if ends_word(byte) => self.delimiter(at),
                _ => self.chunk(at),
            };
        }
    }

    pub fn mark(&mut self, mark: Mark, next: usize) -> usize {
        let mark = match mark {
            _ if !self.newer => mark,
            _ if self.in_value => Mark::Value,
            // One machine has an address or a name.
            Mark::Ip => Mark::Host,
            _ => mark,
        };
        self.in_header &= matches!(mark, Mark::Time | Mark::Number | Mark::Quoted);
        self.counting = 0;
        self.out.mark(mark);
        self.remember(b"");
        next
    }

    pub fn remember(&mut self, word: &'a [u8]) {
        self.before = [word, self.before[0]];
    }

    pub(super) fn delimiter(&mut self, at: usize) -> usize {
        self.counting = 0;
        if self.names_a_thing() {
            return self.mark(Mark::Quoted, at + 1);
        }
        self.out.text(&self.text[at..=at]);
        at + 1
    }

    /// Where the quoted text that begins at `at` ends. An apostrophe within a word opens and closes nothing.
    fn closing(&mut self, at: usize, quote: u8) -> Option<usize> {
        let text = self.text;
        let in_word = |byte: Option<&u8>, mark: u8| {
            byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == mark)
        };
        let single = quote == b'\'';
        let escaped = at > 0 && text[at - 1] == b'\\';
        if single && at > 0 && in_word(text.get(at - 1), b'>') {
            return None;
        }
        let slot = match quote {
            b'"' => 0,
            b'`' => 1,
            _ => 2,
        };
        // An escaped one closes where no other does.
        let mut escaped_end = None;
        let mut from = self.unclosed[slot].max(at + 1);
        while from < text.len() {
            let Some(found) = memchr::memchr(quote, &text[from..]) else {
                self.steps += text.len() - from;
                break;
            };
            self.steps += found + 1;
            let end = from + found;
            if quote == b'"' && !escaped && text[end - 1] == b'\\' {
                escaped_end = escaped_end.or(Some(end));
            } else if !(single && in_word(text.get(end + 1), b'<')) {
                return Some(end);
            }
            from = end + 1;
        }
        if escaped_end.is_none() {
            self.unclosed[slot] = text.len();
        }
        escaped_end
    }

    /// `[::1]:8080`.
    fn bracketed_address(&mut self, at: usize) -> Option<usize> {
        let inside = &self.text[at + 1..self.text.len().min(at + 66)];
        let close = memchr::memchr(b']', inside)?;
        if !is_ipv6(&inside[..close]) {
            return None;
        }
        let end = at + close + 2;
        let port = self.text.get(end).filter(|byte| **byte == b':').map_or(0, |_| {
            self.text.iter().skip(end + 1).take(6).take_while(|byte| byte.is_ascii_digit()).count()
        });
        Some(if matches!(port, 1..=5) { end + 1 + port } else { end })
    }

    /// A word, up to what ends it.
    fn chunk(&mut self, start: usize) -> usize {
        let text = self.text;
        let (mut end, mut classes) = (start, 0u8);
        if text[start] >= 0x80
            && self.newer
            && let Some(next) = self.wide_quote(start)
        {
            return next;
        }
        while let Some(byte) = text.get(end) {
            let class = CLASSES[usize::from(*byte)];
            if class == END || (class == WIDE && end > start && self.newer && self.wide_at(end).is_some()) {
                break;
            }
            classes |= class;
            end += 1;
        }
        self.steps += end - start;
        self.listing &= self.out.follows(b',');
        if self.listing || self.names_a_thing() {
            self.listing |= self.newer && self.before[0].ends_with(b"s");
            let kept = text[start..end].iter().rposition(|byte| !matches!(byte, b'.' | b':' | b'!' | b'?'));
            if let Some(last) = kept {
                self.mark(Mark::Quoted, end);
                self.out.text(&text[start + last + 1..end]);
                return end;
            }
        }
        if self.newer
            && let Some(next) = self.command(start)
        {
            return next;
        }
        if self.in_header {
            // `Nov<n>` was one word with its number (`Nov0`), which is none.
            let is_whole = classes & !WIDE != 0 || !text[end..].starts_with(b"<n>");
            self.in_header = is_whole && Self::is_header_word(&text[start..end]);
        }
        if self.in_value {
            return self.value(start, end, classes);
        }
        if self.newer
            && let Some(next) = self.slot(start, end, classes)
        {
            return next;
        }
        if classes & !WIDE == 0 {
            return self.letters(start, end);
        }
        self.word(start, end, classes)
    }

    /// The next word is the thing that a message names without quotation marks: `unexpected token: UTC`, `unknown user: jo`.
    #[inline]
    pub(super) fn names_a_thing(&self) -> bool {
        if !self.out.follows(b':') {
            return false;
        }
        let [noun, adjective] = self.before;
        WRONG.has(adjective)
            && !noun.is_empty()
            && noun.iter().all(u8::is_ascii_alphabetic)
            && !REASONS.has(noun)
    }

    /// A mark follows the word that ends here: what is now a mark was a part of the word.
    pub fn touches(&self, end: usize) -> bool {
        self.text.get(end) == Some(&b'<')
    }

    fn letters(&mut self, start: usize, end: usize) -> usize {
        let word = &self.text[start..end];
        if self.touches(end) {
            self.out.text(word);
            self.remember(word);
            return end;
        }
        if word.len() == 3
            && let Some(date) = named_date(&self.text[start..self.text.len().min(start + 24)])
        {
            return self.mark(Mark::Time, start + date);
        }
        if matches!(word, b"true" | b"false" | b"True" | b"False") && self.out.last_byte() == Some(b'=') {
            return self.mark(Mark::Bool, end);
        }
        if self.newer {
            return self.letters_counted(start, end);
        }
        // One thing or several of them: `1 target failed`, `4 targets failed`.
        let plural = word.len() > 3
            && word.ends_with(b"s")
            && word.len() < 24
            && !matches!(word[word.len() - 2], b's' | b'u' | b'i')
            && self.out.counts();
        self.out.text(if plural { &word[..word.len() - 1] } else { word });
        self.remember(word);
        end
    }

    /// Letters alone, as the second version reads them.
    fn letters_counted(&mut self, start: usize, end: usize) -> usize {
        let word = &self.text[start..end];
        if word == b"localhost" && self.out.last_byte() != Some(b'>') {
            return self.mark(Mark::Host, end);
        }
        if counted::is_class(word, self.before[0])
            && matches!(self.text[end..], [b' ', b'"' | b'\'' | b'`', ..])
        {
            return end;
        }
        let counts = self.out.counts();
        if counts && counted::is_more(word) {
            self.out.drop_count();
        }
        if counts || self.counting > 0 {
            match counted::verb(word).filter(|_| !counts) {
                Some(verb) => {
                    self.counting = 0;
                    self.out.text(verb);
                }
                None => {
                    self.counting = if counts { 2 } else { self.counting - 1 };
                    let (stem, end) = counted::singular(word);
                    self.out.text(stem);
                    self.out.more(end);
                }
            }
        } else {
            self.out.text(word);
        }
        self.remember(word);
        end
    }
}
