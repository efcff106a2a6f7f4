//! `cordwood-gateway`: wiring only.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Parser;
use cordwood_core::limits::GATEWAY_STATEMENT_MS_MAX;
use cordwood_gateway::{
    Access, Administration, AgentsSource, Audit, Cluster, Config, Gateway, Oidc, ReplicaConfig, Seals,
    Tokens, check, start,
};
use cordwood_service::{Failure, Health, init_logging, load_config, run_to_end, serve, shutdown_signal};
use cordwood_store::{Store, migrate};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

/// How often PostgreSQL is asked whether it answers.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const POSTGRES: &str = "postgres";
const REPLICA_VARIABLE: &str = "CORDWOOD_REPLICA_DATABASE_URL";
/// Unmet from the moment it is told to end: a load balancer sends nobody here any more.
const ENDING: &str = "ending";

/// Answers questions about what is stored, over HTTP.
#[derive(Parser)]
#[command(name = "cordwood-gateway", version)]
struct Arguments {
    /// The configuration file (YAML).
    #[arg(long, env = "CORDWOOD_GATEWAY_CONFIG")]
    config: PathBuf,
    /// Checks what the configuration file says, and the files that it names as far as they are here; says what it did not check, and ends.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run_to_end("cordwood-gateway", run(arguments))
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut config: Config = load_config(&arguments.config)?;
    let wrong = |message: String| Failure::Config(anyhow!("{}: {message}", arguments.config.display()));
    config.check().map_err(wrong)?;
    config.database = config.database.or_environment();
    if std::env::var_os(REPLICA_VARIABLE).is_some_and(|url| !url.is_empty()) {
        let replica = config.replica.unwrap_or_default();
        config.replica =
            Some(ReplicaConfig { database: replica.database.or_variable(REPLICA_VARIABLE), ..replica });
    }
    let store = Store::bounded(&config.database, GATEWAY_STATEMENT_MS_MAX);
    let store = store.map_err(|error| wrong(error.to_string()))?;
    if arguments.check_config {
        let unchecked = check(&config).await.map_err(|error| wrong(format!("{error:#}")))?;
        say_unchecked(&unchecked);
        return Ok(());
    }
    let access = match (&config.tokens_file, &config.access.kubernetes) {
        (Some(file), _) => Access::Tokens(Tokens::read(file)?),
        (None, Some(kubernetes)) => {
            let fault = |error: anyhow::Error| wrong(format!("{error:#}"));
            let mut cluster = Cluster::new(kubernetes).await.map_err(fault)?;
            if let Some(oidc) = &config.access.oidc {
                cluster = cluster.with_oidc(Oidc::new(oidc).map_err(fault)?);
            }
            Access::Cluster(Arc::new(cluster))
        }
        (None, None) => return Err(wrong("tokens_file: none given".to_owned())),
    };
    let seals = config.access.session_key_file.as_deref().map(Seals::read).transpose();
    let seals = seals.map_err(|error| wrong(format!("{error:#}")))?;
    let replica = match &config.replica {
        Some(replica) => {
            let of = Store::new(&replica.database).map_err(|error| wrong(format!("replica.{error}")))?;
            Some((of.replica_of(&store), Duration::from_millis(replica.lag_ms_max)))
        }
        None => None,
    };
    init_logging("cordwood-gateway");
    let shutdown = shutdown_signal().context("install signal handlers")?;
    let registry = Registry::new();
    let health = Health::new(&[POSTGRES]);
    let administration = Administration::of_cluster(&config.administration, &access);
    let gateway = Gateway::new(store.clone(), access, &config.limits, &registry);
    let gateway = gateway.context("register metrics")?;
    let mut gateway = gateway.audited(Audit::to_stdout(config.audit.reads));
    if let Some(seals) = seals {
        gateway = gateway.with_session_keys(seals);
    }
    if let Some(redis) = &config.redis {
        gateway = gateway.woken_by(redis).map_err(|error| wrong(format!("{error:#}")))?;
    }
    if let Some((replica, lag_max)) = replica {
        gateway = gateway.reading_from(replica, lag_max);
    }
    let agents = AgentsSource::of_operator(&config.administration);
    gateway = gateway.administering(administration).showing_agents(agents);
    let status = Arc::new(|| serde_json::json!({}));
    // They are there to the end: who waits for it sees it come.
    let ended = CancellationToken::new();
    let _probes = ended.clone().drop_guard();
    serve(config.probes_listen, health.clone(), registry, status, ended).await.context("serve")?;
    let running = start(gateway, config.listen).await.context("serve")?;
    tracing::info!(address = %running.address, "answering");
    let look = async {
        loop {
            // Who waits for a newer schema is told so by the condition, and may fix it while we run.
            let answer = migrate::check(&store).await;
            health.set(POSTGRES, answer.map_err(|error| error.to_string()));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let _never: Option<()> = shutdown.run_until_cancelled(look).await;
    health.set(ENDING, Err("told to end".to_owned()));
    tokio::time::sleep(Duration::from_millis(config.shutdown_delay_ms)).await;
    running.stop().await;
    Ok(())
}

#[allow(clippy::print_stderr)]
fn say_unchecked(unchecked: &[String]) {
    for what in unchecked {
        eprintln!("cordwood-gateway: not checked: {what}");
    }
}
