//! The generalised message as it grows: bounded, blanks as one, equal marks in a row as one.

use super::Version;
use super::marks::Mark;
use crate::limits::SIGNATURE_MESSAGE_BYTES_MAX;

pub struct Out {
    bytes: Vec<u8>,
    /// Nothing more fits.
    full: bool,
    /// Blanks stand before what comes next.
    blank: bool,
    /// Where the token that is being written begins.
    token: usize,
    /// The last mark and where it ends, while nothing but blanks and commas has followed it.
    last: Option<(Mark, usize)>,
    /// Where the last mark of the token that is being written ends.
    marked: Option<usize>,
    /// `and` and `or` join a list too.
    joins: bool,
    /// Brackets that are open: which, whether it quotes, and how it was before it.
    open: Vec<(u8, bool, Place)>,
    /// A bracket that quotes was closed, and nothing follows it.
    quoted: usize,
}

/// How the message was at a place.
#[derive(Clone, Copy)]
struct Place {
    len: usize,
    blank: bool,
    last: Option<(Mark, usize)>,
}

/// Where a bracket was opened.
#[derive(Clone, Copy)]
pub struct Opened(Place);

/// What stands within brackets.
pub struct Inside<'a> {
    pub text: &'a [u8],
    pub quotes: bool,
    pub place: Opened,
}

impl Out {
    pub fn new(version: Version) -> Out {
        Out {
            bytes: Vec::with_capacity(128),
            full: false,
            blank: false,
            token: 0,
            last: None,
            marked: None,
            joins: version > Version::V1,
            open: Vec::new(),
            quoted: 0,
        }
    }

    pub fn is_full(&self) -> bool {
        self.full
    }

    pub fn last_byte(&self) -> Option<u8> {
        if self.blank { Some(b' ') } else { self.bytes.last().copied() }
    }

    /// The next token begins: it is kept whole or not at all.
    pub fn begin(&mut self) {
        self.token = self.bytes.len();
        self.marked = None;
    }

    /// How much of the token that is being written stands behind its last mark.
    pub fn behind_mark(&self) -> Option<usize> {
        self.bytes.len().checked_sub(self.marked?)
    }

    /// A number and blanks stand before what comes next.
    pub fn counts(&self) -> bool {
        self.blank && self.last == Some((Mark::Number, self.bytes.len()))
    }

    /// This and blanks stand before what comes next.
    pub fn follows(&self, byte: u8) -> bool {
        self.blank && self.bytes.last() == Some(&byte)
    }

    pub fn blank(&mut self) {
        self.blank = true;
    }

    /// Text that is kept.
    pub fn text(&mut self, text: &[u8]) {
        self.put(text);
        let goes_on = matches!(text, b"," | b"") || (self.joins && matches!(text, b"and" | b"or"));
        if !goes_on {
            self.last = None;
        }
    }

    /// More of the text that was written last.
    pub fn more(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.put(text);
        }
    }

    /// Takes away the number that stands before what comes next.
    pub fn drop_count(&mut self) {
        if let Some((mark, end)) = self.last.take() {
            self.bytes.truncate(end - mark.as_bytes().len());
            if self.bytes.last() == Some(&b' ') {
                self.bytes.pop();
            }
            self.blank = true;
        }
    }

    /// What comes next, behind blanks, follows this text.
    pub fn follows_text(&self, text: &[u8]) -> bool {
        self.blank && self.bytes.ends_with(text)
    }

    /// A bracket opens. One that quotes has a value in it, and so has the next one that touches it.
    pub fn open(&mut self, bracket: u8, quotes: bool) {
        let quotes = quotes || (!self.blank && self.quoted > 0 && self.quoted == self.bytes.len());
        let place = Place { len: self.bytes.len(), blank: self.blank, last: self.last };
        self.open.push((bracket, quotes, place));
        self.text(&[bracket]);
    }

    /// A bracket is open.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// What stands since the bracket that this one closes; none when another or none is open.
    pub fn close(&mut self, bracket: u8) -> Option<Inside<'_>> {
        let (opened, quotes, place) = self.open.pop()?;
        if opened != bracket {
            self.open.clear();
            return None;
        }
        if self.full {
            return None;
        }
        let text = self.bytes.get(place.len..)?.trim_ascii_start().get(1..)?;
        Some(Inside { text, quotes, place: Opened(place) })
    }

    /// The bracket that was closed now quoted.
    pub fn has_quoted(&mut self) {
        self.quoted = self.bytes.len();
    }

    /// Takes away what stands since a place.
    pub fn back_to(&mut self, Opened(place): Opened) {
        self.bytes.truncate(place.len);
        (self.blank, self.last) = (place.blank, place.last);
    }

    /// A mark in the place of what changes from record to record.
    pub fn mark(&mut self, mark: Mark) {
        if let Some((last, end)) = self.last
            && last == mark
        {
            self.bytes.truncate(end);
            self.blank = false;
            self.marked = Some(end);
            return;
        }
        // (A number at the end of a name, `amd64 12`, begins no list.)
        let glued = !self.blank
            && self.bytes.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
        self.put(mark.as_bytes());
        if self.full {
            return;
        }
        self.marked = Some(self.bytes.len());
        self.last = (!glued).then_some((mark, self.bytes.len()));
    }

    fn put(&mut self, text: &[u8]) {
        let one = if let [one] = text { *one } else { 0 };
        // (A `,` and a `;` stand behind a blank where a list's last value was empty.)
        let joins = matches!(one, b')' | b']' | b'}') || (self.joins && matches!(one, b',' | b';'));
        let opened = self.bytes.last().is_none_or(|byte| matches!(byte, b'(' | b'[' | b'{'));
        let blank = self.blank && !opened && !joins;
        if self.full || self.bytes.len() + usize::from(blank) + text.len() > SIGNATURE_MESSAGE_BYTES_MAX {
            self.full = true;
            self.bytes.truncate(self.token);
            return;
        }
        if blank {
            self.bytes.push(b' ');
        }
        self.blank = false;
        self.bytes.extend_from_slice(text);
    }

    /// An opening quotation mark whose text was cut off would close another one.
    pub fn finish(mut self) -> String {
        while self.full && matches!(self.bytes.last(), Some(b'"' | b'\'' | b'`')) {
            self.bytes.pop();
        }
        match String::from_utf8(self.bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }
}
