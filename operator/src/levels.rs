//! LogLevelConfig -> level rules: compiled into one ConfigMap that all agents watch, then told in the statuses.
//!
//! The rules are written at once when a resource changes; who has them is asked afterwards. Each rule carries its absolute
//! end, counted from when the resource was made (or its duration last changed, which the status remembers), so neither a
//! restart here nor the operator being away makes a rule last longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cordwood_core::levels::{LevelRule, LevelRules};
use cordwood_core::levels_compile::{compile, next_expiry_ms};
use cordwood_crds::{LogLevelConfig, LogLevelConfigStatus, Problem};
use cordwood_service::Health;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::events::EventType;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agents::{self, Agent};
use crate::config::Config;
use crate::leader::Standing;
use crate::publish::{Publisher, time_of_ms};
use crate::report::Conditions;
use crate::telemetry::Telemetry;
use crate::watched::{Watched, explain_call};

const KEY: &str = "rules.json";
/// After a change agents are asked this often...
const ASK_SOON: Duration = Duration::from_millis(300);
/// ...for so long.
const ASK_SOON_ROUNDS: u32 = 40;

pub struct Levels {
    pub client: Client,
    pub config: Config,
    pub namespace: String,
    pub health: Health,
    pub telemetry: Telemetry,
    pub publisher: Arc<Publisher>,
    pub configs: Watched<LogLevelConfig>,
    pub standing: watch::Receiver<Standing>,
}

/// One resource with what follows from it.
struct Compiled {
    config: LogLevelConfig,
    started_at_ms: i64,
    rule: Result<LevelRule, Vec<Problem>>,
    /// The rule asked for more than the configuration allows.
    capped: bool,
}

/// What the loop knows between two rounds.
#[derive(Default)]
struct Known {
    rules: Option<LevelRules>,
    /// The ConfigMap's resource version as we wrote or read it; a write is conditional on it.
    version: Option<String>,
    agents: Vec<Agent>,
    workloads: BTreeMap<String, i64>,
    /// First seen and when, for resources whose status cannot say it yet.
    started: BTreeMap<String, (Option<String>, i64)>,
    written: BTreeMap<String, LogLevelConfigStatus>,
    ask_rounds: u32,
}

impl Levels {
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut known = Known::default();
        let mut changes = self.configs.clone();
        loop {
            let mut pause = Duration::from_secs(1);
            if *self.standing.borrow_and_update() == Standing::Leader
                && let Some(configs) = self.configs.all()
            {
                pause = self.round(configs, &mut known).await;
            } else {
                // Another may have written rules since.
                known = Known::default();
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = changes.changed() => {}
                _ = self.standing.changed() => {}
                () = tokio::time::sleep(pause) => {
                    if known.ask_rounds == 0 {
                        // Now and then what is really there is read, in case somebody changed or deleted it.
                        known.rules = None;
                    }
                }
            }
        }
    }

    /// One round; how long until the next if nothing changes.
    async fn round(&self, configs: Vec<LogLevelConfig>, known: &mut Known) -> Duration {
        let now_ms = Timestamp::now().as_millisecond();
        let compiled = self.compile(configs, known, now_ms);
        match self.write_rules(&compiled, known, now_ms).await {
            Ok(true) => known.ask_rounds = ASK_SOON_ROUNDS,
            Ok(false) => {}
            Err(error) => {
                let what = format!("configmaps {}", self.config.levels.config_map);
                self.health.set("rules", Err(explain_call("create and update", &what, &error)));
                return Duration::from_secs(1);
            }
        }
        self.health.set("rules", Ok(()));
        let generation = known.rules.as_ref().map_or(0, |rules| rules.generation);
        self.statuses(&compiled, known, now_ms).await;
        self.ask(&compiled, known).await;
        self.statuses(&compiled, known, now_ms).await;
        let behind =
            known.agents.iter().any(|agent| agent.generation != Some(generation)) || known.agents.is_empty();
        let mut pause = Duration::from_millis(self.config.levels.ask_interval_ms);
        if known.ask_rounds > 0 && behind && !compiled.is_empty() {
            known.ask_rounds -= 1;
            pause = ASK_SOON;
        }
        let expiry = known.rules.as_ref().and_then(next_expiry_ms);
        if let Some(expiry) = expiry {
            let left = (expiry - Timestamp::now().as_millisecond()).max(0) + 5;
            pause = pause.min(Duration::from_millis(left.unsigned_abs()));
        }
        pause
    }

    fn compile(&self, configs: Vec<LogLevelConfig>, known: &mut Known, now_ms: i64) -> Vec<Compiled> {
        let cap_ms = self.config.levels.duration_ms_max;
        known.started.retain(|id, _| configs.iter().any(|config| config.id() == *id));
        configs
            .into_iter()
            .map(|config| {
                let id = config.id();
                // A spec that was never edited began with the object; an edited one when we first saw it so.
                let created = config.metadata.creation_timestamp.as_ref().map(|time| time.0.as_millisecond());
                let first =
                    if config.metadata.generation == Some(1) { created.unwrap_or(now_ms) } else { now_ms };
                let remembered =
                    known.started.get(&id).filter(|(duration, _)| *duration == config.spec.duration);
                let started_at_ms = match remembered {
                    Some((_, at)) => *at,
                    None => config.started_at_ms(first),
                };
                known.started.insert(id, (config.spec.duration.clone(), started_at_ms));
                let cluster_wide = config.metadata.namespace.as_deref() == Some(&self.namespace);
                let rule = config.to_rule(cluster_wide, started_at_ms, cap_ms);
                let asked = config.to_rule(cluster_wide, started_at_ms, i64::MAX);
                let capped = match (&rule, &asked) {
                    (Ok(rule), Ok(asked)) => rule.expires_at_ms != asked.expires_at_ms,
                    _ => false,
                };
                Compiled { config, started_at_ms, rule, capped }
            })
            .collect()
    }

    /// Writes the ConfigMap when the rules changed; whether they did.
    async fn write_rules(
        &self,
        compiled: &[Compiled],
        known: &mut Known,
        now_ms: i64,
    ) -> Result<bool, kube::Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = &self.config.levels.config_map;
        let (previous, there) = match known.rules.take() {
            Some(rules) => (rules, true),
            None => {
                let object = api.get_opt(name).await?;
                known.version = object.as_ref().and_then(|map| map.metadata.resource_version.clone());
                match object.as_ref().and_then(read) {
                    Some(rules) => (rules, true),
                    // None, or not readable: begin above every generation that a status remembers.
                    None => (LevelRules { generation: highest(compiled), rules: Vec::new() }, false),
                }
            }
        };
        let rules = compiled.iter().filter_map(|compiled| match &compiled.rule {
            Ok(rule) => Some(rule.clone()),
            // An invalid resource: the last good rule stays in force.
            Err(_) => previous.rules.iter().find(|rule| rule.id == compiled.config.id()).cloned(),
        });
        let next = compile(rules, &previous, now_ms);
        let changed = next != previous || !there;
        if changed {
            // When it fails nothing is known: the next round reads what is there.
            known.version = self.put(&api, &next, known.version.take()).await?;
            tracing::info!(generation = next.generation, rules = next.rules.len(), "level rules published");
        }
        self.telemetry.rules_generation.set(i64::try_from(next.generation).unwrap_or(i64::MAX));
        self.telemetry.rules.set(i64::try_from(next.rules.len()).unwrap_or(i64::MAX));
        known.rules = Some(next);
        Ok(changed)
    }

    /// One call; conditional on the version that we know. Returns the new version.
    async fn put(
        &self,
        api: &Api<ConfigMap>,
        rules: &LevelRules,
        version: Option<String>,
    ) -> Result<Option<String>, kube::Error> {
        let name = &self.config.levels.config_map;
        let text = serde_json::to_string(rules).map_err(kube::Error::SerdeError)?;
        let labels = BTreeMap::from([
            ("app.kubernetes.io/name".to_owned(), "cordwood".to_owned()),
            ("app.kubernetes.io/managed-by".to_owned(), "cordwood-operator".to_owned()),
        ]);
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(labels),
                resource_version: version.clone(),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(KEY.to_owned(), text)])),
            ..ConfigMap::default()
        };
        let written = match version {
            Some(_) => api.replace(name, &PostParams::default(), &map).await?,
            None => api.create(&PostParams::default(), &map).await?,
        };
        Ok(written.metadata.resource_version)
    }

    /// Who has the rules, and what they match.
    async fn ask(&self, compiled: &[Compiled], known: &mut Known) {
        if compiled.is_empty() && known.ask_rounds == 0 {
            return;
        }
        let levels = &self.config.levels;
        match agents::ask(&self.client, &self.namespace, &levels.agent_selector, levels.agent_port).await {
            Ok(agents) => known.agents = agents,
            Err(error) => tracing::warn!(reason = explain_call("list", "pods", &error), "ask the agents"),
        }
        let generation = known.rules.as_ref().map_or(0, |rules| rules.generation);
        let applied = known.agents.iter().filter(|agent| agent.generation == Some(generation)).count();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.telemetry.agents.with_label_values(&["applied"]).set(count(applied));
        self.telemetry.agents.with_label_values(&["behind"]).set(count(known.agents.len() - applied));
        known.workloads.retain(|id, _| compiled.iter().any(|compiled| compiled.config.id() == *id));
        for rule in compiled.iter().filter_map(|compiled| compiled.rule.as_ref().ok()) {
            match agents::workloads(&self.client, rule).await {
                Ok(number) => {
                    known.workloads.insert(rule.id.clone(), number);
                }
                Err(error) => {
                    tracing::warn!(reason = explain_call("list", "pods", &error), "count workloads")
                }
            }
        }
    }

    async fn statuses(&self, compiled: &[Compiled], known: &mut Known, now_ms: i64) {
        let mut trouble = Ok(());
        for one in compiled {
            let id = one.config.id();
            let before =
                known.written.get(&id).cloned().or_else(|| one.config.status.clone()).unwrap_or_default();
            let status = status(one, &before, known, now_ms);
            if status == before {
                continue;
            }
            match self.publisher.level_config(&one.config, &status).await {
                Ok(()) => {
                    self.tell(&one.config, &before, &status).await;
                    known.written.insert(id, status);
                }
                Err(error) => {
                    trouble = Err(explain_call("patch", "loglevelconfigs.cordwood.dev/status", &error))
                }
            }
        }
        known.written.retain(|id, _| compiled.iter().any(|compiled| compiled.config.id() == *id));
        self.health.set("level status", trouble);
    }

    /// An event for each condition that changed and matters.
    async fn tell(
        &self,
        config: &LogLevelConfig,
        before: &LogLevelConfigStatus,
        after: &LogLevelConfigStatus,
    ) {
        for condition in &after.conditions {
            let same = before
                .conditions
                .iter()
                .any(|known| known.type_ == condition.type_ && known.reason == condition.reason);
            let warn = condition.type_ == "Valid" && condition.status == "False";
            if same || !(condition.type_ == "Active" || warn) {
                continue;
            }
            let type_ = if warn { EventType::Warning } else { EventType::Normal };
            self.publisher.event(config, type_, &condition.reason, "Levels", &condition.message).await;
        }
    }
}

fn read(map: &ConfigMap) -> Option<LevelRules> {
    serde_json::from_str(map.data.as_ref()?.get(KEY)?).ok()
}

fn highest(compiled: &[Compiled]) -> u64 {
    let generations = compiled.iter().filter_map(|one| one.config.status.as_ref()?.rules_generation);
    generations.max().unwrap_or(0).max(0).unsigned_abs()
}

fn status(one: &Compiled, before: &LogLevelConfigStatus, known: &Known, now_ms: i64) -> LogLevelConfigStatus {
    let id = one.config.id();
    let none = LevelRules::default();
    let rules = known.rules.as_ref().unwrap_or(&none);
    let rule = rules.rules.iter().find(|rule| rule.id == id);
    let generation = one.config.metadata.generation;
    let conditions =
        Conditions { before: &before.conditions, generation, now_us: now_ms.saturating_mul(1000) };
    let applied = known.agents.iter().filter(|agent| agent.generation == Some(rules.generation)).count();
    let total = known.agents.len();
    let expires_at_ms = one.rule.as_ref().ok().or(rule).and_then(|rule| rule.expires_at_ms);
    let active = match (rule, &one.rule) {
        (Some(rule), _) => (true, "InForce", format!("lines below {} are dropped", rule.level)),
        (None, Ok(_)) => (false, "Expired", "it has ended; lines of every level pass again".to_owned()),
        (None, Err(_)) => (false, "Invalid", "it was never in force".to_owned()),
    };
    let valid = match &one.rule {
        Err(problems) => {
            let text = cordwood_crds::describe(problems);
            (
                false,
                "Invalid",
                format!("{text}. The last good rule, if there was one, stays in force until its end."),
            )
        }
        Ok(_) if one.capped => {
            (true, "Capped", "it ends sooner than asked: the operator's levels.duration_ms_max".to_owned())
        }
        Ok(_) => (true, "Accepted", String::new()),
    };
    let message = format!("{applied} of {total} agents have rules generation {}", rules.generation);
    let everywhere = total > 0 && applied == total;
    let reason = if everywhere { "AllAgents" } else { "AgentsBehind" };
    LogLevelConfigStatus {
        observed_generation: generation,
        conditions: vec![
            conditions.of("Active", active),
            conditions.of("Valid", valid),
            conditions.of("Applied", (everywhere, reason, message)),
        ],
        rules_generation: i64::try_from(rules.generation).ok(),
        agents: Some(format!("{applied}/{total}")),
        agents_applied: i64::try_from(applied).ok(),
        agents_total: i64::try_from(total).ok(),
        workloads_matched: known.workloads.get(&id).copied(),
        workloads_applied: before.workloads_applied,
        workloads_failed: before.workloads_failed,
        started_at: Some(time_of_ms(one.started_at_ms)),
        started_duration: one.config.spec.duration.clone(),
        expires_at: expires_at_ms.map(time_of_ms),
    }
}
