//! Finds what every value has that contains a given text or matches a regular expression: whole words for the index, letters for
//! a search of the bytes.

use regex_syntax::hir::{Hir, HirKind};

use super::find::Needle;

/// The words of `text` that are whole wherever it stands, lower-cased: those within it, as the first and the last may go on
/// outside. Only ASCII, between ASCII: what may be a part of a colour, an escape or an accent bounds no word for certain.
pub(super) fn whole_words(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    runs(bytes)
        .filter(|&(start, end)| {
            let before = start.checked_sub(1).map(|at| bytes[at]);
            before.is_some_and(bounds_for_certain) && bytes.get(end).copied().is_some_and(ends_for_certain)
        })
        .map(|(start, end)| bytes[start..end].to_ascii_lowercase())
        .collect()
}

/// The longest letters that are together in each text.
pub(super) fn needle(texts: &[String]) -> Option<Needle> {
    let lower: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_ascii_lowercase()).collect();
    Needle::longest(lower.iter().flat_map(|bytes| runs(bytes).map(|(start, end)| &bytes[start..end])))
}

fn runs(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes[at..].iter().position(u8::is_ascii_alphanumeric)?;
        let len = bytes[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        at = start + len;
        Some((start, at))
    })
}

fn bounds_for_certain(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'' | b',' | b'-' | b'.' | b'/' | b'_' | b'{' | b'}' | b'|'
    ) || matches!(byte, b'@' | b'!' | b'&' | b'%' | b'$' | b'#' | b'*' | b'+' | b'~' | b'^' | b'`')
}

fn ends_for_certain(byte: u8) -> bool {
    byte.is_ascii() && byte != b'\\' && byte != crate::tokens::ESC
}

/// The texts that are in whatever the expression matches.
pub(super) fn required(pattern: &str) -> Vec<String> {
    let mut texts = Vec::new();
    if let Ok(hir) = regex_syntax::ParserBuilder::new().nest_limit(NESTING_MAX).build().parse(pattern) {
        collect(&hir, &mut texts);
    }
    texts
}

/// Groups within each other, in a regular expression.
pub(super) const NESTING_MAX: u32 = 64;

fn collect(hir: &Hir, texts: &mut Vec<String>) {
    match hir.kind() {
        HirKind::Literal(literal) => texts.extend(std::str::from_utf8(&literal.0).map(str::to_owned)),
        HirKind::Concat(parts) => parts.iter().for_each(|part| collect(part, texts)),
        HirKind::Capture(group) => collect(&group.sub, texts),
        HirKind::Repetition(repetition) if repetition.min > 0 => collect(&repetition.sub, texts),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_whole_for_certain() {
        let words = |text: &str| -> Vec<String> {
            whole_words(text).into_iter().map(|word| String::from_utf8(word).expect("ASCII")).collect()
        };
        assert_eq!(words("onnection RESET by pee"), ["reset", "by"]);
        assert_eq!(words(" timeout "), ["timeout"]);
        for none in [
            "timeout",
            "two words",
            r"\nfoo ",
            "é foo",
            " foo\u{301} ",
            "[31mfoo ",
            " foo\u{1b}[1m",
            " foo\\",
        ] {
            assert_eq!(words(none), [""; 0], "{none:?}");
        }
        assert_eq!(required("conn.*reset (by|of) peer"), ["conn", "reset ", " peer"]);
        assert_eq!(required("(?i)reset"), [""; 0]);
        assert_eq!(required("a|b"), [""; 0]);
        assert_eq!(required("(ab)+c?"), ["ab"]);
    }
}
