//! An agent that reads its own log, as it does where Cordwood collects its own pods: its lines arrive as JSON, and none of them makes
//! another one.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::Kafka;
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::shipped::{self, Shipped, TOPIC, log_of};
use serde_json::{Value, json};

/// So many batches in turn that leave no line in the agent's log.
const QUIET_ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_reads_its_own_log_comes_to_rest() -> Result<()> {
    let home = Home::new("own-log")?;
    let kafka = Kafka::start().await?;
    kafka.create_topic(TOPIC, 1).await?;
    let port = Port::free()?;
    let broker = json!({"brokers": kafka.brokers(), "topic": TOPIC, "partitions": 1, "replication": 1});
    let own = json!({"files": [{"paths": [home.join("*.log")]}]});
    // Everything that the agent could say.
    let program = shipped::agent(&home, &port, &broker, &own)?.env("RUST_LOG", "trace");
    let mut agent = program.start()?;
    let mut other = log_of(&home.join("pods"), "web")?;
    let reading = tokio::task::spawn_blocking(move || -> Result<Vec<Value>> {
        let mut shipped = Shipped::begin(&kafka)?;
        let log_bytes = || Ok::<_, anyhow::Error>(std::fs::metadata(agent.log_path())?.len());
        let (began, mut own, mut quiet, mut round) = (Instant::now(), Vec::new(), 0, 0);
        while quiet < QUIET_ROUNDS || own.is_empty() {
            let before = log_bytes()?;
            round += 1;
            let marker = format!("marker {round}.");
            writeln!(other, "2026-11-21T02:24:00.000000001Z stdout F {marker}")?;
            let mut is_there = false;
            while !is_there {
                ensure!(began.elapsed() < Duration::from_secs(90), "{marker}: {}", agent.log_tail(20));
                for body in shipped.next_bodies()? {
                    is_there |= body == marker.as_bytes();
                    own.extend(serde_json::from_slice::<Value>(&body).ok());
                }
            }
            quiet = if log_bytes()? == before { quiet + 1 } else { 0 };
        }
        agent.check()?;
        Ok(own)
    });
    let own = reading.await.context("read the topic")??;
    let started = own.iter().find(|line| line["message"] == "agent started").context("its first line")?;
    let names = ["level", "logger", "file", "service", "node"];
    let expected = ["INFO", "cordwood_agent", "agent/src/main.rs", "cordwood-agent", "node-1"];
    ensure!(names.map(|name| &started[name]) == expected, "{started}");
    ensure!(started["line"].as_u64() > Some(0) && started["version"].is_string(), "{started}");
    Ok(())
}
