//! Writes the generated files that are committed; with `check` compares them byte by byte instead.

use anyhow::{Context, Result, bail};
use cordwood_crds::manifests;
use std::path::{Path, PathBuf};

/// # Errors
/// A file that cannot be read or written; with `check`, the names of those that differ.
#[allow(clippy::print_stdout)]
pub fn run(check: bool) -> Result<()> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the top folder")?;
    let mut stale = Vec::new();
    for (path, text) in files(top) {
        let now = std::fs::read_to_string(&path).unwrap_or_default();
        if now == text {
            continue;
        }
        let name = path.strip_prefix(top).unwrap_or(&path).display().to_string();
        if check {
            stale.push(name);
        } else {
            std::fs::create_dir_all(path.parent().context("a folder")?)?;
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            println!("wrote {name}");
        }
    }
    if !stale.is_empty() {
        bail!("not up to date, run `cargo xtask generate`: {}", stale.join(", "));
    }
    Ok(())
}

/// The custom resources' definitions, and the API's description. The chart carries a copy of the resources, because Helm packages only
/// what lies in its folder.
fn files(top: &Path) -> Vec<(PathBuf, String)> {
    let api = (top.join("gateway/openapi.json"), cordwood_gateway::openapi_json());
    let folders = [top.join("crds/yaml"), top.join("charts/cordwood/files/crds")];
    folders
        .iter()
        .flat_map(|folder| {
            manifests().into_iter().map(|manifest| (folder.join(manifest.file), manifest.yaml))
        })
        .chain([api])
        .collect()
}
