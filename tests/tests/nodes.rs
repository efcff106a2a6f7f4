//! Two nodes: an agent in each of two mount namespaces, with one path that leads each to its own file, on real Kafka and
//! PostgreSQL.

#![allow(clippy::print_stdout, reason = "what a person runs this test for")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_tests::bin;
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::{Process, Program};
use cordwood_tests::pipeline::{Pipeline, PipelineOptions, TOPIC};
use serde_json::json;

const LINES: usize = 2_000;

/// A node: its own folder of logs below a path that is every node's, its own state.
struct Node {
    logs: PathBuf,
    program: Program,
    _port: Port,
}

impl Node {
    fn new(home: &Home, name: &str, brokers: &str) -> Result<Node> {
        let (own, shared) = (home.join(name), home.join("var-log"));
        let logs = own.join("logs");
        for folder in [&logs, &shared] {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        let port = Port::free()?;
        let config = json!({
            "node": name,
            "listen": format!("127.0.0.1:{}", port.number()),
            "state_dir": own.join("state"),
            "pods_dir": null,
            "files": [{"paths": [shared.join("*.csv")]}],
            "kafka": {"brokers": brokers, "topic": TOPIC, "partitions": 4, "replication": 1},
            "kubernetes": {"enabled": false},
        });
        let file = own.join("agent.yaml");
        fs::write(&file, serde_yaml::to_string(&config)?).context("write agent.yaml")?;
        let unshare = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
        let program = Program::new(name, "unshare", home.path())
            .args([unshare, "sh", "-c", r#"mount --bind "$1" "$2" && exec "$3" --config "$4""#, "node"])
            .args([logs.as_path(), &shared, &bin("cordwood-agent")?, &file]);
        Ok(Node { logs, program, _port: port })
    }

    fn start(&self) -> Result<Process> {
        self.program.start()
    }

    fn write(&self, node: &str, from: usize, count: usize) -> Result<()> {
        let header = if from == 0 { "time,level,message\n" } else { "" };
        let lines: String = (from..from + count).map(|n| format!("{n},INFO,{node} says {n}\n")).collect();
        append(&self.logs.join("access.csv"), &format!("{header}{lines}"))
    }
}

fn append(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

/// The second node's lines were taken for the first's, which were stored already, and nothing said so.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_with_one_path_and_one_header_line_lose_nothing() -> Result<()> {
    let mut pipeline = Pipeline::prepare(PipelineOptions::default()).await?;
    pipeline.start_writer()?;
    let home = Home::new("nodes")?;
    let brokers = pipeline.kafka.brokers();
    let (first, second) = (Node::new(&home, "node-a", &brokers)?, Node::new(&home, "node-b", &brokers)?);
    first.write("a", 0, LINES)?;
    second.write("b", 0, LINES / 2)?;
    let patience = Duration::from_secs(60);
    // One is ahead of the other; then both go on at once, one of them after a kill.
    let mut agents = vec![first.start()?];
    pipeline.drained(LINES as u64 + 1, patience).await?;
    agents.push(second.start()?);
    pipeline.drained((LINES + LINES / 2) as u64 + 2, patience).await?;
    agents[1].kill();
    second.write("b", LINES / 2, LINES / 2)?;
    agents.push(second.start()?);
    let all = 2 * LINES as u64 + 2;
    pipeline.drained(all, patience).await?;
    let client = pipeline.postgres.client().await?;
    let statement = "select sum(records)::bigint, sum(duplicates)::bigint, count(distinct stream), \
                     (select count(*) from losses) from watermarks";
    let row = client.query_one(statement, &[]).await?;
    let (records, duplicates, streams, losses): (i64, i64, i64, i64) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    println!(
        "{records} of {all} records, {duplicates} duplicates skipped, {streams} streams, {losses} losses"
    );
    ensure!(records as u64 == all && streams == 2 && losses == 0);
    Ok(())
}
