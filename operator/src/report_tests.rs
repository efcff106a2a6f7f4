//! What a policy's status says of a pass, without a cluster.

use cordwood_core::retention::class::Wanted;
use cordwood_core::retention::policy::Match;
use cordwood_core::retention::{ClassId, Finding, NeedsApproval, PerLevel, Step};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
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
    let policy = Policy {
        name: "shop".to_owned(),
        suspend,
        retention_us: PerLevel::of(|_| HOUR_US),
        grace_us: HOUR_US,
        ..Policy::builtin()
    };
    Report { policies: vec![policy], catalogue, ..Report::default() }
}

/// A time was promised, even one long past, while nothing goes.
#[test]
fn what_is_held_has_no_next_drop() {
    let next = |suspend| policy_status(&resource(), &[], &report(suspend), &Rivals::new(), NOW_US).next_drop;
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

/// `Ready` beside a spec that nobody follows was what Flux and Argo CD took for success.
#[test]
fn a_policy_is_ready_only_when_what_its_spec_says_is_in_force() {
    let mut settled = report(false);
    let levels = PolicyLevel::ALL.map(|level| Class { level, ..settled.catalogue.classes[0].clone() });
    settled.catalogue.classes = levels.to_vec();
    settled.catalogue.routes = Some(routes::Routes::compile(&settled.policies, &settled.catalogue.classes));
    let waits = |waits: Waits| Held {
        policy: "shop".to_owned(),
        class: Some(ClassId(1)),
        what: "info: retention 1h -> 1m".to_owned(),
        waits,
        partitions: 3,
        bytes: 5,
        records: Some(7),
    };
    let needs = NeedsApproval {
        policy: "shop".to_owned(),
        plan: "p".to_owned(),
        limit_partitions: 1,
        limit_bytes: 1,
        partitions: 3,
        bytes: 5,
        records: Some(7),
        other: None,
    };
    type Row = (&'static str, &'static str, Box<dyn Fn(&mut Report)>);
    let rows: [Row; 9] = [
        ("Ready", "PartitionsReady", Box::new(|_| ())),
        ("Ready", "PartitionsReady", Box::new(|report| report.policies[0].suspend = true)),
        ("Ready", "DryRun", Box::new(|report| report.policies[0].dry_run = true)),
        ("Reconciling", "PartitionsMissing", Box::new(|report| report.catalogue.routes = None)),
        ("Reconciling", "ClassesChanging", Box::new(|report| report.policies[0].grace_us = 2 * HOUR_US)),
        (
            "Reconciling",
            "Announced",
            Box::new(|report| {
                let wanted = Wanted { retention_us: 1, grace_us: 1, effective_from_us: NOW_US };
                report.catalogue.classes[1].wanted = Some(wanted);
            }),
        ),
        (
            "Stalled",
            "AboveDropLimit",
            Box::new(move |report| report.plan.held.push(waits(Waits::Approval(needs.clone())))),
        ),
        (
            "Stalled",
            "PlanRefused",
            Box::new(|report| {
                let (subject, message) = ("a".to_owned(), "b".to_owned());
                report.findings.push(Finding { fatal: true, subject, message });
            }),
        ),
        (
            "Reconciling",
            "StepFailed",
            Box::new(|report| {
                let planned = Planned::new(Step::CreateClassTable { class: ClassId(1) }, "shop", "");
                report.failed.push((planned, "no room".to_owned()));
            }),
        ),
    ];
    let told = |problems: &[Problem], report: &Report| {
        let status = policy_status(&resource(), problems, report, &Rivals::new(), NOW_US);
        assert!(status.conditions.iter().all(|one| !one.message.is_empty()), "{:?}", status.conditions);
        let is_true = |one: &&Condition| PROGRESS.contains(&one.type_.as_str()) && one.status == "True";
        let held: Vec<&Condition> = status.conditions.iter().filter(is_true).collect();
        assert_eq!(held.len(), 1, "{held:?}");
        (held[0].type_.clone(), held[0].reason.clone())
    };
    for (kind, reason, edit) in rows {
        let mut report = Report {
            policies: settled.policies.clone(),
            catalogue: settled.catalogue.clone(),
            ..Report::default()
        };
        edit(&mut report);
        assert_eq!(told(&[], &report), (kind.to_owned(), reason.to_owned()));
    }
    let problems = [Problem { field: "spec.retention".to_owned(), message: "must be".to_owned() }];
    assert_eq!(told(&problems, &settled), ("Stalled".to_owned(), "Invalid".to_owned()));
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
    let (status, reason, _) = told(bounded);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Bounded"));
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

const AWAY: &str = "DatabaseUnavailable";

#[test]
fn a_database_that_is_away_is_said_once_and_changes_nothing_else() {
    let before = policy_status(&resource(), &[], &report(false), &Rivals::new(), NOW_US);
    let away = unavailable(&resource(), &before, (AWAY, "connection refused"), NOW_US).unwrap();
    let ready = &away.conditions[0];
    assert_eq!((ready.type_.as_str(), ready.reason.as_str()), ("Ready", "DatabaseUnavailable"));
    assert_eq!((away.conditions.len(), &away.plan, &away.bytes), (9, &before.plan, &before.bytes));
    assert_eq!(unavailable(&resource(), &away, (AWAY, "no answer"), NOW_US), None);
    let read_only = unavailable(&resource(), &away, ("DatabaseReadOnly", "it is a standby"), NOW_US).unwrap();
    assert_eq!(read_only.conditions[0].reason, "DatabaseReadOnly");
    let fresh =
        unavailable(&resource(), &LogRetentionPolicyStatus::default(), (AWAY, "away"), NOW_US).unwrap();
    assert_eq!(fresh.conditions.len(), 3);
}

/// The numbers and times of what waits move from pass to pass: an event for each would be one without an end.
#[test]
fn an_event_says_what_waits_without_what_moves() {
    let note = |waits: Waits, what: &str, records: i64| {
        let mut report = report(false);
        report.plan.held.push(Held {
            policy: "shop".to_owned(),
            class: Some(ClassId(1)),
            what: what.to_owned(),
            waits,
            partitions: u32::try_from(records).unwrap(),
            bytes: records,
            records: Some(records),
        });
        held_note("shop", &report)
    };
    let needs = |records: i64| {
        Waits::Approval(NeedsApproval {
            policy: "shop".to_owned(),
            plan: "p".to_owned(),
            limit_partitions: 1,
            limit_bytes: 1,
            partitions: u32::try_from(records).unwrap(),
            bytes: records,
            records: Some(records),
            other: None,
        })
    };
    let (debug, info) = ("debug: retention 1h -> 1m", "info: retention 1h -> 1m");
    for (one, other) in [
        (note(Waits::Until(NOW_US), debug, 3), note(Waits::Until(NOW_US + 1_234_567), info, 4)),
        (note(needs(3), debug, 3), note(needs(4), info, 4)),
        (note(Waits::Horizon(NOW_US), debug, 3), note(Waits::Horizon(NOW_US + 1), info, 4)),
        (note(Waits::Suspended, debug, 3), note(Waits::Suspended, info, 4)),
    ] {
        assert_eq!(one, other);
        assert!(one.is_some());
    }
    let (why, text) = note(needs(3), debug, 3).unwrap();
    assert!(why == "AboveDropLimit" && text.contains("cordwood.dev/approve-plan"), "{why}: {text}");
    assert_ne!(note(Waits::Suspended, debug, 3), note(Waits::LegalHold, debug, 3));
    // What goes in the next pass, or when its grace period ends, is nothing to warn of.
    assert_eq!(note(Waits::NextPass, debug, 3), None);
    assert_eq!(note(Waits::Until(NOW_US), "drop blocks_c1_x", 3), None);
    assert_eq!(held_note("shop", &report(false)), None);
}

/// A message that names all was as long as there are policies.
#[test]
fn a_conflict_names_no_more_than_five() {
    let rivals: Vec<String> = (0..500).map(|number| format!("p{number}")).collect();
    assert!(conflict(&rivals).starts_with("same priority as p0, p1, p2, p3, p4 and 495 more and can match"));
}
