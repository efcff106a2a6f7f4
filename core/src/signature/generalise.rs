//! The generalised message: what stays of a message when all that changes from record to record is a mark.
//! Promises: generalising it again changes nothing; each byte is looked at a bounded number of times.

use std::borrow::Cow;

use super::marks::Mark;
use super::names::is_ipv6;
use super::out::Out;
use super::times::{named_date, time};
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
            other if ends_word(other) => END,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// The message without what changes from record to record, at most `SIGNATURE_MESSAGE_BYTES_MAX` bytes.
pub fn generalise(message: &str) -> String {
    Reader::read(message).0
}

/// The message as it is read.
pub(super) struct Reader<'a> {
    pub text: &'a [u8],
    pub out: Out,
    /// The two last words, the later one first; empty ones for marks.
    pub before: [&'a [u8]; 2],
    /// No closing mark of this kind (`"`, `` ` ``, `'`) lies before here.
    unclosed: [usize; 3],
    /// The text begins with klog's header.
    is_klog: bool,
    /// Where the quoted message ends; 0: nowhere.
    message_end: usize,
    /// Bytes that were looked at.
    pub steps: usize,
}

impl<'a> Reader<'a> {
    /// The generalised message and how many bytes were looked at for it.
    pub fn read(message: &str) -> (String, usize) {
        let end = message.floor_char_boundary(SIGNATURE_READ_BYTES_MAX);
        let plain: Cow<'_, [u8]> = without_ansi(&message.as_bytes()[..end], SIGNATURE_READ_BYTES_MAX);
        let mut reader = Reader {
            text: &plain,
            out: Out::new(),
            before: [b""; 2],
            unclosed: [0; 3],
            is_klog: false,
            message_end: 0,
            steps: 0,
        };
        reader.run();
        (reader.out.finish(), reader.steps)
    }

    fn run(&mut self) {
        let text = self.text;
        let mut at = self.klog();
        while at < text.len() && !self.out.is_full() {
            self.steps += 1;
            self.out.begin();
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
                    None => self.delimiter(at),
                },
                byte if ends_word(byte) => self.delimiter(at),
                _ => self.chunk(at),
            };
        }
    }

    pub fn mark(&mut self, mark: Mark, next: usize) -> usize {
        self.out.mark(mark);
        self.remember(b"");
        next
    }

    pub fn remember(&mut self, word: &'a [u8]) {
        self.before = [word, self.before[0]];
    }

    fn delimiter(&mut self, at: usize) -> usize {
        if self.names_a_thing() {
            return self.mark(Mark::Quoted, at + 1);
        }
        self.out.text(&self.text[at..=at]);
        at + 1
    }

    /// What follows is the message itself in quotation marks, and no value in it: `msg="boom"` of logfmt, `file.go:12] "boom"` of klog.
    fn quotes_the_message(&self) -> bool {
        let is_key = ["msg", "message", "event"].iter().any(|key| self.before[0] == key.as_bytes());
        (is_key && self.out.last_byte() == Some(b'=')) || (self.is_klog && self.out.follows(b']'))
    }

    /// klog's header: a level's letter, month and day as four digits, then the time.
    fn klog(&mut self) -> usize {
        let text = self.text;
        if let [b'I' | b'W' | b'E' | b'F' | b'D', head @ ..] = text
            && head.len() > 6
            && head[..4].iter().all(u8::is_ascii_digit)
            && head[4] == b' '
            && time(&head[5..]).is_some()
        {
            self.is_klog = true;
            self.out.text(&text[..1]);
            return self.mark(Mark::Time, 5);
        }
        self.is_klog =
            matches!(text, [b'I' | b'W' | b'E' | b'F' | b'D', rest @ ..] if rest.starts_with(b"<time> "));
        0
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
        let (mut end, mut classes) = (start, 0);
        while let Some(byte) = text.get(end) {
            let class = CLASSES[usize::from(*byte)];
            if class == END {
                break;
            }
            classes |= class;
            end += 1;
        }
        self.steps += end - start;
        if self.names_a_thing() {
            let kept = text[start..end].iter().rposition(|byte| !matches!(byte, b'.' | b':' | b'!' | b'?'));
            if let Some(last) = kept {
                self.mark(Mark::Quoted, end);
                self.out.text(&text[start + last + 1..end]);
                return end;
            }
        }
        if classes == 0 {
            return self.letters(start, end);
        }
        self.word(start, end, classes)
    }

    /// The next word is the thing that a message names without quotation marks: `unexpected token: UTC`, `unknown user: jo`.
    fn names_a_thing(&self) -> bool {
        const WRONG: [&str; 12] = [
            "unexpected",
            "unknown",
            "invalid",
            "unrecognized",
            "unrecognised",
            "unsupported",
            "undefined",
            "undeclared",
            "unresolved",
            "duplicate",
            "missing",
            "illegal",
        ];
        const REASONS: [&str; 11] = [
            "error",
            "exception",
            "failure",
            "problem",
            "response",
            "request",
            "state",
            "status",
            "code",
            "result",
            "reason",
        ];
        let [noun, adjective] = self.before;
        let is_one_of =
            |word: &[u8], list: &[&str]| list.iter().any(|one| word.eq_ignore_ascii_case(one.as_bytes()));
        self.out.follows(b':')
            && is_one_of(adjective, &WRONG)
            && !noun.is_empty()
            && noun.iter().all(u8::is_ascii_alphabetic)
            && !is_one_of(noun, &REASONS)
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
}
