//! What may follow while an expression is typed: names of fields, operators, or values of a field. It looks at the piece of text that stands
//! before the place and at nothing behind it.

use super::lex::{in_quotes, op_at};
use super::names;

/// What stands in for the piece that is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// A field's name, or a word that joins tests.
    Names(Vec<&'static str>),
    /// What is asked of the field before it.
    Operators(Vec<&'static str>),
    /// A value of this field that begins so; it is to be written by [`value`] where it is not plain.
    Values { field: String, prefix: String },
}

const OPERATORS: [&str; 11] = ["=", "!=", ":", ">=", "<=", ">", "<", "IN", "EXISTS", "CONTAINS", "LIKE"];
const MORE_OPERATORS: [&str; 2] = ["REGEXP", "NOT"];
const JOINS: [&str; 3] = ["AND", "OR", "NOT"];

/// `at`: characters before the place. Returns where the piece begins, and what may stand for it.
pub fn complete(text: &str, at: usize) -> (usize, Completion) {
    let before: Vec<char> = text.chars().take(at).collect();
    let begin = piece(&before);
    let piece: String = before[begin..].iter().collect();
    // A comparison within the piece: a value is typed.
    let operator =
        piece.char_indices().skip(1).find_map(|(at, _)| op_at(&piece[at..]).map(|(_, width)| (at, width)));
    if let Some((place, width)) = operator
        && names::find(&piece[..place]).is_some()
    {
        let field = piece[..place].to_owned();
        let begin_of_value = begin + piece[..place].chars().count() + width;
        let prefix = piece[place..].chars().skip(width).collect::<String>();
        let prefix = prefix.strip_prefix('"').unwrap_or(&prefix).to_owned();
        return (begin_of_value, Completion::Values { field, prefix });
    }
    // A field's name and a blank before it: an operator is typed, or behind one a value.
    let words: Vec<String> = words_before(&before[..begin]);
    match &words[..] {
        [.., field, operator] if is_comparison(operator) && names::find(field).is_some() => {
            let prefix = piece.strip_prefix('"').unwrap_or(&piece).to_owned();
            (begin, Completion::Values { field: field.clone(), prefix })
        }
        [.., field] if is_field_before(field) => {
            let all = OPERATORS.into_iter().chain(MORE_OPERATORS);
            (begin, Completion::Operators(all.filter(|operator| begins(operator, &piece)).collect()))
        }
        _ => {
            let fields = names::all().filter(|name| begins(name, &piece));
            let joins = JOINS.into_iter().filter(|join| begins(join, &piece));
            (begin, Completion::Names(fields.chain(joins).collect()))
        }
    }
}

/// A value as it is written behind an operator.
pub fn value(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { in_quotes(text) }
}

/// Where the piece begins that the text ends with: behind a blank, a parenthesis or a comma that stands in no quotation marks.
fn piece(before: &[char]) -> usize {
    let (mut begin, mut quoted, mut escaped) = (0, false, false);
    for (at, &c) in before.iter().enumerate() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted && (c.is_whitespace() || "(),".contains(c)) => begin = at + 1,
            // What is excluded is typed as anything else.
            '-' if !quoted && at == begin => begin = at + 1,
            _ => {}
        }
    }
    begin
}

/// The last two words before it, whole pieces without quotation marks.
fn words_before(before: &[char]) -> Vec<String> {
    let text: String = before.iter().collect();
    let mut words: Vec<String> = text.split_whitespace().rev().take(2).map(str::to_owned).collect();
    words.reverse();
    // What is closed or listed is no field.
    let is_over = text.trim_end().ends_with([')', ',', '(']);
    if is_over { Vec::new() } else { words }
}

fn is_comparison(word: &str) -> bool {
    ["CONTAINS", "LIKE", "REGEXP"].contains(&word)
        || op_at(word).is_some_and(|(_, width)| width == word.chars().count())
}

/// Words such as `error` are no names, and `level` alone could be a word: a name that is written as one.
fn is_field_before(word: &str) -> bool {
    let word = word.trim_start_matches(['(', '-']);
    names::find(word).is_some()
}

fn begins(name: &str, piece: &str) -> bool {
    name.get(..piece.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(piece))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse;
    use super::*;

    fn values(field: &str, prefix: &str) -> Completion {
        Completion::Values { field: field.to_owned(), prefix: prefix.to_owned() }
    }

    #[test]
    fn what_is_typed_says_what_may_follow() {
        for (text, begin, expected) in [
            ("serv", 0, Completion::Names(vec!["service"])),
            ("level>=warn NAMES", 12, Completion::Names(vec!["namespace"])),
            ("(sev", 1, Completion::Names(vec!["severity"])),
            ("-plug", 1, Completion::Names(vec!["plugin"])),
            ("an", 0, Completion::Names(vec!["AND"])),
            ("service=", 8, values("service", "")),
            ("x service:che", 10, values("service", "che")),
            ("-service!=\"my sh", 10, values("service", "my sh")),
            ("data.taskId=4", 12, values("data.taskId", "4")),
            ("namespace = sh", 12, values("namespace", "sh")),
            ("service CONTAINS pay", 17, values("service", "pay")),
            ("service ", 8, Completion::Operators(OPERATORS.into_iter().chain(MORE_OPERATORS).collect())),
            ("service li", 8, Completion::Operators(vec!["LIKE"])),
            ("level>", 6, values("level", "")),
            ("\"service=x", 0, Completion::Names(vec![])),
            ("zzz", 0, Completion::Names(vec![])),
        ] {
            assert_eq!(complete(text, text.chars().count()), (begin, expected), "{text}");
        }
        // What stands behind the place is not looked at.
        assert_eq!(complete("serv AND level=warn", 4), (0, Completion::Names(vec!["service"])));
    }

    proptest! {
        /// A place within the text, whatever it is; names and values that stand there are read.
        #[test]
        fn what_is_offered_is_read(text in "[a-z=:\"() .é\\\\-]{0,20}", at in 0usize..25, some in "\\PC{0,8}") {
            let (begin, found) = complete(&text, at);
            prop_assert!(begin <= text.chars().count().min(at));
            if let Completion::Names(names) = found {
                for name in names.into_iter().filter(|name| !JOINS.contains(name) && *name != "id" && !name.starts_with("time")) {
                    let exists = format!("{name} EXISTS");
                    prop_assert!(parse(&exists).is_ok() || parse(&format!("{name}=error")).is_ok(), "{}", exists);
                }
            }
            prop_assume!(!some.is_empty() && !some.contains('\0'));
            let asked = format!("service={}", value(&some));
            prop_assert!(parse(&asked).is_ok(), "{}", asked);
        }
    }
}
