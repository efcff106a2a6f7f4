//! The house's own laws, kept by a test: who imports whom, where SQL may stand, how long a file may be, that the map is true.
//!
//! Each law is a function in `house/laws.rs`; the first half of this file shows each a breach, the second holds them to the tree.

#![allow(clippy::print_stdout, reason = "the largest are what a person runs this test for")]

#[path = "house/circles.rs"]
mod circles;
#[path = "house/laws.rs"]
mod laws;
#[path = "house/source.rs"]
mod source;
#[path = "house/walls.rs"]
mod walls;
#[path = "house/words.rs"]
mod words;

use laws::Package;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

// ---- the checkers object to what they should -------------------------------------------------------------------------

fn package(room: &str, dependencies: &[&str], closure: &[&str]) -> Package {
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    Package { room: room.into(), dependencies: set(dependencies), closure: set(closure) }
}

#[test]
fn import_laws_object_to_every_kind_of_breach() {
    let rows = [
        (package("core", &["cordwood-store"], &[]), "core imports store"),
        (package("core", &["serde"], &["serde", "tokio"]), "core reaches tokio"),
        (package("core", &[], &["rdkafka"]), "core reaches rdkafka"),
        (package("agent", &["cordwood-store"], &[]), "agent imports store"),
        (package("agent", &["cordwood-writer"], &[]), "agent imports writer"),
        (package("operator", &["cordwood-agent"], &[]), "operator imports agent"),
        (package("writer", &["tokio-postgres"], &[]), "writer depends on tokio-postgres"),
        (package("operator", &["rdkafka"], &[]), "operator depends on rdkafka"),
        (package("store", &["cordwood-tests"], &[]), "store imports tests"),
        (package("attic", &[], &[]), "a room without a law"),
    ];
    for (bad, expected) in rows {
        let faults = laws::import_faults(&[bad]);
        assert!(faults.iter().any(|f| f.contains(expected)), "wanted {expected:?}, got {faults:?}");
    }
    let good = [
        package("core", &["serde"], &["serde", "memchr"]),
        package("store", &["cordwood-core", "tokio-postgres"], &["tokio"]),
        package("cli", &["cordwood-agent", "cordwood-writer", "cordwood-operator"], &["rdkafka"]),
    ];
    assert_eq!(laws::import_faults(&good), Vec::<String>::new());
}

#[test]
fn source_laws_object_to_every_kind_of_breach() {
    let long = format!("//! x\n{}", "fn a() {}\n".repeat(laws::FILE_LINES_MAX));
    let rows: &[(&str, &str, &str)] = &[
        ("core/src/a.rs", "//! x\nuse std::fs::File;", "`std::fs` in core"),
        ("core/src/a.rs", "//! x\nlet t = std::time::SystemTime::now();", "`std::time` in core"),
        ("core/src/a.rs", "//! x\nlet t = Timestamp::now();", "`Timestamp::now` in core"),
        ("core/src/a.rs", "//! x\npub async fn a() {}", "`async fn` in core"),
        ("agent/src/a.rs", "//! x\nlet q = \"SELECT 1\";", "SQL (`select`) outside"),
        ("cli/src/a.rs", "//! x\nlet q = r#\"\n  DROP TABLE x\"#;", "SQL (`drop table`) outside"),
        (
            "agent/src/a.rs",
            "//! x\nlet q = \"with a as (select 1) insert into b on conflict do nothing\";",
            "SQL (`on conflict`) outside",
        ),
        ("operator/src/a.rs", "//! x\nuse tokio_postgres::Client;", "`tokio_postgres` outside"),
        ("agent/src/a.rs", &long, "601 lines"),
        ("agent/src/a.rs", "fn a() {}", "does not open with"),
        ("agent/src/a.rs", "//! x\n// TODO later", "`TODO`"),
        ("agent/src/a.rs", "//! x\nfn a() { todo!() }", "`todo!`"),
        ("agent/src/a.rs", "//! x\n#[test]\n#[ignore = \"slow\"]\nfn a() {}", "switched off"),
        ("agent/src/a.rs", "//! x\nfn a() { unsafe { b() } }", "`unsafe` without a reason"),
    ];
    for (path, text, expected) in rows {
        let faults = laws::source_faults(path, text);
        assert!(faults.iter().any(|f| f.contains(expected)), "{path}: wanted {expected:?}, got {faults:?}");
    }
    let good: &[(&str, &str)] = &[
        (
            "core/src/a.rs",
            "//! std::fs is not used here; SystemTime neither\nfn a(instant_us: i64) { let s = \"std::fs\"; }",
        ),
        ("core/src/a.rs", "//! x\nfn a() {}\n#[cfg(test)]\nmod tests { use std::fs; }"),
        ("operator/src/a.rs", "//! x\nlet m = \"drop table partition {} of class {}\";"),
        ("store/src/a.rs", "//! x\nlet q = \"SELECT 1\";"),
        ("agent/src/a.rs", "//! x\n// SAFETY: the descriptor is ours\nunsafe { close(1) }"),
        ("agent/src/a.rs", "//! x\n/* SELECT * FROM x */ fn a<'a>(b: &'a str) { let c = '\"'; } // SELECT x"),
    ];
    for (path, text) in good {
        assert_eq!(laws::source_faults(path, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn laws_of_the_interface_object() {
    let rows = [
        ("ui/src/a.svelte", "<!-- x -->\n{@html text}", "`{@html`"),
        ("ui/src/a.svelte", "<!-- x -->\n<p style=\"color: red\">", "`style=\"`"),
        ("ui/src/a.ts", "// x\nnode.innerHTML = text;", "`innerHTML`"),
        ("ui/src/a.ts", "// x\nconst a = text as any;", "`as any`"),
        ("ui/src/a.ts", "// x\n// TODO later", "`TODO`"),
        ("ui/src/a.svelte", "<script lang=\"ts\">", "does not open with"),
        ("ui/src/a.ts", "export {}", "does not open with"),
    ];
    for (path, text, expected) in rows {
        let faults = laws::interface_faults(path, text);
        assert!(faults.iter().any(|f| f.contains(expected)), "{path}: wanted {expected:?}, got {faults:?}");
    }
    let good = [
        ("ui/src/a.svelte", "<!-- x -->\n<p style:color={colour}>"),
        ("ui/src/a.ts", "// x\nexport {}"),
        ("ui/src/a.test.ts", "import { it } from \"vitest\";"),
    ];
    for (path, text) in good {
        assert_eq!(laws::interface_faults(path, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn laws_of_the_loggers_object() {
    for (path, text, expected) in [
        ("logger/python/src/a.py", "import os", "does not open with"),
        ("logger/typescript/src/a.ts", "export {}", "does not open with"),
        ("logger/typescript/tests/a.mjs", concat!("// x\n// TO", "DO: y"), "do it, or write an issue"),
    ] {
        assert!(laws::is_logger(path), "{path}");
        let faults = laws::logger_faults(path, text);
        assert!(faults.iter().any(|f| f.contains(expected)), "{path}: wanted {expected:?}, got {faults:?}");
    }
    assert_eq!(laws::logger_faults("logger/python/src/a.py", "\"\"\"x\"\"\""), Vec::<String>::new());
}

#[test]
fn sources_are_split_into_code_strings_and_comments() {
    let split = source::split(
        "let a = \"x // \\\" y\"; // SELECT\nlet b = br##\"one \"# two\n\"##; let c = '\\''; 'outer: loop {}\n/* /* */\n */ end",
    );
    assert_eq!(split.code, "let a = \"\"; \nlet b = \"\"\n; let c = ' '; 'outer: loop {}\n\n end");
    assert_eq!(split.strings, vec![(1, "x // \\\" y".to_owned()), (2, "one \"# two\n".to_owned())]);
    assert_eq!(split.comments.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn files_that_import_each_other_are_found() {
    let circles = |files: &[(&str, &str)]| {
        let files: Vec<_> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        circles::circles("a/src/", &files)
    };
    let two = [
        ("a/src/b.rs", "use std::fmt;\npub(crate) use crate::{c::{g, self as e}, f};"),
        ("a/src/c.rs", "mod d;\npub use d::X;\nfn g() { super::h::i(); }"),
        ("a/src/c/d.rs", "use super::Y;"),
        ("a/src/h/mod.rs", "//! use crate::x\nuse self::j::K;\nuse crate::\n    b;"),
        ("a/src/h/j.rs", "use crate::lib_item; #[cfg(test)]\nmod tests { use crate::f::F; }"),
        ("a/src/f.rs", "let s = \"use crate::b;\"; // use crate::b;"),
    ];
    assert_eq!(circles(&two), [["a/src/b.rs", "a/src/c.rs", "a/src/h/mod.rs"]]);
    assert_eq!(circles(&[two[0], two[1], two[2], two[5]]), Vec::<Vec<String>>::new());
}

#[test]
fn a_banned_word_in_a_name_is_found() {
    let faults = |text: &str| words::faults("a/src/b.rs", text).len();
    assert_eq!(faults("fn hold_waste() {}"), 1);
    assert_eq!(faults("struct OpenBooks; struct Notebooks; let mended = 1;"), 1, "whole words alone");
    assert_eq!(faults("// waste\nlet a = \"waste\";\n#[cfg(test)]\nmod tests { fn waste() {} }"), 0);
    let unsorted = words::BANNED.windows(2).find(|pair| pair[0].0 >= pair[1].0);
    assert_eq!(unsorted, None);
}

#[test]
fn walls_object_to_a_type_that_many_files_change() {
    for (text, expected) in [
        ("//! x\nimpl Log { fn a(&mut self) {} }", vec!["Log"]),
        ("impl<'a, T: Fn() -> u8> crate::log::Log<'a, T> {", vec!["Log"]),
        ("pub struct Log<'a> { a: &'a u8 }\nimpl<'a> Log<'a> { fn a(&self) {} }", vec![]),
        ("impl std::fmt::Display for Log { }", vec![]),
        ("fn a(b: impl Fn()) {}\n// impl Log {\n#[cfg(test)]\nmod tests { impl Log {} }", vec![]),
    ] {
        assert_eq!(walls::implements_elsewhere(text), expected, "{text}");
    }
    for (text, expected) in [
        ("fn a() {}", 0),
        ("fn a(&self) -> Result<u8, B> {}", 1),
        ("pub async fn a<'a, T: Fn(u8, u8) -> u8>(b: (u8, u8), c: impl Fn(u8, u8) -> u8,\n) {}", 2),
        ("fn a(b: BTreeMap<u8, [u8; 2]>, c: &dyn Fn(&u8, u8), d: u8) {}", 3),
    ] {
        assert_eq!(walls::arguments(text), [("a".to_owned(), expected)], "{text}");
    }
    let (room, name, _) = walls::SPREAD[0];
    assert!(walls::is_excused(room, name) && !walls::is_excused(room, "Log"));
    let fields =
        |count: usize| format!("pub struct Log {{\n{}    b: u8,\n}}", "    pub a: u8,\n".repeat(count));
    assert_eq!(walls::public_fields(&fields(3)), [("Log".to_owned(), 3)]);
    assert_eq!(
        walls::open_structs("agent/src/b.rs", &fields(walls::PUBLIC_FIELDS_MAX)),
        Vec::<String>::new()
    );
    assert_eq!(walls::open_structs("agent/src/b.rs", &fields(walls::PUBLIC_FIELDS_MAX + 1)).len(), 1);
}

#[test]
fn manifest_and_map_laws_object() {
    let faults = laws::manifest_faults(
        "x/Cargo.toml",
        "[package]\nversion = \"1.0.0\"\n[dependencies]\nserde = \"1\"\nanyhow.workspace = true\n",
    );
    assert_eq!(faults.len(), 3, "{faults:?}");
    let (folders, files) = (
        vec!["core".to_owned()],
        vec!["core/src/a.rs".to_owned(), "core/src/b.rs".to_owned(), "core/src/lib.rs".to_owned()],
    );
    assert_eq!(
        laws::map_faults("| `core/` | x |\n\n| `core/src/` | `a`, `b` |", &folders, &files),
        Vec::<String>::new()
    );
    let faults = laws::map_faults("| `core/src/` | `a` and `core/src/gone.rs` |", &folders, &files);
    for expected in [
        "does not name the folder `core/`",
        "does not name core/src/b.rs",
        "names `core/src/gone.rs`, which is not there",
    ] {
        assert!(faults.iter().any(|f| f.contains(expected)), "{faults:?}");
    }
}

// ---- and the tree keeps them -----------------------------------------------------------------------------------------

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests' room stands in the top folder")
        .to_owned()
}

/// All files of the tree, relative, with `/`; build products and hidden folders (but `.ci`) left out.
fn files() -> Vec<String> {
    fn walk(folder: &Path, top: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("read a folder of the tree").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if name == "target"
                || name == "node_modules"
                || path.ends_with("ui/dist")
                || path.ends_with("typescript/dist")
                || name.starts_with('.') && name != ".ci"
            {
                continue;
            }
            match path.is_dir() {
                true => walk(&path, top, out),
                false => out.push(
                    path.strip_prefix(top).expect("below the top").to_string_lossy().replace('\\', "/"),
                ),
            }
        }
    }
    let mut out = Vec::new();
    walk(&top(), &top(), &mut out);
    out.sort();
    out
}

fn read(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

fn top_folders(files: &[String]) -> Vec<String> {
    let folders: BTreeSet<_> =
        files.iter().filter_map(|f| f.split_once('/')).map(|(folder, _)| folder.to_owned()).collect();
    folders.into_iter().filter(|f| !f.starts_with('.')).collect()
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} fault(s):\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn rooms_import_only_whom_they_may() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(top().join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .expect("cargo metadata");
    let resolve = metadata.resolve.as_ref().expect("a resolved graph");
    let names: BTreeMap<_, _> = metadata.packages.iter().map(|p| (&p.id, p.name.to_string())).collect();
    let shipped = |node: &cargo_metadata::Node| {
        let kinds = |d: &cargo_metadata::NodeDep| {
            d.dep_kinds.iter().any(|k| k.kind == cargo_metadata::DependencyKind::Normal)
        };
        node.deps.iter().filter(|d| kinds(d)).map(|d| d.pkg.clone()).collect::<Vec<_>>()
    };
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|n| (n.id.clone(), shipped(n))).collect();
    let packages: Vec<Package> = metadata
        .workspace_packages()
        .iter()
        .map(|package| {
            let (mut seen, mut stack) = (BTreeSet::new(), nodes[&package.id].clone());
            while let Some(id) = stack.pop() {
                if seen.insert(id.clone()) {
                    stack.extend(nodes[&id].iter().cloned());
                }
            }
            let folder = package.manifest_path.strip_prefix(&metadata.workspace_root).expect("below the top");
            Package {
                room: folder.components().next().expect("a folder").to_string(),
                dependencies: nodes[&package.id].iter().map(|id| names[id].clone()).collect(),
                closure: seen.iter().map(|id| names[id].clone()).collect(),
            }
        })
        .collect();
    assert!(packages.len() >= 11, "only {} packages found", packages.len());
    none(&laws::import_faults(&packages));
}

#[test]
fn sources_keep_the_laws() {
    let sources: Vec<_> = files().into_iter().filter(|f| f.ends_with(".rs")).collect();
    assert!(sources.len() > 50, "only {} sources found", sources.len());
    // The checkers' own examples of breaches.
    let examples = ["tests/tests/house.rs", "tests/tests/house/laws.rs"];
    let faults: Vec<_> = sources
        .iter()
        .filter(|f| !examples.contains(&f.as_str()))
        .flat_map(|f| laws::source_faults(f, &read(f)))
        .collect();
    none(&faults);
}

#[test]
fn no_two_files_import_each_other() {
    let texts: Vec<_> = files()
        .into_iter()
        .filter(|f| f.ends_with(".rs"))
        .map(|f| (read(&f), f))
        .map(|(text, f)| (f, text))
        .collect();
    let crates: BTreeSet<_> =
        texts.iter().filter_map(|(f, _)| f.split_once("/src/")).map(|(name, _)| name).collect();
    assert!(crates.len() >= 11, "only {} crates found", crates.len());
    let faults: Vec<_> = crates
        .iter()
        .flat_map(|name| circles::circles(&format!("{name}/src/"), &texts))
        .map(|circle| format!("import each other: {}", circle.join(", ")))
        .collect();
    none(&faults);
}

#[test]
fn names_are_made_of_the_words_of_the_table() {
    let in_a_room = |f: &String| f.ends_with(".rs") && f.contains("/src/");
    let faults: Vec<_> =
        files().into_iter().filter(in_a_room).flat_map(|f| words::faults(&f, &read(&f))).collect();
    none(&faults);
}

/// Who may change a type's state is seen from its file alone.
#[test]
fn each_type_has_its_own_file_and_few_open_fields() {
    let (mut faults, mut spread) = (Vec::new(), BTreeSet::new());
    for file in files().into_iter().filter(|f| f.ends_with(".rs") && !f.ends_with("tests.rs")) {
        let Some((room, _)) = file.split_once("/src/") else { continue };
        let text = read(&file);
        faults.extend(walls::open_structs(&file, &text));
        for name in walls::implements_elsewhere(&text) {
            if !walls::is_excused(room, &name) {
                faults.push(format!("{file}: `impl {name}` stands elsewhere than `{name}`"));
            }
            spread.insert((room.to_owned(), name));
        }
    }
    none(&faults);
    // An excuse that is needed no more goes.
    for (file, name, reason) in walls::VALUES {
        let fields = walls::public_fields(&read(file)).into_iter().find(|(of, _)| of == name);
        let count = fields.map_or(0, |(_, count)| count);
        assert!(count > walls::PUBLIC_FIELDS_MAX, "{file}: {name} has {count} public fields ({reason})");
    }
    for (room, name, reason) in walls::SPREAD {
        let is_spread = spread.contains(&((*room).to_owned(), (*name).to_owned()));
        assert!(is_spread, "{room}: `{name}` is not spread ({reason})");
    }
}

/// The longest file, the struct with the most public fields that is changed, and the longest argument list, of what ships.
/// `cargo test --workspace --test house the_largest -- --nocapture` prints them.
#[test]
fn the_largest_of_each_kind_keeps_its_limit() {
    let (mut lines, mut fields, mut arguments) = (Vec::new(), Vec::new(), Vec::new());
    for file in files().into_iter().filter(|f| f.ends_with(".rs") && f.contains("/src/")) {
        let text = read(&file);
        lines.push((text.lines().count(), file.clone()));
        let is_value = |name: &str| walls::VALUES.iter().any(|(of, value, _)| (*of, *value) == (&file, name));
        let structs = walls::public_fields(&text).into_iter().filter(|(name, _)| !is_value(name));
        fields.extend(structs.map(|(name, count)| (count, format!("{file}: {name}"))));
        let functions = walls::arguments(&text).into_iter();
        arguments.extend(functions.map(|(name, count)| (count, format!("{file}: {name}"))));
    }
    let kinds = [
        ("lines of a file", laws::FILE_LINES_MAX, lines),
        ("public fields of a struct", walls::PUBLIC_FIELDS_MAX, fields),
        ("arguments of a function", walls::ARGUMENTS_MAX, arguments),
    ];
    for (kind, max, mut all) in kinds {
        assert!(all.len() > 300, "{kind}: only {} found", all.len());
        all.sort_unstable();
        let largest: Vec<_> =
            all.iter().rev().take(3).map(|(count, what)| format!("{count} {what}")).collect();
        println!("{kind} (at most {max}): {}", largest.join(", "));
        let above: Vec<_> = all.iter().filter(|(count, _)| *count > max).collect();
        assert!(above.is_empty(), "{kind}: {above:?}");
    }
}

#[test]
fn scripts_migrations_and_the_interface_are_short_too() {
    let faults: Vec<_> = files()
        .into_iter()
        .filter(|f| {
            f.starts_with("scripts/")
                || f.starts_with("ui/") && laws::is_interface(f)
                || laws::is_logger(f)
                || f.ends_with(".sql")
                || f.starts_with("charts/") && f.ends_with(".yaml") && !f.contains("/crds/")
        })
        .map(|f| (read(&f).lines().count(), f))
        .filter(|(lines, _)| *lines > laws::FILE_LINES_MAX)
        .map(|(lines, f)| format!("{f}: {lines} lines"))
        .collect();
    none(&faults);
}

/// What is generated is compared with its source by `scripts/ui-test`.
#[test]
fn sources_of_the_interface_say_what_they_are_for() {
    let sources: Vec<_> =
        files().into_iter().filter(|f| f.starts_with("ui/src/") && laws::is_interface(f)).collect();
    assert!(sources.len() > 20, "only {} sources of the interface found", sources.len());
    none(&sources.iter().flat_map(|f| laws::interface_faults(f, &read(f))).collect::<Vec<_>>());
}

#[test]
fn sources_of_the_loggers_say_what_they_are_for() {
    let sources: Vec<_> = files().into_iter().filter(|f| laws::is_logger(f)).collect();
    assert!(sources.len() > 30, "only {} sources of the loggers found", sources.len());
    none(&sources.iter().flat_map(|f| laws::logger_faults(f, &read(f))).collect::<Vec<_>>());
}

/// One version for all that is released together.
#[test]
fn the_loggers_have_the_version_of_the_workspace() {
    let manifest = read("Cargo.toml");
    let version =
        manifest.lines().find_map(|l| l.strip_prefix("version = ")).expect("the workspace's version");
    let package = read("logger/typescript/package.json");
    assert!(package.contains(&format!("\"version\": {version}")), "logger/typescript/package.json");
    let module = read("logger/python/src/cordwood_logger/__init__.py");
    assert!(module.contains(&format!("__version__ = {version}")), "logger/python");
}

#[test]
fn one_version_table_and_one_lint_table() {
    let faults: Vec<_> = files()
        .iter()
        .filter(|f| f.ends_with("/Cargo.toml"))
        .flat_map(|f| laws::manifest_faults(f, &read(f)))
        .collect();
    none(&faults);
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"deny\""), "unsafe code is denied for the whole workspace");
}

#[test]
fn versions_agree() {
    let manifest = read("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|l| l.strip_prefix("version = "))
        .expect("the workspace's version")
        .trim_matches('"')
        .to_owned();
    let chart: serde_json::Value =
        serde_yaml::from_str(&read("charts/cordwood/Chart.yaml")).expect("Chart.yaml");
    assert_eq!(chart["version"], version.as_str(), "the chart's version");
    assert_eq!(chart["appVersion"], version.as_str(), "the chart's appVersion");
    assert!(
        read("CHANGELOG.md").contains(&format!("## {version}")),
        "CHANGELOG.md has no heading for {version}"
    );
}

#[test]
fn the_chart_carries_the_generated_crds() {
    let all = files();
    let generated: Vec<_> =
        all.iter().filter(|f| f.starts_with("crds/yaml/") && f.ends_with(".yaml")).collect();
    assert!(generated.len() >= 2, "generated resources: {generated:?}");
    for file in generated {
        let copy = format!("charts/cordwood/files/crds/{}", file.rsplit('/').next().expect("a name"));
        assert!(read(file) == read(&copy), "{copy} differs from {file}: run `cargo xtask generate`");
    }
}

#[test]
fn the_map_is_true() {
    let all = files();
    none(&laws::map_faults(&read("ARCHITECTURE.md"), &top_folders(&all), &all));
}

/// Every public field of the configuration types is explained, by its name, in the reference.
#[test]
fn the_configuration_reference_names_every_key() {
    let reference = read("docs/configuration.md");
    let files = ["agent", "writer", "operator", "gateway"].map(|part| format!("{part}/src/config.rs"));
    let mut faults = Vec::new();
    let mut keys = 0;
    for file in files.into_iter().chain(["kafka/src/settings.rs".to_owned()]) {
        for line in source::split(&read(&file)).shipped().code.lines() {
            let Some((name, _)) = line.trim().strip_prefix("pub ").and_then(|rest| rest.split_once(':'))
            else {
                continue;
            };
            // Fields only, and not those of error types.
            if name.contains([' ', '(', '<']) || ["key", "message"].contains(&name) {
                continue;
            }
            keys += 1;
            let words = reference.split('`').skip(1).step_by(2);
            if !words.into_iter().any(|word| {
                word == name || word.rsplit('.').next() == Some(name) || word.split('.').next() == Some(name)
            }) {
                faults.push(format!("{file}: `{name}` is not in docs/configuration.md"));
            }
        }
    }
    assert!(keys > 30, "only {keys} keys found");
    none(&faults);
}

/// Every metric that a part registers is in the reference, by its name without the part's prefix.
#[test]
fn the_metrics_reference_names_every_metric() {
    let reference = read("docs/metrics.md");
    let named: BTreeSet<&str> = reference.split('`').skip(1).step_by(2).collect();
    let mut faults = Vec::new();
    for file in [
        "agent/src/telemetry.rs",
        "writer/src/metrics.rs",
        "operator/src/telemetry.rs",
        "operator/src/class_metrics.rs",
        "gateway/src/metrics.rs",
        "service/src/kubernetes.rs",
    ] {
        for (line, string) in source::split(&read(file)).shipped().strings {
            let bare = ["cordwood_agent_", "cordwood_writer_", "cordwood_operator_", "cordwood_gateway_"]
                .iter()
                .find_map(|p| string.strip_prefix(p));
            let unit = ["_total", "_bytes", "_seconds"].iter().any(|unit| string.ends_with(unit));
            let name = bare.unwrap_or(&string);
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if is_name && (bare.is_some() || unit) && !named.contains(name) {
                faults.push(format!("{file}:{line}: `{name}` is not in docs/metrics.md"));
            }
        }
    }
    none(&faults);
}
