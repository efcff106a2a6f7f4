//! The generalised message as it grows: bounded, blanks as one, equal marks in a row as one.

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
}

impl Out {
    pub fn new() -> Out {
        Out { bytes: Vec::with_capacity(128), full: false, blank: false, token: 0, last: None }
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
        if !matches!(text, b"," | b"") {
            self.last = None;
        }
    }

    /// A mark in the place of what changes from record to record.
    pub fn mark(&mut self, mark: Mark) {
        if let Some((last, end)) = self.last
            && last == mark
        {
            self.bytes.truncate(end);
            self.blank = false;
            return;
        }
        // (A number at the end of a name, `amd64 12`, begins no list.)
        let glued = !self.blank
            && self.bytes.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
        self.put(mark.as_bytes());
        if self.full {
            return;
        }
        self.last = (!glued).then_some((mark, self.bytes.len()));
    }

    fn put(&mut self, text: &[u8]) {
        let opened = self.bytes.last().is_none_or(|byte| matches!(byte, b'(' | b'[' | b'{'));
        let closes = matches!(text, b")" | b"]" | b"}");
        let blank = self.blank && !opened && !closes;
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
