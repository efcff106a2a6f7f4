//! LogLevelConfig -> level rules: compiled into one ConfigMap that all agents watch.
//!
//! This loop compiles and writes and does nothing else: a rule waits for no agent, no count and no status ([`crate::applied`]
//! does those). Each rule carries its absolute end, counted from when the resource was made or last edited (which the
//! status then remembers), so neither a restart here nor the operator being away makes a rule last longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cordwood_core::levels::{LevelRule, LevelRules, RULES_KEY};
use cordwood_core::levels_compile::{compile, next_expiry_ms};
use cordwood_crds::{LogLevelConfig, Problem, Read};
use cordwood_service::Health;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::leader::Standing;
use crate::publish::Publisher;
use crate::telemetry::Telemetry;
use crate::watched::{Watched, explain_call};

/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Somebody else wrote the ConfigMap meanwhile: it is read and written again at once, so often.
const CONFLICTS_MAX: u32 = 3;
/// Without an end in sight.
const IDLE: Duration = Duration::from_secs(3600);

/// What the writing and the telling loop share.
pub struct Levels {
    pub client: Client,
    pub config: Config,
    pub namespace: String,
    pub health: Health,
    pub telemetry: Telemetry,
    pub publisher: Arc<Publisher>,
    pub configs: Watched<LogLevelConfig>,
    pub standing: watch::Receiver<Standing>,
    /// What was written last; `None` while another replica leads.
    pub published: watch::Sender<Option<Arc<Published>>>,
    /// The ConfigMap is not what was written: the writer reads it and writes it anew.
    pub drifted: Notify,
}

/// The rules that the ConfigMap has, and what they were compiled from.
#[derive(Debug)]
pub struct Published {
    pub rules: LevelRules,
    /// The ConfigMap's resource version.
    pub version: Option<String>,
    pub compiled: Vec<Compiled>,
}

/// One resource with what follows from it.
#[derive(Debug)]
pub struct Compiled {
    pub config: LogLevelConfig,
    pub started_at_ms: i64,
    pub rule: Result<LevelRule, Vec<Problem>>,
    /// The rule asked for more than the configuration allows.
    pub capped: bool,
}

/// What the writing loop knows between two rounds.
#[derive(Default)]
struct Known {
    rules: Option<LevelRules>,
    /// The ConfigMap's resource version as we wrote or read it; a write is conditional on it.
    version: Option<String>,
    /// By UID: the duration and when it began, for resources whose status cannot say it yet.
    started: BTreeMap<String, (Option<String>, i64)>,
}

impl Levels {
    /// Writes the rules when a resource changes, when one ends, and when what is there is not what was written.
    pub async fn write_loop(self: Arc<Self>, shutdown: CancellationToken) {
        let mut known = Known::default();
        let (mut changes, mut standing) = (self.configs.clone(), self.standing.clone());
        loop {
            let now = *standing.borrow_and_update();
            let mut pause = IDLE;
            if now != Standing::Leader {
                // Another may have written rules since.
                known = Known::default();
                self.published.send_if_modified(|published| published.take().is_some());
                if now == Standing::Follower {
                    self.health.set("rules", Ok(()));
                }
            } else if let Some(configs) = self.configs.all() {
                match self.write(configs, &mut known).await {
                    Ok(Some(end_ms)) => {
                        let left_ms = (end_ms - Timestamp::now().as_millisecond()).max(0) + 5;
                        pause = pause.min(Duration::from_millis(left_ms.unsigned_abs()));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let what = format!("configmaps {}", self.config.levels.config_map);
                        self.health.set("rules", Err(explain_call("create and update", &what, &error)));
                        pause = RETRY;
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = changes.changed() => {}
                _ = standing.changed() => {}
                () = self.drifted.notified() => known.rules = None,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Brings the ConfigMap up to date; when the first rule ends.
    async fn write(
        &self,
        configs: Vec<Read<LogLevelConfig>>,
        known: &mut Known,
    ) -> Result<Option<i64>, kube::Error> {
        let now_ms = Timestamp::now().as_millisecond();
        let compiled = self.compile(configs, known, now_ms);
        let rules = self.put_rules(&compiled, known, now_ms).await?;
        self.health.set("rules", Ok(()));
        self.telemetry.rules_generation.set(i64::try_from(rules.generation).unwrap_or(i64::MAX));
        self.telemetry.rules.set(i64::try_from(rules.rules.len()).unwrap_or(i64::MAX));
        let end_ms = next_expiry_ms(&rules);
        self.published.send_replace(Some(Arc::new(Published {
            rules,
            version: known.version.clone(),
            compiled,
        })));
        Ok(end_ms)
    }

    fn compile(&self, configs: Vec<Read<LogLevelConfig>>, known: &mut Known, now_ms: i64) -> Vec<Compiled> {
        let cap_ms = self.config.levels.duration_ms_max;
        known.started.retain(|uid, _| configs.iter().any(|read| uid_of(&read.object) == uid));
        let started = &mut known.started;
        configs
            .into_iter()
            .map(|read| {
                let started_at_ms = started_at_ms(&read.object, started, now_ms);
                let cluster_wide = read.object.metadata.namespace.as_deref() == Some(&self.namespace);
                let rule_within =
                    |cap_ms| read.follow(|config| config.to_rule(cluster_wide, started_at_ms, cap_ms));
                let (rule, asked) = (rule_within(cap_ms), rule_within(i64::MAX));
                let capped = match (&rule, &asked) {
                    (Ok(rule), Ok(asked)) => rule.expires_at_ms != asked.expires_at_ms,
                    _ => false,
                };
                Compiled { config: read.object, started_at_ms, rule, capped }
            })
            .collect()
    }

    /// Writes the ConfigMap if the rules are not what it has.
    async fn put_rules(
        &self,
        compiled: &[Compiled],
        known: &mut Known,
        now_ms: i64,
    ) -> Result<LevelRules, kube::Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut conflicts = 0;
        loop {
            let (previous, there) = match known.rules.take() {
                Some(rules) => (rules, true),
                None => self.read_rules(&api, compiled, known).await?,
            };
            let rules = compiled.iter().filter_map(|compiled| match &compiled.rule {
                Ok(rule) => Some(rule.clone()),
                // An invalid resource: the last good rule stays in force.
                Err(_) => previous.rules.iter().find(|rule| rule.id == compiled.config.id()).cloned(),
            });
            let next = compile(rules, &previous, now_ms);
            if next != previous || !there {
                // When it fails nothing is known: what is there is read before the next try.
                match self.put(&api, &next, known.version.take()).await {
                    Ok(version) => known.version = version,
                    Err(kube::Error::Api(answer))
                        if matches!(answer.code, 404 | 409) && conflicts < CONFLICTS_MAX =>
                    {
                        conflicts += 1;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                tracing::info!(
                    generation = next.generation,
                    rules = next.rules.len(),
                    "level rules published"
                );
            }
            known.rules = Some(next.clone());
            return Ok(next);
        }
    }

    /// The rules that are there, and whether any are.
    async fn read_rules(
        &self,
        api: &Api<ConfigMap>,
        compiled: &[Compiled],
        known: &mut Known,
    ) -> Result<(LevelRules, bool), kube::Error> {
        let object = api.get_opt(&self.config.levels.config_map).await?;
        known.version = object.as_ref().and_then(|map| map.metadata.resource_version.clone());
        Ok(match object.as_ref().and_then(read) {
            Some(rules) => (rules, true),
            // None, or not readable: begin above every generation that a status remembers.
            None => (LevelRules { generation: highest(compiled), rules: Vec::new() }, false),
        })
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
            data: Some(BTreeMap::from([(RULES_KEY.to_owned(), text)])),
            ..ConfigMap::default()
        };
        let written = match version {
            Some(_) => api.replace(name, &PostParams::default(), &map).await?,
            None => api.create(&PostParams::default(), &map).await?,
        };
        Ok(written.metadata.resource_version)
    }
}

fn read(map: &ConfigMap) -> Option<LevelRules> {
    serde_json::from_str(map.data.as_ref()?.get(RULES_KEY)?).ok()
}

fn highest(compiled: &[Compiled]) -> u64 {
    let generations = compiled.iter().filter_map(|one| one.config.status.as_ref()?.rules_generation);
    generations.max().unwrap_or(0).max(0).unsigned_abs()
}

/// An object made anew under the same name has another.
pub fn uid_of(config: &LogLevelConfig) -> &str {
    config.metadata.uid.as_deref().unwrap_or_default()
}

/// From when the duration counts: as remembered here or in the status; of an object that is seen so for the first time
/// from its last edit, which may lie in a time when the operator was away. Without a duration it is always the last edit: an
/// end that was moved is bound to the longest time anew.
fn started_at_ms(
    config: &LogLevelConfig,
    started: &mut BTreeMap<String, (Option<String>, i64)>,
    now_ms: i64,
) -> i64 {
    let edited = || edited_at_ms(&config.metadata).unwrap_or(now_ms).min(now_ms);
    let duration = &config.spec.duration;
    if duration.is_none() {
        return edited();
    }
    let remembered = started.get(uid_of(config)).filter(|(known, _)| known == duration);
    let at_ms = match remembered {
        Some((_, at_ms)) => *at_ms,
        None => config.started_at_ms(edited()),
    };
    started.insert(uid_of(config).to_owned(), (duration.clone(), at_ms));
    at_ms
}

/// When somebody last wrote the object itself, not its status; as it was made, when it was made.
fn edited_at_ms(meta: &ObjectMeta) -> Option<i64> {
    let created = meta.creation_timestamp.as_ref().map(|time| time.0.as_millisecond());
    if meta.generation == Some(1) {
        return created;
    }
    let writes = meta.managed_fields.iter().flatten().filter(|entry| entry.subresource.is_none());
    let edited = writes.filter_map(|entry| entry.time.as_ref()).map(|time| time.0.as_millisecond()).max();
    edited.max(created)
}

#[cfg(test)]
mod tests {
    use cordwood_crds::LogLevelConfig;
    use serde_json::json;

    use super::*;

    const NOW_MS: i64 = 1_795_003_200_000;

    fn time(before_s: i64) -> String {
        Timestamp::from_millisecond(NOW_MS - before_s * 1000).unwrap().to_string()
    }

    /// Made 100 s ago, edited 40 s ago, its status written 5 s ago.
    fn config(uid: &str, generation: i64, duration: &str) -> LogLevelConfig {
        serde_json::from_value(json!({
            "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig",
            "metadata": {
                "name": "quiet", "namespace": "shop", "uid": uid, "generation": generation,
                "creationTimestamp": time(100),
                "managedFields": [
                    {"manager": "kubectl", "operation": "Update", "time": time(40)},
                    {"manager": "operator", "operation": "Update", "subresource": "status", "time": time(5)},
                ],
            },
            "spec": {"level": "ERROR", "duration": duration},
        }))
        .unwrap()
    }

    #[test]
    fn a_duration_counts_from_the_last_edit_that_made_it() {
        let mut started = BTreeMap::new();
        let mut begun_s_ago =
            |config: &LogLevelConfig, now_ms| (NOW_MS - started_at_ms(config, &mut started, now_ms)) / 1000;
        assert_eq!(begun_s_ago(&config("a", 1, "5m"), NOW_MS), 100, "as it was made");
        assert_eq!(begun_s_ago(&config("b", 2, "5m"), NOW_MS), 40, "edited while nobody looked");
        assert_eq!(begun_s_ago(&config("b", 2, "5m"), NOW_MS + 60_000), 40, "as remembered");
        // Made anew under the same name: it began with its predecessor, and was expired at birth.
        assert_eq!(begun_s_ago(&config("c", 1, "5m"), NOW_MS), 100);
        // The API server's clock is ahead of ours.
        assert_eq!(begun_s_ago(&config("d", 1, "5m"), NOW_MS - 200_000), 200);
    }

    #[test]
    fn the_status_remembers_the_start_of_the_same_duration() {
        let mut told = config("a", 7, "5m");
        let status = json!({"startedAt": time(90), "startedDuration": "5m"});
        told.status = serde_json::from_value(status).unwrap();
        assert_eq!(started_at_ms(&told, &mut BTreeMap::new(), NOW_MS), NOW_MS - 90_000);
        let mut until = told.clone();
        until.spec.duration = None;
        assert_eq!(started_at_ms(&until, &mut BTreeMap::new(), NOW_MS), NOW_MS - 40_000, "its end was moved");
        told.spec.duration = Some("10m".to_owned());
        assert_eq!(started_at_ms(&told, &mut BTreeMap::new(), NOW_MS), NOW_MS - 40_000);
    }
}
