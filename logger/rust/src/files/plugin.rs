//! Writes the log of one plugin: what its supervisor says of it, and what it prints to stdout and stderr, line by line with its pid.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::thread::JoinHandle;

use serde_json::{Map, Value};

use super::line::FileLine;
use super::rotating::{FILE_BYTES_MAX, Rotating};
use crate::fields::{Fields, Serialized};
use crate::level::Level;
use crate::settings::say;

/// Bytes of a plugin's line that are taken; the rest of it is passed over.
const LINE_BYTES_MAX: usize = 256 << 10;
const ID_BYTES_MAX: usize = 128;

/// Writes `<folder>/plugins/<id>.log`. Cheap to clone; its clones write one file.
#[derive(Clone, Debug)]
pub struct PluginLogger {
    id: Arc<str>,
    file: Arc<Rotating>,
}

/// The threads that read what a child writes.
#[derive(Debug)]
#[must_use = "`wait` returns when all that the child wrote is in the file"]
pub struct Captured {
    readers: Vec<JoinHandle<()>>,
}

impl Captured {
    /// Waits until the child has closed its stdout and stderr, and all of it is written.
    pub fn wait(self) {
        for reader in self.readers {
            // (A reader does not panic.)
            let _ = reader.join();
        }
    }
}

impl PluginLogger {
    /// Opens the log of a plugin. Its id is a file's name: letters, digits, `-`, `_` and `.`, the first none of the last two.
    ///
    /// # Errors
    /// When the id is no such name, the file cannot be opened, or another process writes it.
    pub fn open(folder: impl AsRef<Path>, id: &str) -> io::Result<PluginLogger> {
        PluginLogger::open_with(folder, id, FILE_BYTES_MAX)
    }

    /// The same with another size at which its file is rotated.
    ///
    /// # Errors
    /// As [`PluginLogger::open`].
    pub fn open_with(folder: impl AsRef<Path>, id: &str, bytes_max: u64) -> io::Result<PluginLogger> {
        let is_name = (1..=ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && !id.starts_with(['.', '-']);
        if !is_name {
            let what = format!("a plugin's id cannot be {id:?}: take letters, digits, `-`, `_` and `.`");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let file = Rotating::open(&folder.as_ref().join("plugins"), id, bytes_max)?;
        Ok(PluginLogger { id: id.into(), file: Arc::new(file) })
    }

    /// Where the file is: for the plugin's init message.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes one line. It is with the kernel when this returns.
    ///
    /// # Errors
    /// When the file cannot be written; part of the line may be there, and is then ended before the next one.
    pub fn log(&self, level: Level, message: &str) -> io::Result<()> {
        self.write(FileLine::new(level, message))
    }

    /// The same of a whole line; its plugin is this one.
    ///
    /// # Errors
    /// As [`PluginLogger::log`].
    pub fn write(&self, line: FileLine<'_>) -> io::Result<()> {
        self.file.write(&FileLine { plugin: Some(&self.id), ..line }.to_bytes())
    }

    /// Takes the stdout and stderr of a child, which must be piped, and writes what comes line by line with its pid. A line that is a JSON object keeps
    /// its level, message and fields. Of another the level is the word that it begins with; else INFO on stdout, ERROR on stderr.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn capture(&self, child: &mut Child) -> io::Result<Captured> {
        let pid = child.id();
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(self.read(stdout, pid, Level::Info)?);
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(self.read(stderr, pid, Level::Error)?);
        }
        Ok(Captured { readers })
    }

    fn read(&self, from: impl Read + Send + 'static, pid: u32, level: Level) -> io::Result<JoinHandle<()>> {
        let logger = self.clone();
        std::thread::Builder::new().name(format!("log of {}", self.id)).spawn(move || {
            let mut reader = BufReader::new(from);
            let mut has_failed = false;
            loop {
                match next_line(&mut reader) {
                    Ok(Some(line)) => {
                        let written = logger.write_captured(&line, pid, level);
                        // The child must go on: it is read even when nothing can be written.
                        if let (Err(error), false) = (&written, has_failed) {
                            say(&format!("{}: {error}", logger.path().display()));
                        }
                        has_failed = written.is_err();
                    }
                    Ok(None) | Err(_) => return,
                }
            }
        })
    }

    fn write_captured(&self, line: &[u8], pid: u32, level: Level) -> io::Result<()> {
        let text = String::from_utf8_lossy(line);
        if let Ok(Value::Object(members)) = serde_json::from_str(&text) {
            return self.write_object(members, pid, level);
        }
        let level = leading_level(&text).unwrap_or(level);
        self.write(FileLine { pid: Some(pid), ..FileLine::new(level, &text) })
    }

    fn write_object(&self, mut members: Map<String, Value>, pid: u32, level: Level) -> io::Result<()> {
        let named = members.get("level").and_then(Value::as_str).and_then(Level::named);
        if named.is_some() {
            members.remove("level");
        }
        let mut first = |names: &[&str]| {
            let name = names.iter().find(|name| members.get(**name).is_some_and(Value::is_string))?;
            members.remove(*name).and_then(|value| value.as_str().map(str::to_owned))
        };
        let message = first(&["message", "msg"]).unwrap_or_default();
        let error = first(&["error"]);
        let more = members.iter().fold(Fields::new(), |more, (name, value)| match value {
            Value::Null => more,
            other => more.with(name, Serialized(other)),
        });
        let line = FileLine::new(named.unwrap_or(level), &message);
        self.write(FileLine { pid: Some(pid), error: error.as_deref(), more, ..line })
    }
}

/// The next line without its end; `None` at the end. Of one that is too long the beginning.
fn next_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut is_any = false;
    loop {
        let piece = match reader.fill_buf() {
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if piece.is_empty() {
            break;
        }
        is_any = true;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = &piece[..end.unwrap_or(piece.len())];
        let room = LINE_BYTES_MAX - line.len();
        line.extend_from_slice(&taken[..taken.len().min(room)]);
        let used = taken.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(is_any.then_some(line))
}

/// The level that a text begins with: `ERROR: no such file`, `[warn] late`.
fn leading_level(text: &str) -> Option<Level> {
    let text = text.trim_start().trim_start_matches('[');
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    // (An ordinary word that begins a sentence, `Error handling is on`, is none.)
    let is_marked = rest.starts_with([':', ']', '|']) || word.chars().all(|c| c.is_ascii_uppercase());
    Level::named(word).filter(|_| is_marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_at_the_beginning_counts() {
        for (text, expected) in [
            ("ERROR no such file", Some(Level::Error)),
            ("[warn] late", Some(Level::Warn)),
            ("  WARNING: late", Some(Level::Warn)),
            ("debug: x", Some(Level::Debug)),
            ("Error handling is on", None),
            ("information", None),
            ("", None),
        ] {
            assert_eq!(leading_level(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_are_read_whole_or_by_their_beginning() {
        let long = "x".repeat(LINE_BYTES_MAX + 5_000);
        let text = format!("a\r\n\n{long}\nlast");
        let mut reader = BufReader::with_capacity(7, text.as_bytes());
        let mut lengths = Vec::new();
        while let Some(line) = next_line(&mut reader).expect("a line") {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [1, 0, LINE_BYTES_MAX, 4]);
    }

    #[test]
    fn ids_that_are_no_names_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for id in ["", ".", "..", "../x", "a/b", "a b", "-x", "é", &"x".repeat(129)] {
            assert!(PluginLogger::open(folder.path(), id).is_err(), "{id}");
        }
        assert!(PluginLogger::open(folder.path(), "hello-plugin_2.x").is_ok());
    }
}
