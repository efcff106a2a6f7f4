//! A Rust source split into code, comments and string literals, just well enough to look for words in one and not in the other.

/// One source file, its parts separated; each part keeps the line breaks, so that line numbers agree.
#[derive(Debug, Default)]
pub struct Source {
    /// Code with comments and the insides of literals blanked.
    pub code: String,
    /// Every string literal with the line (from 1) it starts on.
    pub strings: Vec<(usize, String)>,
    /// Every comment with the line it starts on.
    pub comments: Vec<(usize, String)>,
}

impl Source {
    /// The number of the first line that holds `word` as a whole path segment or identifier, if any.
    pub fn line_of(&self, word: &str) -> Option<usize> {
        self.code.lines().position(|line| has_word(line, word)).map(|at| at + 1)
    }

    /// The same source without what stands in `#[cfg(test)] mod ... { }` at its end: laws on what ships do not bind its tests.
    pub fn shipped(mut self) -> Self {
        if let Some(at) = self.code.find("#[cfg(test)]\nmod ") {
            let lines = self.code[..at].lines().count();
            self.code.truncate(at);
            self.strings.retain(|(line, _)| *line <= lines);
            self.comments.retain(|(line, _)| *line <= lines);
        }
        self
    }
}

/// Whether `word` (an identifier or a path of them) stands in `line` with no identifier character on either side.
pub fn has_word(line: &str, word: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(name)
            && !line[at + word.len()..].chars().next().is_some_and(name)
    })
}

pub fn split(text: &str) -> Source {
    let mut out = Source::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut line = 1;
    while at < bytes.len() {
        let rest = &text[at..];
        if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            out.comments.push((line, rest[..end].to_owned()));
            at += end;
        } else if rest.starts_with("/*") {
            let end = block_comment(rest);
            out.comments.push((line, rest[..end].to_owned()));
            line += keep_lines(&mut out.code, &rest[..end]);
            at += end;
        } else if let Some((open, close)) = string_at(rest, out.code.chars().next_back()) {
            out.strings.push((line, rest[open..close].to_owned()));
            out.code.push_str("\"\"");
            let end = at + close + closing(rest, open);
            line += keep_lines(&mut out.code, &text[at..end.min(text.len())]);
            at = end.min(text.len());
        } else if let Some(length) = char_at(rest) {
            out.code.push_str("' '");
            at += length;
        } else {
            let c = rest.chars().next().expect("not at the end");
            line += usize::from(c == '\n');
            out.code.push(c);
            at += c.len_utf8();
        }
    }
    out
}

fn keep_lines(code: &mut String, skipped: &str) -> usize {
    let lines = skipped.matches('\n').count();
    code.extend(std::iter::repeat_n('\n', lines));
    lines
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// If a string literal starts here: where its inside begins and ends. A prefix (`b`, `r#`, ...) must not be an identifier's tail.
fn string_at(rest: &str, before: Option<char>) -> Option<(usize, usize)> {
    let prefix: usize = ["br", "cr", "b", "c", "r", ""]
        .iter()
        .find(|p| {
            rest.strip_prefix(**p).is_some_and(|r| {
                r.starts_with('"') || (p.ends_with('r') && r.trim_start_matches('#').starts_with('"'))
            })
        })?
        .len();
    if prefix > 0 && before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let raw = rest[..prefix].ends_with('r');
    let hashes = rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len();
    if hashes > 0 && !raw {
        return None;
    }
    let open = prefix + hashes + 1;
    if raw {
        let close = format!("\"{}", "#".repeat(hashes));
        return Some((open, rest[open..].find(&close).map_or(rest.len(), |at| open + at)));
    }
    let mut escaped = false;
    for (at, c) in rest[open..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some((open, open + at)),
            _ => {}
        }
    }
    Some((open, rest.len()))
}

/// Length of what closes the literal whose inside begins at `open`: the quote and as many hashes as opened it.
fn closing(rest: &str, open: usize) -> usize {
    1 + rest[..open].matches('#').count()
}

/// Length of a character literal here; `None` for a lifetime.
fn char_at(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let mut chars = inside.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        return inside[2..].find('\'').map(|at| at + 4);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 2)
}
