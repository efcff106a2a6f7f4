//! The laws as plain functions from facts (packages, sources, texts) to faults, so that each can be shown a breach and seen to object.

use super::source::{Source, has_word, split};
use std::collections::BTreeSet;

/// Lines in one file; above it the file has more than one subject.
pub const FILE_LINES_MAX: usize = 600;

/// A workspace package: its room (top folder), and what it depends on outside its tests.
#[derive(Debug, Default)]
pub struct Package {
    pub room: String,
    pub dependencies: BTreeSet<String>,
    /// All packages it pulls in, directly or not.
    pub closure: BTreeSet<String>,
}

/// Which rooms a room may import. `tests` and `xtask` look at everything and are imported by nothing but each other.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("crds", &["core"]),
    ("store", &["core"]),
    ("logger", &[]),
    ("service", &["core", "logger"]),
    ("kafka", &["core", "service"]),
    ("agent", &["core", "service", "kafka"]),
    ("writer", &["core", "service", "kafka", "store"]),
    ("operator", &["core", "service", "store", "crds"]),
    ("gateway", &["core", "service", "store", "crds"]),
    ("cli", &["core", "service", "store", "crds", "agent", "writer", "operator", "gateway"]),
    (
        "tests",
        &[
            "core", "crds", "store", "service", "kafka", "agent", "writer", "operator", "gateway", "cli",
            "logger",
        ],
    ),
    (
        "xtask",
        &[
            "core", "crds", "store", "service", "kafka", "agent", "writer", "operator", "gateway", "cli",
            "tests", "logger",
        ],
    ),
];

/// Which rooms may name a library: one place for each thing that reaches outside.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("rdkafka", &["kafka", "agent", "writer", "tests", "xtask"]),
    ("tokio-postgres", &["store", "tests", "xtask"]),
    ("tokio-postgres-rustls", &["store"]),
    ("refinery", &["store"]),
    ("redis", &["writer", "gateway", "tests", "xtask"]),
    ("inotify", &["agent"]),
];

/// What `core` may not reach even through another library.
const NEVER_UNDER_CORE: &[&str] = &[
    "tokio",
    "kube",
    "k8s-openapi",
    "rdkafka",
    "tokio-postgres",
    "redis",
    "axum",
    "hyper",
    "rustix",
    "libc",
    "inotify",
    "tempfile",
    "rand",
];

/// What the sources of `core` may not say: I/O, clocks, the process's environment, threads, async.
const NEVER_IN_CORE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::io::stdin",
    "std::env",
    "std::process",
    "std::thread",
    "std::time",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "async fn",
    "async move",
    "println",
    "eprintln",
];

/// How a statement begins, in lower case; what follows may not be `partition` or `partitions`, which our own messages speak of.
const SQL: &[&str] = &[
    "select ",
    "insert into ",
    "delete from ",
    "update only ",
    "create table ",
    "create index ",
    "create role ",
    "create database ",
    "create schema ",
    "alter table ",
    "alter role ",
    "alter database ",
    "drop table ",
    "drop role ",
    "drop database ",
    "truncate ",
    "grant ",
    "revoke ",
    "copy (",
    "vacuum",
    "begin;",
    "set local ",
    "set timezone",
];

/// What stands only inside of statements.
const SQL_INSIDE: &[&str] = &[
    " from stdin",
    "on conflict",
    "attach partition",
    "detach partition",
    "pg_advisory",
    "pg_catalog",
    "pg_class",
    "pg_stat_",
];

/// Rooms whose sources may hold SQL: the store, and the tests that look behind it.
const SPEAK_SQL: &[&str] = &["store", "tests", "xtask"];

pub fn import_faults(packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        let room = package.room.as_str();
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{room}: a room without a law; say in MAY_IMPORT whom it may import"));
            continue;
        };
        for dependency in &package.dependencies {
            if let Some(other) = room_of(dependency) {
                // A room may hold several packages (the tests and their generator).
                if other != room && !allowed.contains(&other) {
                    faults.push(format!("{room} imports {other}; it may import only {allowed:?}"));
                }
            } else if let Some((_, rooms)) = ONLY_IN.iter().find(|(library, _)| library == dependency)
                && !rooms.contains(&room)
            {
                faults.push(format!("{room} depends on {dependency}; only {rooms:?} may"));
            }
        }
        if room == "core" {
            for never in NEVER_UNDER_CORE.iter().filter(|never| package.closure.contains(**never)) {
                faults.push(format!("core reaches {never}, directly or through a library"));
            }
        }
    }
    faults
}

/// `cordwood-core` -> `core`; `None` for what is not of this workspace.
pub fn room_of(package: &str) -> Option<&str> {
    match package {
        "xtask" => Some("xtask"),
        "cordwood-generator" => Some("tests"),
        _ => package.strip_prefix("cordwood-"),
    }
}

/// What one source file breaks. `path` is relative to the top, with `/`.
pub fn source_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let room = path.split('/').next().unwrap_or_default();
    let whole = split(text);
    let mut fault = |line: usize, what: String| faults.push(format!("{path}:{line}: {what}"));

    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        fault(lines, format!("{lines} lines; a file has at most {FILE_LINES_MAX}, one subject each"));
    }
    // A module's own tests, in a file beside it, are told by its name.
    if !text.starts_with("//!") && !path.ends_with("tests.rs") {
        fault(1, "does not open with `//!`: its job and what it promises".into());
    }
    for (line, comment) in &whole.comments {
        for word in ["TODO", "FIXME", "XXX"].iter().filter(|word| has_word(comment, word)) {
            fault(*line, format!("`{word}`: do it, or write an issue"));
        }
    }
    for word in ["todo!", "unimplemented!"] {
        if let Some(line) = whole.code.lines().position(|l| l.contains(word)) {
            fault(line + 1, format!("`{word}`"));
        }
    }
    if let Some(line) = whole.code.lines().position(|l| l.contains("#[ignore")) {
        fault(line + 1, "a test that is switched off".into());
    }
    unsafe_faults(&whole, &mut fault);

    let shipped = split(text).shipped();
    if path.starts_with("core/src/") {
        for word in NEVER_IN_CORE {
            if let Some(line) = shipped.line_of(word) {
                fault(line, format!("`{word}` in core, which does no I/O and reads no clock"));
            }
        }
    }
    if !SPEAK_SQL.contains(&room) {
        if let Some(line) = whole.line_of("tokio_postgres") {
            fault(line, "`tokio_postgres` outside of the store".into());
        }
        for (line, string) in &shipped.strings {
            if let Some(word) = sql_in(string) {
                fault(*line, format!("SQL (`{word}`) outside of the store"));
            }
        }
    }
    faults
}

/// Sources of the interface that people write; its client is generated.
pub fn is_interface(path: &str) -> bool {
    [".ts", ".svelte", ".mjs", ".css"].iter().any(|end| path.ends_with(end))
        && !path.ends_with("/schema.d.ts")
}

/// A source of the loggers for TypeScript and Python, tests among them.
pub fn is_logger(path: &str) -> bool {
    path.starts_with("logger/") && [".ts", ".mjs", ".py"].iter().any(|end| path.ends_with(end))
}

/// What one source of these loggers breaks.
pub fn logger_faults(path: &str, text: &str) -> Vec<String> {
    let begin = if path.ends_with(".py") { "\"\"\"" } else { "// " };
    let mut faults = Vec::new();
    if !text.starts_with(begin) {
        faults.push(format!("{path}:1: does not open with a comment: its job and what it promises"));
    }
    for word in ["TODO", "FIXME"] {
        if let Some(line) = text.lines().position(|line| has_word(line, word)) {
            faults.push(format!("{path}:{}: `{word}`: do it, or write an issue", line + 1));
        }
    }
    faults
}

/// What lets a record's text become markup, or needs a laxer Content-Security-Policy.
const NEVER_IN_INTERFACE: &[&str] = &[
    "{@html",
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "style=\"",
    "as any",
    ": any;",
    ": any,",
    ": any)",
    ": any =",
];

/// What one source of the interface breaks.
pub fn interface_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let is_test = path.ends_with(".test.ts");
    let begin = if path.ends_with(".svelte") { "<!--" } else { "//" };
    if (path.ends_with(".svelte") || path.ends_with(".ts")) && !is_test && !text.starts_with(begin) {
        faults.push(format!("{path}:1: does not open with a comment: its job and what it promises"));
    }
    for word in NEVER_IN_INTERFACE {
        if let Some(line) = text.lines().position(|line| line.contains(word)) {
            faults.push(format!("{path}:{}: `{word}` in the interface", line + 1));
        }
    }
    for word in ["TODO", "FIXME"] {
        if let Some(line) = text.lines().position(|line| has_word(line, word)) {
            faults.push(format!("{path}:{}: `{word}`: do it, or write an issue", line + 1));
        }
    }
    faults
}

fn sql_in(string: &str) -> Option<&'static str> {
    let text = string.trim_start().to_lowercase();
    let begins = |word: &&&str| {
        text.strip_prefix(**word).is_some_and(|rest| !rest.trim_start().starts_with("partition"))
    };
    SQL.iter()
        .find(begins)
        .or_else(|| SQL_INSIDE.iter().find(|word| text.contains(**word)))
        .map(|word| word.trim())
}

/// `unsafe` needs, in the ten lines before it, an `allow(unsafe_code, reason = ...)` or a `SAFETY:` comment.
fn unsafe_faults(source: &Source, fault: &mut impl FnMut(usize, String)) {
    let code: Vec<&str> = source.code.lines().collect();
    for (at, line) in code.iter().enumerate().filter(|(_, line)| has_word(line, "unsafe")) {
        let from = at.saturating_sub(10);
        let allowed = code[from..=at].iter().any(|l| l.contains("unsafe_code") && l.contains("reason"));
        let told =
            source.comments.iter().any(|(n, text)| *n > from && *n <= at + 1 && text.contains("SAFETY:"));
        if !allowed && !told {
            fault(at + 1, format!("`unsafe` without a reason: {}", line.trim()));
        }
    }
}

/// What a room's Cargo.toml breaks: every version and lint stands in the top one.
pub fn manifest_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.contains("[lints]\nworkspace = true") {
        faults.push(format!("{path}: does not take the workspace's lints"));
    }
    let mut section = "";
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies")
            && line.contains('=')
            && !line.contains("workspace = true")
            && !line.contains(".workspace")
        {
            faults
                .push(format!("{path}:{}: a version of its own; put it into the top table: {line}", at + 1));
        } else if section == "[package]" && line.starts_with("version") && !line.contains("workspace") {
            faults.push(format!("{path}:{}: a version of its own: {line}", at + 1));
        }
    }
    faults
}

/// What ARCHITECTURE.md breaks: it names every top folder and every source file, and nothing that is not there.
pub fn map_faults(map: &str, folders: &[String], files: &[String]) -> Vec<String> {
    let named: BTreeSet<&str> = map.split('`').skip(1).step_by(2).collect();
    let mut faults = Vec::new();
    for folder in folders {
        if !named.contains(format!("{folder}/").as_str()) {
            faults.push(format!("ARCHITECTURE.md does not name the folder `{folder}/`"));
        }
    }
    for file in files.iter().filter(|file| is_mapped(file)) {
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
        let module = format!("{}/", folder);
        let told = named.contains(file.as_str())
            || named.contains(module.as_str())
                && map_row(map, &module).is_some_and(|row| names_module(row, name));
        if !told {
            faults.push(format!("ARCHITECTURE.md does not name {file}"));
        }
    }
    for word in &named {
        let path = word.trim_end_matches('/');
        let known = folders.iter().any(|f| f == path)
            || files.iter().any(|f| f == path || f.starts_with(&format!("{path}/")));
        if path.contains('/')
            && folders.iter().any(|f| path.starts_with(&format!("{f}/")))
            && !path.contains([' ', '{', '*', '<'])
            && !known
        {
            faults.push(format!("ARCHITECTURE.md names `{word}`, which is not there"));
        }
    }
    faults
}

/// The code map covers the sources that ship; entry points and module lists explain themselves.
fn is_mapped(file: &str) -> bool {
    file.ends_with(".rs")
        && file.contains("/src/")
        && !file.ends_with("tests.rs")
        && !file.split_once("/src/").is_some_and(|(_, rest)| rest.contains("tests/"))
        && !["lib.rs", "main.rs", "mod.rs"].contains(&file.rsplit('/').next().unwrap_or_default())
}

/// The table row or paragraph that begins with the folder's name.
fn map_row<'a>(map: &'a str, folder: &str) -> Option<&'a str> {
    map.split("\n\n")
        .flat_map(|part| if part.trim_start().starts_with('|') { part.lines().collect() } else { vec![part] })
        .find(|part| {
            part.trim_start_matches(['|', ' ', '-', '*', '\n', '#']).starts_with(&format!("`{folder}`"))
        })
}

fn names_module(row: &str, file: &str) -> bool {
    let module = file.trim_end_matches(".rs");
    row.split('`').skip(1).step_by(2).any(|word| word == module || word == file)
}
