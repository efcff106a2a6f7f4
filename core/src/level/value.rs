//! Maps one value to a level: what stands under `level` in JSON, or behind `level=` in text.

use super::Level;
use super::ansi::without_ansi;

/// Bytes of a text that can be a level word with blanks, brackets and colours around it.
const VALUE_BYTES_MAX: usize = 64;

/// A word of the common loggers, also with blanks, brackets or colours around it; `ERROR+2` (slog), `Level(-2)` (zap),
/// `LogLevel.ERROR`, `SEVERITY_WARN`. `None` for anything else.
pub(crate) fn level_of_word(text: &[u8]) -> Option<Level> {
    if text.len() > VALUE_BYTES_MAX {
        return None;
    }
    Level::from_word(text).or_else(|| {
        let plain = without_ansi(text, VALUE_BYTES_MAX);
        let word = trim(&plain);
        Level::from_word(word).or_else(|| from_offset(word)).or_else(|| from_named(word))
    })
}

/// Without blanks and brackets.
fn trim(text: &[u8]) -> &[u8] {
    let is_edge = |byte: &u8| byte.is_ascii_whitespace() || b"[]()<>:*\"'".contains(byte);
    let start = text.iter().position(|byte| !is_edge(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_edge(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}

/// slog: `ERROR+2`, `DEBUG-4`. zap: `Level(-2)`, of which the last bracket is trimmed.
fn from_offset(word: &[u8]) -> Option<Level> {
    if word.starts_with(b"Level(-") {
        return Some(Level::Trace);
    }
    let sign = word.iter().position(|byte| matches!(byte, b'+' | b'-'))?;
    let digits = &word[sign + 1..];
    if digits.is_empty() || digits.len() > 3 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let offset = digits.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0'));
    let base = match &word[..sign] {
        b"DEBUG" => -4,
        b"INFO" => 0,
        b"WARN" => 4,
        b"ERROR" => 8,
        word => return Level::from_word(word),
    };
    Some(match if word[sign] == b'-' { base - offset } else { base + offset } {
        ..-4 => Level::Trace,
        -4..0 => Level::Debug,
        0..4 => Level::Info,
        4..8 => Level::Warn,
        8.. => Level::Error,
    })
}

/// The last part of a name that says that it is a level.
fn from_named(word: &[u8]) -> Option<Level> {
    let cut = word.iter().rposition(|byte| matches!(byte, b'.' | b'_' | b':' | b'/'))?;
    let name = word[..cut].to_ascii_lowercase();
    let says = [&b"level"[..], b"severity", b"logging", b"priority"];
    says.iter().any(|part| memchr::memmem::find(&name, part).is_some()).then_some(())?;
    Level::from_word(&word[cut + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_loggers_write_them() {
        use Level::*;
        for (text, level) in [
            ("WARN ", Some(Warn)),
            (" ERROR", Some(Error)),
            ("[warn]", Some(Warn)),
            ("\u{1b}[31merror\u{1b}[0m", Some(Error)),
            ("ERROR+2", Some(Error)),
            ("WARN+1", Some(Warn)),
            ("INFO+4", Some(Warn)),
            ("INFO-1", Some(Debug)),
            ("DEBUG-4", Some(Trace)),
            ("DEBUG+3", Some(Debug)),
            ("Level(-2)", Some(Trace)),
            ("LogLevel.ERROR", Some(Error)),
            ("SEVERITY_NUMBER_WARN", Some(Warn)),
            ("java.util.logging.Level.SEVERE", Some(Error)),
            ("Metadata", None),
            ("no error", None),
            ("error-prone", None),
            ("shop.error", None),
            ("ERROR+", None),
            ("", None),
        ] {
            assert_eq!(level_of_word(text.as_bytes()), level, "{text:?}");
        }
    }
}
