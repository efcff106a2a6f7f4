//! The level of a line of plain text, from the places where the common text formats put it.

use super::Level;

/// Bytes at the beginning of a line in which its level is looked for; a word further on is prose.
const HEAD_BYTES_MAX: usize = 256;

/// Words of the line's head that are looked at (time, host, thread and logger may stand before the level).
const HEAD_WORDS_MAX: usize = 8;

/// The level that a line of text names: the klog prefix (`I0102 15:04:05.000000 ...`), `level=error` (logfmt), or a
/// level word that stands like one in the first words (`2026-01-02 03:04:05,678 ERROR foo`, `[WARN] foo`,
/// `error: foo`, `<3> foo`). `None` when it names none.
pub fn level_of_text(line: &[u8]) -> Option<Level> {
    let head = &line[..line.len().min(HEAD_BYTES_MAX)];
    klog(head).or_else(|| logfmt(head)).or_else(|| leading_word(head))
}

/// `Lmmdd hh:mm:ss.uuuuuu threadid file:line] msg` (klog's header).
fn klog(head: &[u8]) -> Option<Level> {
    let level = match head.first()? {
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' | b'F' => Level::Error,
        b'D' => Level::Debug,
        _ => return None,
    };
    let shape = head.get(1..14)?;
    let digits = |range: std::ops::Range<usize>| shape[range].iter().all(u8::is_ascii_digit);
    let is_klog = digits(0..4)
        && shape[4] == b' '
        && digits(5..7)
        && shape[7] == b':'
        && digits(8..10)
        && shape[10] == b':'
        && digits(11..13);
    is_klog.then_some(level)
}

/// `level=warn`, `lvl="error"`, `severity=INFO`, `loglevel=..` at a word's beginning.
fn logfmt(head: &[u8]) -> Option<Level> {
    for equals in memchr::memchr_iter(b'=', head) {
        let key_at = head[..equals].iter().rposition(|b| matches!(b, b' ' | b'\t')).map_or(0, |at| at + 1);
        let key = &head[key_at..equals];
        if ![&b"level"[..], b"lvl", b"severity", b"loglevel", b"log_level", b"log.level"]
            .iter()
            .any(|name| key.eq_ignore_ascii_case(name))
        {
            continue;
        }
        let value = head[equals + 1..].strip_prefix(b"\"").unwrap_or(&head[equals + 1..]);
        let end = value.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(value.len());
        if let Some(level) = Level::from_word(&value[..end]) {
            return Some(level);
        }
    }
    None
}

/// The first word that stands as a level: in capitals, in brackets, or closed by a colon. Words before it must look like
/// a header (time, number, bracketed, or part of a logger's name), so that prose is not taken for a level.
fn leading_word(head: &[u8]) -> Option<Level> {
    let mut rest = head;
    for index in 0..HEAD_WORDS_MAX {
        let start = rest.iter().position(|b| !b" \t|".contains(b))?;
        rest = &rest[start..];
        let end = rest.iter().position(|b| b" \t|".contains(b)).unwrap_or(rest.len());
        let word = strip_ansi(&rest[..end]);
        if let Some(level) = standing(word, index == 0) {
            return Some(level);
        }
        rest = &rest[end..];
    }
    None
}

/// The level of one word if it stands like a level.
fn standing(word: &[u8], first: bool) -> Option<Level> {
    if let [b'<', digit @ b'0'..=b'7', b'>', ..] = word {
        return if first { Level::from_syslog(i64::from(digit - b'0')) } else { None };
    }
    let bracketed = matches!(word.first(), Some(b'[' | b'(' | b'<'));
    let core_start = word.iter().position(u8::is_ascii_alphabetic)?;
    if word[..core_start].iter().any(|b| !b"[(<*\"'".contains(b)) {
        return None;
    }
    let core = &word[core_start..];
    let end = core.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(core.len());
    let (name, tail) = core.split_at(end);
    if name.len() < 3 {
        return None;
    }
    let level = Level::from_word(name)?;
    let capitals = name.iter().all(|b| !b.is_ascii_lowercase());
    let closed = matches!(tail, [] | [b')' | b'>' | b',' | b'-' | b';'] | [b':' | b']' | b'[' | b'(', ..]);
    let colon = first && tail.first() == Some(&b':');
    ((capitals && closed) || (bracketed && matches!(tail.first(), Some(b']' | b')' | b'>'))) || colon)
        .then_some(level)
}

/// Without the colour sequences (`ESC [ ... m`) around a word.
pub(crate) fn strip_ansi(mut word: &[u8]) -> &[u8] {
    while let Some(rest) = word.strip_prefix(b"\x1b[") {
        match rest.iter().position(|b| *b == b'm') {
            Some(end) => word = &rest[end + 1..],
            None => break,
        }
    }
    match memchr::memchr(0x1b, word) {
        Some(end) => &word[..end],
        None => word,
    }
}
