//! Writes into the statuses of level configs which agents have the rules and which workloads they match. The loop that writes the
//! rules never waits for this one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cordwood_core::gate::{RuleScope, Unleveled};
use cordwood_core::levels::{LevelRule, LevelRules};
use cordwood_core::levels_compile::LeftOut;
use cordwood_crds::LogLevelConfigStatus;
use cordwood_crds::levels::{LevelObject, Reach};
use cordwood_service::audit;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::runtime::events::EventType;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agents::{self, Agent, Workloads};
use crate::conditions::{Conditions, Progress, Said};
use crate::due::REFRESH;
use crate::ended::{delete, ended};
use crate::leader::Standing;
use crate::levels::{Compiled, Levels, Published};
use crate::publish::{is_away, time_of_ms, upon};
use crate::push::progress::{self, Pushed};
use crate::tenants::AUDIT;
use crate::watched::{explain_call, is_same_spec};

/// As metrics name them.
const KINDS: [&str; 2] = ["LogLevelConfig", "ClusterLogLevelConfig"];
/// Agents that a message names.
const AGENTS_NAMED_MAX: usize = 5;
/// Nodes of agents that are behind, on which workloads are looked for.
const NODES_BEHIND_MAX: usize = 10;
/// After a change agents are asked this often...
const ASK_SOON: Duration = Duration::from_millis(300);
/// ...for so long.
const ASK_SOON_ROUNDS: u32 = 40;

/// What was written of one config.
struct Last {
    status: LogLevelConfigStatus,
    at: Instant,
    /// The resource version that it made.
    version: Option<String>,
}

/// What the loop knows between two rounds.
#[derive(Default)]
struct Known {
    generation: Option<u64>,
    agents: Vec<Agent>,
    /// Workloads by the rule's id.
    workloads: BTreeMap<String, Workloads>,
    counted: Option<Instant>,
    /// What was written and when, by UID.
    written: BTreeMap<String, Last>,
    ask_rounds: u32,
}

impl Levels {
    /// Asks and tells: at once when rules were published, soon again while agents are behind, and now and then.
    pub async fn report_loop(self: Arc<Self>, shutdown: CancellationToken) {
        let mut known = Known::default();
        let (mut published, mut pushed) = (self.published.subscribe(), self.pushed.clone());
        let interval = Duration::from_millis(self.config.levels.ask_interval_ms);
        loop {
            let current = published.borrow_and_update().clone();
            let mut pause = interval;
            if let Some(current) = current {
                if known.generation != Some(current.rules.generation) {
                    known.generation = Some(current.rules.generation);
                    (known.ask_rounds, known.counted) = (ASK_SOON_ROUNDS, None);
                }
                let behind = self.round(&current, &published, &mut known, interval).await;
                if behind && known.ask_rounds > 0 {
                    known.ask_rounds -= 1;
                    pause = ASK_SOON.min(interval);
                }
                if let Some(goes_at_ms) = self.delete_ended(&current, &known).await {
                    let left_ms = (goes_at_ms - Timestamp::now().as_millisecond()).max(0) + 5;
                    pause = pause.min(Duration::from_millis(left_ms.unsigned_abs()));
                }
            } else {
                known = Known::default();
                KINDS.iter().for_each(|kind| self.publisher.conditions.show(kind, []));
                if *self.standing.borrow() == Standing::Follower {
                    self.health.set("level status", Ok(()));
                    self.health.set("ended level configs", Ok(()));
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                Ok(()) = published.changed() => {}
                () = next_of(&mut pushed) => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Whether agents are behind. Ends early when there are newer rules to tell of.
    async fn round(
        &self,
        current: &Published,
        published: &watch::Receiver<Option<Arc<Published>>>,
        known: &mut Known,
        interval: Duration,
    ) -> bool {
        let newer = || published.has_changed().unwrap_or(false);
        if !current.compiled.is_empty() {
            self.ask(&current.rules, known).await;
        }
        self.statuses(current, known, &newer).await;
        if known.counted.is_none_or(|at| at.elapsed() >= interval) && !newer() {
            self.count(&current.rules, known).await;
            self.statuses(current, known, &newer).await;
            self.look_for_drift(current, &newer).await;
            known.counted = Some(Instant::now());
        }
        let generation = current.rules.generation;
        let all = known.agents.iter().all(|agent| agent.generation() == Some(generation));
        !current.compiled.is_empty() && (known.agents.is_empty() || !all)
    }

    async fn ask(&self, rules: &LevelRules, known: &mut Known) {
        let levels = &self.config.levels;
        match agents::ask(&self.client, &self.namespace, &levels.agent_selector, levels.agent_port).await {
            // A rule waits for nobody who is not there, or is about to go.
            Ok(agents) => known.agents = agents.into_iter().filter(|agent| agent.runs).collect(),
            Err(error) => tracing::warn!(reason = explain_call("list", "pods", &error), "ask the agents"),
        }
        let applied = applied(&known.agents, rules);
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.telemetry.agents.with_label_values(&["applied"]).set(count(applied));
        self.telemetry.agents.with_label_values(&["behind"]).set(count(known.agents.len() - applied));
    }

    async fn count(&self, rules: &LevelRules, known: &mut Known) {
        known.workloads.retain(|id, _| rules.get(id).is_some());
        let exempt = self.exempt.borrow().clone();
        let nodes: Vec<String> = behind(&known.agents, rules).map(|agent| agent.node.clone()).collect();
        let nodes = &nodes[..nodes.len().min(NODES_BEHIND_MAX)];
        for rule in rules.all() {
            match agents::workloads(&self.client, rule, &exempt, nodes).await {
                Ok(number) => {
                    known.workloads.insert(rule.id.clone(), number);
                }
                Err(error) => {
                    let reason = explain_call("list", "pods", &error);
                    tracing::warn!(rule = rule.id, reason, "count workloads");
                    if is_away(&error) {
                        return;
                    }
                }
            }
        }
    }

    /// Somebody changed or deleted the ConfigMap: the writer is told.
    async fn look_for_drift(&self, current: &Published, newer: &impl Fn() -> bool) {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        if let Ok(map) = api.get_opt(&self.config.levels.config_map).await
            && map.and_then(|map| map.metadata.resource_version) != current.version
            && !newer()
        {
            self.drifted.notify_one();
        }
    }

    async fn statuses(&self, current: &Published, known: &mut Known, newer: &impl Fn() -> bool) {
        let now_ms = Timestamp::now().as_millisecond();
        let mut trouble = Ok(());
        let (mut told, mut whole): (Vec<(&'static str, Condition)>, bool) = (Vec::new(), true);
        for one in &current.compiled {
            if newer() {
                return;
            }
            let uid = one.config.uid().to_owned();
            // Gone, or created again: that is another round's.
            let Some(watched) = self.configs.current(&one.config) else { continue };
            // What we wrote last is newer than what the watch has brought back so far; after a while it is the other way.
            let before = match known.written.get(&uid) {
                Some(last) if last.at.elapsed() < REFRESH => last.status.clone(),
                _ => watched.status.unwrap_or_default(),
            };
            let matched = known.workloads.get(&one.config.id()).copied();
            let exempt = self.exempt.borrow().len();
            let pushed = self.pushed.as_ref().map(|pushed| Arc::clone(&pushed.borrow()));
            let seen = Seen { agents: &known.agents, workloads: matched, exempt, pushed: pushed.as_deref() };
            let status = status(one, &before, current, &seen, now_ms);
            told.extend(status.conditions.iter().map(|condition| (one.config.kind(), condition.clone())));
            if status == before {
                continue;
            }
            let last = known.written.get(&uid).and_then(|last| last.version.as_deref());
            let meta = upon(&watched.metadata, last);
            match self.publisher.level_config(one.config.reach, &meta, &status).await {
                Ok(Some(version)) => {
                    self.tell(&one.config, &before, &status).await;
                    known.written.insert(uid, Last { status, at: Instant::now(), version: Some(version) });
                }
                // Gone, or changed since it was read: the next round sees what it is now.
                Ok(None) => drop(known.written.remove(&uid)),
                Err(error) => {
                    trouble = Err(explain_call("patch", status_of(&one.config), &error));
                    if is_away(&error) {
                        whole = false;
                        break;
                    }
                }
            }
        }
        let uids: BTreeSet<&str> = current.compiled.iter().map(|one| one.config.uid()).collect();
        known.written.retain(|uid, _| uids.contains(uid.as_str()));
        // Else the API server did not answer, and not all were looked at.
        let kinds: &[&'static str] = if whole { &KINDS } else { &[] };
        for kind in kinds {
            let of_it = told.iter().filter(|(of, _)| of == kind).map(|(_, condition)| condition);
            self.publisher.conditions.show(kind, of_it);
        }
        self.health.set("level status", trouble);
    }

    /// Deletes what has ended `spec.ttlAfterExpiry` ago; when the next one goes.
    async fn delete_ended(&self, current: &Published, known: &Known) -> Option<i64> {
        let now_ms = Timestamp::now().as_millisecond();
        let mut next: Option<i64> = None;
        let mut trouble = Ok(());
        for one in &current.compiled {
            let Some(over) = one.rule.as_ref().ok().and_then(|rule| ended(&one.config, rule.expires_at_ms))
            else {
                continue;
            };
            if over.goes_at_ms > now_ms {
                next = Some(next.map_or(over.goes_at_ms, |next| next.min(over.goes_at_ms)));
                continue;
            }
            let Some(watched) = self.configs.current(&one.config) else { continue };
            // Edited, and not compiled again yet; or still among the rules that agents have.
            let in_force = current.rules.get(&one.config.id()).is_some();
            if in_force || !is_same_spec(&watched.metadata, &one.config.metadata) {
                continue;
            }
            let last = known.written.get(one.config.uid()).and_then(|last| last.version.as_deref());
            let meta = upon(&watched.metadata, last);
            match delete(&self.client, one.config.reach, &meta).await {
                Ok(true) => {
                    audit(AUDIT, &over, "level-config-deleted", &over);
                    let note = over.to_string();
                    self.publisher.level_event(&one.config, EventType::Normal, "TtlAfterExpiry", &note).await;
                }
                Ok(false) => {}
                Err(error) => {
                    trouble = Err(explain_call("delete", resource_of(&one.config), &error));
                    if is_away(&error) {
                        break;
                    }
                }
            }
        }
        self.health.set("ended level configs", trouble);
        next
    }

    /// An event for each condition that changed and matters.
    async fn tell(&self, config: &LevelObject, before: &LogLevelConfigStatus, after: &LogLevelConfigStatus) {
        for condition in &after.conditions {
            let same = before
                .conditions
                .iter()
                .any(|known| known.type_ == condition.type_ && known.reason == condition.reason);
            let warn =
                condition.status == "False" && matches!(condition.type_.as_str(), "Accepted" | "Pushed");
            // That a push is under way, or over, is no warning.
            let warn = warn
                && (condition.type_ != "Pushed"
                    || matches!(condition.reason.as_str(), "Disabled" | "PodsFailed"));
            if same || !(condition.type_ == "Active" || warn) {
                continue;
            }
            let type_ = if warn { EventType::Warning } else { EventType::Normal };
            self.publisher.level_event(config, type_, &condition.reason, &condition.message).await;
        }
    }
}

fn resource_of(config: &LevelObject) -> &'static str {
    match config.reach {
        Reach::Namespace => "loglevelconfigs.cordwood.dev",
        Reach::Cluster => "clusterloglevelconfigs.cordwood.dev",
    }
}

fn status_of(config: &LevelObject) -> &'static str {
    match config.reach {
        Reach::Namespace => "loglevelconfigs.cordwood.dev/status",
        Reach::Cluster => "clusterloglevelconfigs.cordwood.dev/status",
    }
}

fn applied(agents: &[Agent], rules: &LevelRules) -> usize {
    agents.iter().filter(|agent| agent.generation() == Some(rules.generation)).count()
}

/// Those that do not have the rules.
fn behind<'a>(agents: &'a [Agent], rules: &LevelRules) -> impl Iterator<Item = &'a Agent> {
    let generation = rules.generation;
    agents.iter().filter(move |agent| agent.generation() != Some(generation))
}

/// Which agents lag, and why: some of them, by their nodes.
fn who_is_behind(agents: &[Agent], rules: &LevelRules) -> String {
    let mut named: Vec<String> = behind(agents, rules)
        .map(|agent| {
            let why = match &agent.answer {
                Ok(status) => match status.rules_generation {
                    Some(generation) => format!("generation {generation}"),
                    None => "it names no generation".to_owned(),
                },
                Err(why) => why.clone(),
            };
            let who = if agent.node.is_empty() { &agent.pod } else { &agent.node };
            format!("{who} ({why})")
        })
        .collect();
    named.sort();
    let more = named.len().saturating_sub(AGENTS_NAMED_MAX);
    named.truncate(AGENTS_NAMED_MAX);
    match (named.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!("; behind: {}", named.join(", ")),
        (false, more) => format!("; behind: {} and {more} more", named.join(", ")),
    }
}

/// What was seen of the rules' effect.
struct Seen<'a> {
    agents: &'a [Agent],
    /// `None`: not counted yet.
    workloads: Option<Workloads>,
    /// Namespaces that take their own rules alone.
    exempt: usize,
    /// `None`: nothing may be pushed.
    pushed: Option<&'a Pushed>,
}

/// When there is something new of pushes.
async fn next_of(pushed: &mut Option<watch::Receiver<Arc<Pushed>>>) {
    let changed = match pushed {
        Some(pushed) => pushed.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending::<()>().await;
    }
}

/// The status of one resource. What is not in force has no agents, and keeps the generation that last contained it, so that
/// a change of other rules does not change it.
fn status(
    one: &Compiled,
    before: &LogLevelConfigStatus,
    published: &Published,
    seen: &Seen<'_>,
    now_ms: i64,
) -> LogLevelConfigStatus {
    let agents = seen.agents;
    let (id, rules) = (one.config.id(), &published.rules);
    let rule = rules.get(&id);
    let left_out = published.left_out.get(&id);
    let generation = one.config.metadata.generation;
    let conditions =
        Conditions { before: &before.conditions, generation, now_us: now_ms.saturating_mul(1000) };
    let expires_at_ms = one.rule.as_ref().ok().or(rule).and_then(|rule| rule.expires_at_ms);
    let (applied, total) = (applied(agents, rules), agents.len());
    let mut told = vec![
        conditions.of("Active", active(one, rule, left_out, seen.exempt)),
        conditions.of("Accepted", accepted(one, left_out)),
        conditions.of(
            "Applied",
            match rule {
                None => (false, "NotInForce", "no agent has to have it".to_owned()),
                Some(_) => {
                    let everywhere = total > 0 && applied == total;
                    let reason = if everywhere { "AllAgents" } else { "AgentsBehind" };
                    let generation = rules.generation;
                    let who = who_is_behind(agents, rules);
                    let message =
                        format!("{applied} of {total} agents have rules generation {generation}{who}");
                    (everywhere, reason, message)
                }
            },
        ),
    ];
    told.push(conditions.of(
        "Conflict",
        match published.rivals.get(&id) {
            Some(rivals) => (true, "SameRecords", rivals.to_string()),
            None => (false, "NoConflict", "no other level config can match the same lines".to_owned()),
        },
    ));
    told.extend(progress(one, rule, left_out, &told, &conditions));
    let workloads = rule.and(seen.workloads);
    if one.config.fields.debug_scopes.is_some() {
        let message = "this version changes nothing inside applications; the level rules carry it";
        told.push(conditions.of("DebugScopes", (false, "NotSupported", message.to_owned())));
    }
    if one.config.fields.push.is_some() {
        let level = rule.map(|rule| rule.level);
        told.push(conditions.of("Pushed", progress::said(seen.pushed, one.config.uid(), level)));
    }
    LogLevelConfigStatus {
        observed_generation: generation,
        conditions: told,
        rules_generation: match rule {
            Some(_) => i64::try_from(rules.generation).ok(),
            None => before.rules_generation,
        },
        agents: rule.map(|_| format!("{applied}/{total}")),
        agents_applied: rule.and_then(|_| i64::try_from(applied).ok()),
        agents_total: rule.and_then(|_| i64::try_from(total).ok()),
        workloads_matched: workloads.map(|found| found.matched),
        workloads_applied: workloads.map(|found| found.matched - found.failed),
        workloads_failed: workloads.map(|found| found.failed),
        started_at: Some(time_of_ms(one.started_at_ms)),
        started_duration: one.config.fields.duration.clone(),
        expires_at: expires_at_ms.map(time_of_ms),
    }
}

/// Ready: every agent has it, or it has ended.
fn progress(
    one: &Compiled,
    rule: Option<&LevelRule>,
    left_out: Option<&LeftOut>,
    told: &[Condition],
    conditions: &Conditions<'_>,
) -> [Condition; 3] {
    let said = |kind: &str| told.iter().find(|condition| condition.type_ == kind);
    let message = |kind: &str| said(kind).map_or("", |condition| condition.message.as_str());
    let applied = said("Applied").is_some_and(|condition| condition.status == "True");
    match (&one.rule, left_out, rule) {
        (Err(_), ..) => conditions.progress(Progress::Stalled, "Invalid", message("Accepted")),
        (Ok(_), Some(why), _) => conditions.progress(Progress::Stalled, reason(why), message("Accepted")),
        (Ok(_), None, None) => conditions.progress(Progress::Ready, "Expired", message("Active")),
        (Ok(_), None, Some(_)) if applied => {
            conditions.progress(Progress::Ready, "AllAgents", message("Applied"))
        }
        (Ok(_), None, Some(_)) => {
            conditions.progress(Progress::Reconciling, "AgentsBehind", message("Applied"))
        }
    }
}

fn active(one: &Compiled, rule: Option<&LevelRule>, left_out: Option<&LeftOut>, exempt: usize) -> Said {
    match (rule, left_out, &one.rule) {
        (Some(rule), ..) => (true, "InForce", in_force(rule, exempt)),
        (None, Some(why), _) => (false, reason(why), why.to_string()),
        (None, None, Ok(_)) => (false, "Expired", "it has ended; lines of every level pass again".to_owned()),
        (None, None, Err(_)) => (false, "Invalid", "it was never in force".to_owned()),
    }
}

/// What is dropped, until when, and where it is not.
fn in_force(rule: &LevelRule, exempt: usize) -> String {
    let until = match rule.expires_at_ms.and_then(|end| Timestamp::from_millisecond(end).ok()) {
        Some(end) => format!(" until {end}"),
        None if rule.default => ", where no other level config of this scope is in force".to_owned(),
        None => String::new(),
    };
    let but = match exempt {
        0 => String::new(),
        _ if rule.namespace.is_some() => String::new(),
        1 => "; 1 namespace takes its own level configs alone".to_owned(),
        many => format!("; {many} namespaces take their own level configs alone"),
    };
    format!("{}{until}{but}", what_is_dropped(rule))
}

fn what_is_dropped(rule: &LevelRule) -> String {
    let lines = match rule.scope {
        RuleScope::Application => "lines",
        RuleScope::Task => "lines of tasks",
    };
    let unleveled = match rule.unleveled {
        Unleveled::Keep => "",
        Unleveled::Drop => " and of no known level",
    };
    format!("{lines} below {}{unleveled} are dropped", rule.level)
}

fn reason(why: &LeftOut) -> &'static str {
    match why {
        LeftOut::OwnBudget { .. } | LeftOut::Budget => "TooMany",
        LeftOut::SecondDefault { .. } => "SecondDefault",
    }
}

fn accepted(one: &Compiled, left_out: Option<&LeftOut>) -> Said {
    match (&one.rule, left_out) {
        (Err(problems), _) => {
            let text = cordwood_crds::describe(problems);
            (
                false,
                "Invalid",
                format!("{text}. The last good rule, if there was one, stays in force until its end."),
            )
        }
        (Ok(_), Some(why)) => (false, reason(why), why.to_string()),
        (Ok(_), None) if one.capped => {
            (true, "Capped", "it ends sooner than asked: the operator's levels.duration_ms_max".to_owned())
        }
        (Ok(_), None) if one.in_release => {
            let message = "it is for its own namespace, as everywhere; for the whole cluster make a ClusterLogLevelConfig";
            (true, "OwnNamespaceOnly", message.to_owned())
        }
        (Ok(_), None) => (true, "Accepted", "the spec can be followed".to_owned()),
    }
}

#[cfg(test)]
#[path = "applied_tests.rs"]
mod tests;
