//! Changes levels inside applications: applies each level config with `push` that is in force to the pods that it matches, and restores the
//! earlier level at its end.
//!
//! ```text
//! published rules -> pods (listed) -> plan -> read the level there -> remember it (kept) -> tell the new one -> status (applied)
//! ```
//!
//! Only the leader does this. It remembers each change before it makes it, so the next leader can restore the earlier level. A pod that
//! starts later gets its level in the next round.

pub mod kept;
pub mod plan;
pub mod pods;
pub mod progress;
pub mod ways;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cordwood_core::levels::LevelRules;
use cordwood_core::limits::PUSHED_PODS_MAX;
use cordwood_service::{Health, audit};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agents::selector;
use crate::config;
use crate::leader::Standing;
use crate::levels::{Compiled, Published};
use crate::telemetry::Telemetry;
use crate::tenants::{AUDIT, Exempt};
use crate::watched::explain_call;
use kept::{Entry, Kept, Loaded};
use plan::{Assigned, Tries, Want, What, Work, assign, progress_of, work};
use pods::{SeenPod, seen};
use progress::Pushed;
use ways::Found;
use wire::{Unanswered, Wire};

/// Pods that are asked at a time.
const AT_ONCE: usize = 16;
/// Pods on a page of the list.
const PAGE: u32 = 500;
/// The pause after a round that failed.
const RETRY: Duration = Duration::from_secs(2);
/// The pause after a round that reached its limit of pods.
const SOON: Duration = Duration::from_millis(50);
/// The pause while no config is pushed. A change of the published rules wakes the loop earlier.
const IDLE: Duration = Duration::from_secs(3600);

/// What the loop needs.
pub struct Pushes {
    pub client: Client,
    pub config: config::Levels,
    pub namespace: String,
    pub health: Health,
    pub telemetry: Telemetry,
    pub published: watch::Receiver<Option<Arc<Published>>>,
    pub exempt: watch::Receiver<Exempt>,
    pub standing: watch::Receiver<Standing>,
    /// For the statuses.
    pub pushed: watch::Sender<Arc<Pushed>>,
}

/// What is known between two rounds.
#[derive(Default)]
struct Known {
    /// With the ConfigMap's resource version.
    kept: Option<(Kept, Option<String>)>,
    tries: Tries,
}

impl Pushes {
    /// Rounds when rules change, when a pod is to be asked again, and now and then for pods that have started.
    pub async fn run(self, shutdown: CancellationToken) {
        if !self.config.push.enabled {
            return;
        }
        let mut known = Known::default();
        let mut published = self.published.clone();
        loop {
            let current = published.borrow_and_update().clone();
            let pause = match current {
                None => {
                    // Another leads, and writes what it does.
                    known = Known::default();
                    self.health.set("pushes", Ok(()));
                    IDLE
                }
                // (It may be left at any point: what is told is remembered first.)
                Some(current) => match shutdown.run_until_cancelled(self.round(&current, &mut known)).await {
                    None => break,
                    Some(Ok(pause)) => {
                        self.health.set("pushes", Ok(()));
                        pause
                    }
                    Some(Err(why)) => {
                        self.trouble(&why);
                        self.health.set("pushes", Err(why));
                        RETRY
                    }
                },
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = published.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn trouble(&self, why: &str) {
        tracing::warn!(reason = why, "push levels");
        self.pushed.send_if_modified(|pushed| {
            let changed = pushed.trouble.as_deref() != Some(why);
            Arc::make_mut(pushed).trouble = Some(why.to_owned());
            changed
        });
    }

    /// One look at everything; until when there is nothing to do.
    async fn round(&self, current: &Published, known: &mut Known) -> Result<Duration, String> {
        let now_ms = Timestamp::now().as_millisecond();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let wants = wants(&current.compiled, &current.rules, now_ms);
        let (mut kept, mut version) = match known.kept.take() {
            Some(kept) => kept,
            None => self.load(&maps, &current.compiled, now_ms).await?,
        };
        let uids: BTreeSet<&str> = current.compiled.iter().map(|one| one.config.uid()).collect();
        kept.retain_lost(|config| uids.contains(config));
        let (pods, is_whole) = self.pods(&wants).await?;
        let exempt = self.exempt.borrow().clone();
        let assigned = assign(&wants, &pods, &exempt);
        known.tries.retain(&assigned, &kept);
        let (work, has_more) = work(&assigned, &kept, &known.tries, is_whole, now_ms);
        if !work.is_empty() {
            let done = self.act(work, &mut kept, &mut version, &mut known.tries, &maps).await;
            done.map_err(|error| explain(&error, "create and update"))?;
        }
        let is_idle = wants.is_empty() && kept.is_empty();
        self.say(&wants, &assigned, &kept, &known.tries);
        known.kept = Some((kept, version));
        let interval = Duration::from_millis(self.config.ask_interval_ms);
        let retry = known.tries.next_ms(now_ms).map(|next_ms| {
            Duration::from_millis((next_ms - Timestamp::now().as_millisecond()).max(0).unsigned_abs())
        });
        Ok(match (has_more, is_idle) {
            (true, _) => SOON,
            (false, true) => IDLE,
            (false, false) => retry.map_or(interval, |retry| retry.min(interval)),
        })
    }

    /// What is remembered; that something was lost is written down at once.
    async fn load(
        &self,
        maps: &Api<ConfigMap>,
        compiled: &[Compiled],
        now_ms: i64,
    ) -> Result<(Kept, Option<String>), String> {
        let loaded = kept::load(maps, pushed_before(compiled), now_ms).await;
        let Loaded { kept, version, is_lost } = loaded.map_err(|error| explain(&error, "get"))?;
        let version = if is_lost {
            let saved = kept::save(maps, &kept, version).await;
            saved.map_err(|error| explain(&error, "create and update"))?
        } else {
            version
        };
        Ok((kept, version))
    }

    fn say(&self, wants: &[Want], assigned: &Assigned<'_>, kept: &Kept, tries: &Tries) {
        let next = Pushed { configs: progress_of(wants, assigned, kept, tries), trouble: None };
        self.pushed.send_if_modified(|pushed| {
            let changed = **pushed != next;
            *pushed = Arc::new(next);
            changed
        });
    }

    /// All running pods that one of the configs selects, and whether these are all.
    async fn pods(&self, wants: &[Want]) -> Result<(Vec<SeenPod>, bool), String> {
        let mut found: BTreeMap<String, SeenPod> = BTreeMap::new();
        for want in wants {
            let api: Api<Pod> = match &want.rule.namespace {
                Some(namespace) => Api::namespaced(self.client.clone(), namespace),
                None => Api::all(self.client.clone()),
            };
            let mut parameters = ListParams::default().labels(&selector(&want.rule)).limit(PAGE);
            loop {
                let page =
                    api.list(&parameters).await.map_err(|error| explain_call("list", "pods", &error))?;
                for pod in &page.items {
                    if let Some(pod) = seen(pod, self.config.push.allow_loopback) {
                        found.insert(pod.uid.clone(), pod);
                    }
                }
                if found.len() > PUSHED_PODS_MAX {
                    return Ok((found.into_values().take(PUSHED_PODS_MAX).collect(), false));
                }
                match page.metadata.continue_ {
                    Some(token) if !token.is_empty() => parameters = parameters.continue_token(&token),
                    _ => break,
                }
            }
        }
        Ok((found.into_values().collect(), true))
    }

    /// Reads, remembers, tells, remembers. An error: nobody was told what is not remembered.
    async fn act(
        &self,
        work: Vec<Work>,
        kept: &mut Kept,
        version: &mut Option<String>,
        tries: &mut Tries,
        maps: &Api<ConfigMap>,
    ) -> Result<(), kube::Error> {
        let allow_loopback = self.config.push.allow_loopback;
        let wire = &Wire::new(self.client.clone(), self.standing.clone(), allow_loopback);
        let asked = work.into_iter().map(|one| async move {
            let answer = read(wire, &one).await;
            (one, answer)
        });
        let read: Vec<(Work, Result<Found, Unanswered>)> =
            futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        let now_ms = Timestamp::now().as_millisecond();
        let mut to_tell = Vec::new();
        for (one, answer) in read {
            let level = answer.and_then(|found| next(&one, found, kept));
            match level {
                Ok(Some(level)) => to_tell.push((one, level)),
                Ok(None) => {
                    // Somebody else has changed it since, or it has started again: it is theirs.
                    self.count("left");
                    tries.succeeded(&one.key);
                    kept.forget(&one.key);
                }
                Err(why) => self.unanswered(&one, why, kept, tries, now_ms),
            }
        }
        // Who wrote it last may go on: this also keeps out a replica that led before.
        *version = kept::save(maps, kept, version.take()).await?;
        let asked = to_tell.into_iter().map(|(one, level): (Work, Found)| async move {
            let answer = tell(wire, &one, &level).await;
            (one, level, answer)
        });
        let pushed_to: Vec<(Work, Found, Result<(), Unanswered>)> =
            futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        let now_ms = Timestamp::now().as_millisecond();
        for (one, level, answer) in pushed_to {
            match answer {
                Ok(()) => {
                    tries.succeeded(&one.key);
                    self.done(&one, &level, kept);
                }
                Err(why) => self.unanswered(&one, why, kept, tries, now_ms),
            }
        }
        *version = kept::save(maps, kept, version.take()).await?;
        Ok(())
    }

    fn unanswered(&self, one: &Work, why: Unanswered, kept: &mut Kept, tries: &mut Tries, now_ms: i64) {
        match why {
            Unanswered::Gone => {
                self.count("gone");
                tries.succeeded(&one.key);
                kept.forget(&one.key);
            }
            Unanswered::Failed(why) => {
                self.count(match one.what {
                    What::Push { .. } => "failed",
                    What::Restore { .. } => "restore_failed",
                });
                tracing::info!(namespace = one.namespace, pod = one.pod, reason = why, "push a level");
                tries.failed(&one.key, why, now_ms);
            }
            Unanswered::NotLeader => {}
        }
    }

    /// The application has taken it.
    fn done(&self, one: &Work, level: &Found, kept: &mut Kept) {
        let Some(entry) = kept.get(&one.key).cloned() else { return };
        let (outcome, action, what) = match one.what {
            What::Push { .. } => ("pushed", "level-push-began", "has the level of"),
            What::Restore { .. } => {
                ("restored", "level-push-ended", "has the level again that it had before")
            }
        };
        self.count(outcome);
        let Entry { namespace, pod, uid, target, config_id, before, .. } = &entry;
        let message = format!("pod {namespace}/{pod} {what} level config {config_id}");
        let metadata = json!({
            "config": config_id, "namespace": namespace, "pod": pod, "podUid": uid, "target": target,
            "level": level, "before": before,
        });
        audit(AUDIT, message, action, metadata);
        match one.what {
            What::Push { .. } => kept.is_done(&one.key),
            What::Restore { .. } => kept.forget(&one.key),
        }
    }

    fn count(&self, outcome: &str) {
        self.telemetry.pushes.with_label_values(&[outcome]).inc();
    }
}

/// The configs in force that are to be pushed and can be.
fn wants(compiled: &[Compiled], rules: &LevelRules, now_ms: i64) -> Vec<Want> {
    let want = |one: &Compiled| {
        let push = one.config.fields.push.clone().filter(|_| one.rule.is_ok())?;
        let rule = rules.get(&one.config.id())?;
        let is_over = rule.expires_at_ms.is_some_and(|end| end <= now_ms);
        let target = ways::target(&push).filter(|_| !is_over)?;
        Some(Want { uid: one.config.uid().to_owned(), rule: rule.clone(), push, target })
    };
    compiled.iter().filter_map(want).collect()
}

/// UIDs of configs whose status says that pods may have been told their level.
fn pushed_before(compiled: &[Compiled]) -> impl Iterator<Item = String> {
    compiled.iter().filter_map(|one| {
        let conditions = &one.config.status.as_ref()?.conditions;
        let pushed = conditions.iter().find(|condition| condition.type_ == "Pushed")?;
        ["AllPods", "PodsPending", "PodsFailed"]
            .contains(&pushed.reason.as_str())
            .then(|| one.config.uid().to_owned())
    })
}

fn explain(error: &kube::Error, verb: &str) -> String {
    match error {
        kube::Error::Api(status) if status.code == 409 => {
            format!("configmaps {}: somebody else has written it; it is read again", kept::CONFIG_MAP)
        }
        error => explain_call(verb, &format!("configmaps {}", kept::CONFIG_MAP), error),
    }
}

/// Which level the application has.
async fn read(wire: &Wire, one: &Work) -> Result<Found, Unanswered> {
    let push = one.push();
    let (Some(asked), Some(port)) = (ways::read(push), ways::port(push)) else {
        return Err(Unanswered::Failed("no way to it".to_owned()));
    };
    let answer = wire.ask(&one.namespace, &one.pod, &one.key.0, port, &asked).await?;
    ways::found(push, &answer).map_err(|why| Unanswered::Failed(format!("port {port}: {why}")))
}

/// Remembers what was found; the level to tell, or `None` where there is nothing to put back.
fn next(one: &Work, found: Found, kept: &mut Kept) -> Result<Option<Found>, Unanswered> {
    let known = kept.get(&one.key).cloned();
    match &one.what {
        What::Restore { push } => {
            Ok(known.filter(|entry| entry.has_ours(push, &found)).map(|entry| entry.before))
        }
        What::Push { config, config_id, level, starts, push } => {
            let failed = |why: &str| Unanswered::Failed(why.to_owned());
            let shown = ways::shows(push, *level).ok_or_else(|| failed("no way to it"))?;
            let ours = known.filter(|entry| entry.has_ours(push, &found));
            let (before, mut levels) = match ours {
                Some(entry) => (entry.before, entry.levels),
                None => (found, Vec::new()),
            };
            levels.retain(|known| known != level);
            levels.push(*level);
            let entry = Entry {
                namespace: one.namespace.clone(),
                pod: one.pod.clone(),
                uid: one.key.0.clone(),
                target: one.key.1.clone(),
                config: config.clone(),
                config_id: config_id.clone(),
                before,
                levels,
                starts: *starts,
                done: false,
            };
            kept.put(entry, push).map_err(failed)?;
            Ok(Some(shown))
        }
    }
}

async fn tell(wire: &Wire, one: &Work, level: &Found) -> Result<(), Unanswered> {
    let push = one.push();
    let port = ways::port(push).unwrap_or_default();
    for asked in ways::put(push, level) {
        wire.ask(&one.namespace, &one.pod, &one.key.0, port, &asked).await?;
    }
    Ok(())
}
