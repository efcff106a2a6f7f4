//! An OTLP decoder and encoder that shares no line with ours: a Python program (`tests/otlp/otlp.py`) on OpenTelemetry's own
//! packages, in a virtual environment of the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::env::cache;
use crate::python;

/// The program, ready to run.
#[derive(Debug)]
pub struct Otlp {
    python: PathBuf,
    folder: tempfile::TempDir,
}

/// One record as the program read it.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    pub resource: serde_json::Map<String, serde_json::Value>,
    pub scope: serde_json::Map<String, serde_json::Value>,
    pub time: u64,
    pub observed: u64,
    /// `SEVERITY_NUMBER_INFO`, ...
    pub severity: String,
    /// A text, `{"base64": ..}`, or what else the body was.
    pub body: serde_json::Value,
}

/// One record of a message that the program wrote.
#[derive(Clone, Debug, Deserialize)]
pub struct Wrote {
    /// As it is to be stored.
    pub level: String,
    /// A text that is to be found in its body.
    pub contains: String,
}

impl Otlp {
    /// Makes the virtual environment when it is not in the cache yet (which needs the network).
    pub fn ready() -> Result<Otlp> {
        let python = python::environment("otlp", "OpenTelemetry's Python packages")?;
        let folder = tempfile::tempdir().context("create a folder for messages")?;
        Ok(Otlp { python, folder })
    }

    fn run(&self, args: &[&std::ffi::OsStr]) -> Result<String> {
        cache::run(Command::new(&self.python).arg("-I").arg(cache::source("otlp/otlp.py")).args(args))
    }

    /// All records of these messages, in their order.
    pub fn read(&self, messages: &[impl AsRef<[u8]>]) -> Result<Vec<Seen>> {
        let mut paths = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            let path = self.folder.path().join(format!("{index}.otlp"));
            std::fs::write(&path, message).with_context(|| format!("write {}", path.display()))?;
            paths.push(path);
        }
        let mut args = vec!["read".as_ref()];
        args.extend(paths.iter().map(|path| path.as_os_str()));
        let text = self.run(&args)?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("read {line}"))).collect()
    }

    /// One message of the program's own, and what is in it; `run` is in every body.
    pub fn write(&self, run: &str) -> Result<(Vec<u8>, Vec<Wrote>)> {
        let path = self.folder.path().join("written.otlp");
        let text = self.run(&["write".as_ref(), path.as_os_str(), "--run".as_ref(), run.as_ref()])?;
        let message = read_file(&path)?;
        let wrote = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok((message, wrote))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}
