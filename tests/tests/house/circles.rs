//! Which files of a crate import each other in a circle: who reads one of them has to read them all.
//!
//! A file imports another when it names a path into it (`use`, `crate::...`, `super::...`). That a module declares the files below it, and
//! uses them, is no import: they are parts of it, and may use what it shares among them.

use super::source::{Source, split};
use std::collections::{BTreeMap, BTreeSet};

/// The files of one crate by their module path (`["search", "hits"]`).
type Modules<'a> = BTreeMap<Vec<&'a str>, &'a str>;

/// Each circle of the crate whose sources lie below `src` (as `agent/src/`), as its files in order.
pub fn circles(src: &str, files: &[(String, String)]) -> Vec<Vec<String>> {
    let modules: Modules<'_> = files
        .iter()
        .filter_map(|(path, _)| Some((module(path.strip_prefix(src)?)?, path.as_str())))
        .collect();
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, text) in files {
        let Some(own) = path.strip_prefix(src).and_then(module) else { continue };
        for named in paths(&split(text).shipped()) {
            let Some(target) = resolve(&own, &named, &modules) else { continue };
            if target != own && !target.is_empty() && !target.starts_with(&own) {
                imports.entry(path).or_default().insert(modules[&target]);
            }
        }
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|from| (*from, reach(from, &imports))).collect();
    let mut found = BTreeSet::new();
    for (from, to) in &reached {
        let with = to.iter().filter(|other| reached.get(*other).is_some_and(|back| back.contains(from)));
        let circle: BTreeSet<String> = with.map(|file| (*file).to_owned()).collect();
        if circle.len() > 1 {
            found.insert(circle.into_iter().collect::<Vec<_>>());
        }
    }
    found.into_iter().collect()
}

/// All that is imported, directly or not; itself only in a circle.
fn reach<'a>(from: &str, imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let (mut seen, mut stack) = (BTreeSet::new(), vec![from]);
    while let Some(file) = stack.pop() {
        for next in imports.get(file).into_iter().flatten() {
            if seen.insert(*next) {
                stack.push(next);
            }
        }
    }
    seen
}

/// The module path of a file below `src`; the root's is empty. Tests and programs of their own are no modules of the crate.
fn module(below: &str) -> Option<Vec<&str>> {
    let mut parts: Vec<&str> = below.strip_suffix(".rs")?.split('/').collect();
    if parts.iter().any(|part| *part == "tests" || *part == "bin") || parts == ["main"] {
        return None;
    }
    if parts.last() == Some(&"mod") || parts == ["lib"] {
        parts.pop();
    }
    Some(parts)
}

/// The paths that a source names, each as its segments.
fn paths(source: &Source) -> Vec<Vec<String>> {
    let code = &source.code;
    let mut found = Vec::new();
    for statement in code.split(';') {
        let Some(at) = statement.rfind("use ") else { continue };
        let before = statement[..at].chars().next_back();
        if before.is_none_or(|c| !c.is_alphanumeric() && c != '_') {
            expand(statement[at + 4..].trim(), &[], &mut found);
        }
    }
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
            let path = code[at..].split(end).next().unwrap_or_default();
            found.push(path.split("::").map(str::to_owned).collect());
        }
    }
    found
}

/// A tree of `use` as paths.
fn expand(tree: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let head = tree.find('{').unwrap_or(tree.len());
    let segments = tree[..head].split("::").map(|part| part.split_whitespace().next().unwrap_or_default());
    let mut path = before.to_vec();
    path.extend(segments.filter(|part| !part.is_empty()).map(str::to_owned));
    if head == tree.len() {
        found.push(path);
        return;
    }
    let inner = &tree[head + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let item = inner[from..at].trim();
                if !item.is_empty() {
                    expand(item, &path, found);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// The module of this crate that a path leads into, if it does.
fn resolve<'m>(own: &[&str], named: &[String], modules: &Modules<'m>) -> Option<Vec<&'m str>> {
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let mut path = match named.split_first()? {
        (&"crate", rest) => rest.to_vec(),
        (&"self", rest) => [own, rest].concat(),
        (&"super", _) => {
            let up = named.iter().take_while(|part| **part == "super").count();
            [own.get(..own.len().checked_sub(up)?)?, &named[up..]].concat()
        }
        _ => return None,
    };
    loop {
        if let Some(found) = modules.keys().find(|known| **known == path) {
            return Some(found.clone());
        }
        path.pop()?;
    }
}
