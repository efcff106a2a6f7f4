//! Requests that schemathesis makes up from the OpenAPI document: no answer is a failure of the gateway, and each is as the document
//! says. `CORDWOOD_CASES` makes up more for each route.

use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cordwood_core::agents::{Agent, Agents};
use cordwood_core::level::Level;
use cordwood_core::retention::Tuning;
use cordwood_gateway::{Access, Administration, AgentsSource, Limits};
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
    let (folder, resources) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let administration =
        Administration::of_folder(resources.path().to_owned(), Tuning::with_notice(0), Arc::new(|_, _| None));
    let agent = Agent { node: "node-1".to_owned(), ..Agent::default() };
    let agents = AgentsSource::here(move || Agents { agents: vec![agent.clone()], ..Agents::default() });
    let sources = [(container("acme", "shop", 1), lines)];
    let world = World::whose(15, &sources, Access::Loopback, Limits::default(), |gateway| {
        gateway.administering(Some(administration)).showing_agents(Some(agents))
    })
    .await?;
    let cases = std::env::var("CORDWOOD_CASES").unwrap_or_else(|_| CASES.to_owned());
    let mut command = Command::new(python);
    command
        .current_dir(folder.path())
        .args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file"])
        .arg(cache::source("schemathesis/schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{}/api/openapi.json", world.address))
        .env("SCHEMATHESIS_HOOKS", cache::source("schemathesis/hooks.py"))
        // A stream has no end, and to a WebSocket nothing is asked in plain HTTP.
        .args(["--exclude-path-regex", "(/stream|/ws/monitor)$", "--checks", "all"])
        .args(["--max-examples", &cases, "--generation-deterministic", "--no-color"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await?.context("run schemathesis")?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(told.contains(" passed"), "nothing was asked: {told}");
    Ok(())
}
