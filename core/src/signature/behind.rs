//! The keys and values that a logger puts behind a message: which there are and in what order does not say what happened.

/// Words that have to stand before them: else they are the message.
const WORDS_MIN: usize = 2;
/// So many of `, client: <host>`; of `id=<value>` one.
const COLONS_MIN: usize = 2;

/// Without the `key=value` and `, key: value` at the end of a generalised message; those stay whose words say what happened, in
/// order of their keys.
pub fn without_fields(text: String) -> String {
    if memchr::memchr2(b'=', b',', text.as_bytes()).is_none() {
        return text;
    }
    let mut pairs = Vec::new();
    let mut colons = 0;
    let mut end = text.len();
    while let Some(pair) = last_pair(&text[..end]) {
        end = pair.start;
        colons += usize::from(pair.is_colon);
        pairs.push(pair);
    }
    if colons < COLONS_MIN {
        let kept = pairs.iter().position(|pair| pair.is_colon).unwrap_or(pairs.len());
        pairs.truncate(kept);
    }
    let Some(first) = pairs.last() else { return text };
    let head = text[..first.start].trim_end_matches([' ', ',', ';']);
    if words(head) < WORDS_MIN {
        return text;
    }
    let mut kept: Vec<&Pair<'_>> =
        pairs.iter().filter(|pair| is_kept(pair.key.as_bytes()) && !pair.value.contains('<')).collect();
    kept.sort_by_key(|pair| (pair.key, pair.value));
    let mut shorter = head.to_owned();
    for pair in kept {
        let parts =
            if pair.is_colon { [", ", pair.key, ": ", pair.value] } else { [" ", pair.key, "=", pair.value] };
        shorter.extend(parts);
    }
    shorter
}

/// Keys whose values are words that say what happened, or where in the program.
pub(super) fn is_kept(key: &[u8]) -> bool {
    const KEPT: [&str; 26] = [
        "level",
        "lvl",
        "severity",
        "msg",
        "message",
        "event",
        "reason",
        "status",
        "state",
        "phase",
        "code",
        "type",
        "cause",
        "result",
        "outcome",
        "action",
        "op",
        "operation",
        "method",
        "component",
        "module",
        "logger",
        "caller",
        "source",
        "statuscode",
        "status_code",
    ];
    let last = key.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    KEPT.iter().any(|kept| last.eq_ignore_ascii_case(kept.as_bytes()))
        || last.eq_ignore_ascii_case(b"http_status")
        || last.eq_ignore_ascii_case(b"sqlstate")
}

struct Pair<'a> {
    /// Where it begins.
    start: usize,
    key: &'a str,
    value: &'a str,
    is_colon: bool,
}

/// The pair that a text ends with.
fn last_pair(text: &str) -> Option<Pair<'_>> {
    let last = text.bytes().rposition(|byte| !matches!(byte, b' ' | b',' | b';'))?;
    let text = &text[..text.ceil_char_boundary(last + 1)];
    let start = text.bytes().rposition(|byte| matches!(byte, b' ' | b',')).map_or(0, |at| at + 1);
    let token = &text[start..];
    if let Some((key, value)) = token.split_once('=') {
        return (is_key(key) && is_value(value)).then_some(Pair { start, key, value, is_colon: false });
    }
    if !is_value(token) {
        return None;
    }
    let before = text[..start].strip_suffix(": ")?;
    let start = before.rfind(' ')? + 1;
    let key = &before[start..];
    (is_key(key) && before[..start].ends_with(", ")).then_some(Pair {
        start,
        key,
        value: token,
        is_colon: true,
    })
}

fn is_key(key: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && key.bytes().all(is_char)
}

/// A word or a mark.
fn is_value(value: &str) -> bool {
    let name = value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(value);
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/'))
}

/// Words of two letters or more that are no marks, as far as it matters.
fn words(text: &str) -> usize {
    text.split([' ', '/', ':'])
        .filter(|word| {
            !word.contains(['<', '=']) && word.bytes().filter(u8::is_ascii_alphabetic).count() >= 2
        })
        .take(WORDS_MIN)
        .count()
}

#[cfg(test)]
mod tests {
    use super::without_fields;

    #[test]
    fn what_stands_behind_a_message_is_left_out() {
        for (text, left) in [
            ("save order err=<value> order=<value>", "save order"),
            ("save order err=<value> status=404 reason=gone", "save order reason=gone status=404"),
            ("timed out, client: <host>, server: x, request: <str>", "timed out"),
            ("timed out, client: <host>", "timed out, client: <host>"),
            ("type=a id=<value>", "type=a id=<value>"),
            ("retry: attempt=<value>", "retry: attempt=<value>"),
            ("writes to topic=<value> failed", "writes to topic=<value> failed"),
            ("could not tell (total=<value>)", "could not tell (total=<value>)"),
            ("a test: passed: <n>; failed: <n>", "a test: passed: <n>; failed: <n>"),
        ] {
            assert_eq!(without_fields(text.to_owned()), left);
            assert_eq!(without_fields(left.to_owned()), left);
        }
    }
}
