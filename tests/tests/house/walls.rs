//! Walls: who may change a type's state. Its inherent `impl`s stand in the file that defines it, and few of its fields are public.

use std::collections::BTreeSet;

use crate::source;

/// Public fields that a struct may have. (A value that is made whole and only read may have more: [`VALUES`].)
pub const PUBLIC_FIELDS_MAX: usize = 16;

/// Structs with more public fields, and why: (file, struct, reason).
pub const VALUES: &[(&str, &str, &str)] = &[
    ("core/src/entry.rs", "Entry", "a record as it is shown: one field for each of its fields"),
    ("writer/src/metrics.rs", "Metrics", "one field for each metric"),
    ("agent/src/telemetry.rs", "Tally", "one counter for each metric"),
    ("agent/src/telemetry.rs", "Status", "what `/status` shows: one field for each of its fields"),
    ("crds/src/retention.rs", "LogRetentionPolicyStatus", "a status: one field for each of its fields"),
    ("gateway/src/routes/agents.rs", "AgentItem", "an answer: one field for each of its fields"),
    ("tests/src/reconcile/report.rs", "Report", "one field for each count that a test compares"),
];

/// Types whose `impl`s stand in more files than that of the type, and why: (crate, type, reason).
pub const SPREAD: &[(&str, &str, &str)] = &[
    ("gateway", "Gateway", "what answers share; nothing of it changes, and each room adds its question"),
    ("gateway", "Oidc", "login by the parts of a provider, which stay as they are"),
    ("gateway", "Problem", "a value: each room says its own problems"),
    (
        "operator",
        "Levels",
        "what is compiled and what of it the workloads have: two halves of one controller",
    ),
    ("crds", "LogRetentionPolicy", "the type is generated from its spec"),
    ("crds", "LevelObject", "a value: what of it is a rule"),
    ("crds", "LevelFields", "a value: what of it is a rule"),
    ("cli", "DatabaseArgs", "arguments, and what is made of them"),
    ("cli", "FilterArgs", "arguments, and what is made of them"),
    ("cli", "OutputArgs", "arguments, and what is made of them"),
    ("store", "Task", "a value: how it is shown as lines"),
    ("store", "Place", "a value: where fresh records go on"),
    ("logger/rust", "Levels", "levels, and the server that tells and sets them"),
    ("logger/rust", "Logger", "a logger, and its scopes"),
    ("core", "Level", "a value: by number"),
    ("core", "Catalogue", "a value: what the simulation does to it"),
    ("core", "Names", "a value: order, and place in the sequence"),
    ("core", "Field", "a value: by name"),
    ("core", "Filter", "a value: what of it asks for what"),
    ("core", "Kind", "a value: of phrases"),
    ("core", "Civil", "a value: from text"),
    ("core", "Reader", "a grammar: one file for each kind of word"),
    ("core", "Tenancy", "a value: which tenant a line's body may name"),
    ("writer", "Intake", "one message: its batches and what of them is an error"),
];

/// Whether a type's `impl`s may stand in several files of its crate.
pub fn is_excused(room: &str, name: &str) -> bool {
    SPREAD.iter().any(|(of, excused, _)| (*of, *excused) == (room, name))
}

/// Types that a file does not define and has an `impl` of.
pub fn implements_elsewhere(text: &str) -> Vec<String> {
    let shipped = source::split(text).shipped();
    let words =
        shipped.code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    let defines = |pair: &[&str]| ["struct", "enum", "union", "trait"].contains(&pair[0]);
    let defined: BTreeSet<&str> = words.windows(2).filter(|pair| defines(pair)).map(|pair| pair[1]).collect();
    let mut names = Vec::new();
    for (at, _) in shipped.code.match_indices("impl") {
        let begins_a_line = shipped.code[..at].rsplit('\n').next().is_some_and(|line| line.trim().is_empty());
        let Some(head) = shipped.code[at + 4..].split('{').next().filter(|_| begins_a_line) else { continue };
        if head.split_whitespace().any(|word| word == "for") {
            continue;
        }
        names.extend(subject(head).filter(|name| !defined.contains(name)).map(str::to_owned));
    }
    names
}

/// The type of `impl<'a> path::Type<'a> where ...`.
fn subject(head: &str) -> Option<&str> {
    let mut rest = head.trim_start();
    if rest.starts_with('<') {
        let (mut depth, mut before) = (0, ' ');
        let end = rest.find(|c: char| {
            depth += i32::from(c == '<') - i32::from(c == '>' && before != '-');
            before = c;
            depth == 0
        })?;
        rest = rest[end + 1..].trim_start();
    } else if !head.starts_with(char::is_whitespace) {
        return None;
    }
    rest.split(['<', ' ', '\n']).next()?.rsplit("::").next().filter(|name| !name.is_empty())
}

/// Structs of a file with their public fields.
pub fn public_fields(text: &str) -> Vec<(String, usize)> {
    let shipped = source::split(text).shipped();
    let mut all = Vec::new();
    for (at, _) in shipped.code.match_indices("struct ") {
        let Some(open) = shipped.code[at..].find(['{', ';', '(']) else { continue };
        if shipped.code.as_bytes()[at + open] != b'{' {
            continue;
        }
        let head = &shipped.code[at + 7..at + open];
        let name: String = head.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let body = shipped.code[at + open..].split("\n}").next().unwrap_or_default();
        let is_public = |line: &&str| line.trim_start().starts_with("pub");
        all.push((name, body.lines().filter(is_public).count()));
    }
    all
}

/// Structs with too many public fields.
pub fn open_structs(path: &str, text: &str) -> Vec<String> {
    let is_value = |name: &str| VALUES.iter().any(|(file, value, _)| (*file, *value) == (path, name));
    let too_open = |(name, count): &(String, usize)| *count > PUBLIC_FIELDS_MAX && !is_value(name);
    let fault = |(name, count)| format!("{path}: `{name}` has {count} public fields");
    public_fields(text).into_iter().filter(too_open).map(fault).collect()
}

/// Arguments that a function may have, `self` included; clippy's `too_many_arguments` says the same.
pub const ARGUMENTS_MAX: usize = 7;

/// Functions of what ships, each with the number of its arguments.
pub fn arguments(text: &str) -> Vec<(String, usize)> {
    let shipped = source::split(text).shipped();
    let code = shipped.code.as_str();
    let mut all = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let is_a_word = code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let rest = &code[at + 3 + name.len()..];
        let Some(open) = after_generics(rest).filter(|_| is_a_word && !name.is_empty()) else { continue };
        all.push((name, count_arguments(&rest[open..])));
    }
    all
}

/// Where the list of arguments opens in `<'a, T: Fn(A) -> B>(c: C)`.
fn after_generics(rest: &str) -> Option<usize> {
    let (mut depth, mut before) = (0, ' ');
    for (at, c) in rest.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            '(' if depth == 0 => return Some(at),
            _ => {}
        }
        before = c;
    }
    None
}

/// How many there are in `(a: A, b: B<C, D>) -> ...`.
fn count_arguments(list: &str) -> usize {
    let (mut depth, mut count, mut is_empty, mut before) = (0, 0, true, ' ');
    for c in list.chars() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            '>' if before == '-' => {}
            ')' | ']' | '}' | '>' => depth -= 1,
            ',' if depth == 1 => {
                count += usize::from(!is_empty);
                is_empty = true;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        is_empty &= c.is_whitespace() || (depth == 1 && matches!(c, ',' | '('));
        before = c;
    }
    count + usize::from(!is_empty)
}
