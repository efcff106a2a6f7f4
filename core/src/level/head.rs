//! Finds the level of a line of text, by one small grammar of a line's beginning.
//!
//! ```text
//! line    = [ "<" priority ">" ] { item } text
//! item    = time | number | name | pair | "[" .. "]" | "(" .. ")" | "<" .. ">" | "{" .. "}" | level
//! pair    = key "=" value                       level=warn, also behind other pairs
//! level   = WORD                                in capitals: WARN, ERROR:, FATA[0012]
//!         | word ":"                            in any case: error:, Warning:
//!         | word                                in any case between tabs, bars, or before a time
//!         | "[" word "]"                        alone in brackets, or a part of them: [php:warn], [09:45:01 WRN]
//!         | letter                              after a time: E, [W 09:45:01 app], E!, E1127 09:45:01.123456 (klog)
//! ```
//! Items are read from the left; the first level counts. Two words that are none of this are still a host and a program, or
//! the words before `error:`; with the third, a quotation mark or a comma the text has begun, and a word in it is prose.

use super::ansi::without_ansi;
use super::calendar::is_time_word;
use super::group::{self, Group, letter_level};
use super::{Level, words};

/// Bytes of a line that are looked at (pairs may be long).
const HEAD_BYTES_MAX: usize = 4096;
/// The same of a line with terminal sequences.
const ANSI_BYTES_MAX: usize = 512;
/// Items before the text; pairs do not count.
const ITEMS_MAX: usize = 16;
const PAIRS_MAX: usize = 64;
/// Words that may stand before a level.
const WORDS_MAX: usize = 2;

/// What the beginning of a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub level: Option<Level>,
    /// There is nothing but items: no text follows them.
    pub only_items: bool,
}

/// The level that a line of text names; `None` when it names none.
pub fn level_of_text(text: &[u8]) -> Option<Level> {
    head_of(text).level
}

/// Reads the first line of `text` that is not blank.
pub fn head_of(text: &[u8]) -> Head {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let start = text.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(text.len());
    let line = &text[start..text.len().min(start + HEAD_BYTES_MAX)];
    let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
    let line = without_ansi(line, ANSI_BYTES_MAX);
    if let Some(level) = klog(&line).or_else(|| opener(&line)) {
        return Head { level: Some(level), only_items: false };
    }
    let mut reader = Reader { line: &line, at: 0, seen_time: false, words: 0, last: Last::Start };
    let read = reader.read();
    Head { level: read.ok().flatten(), only_items: read == Ok(None) }
}

/// Whether a text is nothing but what stands before a line's text: times, names, brackets, pairs, a level.
pub fn is_header(text: &[u8]) -> bool {
    let line = without_ansi(&text[..text.len().min(HEAD_BYTES_MAX)], ANSI_BYTES_MAX);
    let mut reader = Reader { line: &line, at: 0, seen_time: false, words: 0, last: Last::Start };
    loop {
        match reader.read() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(Text) => return false,
        }
    }
}

/// `Lmmdd hh:mm:ss.uuuuuu threadid file:line] msg` (klog's header; glog's and others' with the year).
fn klog(line: &[u8]) -> Option<Level> {
    let level = match line.first()? {
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' | b'F' => Level::Error,
        b'D' => Level::Debug,
        _ => return None,
    };
    let digits = line[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let time = line.get(1 + digits..)?.strip_prefix(b" ")?;
    (matches!(digits, 4 | 6 | 8) && is_clock(time)).then_some(level)
}

/// `hh:mm:ss` and more.
fn is_clock(text: &[u8]) -> bool {
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    digit(0)
        && digit(1)
        && text.get(2) == Some(&b':')
        && digit(3)
        && digit(4)
        && text.get(5) == Some(&b':')
        && digit(6)
}

/// How the runtimes of languages say that a program ends.
fn opener(line: &[u8]) -> Option<Level> {
    const OPENERS: [&[u8]; 5] = [
        b"Traceback (most recent call last)",
        b"Exception in thread ",
        b"Unhandled exception",
        b"Uncaught exception",
        b"thread '",
    ];
    let opened = OPENERS.iter().find(|opener| line.starts_with(opener))?;
    let panicked = !opened.ends_with(b"'") || memchr::memmem::find(line, b"' panicked at").is_some();
    panicked.then_some(Level::Error)
}

/// What was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Start,
    Number,
    Other,
}

/// The text has begun, and no level stood before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Text;

struct Reader<'a> {
    line: &'a [u8],
    at: usize,
    seen_time: bool,
    /// That were nothing but words.
    words: usize,
    last: Last,
}

/// What follows an item.
#[derive(Clone, Copy)]
struct After {
    /// A tab, a bar, a dash between blanks, or the end.
    hard: bool,
    /// Two blanks or more.
    wide: bool,
    /// Where the next item begins.
    next: usize,
}

fn is_gap(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'|')
}

impl<'a> Reader<'a> {
    /// `Ok(None)`: nothing but items, none of them a level.
    fn read(&mut self) -> Result<Option<Level>, Text> {
        let (mut items, mut pairs) = (0, 0);
        loop {
            self.at = self.skip_gap(self.at);
            let Some(&first) = self.line.get(self.at) else { return Ok(None) };
            if items == ITEMS_MAX || pairs == PAIRS_MAX {
                return Err(Text);
            }
            let found = match first {
                b'[' | b'(' | b'<' | b'{' => {
                    items += 1;
                    self.group()?
                }
                b'"' | b'\'' | b'`' => return Err(Text),
                _ => match self.pair() {
                    Some(found) => {
                        pairs += 1;
                        found
                    }
                    None => {
                        items += 1;
                        self.item()?
                    }
                },
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn skip_gap(&self, mut at: usize) -> usize {
        while self.line.get(at).copied().is_some_and(is_gap) {
            at += 1;
        }
        at
    }

    fn after(&self, end: usize) -> After {
        let next = self.skip_gap(end);
        let gap = &self.line[end..next];
        let rest = &self.line[next..];
        let dash = rest.starts_with(b"- ") || rest.starts_with(b"-- ");
        let hard = rest.is_empty() || dash || gap.iter().any(|byte| *byte != b' ');
        After { hard, wide: gap.len() > 1, next }
    }

    /// Something in brackets.
    fn group(&mut self) -> Result<Option<Level>, Text> {
        let rest = &self.line[self.at..];
        if self.at == 0
            && let Some((level, len)) = priority(rest)
        {
            self.at += len;
            return Ok(Some(level));
        }
        let Some(Group { content, len }) = group::open(rest) else {
            if rest.starts_with(b"{") {
                return Err(Text);
            }
            return self.item();
        };
        self.at += len;
        while let Some(b':' | b',' | b';' | b'-') = self.line.get(self.at) {
            self.at += 1;
        }
        self.last = Last::Other;
        let level = group::level_of(content);
        self.seen_time |= group::has_time(content);
        Ok(level)
    }

    /// `key=value`; `None` when it is none. The level, where the key is a level's.
    fn pair(&mut self) -> Option<Option<Level>> {
        let rest = &self.line[self.at..];
        let key_len = rest
            .iter()
            .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@')))?;
        if key_len == 0 || rest[key_len] != b'=' || rest.get(key_len + 1) == Some(&b'=') {
            return None;
        }
        let value = &rest[key_len + 1..];
        let (text, len) = match value.first() {
            Some(quote @ (b'"' | b'\'')) => {
                let inner = &value[1..];
                let end = quote_end(inner, *quote);
                (&inner[..end], end + 2)
            }
            _ => {
                let end = value.iter().copied().position(is_gap).unwrap_or(value.len());
                (&value[..end], end)
            }
        };
        self.at = (self.at + key_len + 1 + len).min(self.line.len());
        self.last = Last::Other;
        // Behind words and before nothing it is a setting: `starting with level=error`.
        let setting = self.words > 0 && self.skip_gap(self.at) == self.line.len();
        Some(if is_level_key(&rest[..key_len]) && !setting { level_of_value(text) } else { None })
    }

    /// One run of characters without blanks.
    fn item(&mut self) -> Result<Option<Level>, Text> {
        let start = self.at;
        let rest = &self.line[start..];
        let len = rest.iter().copied().position(is_gap).unwrap_or(rest.len());
        let (item, after) = (&rest[..len], self.after(start + len));
        self.at = start + len;
        let core = trim_start(item);
        if core.is_empty() {
            return Ok(None);
        }
        if core[0].is_ascii_digit()
            || (matches!(core[0], b'+' | b'-') && core.get(1).is_some_and(u8::is_ascii_digit))
        {
            return Ok(self.number(core, after));
        }
        if let Some(level) = self.level(core, after) {
            return Ok(Some(level));
        }
        self.other(core, after)
    }

    /// A time, a number, a name that begins with a digit; `09:45:01.123:WARN:name`.
    fn number(&mut self, item: &[u8], after: After) -> Option<Level> {
        let level = self.part(item, after);
        let marks = item.iter().filter(|byte| matches!(byte, b':' | b'-' | b'/' | b'.')).count();
        let is_time =
            marks >= 2 || (item.len() >= 10 && item.iter().filter(|b| b.is_ascii_digit()).count() >= 10);
        self.seen_time |= is_time;
        let bare = !is_time && item.iter().all(u8::is_ascii_digit);
        self.last = if bare { Last::Number } else { Last::Other };
        level
    }

    /// The level of an item that stands like one.
    fn level(&self, item: &[u8], after: After) -> Option<Level> {
        if is_level_key_colon(item) {
            let rest = &self.line[after.next..];
            let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
            // Alone it is a setting.
            return Level::from_word(&rest[..end]).filter(|_| !rest[end..].trim_ascii().is_empty());
        }
        self.letter(item, after)
            .or_else(|| self.word(item, after))
            .or_else(|| self.part(item, after))
            .or_else(|| self.thrown(item, after))
    }

    /// A word of three letters or more.
    fn word(&self, item: &[u8], after: After) -> Option<Level> {
        let end = item.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(item.len());
        let (name, tail) = item.split_at(end);
        if name.len() < 3 {
            return None;
        }
        let level = Level::from_word(name)?;
        let capitals = name.iter().all(|byte| !byte.is_ascii_lowercase());
        let common = words::is_common(name);
        let colon = tail == b":" || (capitals && tail.starts_with(b":"));
        let closed =
            colon || matches!(tail, [b']' | b')' | b'>' | b'!' | b'-'] | [b'[' | b'(' | b',' | b';', ..]);
        let stands = if capitals {
            // A number before it may count what follows: `3 ERROR lines`.
            let counted = self.last == Last::Number && !self.seen_time;
            let soft = tail.is_empty() && !after.hard;
            (closed || tail.is_empty())
                && match self.words {
                    0 => !(soft && (counted || (common && !self.seen_time))),
                    1 => (self.seen_time && !common) || colon || (closed && level >= Level::Warn),
                    _ => self.seen_time && (closed || after.hard) && level >= Level::Warn,
                }
        } else if colon {
            let logs = !common
                || [&b"fail"[..], b"failure", b"note"].iter().any(|word| name.eq_ignore_ascii_case(word));
            let setting = is_nothing(&self.line[after.next..]);
            logs && !setting && (self.words == 0 || level >= Level::Warn)
        } else {
            let before_time = is_timestamp(&self.line[after.next..]);
            let divided = after.hard && after.next < self.line.len() && self.last != Last::Number;
            let wide = after.wide && self.seen_time;
            tail.is_empty() && !common && self.words == 0 && (before_time || divided || wide)
        };
        stands.then_some(level)
    }

    /// `production.ERROR:`, `09:45:01.123:WARN:name`, `Zigbee2MQTT:error  2026-..`.
    fn part(&self, item: &[u8], after: After) -> Option<Level> {
        if self.words > 0 {
            return None;
        }
        let is_end = |byte: &u8| matches!(byte, b':' | b',' | b';');
        let colon = item.iter().position(is_end)?;
        let capitals = |part: &[u8]| part.len() >= 3 && part.iter().all(u8::is_ascii_uppercase);
        if let Some(dot) = item[..colon].iter().rposition(|byte| *byte == b'.')
            && item.ends_with(b":")
            && colon + 1 == item.len()
            && capitals(&item[dot + 1..colon])
        {
            return Level::from_word(&item[dot + 1..colon]);
        }
        let mut parts = item[colon + 1..].split(is_end).peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            if part.len() >= 3
                && ((!last && capitals(part)) || (last && is_timestamp(&self.line[after.next..])))
                && let Some(level) = Level::from_word(part)
            {
                return Some(level);
            }
        }
        None
    }

    /// One letter: `E` after a time, `E!`, `E, [` (Ruby), `E/Tag(` (Android).
    fn letter(&self, item: &[u8], after: After) -> Option<Level> {
        let level = letter_level(*item.first()?)?;
        let rest = &self.line[after.next..];
        let stands = match &item[1..] {
            [] => {
                let next = rest.iter().copied().position(is_gap).unwrap_or(rest.len());
                let next = &rest[..next];
                let named = next.iter().any(|byte| matches!(byte, b'.' | b':' | b'/' | b'[' | b'('));
                let component = next.len() > 2 && next.iter().all(u8::is_ascii_uppercase);
                self.words == 0 && self.seen_time && (after.hard || named || component)
            }
            b"!" => self.words == 0 && self.seen_time,
            b"," => self.last == Last::Start && rest.starts_with(b"["),
            [b'/', name, ..] => {
                self.last == Last::Start
                    && name.is_ascii_alphabetic()
                    && memchr::memchr2(b'(', b':', item).is_some()
            }
            _ => false,
        };
        stands.then_some(level)
    }

    /// The name of something thrown: `java.lang.IllegalStateException: ..`, `DeprecationWarning: ..`.
    fn thrown(&self, item: &[u8], after: After) -> Option<Level> {
        let name = match item.strip_suffix(b":") {
            Some(name) => name,
            None if after.next == self.line.len() && self.words == 0 => item,
            None => return None,
        };
        let last = name.rsplit(|byte| matches!(byte, b'.' | b':' | b'/' | b'$' | b'\\')).next()?;
        let is_type =
            last.first().is_some_and(u8::is_ascii_uppercase) && last.iter().all(u8::is_ascii_alphanumeric);
        if !is_type {
            return None;
        }
        let ends =
            |suffix: &[u8]| last.ends_with(suffix) && (item.ends_with(b":") || last.len() > suffix.len());
        if ends(b"Exception") || ends(b"Error") {
            return Some(Level::Error);
        }
        ends(b"Warning").then_some(Level::Warn)
    }

    /// Any other item: a name, or a word of which only few may come.
    fn other(&mut self, item: &[u8], after: After) -> Result<Option<Level>, Text> {
        let first = self.last == Last::Start;
        self.last = Last::Other;
        if is_time_word(item) && (first || self.seen_time) {
            return Ok(None);
        }
        let is_letters = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80);
        if is_letters(item) {
            if after.hard && self.line.get(after.next - 1) == Some(&b'|') {
                return Ok(None);
            }
            self.words += 1;
            let denies = [&b"no"[..], b"not", b"without"].iter().any(|word| item.eq_ignore_ascii_case(word));
            return if denies || self.words > WORDS_MAX { Err(Text) } else { Ok(None) };
        }
        let (&last, front) = item.split_last().ok_or(Text)?;
        let ends_a_phrase = matches!(last, b',' | b'.' | b'!' | b'?' | b';') && is_letters(front);
        let address = memchr::memchr(b'?', item).is_some() || memchr::memmem::find(item, b"://").is_some();
        if ends_a_phrase || address || memchr::memchr3(b'"', b'\'', b'{', item).is_some() {
            return Err(Text);
        }
        if item.ends_with(b"]:") || (last == b':' && self.seen_time && self.words == 1) {
            // A program: what stood before was the host.
            self.words = 0;
        }
        Ok(None)
    }
}

/// `<N>` of syslog: severity in the lowest three bits.
fn priority(line: &[u8]) -> Option<(Level, usize)> {
    let end = line.iter().take(5).position(|byte| *byte == b'>')?;
    let digits = &line[1..end];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number: i64, digit| number * 10 + i64::from(digit - b'0'));
    if number > 191 {
        return None;
    }
    Some((Level::from_syslog(number & 7)?, end + 1))
}

/// The key of a level in a pair. `LOG_LEVEL` in capitals is an environment variable.
fn is_level_key(key: &[u8]) -> bool {
    if key.contains(&b'_') && !key.iter().any(u8::is_ascii_lowercase) {
        return false;
    }
    const KEYS: [&[u8]; 9] =
        [b"level", b"lvl", b"severity", b"loglevel", b"log_level", b"log.level", b"sev", b"levelname", b"at"];
    KEYS.iter().any(|name| key.eq_ignore_ascii_case(name))
}

fn is_level_key_colon(item: &[u8]) -> bool {
    item.strip_suffix(b":").is_some_and(|key| {
        [&b"level"[..], b"lvl", b"severity", b"loglevel"].iter().any(|name| key.eq_ignore_ascii_case(name))
    })
}

fn level_of_value(text: &[u8]) -> Option<Level> {
    let text = text.trim_ascii();
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(text.len());
    super::level_of_word(text).or_else(|| Level::from_word(&text[..end]))
}

/// Where the quotation ends; a backslash takes the next character along.
fn quote_end(text: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while let Some(hit) = text.get(at..).and_then(|rest| memchr::memchr2(quote, b'\\', rest)) {
        at += hit;
        if text[at] == quote {
            return at;
        }
        at += 2;
    }
    text.len()
}

/// Without what decorates a word: `**`, `=`, `#`, `>`, arrows, emoji.
fn trim_start(item: &[u8]) -> &[u8] {
    let plain = item
        .iter()
        .position(|byte| {
            !matches!(
                byte,
                b'*' | b'='
                    | b'#'
                    | b'!'
                    | b'>'
                    | b'~'
                    | b'-'
                    | b'.'
                    | b','
                    | b':'
                    | b';'
                    | b'&'
                    | b'%'
                    | b'$'
                    | b'^'
                    | b'\\'
                    | b'_'
            )
        })
        .unwrap_or(item.len());
    let number = plain > 0 && item.get(plain).is_some_and(u8::is_ascii_digit);
    let rest = &item[if number { plain - 1 } else { plain }..];
    // Characters that are not ASCII and no letters.
    if rest.first().is_some_and(|byte| *byte >= 0x80)
        && !String::from_utf8_lossy(rest).contains(char::is_alphabetic)
    {
        return &[];
    }
    rest
}

/// A date or a clock begins here.
fn is_timestamp(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"[").unwrap_or(text);
    let date =
        text.len() >= 10 && text[..4].iter().all(u8::is_ascii_digit) && matches!(text[4], b'-' | b'/' | b'.');
    date || is_clock(text)
}

/// The value of a setting or of a counter: `debug: false`, `error: none`.
fn is_nothing(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 14] = [
        b"true", b"false", b"on", b"off", b"yes", b"no", b"none", b"null", b"nil", b"n/a", b"-", b"0", b"1",
        b"\"\"",
    ];
    WORDS.iter().any(|word| text.trim_ascii().eq_ignore_ascii_case(word))
}
