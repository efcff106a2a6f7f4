//! Makes the next read come from the disk: drops the files of one folder from the kernel's page cache, and no other file. `stored` and
//! `victoria` call it before each cold search. Prints nothing.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise, fsync};

/// Nobody has the files open for writing. A disk below may hold them all the same.
///
/// # Errors
/// A file that cannot be read.
pub fn drop_cached(folder: &Path) -> Result<()> {
    let mut stack = vec![folder.to_owned()];
    while let Some(path) = stack.pop() {
        let kind = fs::symlink_metadata(&path).with_context(|| format!("look at {}", path.display()))?;
        if kind.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("list {}", path.display()))? {
                stack.push(entry?.path());
            }
        } else if kind.is_file() {
            let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
            // The kernel keeps what is not on the disk yet.
            fsync(&file).with_context(|| format!("sync {}", path.display()))?;
            fadvise(&file, 0, None, Advice::DontNeed)
                .with_context(|| format!("drop from the page cache {}", path.display()))?;
        }
    }
    Ok(())
}
