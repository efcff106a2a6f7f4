//! Agent and writer as processes on real Kafka and PostgreSQL, without a cluster: what runs on a node, minus Kubernetes.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::env::home::Home;
use crate::env::ports::Port;
use crate::env::{Kafka, Postgres, Process, Program};
use crate::{bin, merge};

pub const TOPIC: &str = "cordwood-logs";

/// What differs between tests. JSON values are merged into the configuration files.
#[derive(Clone, Debug)]
pub struct PipelineOptions {
    pub postgres: u32,
    pub topic_partitions: u32,
    /// (namespace, tenant); another namespace is `unassigned`.
    pub tenants: Vec<(String, String)>,
    pub agent: Value,
    pub writer: Value,
    /// Folder of an older version's programs, which run until [`Pipeline::upgrade_agent`] and [`Pipeline::upgrade_writer`].
    pub older: Option<PathBuf>,
}

impl Default for PipelineOptions {
    fn default() -> PipelineOptions {
        PipelineOptions {
            postgres: 15,
            topic_partitions: 4,
            tenants: Vec::new(),
            agent: json!({}),
            writer: json!({}),
            older: None,
        }
    }
}

/// The running parts. Agent and writer start with [`Pipeline::start_agent`] and [`Pipeline::start_writer`].
pub struct Pipeline {
    pub agent: Option<Process>,
    pub writer: Option<Process>,
    pub kafka: Kafka,
    pub postgres: Postgres,
    agent_program: Program,
    writer_program: Program,
    next_agent: Program,
    next_writer: Program,
    agent_port: Port,
    writer_port: Port,
    home: Home,
}

impl Pipeline {
    /// Kafka and PostgreSQL run, the configuration files are written, agent and writer do not run yet.
    pub async fn prepare(options: PipelineOptions) -> Result<Pipeline> {
        let (agent, writer) = (bin("cordwood-agent")?, bin("cordwood-writer")?);
        let home = Home::new("pipeline")?;
        let (kafka, postgres) = tokio::try_join!(Kafka::start(), Postgres::start(options.postgres))?;
        let (agent_port, writer_port) = (Port::free()?, Port::free()?);
        let pods = home.join("pods");
        fs::create_dir(&pods).with_context(|| format!("create {}", pods.display()))?;
        let broker = json!({"brokers": kafka.brokers(), "topic": TOPIC, "partitions": options.topic_partitions, "replication": 1});
        let tenants: Vec<Value> = options
            .tenants
            .iter()
            .map(|(namespace, tenant)| json!({"namespace": namespace, "tenant": tenant}))
            .collect();
        let mut config = json!({
            "node": "node-1",
            "listen": format!("127.0.0.1:{}", agent_port.number()),
            "state_dir": home.join("state"),
            "pods_dir": pods,
            "kafka": broker,
            "kubernetes": {"enabled": false},
            "tenants": {"namespaces": tenants},
        });
        merge(&mut config, &options.agent);
        let agent_file = home.join("agent.yaml");
        fs::write(&agent_file, serde_yaml::to_string(&config)?).context("write agent.yaml")?;
        let mut config = json!({
            "kafka": broker,
            "database": {"url": postgres.url()},
            "migrate": true,
            "listen": format!("127.0.0.1:{}", writer_port.number()),
        });
        merge(&mut config, &options.writer);
        let writer_file = home.join("writer.yaml");
        fs::write(&writer_file, serde_yaml::to_string(&config)?).context("write writer.yaml")?;
        let program = |name: &str, path: PathBuf, config: &PathBuf| {
            Program::new(name, path, home.path())
                .arg("--config")
                .arg(config)
                .stop_by(Signal::TERM, Duration::from_secs(30))
        };
        let first = |name: &str, now: &PathBuf| match &options.older {
            Some(folder) => folder.join(name),
            None => now.clone(),
        };
        Ok(Pipeline {
            agent: None,
            writer: None,
            agent_program: program("agent", first("cordwood-agent", &agent), &agent_file),
            writer_program: program("writer", first("cordwood-writer", &writer), &writer_file),
            next_agent: program("agent", agent, &agent_file),
            next_writer: program("writer", writer, &writer_file),
            kafka,
            postgres,
            agent_port,
            writer_port,
            home,
        })
    }

    /// The folder that stands for `/var/log/pods`.
    pub fn pods(&self) -> PathBuf {
        self.home.join("pods")
    }

    /// The agent's checkpoint.
    pub fn checkpoint(&self) -> PathBuf {
        self.home.join("state/checkpoint")
    }

    pub fn start_agent(&mut self) -> Result<()> {
        self.agent = Some(self.agent_program.start()?);
        Ok(())
    }

    pub fn start_writer(&mut self) -> Result<()> {
        self.writer = Some(self.writer_program.start()?);
        Ok(())
    }

    /// SIGKILL, and at once a new one.
    pub fn kill_agent(&mut self) -> Result<()> {
        kill_running(self.agent.as_mut(), "agent")?;
        self.start_agent()
    }

    /// SIGKILL, and at once a new one.
    pub fn kill_writer(&mut self) -> Result<()> {
        kill_running(self.writer.as_mut(), "writer")?;
        self.start_writer()
    }

    /// SIGKILL, and at once one of this version.
    pub fn upgrade_agent(&mut self) -> Result<()> {
        self.agent_program = self.next_agent.clone();
        self.kill_agent()
    }

    /// SIGKILL, and at once one of this version.
    pub fn upgrade_writer(&mut self) -> Result<()> {
        self.writer_program = self.next_writer.clone();
        self.kill_writer()
    }

    /// An error with the end of its log, if one of the two has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        for process in [self.agent.as_mut(), self.writer.as_mut()].into_iter().flatten() {
            process.check()?;
        }
        Ok(())
    }

    /// `http://127.0.0.1:port` of the agent's and the writer's endpoints.
    pub fn endpoints(&self) -> [String; 2] {
        [&self.agent_port, &self.writer_port].map(|port| format!("http://127.0.0.1:{}", port.number()))
    }

    /// Waits until as many lines are accounted for as were written, and the writer has consumed all of the topic.
    pub async fn drained(&mut self, lines: u64, limit: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            self.check()?;
            let seen = self.accounted().await;
            if let Ok(seen) = seen
                && seen >= lines
                && self.consumed().await.unwrap_or(false)
            {
                return Ok(());
            }
            if began.elapsed() > limit {
                let logs =
                    [self.agent.as_ref(), self.writer.as_ref()].into_iter().flatten().map(|p| p.log_tail(15));
                anyhow::bail!(
                    "{seen:?} of {lines} lines are accounted for after {limit:?}\n{}",
                    logs.collect::<Vec<_>>().join("\n")
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Lines that the watermarks account for.
    pub async fn accounted(&self) -> Result<u64> {
        let client = self.postgres.client().await?;
        let row = client.query_one("select coalesce(sum(lines), 0)::bigint from watermarks", &[]).await?;
        Ok(row.get::<_, i64>(0).cast_unsigned())
    }

    /// Whether PostgreSQL's positions have reached the topic's end.
    async fn consumed(&self) -> Result<bool> {
        let client = self.postgres.client().await?;
        let rows = client.query("select topic_partition, next_offset from positions", &[]).await?;
        let positions: Vec<(i32, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let config = self.kafka.client_config();
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().context("create a consumer")?;
            let limit = Duration::from_secs(10);
            let metadata = consumer.fetch_metadata(Some(TOPIC), limit).context("ask for the topic")?;
            for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                let (_, end) =
                    consumer.fetch_watermarks(TOPIC, partition.id(), limit).context("ask for the end")?;
                let at = positions.iter().find(|(id, _)| *id == partition.id()).map_or(0, |(_, next)| *next);
                if at != end {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
        .context("ask Kafka")?
    }
}

fn kill_running(process: Option<&mut Process>, name: &str) -> Result<()> {
    let process = process.with_context(|| format!("the {name} was never started"))?;
    process.check()?;
    process.kill();
    Ok(())
}

/// I7: nothing in a checkpoint lies beyond what PostgreSQL has stored of that file (when everything sent was consumed).
///
/// # Errors
/// The first file whose `ends` lie beyond its watermark.
pub async fn check_checkpoint(path: &std::path::Path, client: &tokio_postgres::Client) -> Result<usize> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let checkpoint =
        cordwood_core::checkpoint::Checkpoint::decode(&bytes).context("decode the checkpoint")?;
    let mut checked = 0;
    for log in &checkpoint.logs {
        for file in &log.files {
            for (end, io) in file.ends.into_iter().zip(["stdout", "stderr"]) {
                let stream = format!("{}/{io}", log.key);
                let id = file.file.0.cast_signed();
                let statement = "select max(position_end) from watermarks where stream = $1 and file = $2";
                let stored: Option<i64> = client.query_one(statement, &[&stream, &id]).await?.get(0);
                let stored = stored.unwrap_or(0).cast_unsigned();
                anyhow::ensure!(end <= stored, "{stream} {}: checkpoint {end}, stored {stored}", file.file);
                checked += 1;
            }
        }
    }
    Ok(checked)
}
