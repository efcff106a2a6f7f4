//! Previews what a change of a retention would do, before it is saved: runs the operator's planner over the table partitions that exist.

use axum::response::Response;
use cordwood_core::retention::foresee::{ClassChange, Durations, Foreseen, Going, LeafChange, foresee};
use cordwood_core::retention::lint::Finding;
use cordwood_core::retention::{Plan, Policy, by_name, duration};
use cordwood_crds::{LogRetentionPolicy, read};
use cordwood_store::{catalogue, horizon};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Administrator, Kind, Place, Verb};
use crate::Gateway;
use crate::problem::Problem;
use crate::routes;
use crate::slots::Length;

/// Table partitions, steps and held items that an answer lists.
const LISTED_MAX: usize = 200;

/// What would follow. Nothing was written.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewAnswer {
    preview: bool,
    policy: String,
    /// The policy's classes that are new or change.
    classes: Vec<ClassPreview>,
    /// Absent: no route changes, or the caller may not list policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<RoutesPreview>,
    /// The policy's part of the next plan.
    plan: PlanPreview,
    /// Table partitions with records that go at another time than without the change; what goes first, first.
    partitions: Vec<PartitionPreview>,
    /// How many more there are.
    more: usize,
    /// Of all that go sooner than without the change.
    sooner: Amount,
    /// Of all that stay longer.
    later: Amount,
    /// Laws that the plan would break: with a fatal one nothing would be dropped.
    findings: Vec<String>,
    /// The preview ends before everything was seen.
    incomplete: bool,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Amount {
    partitions: usize,
    bytes: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ClassPreview {
    /// `error`, `warn`, `info`, `debug`.
    level: String,
    /// Absent: the class is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<DurationsPreview>,
    after: DurationsPreview,
    /// Absent: something holds it, see `plan.held`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    effective_from: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DurationsPreview {
    retention: String,
    grace_period: String,
}

/// Names of the policies that records are routed to.
#[derive(Debug, Serialize, ToSchema)]
struct RoutesPreview {
    before: Vec<String>,
    after: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct PlanPreview {
    /// Names this very plan, as the status does.
    hash: String,
    steps: Vec<StepPreview>,
    held: Vec<HeldPreview>,
}

#[derive(Debug, Serialize, ToSchema)]
struct StepPreview {
    action: String,
    what: String,
    why: String,
    bytes: i64,
    /// Absent where they are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct HeldPreview {
    what: String,
    /// For what it waits, and what to do about it.
    waits: String,
    partitions: u32,
    bytes: i64,
    /// Absent where they are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PartitionPreview {
    table: String,
    level: String,
    from: String,
    to: String,
    bytes: i64,
    before: GoingPreview,
    after: GoingPreview,
}

/// Absent: not as far as can be seen.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GoingPreview {
    #[serde(skip_serializing_if = "Option::is_none")]
    detached: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<String>,
}

/// `spec`: what the policy is to be; `None`: it goes.
pub async fn preview(
    gateway: &Gateway,
    who: &Administrator,
    place: &Place,
    spec: Option<&Value>,
) -> Result<Response, Problem> {
    if place.kind != Kind::Retention {
        return Err(Problem::parameter("preview", "only a change of a retention has a preview"));
    }
    let administration = gateway.administration()?;
    let all = Place { name: String::new(), ..place.clone() };
    let may_list = gateway.may(who, Verb::List, &all).await?;
    let objects = administration.list(Kind::Retention, None).await?;
    let before: Vec<Policy> = objects.iter().filter_map(policy).collect();
    let mut after: Vec<Policy> = before.iter().filter(|policy| policy.name != place.name).cloned().collect();
    if let Some(spec) = spec {
        let known = objects.iter().find(|object| object["metadata"]["name"] == place.name.as_str());
        let metadata = known.map(|object| &object["metadata"]);
        // The API server counts each change of the spec: a plan that will wait is named as it will be then.
        let changes = i64::from(known.is_some_and(|object| &object["spec"] != spec));
        let generation =
            metadata.and_then(|metadata| metadata["generation"].as_i64()).map(|known| known + changes);
        let uid = metadata.and_then(|metadata| metadata["uid"].as_str()).unwrap_or_default();
        let annotations = metadata.map(|metadata| &metadata["annotations"]);
        let metadata =
            json!({"name": place.name, "uid": uid, "generation": generation, "annotations": annotations});
        let object = json!({
            "apiVersion": "cordwood.dev/v1alpha1", "kind": place.kind.name(), "metadata": metadata, "spec": spec,
        });
        after.extend(policy(&object));
    }
    let _slot = gateway.slot_of(who.identity.name(), Length::Long).await?;
    let store = |error| Problem::store(&error);
    let client = gateway.store.pooled().await.map_err(store)?;
    let all: Vec<Policy> = before.iter().chain(&after).cloned().collect();
    let catalogue = catalogue::look_for(&*client, &all).await.map_err(store)?;
    let now_us = catalogue::clock(&*client).await.map_err(store)?;
    // Who carries the plans out says how; before its first pass, this gateway's configuration.
    let tuning = horizon::tuning(&*client).await.map_err(store)?.unwrap_or(administration.tuning);
    drop(client);
    let name = place.name.clone();
    let foreseen = tokio::task::spawn_blocking(move || {
        let foreseen = foresee(&before, &after, &name, &catalogue, now_us, &tuning);
        answer(&name, foreseen, may_list)
    });
    let answer = foreseen.await.map_err(|error| {
        tracing::error!(%error, "a preview failed");
        Problem::internal()
    })?;
    routes::json(&answer)
}

/// As the operator takes it: one that cannot be followed counts as the database remembers it.
fn policy(object: &Value) -> Option<Policy> {
    let read = read::<LogRetentionPolicy>(serde_json::from_value(object.clone()).ok()?);
    Some(read.follow(LogRetentionPolicy::to_policy).unwrap_or_else(|_| {
        let metadata = &read.object.metadata;
        by_name(metadata.name.as_deref().unwrap_or_default(), metadata.uid.as_deref().unwrap_or_default())
    }))
}

fn answer(name: &str, foreseen: Foreseen, may_list: bool) -> PreviewAnswer {
    let (mut sooner, mut later) = (Amount::default(), Amount::default());
    for change in &foreseen.leaves {
        let at = |going: &Going| going.drop_us.or(going.detach_us).unwrap_or(i64::MAX);
        let amount = if at(&change.after) < at(&change.before) { &mut sooner } else { &mut later };
        amount.partitions += 1;
        amount.bytes += change.bytes;
    }
    let routes = foreseen.routes.filter(|_| may_list);
    PreviewAnswer {
        preview: true,
        policy: name.to_owned(),
        classes: foreseen.classes.iter().map(class).collect(),
        routes: routes.map(|(before, after)| RoutesPreview { before, after }),
        plan: plan(&foreseen.plan),
        more: foreseen.leaves.len().saturating_sub(LISTED_MAX),
        partitions: foreseen.leaves.iter().take(LISTED_MAX).map(partition).collect(),
        sooner,
        later,
        findings: foreseen.findings.iter().map(|finding| told(finding, may_list)).collect(),
        incomplete: foreseen.is_cut,
    }
}

/// A finding names other policies to anyone who may list them.
fn told(finding: &Finding, may_list: bool) -> String {
    if may_list {
        return format!("{}: {}", finding.subject, finding.message);
    }
    let what = if finding.fatal { "nothing would be dropped" } else { "the plan would break a law" };
    format!(
        "{what}, because of something other than this policy alone: anyone who may list policies is told of what"
    )
}

fn class(change: &ClassChange) -> ClassPreview {
    let durations = |durations: Durations| DurationsPreview {
        retention: duration::print(durations.retention_us),
        grace_period: duration::print(durations.grace_us),
    };
    ClassPreview {
        level: change.level.to_string(),
        before: change.before.map(durations),
        after: durations(change.after),
        effective_from: change.effective_from_us.map(duration::time),
    }
}

fn plan(plan: &Plan) -> PlanPreview {
    let steps = plan.steps.iter().take(LISTED_MAX).map(|planned| StepPreview {
        action: planned.step.kind().to_owned(),
        what: planned.step.to_string().split_once(' ').map_or_else(String::new, |(_, what)| what.to_owned()),
        why: planned.why.clone(),
        bytes: planned.bytes,
        records: planned.records,
    });
    let held = plan.held.iter().take(LISTED_MAX).map(|held| HeldPreview {
        what: held.what.clone(),
        waits: held.waits.to_string(),
        partitions: held.partitions,
        bytes: held.bytes,
        records: held.records,
    });
    PlanPreview { hash: plan.hash(), steps: steps.collect(), held: held.collect() }
}

fn partition(change: &LeafChange) -> PartitionPreview {
    let going = |going: Going| GoingPreview {
        detached: going.detach_us.map(duration::time),
        dropped: going.drop_us.map(duration::time),
    };
    PartitionPreview {
        table: change.leaf.table(),
        level: change.level.to_string(),
        from: duration::time(change.leaf.from_us),
        to: duration::time(change.leaf.to_us),
        bytes: change.bytes,
        before: going(change.before),
        after: going(change.after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_other_policies_to_anyone_who_may_list_them() {
        let message = "keeps less than the policy quince".to_owned();
        let finding = Finding { fatal: true, subject: "mine".to_owned(), message };
        assert!(told(&finding, true).contains("mine: keeps less than the policy quince"));
        let hidden = told(&finding, false);
        assert!(!hidden.contains("quince") && hidden.contains("nothing would be dropped"), "{hidden}");
    }
}
