//! An audit record names who wrote it.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Set where this binary plays the program.
const PART: &str = "CORDWOOD_SERVICE_TEST_PART";

/// Not a test of its own: the program that the test runs.
#[test]
fn program() {
    if std::env::var_os(PART).is_none() {
        return;
    }
    cordwood_service::init_logging("shop");
    cordwood_service::audit("audit.shop", "opened", "opened", json!({ "line": line!() }));
}

#[test]
fn an_audit_record_has_the_file_and_line_of_its_caller() {
    let mut program = Command::new(std::env::current_exe().expect("this binary"));
    program.args(["program", "--exact", "--nocapture", "--test-threads=1"]);
    for name in ["CORDWOOD_FORMAT", "CORDWOOD_ENV", "CORDWOOD_LOCATION", "CORDWOOD_LEVEL", "RUST_LOG"] {
        program.env_remove(name);
    }
    let output = program.env(PART, "1").stdin(Stdio::null()).output().expect("the program");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    let record: Value = serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(record["logger"], "audit.shop", "{record}");
    assert_eq!(record["file"], file!(), "{record}");
    assert_eq!(record["line"], record["metadata"]["line"], "{record}");
}
