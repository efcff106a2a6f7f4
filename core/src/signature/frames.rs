//! The frames of a stack trace of Java, Python, Go, Rust, Node or .NET in a text of several lines.

use super::in_app::{Language, is_in_app};
use crate::limits::{SIGNATURE_NAME_BYTES_MAX, SIGNATURE_READ_BYTES_MAX};

/// What a text says of an error beside its frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace<'a> {
    /// The text has frames, the application's own or a library's.
    pub any: bool,
    /// What stands before the frames; behind them in Python.
    pub head: &'a str,
    /// Module and function of the topmost frames in the application's own code.
    pub frames: Vec<String>,
}

/// One frame as it is written.
struct Frame<'a> {
    language: Language,
    name: &'a str,
    path: &'a str,
}

/// Reads at most `frames_max` of the application's own frames.
pub fn read(text: &str, frames_max: usize) -> Trace<'_> {
    let text = &text[..text.floor_char_boundary(SIGNATURE_READ_BYTES_MAX)];
    let mut trace = Trace { any: false, head: text, frames: Vec::new() };
    let mut lines = Lines { text, at: 0 };
    let mut before = "";
    // A frame of Rust, whose path is on the next line, if anywhere.
    let mut waiting: Option<Frame<'_>> = None;
    let mut python = Vec::new();
    let mut python_end = None;
    // (The frames of Python are read to the end: the topmost stand last.)
    while trace.frames.len() < frames_max
        && let Some((at, line)) = lines.next()
    {
        let indented = line.starts_with([' ', '\t']);
        let trimmed = line.trim();
        if trimmed.starts_with("Traceback (most recent call last)") {
            trace.open(text, at);
            python.clear();
            python_end = None;
        }
        let frame = if let Some(frame) = python_frame(trimmed) {
            if matches!(python_end, Some(Some(_))) {
                python.clear();
            }
            python_end = Some(None);
            trace.open(text, at);
            python.push(frame);
            None
        } else if let Some(mut rust) = waiting.take() {
            if let Some(path) = trimmed.strip_prefix("at ").filter(|_| indented) {
                rust.path = path;
                trace.push(&rust, frames_max);
                None
            } else {
                trace.push(&rust, frames_max);
                frame_of(line, trimmed, before)
            }
        } else {
            frame_of(line, trimmed, before)
        };
        if let Some(frame) = frame {
            trace.open(text, if frame.language == Language::Go { at - before.len() - 1 } else { at });
            if frame.language == Language::Rust {
                waiting = Some(frame);
            } else {
                trace.push(&frame, frames_max);
            }
        } else if python_end == Some(None)
            && !indented
            && !trimmed.is_empty()
            && python_frame(trimmed).is_none()
        {
            python_end = Some(Some(trimmed));
        }
        before = line;
    }
    if let Some(rust) = waiting {
        trace.push(&rust, frames_max);
    }
    if let Some(Some(error)) = python_end {
        trace.head = error;
    }
    for frame in python.iter().rev() {
        trace.push(frame, frames_max);
    }
    trace
}

impl<'a> Trace<'a> {
    /// The first frame begins at `at`.
    fn open(&mut self, text: &'a str, at: usize) {
        if !self.any {
            self.any = true;
            self.head = text[..at].trim_end();
        }
    }

    fn push(&mut self, frame: &Frame<'_>, frames_max: usize) {
        if self.frames.len() < frames_max && is_in_app(frame.language, frame.name, frame.path) {
            let mut name = clean(frame);
            name.truncate(name.floor_char_boundary(SIGNATURE_NAME_BYTES_MAX));
            if !name.is_empty() {
                self.frames.push(name);
            }
        }
    }
}

/// The lines of a text and where each begins.
struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<(usize, &'a str)> {
        if self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        let end = memchr::memchr(b'\n', &self.text.as_bytes()[start..])
            .map_or(self.text.len(), |found| start + found);
        self.at = end + 1;
        Some((start, &self.text[start..end]))
    }
}

/// `File "/app/cart.py", line 12, in add`.
fn python_frame(line: &str) -> Option<Frame<'_>> {
    let (path, rest) = line.strip_prefix("File \"")?.split_once('"')?;
    let rest = rest.strip_prefix(", line ")?;
    let name = rest.split_once(", in ").map_or("<module>", |(_, name)| name);
    Some(Frame { language: Language::Python, name, path })
}

fn frame_of<'a>(line: &'a str, trimmed: &'a str, before: &'a str) -> Option<Frame<'a>> {
    if let Some(rest) = trimmed.strip_prefix("at ") {
        return at_frame(rest);
    }
    let line = line.strip_suffix('\r').unwrap_or(line);
    if let Some(path) = line.strip_prefix('\t').or_else(|| line.strip_prefix("    ")) {
        return go_frame(before, path);
    }
    rust_frame(trimmed)
}

/// `main.(*Cart).Add(0xc00001, 0x1)`, and on the next line `\t/app/cart.go:12 +0x1d`.
fn go_frame<'a>(before: &'a str, path: &'a str) -> Option<Frame<'a>> {
    let path = path.split(' ').next()?;
    let (file, line) = path.rsplit_once(':')?;
    if !file.ends_with(".go") || !line.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let name = before.trim();
    if name.is_empty() || name.starts_with("created by ") || name.starts_with("goroutine ") {
        return None;
    }
    let name = if name.ends_with(')') { name.rsplit_once('(').map_or(name, |(name, _)| name) } else { name };
    Some(Frame { language: Language::Go, name, path: file })
}

/// `4: shop::cart::add`.
fn rust_frame(line: &str) -> Option<Frame<'_>> {
    let (number, name) = line.split_once(": ")?;
    let is_number = matches!(number.len(), 1..=4) && number.bytes().all(|byte| byte.is_ascii_digit());
    // (A backtrace of all addresses: `4:     0x55d0 - shop::cart::add`.)
    let name = name.trim();
    let name = name.strip_prefix("0x").and_then(|rest| rest.split_once(" - ")).map_or(name, |(_, name)| name);
    let is_name =
        name.contains("::") || name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_number && is_name && !name.is_empty()).then_some(Frame { language: Language::Rust, name, path: "" })
}

/// What follows `at`: Node `add (/app/cart.js:12:5)` or `/app/cart.js:12:5`, Java `shop.Cart.add(Cart.java:12)`,
/// .NET `Shop.Cart.Add(Item item) in /src/Cart.cs:line 12`.
fn at_frame(rest: &str) -> Option<Frame<'_>> {
    if let Some(path) = place(rest) {
        return Some(Frame { language: Language::Node, name: "", path });
    }
    let open = rest.find('(')?;
    let (name, inside) = (&rest[..open], &rest[open + 1..]);
    if let Some(inside) = inside.strip_suffix(')').filter(|_| name.ends_with(' ')) {
        let path = place(inside).or_else(|| matches!(inside, "native" | "<anonymous>").then_some(inside));
        if let Some(path) = path {
            return Some(Frame { language: Language::Node, name: name.trim_end(), path });
        }
    }
    // (What follows the bracket is the archive: `~[shop.jar:1.2]`.)
    let source = inside.split_once(')').map_or(inside, |(source, _)| source);
    let file = source.split_once(':').map_or(source, |(file, _)| file);
    let is_java = matches!(source, "Native Method" | "Unknown Source" | "<generated>" | "SourceFile")
        || [".java", ".kt", ".scala", ".groovy", ".clj"].iter().any(|suffix| file.ends_with(suffix));
    if is_java {
        let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
        return Some(Frame { language: Language::Java, name, path: "" });
    }
    let path = rest.rsplit_once(" in ").map_or("", |(_, path)| path);
    let is_name = name.contains('.') && !name.contains(' ');
    is_name.then_some(Frame { language: Language::DotNet, name, path })
}

/// The path of `path:line:column`.
fn place(text: &str) -> Option<&str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (rest, column) = text.rsplit_once(':')?;
    let (path, line) = rest.rsplit_once(':')?;
    let path = path.strip_prefix("async ").unwrap_or(path);
    (is_number(line) && is_number(column) && !path.contains('(')).then_some(path)
}

/// Module and function without what a build gives them: numbers, closures, generic parameters, hashes.
fn clean(frame: &Frame<'_>) -> String {
    match frame.language {
        Language::Python => format!("{} {}", module(frame.path), plain(frame.name)),
        Language::Node => {
            let name = frame
                .name
                .trim_start_matches("async ")
                .trim_start_matches("new ")
                .trim_start_matches("Object.");
            let name = name.split_once(" [as ").map_or(name, |(name, _)| name);
            format!("{} {}", module(frame.path), plain(name)).trim_end().to_owned()
        }
        Language::Java => {
            let name = frame.name.split_once("$$").map_or(frame.name, |(name, _)| name);
            plain(&name.replace("lambda$", ""))
        }
        Language::DotNet => plain(&dotnet(frame.name)),
        Language::Go => plain(&go(frame.name)),
        Language::Rust => plain(&rust(frame.name)),
    }
}

/// The last two parts of a path, without the file's suffix: where it was installed does not matter.
fn module(path: &str) -> String {
    let path = path.split_once("://").map_or(path, |(_, path)| path);
    let mut parts = path.rsplit(['/', '\\']).filter(|part| !part.is_empty());
    let file = parts.next().unwrap_or_default();
    // (A bundle's name has its hash behind the first dot.)
    let file = file.split('.').next().unwrap_or_default();
    match parts.next() {
        Some(folder) => plain(&format!("{folder}/{file}")),
        None => plain(file),
    }
}

/// `Shop.Cart.<AddAsync>d__5.MoveNext` is `Shop.Cart.AddAsync`.
fn dotnet(name: &str) -> String {
    let name = name.strip_suffix(".MoveNext").unwrap_or(name);
    let mut out = String::with_capacity(name.len());
    for part in name.split('.') {
        let inner = match part.split_once('<') {
            Some(("", rest)) => rest.split_once('>').map_or(part, |(inner, _)| inner),
            _ => part.split(['`', '[']).next().unwrap_or_default(),
        };
        if !inner.is_empty() {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(inner);
        }
    }
    out
}

/// `main.(*Cart[...]).Add.func1.2` is `main.Cart.Add`.
fn go(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut depth = 0usize;
    for c in name.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '(' | ')' | '*' => {}
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    if let Some(at) = out.find(".func")
        && out[at + 5..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-')
    {
        out.truncate(at);
    }
    out
}

/// `<shop::Cart as shop::Add>::add::{{closure}}::h0123456789abcdef` is `shop::Cart as shop::Add::add`.
fn rust(name: &str) -> String {
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    };
    let mut out = String::with_capacity(name.len());
    let mut depth = 0usize;
    for c in name.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '<' | '>' => {}
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    while let Some(shorter) = out.strip_suffix("::") {
        out.truncate(shorter.len());
    }
    out
}

/// Without the numbers that stand alone between other characters (`$0`, `_5`), and without what is left at the end.
fn plain(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let run = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        if run == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, behind) = rest.split_at(run);
        let changes = word
            .as_bytes()
            .windows(2)
            .filter(|two| two[0].is_ascii_digit() != two[1].is_ascii_digit())
            .count();
        if word.bytes().any(|byte| byte.is_ascii_alphabetic()) && !(word.len() >= 8 && changes >= 3) {
            out.push_str(word);
        }
        rest = behind;
    }
    let kept = out.trim_end_matches(['$', '_', '.', ':', '#', '-', '/']).len();
    out.truncate(kept);
    out
}
