//! Writes statuses and events. A status is written when it changes; if only sizes changed, it is refreshed at an interval.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use cordwood_core::retention::{Approval, Planned, Step};
use cordwood_crds::levels::{LevelObject, Reach};
use cordwood_crds::retention::{LogRetentionPolicy, LogRetentionPolicyStatus};
use cordwood_crds::{ClusterLogLevelConfig, Kind, LogLevelConfig, LogLevelConfigStatus, Problem};
use cordwood_service::Health;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::json;
use tokio::sync::Mutex;

use crate::conditions;
use crate::report::{self, policy_status};
use crate::retention::Report;
use crate::watched::{explain_call, is_same_spec};

/// How often a status is written whose sizes alone changed; and how long what was written counts for more than what the
/// watch has brought back.
pub const REFRESH: Duration = Duration::from_secs(30);

/// A resource, what is wrong with it, as it was read for a pass.
pub type Seen = (LogRetentionPolicy, Vec<Problem>);

pub struct Publisher {
    client: Client,
    recorder: Recorder,
    health: Health,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    /// By UID: an object made anew under the same name has no status yet.
    policies: BTreeMap<String, (LogRetentionPolicyStatus, Instant)>,
    held: BTreeMap<String, String>,
}

impl Publisher {
    pub fn new(client: Client, identity: &str, health: Health) -> Publisher {
        let reporter =
            Reporter { controller: "cordwood-operator".to_owned(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Publisher { client, recorder, health, written: Mutex::default() }
    }

    /// Brings the statuses up to date. Returns the names of the policies whose status shows this report's plan, and whose
    /// spec the API server still has as it was seen.
    pub async fn policies(&self, seen: &[Seen], report: &Report, now_us: i64) -> HashSet<String> {
        let mut written = self.written.lock().await;
        let mut shown = HashSet::new();
        let mut trouble = Ok(());
        let rivals = report::rivals(&report.policies);
        for (resource, problems) in seen {
            let (name, uid) = (resource.name_any(), resource.uid().unwrap_or_default());
            // What we wrote last is newer than what the watch has brought back so far. After a while it is the other way
            // round: somebody may have erased it.
            let mut resource = resource.clone();
            let last = written.policies.get(&uid).filter(|(_, at)| at.elapsed() < REFRESH).cloned();
            if let Some((status, _)) = &last {
                resource.status = Some(status.clone());
            }
            let status = policy_status(&resource, problems, report, &rivals, now_us);
            let same = resource.status.as_ref().is_some_and(|before| lasting(before) == lasting(&status));
            let fresh = last.is_some();
            if same && (fresh || resource.status.as_ref() == Some(&status)) {
                shown.insert(name);
                continue;
            }
            let api: Api<PartialObjectMeta<LogRetentionPolicy>> = Api::all(self.client.clone());
            match patch_status(&api, &name, &status).await {
                Ok(after) => {
                    self.tell_held(&resource, &status, &mut written.held).await;
                    written.policies.insert(uid, (status, Instant::now()));
                    // Else the watch is behind: the plan was made for a spec that is no more.
                    if is_same_spec(after.meta(), resource.meta()) {
                        shown.insert(name);
                    }
                }
                Err(kube::Error::Api(answer)) if answer.code == 404 => {
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
    /// it was seen. What the watch says may be long ago, and a policy that nobody has seen yet may hold what these let go of.
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
        for (resource, _) in seen {
            let uid = resource.uid().unwrap_or_default();
            let last = written.policies.get(&uid).map(|(status, _)| status.clone());
            let before = last.or_else(|| resource.status.clone()).unwrap_or_default();
            let Some(status) = report::unavailable(resource, &before, why, now_us) else { continue };
            let api: Api<PartialObjectMeta<LogRetentionPolicy>> = Api::all(self.client.clone());
            match patch_status(&api, &resource.name_any(), &status).await {
                Ok(_) => {
                    written.policies.insert(uid, (status, Instant::now()));
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

    async fn tell_held(
        &self,
        resource: &LogRetentionPolicy,
        status: &LogRetentionPolicyStatus,
        held: &mut BTreeMap<String, String>,
    ) {
        let waits = status.waits.clone().unwrap_or_default();
        let before = held.insert(resource.uid().unwrap_or_default(), waits.clone()).unwrap_or_default();
        if !waits.is_empty() && waits != before {
            self.event(resource, EventType::Warning, "RetentionHeld", "Plan", &waits).await;
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

    /// Writes the status of a level config.
    pub async fn level_config(
        &self,
        config: &LevelObject,
        status: &LogLevelConfigStatus,
    ) -> Result<(), kube::Error> {
        let client = self.client.clone();
        let outcome = match config.reach {
            Reach::Namespace => {
                let namespace = config.namespace().unwrap_or("default");
                let api: Api<PartialObjectMeta<LogLevelConfig>> = Api::namespaced(client, namespace);
                patch_status(&api, config.name(), status).await.map(drop)
            }
            Reach::Cluster => {
                let api: Api<PartialObjectMeta<ClusterLogLevelConfig>> = Api::all(client);
                patch_status(&api, config.name(), status).await.map(drop)
            }
        };
        match outcome {
            Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
            other => other,
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

/// Puts the status in the place of the one before, whole: a merge would keep what the new one leaves out. Returns what the
/// object is now, without its spec: that may be one that cannot be read.
async fn patch_status<K: Kind>(
    api: &Api<PartialObjectMeta<K>>,
    name: &str,
    status: &impl serde::Serialize,
) -> Result<PartialObjectMeta<K>, kube::Error> {
    // To add what is there already is to replace it.
    let whole = json!([{"op": "add", "path": "/status", "value": status}]);
    let whole = serde_json::from_value(whole).map_err(kube::Error::SerdeError)?;
    api.patch_status(name, &PatchParams::default(), &Patch::Json::<()>(whole)).await
}

/// A status without what changes all the time.
fn lasting(status: &LogRetentionPolicyStatus) -> LogRetentionPolicyStatus {
    let mut status = status.clone();
    (status.bytes, status.size, status.records) = (None, None, None);
    (status.oldest_record, status.newest_record) = (None, None);
    for class in &mut status.classes {
        (class.bytes, class.records) = (0, None);
        (class.oldest_record, class.newest_record) = (None, None);
        // It moves with time alone.
        class.oldest_due = None;
    }
    if let Some(plan) = &mut status.plan {
        plan.steps.iter_mut().for_each(|step| (step.bytes, step.records) = (0, None));
        plan.held.iter_mut().for_each(|held| (held.bytes, held.records) = (0, None));
    }
    if let Some(approval) = &mut status.approval {
        (approval.bytes, approval.records) = (0, None);
    }
    if let Some(hold) = &mut status.hold {
        (hold.bytes, hold.records) = (0, None);
    }
    status
}

/// A time for a status.
pub fn time_of_ms(time_ms: i64) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    conditions::time(time_ms.saturating_mul(1000))
}
