//! Starts, watches and stops agent and writer in this process. It stops them in the order in which nothing is lost.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cordwood_agent::config::{self, Config, FileInput};
use cordwood_agent::{ContextSource, Ending, Environment, Static, Telemetry, Waker};
use cordwood_core::levels::LevelRules;
use cordwood_service::Health;
use cordwood_store::Store;
use cordwood_writer::{Metrics, NoFeed, SealSettings, SourceStatus};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::sink::QueueSink;
use super::status::Moment;
use crate::args::{SealArgs, StandaloneArgs};

/// Batches on their way to PostgreSQL.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// How long the writer may take for its last transactions after the agent has stopped.
const WRITER_PATIENCE: Duration = Duration::from_secs(60);

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By a signal, or because a part broke: files may still be written to.
    Interrupted,
    /// Everything is stored, and nobody writes any more.
    Idle,
}

/// What this process says of itself, all parts together.
#[derive(Clone)]
pub struct Own {
    pub registry: Registry,
    pub health: Health,
}

impl Own {
    pub fn new() -> Own {
        let conditions = [cordwood_agent::CONDITIONS, &cordwood_writer::CONDITIONS].concat();
        Own { registry: Registry::new(), health: Health::new(&conditions) }
    }
}

pub struct Parts {
    agent: JoinHandle<Result<()>>,
    writer: JoinHandle<Result<()>>,
    agent_end: Ending,
    agent_stop: CancellationToken,
    writer_stop: CancellationToken,
    rules: watch::Sender<Arc<LevelRules>>,
    waker: Waker,
    telemetry: Telemetry,
    metrics: Metrics,
    health: Health,
}

impl Parts {
    /// # Errors
    /// When the agent's settings or state folder cannot be used.
    pub async fn start(
        args: &StandaloneArgs,
        store: &Store,
        state_dir: PathBuf,
        pods_dir: Option<PathBuf>,
        files: Vec<FileInput>,
        rules: Arc<LevelRules>,
        own: Own,
    ) -> Result<Parts> {
        let Own { registry, health } = own;
        let (sender, source) = cordwood_writer::queue(QUEUE_BYTES_MAX);
        let writer_stop = CancellationToken::new();
        let mut writer_parts = cordwood_writer::Parts::new(store.clone(), &registry, writer_stop.clone())
            .context("register the writer's metrics")?;
        writer_parts.seal = seal_settings(&args.seal);
        writer_parts.health = health.clone();
        let metrics = writer_parts.metrics.clone();
        let status = Arc::new(Mutex::new(SourceStatus::default()));
        let writer = tokio::spawn(cordwood_writer::run(writer_parts, source, Arc::new(NoFeed), status));

        let config = agent_config(args, state_dir, pods_dir, files)?;
        let agent_stop = CancellationToken::new();
        let agent_end = Ending::from(agent_stop.clone());
        let telemetry = Telemetry::new(&registry).context("register the agent's metrics")?;
        let waker = Waker::new().context("make an eventfd")?;
        let (rules, watched) = watch::channel(rules);
        let context = ContextSource::Static(Arc::new(Static::new(&config)));
        let sink = QueueSink::new(sender, tokio::runtime::Handle::current());
        let environment = Environment {
            context,
            rules: watched,
            waker: waker.clone(),
            telemetry: telemetry.clone(),
            health: health.clone(),
        };
        let agent = tokio::spawn(cordwood_agent::run(config, sink, environment, agent_end.clone()));
        Ok(Parts {
            agent,
            writer,
            agent_end,
            agent_stop,
            writer_stop,
            rules,
            waker,
            telemetry,
            metrics,
            health,
        })
    }

    pub fn has_broken(&self) -> bool {
        self.agent.is_finished() || self.writer.is_finished()
    }

    /// Both have begun: the files were looked for, the database answers.
    pub fn is_ready(&self) -> bool {
        self.health.ready().is_ok()
    }

    pub fn moment(&self) -> Moment {
        let status = self.telemetry.status();
        Moment {
            files: status.files,
            lag_bytes: status.lag_bytes,
            held_bytes: status.held_bytes - status.unfinished_bytes,
            unfinished_bytes: status.unfinished_bytes,
            stored: self.metrics.records.get(),
            duplicates: self.metrics.duplicates.get(),
        }
    }

    /// What is stored goes to its table partitions now. A trouble is told: the next start seals it.
    pub async fn seal(args: &SealArgs, store: &Store, metrics: &Metrics) {
        let format = seal_settings(args).block_format();
        match cordwood_writer::sealer::seal_now(store, format, metrics).await {
            Ok(true) => {}
            Ok(false) => tracing::debug!("another process seals"),
            Err(error) => tracing::warn!(%error, "not sealed before the end; the next start does it"),
        }
    }

    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    pub fn telemetry(&self) -> Telemetry {
        self.telemetry.clone()
    }

    pub fn health(&self) -> Health {
        self.health.clone()
    }

    pub fn set_rules(&self, rules: Arc<LevelRules>) {
        self.rules.send_replace(rules);
        self.waker.wake();
    }

    /// The agent first: it sends what it has read and waits for the answers; its going ends the queue, and that the writer.
    ///
    /// # Errors
    /// What broke a part.
    pub async fn stop(self, end: End) -> Result<()> {
        match end {
            End::Interrupted => self.agent_stop.cancel(),
            End::Idle => self.agent_end.end_with_all(),
        }
        self.waker.wake();
        let agent = self.agent.await.context("the agent").and_then(|result| result);
        let mut writer = self.writer;
        let writer = match tokio::time::timeout(WRITER_PATIENCE, &mut writer).await {
            Ok(result) => result,
            Err(_) => {
                self.writer_stop.cancel();
                let late = tokio::time::timeout(Duration::from_secs(10), writer).await;
                late.map_err(|_| {
                    anyhow!("the writer did not end; what is not stored is read again at the next start")
                })?
            }
        };
        self.writer_stop.cancel();
        agent.and(writer.context("the writer").and_then(|result| result))
    }
}

fn seal_settings(args: &SealArgs) -> SealSettings {
    #[allow(clippy::cast_precision_loss)]
    let interval_seconds = args.seal_every as f64;
    SealSettings { interval_seconds, format: args.seal_format, ..SealSettings::default() }
}

fn agent_config(
    args: &StandaloneArgs,
    state_dir: PathBuf,
    pods_dir: Option<PathBuf>,
    files: Vec<FileInput>,
) -> Result<Config> {
    let everywhere =
        config::NamespaceTenant { namespace: "*".to_owned(), tenant: args.tenant.clone(), tenant_id: None };
    let config = Config {
        node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        state_dir,
        pods_dir,
        files,
        time_zone: args.time_zone.clone(),
        kubernetes: config::Kubernetes { enabled: false, ..config::Kubernetes::default() },
        tenants: config::Tenants { namespaces: vec![everywhere], ..config::Tenants::default() },
        ..Config::default()
    };
    Ok(config.resolve(|_| None)?)
}
