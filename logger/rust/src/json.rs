//! Writes JSON (texts, numbers, members) straight into a buffer.
//! Promises: whatever is given, what is written is valid JSON on one line; a text that is too long is cut and says by how much.

use std::fmt::{self, Write as _};

/// Bytes of UTF-8 of one text that are written; the rest is cut.
pub const TEXT_BYTES_MAX: usize = 65_536;

/// Writes `,"name":`.
pub fn key(out: &mut Vec<u8>, name: &str) {
    out.reserve(name.len() + 4);
    out.extend_from_slice(b",\"");
    escape(out, name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Writes a text with its quotes.
pub fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.len() <= TEXT_BYTES_MAX {
        escape(out, text.as_bytes());
    } else {
        let end = text.floor_char_boundary(TEXT_BYTES_MAX);
        escape(out, &text.as_bytes()[..end]);
        cut(out, text.len() - end);
    }
    out.push(b'"');
}

fn cut(out: &mut Vec<u8>, missing: usize) {
    out.extend_from_slice("…(+".as_bytes());
    integer(out, missing as u64);
    out.extend_from_slice(b" bytes)");
}

/// Writes what arguments format to, as a text with its quotes, without a copy in between.
pub fn written(out: &mut Vec<u8>, arguments: fmt::Arguments<'_>) {
    if let Some(whole) = arguments.as_str() {
        return text(out, whole);
    }
    out.push(b'"');
    let mut writer = Escaping { out, room: TEXT_BYTES_MAX, missing: 0 };
    // (A Display that fails gives what it gave before.)
    let _ = writer.write_fmt(arguments);
    let missing = writer.missing;
    if missing > 0 {
        cut(out, missing);
    }
    out.push(b'"');
}

struct Escaping<'a> {
    out: &'a mut Vec<u8>,
    room: usize,
    missing: usize,
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = match text.len() {
            _ if self.missing > 0 => 0,
            length if length <= self.room => length,
            _ => text.floor_char_boundary(self.room),
        };
        escape(self.out, &text.as_bytes()[..end]);
        self.room -= end;
        self.missing += text.len() - end;
        Ok(())
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Of eight bytes, whether one needs an escape: a quote, a backslash or one below a space.
#[inline]
fn any_special(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let zeros = |x: u64| x.wrapping_sub(ONES) & !x;
    let low = word.wrapping_sub(ONES * 0x20) & !word;
    (zeros(quote) | zeros(backslash) | low) & HIGHS != 0
}

/// Whether nothing needs an escape. The last eight bytes are looked at as one word, which overlaps the one before.
fn is_plain(bytes: &[u8]) -> bool {
    const SPACES: u64 = 0x2020_2020_2020_2020;
    let Some(last) = bytes.last_chunk() else {
        let short = match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
            }
            _ => bytes.iter().fold(SPACES, |word, byte| word << 8 | u64::from(*byte)),
        };
        return !any_special(short);
    };
    let (words, _) = bytes.as_chunks();
    !words.iter().any(|word| any_special(u64::from_le_bytes(*word)))
        && !any_special(u64::from_le_bytes(*last))
}

#[inline]
fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        escape_each(out, bytes);
    }
}

#[cold]
fn escape_each(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    let mut clean = 0;
    loop {
        while let Some(word) = rest[clean..].first_chunk() {
            if any_special(u64::from_le_bytes(*word)) {
                break;
            }
            clean += 8;
        }
        let Some(&byte) = rest.get(clean) else { break };
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            clean += 1;
            continue;
        }
        out.extend_from_slice(&rest[..clean]);
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            low => {
                let digits = [HEX[usize::from(low >> 4)], HEX[usize::from(low & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
        rest = &rest[clean + 1..];
        clean = 0;
    }
    out.extend_from_slice(rest);
}

pub fn integer(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub fn signed(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    integer(out, number.unsigned_abs());
}

pub fn float(out: &mut Vec<u8>, number: f64) {
    if number.is_finite() {
        // (Without the machinery of fmt, which takes five times as long.)
        serialized(out, &number);
    } else if number.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if number > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}

/// What formats itself as a JSON number.
pub fn wide(out: &mut Vec<u8>, arguments: fmt::Arguments<'_>) {
    let _ = std::io::Write::write_fmt(out, arguments);
}

/// Anything that serde can serialize; what it cannot is null.
pub fn serialized(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    let begin = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(begin);
        out.extend_from_slice(b"null");
    }
    // (JSON that the application wrote itself may have line breaks between its tokens.)
    out[begin..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back_as_it_was() {
        let mut rows: Vec<String> =
            ["", "plain", "eight888", "a\"b\\c", "日本語 🌲", "\u{2028}\u{7f}"].map(String::from).into();
        for code in 0..0x100u32 {
            for before in 0..9 {
                rows.push(format!(
                    "{}{}after it more",
                    "x".repeat(before),
                    char::from_u32(code).unwrap_or('?')
                ));
            }
        }
        for row in rows {
            for written_in_parts in [false, true] {
                let mut out = Vec::new();
                if written_in_parts {
                    written(&mut out, format_args!("{row}{}", ""))
                } else {
                    text(&mut out, &row)
                }
                assert!(out.iter().all(|byte| *byte >= 0x20), "{row:?}");
                assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), row);
            }
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        for (length, parts) in [(65_536, 1), (65_537, 1), (200_000, 1), (65_537, 7)] {
            let long = "€".repeat(length / 3) + &"x".repeat(length % 3);
            let mut out = Vec::new();
            if parts == 1 {
                text(&mut out, &long);
            } else {
                written(&mut out, format_args!("{}{}", &long[..6], &long[6..]));
            }
            let read: String = serde_json::from_slice(&out).expect("JSON");
            if long.len() <= TEXT_BYTES_MAX {
                assert_eq!(read, long);
                continue;
            }
            let end = long.floor_char_boundary(TEXT_BYTES_MAX);
            assert_eq!(read, format!("{}…(+{} bytes)", &long[..end], long.len() - end));
        }
    }

    #[test]
    fn numbers_are_json() {
        for number in [0.0, -0.0, 1.5, 1e-7, 1e300, f64::MIN_POSITIVE, f64::MAX, -12_345.678] {
            let mut out = Vec::new();
            float(&mut out, number);
            assert_eq!(serde_json::from_slice::<f64>(&out).expect("JSON"), number);
        }
        for number in [0, 9, 10, u64::MAX] {
            let mut out = Vec::new();
            integer(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
        for number in [0, -1, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            signed(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
