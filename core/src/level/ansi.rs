//! Skips terminal sequences while a level is looked for: they are not part of a word.

use std::borrow::Cow;

const ESC: u8 = 0x1b;

/// `text` without its terminal sequences (colours, cursor, titles, links); what is left of it after `bytes_max` is not read.
pub fn without_ansi(text: &[u8], bytes_max: usize) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(ESC, &text[..text.len().min(bytes_max)]) else {
        return Cow::Borrowed(text);
    };
    let mut out = text[..first].to_vec();
    let mut rest = &text[first..];
    while out.len() < bytes_max {
        rest = &rest[sequence(rest)..];
        let plain = memchr::memchr(ESC, rest).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain.min(bytes_max - out.len())]);
        if plain == rest.len() {
            break;
        }
        rest = &rest[plain..];
    }
    Cow::Owned(out)
}

/// Bytes of the sequence that begins here.
fn sequence(bytes: &[u8]) -> usize {
    let end = |at: usize| at.min(bytes.len());
    match bytes.get(1) {
        // Control sequence: parameters, then one final byte.
        Some(b'[') => {
            let body = &bytes[2..];
            end(2 + body.iter().position(|byte| !(0x20..0x40).contains(byte)).map_or(body.len(), |at| at + 1))
        }
        // Operating system command: up to BEL, or ESC and a backslash.
        Some(b']') => match memchr::memchr2(0x07, ESC, &bytes[2..]) {
            Some(at) if bytes[2 + at] == 0x07 => end(2 + at + 1),
            Some(at) => end(2 + at + 2),
            None => 2,
        },
        _ => end(2),
    }
}

#[cfg(test)]
mod tests {
    use super::without_ansi;

    #[test]
    fn sequences_go_and_text_stays() {
        for (text, plain) in [
            ("plain", "plain"),
            ("\x1b[31mERRO\x1b[0m[0013]", "ERRO[0013]"),
            ("\x1b[38;2;1;2;3mx\x1b[0;39m", "x"),
            ("a\x1b]0;title\x07b", "ab"),
            ("a\x1b]8;;http://x\x1b\\b\x1b]8;;\x1b\\", "ab"),
            ("a\x1b", "a"),
            ("a\x1b[", "a"),
            ("a\x1b[31", "a"),
        ] {
            assert_eq!(&*without_ansi(text.as_bytes(), 512), plain.as_bytes(), "{text:?}");
        }
    }
}
