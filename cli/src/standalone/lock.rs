//! Locks the data folder for one standalone: two would read the same files with one checkpoint.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Held as long as the value lives, however the process ends.
///
/// # Errors
/// When another process has it; names its pid.
pub fn take(data_dir: &Path) -> Result<File> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("make the folder {}", data_dir.display()))?;
    let path = data_dir.join("standalone.lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        bail!(
            "a `cordwood standalone` (pid {}) uses {} already: stop it, name its files to it, or give another --data-dir",
            pid.trim(),
            data_dir.display()
        );
    }
    file.set_len(0).and_then(|()| file.rewind()).with_context(|| format!("write {}", path.display()))?;
    writeln!(file, "{}", std::process::id()).with_context(|| format!("write {}", path.display()))?;
    Ok(file)
}
