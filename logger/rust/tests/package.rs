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
    std::fs::create_dir_all(&folder).expect("a folder");
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
    let program = first_block("rust");
    assert!(program.lines().count() <= 5, "more than a newcomer reads: {program}");
    let dependencies = format!("cordwood-logger = {{ path = \"../{name}\" }}\ntracing = \"0.1\"\n");
    let output = run(&folder, name, "app", &dependencies, &program.replace("\"shop\"", "\"app\""));
    let line: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let told: Value = serde_json::from_str(&first_block("json")).expect("the README's line");
    for (name, value) in told.as_object().expect("an object") {
        let expected = if value == "shop" { "app".into() } else { value.clone() };
        assert!(name == "timestamp" || line[name] == expected, "{name}: {line}");
    }

    // With the features that are off of themselves.
    let dependencies = format!(
        "cordwood-logger = {{ path = \"../{name}\", features = [\"http\", \"kv\"] }}\nhttp = \"1\"\nlog = {{ version = \"0.4\", features = [\"kv\"] }}\n"
    );
    let output = run(&folder, name, "features", &dependencies, FEATURES);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (name, value) in [
        ("order_id", Value::from(17)),
        ("requestId", "r-1".into()),
        ("method", "card".into()),
        ("late", false.into()),
    ] {
        assert_eq!(lines[0][name], value, "{name}: {text}");
    }
    assert!(lines[1]["requestId"] == "r-2" && lines[1]["tenantId"] == "t-1", "{text}");
}

const FEATURES: &str = r#"
fn main() {
    cordwood_logger::init("features");
    log::info!(order_id = 17, request_id = "r-1", method = "card", late = false; "paid");
    let mut headers = http::HeaderMap::new();
    headers.insert("x-request-id", http::HeaderValue::from_static("r-2"));
    headers.insert("X-Tenant-Id".parse::<http::HeaderName>().unwrap(), http::HeaderValue::from_static("t-1"));
    cordwood_logger::create_request_logger(&headers).info("asked");
}
"#;

/// Runs a program in an empty project beside the unpacked crate.
fn run(folder: &Path, packed: &str, name: &str, dependencies: &str, program: &str) -> Output {
    let project = folder.join(name);
    std::fs::create_dir_all(project.join("src")).expect("a folder");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}\n[workspace]\n"
    );
    std::fs::write(project.join("Cargo.toml"), manifest).expect("its manifest");
    std::fs::copy(folder.join(packed).join("Cargo.lock"), project.join("Cargo.lock"))
        .expect("the versions that are here");
    std::fs::write(project.join("src/main.rs"), program).expect("its program");
    cargo(&["run", "--quiet"], &project)
}
