//! What the status of a policy says: a pure function of the pass's report. Writing it is `publish`'s part.

use cordwood_core::retention::step::{Held, Plan, Planned, Waits};
use cordwood_core::retention::{Catalogue, Class, Leaf, LeafState, Policy, duration, routes};
use cordwood_crds::Problem;
use cordwood_crds::retention::{
    ClassStatus, HeldStatus, LogRetentionPolicy, LogRetentionPolicyStatus, PlanStatus, StepStatus,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::retention::Report;

/// Steps and held items that a status lists.
const LISTED_MAX: usize = 20;

/// The part of a plan that belongs to one policy, what goes first.
pub fn part(plan: &Plan, policy: &str) -> Plan {
    let (mut going, mut coming) = (Vec::new(), Vec::new());
    for planned in plan.steps.iter().filter(|planned| planned.policy == policy) {
        if planned.step.creates() { &mut coming } else { &mut going }.push(planned.clone());
    }
    going.append(&mut coming);
    let held = plan.held.iter().filter(|held| held.policy == policy).cloned().collect();
    Plan { steps: going, held }
}

/// The status of `resource` after `report`. `problems`: why its spec cannot be followed. `policies`: those in force.
pub fn policy_status(
    resource: &LogRetentionPolicy,
    problems: &[Problem],
    policies: &[Policy],
    report: &Report,
    now_us: i64,
) -> LogRetentionPolicyStatus {
    let name = resource.metadata.name.clone().unwrap_or_default();
    let before = resource.status.clone().unwrap_or_default();
    let plan = part(&report.plan, &name);
    let catalogue = &report.catalogue;
    let classes: Vec<&Class> = catalogue.classes.iter().filter(|class| class.policy == name).collect();
    let rows: Vec<ClassStatus> = classes.iter().map(|class| class_status(class, report)).collect();
    let generation = resource.metadata.generation;
    let conditions = Conditions { before: &before.conditions, generation, now_us };
    let ready = readiness(&name, &classes, report, now_us);
    let held = plan.held.iter().find(|held| !matches!(held.waits, Waits::NextRun) && !in_grace(held));
    let conflict = conflict(&name, policies);
    let announced =
        classes.iter().filter_map(|class| class.wanted).map(|wanted| wanted.effective_from_us).max();
    let in_force = problems.is_empty()
        && policies.iter().find(|policy| policy.name == name).is_some_and(|policy| {
            !classes.is_empty()
                && classes.iter().all(|class| class.retention_us == *policy.retention_us.get(class.level))
        });
    let effective_from = match (announced, in_force) {
        (Some(at), _) => Some(time(at)),
        (None, true) => {
            let same = before.observed_generation == generation;
            before
                .effective_from
                .clone()
                .filter(|at| same || at.0 <= timestamp(now_us))
                .or_else(|| Some(time(now_us)))
        }
        (None, false) => None,
    };
    let bytes: i64 = rows.iter().map(|row| row.bytes).sum();
    LogRetentionPolicyStatus {
        observed_generation: generation,
        conditions: vec![
            conditions.of("Ready", ready),
            conditions.of(
                "Valid",
                if problems.is_empty() {
                    (true, "Accepted", String::new())
                } else {
                    let text = cordwood_crds::describe(problems);
                    (false, "Invalid", format!("{text}. The last good spec stays in force."))
                },
            ),
            conditions.of(
                "Held",
                match held {
                    Some(held) => (true, reason(&held.waits), held.to_string()),
                    None => (false, "NothingWaits", String::new()),
                },
            ),
            conditions.of(
                "Conflict",
                match conflict {
                    Some(message) => (true, "SamePriority", message),
                    None => (false, "None", String::new()),
                },
            ),
        ],
        effective_from,
        partitions: Some(rows.iter().map(|row| row.partitions).sum()),
        bytes: Some(bytes),
        size: Some(duration::bytes(bytes)),
        oldest_record: rows.iter().filter_map(|row| row.oldest_record.clone()).min(),
        next_drop: rows.iter().filter_map(|row| row.next_drop.clone()).min(),
        waits: held.map(|held| format!("{}: {}", held.what, held.waits)),
        classes: rows,
        plan: Some(plan_status(&plan)),
    }
}

fn in_grace(held: &Held) -> bool {
    matches!(held.waits, Waits::Until(_)) && held.what.starts_with("drop ")
}

fn reason(waits: &Waits) -> &'static str {
    match waits {
        Waits::Until(_) => "Announced",
        Waits::Approval { .. } => "AboveDropLimit",
        Waits::Suspended => "Suspended",
        Waits::LegalHold => "LegalHold",
        Waits::NextRun => "NextRun",
    }
}

/// Ready: every class has its table and a leaf for now, and records are routed to it.
fn readiness(name: &str, classes: &[&Class], report: &Report, now_us: i64) -> (bool, &'static str, String) {
    if let Some((planned, error)) = report.failed.iter().find(|(planned, _)| planned.policy == name) {
        return (false, "StepFailed", format!("{}: {error}", planned.step));
    }
    if let Some(finding) = report.refused() {
        return (
            false,
            "PlanRefused",
            format!("{} {}: nothing is dropped", finding.subject, finding.message),
        );
    }
    let has_leaf = |class: &&Class| {
        report.catalogue.leaves.iter().any(|leaf| {
            leaf.class == class.id
                && leaf.state == LeafState::Attached
                && leaf.from_us <= now_us
                && leaf.to_us > now_us
        })
    };
    let routed = report
        .catalogue
        .routes
        .as_ref()
        .is_some_and(|routes| routes.routes().iter().any(|route| route.policy == name));
    if classes.len() == 4 && classes.iter().all(has_leaf) && routed {
        (true, "PartitionsReady", String::new())
    } else {
        (false, "PartitionsMissing", "its table partitions are being made".to_owned())
    }
}

fn conflict(name: &str, policies: &[Policy]) -> Option<String> {
    let rivals: Vec<&str> = routes::conflicts(policies)
        .into_iter()
        .filter_map(|(a, b)| match (a.name == name, b.name == name) {
            (true, _) => Some(b.name.as_str()),
            (_, true) => Some(a.name.as_str()),
            _ => None,
        })
        .collect();
    (!rivals.is_empty()).then(|| {
        format!(
            "same priority as {} and can match the same records: the longer retention wins, then the name; give one a higher priority",
            rivals.join(", ")
        )
    })
}

fn class_status(class: &Class, report: &Report) -> ClassStatus {
    let leaves = report.catalogue.leaves_of(class.id);
    let attached = leaves.iter().filter(|leaf| leaf.state == LeafState::Attached).count();
    let detached = leaves.iter().filter(|leaf| matches!(leaf.state, LeafState::Detached { .. })).count();
    let oldest = report.oldest.iter().find(|(id, _)| *id == class.id).map(|(_, at)| time(*at));
    ClassStatus {
        level: class.level.to_string(),
        class: class.id.0,
        retention: duration::print(class.retention_us),
        partitions: count(attached),
        detached: count(detached),
        bytes: leaves.iter().map(|leaf| leaf.bytes).sum(),
        oldest_record: oldest,
        next_drop: next_drop_us(class, &report.catalogue).map(time),
    }
}

/// When the next leaf with records is dropped for good.
pub fn next_drop_us(class: &Class, catalogue: &Catalogue) -> Option<i64> {
    let at = |leaf: &&Leaf| {
        let detached_us = match leaf.state {
            LeafState::Detached { at_us: Some(at_us) } => at_us,
            LeafState::Missing => return None,
            _ => leaf.to_us.saturating_add(class.retention_us),
        };
        Some(detached_us.saturating_add(class.grace_us))
    };
    catalogue.leaves_of(class.id).iter().filter(|leaf| !leaf.empty).filter_map(at).min()
}

fn plan_status(plan: &Plan) -> PlanStatus {
    let step = |planned: &Planned| StepStatus {
        action: planned.step.kind().to_owned(),
        what: planned.step.to_string().split_once(' ').map_or_else(String::new, |(_, what)| what.to_owned()),
        why: planned.why.clone(),
        bytes: planned.bytes,
    };
    let held = |held: &Held| HeldStatus {
        what: held.what.clone(),
        waits: held.waits.to_string(),
        partitions: i64::from(held.partitions),
        bytes: held.bytes,
    };
    PlanStatus {
        hash: plan.hash(),
        steps: plan.steps.iter().take(LISTED_MAX).map(step).collect(),
        more: count(plan.steps.len().saturating_sub(LISTED_MAX)),
        held: plan.held.iter().take(LISTED_MAX).map(held).collect(),
    }
}

/// Makes conditions whose transition time moves only with the status.
pub struct Conditions<'a> {
    pub before: &'a [Condition],
    pub generation: Option<i64>,
    pub now_us: i64,
}

impl Conditions<'_> {
    pub fn of(&self, kind: &str, (is_true, reason, message): (bool, &str, String)) -> Condition {
        let status = if is_true { "True" } else { "False" };
        let before = self.before.iter().find(|known| known.type_ == kind && known.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: self.generation,
            last_transition_time: before
                .map_or_else(|| time(self.now_us), |known| known.last_transition_time.clone()),
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn timestamp(time_us: i64) -> Timestamp {
    // Whole seconds: what Kubernetes keeps of a time.
    Timestamp::from_second(time_us.div_euclid(1_000_000)).unwrap_or_default()
}

pub fn time(time_us: i64) -> Time {
    Time(timestamp(time_us))
}
