//! What the status of a policy says: a pure function of the pass's report. Writing it is `publish`'s part.

use std::collections::BTreeMap;

use cordwood_core::retention::class::tables_max;
use cordwood_core::retention::holding::{kept, state};
use cordwood_core::retention::policy::CHOSEN_BY_PODS;
use cordwood_core::retention::step::{Held, Plan, Planned, Waits};
use cordwood_core::retention::{Catalogue, Class, Drift, Leaf, LeafState, Policy, duration, routes};
use cordwood_crds::Problem;
use cordwood_crds::retention::{
    ApprovalStatus, ApprovedStatus, ClassStatus, HeldStatus, HoldStatus, LogRetentionPolicy,
    LogRetentionPolicyStatus, PlanStatus, StepStatus,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

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
    let ready = readiness(&name, &classes, report);
    let held = plan.held.iter().find(|held| !matches!(held.waits, Waits::NextRun) && !in_grace(held));
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
            conditions.of("ChosenByPods", chosen_by_pods(&name, policies)),
            conditions.of(
                "PartitionsNearLimit",
                match crowded {
                    Some(limit) => (true, "LockTable", near_limit(limit)),
                    None => (false, "Room", String::new()),
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

/// Tables of its classes that somebody changed.
fn drift(classes: &[&Class], catalogue: &Catalogue) -> (bool, &'static str, String) {
    const NAMED_MAX: usize = 3;
    let of_it = |drift: &&Drift| classes.iter().any(|class| Some(class.id) == drift.class);
    let found: Vec<&Drift> = catalogue.drift.iter().filter(of_it).collect();
    let Some(first) = found.first() else { return (false, "AsMade", String::new()) };
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
    why: &str,
    now_us: i64,
) -> Option<LogRetentionPolicyStatus> {
    const REASON: &str = "DatabaseUnavailable";
    let conditions =
        Conditions { before: &before.conditions, generation: resource.metadata.generation, now_us };
    let ready = conditions.of("Ready", (false, REASON, why.to_owned()));
    let mut status = before.clone();
    match status.conditions.iter_mut().find(|condition| condition.type_ == "Ready") {
        Some(known) if known.reason == REASON => return None,
        Some(known) => *known = ready,
        None => status.conditions.insert(0, ready),
    }
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

fn reason(waits: &Waits) -> &'static str {
    match waits {
        Waits::Until(_) => "Announced",
        Waits::Approval(_) => "AboveDropLimit",
        Waits::Suspended => "Suspended",
        Waits::DryRun => "DryRun",
        Waits::LegalHold => "LegalHold",
        Waits::HoldOf(_) => "LegalHoldOfAnother",
        Waits::NextRun => "NextRun",
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

/// Ready: it has its classes, records are routed to them, and no record waits for a table partition that the server does not bear.
/// Table partitions come into being with the first records.
fn readiness(name: &str, classes: &[&Class], report: &Report) -> (bool, &'static str, String) {
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
    let routed = report
        .catalogue
        .routes
        .as_ref()
        .is_some_and(|routes| routes.routes().iter().any(|route| route.policy == name));
    let refused = |held: &&Held| held.policy == name && matches!(held.waits, Waits::TooManyPartitions { .. });
    if let Some(held) = report.plan.held.iter().find(refused) {
        return (false, "TooManyPartitions", format!("{held}; its records wait and can be queried"));
    }
    if classes.len() == 4 && routed {
        (true, "PartitionsReady", String::new())
    } else {
        (false, "PartitionsMissing", "its classes and routes are being made".to_owned())
    }
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
    format!(
        "same priority as {} and can match the same records: the longer retention wins, then the name; give one a higher priority",
        rivals.join(", ")
    )
}

/// Whether any pod of the cluster can have its records kept by this policy.
fn chosen_by_pods(name: &str, policies: &[Policy]) -> (bool, &'static str, String) {
    let policy = policies.iter().find(|policy| policy.name == name);
    match policy.is_some_and(|policy| policy.matches.is_chosen_by_pods()) {
        true => (true, "ServiceAlone", CHOSEN_BY_PODS.to_owned()),
        false => (false, "Bounded", String::new()),
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

/// When the next leaf with records is dropped for good, unless something holds it.
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

#[cfg(test)]
mod tests {
    use cordwood_core::retention::catalogue::Catalogue;
    use cordwood_core::retention::policy::Match;
    use cordwood_core::retention::{ClassId, PolicyLevel};
    use serde_json::json;

    use super::*;

    const HOUR_US: i64 = 3_600_000_000;
    const NOW_US: i64 = 1_795_003_200_000_000;

    fn resource() -> LogRetentionPolicy {
        serde_json::from_value(json!({
            "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogRetentionPolicy",
            "metadata": {"name": "shop", "uid": "u", "generation": 3}, "spec": {},
        }))
        .unwrap()
    }

    fn report(suspend: bool) -> Report {
        let class = Class {
            id: ClassId(1),
            policy: "shop".to_owned(),
            policy_uid: "u".to_owned(),
            level: PolicyLevel::Info,
            retention_us: HOUR_US,
            grace_us: HOUR_US,
            legal_hold: false,
            wanted: None,
            approved: None,
            has_table: true,
        };
        let leaf = Leaf {
            table: "blocks_c1_x".to_owned(),
            class: ClassId(1),
            from_us: NOW_US - HOUR_US,
            to_us: NOW_US,
            bytes: 1,
            empty: false,
            blocks: 1,
            oldest_us: None,
            newest_us: None,
            records: None,
            state: LeafState::Attached,
        };
        let catalogue = Catalogue { classes: vec![class], leaves: vec![leaf], ..Catalogue::default() };
        let policy = Policy { name: "shop".to_owned(), suspend, ..Policy::builtin() };
        Report { policies: vec![policy], catalogue, ..Report::default() }
    }

    /// A time was promised, even one long past, while nothing goes.
    #[test]
    fn what_is_held_has_no_next_drop() {
        let next =
            |suspend| policy_status(&resource(), &[], &report(suspend), &Rivals::new(), NOW_US).next_drop;
        assert_eq!(next(false), Some(time(NOW_US + 2 * HOUR_US)));
        assert_eq!(next(true), None);
    }

    /// A class without records has no table, and that is no fault; one whose records wait for room says so, and how to make it.
    #[test]
    fn a_policy_says_when_the_server_bears_no_more_partitions() {
        let mut report = report(false);
        let levels = PolicyLevel::ALL.map(|level| Class { level, ..report.catalogue.classes[0].clone() });
        report.catalogue.classes = levels.to_vec();
        report.catalogue.leaves.clear();
        report.catalogue.routes = Some(routes::Routes::compile(&report.policies, &report.catalogue.classes));
        let conditions = |report: &Report| -> Vec<(String, String, String)> {
            let status = policy_status(&resource(), &[], report, &Rivals::new(), NOW_US);
            let told = |c: Condition| (c.type_, c.status, c.reason);
            status.conditions.into_iter().map(told).collect()
        };
        let has = |report: &Report, kind: &str, status: &str, reason: &str| {
            let wanted = (kind.to_owned(), status.to_owned(), reason.to_owned());
            assert!(conditions(report).contains(&wanted), "{wanted:?} in {:?}", conditions(report));
        };
        has(&report, "Ready", "True", "PartitionsReady");
        report.catalogue.lock_slots = Some(15);
        has(&report, "PartitionsNearLimit", "False", "Room");
        report.catalogue.lock_slots = Some(12);
        has(&report, "PartitionsNearLimit", "True", "LockTable");
        report.plan.held.push(Held {
            policy: "shop".to_owned(),
            class: Some(ClassId(1)),
            what: "create-class blocks_c1".to_owned(),
            waits: Waits::TooManyPartitions { limit: 4 },
            partitions: 0,
            bytes: 0,
            records: None,
        });
        has(&report, "Ready", "False", "TooManyPartitions");
        has(&report, "Held", "True", "TooManyPartitions");
    }

    /// Its retention is whatever a pod's label says that anybody may write.
    #[test]
    fn a_policy_that_any_pod_can_choose_says_so_and_what_to_do() {
        let told = |matches: Match| {
            let mut report = report(false);
            report.policies[0].matches = matches;
            let status = policy_status(&resource(), &[], &report, &Rivals::new(), NOW_US);
            let found = status.conditions.into_iter().find(|condition| condition.type_ == "ChosenByPods");
            found.map(|found| (found.status, found.reason, found.message)).unwrap()
        };
        let services = vec!["payments".to_owned()];
        let (status, reason, message) = told(Match { services: services.clone(), ..Match::default() });
        assert_eq!((status.as_str(), reason.as_str()), ("True", "ServiceAlone"));
        assert!(message.contains("name tenants or namespaces in match"), "{message}");
        let bounded = Match { services, namespaces: vec!["shop".to_owned()], ..Match::default() };
        assert_eq!(told(bounded), ("False".to_owned(), "Bounded".to_owned(), String::new()));
    }

    #[test]
    fn rivals_are_those_of_the_same_priority_that_can_meet() {
        let policy = |name: &str, tenants: &[&str], priority| Policy {
            name: name.to_owned(),
            priority,
            matches: Match {
                tenants: tenants.iter().map(|glob| (*glob).to_owned()).collect(),
                ..Match::default()
            },
            ..Policy::builtin()
        };
        let policies = [
            policy("a", &["shop-*"], 1),
            policy("b", &["*-eu"], 1),
            policy("c", &["bank"], 1),
            policy("d", &["*"], 2),
        ];
        let found = rivals(&policies);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((&found["a"], &found["b"]), (&vec!["b".to_owned()], &vec!["a".to_owned()]));
    }

    /// Raised and in force in the same pass, it kept the time from which the shorter one had been.
    #[test]
    fn a_raised_retention_is_in_force_from_now() {
        let mut resource = resource();
        let mut report = report(false);
        let levels = PolicyLevel::ALL.map(|level| Class { level, ..report.catalogue.classes[0].clone() });
        report.catalogue.classes = levels.to_vec();
        let follow = |report: &mut Report, retention_us| {
            for class in &mut report.catalogue.classes {
                class.retention_us = retention_us;
            }
            for level in PolicyLevel::ALL {
                *report.policies[0].retention_us.get_mut(level) = retention_us;
            }
        };
        follow(&mut report, HOUR_US);
        let status = |resource: &LogRetentionPolicy, report: &Report, now_us| {
            policy_status(resource, &[], report, &Rivals::new(), now_us)
        };
        let first = status(&resource, &report, NOW_US);
        assert_eq!(first.effective_from, Some(time(NOW_US)));
        resource.status = Some(first);
        // An edit of something else.
        resource.metadata.generation = Some(4);
        assert_eq!(status(&resource, &report, NOW_US + HOUR_US).effective_from, Some(time(NOW_US)));
        follow(&mut report, 2 * HOUR_US);
        assert_eq!(status(&resource, &report, NOW_US + HOUR_US).effective_from, Some(time(NOW_US + HOUR_US)));
    }

    #[test]
    fn a_database_that_is_away_is_said_once_and_changes_nothing_else() {
        let before = policy_status(&resource(), &[], &report(false), &Rivals::new(), NOW_US);
        let away = unavailable(&resource(), &before, "connection refused", NOW_US).unwrap();
        let ready = &away.conditions[0];
        assert_eq!((ready.type_.as_str(), ready.reason.as_str()), ("Ready", "DatabaseUnavailable"));
        assert_eq!((away.conditions.len(), &away.plan, &away.bytes), (7, &before.plan, &before.bytes));
        assert_eq!(unavailable(&resource(), &away, "no answer", NOW_US), None);
        let fresh = unavailable(&resource(), &LogRetentionPolicyStatus::default(), "away", NOW_US).unwrap();
        assert_eq!(fresh.conditions.len(), 1);
    }
}
