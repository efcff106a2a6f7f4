//! Installs the packages of JavaScript programs into folders of the cache, once for each list of locked versions.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::env::cache;

/// A folder with the `node_modules` of `tests/<name>/package-lock.json`, which names no place to fetch them from: npm's own setting does.
/// Makes it when it is not in the cache yet, which needs the network.
///
/// # Errors
/// No npm, or no package registry.
pub fn packages(name: &str, what: &str) -> Result<PathBuf> {
    let (list, lock) =
        (cache::source(&format!("{name}/package.json")), cache::source(&format!("{name}/package-lock.json")));
    let version = xxhash_rust::xxh3::xxh3_64(&std::fs::read(&lock)?);
    cache::entry(&format!("{name}-javascript-{version:016x}"), what, |folder| {
        std::fs::copy(&list, folder.join("package.json"))?;
        std::fs::copy(&lock, folder.join("package-lock.json"))?;
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        cache::run(Command::new("npm").args(install).current_dir(folder)).map(drop)
    })
}
