//! Measures how long a change of level rules takes from the API server to many agents: each has a watch of its own on a real API server, as the agent's
//! program has; the operator's program writes the rules.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_core::levels::LevelRules;
use cordwood_crds::{LogLevelConfig, manifests};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::sync::mpsc;

use crate::bin;
use crate::env::home::Home;
use crate::env::ports::Port;
use crate::env::{ApiServer, Postgres, Program, wait_for};

const RULES: &str = "cordwood-level-rules";
const PATIENCE: Duration = Duration::from_secs(120);

/// Which agent learnt of which rules, and when.
type Learnt = (usize, LevelRules, Instant);

/// How long each change took to each agent, the shortest first.
///
/// # Errors
/// A part that does not start, an agent that learns nothing.
pub async fn measure(agents: usize, changes: usize) -> Result<Vec<Duration>> {
    let (server, postgres) = tokio::try_join!(ApiServer::start(), Postgres::start(15))?;
    let client = server.client().await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for manifest in manifests() {
        let parameters = PatchParams::apply("bench").force();
        definitions.patch(&manifest.crd.name_any(), &parameters, &Patch::Apply(&manifest.crd)).await?;
    }
    let home = Home::new("many-agents")?;
    let port = Port::free()?;
    let config = json!({
        "listen": format!("127.0.0.1:{}", port.number()),
        "database": {"url": postgres.url()},
        "kubernetes": {"kubeconfig_file": server.kubeconfig(), "namespace": "default"},
        "leader": {"lease_duration_ms": 2000, "identity": "operator-0"},
    });
    let path = home.join("operator.yaml");
    std::fs::write(&path, config.to_string())?;
    let _operator = Program::new("operator", bin("cordwood-operator")?, home.path())
        .arg("--config")
        .arg(&path)
        .env("RUST_LOG", "info")
        .start()?;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    wait_for("the first rules", PATIENCE, || async { maps.get(RULES).await.map(drop).context("get") })
        .await?;

    let (sender, mut learnt) = mpsc::unbounded_channel();
    let mut watching = tokio::task::JoinSet::new();
    for agent in 0..agents {
        // A connection of its own.
        let maps = Api::default_namespaced(server.client().await?);
        watching.spawn(watch(agent, maps, sender.clone()));
    }
    let mut started = HashSet::new();
    while started.len() < agents {
        let first = tokio::time::timeout(PATIENCE, learnt.recv()).await;
        let first = first.with_context(|| format!("{} of {agents} agents have rules", started.len()))?;
        started.insert(first.context("nobody watches")?.0);
    }
    let configs: Api<LogLevelConfig> = Api::default_namespaced(client);
    let mut took = Vec::new();
    // The first is not measured: an API server ends the watches of a kind some time after the kind was made, and the operator watches again
    // within two seconds.
    for number in 0..=changes {
        let config: LogLevelConfig = serde_json::from_value(json!({
            "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig", "metadata": {"name": format!("change-{number}")},
            "spec": {"level": "ERROR", "duration": "1h", "selector": {"matchLabels": {"app": format!("app-{number}")}}},
        }))?;
        let began = Instant::now();
        configs.create(&PostParams::default(), &config).await?;
        let id = format!("default/change-{number}");
        let mut have = HashSet::new();
        while have.len() < agents {
            let next = tokio::time::timeout(PATIENCE, learnt.recv()).await;
            let next = next.with_context(|| format!("{} of {agents} agents have {id}", have.len()))?;
            let (agent, rules, at) = next.context("nobody watches")?;
            if rules.get(&id).is_some() && have.insert(agent) && number > 0 {
                took.push(at.saturating_duration_since(began));
            }
        }
    }
    ensure!(took.len() == agents * changes);
    took.sort_unstable();
    Ok(took)
}

async fn watch(agent: usize, maps: Api<ConfigMap>, sender: mpsc::UnboundedSender<Learnt>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={RULES}"));
    let mut stream = std::pin::pin!(watcher(maps, config));
    while let Some(event) = stream.next().await {
        let Ok(Event::Apply(map) | Event::InitApply(map)) = event else { continue };
        let text = map.data.and_then(|mut data| data.remove("rules.json")).unwrap_or_default();
        if let Ok(rules) = LevelRules::from_json(&text)
            && sender.send((agent, rules, Instant::now())).is_err()
        {
            return;
        }
    }
}
