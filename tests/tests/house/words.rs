//! Words that code does not use, because ARCHITECTURE.md's table has another for the thing, or no reader from outside knows them.

use super::source::split;

/// A word, and what to say instead.
pub const BANNED: &[(&str, &str)] = &[
    ("books", "the table that is meant (`leaves`, `ledger`)"),
    ("insane", "implausible"),
    ("mend", "fix, repair"),
    ("seats", "connections"),
    ("stairs", "the cursor that is meant"),
    ("waste", "obsolete blocks"),
];

/// Identifiers of what ships in which a banned word stands, one fault each.
pub fn faults(path: &str, text: &str) -> Vec<String> {
    let shipped = split(text).shipped();
    let is_of_a_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut names: Vec<&str> =
        shipped.code.split(|c| !is_of_a_name(c)).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    let mut faults = Vec::new();
    for name in names {
        let parts = parts(name);
        if let Some((word, instead)) = BANNED.iter().find(|(word, _)| parts.iter().any(|part| part == word)) {
            faults.push(format!("{path}: `{name}`: instead of `{word}` say {instead}"));
        }
    }
    faults
}

/// The words of a name: `closed_file` and `ClosedFile` are "closed" and "file".
fn parts(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = vec![String::new()];
    let mut before_is_small = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && before_is_small) {
            parts.push(String::new());
        }
        before_is_small = !c.is_uppercase();
        if let Some(last) = parts.last_mut().filter(|_| c != '_') {
            last.extend(c.to_lowercase());
        }
    }
    parts
}
