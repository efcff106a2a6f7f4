//! The operator: custom resources in, table partitions and level rules out.
//!
//! ```text
//! LogRetentionPolicy -> watched -> loops -> core::retention::plan -> publish (status) -> store::ddl
//! (Cluster)LogLevelConfig -> watched -> levels -> core::levels_compile -> ConfigMap -> agents -> applied -> publish (status)
//!                                  `-> push -> pods that match -> applied
//! namespaces' labels -> tenants -> audit records
//! ```
//!
//! Every replica watches; only the lease's holder acts, and PostgreSQL's advisory locks keep a second one out even so.
//! PostgreSQL or the API server being away is a condition in `/readyz` and the statuses, and is tried again.

pub mod agents;
pub mod applied;
pub mod class_metrics;
pub mod condition_metrics;
pub mod conditions;
pub mod config;
pub mod due;
pub mod ended;
pub mod hold_metrics;
pub mod leader;
pub mod level_configs;
pub mod levels;
pub mod loops;
pub mod overview;
pub mod publish;
pub mod push;
pub mod report;
pub mod retention;
pub mod status_write;
pub mod telemetry;
pub mod tenants;
pub mod watched;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use cordwood_crds::LogRetentionPolicy;
use cordwood_service::kubernetes::Watches;
use cordwood_service::{Health, serve_beside};
use cordwood_store::connect::Store;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use config::Config;
use leader::Standing;
use level_configs::LevelConfigs;
use publish::Publisher;
use telemetry::Telemetry;
use watched::Watched;

/// The conditions that readiness needs.
const NEEDED: [&str; 5] = ["database create", "policies", "level configs", "cluster level configs", "lease"];

/// An answer that takes longer does not come: a dead connection would keep a loop waiting for good.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Nor does a watch say nothing for so long: the API server ends it after 290 s.
const WATCH_SILENCE_MAX: Duration = Duration::from_secs(300);

/// How long giving the lease back may take at the end: a read and a write.
const RESIGN_MAX: Duration = Duration::from_secs(2);

/// Runs until `shutdown`. Only what makes running pointless is an error: the configuration, the port, no API server
/// address at all.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let health = Health::new(&NEEDED);
    let registry = Registry::new();
    let telemetry = Telemetry::new(&registry).context("register the metrics")?;
    let watches =
        Watches::new("cordwood_operator", &registry, health.clone()).context("register the metrics")?;
    let store = Store::new(&config.database.clone().or_environment()).context("read the setting database")?;
    let watching = client(&config, WATCH_SILENCE_MAX).await?;
    let client = client(&config, ANSWER_MAX).await?;
    let (namespace, identity) = (config.namespace(), config.identity());
    let conditions = telemetry.conditions.clone();
    let publisher = Arc::new(Publisher::new(client.clone(), &identity, health.clone(), conditions));
    let policies: Watched<LogRetentionPolicy> = Watched::start(
        watching.clone(),
        "policies",
        "logretentionpolicies.cordwood.dev",
        &watches,
        shutdown.clone(),
    );
    let configs = LevelConfigs::start(watching.clone(), &watches, shutdown.clone());
    // The lease is given back when the work has stopped, not before.
    let campaign_end = CancellationToken::new();
    let candidate = leader::Candidate::new(client.clone(), &namespace, &config.leader, identity);
    let (standing, campaign) =
        leader::campaign(candidate, health.clone(), telemetry.leader.clone(), campaign_end.clone());
    let retention = Arc::new(loops::RetentionLoops {
        config: config.clone(),
        store,
        health: health.clone(),
        telemetry: telemetry.clone(),
        publisher: Arc::clone(&publisher),
        policies,
        standing: standing.clone(),
        last_good: Mutex::default(),
        create: Notify::new(),
        drop: Notify::new(),
        shown: Mutex::new(Value::Null),
    });
    let exempt = watch::Sender::new(tenants::Exempt::default());
    let exempted = exempt.subscribe();
    let owners = tenants::Owners::new(client.clone(), &config, health.clone(), standing.clone(), exempt);
    let agents = overview::Overview::new(client.clone(), &config).router();
    let pushed = watch::Sender::new(Arc::default());
    let pushed_seen = config.levels.push.enabled.then(|| pushed.subscribe());
    let levels = Arc::new(levels::Levels {
        client: client.clone(),
        config: config.clone(),
        namespace: namespace.clone(),
        health: health.clone(),
        telemetry: telemetry.clone(),
        publisher,
        configs,
        standing: standing.clone(),
        published: watch::Sender::new(None),
        exempt: exempted.clone(),
        pushed: pushed_seen,
        drifted: Notify::new(),
    });
    let pushes = push::Pushes {
        client,
        config: config.levels.clone(),
        namespace,
        health: health.clone(),
        telemetry: telemetry.clone(),
        published: levels.published.subscribe(),
        exempt: exempted,
        standing: standing.clone(),
        pushed,
    };
    let status = status_fn(Arc::clone(&retention), health.clone(), telemetry.clone(), standing);
    let address = serve_beside(config.listen, health, registry, status, agents, shutdown.clone()).await?;
    tracing::info!(%address, "operator started");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(Arc::clone(&retention).create_loop(shutdown.clone()));
    tasks.spawn(Arc::clone(&retention).drop_loop(shutdown.clone()));
    tasks.spawn(Arc::clone(&levels).write_loop(shutdown.clone()));
    tasks.spawn(levels.report_loop(shutdown.clone()));
    tasks.spawn(pushes.run(shutdown.clone()));
    tasks.spawn(owners.run(watching, watches, shutdown.clone()));
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            outcome = Err(anyhow::Error::new(error).context("a loop of the operator ended"));
            shutdown.cancel();
        }
    }
    campaign_end.cancel();
    if tokio::time::timeout(RESIGN_MAX, campaign).await.is_err() {
        tracing::warn!("the lease could not be released: another replica waits until it expires");
    }
    outcome
}

/// `answer_max`: how long a connection may be silent while an answer is waited for.
async fn client(config: &Config, answer_max: Duration) -> anyhow::Result<Client> {
    let mut kubernetes = match &config.kubernetes.kubeconfig_file {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("read kubernetes.kubeconfig_file {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("read kubernetes.kubeconfig_file {}", path.display()))?
        }
        None => kube::Config::infer().await.context(
            "find the API server: neither a service account nor a kubeconfig; set kubernetes.kubeconfig_file",
        )?,
    };
    kubernetes.read_timeout = Some(answer_max);
    // Else the time that a connection lay idle counts.
    kubernetes.reset_reader_on_write = true;
    Client::try_from(kubernetes).context("make a client of the API server")
}

fn status_fn(
    retention: Arc<loops::RetentionLoops>,
    health: Health,
    telemetry: Telemetry,
    standing: watch::Receiver<Standing>,
) -> cordwood_service::StatusFn {
    Arc::new(move || {
        let shown = retention.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        json!({
            "standing": format!("{:?}", *standing.borrow()).to_lowercase(),
            "conditions": health.conditions(),
            "retention": shown,
            "rules_generation": telemetry.rules_generation.get(),
            "rules": telemetry.rules.get(),
        })
    })
}
