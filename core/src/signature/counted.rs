//! How often an event was seen, and words that change with how many things there are: `1 entry is invalid`, `3 entries are invalid`; `due
//! to previous error`, `due to 5 previous errors`.

use std::borrow::Cow;

/// A noun in the singular, as what is kept of it and what ends it. Whatever is no plural stays as it is.
pub fn singular(word: &[u8]) -> (&[u8], &'static [u8]) {
    let Some((last, one)) = word.split_last() else { return (word, b"") };
    if *last != b's' || word.len() <= 3 || word.len() >= 24 || word == b"alias" {
        return (word, b"");
    }
    if one.ends_with(b"ie")
        && word.len() > 5
        && !matches!(word, b"series" | b"cookies" | b"movies" | b"zombies")
    {
        return (&one[..one.len() - 2], b"y");
    }
    match one {
        b"serie" | b"specie" => (word, b""),
        b"aliase" => (&one[..one.len() - 1], b""),
        b"cpu" | b"gpu" | b"vcpu" | b"menu" => (one, b""),
        _ if matches!(one.last(), Some(b's' | b'u' | b'i')) => (word, b""),
        // (`caches` are of a cache.)
        _ if ["tche", "nche", "rche", "she", "xe", "sse", "zze"]
            .iter()
            .any(|end| one.ends_with(end.as_bytes())) =>
        {
            (&one[..one.len() - 1], b"")
        }
        _ => (one, b""),
    }
}

/// A verb of what is counted, as it is of one thing.
pub fn verb(word: &[u8]) -> Option<&'static [u8]> {
    match word {
        b"were" | b"was" => Some(b"was"),
        b"are" | b"is" => Some(b"is"),
        b"have" | b"has" => Some(b"has"),
        _ => None,
    }
}

/// A number before these says how many there were besides, and is left out where there was one.
pub fn is_more(word: &[u8]) -> bool {
    matches!(word, b"previous" | b"other" | b"more" | b"additional" | b"further" | b"earlier")
}

/// What a parser says of a quoted text that it met: the text is the value, whatever class it is of. And what a compiler says of a
/// quoted type.
pub fn is_class(word: &[u8], before: &[u8]) -> bool {
    let is_of_type = matches!(
        word,
        b"struct"
            | b"enum"
            | b"union"
            | b"reference"
            | b"tuple"
            | b"array"
            | b"slice"
            | b"pointer"
            | b"closure"
    );
    if is_of_type {
        return before == b"for";
    }
    matches!(
        word,
        b"identifier"
            | b"keyword"
            | b"token"
            | b"symbol"
            | b"literal"
            | b"character"
            | b"operator"
            | b"punctuation"
    ) && matches!(
        before,
        b"expected" | b"unexpected" | b"found" | b"near" | b"got" | b"Unexpected" | b"Expected"
    )
}

/// The text without how often an event was seen: `(x3 over 14s)`.
pub fn without_repeats(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let mut out = Vec::new();
    let mut kept = 0;
    for at in memchr::memchr_iter(b'(', &text) {
        if at >= kept
            && let Some(length) = repeats(&text[at..])
        {
            out.extend_from_slice(&text[kept..at]);
            out.push(b' ');
            kept = at + length;
        }
    }
    if kept == 0 {
        return text;
    }
    out.extend_from_slice(&text[kept..]);
    Cow::Owned(out)
}

fn repeats(text: &[u8]) -> Option<usize> {
    let text = &text[..text.len().min(40)];
    if !matches!(text, [b'(', b'x', digit, ..] if digit.is_ascii_digit()) {
        return None;
    }
    let close = memchr::memchr(b')', text)?;
    let digits = text[2..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = &text[2 + digits..close];
    (rest.is_empty() || rest.starts_with(b" over ")).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::singular;

    #[test]
    fn one_and_several_are_one_word() {
        for (several, one) in [
            ("targets", "target"),
            ("entries", "entry"),
            ("replicas", "replica"),
            ("batches", "batch"),
            ("caches", "cache"),
            ("processes", "process"),
            ("boxes", "box"),
            ("databases", "database"),
            ("aliases", "alias"),
            ("cpus", "cpu"),
            ("cookies", "cookie"),
            ("series", "series"),
            ("class", "class"),
            ("status", "status"),
            ("axis", "axis"),
            ("ios", "ios"),
        ] {
            for word in [several, one] {
                let (stem, end) = singular(word.as_bytes());
                assert_eq!([stem, end].concat(), one.as_bytes(), "{word}");
            }
        }
    }
}
