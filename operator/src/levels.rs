//! LogLevelConfig and ClusterLogLevelConfig -> level rules: compiled into one ConfigMap that all agents watch.
//!
//! This loop only compiles and writes: a rule never waits for agents, counts or statuses ([`crate::applied`] handles those). Each rule
//! carries its absolute end, counted from when the resource was created or last edited (the status remembers that). So a rule lasts no
//! longer when the operator restarts or is unavailable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cordwood_core::levels::changes::changes;
use cordwood_core::levels::rivals::{Rivals, rivals};
use cordwood_core::levels::{LevelRule, LevelRules, RULES_KEY};
use cordwood_core::levels_compile::{Candidate, LeftOut, compile, next_expiry_ms};
use cordwood_crds::levels::LevelObject;
use cordwood_crds::{Problem, Read};
use cordwood_service::{Health, audit};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::leader::Standing;
use crate::level_configs::LevelConfigs;
use crate::publish::Publisher;
use crate::push::progress::Pushed;
use crate::telemetry::Telemetry;
use crate::tenants::{AUDIT, Exempt};
use crate::watched::explain_call;

/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);
/// How often the ConfigMap is read and written again at once because somebody else has written it meanwhile.
const CONFLICTS_MAX: u32 = 3;
/// The longest pause of the loop. It is shortened to the next moment at which a rule ends; a change of an object wakes the loop earlier.
const IDLE: Duration = Duration::from_secs(3600);

/// What the writing and the telling loop share.
pub struct Levels {
    pub client: Client,
    pub config: Config,
    pub namespace: String,
    pub health: Health,
    pub telemetry: Telemetry,
    pub publisher: Arc<Publisher>,
    pub configs: LevelConfigs,
    pub standing: watch::Receiver<Standing>,
    /// What was written last; `None` while another replica leads.
    pub published: watch::Sender<Option<Arc<Published>>>,
    /// Namespaces that take their own rules alone.
    pub exempt: watch::Receiver<Exempt>,
    /// How far pushes are; `None` where nothing may be pushed.
    pub pushed: Option<watch::Receiver<Arc<Pushed>>>,
    /// The ConfigMap is not what was written: the writer reads it and writes it again.
    pub drifted: Notify,
}

/// The rules that the ConfigMap has, and what they were compiled from.
#[derive(Debug)]
pub struct Published {
    pub rules: LevelRules,
    /// The ConfigMap's resource version.
    pub version: Option<String>,
    pub compiled: Vec<Compiled>,
    /// By id: valid rules that are not among them, and why.
    pub left_out: BTreeMap<String, LeftOut>,
    /// By id: rules that can match the same records.
    pub rivals: BTreeMap<String, Rivals>,
}

/// One resource with what follows from it.
#[derive(Debug)]
pub struct Compiled {
    pub config: LevelObject,
    pub started_at_ms: i64,
    pub rule: Result<LevelRule, Vec<Problem>>,
    /// The rule asked for more than the configuration allows.
    pub capped: bool,
    /// A LogLevelConfig in the namespace of the release: until the cluster-wide kind came it was for the whole cluster.
    pub in_release: bool,
}

impl Compiled {
    /// What it asks for. An invalid one: the last good rule, unless that was for more than its own namespace.
    fn candidate(&self, previous: &LevelRules) -> Option<Candidate> {
        let rule = match &self.rule {
            Ok(rule) => Some(rule),
            Err(_) => previous
                .get(&self.config.id())
                .filter(|rule| rule.namespace.as_deref() == self.config.namespace()),
        };
        rule.map(|rule| Candidate { rule: rule.clone(), since_ms: self.started_at_ms })
    }
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
        configs: Vec<Read<LevelObject>>,
        known: &mut Known,
    ) -> Result<Option<i64>, kube::Error> {
        let now_ms = Timestamp::now().as_millisecond();
        let compiled = self.compile(configs, known, now_ms);
        let (rules, left_out) = self.put_rules(&compiled, known, now_ms).await?;
        self.health.set("rules", Ok(()));
        self.telemetry.rules_generation.set(i64::try_from(rules.generation).unwrap_or(i64::MAX));
        self.telemetry.rules.set(i64::try_from(rules.len()).unwrap_or(i64::MAX));
        self.telemetry.rules_left_out.set(i64::try_from(left_out.len()).unwrap_or(i64::MAX));
        let end_ms = next_expiry_ms(&rules);
        self.published.send_replace(Some(Arc::new(Published {
            rivals: rivals(&rules),
            rules,
            version: known.version.clone(),
            compiled,
            left_out,
        })));
        Ok(end_ms)
    }

    fn compile(&self, configs: Vec<Read<LevelObject>>, known: &mut Known, now_ms: i64) -> Vec<Compiled> {
        let cap_ms = self.config.levels.duration_ms_max;
        let uids: BTreeSet<&str> = configs.iter().map(|read| read.object.uid()).collect();
        known.started.retain(|uid, _| uids.contains(uid.as_str()));
        let started = &mut known.started;
        configs
            .into_iter()
            .map(|read| {
                let started_at_ms = started_at_ms(&read.object, started, now_ms);
                let in_release = read.object.namespace() == Some(&self.namespace);
                let rule_within = |cap_ms| read.follow(|config| config.to_rule(started_at_ms, cap_ms));
                let (rule, asked) = (rule_within(cap_ms), rule_within(i64::MAX));
                let capped = match (&rule, &asked) {
                    (Ok(rule), Ok(asked)) => rule.expires_at_ms != asked.expires_at_ms,
                    _ => false,
                };
                Compiled { config: read.object, started_at_ms, rule, capped, in_release }
            })
            .collect()
    }

    /// Writes the ConfigMap if the rules are not what it has. The rules, and what they leave out.
    async fn put_rules(
        &self,
        compiled: &[Compiled],
        known: &mut Known,
        now_ms: i64,
    ) -> Result<(LevelRules, BTreeMap<String, LeftOut>), kube::Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut conflicts = 0;
        loop {
            let (previous, there) = match known.rules.take() {
                Some(rules) => (rules, true),
                None => self.read_rules(&api, compiled, known).await?,
            };
            let candidates = compiled.iter().filter_map(|compiled| compiled.candidate(&previous));
            let outcome = compile(candidates, &previous, now_ms);
            let next = outcome.rules;
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
                    rules = next.len(),
                    left_out = outcome.left_out.len(),
                    "level rules published"
                );
                // (What was there is what agents had: also after a restart, or where another replica wrote it.)
                for change in changes(&previous, &next, now_ms) {
                    audit(AUDIT, &change, change.action(), &change);
                }
            }
            known.rules = Some(next.clone());
            return Ok((next, outcome.left_out));
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
            None => (LevelRules::of(highest(compiled), []), false),
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
    LevelRules::from_json(map.data.as_ref()?.get(RULES_KEY)?).ok()
}

fn highest(compiled: &[Compiled]) -> u64 {
    let generations = compiled.iter().filter_map(|one| one.config.status.as_ref()?.rules_generation);
    generations.max().unwrap_or(0).max(0).unsigned_abs()
}

/// From when the duration counts: as remembered here or in the status; of an object that is seen so for the first time
/// from its last edit, which may lie in a time when the operator was away. Without a duration it is always the last edit: an
/// end that was moved is bound to the longest time again.
fn started_at_ms(
    config: &LevelObject,
    started: &mut BTreeMap<String, (Option<String>, i64)>,
    now_ms: i64,
) -> i64 {
    let edited = || edited_at_ms(&config.metadata).unwrap_or(now_ms).min(now_ms);
    let duration = &config.fields.duration;
    if config.default {
        // The oldest is the default: an edit does not make it younger.
        return created_at_ms(&config.metadata).unwrap_or(now_ms).min(now_ms);
    }
    if duration.is_none() {
        return edited();
    }
    let remembered = started.get(config.uid()).filter(|(known, _)| known == duration);
    let at_ms = match remembered {
        Some((_, at_ms)) => *at_ms,
        None => config.started_at_ms(edited()),
    };
    started.insert(config.uid().to_owned(), (duration.clone(), at_ms));
    at_ms
}

/// When somebody last wrote the object itself, not its status; as it was made, when it was made.
fn edited_at_ms(meta: &ObjectMeta) -> Option<i64> {
    let created = created_at_ms(meta);
    if meta.generation == Some(1) {
        return created;
    }
    let writes = meta.managed_fields.iter().flatten().filter(|entry| entry.subresource.is_none());
    let edited = writes.filter_map(|entry| entry.time.as_ref()).map(|time| time.0.as_millisecond()).max();
    edited.max(created)
}

fn created_at_ms(meta: &ObjectMeta) -> Option<i64> {
    meta.creation_timestamp.as_ref().map(|time| time.0.as_millisecond())
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
    fn config(uid: &str, generation: i64, duration: &str) -> LevelObject {
        let config: LogLevelConfig = serde_json::from_value(json!({
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
        .unwrap();
        config.into()
    }

    #[test]
    fn a_duration_counts_from_the_last_edit_that_made_it() {
        let mut started = BTreeMap::new();
        let mut begun_s_ago =
            |config: &LevelObject, now_ms| (NOW_MS - started_at_ms(config, &mut started, now_ms)) / 1000;
        assert_eq!(begun_s_ago(&config("a", 1, "5m"), NOW_MS), 100, "as it was made");
        assert_eq!(begun_s_ago(&config("b", 2, "5m"), NOW_MS), 40, "edited while nobody looked");
        assert_eq!(begun_s_ago(&config("b", 2, "5m"), NOW_MS + 60_000), 40, "as remembered");
        // Made again under the same name: it began with its predecessor, and was expired at birth.
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
        until.fields.duration = None;
        assert_eq!(started_at_ms(&until, &mut BTreeMap::new(), NOW_MS), NOW_MS - 40_000, "its end was moved");
        told.fields.duration = Some("10m".to_owned());
        assert_eq!(started_at_ms(&told, &mut BTreeMap::new(), NOW_MS), NOW_MS - 40_000);
    }

    /// Before the cluster-wide kind came, a config in the release's namespace was for the whole cluster: a last good rule of that
    /// time must not stay so.
    #[test]
    fn the_last_good_rule_stays_within_its_namespace() {
        let compiled = |rule| Compiled {
            config: config("a", 1, "5m"),
            started_at_ms: 7,
            rule,
            capped: false,
            in_release: true,
        };
        let good = compiled(config("a", 1, "5m").to_rule(0, i64::MAX));
        let own = good.candidate(&LevelRules::default()).unwrap();
        assert_eq!((own.rule.namespace.as_deref(), own.since_ms), (Some("shop"), 7));
        let bad = compiled(Err(Vec::new()));
        assert_eq!(bad.candidate(&LevelRules::default()), None);
        assert_eq!(bad.candidate(&LevelRules::of(1, [own.rule.clone()])), Some(own.clone()));
        let wide = LevelRule { namespace: None, ..own.rule };
        assert_eq!(bad.candidate(&LevelRules::of(1, [wide])), None);
    }
}
