//! The value of a `key=`, and keys and values or words within brackets: they say which one it was, whatever they look like.

use super::behind::is_kept;
use super::generalise::{COLON, Reader, SLASH, ends_word};
use super::marks::Mark;
use super::times::{named_date, time};

fn without_punctuation(word: &[u8]) -> usize {
    word.iter().rposition(|byte| !matches!(byte, b'.' | b':' | b'!' | b'?')).map_or(0, |last| last + 1)
}

impl<'a> Reader<'a> {
    /// `key=` stands right before here, and its value is not kept.
    pub(super) fn is_value(&self, at: usize) -> bool {
        self.newer
            && at >= 2
            && self.text[at - 1] == b'='
            && (self.text[at - 2].is_ascii_alphanumeric() || self.text[at - 2] == b'_')
            && !self.before[0].is_empty()
            && !is_kept(self.before[0])
    }

    /// The value between `start` and `end`, its unit, and what is listed behind it without blanks.
    pub(super) fn value(&mut self, start: usize, end: usize, classes: u8) -> usize {
        let text = self.text;
        let word = &text[start..end];
        let core = without_punctuation(word);
        if core == 0 {
            self.out.text(word);
            return end;
        }
        let mut next = start + core;
        self.steps += 2 * word.len();
        let head = &text[start..text.len().min(start + 48)];
        if classes & (COLON | SLASH) == COLON | SLASH
            && let Some(stop) = self.url_end(start, end)
        {
            next = stop;
        } else if let Some(length) = time(head).filter(|length| *length >= core) {
            next = start + length;
        } else if word.len() == 3
            && let Some(length) = named_date(head)
        {
            next = start + length;
        } else if matches!(self.before[0], b"COMMAND" | b"command" | b"cmd" | b"cmdline") {
            next = self.command_end(start).max(next);
        } else if core == word.len() {
            let is_number = word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
            next = match self.unit_behind(end).filter(|_| is_number) {
                Some((_, next)) => next,
                None => self.list_end(end),
            };
        }
        self.mark(Mark::Value, next);
        if next < end {
            self.out.text(&text[next..end]);
        }
        next.max(end)
    }

    /// `a,b,c` without blanks is one value; `a,b=c` is not.
    fn list_end(&mut self, end: usize) -> usize {
        let text = self.text;
        let mut next = end;
        while text.get(next) == Some(&b',') {
            let item = &text[next + 1..];
            let length = item.iter().position(|byte| ends_word(*byte)).unwrap_or(item.len());
            self.steps += length + 1;
            let core = without_punctuation(&item[..length]);
            if core == 0 || matches!(item.get(length), Some(b'=' | b'<')) {
                break;
            }
            next += 1 + core;
            if core < length {
                break;
            }
        }
        next
    }

    /// A URL that begins at `start` ends here.
    fn url_end(&mut self, start: usize, end: usize) -> Option<usize> {
        let word = &self.text[start..end];
        let scheme = word.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if scheme == 0 || !word[scheme..].starts_with(b"://") {
            return None;
        }
        Some(self.url_stop(start + scheme + 3))
    }

    /// A bracket or brace that opens or closes: what is in it may be keys and values, or words of a list.
    pub(super) fn brace(&mut self, at: usize) -> usize {
        let byte = self.text[at];
        if matches!(byte, b'[' | b'{') {
            if self.names_a_thing() {
                return self.delimiter(at);
            }
            const BEFORE_A_NAME: [&str; 11] =
                ["for", "on", "of", "in", "from", "to", "at", "with", "by", "named", "called"];
            // (Of a brace: it is the value of a key.)
            let quotes = if byte == b'{' {
                self.in_value
            } else {
                self.out.last_byte() == Some(b' ')
                    && (BEFORE_A_NAME.iter().any(|word| self.before[0] == word.as_bytes())
                        || is_several(self.before[0]))
            };
            self.out.open(byte, quotes);
            return at + 1;
        }
        let opened = if byte == b'}' { b'{' } else { b'[' };
        let found = self.out.close(opened).and_then(|inside| {
            let quotes = inside.quotes && !inside.text.is_empty() && !inside.text.contains(&b' ');
            if byte == b'}' {
                return is_map(inside.text).then_some((inside.place, inside.quotes));
            }
            (quotes || is_list(inside.text)).then_some((inside.place, quotes))
        });
        let Some((place, quotes)) = found else { return self.delimiter(at) };
        self.out.back_to(place);
        if byte == b'}' {
            let is_value = quotes && self.out.last_byte() == Some(b'=');
            return self.mark(if is_value { Mark::Value } else { Mark::Map }, at + 1);
        }
        self.out.text(b"[");
        self.mark(Mark::Quoted, at);
        let next = self.delimiter(at);
        if quotes {
            self.out.has_quoted();
        }
        next
    }

    /// An opening quotation mark that is not ASCII: its kind and its length.
    pub(super) fn wide_at(&self, at: usize) -> Option<(usize, usize)> {
        match self.text[at..] {
            [0xe2, 0x80, 0x9c | 0x9e, ..] => Some((0, 3)),
            [0xe2, 0x80, 0x98, ..] => Some((1, 3)),
            [0xc2, 0xab, ..] => Some((2, 2)),
            _ => None,
        }
    }

    /// Where reading goes on behind a text in quotation marks that are not ASCII, if one begins here.
    pub(super) fn wide_quote(&mut self, start: usize) -> Option<usize> {
        let text = self.text;
        let (kind, length) = self.wide_at(start)?;
        let mut from = self.unclosed_wide[kind].max(start + length);
        while let Some(found) = text.get(from..).and_then(|rest| memchr::memchr2(0xe2, 0xc2, rest)) {
            let at = from + found;
            self.steps += found + 1;
            let closing = match (kind, &text[at..]) {
                (0, [0xe2, 0x80, 0x9c | 0x9d, ..]) => 3,
                // (An apostrophe closes nothing.)
                (1, [0xe2, 0x80, 0x99, next, ..]) if next.is_ascii_alphanumeric() || *next == b'<' => 0,
                (1, [0xe2, 0x80, 0x99, ..]) => 3,
                (2, [0xc2, 0xbb, ..]) => 2,
                _ => 0,
            };
            if closing > 0 {
                return Some(self.mark(Mark::Quoted, at + closing));
            }
            from = at + 1;
        }
        self.unclosed_wide[kind] = text.len();
        self.out.text(&text[start..start + length]);
        Some(start + length)
    }
}

/// A `=` or a single `:` stands in it.
fn is_map(text: &[u8]) -> bool {
    text.iter().enumerate().any(|(at, byte)| match byte {
        b'=' => true,
        b':' => text.get(at + 1) != Some(&b':') && (at == 0 || text[at - 1] != b':'),
        _ => false,
    })
}

/// `items`: what stands in brackets behind it is a list, also of one.
fn is_several(word: &[u8]) -> bool {
    word.len() > 3
        && word.iter().all(u8::is_ascii_lowercase)
        && matches!(word, [.., before, b's'] if !matches!(before, b's' | b'u' | b'i'))
}

/// Two or more words or marks with commas between them.
fn is_list(text: &[u8]) -> bool {
    let is_item = |item: &[u8]| {
        let item = item.trim_ascii();
        !item.is_empty()
            && item.iter().all(|byte| {
                byte.is_ascii_alphanumeric()
                    || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/' | b'@' | b'+' | b'<' | b'>' | b'*')
            })
    };
    memchr::memchr(b',', text).is_some() && text.split(|byte| *byte == b',').all(is_item)
}
