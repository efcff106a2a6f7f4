//! Decides what a piece without quotation marks is: a comparison, or text that only looks like one (addresses, times, links, paths).

use super::lex::{Op, op_at};
use super::names;

/// What a piece without blanks means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bare {
    /// There is no operator in it.
    Word,
    Text,
    /// So many characters are the field's name.
    Compare(usize),
    /// The operator has no field before it.
    NoField,
}

pub(super) fn meaning(bare: &str) -> Bare {
    let found = bare.char_indices().find_map(|(at, _)| op_at(&bare[at..]).map(|(op, width)| (at, op, width)));
    let Some((at, op, width)) = found else { return Bare::Word };
    let (name, value) = (&bare[..at], &bare[at + width..]);
    if is_text(name, op, value) {
        return Bare::Text;
    }
    if name.is_empty() || !(is_name(name) || name.starts_with("data.") || names::find(name).is_some()) {
        return Bare::NoField;
    }
    Bare::Compare(name.chars().count())
}

fn is_text(name: &str, op: Op, value: &str) -> bool {
    let begins_with_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    match op {
        // Links, `std::io`, `::1`.
        Op::Has if (value.starts_with("//") && !name.is_empty()) || value.starts_with(':') => true,
        // A port.
        Op::Has | Op::Equal if name.is_empty() => op == Op::Has && begins_with_digit(value),
        _ if names::find(name).is_some() || name == "*" || name.starts_with("data.") => false,
        Op::Has if is_drive(name) && value.starts_with(['\\', '/']) => true,
        Op::Has if name == "localhost" || is_source_file(name) => begins_with_digit(value),
        // MAC and IPv6 addresses, names with parts.
        Op::Has if is_name(name) => value.contains(':'),
        Op::Has | Op::Equal => !is_name(name),
        // Arrows.
        Op::Greater | Op::GreaterOrEqual => name.ends_with('-') || name.ends_with('='),
        Op::Less | Op::LessOrEqual | Op::NotEqual => false,
    }
}

/// What a key can look like that nobody quotes.
fn is_name(name: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    name.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '@'))
        && name.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        && name.chars().skip(1).all(is_inside)
}

fn is_drive(name: &str) -> bool {
    name.len() == 1 && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// `handler.go:42` is a place, `http.status:503` a key that wants its `data.`.
fn is_source_file(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| SOURCE_ENDINGS.split(' ').any(|known| known == ending))
}

const SOURCE_ENDINGS: &str = "asm bash bat c cc cjs clj cljs conf cpp cr cs css cts cxx d dart erb erl ex exs f90 fs go gradle \
                              groovy h hpp hs html htm hxx java jl js json jsp jsx kt kts lua m mjs ml mm mts nim php pl pm ps1 \
                              py pyx r rb rs s scala scss sh sql svelte swift tf tmpl toml ts tsx v vb vue xml yaml yml zig";

/// Why this may mean something else than the words in it, and what to write; `None`: it means them.
pub(super) fn doubt(bare: &str) -> Option<String> {
    let quoted = super::lex::in_quotes(bare);
    let operator = match bare {
        "and" => Some("AND (or nothing: what stands side by side is AND)"),
        "or" => Some("OR"),
        "not" => Some("NOT"),
        _ => None,
    };
    if let Some(operator) = operator {
        return Some(format!(
            "write {operator} in capitals for the operator, or {quoted} to search for the word"
        ));
    }
    if bare.starts_with("data[") {
        return Some("write data.\"any key\" for a key of the application's own".to_owned());
    }
    if let Some(pattern) = as_regexp(bare) {
        return Some(format!(
            "this is text here; write message REGEXP {} for a regular expression, or {quoted} to search for it as it stands",
            super::lex::in_quotes(pattern)
        ));
    }
    if bare.contains('|') && bare.contains(char::is_alphanumeric) {
        let parts: Vec<&str> = bare.split('|').filter(|part| !part.is_empty()).collect();
        return Some(format!(
            "| is no operator here; write {} for any of them, or {quoted} to search for it as it stands",
            parts.join(" OR ")
        ));
    }
    let chars: Vec<char> = bare.chars().collect();
    let is_inside = |at: usize| chars[at] == '?' && at > 0 && chars[at - 1].is_alphanumeric();
    let goes_on = |at: usize| chars.get(at + 1).is_some_and(|c| c.is_alphanumeric());
    let is_plain = !bare.contains(['/', '=', ':', '&', '.']);
    if is_plain && (0..chars.len()).any(|at| is_inside(at) && goes_on(at)) {
        return Some(format!(
            "? stands for no letter here; write {} with *, which stands for any, or {quoted} to search for it as it stands",
            bare.replace('?', "*")
        ));
    }
    None
}

/// What looks like a regular expression, without the slashes around it.
fn as_regexp(bare: &str) -> Option<&str> {
    let inside =
        bare.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|inside| !inside.is_empty());
    if let Some(inside) = inside {
        return inside.contains(['*', '+', '[', '^', '$', '\\', '|', '?', '{']).then_some(inside);
    }
    let goes_on = |(at, found): (usize, &str)| bare[at + found.len()..].starts_with(char::is_alphanumeric);
    let is_expression = (bare.starts_with('^') && bare[1..].starts_with(char::is_alphanumeric))
        || (bare.ends_with('$') && bare.starts_with(char::is_alphanumeric))
        || bare.starts_with(".*")
        || [".*", ".+"].iter().any(|any| bare.match_indices(any).any(goes_on))
        || ["\\d+", "\\d{", "\\w+", "\\s+", "\\S+", "[0-9]", "[a-z]", "[A-Z]"]
            .iter()
            .any(|part| bare.contains(part));
    is_expression.then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pieces_mean() {
        for text in [
            "10.4.7.8:6379",
            "10.4.7.8:6379:",
            "[2001:db8::17]:443",
            "2001:db8::17",
            "fe80::1",
            "::1",
            ":6379",
            "12:30:45",
            "2026-11-21T06:30:00Z",
            "handler.go:42",
            "src/shop/Store.java:88:7",
            "https://api.shop.example/v1/orders/4711?id=9&x=1",
            "file:///etc/hosts",
            "/v1/orders?id=9",
            r"C:\temp",
            "C:/temp",
            "00:1b:44:11:3a:b7",
            "aa:bb:cc:dd:ee:ff",
            "std::io::Error",
            "urn:uuid:3f2504e0",
            "localhost:8080",
            "anna.k@example.org:25",
            "a->b",
        ] {
            assert_eq!(meaning(text), Bare::Text, "{text}");
        }
        for word in ["anna.k@example.org", "#sale", "$19.90", "50%", "a/b", "it's", "wow!", "v1.27.3-rc.1"] {
            assert_eq!(meaning(word), Bare::Word, "{word}");
        }
        for (compare, len) in [
            ("level>=warn", 5),
            ("service:checkout", 7),
            ("event=payment_failed", 5),
            ("order-id=ORD-2026-0077", 8),
            ("http.status:503", 11),
            ("app.kubernetes.io/name=x", 22),
            ("file:main.go", 4),
            ("a!=b", 1),
            ("time>2026-11-20T06:30", 4),
            ("data.path=C:\\temp", 9),
        ] {
            assert_eq!(meaning(compare), Bare::Compare(len), "{compare}");
        }
        for nothing in ["=x", ":x", "<init>", ">=5", "!=x", "*:error", "5<latency"] {
            assert_eq!(meaning(nothing), Bare::NoField, "{nothing}");
        }
    }

    #[test]
    fn what_is_doubted() {
        for doubtful in [
            "and",
            "or",
            "not",
            "/conn.*reset/",
            "te?t",
            "a|b",
            "^ERROR",
            "done$",
            "conn.*reset",
            ".*timeout.*",
            r"took\d+ms",
            "[0-9]",
            "data[",
        ] {
            assert!(doubt(doubtful).is_some(), "{doubtful}");
        }
        for plain in [
            "Or",
            "nor",
            "/api/v1/",
            "why?",
            "a/b?c",
            "?",
            "10.4.*",
            "*.example.org",
            r"C:\data",
            "$19.90",
            "[billing]",
            "x^2",
            "/",
            "//",
        ] {
            assert!(doubt(plain).is_none(), "{plain}");
        }
    }
}
