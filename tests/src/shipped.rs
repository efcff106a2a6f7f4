//! Runs an agent alone on Kafka: its program, the containers' logs that it reads, and what of them it has sent, in the topic's order.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use cordwood_core::batch::{Provenance, decode};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::env::home::Home;
use crate::env::ports::Port;
use crate::env::{Kafka, Program};
use crate::{bin, merge};

/// A topic with one partition.
pub const TOPIC: &str = "logs";

/// What to run, with its configuration in `home` and its endpoints at `port`; `more` is merged into the configuration. It reads the
/// folder `pods` below `home`.
pub fn agent(home: &Home, port: &Port, kafka: &Value, more: &Value) -> Result<Program> {
    let file = home.join("agent.yaml");
    fs::create_dir_all(home.join("pods")).context("make the pods' folder")?;
    let mut config = json!({
        "node": "node-1",
        "listen": format!("127.0.0.1:{}", port.number()),
        "state_dir": home.join("state"),
        "pods_dir": home.join("pods"),
        "kafka": kafka,
        "kubernetes": {"enabled": false},
    });
    merge(&mut config, more);
    fs::write(&file, serde_yaml::to_string(&config)?).context("write agent.yaml")?;
    Ok(Program::new("agent", bin("cordwood-agent")?, home.path()).arg("--config").arg(&file))
}

/// A container's live file, as the kubelet lays it out.
pub fn log_of(pods: &Path, pod: &str) -> Result<File> {
    let folder = pods.join(format!("shop_{pod}_{pod}-uid")).join("app");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let file = OpenOptions::new().create(true).append(true).open(folder.join("0.log"));
    file.with_context(|| format!("create a log in {}", folder.display()))
}

/// The records of [`TOPIC`].
pub struct Shipped {
    consumer: BaseConsumer,
    /// Read up to here.
    pub next_offset: i64,
}

impl Shipped {
    pub fn begin(kafka: &Kafka) -> Result<Shipped> {
        let mut config = kafka.client_config();
        let consumer: BaseConsumer =
            config.set("group.id", "test").set("enable.auto.commit", "false").create()?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(TOPIC, 0, Offset::Beginning)?;
        consumer.assign(&partitions)?;
        Ok(Shipped { consumer, next_offset: 0 })
    }

    /// The bodies of the next message; none when none comes within 200 ms.
    pub fn next_bodies(&mut self) -> Result<Vec<Bytes>> {
        let Some(message) = self.consumer.poll(Duration::from_millis(200)) else { return Ok(Vec::new()) };
        let message = message.context("read the topic")?;
        let payload = Bytes::copy_from_slice(message.payload().context("a message without a payload")?);
        self.next_offset = message.offset() + 1;
        let batches = decode(&payload, Provenance::Agent).context("decode a message")?;
        Ok(batches.iter().flat_map(|batch| &batch.records).map(|record| record.body.clone()).collect())
    }

    /// The offset that the next message will have, however far a consumer has read.
    pub fn end_offset(&self) -> Result<i64> {
        Ok(self.consumer.fetch_watermarks(TOPIC, 0, Duration::from_secs(20)).context("ask for the end")?.1)
    }
}
