//! Programs that no system package has, made once and kept outside the tree, keyed by version.
//!
//! An entry appears whole or not at all: it is made in a folder beside it and renamed, under a lock, so that two test runs
//! that start together make it once.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// `$CORDWOOD_CACHE`, else `${XDG_CACHE_HOME:-~/.cache}/cordwood`.
pub fn root() -> Result<PathBuf> {
    if let Some(root) = std::env::var_os("CORDWOOD_CACHE").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(root));
    }
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(base.join("cordwood"))
}

/// The folder of entry `name` (which holds its version); made by `make(folder)` when it is not there yet. `what` is said on
/// stderr before, and the time it took afterwards.
pub fn entry(name: &str, what: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let root = root()?;
    let path = root.join(name);
    if path.is_dir() {
        return Ok(path);
    }
    fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
    let lock = root.join(format!("{name}.lock"));
    let lock = File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
    flock(&lock, FlockOperation::LockExclusive).with_context(|| format!("lock cache entry {name}"))?;
    if path.is_dir() {
        return Ok(path);
    }
    say(&format!("cache: {what} -> {}", path.display()));
    let began = Instant::now();
    let draft = root.join(format!("{name}.draft"));
    if draft.exists() {
        fs::remove_dir_all(&draft).with_context(|| format!("remove {}", draft.display()))?;
    }
    fs::create_dir(&draft).with_context(|| format!("create {}", draft.display()))?;
    make(&draft).with_context(|| format!("make cache entry {name} ({what})"))?;
    fs::rename(&draft, &path).with_context(|| format!("rename {} to {}", draft.display(), path.display()))?;
    say(&format!("cache: {name} made in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(path)
}

/// A line for the person who waits; straight to stderr, past the test harness's capture.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs a command to its end; its output is shown only when it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {shown}"))?;
    if !output.status.success() {
        bail!(
            "{shown}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Copies a folder with owners, modes and links.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("-a").arg("--reflink=auto").arg(from).arg(to)).map(drop)
}

/// A file of this crate that the cache is made from (a `pom.xml`, a `go.mod`).
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
