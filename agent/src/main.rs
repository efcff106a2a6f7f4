//! `cordwood-agent`: wiring only.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use cordwood_agent::cluster::Cluster;
use cordwood_agent::rules::watch_rules;
use cordwood_agent::{CONDITIONS, Config, ContextSource, Environment, KafkaSink, Static, Telemetry, Waker};
use cordwood_core::levels::LevelRules;
use cordwood_service::kubernetes::Watches;
use cordwood_service::{Failure, Health};
use tokio::sync::watch;

/// Reads the log files of a Kubernetes node and sends their lines to Kafka.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file (YAML).
    #[arg(long, env = "CORDWOOD_AGENT_CONFIG")]
    config: PathBuf,
    /// Check the configuration and end: 0 when it is good, 2 with one line when it is not.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cordwood_service::run_to_end("cordwood-agent", run(arguments))
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let wrong = |error: anyhow::Error| Failure::Config(error);
    let config: Config = cordwood_service::load_config(&arguments.config)?;
    if arguments.check_config {
        // Where it is checked the node's variables are not set.
        let stand_in = |name: &str| std::env::var(name).ok().or_else(|| Some("check".to_owned()));
        let config = config.resolve(stand_in).map_err(|error| wrong(error.into()))?;
        return match config.kafka.client_config("cordwood-agent") {
            // Secrets are mounted where it runs, not where it is checked.
            Ok(_) | Err(cordwood_kafka::KafkaError::File { .. }) => Ok(()),
            Err(error) => Err(wrong(error.into())),
        };
    }
    let config = config.resolve(|name| std::env::var(name).ok()).map_err(|error| wrong(error.into()))?;
    cordwood_service::init_logging("cordwood-agent");
    cordwood_agent::raise_descriptor_limit();
    let shutdown = cordwood_service::shutdown_signal().context("install signal handlers")?;
    let waker = Waker::new().context("make the reader's waker")?;
    let in_cluster = config.kubernetes.enabled && config.pods_dir.is_some();
    let mut conditions = vec!["kafka"];
    conditions.extend(CONDITIONS);
    if in_cluster {
        conditions.extend(["pods", "namespaces", "owners", "rules"]);
    }
    let health = Health::new(&conditions);
    let registry = prometheus::Registry::new();
    let telemetry = Telemetry::new(&registry).context("register metrics")?;
    let watches = Watches::new("cordwood_agent", &registry, health.clone()).context("register metrics")?;
    let status = {
        let (telemetry, health) = (telemetry.clone(), health.clone());
        Arc::new(move || telemetry.status_body(&health))
    };
    let address = cordwood_service::serve(config.listen, health.clone(), registry, status, shutdown.clone())
        .await
        .context("serve the endpoints")?;
    tracing::info!(%address, node = config.node, "agent started");

    let client_id = format!("cordwood-agent-{}", config.node);
    let sink =
        KafkaSink::start(
            config.kafka.clone(),
            &client_id,
            config.read.memory_bytes_max,
            health.clone(),
            telemetry.clone(),
            waker.clone(),
            shutdown.clone(),
        )
        .map_err(|error| {
            if error.is_configuration() { wrong(error.into()) } else { Failure::Run(error.into()) }
        })?;

    let (rules_sender, rules) = watch::channel(Arc::new(LevelRules::default()));
    let known = Static::new(&config);
    let context = if in_cluster {
        let found = kube::Config::infer().await.context("find the Kubernetes API")?;
        let client = cordwood_agent::client(found).context("make a client of the Kubernetes API")?;
        let cluster = Cluster::new(known, config.kubernetes.metadata_wait_ms, waker.clone());
        tokio::spawn(Arc::clone(&cluster).watch_pods(
            client.clone(),
            config.node.clone(),
            watches.clone(),
            shutdown.clone(),
        ));
        tokio::spawn(Arc::clone(&cluster).watch_namespaces(
            client.clone(),
            watches.clone(),
            shutdown.clone(),
        ));
        tokio::spawn(Arc::clone(&cluster).ask_owners(client.clone(), health.clone(), shutdown.clone()));
        tokio::spawn(watch_rules(
            client,
            config.kubernetes.namespace.clone(),
            config.kubernetes.rules_config_map.clone(),
            rules_sender,
            waker.clone(),
            watches,
            shutdown.clone(),
        ));
        ContextSource::Kubernetes(cluster)
    } else {
        ContextSource::Static(Arc::new(known))
    };
    let environment = Environment { context, rules, waker, telemetry, health };
    cordwood_agent::run(config, sink, environment, shutdown).await?;
    Ok(())
}
