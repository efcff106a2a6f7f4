//! Makes the status of a policy from a pass's report, as a pure function. `publish` writes it.

use std::collections::BTreeMap;

use cordwood_core::retention::class::tables_max;
use cordwood_core::retention::holding::{kept, state};
use cordwood_core::retention::policy::CHOSEN_BY_PODS;
use cordwood_core::retention::step::{Held, Plan, Planned, Waits};
use cordwood_core::retention::{
    Catalogue, Class, Drift, Leaf, LeafState, Policy, PolicyLevel, State, duration, routes,
};
use cordwood_crds::Problem;
use cordwood_crds::retention::{
    ApprovalStatus, ApprovedStatus, ClassStatus, HeldStatus, HoldStatus, LogRetentionPolicy,
    LogRetentionPolicyStatus, PlanStatus, StepStatus,
};

use crate::conditions::{Conditions, PROGRESS, Progress, Said, time};
use crate::retention::Report;

/// Steps and held items that a status lists.
const LISTED_MAX: usize = 20;

/// The status of `resource` after `report`. `problems`: why its spec cannot be followed.
pub fn policy_status(
    resource: &LogRetentionPolicy,
    problems: &[Problem],
    report: &Report,
    rivals: &Rivals,
    now_us: i64,
) -> LogRetentionPolicyStatus {
    let name = resource.metadata.name.clone().unwrap_or_default();
    let before = resource.status.clone().unwrap_or_default();
    let policies = &report.policies;
    let plan = report.plan.part(&name);
    let catalogue = &report.catalogue;
    let classes: Vec<&Class> = catalogue.classes.iter().filter(|class| class.policy == name).collect();
    let rows: Vec<ClassStatus> = classes.iter().map(|class| class_status(class, report)).collect();
    let generation = resource.metadata.generation;
    let conditions = Conditions { before: &before.conditions, generation, now_us };
    let (progress, reason, message) = progress(&name, problems, &classes, report);
    let [ready, reconciling, stalled] = conditions.progress(progress, reason, &message);
    let held = plan.held.iter().find(|held| is_told(held));
    let tables = catalogue.tables();
    let crowded = catalogue.lock_slots.map(tables_max).filter(|limit| is_near(tables, *limit));
    let conflict = rivals.get(&name).map(|rivals| conflict(rivals));
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
            let same = before.observed_generation == generation || has_retentions_of(&rows, &before.classes);
            before.effective_from.clone().filter(|_| same).or_else(|| Some(time(now_us)))
        }
        (None, false) => None,
    };
    let bytes: i64 = rows.iter().map(|row| row.bytes).sum();
    LogRetentionPolicyStatus {
        observed_generation: generation,
        conditions: vec![
            ready,
            reconciling,
            stalled,
            conditions.of(
                "Accepted",
                if problems.is_empty() {
                    (true, "Accepted", "the spec can be followed".to_owned())
                } else {
                    (false, "Invalid", invalid(problems))
                },
            ),
            conditions.of(
                "Held",
                match held {
                    Some(held) => (true, why(&held.waits), held.to_string()),
                    None => (false, "NothingWaits", "nothing waits but for grace periods".to_owned()),
                },
            ),
            conditions.of(
                "Conflict",
                match conflict {
                    Some(message) => (true, "SamePriority", message),
                    None => {
                        let message = "no other policy of this priority can match the same records";
                        (false, "NoConflict", message.to_owned())
                    }
                },
            ),
            conditions.of("ChosenByPods", chosen_by_pods(&name, policies)),
            conditions.of(
                "PartitionsNearLimit",
                match crowded {
                    Some(limit) => (true, "LockTable", near_limit(limit)),
                    None => (false, "Room", "PostgreSQL's lock table has room for more tables".to_owned()),
                },
            ),
            conditions.of("Drift", drift(&classes, catalogue)),
        ],
        state: policies
            .iter()
            .find(|policy| policy.name == name)
            .map(|policy| state(policy, catalogue).as_str().to_owned()),
        effective_from,
        partitions: Some(rows.iter().map(|row| row.partitions).sum()),
        bytes: Some(bytes),
        size: Some(duration::bytes(bytes)),
        records: rows.iter().map(|row| row.records).sum(),
        oldest_record: rows.iter().filter_map(|row| row.oldest_record.clone()).min(),
        newest_record: rows.iter().filter_map(|row| row.newest_record.clone()).max(),
        hold: hold_status(&name, report, now_us),
        next_drop: rows.iter().filter_map(|row| row.next_drop.clone()).min(),
        waits: held.map(|held| format!("{}: {}", held.what, held.waits)),
        classes: rows,
        plan: Some(plan_status(&plan)),
        approval: plan.held.iter().find_map(|held| approval_status(&held.waits)),
        approved: classes
            .iter()
            .filter_map(|class| class.approved.as_ref())
            .next_back()
            .map(|known| ApprovedStatus { plan: known.approval.plan.clone(), by: known.approval.by.clone() }),
    }
}

fn approval_status(waits: &Waits) -> Option<ApprovalStatus> {
    let Waits::Approval(needs) = waits else { return None };
    Some(ApprovalStatus {
        plan: needs.plan.clone(),
        partitions: i64::from(needs.partitions),
        bytes: needs.bytes,
        records: needs.records,
        command: needs.command(),
    })
}

/// What the policy's legal hold keeps, also where it is tried out.
fn hold_status(name: &str, report: &Report, now_us: i64) -> Option<HoldStatus> {
    let said = report.policies.iter().any(|policy| policy.name == name && policy.legal_hold);
    let known = report.catalogue.holds.iter().any(|hold| hold.policy == name);
    (said || known).then(|| {
        let kept = kept(name, &report.catalogue, now_us);
        HoldStatus {
            partitions: i64::from(kept.all.partitions),
            records: kept.all.records,
            bytes: kept.all.bytes,
            expired: i64::from(kept.expired),
        }
    })
}

/// What an event says of what waits: why in one word, and a sentence without the level, numbers and times, which move from pass to pass. The
/// status has them.
pub fn held_note(name: &str, report: &Report) -> Option<(&'static str, String)> {
    let plan = report.plan.part(name);
    let waits = &plan.held.iter().find(|held| is_told(held))?.waits;
    let note = match waits {
        Waits::Until(_) => {
            "a shorter retention or grace period is announced: status.effectiveFrom says from when it is in force"
                .to_owned()
        }
        Waits::Horizon(_) => {
            "expiry waits for the horizon: PostgreSQL's clock jumped, or no pass was made for long; status.plan.held says until when"
                .to_owned()
        }
        Waits::TooManyPartitions { .. } => format!("creating partitions waits {waits}"),
        waits => format!("retention waits {waits}"),
    };
    Some((why(waits), note))
}

/// What waits for no more than a grace period or the next pass is not told.
fn is_told(held: &Held) -> bool {
    !matches!(held.waits, Waits::NextPass) && !in_grace(held)
}

/// Tables of its classes that somebody changed.
fn drift(classes: &[&Class], catalogue: &Catalogue) -> Said {
    const NAMED_MAX: usize = 3;
    let of_it = |drift: &&Drift| classes.iter().any(|class| Some(class.id) == drift.class);
    let found: Vec<&Drift> = catalogue.drift.iter().filter(of_it).collect();
    let Some(first) = found.first() else {
        return (false, "AsMade", "its tables are as Cordwood made them".to_owned());
    };
    let mut message: Vec<String> = found.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if found.len() > NAMED_MAX {
        message.push(format!("and {} more", found.len() - NAMED_MAX));
    }
    (true, first.what.reason(), message.join("; "))
}

/// The status while PostgreSQL cannot be asked: as it was, but not ready. `None`: it says so already.
pub fn unavailable(
    resource: &LogRetentionPolicy,
    before: &LogRetentionPolicyStatus,
    (reason, why): (&'static str, &str),
    now_us: i64,
) -> Option<LogRetentionPolicyStatus> {
    let conditions =
        Conditions { before: &before.conditions, generation: resource.metadata.generation, now_us };
    let mut status = before.clone();
    if status.conditions.iter().any(|known| known.type_ == "Ready" && known.reason == reason) {
        return None;
    }
    status.conditions.retain(|known| !PROGRESS.contains(&known.type_.as_str()));
    drop(status.conditions.splice(0..0, conditions.progress(Progress::Reconciling, reason, why)));
    Some(status)
}

fn has_retentions_of(rows: &[ClassStatus], before: &[ClassStatus]) -> bool {
    let retentions = |rows: &[ClassStatus]| -> Vec<(String, String)> {
        rows.iter().map(|row| (row.level.clone(), row.retention.clone())).collect()
    };
    retentions(rows) == retentions(before)
}

fn in_grace(held: &Held) -> bool {
    matches!(held.waits, Waits::Until(_)) && held.what.starts_with("drop ")
}

fn why(waits: &Waits) -> &'static str {
    match waits {
        Waits::Until(_) => "Announced",
        Waits::Approval(_) => "AboveDropLimit",
        Waits::Suspended => "Suspended",
        Waits::DryRun => "DryRun",
        Waits::LegalHold => "LegalHold",
        Waits::HoldOf(_) => "LegalHoldOfAnother",
        Waits::NextPass => "NextPass",
        Waits::Horizon(_) => "ClockJumped",
        Waits::TooManyPartitions { .. } => "TooManyPartitions",
    }
}

/// From which share of what the server bears it is said: there is time to act before records wait.
fn is_near(tables: usize, limit: usize) -> bool {
    tables > limit / 5 * 4
}

/// The same at every pass: a number that moves would be a status written each time.
fn near_limit(limit: usize) -> String {
    format!(
        "all policies together have more than 80 % of the {limit} tables of partitions that the server's lock table bears; use fewer policies, or raise max_locks_per_transaction"
    )
}

fn invalid(problems: &[Problem]) -> String {
    format!("{}. The last good spec stays in force.", cordwood_crds::describe(problems))
}

/// Ready: its classes are as the spec says, records are routed to them, and no record waits for a table partition that the server does
/// not bear. Table partitions come into being with the first records.
fn progress(
    name: &str,
    problems: &[Problem],
    classes: &[&Class],
    report: &Report,
) -> (Progress, &'static str, String) {
    if !problems.is_empty() {
        return (Progress::Stalled, "Invalid", invalid(problems));
    }
    if let Some((planned, error)) = report.failed.iter().find(|(planned, _)| planned.policy == name) {
        return (Progress::Reconciling, "StepFailed", format!("{}: {error}", planned.step));
    }
    if let Some(finding) = report.refused() {
        let message = format!("{} {}: nothing is dropped", finding.subject, finding.message);
        return (Progress::Stalled, "PlanRefused", message);
    }
    let policy = report.policies.iter().find(|policy| policy.name == name);
    if policy.is_some_and(|policy| policy.state() == State::DryRun) {
        let message = "spec.mode is Plan: what it would do is in status.plan, and nothing of it is done";
        return (Progress::Ready, "DryRun", message.to_owned());
    }
    let held = |is_it: fn(&Waits) -> bool| {
        report.plan.held.iter().find(|held| held.policy == name && is_it(&held.waits))
    };
    if let Some(held) = held(|waits| matches!(waits, Waits::TooManyPartitions { .. })) {
        let message = format!("{held}; its records wait and can be queried");
        return (Progress::Stalled, "TooManyPartitions", message);
    }
    let routes = report.catalogue.routes.as_ref().map_or(&[][..], |routes| routes.routes());
    if classes.len() != PolicyLevel::ALL.len() || !routes.iter().any(|route| route.policy == name) {
        let message = "its classes and routes are being made".to_owned();
        return (Progress::Reconciling, "PartitionsMissing", message);
    }
    if let Some(Held { waits: waits @ Waits::Approval(needs), .. }) =
        held(|waits| matches!(waits, Waits::Approval(_)))
    {
        let records = needs.records.map_or_else(String::new, |records| format!("{records} records, "));
        let message = format!(
            "it would drop {} partitions ({records}{}) and waits {waits}",
            needs.partitions,
            duration::bytes(needs.bytes)
        );
        return (Progress::Stalled, why(waits), message);
    }
    if let Some(at_us) =
        classes.iter().filter_map(|class| class.wanted).map(|wanted| wanted.effective_from_us).max()
    {
        let message =
            format!("a shorter retention or grace period is in force from {}", duration::time(at_us));
        return (Progress::Reconciling, "Announced", message);
    }
    let is_followed = |class: &&&Class| {
        policy.is_none_or(|policy| {
            let kept = (*policy.retention_us.get(class.level), policy.grace_us);
            policy.state() != State::Active || kept == (class.retention_us, class.grace_us)
        })
    };
    if classes.iter().any(|class| !is_followed(&class)) {
        let message = "its classes get the retention and grace period of the spec".to_owned();
        return (Progress::Reconciling, "ClassesChanging", message);
    }
    (Progress::Ready, "PartitionsReady", "its classes are there, and records are routed to them".to_owned())
}

/// Of each policy that has any: those of the same priority that can match the same records.
pub type Rivals = BTreeMap<String, Vec<String>>;

/// Compares all with all: once for the statuses of all.
pub fn rivals(policies: &[Policy]) -> Rivals {
    let mut rivals = Rivals::new();
    for (a, b) in routes::conflicts(policies) {
        rivals.entry(a.name.clone()).or_default().push(b.name.clone());
        rivals.entry(b.name.clone()).or_default().push(a.name.clone());
    }
    rivals
}

fn conflict(rivals: &[String]) -> String {
    const NAMED_MAX: usize = 5;
    let mut named = rivals[..rivals.len().min(NAMED_MAX)].join(", ");
    if rivals.len() > NAMED_MAX {
        named += &format!(" and {} more", rivals.len() - NAMED_MAX);
    }
    format!(
        "same priority as {named} and can match the same records: the longer retention wins, then the name; give one a higher priority"
    )
}

/// Whether any pod of the cluster can have its records kept by this policy.
fn chosen_by_pods(name: &str, policies: &[Policy]) -> (bool, &'static str, String) {
    let policy = policies.iter().find(|policy| policy.name == name);
    match policy.is_some_and(|policy| policy.matches.is_chosen_by_pods()) {
        true => (true, "ServiceAlone", CHOSEN_BY_PODS.to_owned()),
        false => (false, "Bounded", "pods alone do not choose it".to_owned()),
    }
}

fn class_status(class: &Class, report: &Report) -> ClassStatus {
    let leaves = report.catalogue.leaves_of(class.id);
    let policy = report.policies.iter().find(|policy| policy.name == class.policy);
    let held =
        policy.map_or(class.legal_hold, |policy| policy.suspend || policy.legal_hold || policy.dry_run);
    let attached = leaves.iter().filter(|leaf| leaf.state == LeafState::Attached).count();
    let detached = leaves.iter().filter(|leaf| matches!(leaf.state, LeafState::Detached { .. })).count();
    let proof = report.proof(class.id);
    ClassStatus {
        level: class.level.to_string(),
        class: class.id.0,
        retention: duration::print(class.retention_us),
        partitions: count(attached),
        detached: count(detached),
        bytes: leaves.iter().map(|leaf| leaf.bytes).sum(),
        records: proof.and_then(|proof| proof.records),
        oldest_record: proof.and_then(|proof| proof.oldest_us).map(time),
        newest_record: proof.and_then(|proof| proof.newest_us).map(time),
        oldest_due: proof.map(|proof| time(proof.oldest_due_us)),
        overdue: proof.map_or(0, |proof| count(proof.overdue)),
        next_drop: if held { None } else { next_drop_us(class, report).map(time) },
    }
}

/// When the next leaf with records is dropped permanently, unless something holds it.
fn next_drop_us(class: &Class, report: &Report) -> Option<i64> {
    let at = |leaf: &&Leaf| {
        let detached_us = match leaf.state {
            LeafState::Detached { at_us: Some(at_us) } => at_us,
            LeafState::Missing => return None,
            _ => leaf.to_us.saturating_add(class.retention_us),
        };
        Some(detached_us.saturating_add(class.grace_us))
    };
    let goes = |leaf: &&&Leaf| !leaf.empty && !report.held.contains(&leaf.key());
    report.catalogue.leaves_of(class.id).iter().filter(goes).filter_map(at).min()
}

fn plan_status(plan: &Plan) -> PlanStatus {
    let step = |planned: &Planned| StepStatus {
        action: planned.step.kind().to_owned(),
        what: planned.step.to_string().split_once(' ').map_or_else(String::new, |(_, what)| what.to_owned()),
        why: planned.why.clone(),
        bytes: planned.bytes,
        records: planned.records,
    };
    let held = |held: &Held| HeldStatus {
        what: held.what.clone(),
        waits: held.waits.to_string(),
        partitions: i64::from(held.partitions),
        bytes: held.bytes,
        records: held.records,
    };
    PlanStatus {
        hash: plan.hash(),
        steps: plan.steps.iter().take(LISTED_MAX).map(step).collect(),
        more: count(
            [plan.steps.len(), plan.held.len()].map(|all| all.saturating_sub(LISTED_MAX)).iter().sum(),
        ),
        held: plan.held.iter().take(LISTED_MAX).map(held).collect(),
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
