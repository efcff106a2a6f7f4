//! Requests that schemathesis makes up from the OpenAPI document: no answer is a failure of the gateway, and each is as the document
//! says. `CORDWOOD_CASES` makes up more for each route.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_tests::env::cache;
use cordwood_tests::python;

use super::world::{Line, World, container, line, recent_us};

const CASES: &str = "20";

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_as_the_document_says() -> Result<()> {
    let python = python::environment("schemathesis", "schemathesis")?;
    let at = recent_us();
    let body =
        |n: i64| format!(r#"{{"msg":"line {n}","plugin":"hello","traceId":"t{n}","error":{{"type":"E"}}}}"#);
    let lines: Vec<Line> = (0..200).map(|n| line(at + n, Level::Error, body(n))).collect();
    let world = World::with(15, &[(container("acme", "shop", 1), lines)]).await?;
    let folder = tempfile::tempdir()?;
    let cases = std::env::var("CORDWOOD_CASES").unwrap_or_else(|_| CASES.to_owned());
    let mut command = Command::new(python);
    command
        .current_dir(folder.path())
        .args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"])
        .arg(format!("http://{}/api/openapi.json", world.address))
        .env("SCHEMATHESIS_HOOKS", cache::source("schemathesis/hooks.py"))
        // A stream has no end, and to a WebSocket nothing is asked in plain HTTP.
        .args(["--exclude-path-regex", "(/stream|/ws/monitor)$", "--checks", "all"])
        // Behind a task's deletion there may be another's of the same id, in another namespace.
        .args(["--exclude-checks", "use_after_free"])
        .args(["--max-examples", &cases, "--generation-deterministic", "--no-color"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await?.context("run schemathesis")?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(told.contains(" passed"), "nothing was asked: {told}");
    Ok(())
}
