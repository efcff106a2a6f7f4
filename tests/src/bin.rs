//! Finds the binaries under test. They are built before the tests run, so that a test never measures a compiler.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Path of a binary of this workspace: in `$CORDWOOD_BIN_DIR`, else where cargo put this very test program's profile.
pub fn bin(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("CORDWOOD_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let test = std::env::current_exe().context("find this test's own path")?;
            let folder = test.parent().context("this test's folder")?;
            let folder = if folder.ends_with("deps") {
                folder.parent().context("the profile's folder")?
            } else {
                folder
            };
            folder.to_owned()
        }
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "{} does not exist: build it first (`cargo build --release --workspace --bins`) and point CORDWOOD_BIN_DIR at its folder",
            path.display()
        );
    }
    Ok(path)
}
