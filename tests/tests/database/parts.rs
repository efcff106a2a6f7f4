//! All parts as programs on one PostgreSQL, and what was written to Kafka.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::batch::{KAFKA_HEADER, KAFKA_HEADER_VALUE};
use cordwood_tests::bin;
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::{Kafka, Process, Program, wait_for};
use cordwood_tests::http::{self, Answer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use super::operator_world::World;
use super::support::{self, Lines, check_exactly_once};

pub const PATIENCE: Duration = Duration::from_secs(120);
const TOPIC: &str = "logs";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// What the watermarks account for.
pub const RECORDS: &str = "select coalesce(sum(records), 0)::bigint from watermarks";
/// Blocks that are not sealed yet.
const FRESH: &str = "select count(*) from fresh f join seals z using (lane) where f.seq > z.upto";

/// As whom, and where, each part reaches PostgreSQL.
pub struct Urls {
    pub operator: String,
    pub writer: String,
    pub gateway: String,
}

pub struct Parts {
    pub world: World,
    pub writer: Process,
    pub gateway: Process,
    pub streams: Vec<Lines>,
    writer_port: Port,
    gateway_ports: (Port, Port),
    producer: FutureProducer,
    _kafka: Kafka,
    _home: Home,
}

impl Parts {
    /// Returns when all of them are ready.
    pub async fn start(mut world: World, urls: &Urls) -> Result<Parts> {
        world.more = json!({"database": {"url": urls.operator}});
        world.start_operator().await?;
        let kafka = Kafka::start().await?;
        kafka.create_topic(TOPIC, 2).await?;
        let home = Home::new("database")?;
        let (writer_port, gateway_ports) = (Port::free()?, (Port::free()?, Port::free()?));
        let writer = json!({
            "kafka": {"brokers": kafka.brokers(), "topic": TOPIC},
            "member": "writer-0",
            "database": {"url": urls.writer},
            "listen": local(&writer_port),
            "seal": {"interval_seconds": 0.5},
        });
        let tokens_file = home.join("tokens.yaml");
        let tokens = json!({"tokens": [{"name": "all", "token": TOKEN, "tenants": ["tenant-0", "tenant-1", "tenant-2"]}]});
        std::fs::write(&tokens_file, tokens.to_string())?;
        let gateway = json!({
            "listen": local(&gateway_ports.0),
            "probes_listen": local(&gateway_ports.1),
            "database": {"url": urls.gateway},
            "tokens_file": tokens_file,
        });
        let start = |name: &str, config: &Value| -> Result<Process> {
            let file = home.join(format!("{name}.yaml"));
            std::fs::write(&file, config.to_string())?;
            Program::new(name, bin(name)?, home.path())
                .arg("--config")
                .arg(&file)
                .env("RUST_LOG", "info")
                .start()
        };
        let parts = Parts {
            writer: start("cordwood-writer", &writer)?,
            gateway: start("cordwood-gateway", &gateway)?,
            streams: (0..4).map(Lines::new).collect(),
            producer: kafka.client_config().set("enable.idempotence", "true").create()?,
            world,
            writer_port,
            gateway_ports,
            _kafka: kafka,
            _home: home,
        };
        wait_for("writer and gateway to be ready", PATIENCE, || parts.are_ready()).await?;
        Ok(parts)
    }

    /// A message of each stream.
    pub async fn send(&mut self) -> Result<()> {
        for lines in &mut self.streams {
            let (payload, key) = (lines.message(25), lines.stream.to_string());
            let mark = Header { key: KAFKA_HEADER, value: Some(KAFKA_HEADER_VALUE) };
            let record =
                FutureRecord::to(TOPIC).key(&key).payload(&payload).headers(OwnedHeaders::new().insert(mark));
            self.producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    pub fn written(&self) -> i64 {
        self.streams.iter().map(|lines| lines.next as i64).sum()
    }

    /// Every line is in PostgreSQL, sealed too, exactly once; the gateway shows each.
    pub async fn all_stored(&mut self) -> Result<()> {
        let written = self.written();
        let stored = wait_for("all lines to be stored", PATIENCE, || async {
            let stored = self.world.sql_count(RECORDS).await?;
            ensure!(stored >= written, "{stored} of {written}");
            Ok(())
        });
        stored.await.with_context(|| self.logs())?;
        wait_for("the gateway to show them", PATIENCE, || async {
            let answer = self.ask("/api/platform/logs/histogram").await?;
            ensure!(answer.code == 200, "{} {}", answer.code, answer.text());
            let shown = answer.json()?["records"].as_i64().context("records")?;
            ensure!(shown == written, "{shown} of {written}");
            Ok(())
        })
        .await
        .with_context(|| self.logs())?;
        wait_for("all blocks to be sealed", PATIENCE, || async {
            let fresh = self.world.sql_count(FRESH).await?;
            ensure!(fresh == 0, "{fresh} fresh blocks");
            Ok(())
        })
        .await
        .with_context(|| self.logs())?;
        let client = self.world.postgres.client_of(&self.world.database).await?;
        check_exactly_once(&support::stored(&client).await?, &self.streams)?;
        let wrong = "select (select count(*) from losses) + (select count(*) from dead_letters)";
        ensure!(self.world.sql_count(wrong).await? == 0, "losses or dead letters");
        Ok(())
    }

    pub async fn ask(&self, path: &str) -> Result<Answer> {
        let bearer = format!("Bearer {TOKEN}");
        http::ask(&local(&self.gateway_ports.0), "GET", path, &[("Authorization", &bearer)]).await
    }

    /// The writer is not ready, and says so with this text.
    pub async fn writer_says(&self, text: &str) -> Result<()> {
        let (code, said) = http::get(&local(&self.writer_port), "/readyz").await?;
        ensure!(code == 503 && said.contains(text), "{code} {said}");
        Ok(())
    }

    pub async fn writer_metric(&self, name: &str) -> Result<f64> {
        http::metric(&local(&self.writer_port), name).await
    }

    pub async fn are_ready(&self) -> Result<()> {
        for port in [&self.writer_port, &self.gateway_ports.1] {
            let (code, said) = http::get(&local(port), "/readyz").await?;
            ensure!(code == 200, "{code} {said}");
        }
        Ok(())
    }

    /// An error, if one of the three has ended.
    pub fn check(&mut self) -> Result<()> {
        ensure!(self.world.operator_runs(), "the operator ended");
        self.writer.check()?;
        self.gateway.check()
    }

    pub fn logs(&self) -> String {
        let operator = self.world.operator.as_ref().map(|operator| operator.process.log_tail(15));
        [operator.unwrap_or_default(), self.writer.log_tail(15), self.gateway.log_tail(5)].join("\n---\n")
    }
}

fn local(port: &Port) -> String {
    format!("127.0.0.1:{}", port.number())
}
