//! Installs the packages of Python programs into virtual environments of the cache, once for each list of requirements.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::env::cache;

/// The interpreter of an environment with the packages of `tests/<name>/requirements.txt`. Makes it when it is not in the cache yet,
/// which needs the network.
///
/// # Errors
/// No Python 3 with `venv`, or no package registry.
pub fn environment(name: &str, what: &str) -> Result<PathBuf> {
    let requirements = cache::source(&format!("{name}/requirements.txt"));
    let version = xxhash_rust::xxh3::xxh3_64(&std::fs::read(&requirements)?);
    let entry = cache::entry(&format!("{name}-python-{version:016x}"), what, |folder| {
        // Moved into place afterwards: nothing in it is run but the packages, by path.
        cache::run(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")))?;
        let python = folder.join("venv/bin/python3");
        let install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"];
        cache::run(Command::new(python).args(install).arg(&requirements))?;
        Ok(())
    })?;
    Ok(entry.join("venv/bin/python3"))
}
