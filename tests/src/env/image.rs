//! Container images without a registry: a static program on an empty file system, made by buildah.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;

/// The generator's image; also the pods' sandbox (`pause`).
pub const GENERATOR: &str = "localhost/cordwood-generator:test";

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The folder with the static program `cordwood-generator` and its image `image.tar`, created again when its sources change.
pub fn generator() -> Result<PathBuf> {
    let sources = ["generator/Cargo.toml", "generator/src/lib.rs", "generator/src/main.rs"];
    let mut text = Vec::new();
    for source in sources {
        let path = cache::source(source);
        text.extend(fs::read(&path).with_context(|| format!("read {}", path.display()))?);
    }
    let key = xxhash_rust::xxh3::xxh3_64(&text);
    cache::entry(&format!("generator-{key:016x}"), "the generator, static, and its image", |folder| {
        let target = folder.join("target");
        cache::run(
            Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                .args([
                    "build",
                    "--release",
                    "--package",
                    "cordwood-generator",
                    "--target",
                    TARGET,
                    "--target-dir",
                ])
                .arg(&target)
                .env("RUSTFLAGS", "-C target-feature=+crt-static")
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                .current_dir(cache::source(".")),
        )?;
        let program = folder.join("cordwood-generator");
        fs::copy(target.join(TARGET).join("release/cordwood-generator"), &program)
            .context("copy the generator")?;
        fs::remove_dir_all(&target).context("remove the generator's target folder")?;
        pack(&program, GENERATOR, &folder.join("image.tar"))
    })
}

/// An image that holds `program` and nothing else, as a docker archive.
fn pack(program: &Path, name: &str, archive: &Path) -> Result<()> {
    let work = tempfile::tempdir().context("make a folder for buildah")?;
    fs::copy(program, work.path().join("program")).context("copy the program")?;
    let file = "FROM scratch\nCOPY program /program\nENTRYPOINT [\"/program\"]\nCMD [\"pause\"]\n";
    fs::write(work.path().join("Dockerfile"), file).context("write the Dockerfile")?;
    let buildah = || {
        let mut command = Command::new("buildah");
        command.args(["--storage-driver", "vfs", "--root"]).arg(work.path().join("root"));
        command.arg("--runroot").arg(work.path().join("runroot"));
        command
    };
    cache::run(buildah().args(["bud", "--quiet", "--tag", name]).arg(work.path()))?;
    cache::run(
        buildah().args(["push", "--quiet", name]).arg(format!("docker-archive:{}:{name}", archive.display())),
    )?;
    Ok(())
}
