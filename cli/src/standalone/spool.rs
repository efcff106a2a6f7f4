//! Writes stdin to files of the data folder, which are then read like any other file, so that a crash loses nothing that was taken from the pipe. A
//! spool file is deleted when PostgreSQL has all of it. The audit records of the HTTP API take the same way.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use cordwood_agent::checkpoint;
use cordwood_agent::config::literal;
use serde::{Deserialize, Serialize};

/// A file is closed after the line that fills it, and the next begins.
const FILE_BYTES_MAX: u64 = 64 << 20;
const FOLDER: &str = "spool";

/// Whose lines a spool file holds; lies beside it as `<name>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    pub tenant: String,
    pub service: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    pub path: PathBuf,
    pub label: Label,
}

/// Spool files in the data folder, of this process and of earlier ones.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(data_dir: &Path) -> Result<Vec<Spooled>> {
    let folder = data_dir.join(FOLDER);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", folder.display())),
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let label = std::fs::read(path.with_extension("json")).ok();
            let label = label.and_then(|text| serde_json::from_slice(&text).ok());
            let label = label.unwrap_or_else(|| Label { tenant: String::new(), service: String::new() });
            found.push(Spooled { path, label });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// What a process writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Stdin,
    /// The gateway's audit records: who looked at what.
    Audit,
}

impl Kind {
    fn prefix(self, process: &str) -> String {
        match self {
            Kind::Stdin => format!("stdin-{process}-"),
            // Spool files of an earlier version have this name.
            Kind::Audit => format!("looks-{process}-"),
        }
    }
}

impl Spooled {
    /// Whether it is a file of this process.
    pub fn is_of(&self, kind: Kind, process: &str) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(&kind.prefix(process)))
    }
}

/// A pattern for the agent: the files of this process, and of no other. No two processes may have the name `process`.
pub fn pattern(data_dir: &Path, kind: Kind, process: &str) -> String {
    format!("{}/{}*.log", literal(&data_dir.join(FOLDER).display().to_string()), kind.prefix(process))
}

/// Removes what is stored. A label goes with its file.
pub fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(path.with_extension("json"));
}

/// Takes spool files that were removed out of the agent's checkpoint: they went because PostgreSQL has all of them, and the agent
/// would tell a file that is gone as a loss. One that was not read to its end stays.
///
/// # Errors
/// When the checkpoint cannot be read or written.
pub fn forget_removed(data_dir: &Path, state_dir: &Path) -> Result<()> {
    let folder = format!("file:{}/", data_dir.join(FOLDER).display());
    let mut checkpoint = checkpoint::load(state_dir).context("read the agent's checkpoint")?.checkpoint;
    let before = checkpoint.logs.len();
    checkpoint.logs.retain(|log| {
        let is_there = log.key.strip_prefix("file:").is_some_and(|path| Path::new(path).exists());
        !log.key.starts_with(&folder) || is_there || log.files.iter().any(|file| file.position < file.size)
    });
    if checkpoint.logs.len() < before {
        checkpoint::store(state_dir, &checkpoint.encode()).context("write the agent's checkpoint")?;
    }
    Ok(())
}

/// Copies stdin on a thread of its own (a read of a pipe cannot be cancelled). `ended` is set at its end.
///
/// # Errors
/// When the first file cannot be made.
pub fn start(data_dir: &Path, process: &str, label: &Label, ended: Arc<AtomicBool>) -> Result<()> {
    let mut spool = Spool::begin(data_dir, Kind::Stdin, process, label)?;
    spool.next_file()?;
    std::thread::spawn(move || {
        if let Err(error) = copy(&mut io::stdin().lock(), &mut spool) {
            tracing::error!(%error, "stdin is no longer read: spooling it failed");
        }
        ended.store(true, Ordering::Release);
    });
    Ok(())
}

/// Files that are written one after the other, in whole lines.
pub struct Spool {
    folder: PathBuf,
    prefix: String,
    label: Label,
    number: u32,
    file: Option<File>,
    bytes: u64,
}

impl Spool {
    /// The first file is there with the first line.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn begin(data_dir: &Path, kind: Kind, process: &str, label: &Label) -> Result<Spool> {
        let folder = data_dir.join(FOLDER);
        std::fs::create_dir_all(&folder).with_context(|| format!("make the folder {}", folder.display()))?;
        let (prefix, label) = (kind.prefix(process), label.clone());
        Ok(Spool { folder, prefix, label, number: 0, file: None, bytes: 0 })
    }

    fn next_file(&mut self) -> Result<()> {
        let path = self.folder.join(format!("{}{:05}.log", self.prefix, self.number));
        let label = path.with_extension("json");
        let text = serde_json::to_vec(&self.label).context("write the label")?;
        std::fs::write(&label, text).with_context(|| format!("write {}", label.display()))?;
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("create {}", path.display()))?;
        self.file = Some(file);
        self.bytes = 0;
        self.number += 1;
        Ok(())
    }
}

impl Write for Spool {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        // Past the limit, up to the end of the line and on to a new file.
        if self.bytes >= FILE_BYTES_MAX
            && let Some(end) = buffer.iter().position(|byte| *byte == b'\n')
        {
            self.put(&buffer[..=end])?;
            self.next_file().map_err(io::Error::other)?;
            return Ok(end + 1);
        }
        self.put(buffer)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Spool {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.next_file().map_err(io::Error::other)?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }
}

fn copy(input: &mut impl Read, spool: &mut Spool) -> io::Result<()> {
    let mut buffer = vec![0u8; 128 << 10];
    let mut last = b'\n';
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                last = buffer[count - 1];
                spool.write_all(&buffer[..count])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // The end of input ends its last line.
    if last != b'\n' { spool.write_all(b"\n") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(dir: &Path) -> Spool {
        let label = Label { tenant: "t".into(), service: "s".into() };
        Spool::begin(dir, Kind::Stdin, "1", &label).unwrap()
    }

    #[test]
    fn a_file_ends_with_a_whole_line_and_the_next_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spool(dir.path());
        copy(&mut &b"first\nsec"[..], &mut spool).unwrap();
        spool.bytes = FILE_BYTES_MAX;
        copy(&mut &b"ond\nthird"[..], &mut spool).unwrap();
        let files = list(dir.path()).unwrap();
        let texts: Vec<String> =
            files.iter().map(|file| std::fs::read_to_string(&file.path).unwrap()).collect();
        assert_eq!(texts, ["first\nsec\nond\n", "third\n"]);
        assert!(files.iter().all(|file| file.is_of(Kind::Stdin, "1") && !file.is_of(Kind::Audit, "1")));
        assert_eq!(files[1].label, Label { tenant: "t".into(), service: "s".into() });
        remove(&files[0].path);
        assert_eq!(list(dir.path()).unwrap(), files[1..]);
        assert_eq!(std::fs::read_dir(dir.path().join(FOLDER)).unwrap().count(), 2);
    }
}
