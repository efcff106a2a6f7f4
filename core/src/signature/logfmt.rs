//! The message of a line of logfmt: `level=error msg="disk is full" id=5`. As with JSON, the message decides and the rest does not.

/// Pairs that are looked at.
const PAIRS_MAX: usize = 32;

/// The value of `msg=` or `message=` of a line that is keys and values up to there.
pub fn message(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    for _ in 0..PAIRS_MAX {
        let key = rest.bytes().take_while(is_key_byte).count();
        let behind = rest[key..].strip_prefix('=').filter(|_| key > 0)?;
        let (value, after) = value(behind)?;
        if matches!(&rest[..key], "msg" | "message") && !value.is_empty() {
            return Some(value);
        }
        rest = after.trim_start_matches(' ');
    }
    None
}

fn is_key_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@' | b'/')
}

/// A value, in quotation marks or up to a blank, and what stands behind it.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(inside) = text.strip_prefix('"') else {
        return Some(text.split_at(text.find(' ').unwrap_or(text.len())));
    };
    let mut from = 0;
    loop {
        let end = from + memchr::memchr2(b'"', b'\\', &inside.as_bytes()[from..])?;
        if inside.as_bytes()[end] == b'"' {
            return Some((&inside[..end], &inside[end + 1..]));
        }
        // What is escaped is of one byte or begins a character.
        from = end + 2;
        if from > inside.len() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_line_of_keys_and_values_has_a_message() {
        for (line, found) in [
            ("level=error msg=\"disk is full\" id=5", Some("disk is full")),
            ("time=\"2026-11-20T09:00:00Z\" level=error msg=\"a \\\"b\\\" c\"", Some("a \\\"b\\\" c")),
            ("ts=1 caller=a.go:1 message=boom", Some("boom")),
            ("level=error id=5", None),
            ("level=error disk msg=x", None),
            ("msg=\"open", None),
            ("msg=\"\\", None),
            ("msg=", None),
            ("status=404", None),
            ("", None),
        ] {
            assert_eq!(message(line), found, "{line}");
        }
    }
}
