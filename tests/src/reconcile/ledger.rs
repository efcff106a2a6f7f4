//! The ledger: what generators wrote, kept apart from everything that the faults touch.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// All streams of one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Records of another run are not looked at.
    pub run: String,
    /// By the generator's stream name.
    pub streams: BTreeMap<String, Written>,
    /// Records that no generator wrote may be there too (on a node: the logs of Cordwood's own pods).
    pub others_allowed: bool,
}

/// What is known about one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Lines 1 to this one were written for certain.
    pub lines: u64,
    /// And none after it. Not when the generator was killed between a line and its note.
    pub complete: bool,
    pub tenant: String,
    pub namespace: String,
    pub pod: String,
    pub stderr: bool,
    /// `<pod uid>/<container>/<restart count>/<stdout|stderr>`; with it the counters are compared too.
    pub stream_key: Option<String>,
}

impl Ledger {
    pub fn lines(&self) -> u64 {
        self.streams.values().map(|written| written.lines).sum()
    }
}

/// Reads the notes that `cordwood-generator --ledger` keeps: stream name -> (lines, complete).
pub fn notes(folder: &Path, run: &str) -> Result<BTreeMap<String, (u64, bool)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry.context("read the ledger's folder")?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(stream) = name.strip_prefix(run).and_then(|rest| rest.strip_prefix('~')) else { continue };
        if stream.ends_with(".draft") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let (lines, state) =
            text.trim().split_once(' ').with_context(|| format!("read {}", path.display()))?;
        let lines = lines.parse().with_context(|| format!("read {}", path.display()))?;
        found.insert(stream.to_owned(), (lines, state == "done"));
    }
    Ok(found)
}
