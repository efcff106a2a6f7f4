//! Writes statuses and events. A status is written when it changes; when sizes alone changed, as [`crate::due`] says.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use cordwood_core::retention::{Approval, Planned, Step};
use cordwood_crds::levels::{LevelObject, Reach};
use cordwood_crds::retention::{LogRetentionPolicy, LogRetentionPolicyStatus};
use cordwood_crds::{ClusterLogLevelConfig, LogLevelConfig, LogLevelConfigStatus, Problem};
use cordwood_service::Health;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt as _};
use tokio::sync::Mutex;

use crate::condition_metrics::ConditionMetrics;
use crate::conditions;
use crate::due::{REFRESH, is_due};
use crate::report::{self, policy_status};
use crate::retention::Report;
use crate::status_write::{newest, put};
use crate::watched::{explain_call, is_same_spec};

/// The kind, for metrics.
pub const POLICY: &str = "LogRetentionPolicy";

/// A resource, what is wrong with it, as it was read for a pass.
pub type Seen = (LogRetentionPolicy, Vec<Problem>);

pub struct Publisher {
    client: Client,
    recorder: Recorder,
    health: Health,
    pub conditions: ConditionMetrics,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    /// By UID: an object created again under the same name has no status yet.
    policies: BTreeMap<String, Last>,
    held: BTreeMap<String, String>,
}

/// What was written of one policy.
#[derive(Clone)]
struct Last {
    status: LogRetentionPolicyStatus,
    at: Instant,
    /// The resource version that it made.
    version: Option<String>,
}

impl Last {
    fn now(status: LogRetentionPolicyStatus, after: &ObjectMeta) -> Last {
        Last { status, at: Instant::now(), version: after.resource_version.clone() }
    }
}

/// The metadata to write upon: with the newest resource version that is known.
pub fn upon(watched: &ObjectMeta, written: Option<&str>) -> ObjectMeta {
    let version = newest(watched.resource_version.as_deref(), written).map(str::to_owned);
    ObjectMeta { resource_version: version, ..watched.clone() }
}

impl Publisher {
    pub fn new(client: Client, identity: &str, health: Health, conditions: ConditionMetrics) -> Publisher {
        let reporter =
            Reporter { controller: "cordwood-operator".to_owned(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Publisher { client, recorder, health, conditions, written: Mutex::default() }
    }

    /// Brings the statuses up to date. Returns the names of the policies whose status shows this report's plan, and whose
    /// spec the API server still has as it was seen.
    pub async fn policies(&self, seen: &[Seen], report: &Report, now_us: i64) -> HashSet<String> {
        let mut written = self.written.lock().await;
        let mut shown = HashSet::new();
        let mut trouble = Ok(());
        let rivals = report::rivals(&report.policies);
        let mut told = Vec::new();
        for (resource, problems) in seen {
            let uid = resource.uid().unwrap_or_default();
            // What we wrote last is newer than what the watch has brought back so far. After a while it is the other way
            // round: somebody may have erased it.
            let mut resource = resource.clone();
            let last = written.policies.get(&uid);
            if let Some(last) = last.filter(|last| last.at.elapsed() < REFRESH) {
                resource.status = Some(last.status.clone());
            }
            let status = policy_status(&resource, problems, report, &rivals, now_us);
            let since = last.map(|last| last.at.elapsed());
            let due = resource.status.as_ref().is_none_or(|before| is_due(before, &status, since));
            told.push((resource, status, due));
        }
        self.conditions.show(POLICY, told.iter().flat_map(|(_, status, _)| &status.conditions));
        for (resource, status, due) in told {
            let (name, uid) = (resource.name_any(), resource.uid().unwrap_or_default());
            if !due {
                shown.insert(name);
                continue;
            }
            let last = written.policies.get(&uid).and_then(|last| last.version.as_deref());
            let meta = upon(resource.meta(), last);
            match put::<LogRetentionPolicy>(&self.client, &meta, &status).await {
                Ok(after) => {
                    self.tell_held(&resource, report, &mut written.held).await;
                    written.policies.insert(uid, Last::now(status, &after));
                    // Else the watch is behind: the plan was made for a spec that is no more.
                    if is_same_spec(&after, resource.meta()) {
                        shown.insert(name);
                    }
                }
                // Gone, or changed since it was read: the next pass sees what it is now.
                Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {
                    written.policies.remove(&uid);
                }
                Err(error) => {
                    trouble = Err(explain_call("patch", "logretentionpolicies.cordwood.dev/status", &error));
                    if is_away(&error) {
                        break;
                    }
                }
            }
        }
        let uids: BTreeSet<String> = seen.iter().filter_map(|(resource, _)| resource.uid()).collect();
        written.policies.retain(|uid, _| uids.contains(uid));
        written.held.retain(|uid, _| uids.contains(uid));
        self.health.set("status", trouble);
        shown
    }

    /// Which of these policies may lose something now: all of them, or none while the API server, asked now, has any policy otherwise than
    /// it was seen. What the watch says may be long ago, and a policy that nobody has seen yet may hold what these no longer keep.
    pub async fn still_as_seen(&self, seen: &[Seen], names: BTreeSet<&str>) -> HashSet<String> {
        if names.is_empty() {
            return HashSet::new();
        }
        let api: Api<LogRetentionPolicy> = Api::all(self.client.clone());
        let listed = match api.list_metadata(&ListParams::default()).await {
            Ok(listed) => listed.items,
            Err(error) => {
                let reason = explain_call("list", "logretentionpolicies.cordwood.dev", &error);
                tracing::warn!(reason, "the operator drops nothing");
                return HashSet::new();
            }
        };
        let now: BTreeMap<String, &ObjectMeta> =
            listed.iter().map(|policy| (policy.name_any(), policy.meta())).collect();
        let is_as_now = |(resource, _): &Seen| {
            now.get(&resource.name_any()).is_some_and(|now| is_same_spec(resource.meta(), now))
        };
        if now.len() != seen.len() || !seen.iter().all(is_as_now) {
            tracing::info!("policies changed since they were read: nothing is dropped before the next pass");
            return HashSet::new();
        }
        names.into_iter().map(str::to_owned).collect()
    }

    /// Says on every policy that PostgreSQL cannot be asked, and changes nothing else that the status says.
    pub async fn unavailable(&self, seen: &[Seen], why: (&'static str, &str), now_us: i64) {
        let mut written = self.written.lock().await;
        let mut told = Vec::new();
        for (resource, _) in seen {
            let last = written.policies.get(&resource.uid().unwrap_or_default());
            let before = last.map(|last| last.status.clone()).or_else(|| resource.status.clone());
            let before = before.unwrap_or_default();
            let status = report::unavailable(resource, &before, why, now_us);
            told.push((resource, status.is_some(), status.unwrap_or(before)));
        }
        self.conditions.show(POLICY, told.iter().flat_map(|(_, _, status)| &status.conditions));
        for (resource, _, status) in told.into_iter().filter(|(_, is_new, _)| *is_new) {
            let uid = resource.uid().unwrap_or_default();
            let last = written.policies.get(&uid).and_then(|last| last.version.as_deref());
            let meta = upon(resource.meta(), last);
            match put::<LogRetentionPolicy>(&self.client, &meta, &status).await {
                Ok(after) => {
                    written.policies.insert(uid, Last::now(status, &after));
                }
                Err(error) => {
                    tracing::debug!(%error, policy = resource.name_any(), "say that PostgreSQL is away");
                    if is_away(&error) {
                        break;
                    }
                }
            }
        }
    }

    /// An event when something begins to wait, or waits for something else; not when the numbers of it move.
    async fn tell_held(
        &self,
        resource: &LogRetentionPolicy,
        report: &Report,
        held: &mut BTreeMap<String, String>,
    ) {
        let uid = resource.uid().unwrap_or_default();
        let Some((why, note)) = report::held_note(&resource.name_any(), report) else {
            held.remove(&uid);
            return;
        };
        if held.insert(uid, note.clone()).as_ref() != Some(&note) {
            // One event stands for all of one reason and action, with the note of the first.
            self.event(resource, EventType::Warning, "RetentionHeld", why, &note).await;
        }
    }

    /// Tells what was done to whom it was done for.
    pub async fn done(&self, seen: &[Seen], report: &Report) {
        for (resource, _) in seen {
            let name = resource.name_any();
            let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for planned in report.done.iter().filter(|planned| planned.policy == name) {
                groups.entry(planned.step.kind()).or_default().push(planned.step.subject());
            }
            let approval =
                report.done.iter().filter(|planned| planned.policy == name).find_map(newly_approved);
            if let Some(Approval { plan, by }) = approval {
                let note = format!("plan {plan} is followed: approved by {by}");
                self.event(resource, EventType::Normal, "PlanApproved", "Apply", &note).await;
            }
            for change in report.states.iter().filter(|change| change.policy == name) {
                let by = change.by.as_deref().unwrap_or("somebody whom nobody names");
                let note = format!("{change}, by {by}");
                // One event stands for all of one reason and action, with the note of the first.
                let action = format!("{}To{}", change.before.as_str(), change.after.as_str());
                self.event(resource, EventType::Normal, "StateChanged", &action, &note).await;
            }
            for (kind, tables) in groups {
                let (reason, what) = match kind {
                    "create-class" => ("ClassCreated", "class tables made"),
                    "create" => ("PartitionsCreated", "partitions made"),
                    "reattach" => ("PartitionsReattached", "partitions attached again"),
                    "detach" | "finalize-detach" => {
                        ("PartitionsDetached", "partitions detached, the grace period runs")
                    }
                    "drop" => ("PartitionsDropped", "partitions dropped"),
                    "put-class" => ("RetentionChanged", "classes changed"),
                    "put-hold" => ("LegalHold", "legal hold in force"),
                    "lift-hold" => ("LegalHoldLifted", "legal hold lifted"),
                    _ => continue,
                };
                let named = tables.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
                let more = if tables.len() > 5 { ", ..." } else { "" };
                let note = format!("{} {what}: {named}{more}", tables.len());
                self.event(resource, EventType::Normal, reason, "Apply", &note).await;
            }
            for (planned, error) in report.failed.iter().filter(|(planned, _)| planned.policy == name).take(1)
            {
                let note = format!("{}: {error}", planned.step);
                self.event(resource, EventType::Warning, "StepFailed", "Apply", &note).await;
            }
        }
    }

    /// An event on a resource. That it could not be written is only logged.
    async fn event<K>(&self, about: &K, type_: EventType, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        self.event_on(&about.object_ref(&()), type_, reason, action, note).await;
    }

    /// An event on a level config.
    pub async fn level_event(&self, about: &LevelObject, type_: EventType, reason: &str, note: &str) {
        self.event_on(&about.reference(), type_, reason, "Levels", note).await;
    }

    async fn event_on(
        &self,
        about: &ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let mut note = note.to_owned();
        if note.len() > 1000 {
            let cut = (0..=997).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0);
            note.truncate(cut);
            note.push_str("...");
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::debug!(%error, reason, "write an event");
        }
    }

    /// Writes the status of a level config that has this metadata. Returns the resource version that it made; `None` when the object is
    /// gone, or is another by now.
    pub async fn level_config(
        &self,
        reach: Reach,
        meta: &ObjectMeta,
        status: &LogLevelConfigStatus,
    ) -> Result<Option<String>, kube::Error> {
        let outcome = match reach {
            Reach::Namespace => put::<LogLevelConfig>(&self.client, meta, status).await,
            Reach::Cluster => put::<ClusterLogLevelConfig>(&self.client, meta, status).await,
        };
        match outcome {
            Ok(after) => Ok(after.resource_version),
            Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What a step changes in a class because somebody approved it.
fn newly_approved(planned: &Planned) -> Option<&Approval> {
    matches!(planned.step, Step::PutClass(_)).then_some(planned.approval.as_ref()).flatten()
}

/// No answer at all: waiting for the next one would take as long.
pub fn is_away(error: &kube::Error) -> bool {
    !matches!(error, kube::Error::Api(_) | kube::Error::SerdeError(_))
}

/// A time for a status.
pub fn time_of_ms(time_ms: i64) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    conditions::time(time_ms.saturating_mul(1000))
}
