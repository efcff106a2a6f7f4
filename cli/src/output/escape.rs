//! Escapes what a log line must not do to a terminal: control characters, escape sequences and bidirectional overrides are shown as
//! `\x1b`, `\u{202e}`, ...; everything else stays as it was written.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

/// One line, safe to print: line ends and tabs are escaped too.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| !is_unsafe(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push(&mut out, c);
    }
    Cow::Owned(out)
}

/// A body for a terminal: as [`one_line`], but tabs and line ends stay, and bytes that are not UTF-8 become `\xff`.
pub fn body(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(|c| matches!(c, '\n' | '\t') || !is_unsafe(c))
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => out.push(c),
                c => push(&mut out, c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// A line of JSON for a terminal: what is unsafe in it becomes JSON's own `\u202e`, so that it stays the same JSON.
pub fn json(line: &str) -> Cow<'_, str> {
    if line.chars().all(|c| !is_unsafe(c)) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Terminal columns of a text that [`one_line`] made.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Cut to `columns`, ending in `…` when something was cut.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if text.len() <= columns || width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut used = 0;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let next = used + char_width(c);
        if next > columns.saturating_sub(1) {
            break;
        }
        used = next;
        end = at + c.len_utf8();
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

fn push(out: &mut String, c: char) {
    let _ = match c {
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        c if (c as u32) < 0x80 && is_unsafe(c) => write!(out, "\\x{:02x}", c as u32),
        c if is_unsafe(c) => write!(out, "\\u{{{:x}}}", c as u32),
        c => {
            out.push(c);
            Ok(())
        }
    };
}

/// C0, DEL, C1; line and paragraph separators; what reorders or hides text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        let cases = [
            ("plain äöü 日本", "plain äöü 日本"),
            ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
            ("a\rb\nc\td\0", "a\\rb\\nc\\td\\x00"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("abc\u{202e}fdp.exe", "abc\\u{202e}fdp.exe"),
            ("\u{7f}", "\\x7f"),
        ];
        for (text, expected) in cases {
            assert_eq!(one_line(text), expected);
        }
    }

    #[test]
    fn a_body_keeps_its_layout_and_shows_broken_bytes() {
        assert_eq!(body(b"a\tb\n  c\xff\x1b[0m"), "a\tb\n  c\\xff\\x1b[0m");
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "a\u{9b}b\u{202e}\u{e0001}";
        let line = serde_json::to_string(text).unwrap();
        let safe = json(&line);
        assert_eq!(safe, r#""a\u009bb\u202e\udb40\udc01""#);
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }

    #[test]
    fn cut_counts_columns_not_bytes() {
        let cases = [("short", 10, "short"), ("exactly-10", 10, "exactly-10"), ("longer than", 6, "longe…")];
        for (text, columns, expected) in cases {
            assert_eq!(cut(text, columns), expected);
        }
        assert_eq!(cut("日本語テキスト", 7), "日本語…");
        assert_eq!(width(&cut("日本語テキスト", 8)), 7);
    }
}
