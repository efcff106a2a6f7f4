//! Writes the generated CustomResourceDefinitions, or says that what is committed differs.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;

use cordwood_crds::manifests;

fn main() -> ExitCode {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.join("yaml"), root.join("../charts/cordwood/files/crds")];
    let write = match std::env::args().nth(1).as_deref() {
        Some("write") => true,
        Some("check") => false,
        Some("print") => {
            manifests().iter().for_each(|manifest| println!("---\n{}", manifest.yaml.trim_end()));
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("usage: cordwood-crds write|check|print");
            return ExitCode::from(2);
        }
    };
    let mut stale = false;
    for folder in &folders {
        for manifest in manifests() {
            let path = folder.join(&manifest.file);
            if std::fs::read_to_string(&path).is_ok_and(|text| text == manifest.yaml) {
                continue;
            }
            if !write {
                eprintln!(
                    "{} differs from crds/src: run `cargo run -p cordwood-crds -- write`",
                    path.display()
                );
                stale = true;
            } else if let Err(error) =
                std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, &manifest.yaml))
            {
                eprintln!("write {}: {error}", path.display());
                return ExitCode::FAILURE;
            } else {
                println!("wrote {}", path.display());
            }
        }
    }
    if stale { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
