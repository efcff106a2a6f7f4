//! `cordwood-writer`: wiring only.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Parser;
use cordwood_service::{Failure, Health, init_logging, load_config, run_to_end, serve, shutdown_signal};
use cordwood_store::{Store, StoreError, migrate};
use cordwood_writer::{Config, Feed, KafkaSource, Metrics, NoFeed, Parts, RedisFeed};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

/// Stores what agents put into Kafka: blocks in PostgreSQL, exactly once.
#[derive(Parser)]
#[command(name = "cordwood-writer", version)]
struct Arguments {
    /// The configuration file (YAML).
    #[arg(long, env = "CORDWOOD_WRITER_CONFIG")]
    config: PathBuf,
    /// Reads and checks the configuration, and ends.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run_to_end("cordwood-writer", run(arguments))
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut config: Config = load_config(&arguments.config)?;
    let wrong = |message: String| Failure::Config(anyhow!("{}: {message}", arguments.config.display()));
    config.check().map_err(wrong)?;
    config.database = config.database.or_environment();
    let store = Store::new(&config.database).map_err(|error| wrong(error.to_string()))?;
    config.kafka.client_config("cordwood-writer").map_err(|error| wrong(error.to_string()))?;
    if arguments.check_config {
        return Ok(());
    }
    init_logging("cordwood-writer");
    let shutdown = shutdown_signal().context("install signal handlers")?;
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).context("register metrics")?;
    let health = Health::new(&cordwood_writer::CONDITIONS);
    let source_status = Arc::default();
    let status = cordwood_writer::status(metrics.clone(), Arc::clone(&source_status));
    serve(config.listen, health.clone(), registry, status, shutdown.clone()).await.context("serve")?;
    schema(&store, config.migrate, &health, &shutdown).await?;
    let feed: Arc<dyn Feed> = match &config.redis {
        Some(redis) => {
            let feed = RedisFeed::start(redis, metrics.feed.clone());
            Arc::new(feed.map_err(|error| wrong(format!("{error:#}")))?)
        }
        None => Arc::new(NoFeed),
    };
    topic(&config, &metrics, &health, &shutdown).await?;
    if shutdown.is_cancelled() {
        return Ok(());
    }
    let member = config.member();
    let source = KafkaSource::join(&config.kafka, &config.group, member.as_deref());
    let source = source.context("join the consumer group")?;
    let parts = Parts { store, health, metrics, commit: config.commit, seal: config.seal, shutdown };
    cordwood_writer::run(parts, source, feed, source_status).await?;
    Ok(())
}

/// Waits for PostgreSQL; ends only for what waiting cannot fix (a wrong password, a missing right).
async fn schema(
    store: &Store,
    migrate_too: bool,
    health: &Health,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let done = if migrate_too {
            migrate::run(store).await.map(|migrated| {
                migrated.warnings.iter().for_each(|warning| tracing::warn!(warning, "roles and grants"));
            })
        } else {
            migrate::check(store).await
        };
        match done {
            Ok(()) => return Ok(()),
            // An older schema is the operator's to fix, and it may be doing so.
            Err(error) if error.is_transient() || matches!(error, StoreError::Schema { .. }) => {
                health.set("postgres", Err(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
        if pause(shutdown).await {
            return Ok(());
        }
    }
}

async fn topic(
    config: &Config,
    metrics: &Metrics,
    health: &Health,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    loop {
        match cordwood_kafka::ensure_topic(&config.kafka, "cordwood-writer").await {
            Ok(found) => {
                if found.acknowledged_by_one() {
                    tracing::warn!(
                        topic = config.kafka.topic,
                        replication = found.replication,
                        "Kafka acknowledges a message that only one broker has: set the topic's min.insync.replicas to 2, or \
                         a failing disk takes what agents count as delivered"
                    );
                }
                metrics.single_acknowledgement.set(i64::from(found.acknowledged_by_one()));
                return Ok(());
            }
            Err(error) if error.is_configuration() => return Err(error.into()),
            Err(error) => health.set("source", Err(error.to_string())),
        }
        if pause(shutdown).await {
            return Ok(());
        }
    }
}

async fn pause(shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => true,
        () = tokio::time::sleep(Duration::from_secs(2)) => false,
    }
}
