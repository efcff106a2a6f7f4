//! The crate as it would be published, used as a newcomer does: packed, unpacked, named by an empty project, with the README's first example as its program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Kept from run to run: what the empty project depends on is built once.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("newcomer")
}

fn cargo(arguments: &[&str], at: &Path) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).arg("--offline").current_dir(at).env("CARGO_TARGET_DIR", folder().join("target"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CORDWOOD_")) {
        command.env_remove(name);
    }
    let output = command.output().expect("run cargo");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The first block of the README in a language.
fn first_block(language: &str) -> String {
    let readme = include_str!("../README.md");
    let (_, from) = readme.split_once(&format!("```{language}\n")).expect("a block");
    from.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn a_newcomer_has_the_readmes_line_from_the_packed_crate() {
    let folder = folder();
    std::fs::create_dir_all(folder.join("app/src")).expect("a folder");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    cargo(&["package", "--no-verify", "--allow-dirty", "--quiet"], here);
    let name = concat!("cordwood-logger-", env!("CARGO_PKG_VERSION"));
    let packed = folder.join(format!("target/package/{name}.crate"));
    let unpacked =
        Command::new("tar").arg("xzf").arg(&packed).current_dir(&folder).status().expect("run tar");
    assert!(unpacked.success());
    for file in ["README.md", "LICENSE", "Cargo.toml"] {
        assert!(folder.join(name).join(file).is_file(), "{file} is not in the package");
    }
    let manifest = format!(
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\ncordwood-logger = {{ path = \"../{name}\" }}\ntracing = \"0.1\"\n\n[workspace]\n"
    );
    let app = folder.join("app");
    std::fs::write(app.join("Cargo.toml"), manifest).expect("its manifest");
    std::fs::copy(folder.join(name).join("Cargo.lock"), app.join("Cargo.lock"))
        .expect("the versions that are here");
    let program = first_block("rust");
    assert!(program.lines().count() <= 5, "more than a newcomer reads: {program}");
    std::fs::write(app.join("src/main.rs"), program.replace("\"shop\"", "\"app\"")).expect("its program");
    let output = cargo(&["run", "--quiet"], &app);
    let line: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let told: Value = serde_json::from_str(&first_block("json")).expect("the README's line");
    for (name, value) in told.as_object().expect("an object") {
        let expected = if value == "shop" { "app".into() } else { value.clone() };
        assert!(name == "timestamp" || line[name] == expected, "{name}: {line}");
    }
}
