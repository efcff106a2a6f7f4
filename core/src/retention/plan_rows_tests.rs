//! A table of what may happen to one class, and what is then planned and held.
//!
//! The class is `shop` at DEBUG, kept for 2 h in leaves of 15 min, with records in those from 10:00 to 12:15 and four empty ones ahead; the
//! grace period is 1 h, the limit 3 partitions, the notice a minute, and it is noon.

#[path = "plan_rows_drift_tests.rs"]
mod drifted;
#[path = "lint_rows_tests.rs"]
mod lint_rows;
#[path = "plan_rows_shorter_tests.rs"]
mod shorter;

use drifted::{DELETED, DRIFTED, THERE_AGAIN};
use shorter::SHORTER;

use super::*;
use crate::retention::{Drift, Strange};

/// A row's edit of what is there.
type Edit = fn(&mut Policy, &mut Catalogue);
/// Its name, the edit, minutes after noon, what the plan then says of the class.
type Row = (&'static str, Edit, i64, &'static str);

const TUNING: Tuning = Tuning::with_notice(MINUTE);
const DEBUG: ClassId = ClassId(5);

fn same(_: &mut Policy, _: &mut Catalogue) {}

fn keep(policy: &mut Policy, retention_us: i64) {
    policy.retention_us.debug = retention_us;
}

fn class_of(catalogue: &mut Catalogue) -> &mut Class {
    catalogue.classes.iter_mut().find(|class| class.id == DEBUG).unwrap()
}

/// The class's leaf that begins so many minutes before noon.
fn leaf_of(catalogue: &mut Catalogue, minutes: i64) -> &mut Leaf {
    let from_us = NOON - minutes * MINUTE;
    catalogue.leaves.iter_mut().find(|leaf| leaf.class == DEBUG && leaf.from_us == from_us).unwrap()
}

fn key(minutes: i64) -> LeafRef {
    let from_us = NOON - minutes * MINUTE;
    LeafRef { class: DEBUG, from_us, to_us: from_us + 15 * MINUTE }
}

/// A record waits for this leaf, which is not there.
fn hole(catalogue: &mut Catalogue, minutes: i64) {
    catalogue.leaves.retain(|leaf| leaf.key() != key(minutes));
    catalogue.wanted = vec![key(minutes)];
}

fn announce(catalogue: &mut Catalogue, retention_us: i64, effective_from_us: i64) {
    class_of(catalogue).wanted = Some(Wanted { retention_us, grace_us: HOUR, effective_from_us });
}

/// Somebody approves what waits at noon.
fn approve(policy: &mut Policy, catalogue: &Catalogue) {
    let held = plan(std::slice::from_ref(policy), catalogue, NOON, &TUNING).held;
    let needs = held.into_iter().find_map(|held| match held.waits {
        Waits::Approval(needs) => Some(needs),
        _ => None,
    });
    policy.approval = needs.map(|needs| Approval { plan: needs.plan, by: "ann".to_owned() });
    assert!(policy.approval.is_some());
}

/// The policy's routes are gone, as after its deletion; its classes stay.
fn without_routes(catalogue: &mut Catalogue) {
    catalogue.routes = Some(Routes::compile(&[Policy::builtin()], &catalogue.classes));
}

fn clock(time_us: i64) -> String {
    duration::time(time_us)[11..16].to_owned()
}

/// What a plan says of the class, in short: steps by their kind, then what waits, by its reason: how many, and for how many partitions.
fn summary(plan: &Plan) -> String {
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    let mut say = |what: String, of: String| match said.last_mut().filter(|(last, _)| *last == what) {
        Some((_, all)) => all.push(of),
        None => said.push((what, vec![of])),
    };
    for planned in plan.steps.iter().filter(|planned| planned.step.class() == Some(DEBUG)) {
        match &planned.step {
            Step::PutClass(row) => {
                let kept = |retention_us, grace_us| {
                    format!("{}/{}", duration::print(retention_us), duration::print(grace_us))
                };
                let mut text = format!("put {}", kept(row.retention_us, row.grace_us));
                if let Some(wanted) = row.wanted {
                    let at = clock(wanted.effective_from_us);
                    text += &format!(" soon {} at {at}", kept(wanted.retention_us, wanted.grace_us));
                }
                if row.legal_hold {
                    text += " held";
                }
                if let Some(approval) = &planned.approval {
                    text += &format!(" by {}", approval.by);
                }
                say(text, String::new());
            }
            Step::CreateClassTable { .. } => say("table".to_owned(), String::new()),
            step => say(step.kind().to_owned(), clock(step.leaf().unwrap().from_us)),
        }
    }
    let mut text: Vec<String> =
        said.into_iter().map(|(what, of)| format!("{what} {}", of.join(",")).trim().to_owned()).collect();
    for (reason, is_it) in REASONS {
        let held = plan.held.iter().filter(|held| held.class == Some(DEBUG) && is_it(&held.waits));
        let (count, partitions) = held.fold((0, 0), |(count, sum), held| (count + 1, sum + held.partitions));
        if count > 0 {
            text.push(format!("wait {reason} x{count} ({partitions})"));
        }
    }
    text.join("; ")
}

type Reason = (&'static str, fn(&Waits) -> bool);

const REASONS: [Reason; 8] = [
    ("room", |waits| matches!(waits, Waits::TooManyPartitions { .. })),
    ("until", |waits| matches!(waits, Waits::Until(_))),
    ("approval", |waits| matches!(waits, Waits::Approval(_))),
    ("suspended", |waits| matches!(waits, Waits::Suspended)),
    ("hold", |waits| matches!(waits, Waits::LegalHold)),
    ("dry-run", |waits| matches!(waits, Waits::DryRun)),
    ("next-pass", |waits| matches!(waits, Waits::NextPass)),
    ("horizon", |waits| matches!(waits, Waits::Horizon(_))),
];

const TIME_PASSES: &[Row] = &[
    ("nothing has come", same, 0, ""),
    ("a minute before a leaf expires", same, 14, ""),
    ("a leaf expires with the youngest record that it can hold", same, 15, "create 13:15; detach 10:00"),
    ("two have expired", same, 30, "create 13:15,13:30; detach 10:00,10:15"),
    ("no record came for half an hour: none is made ahead", same, 45, "detach 10:00,10:15,10:30"),
    ("one pass detaches as many as the limit", same, 60, "detach 10:00,10:15,10:30; wait next-pass x1 (1)"),
    (
        "no record came for an hour: what is empty goes too",
        same,
        90,
        "detach 10:00,10:15,10:30; wait next-pass x7 (3)",
    ),
    (
        "one pass detaches fewer than the limit",
        |policy, _| policy.detach_per_pass = Some(1),
        60,
        "detach 10:00; wait next-pass x3 (3)",
    ),
    (
        "one pass detaches more than the limit",
        |policy, _| policy.detach_per_pass = Some(4),
        60,
        "detach 10:00,10:15,10:30,10:45",
    ),
    (
        "one pass detaches more than there is",
        |policy, _| policy.detach_per_pass = Some(100_000),
        90,
        "detach 10:00,10:15,10:30,10:45,11:00,11:15,12:15,12:30,12:45,13:00",
    ),
    (
        "a pass that is to detach none detaches one",
        |policy, _| policy.detach_per_pass = Some(0),
        30,
        "create 13:15,13:30; detach 10:00; wait next-pass x1 (1)",
    ),
    (
        "a limit of one, and a pass's own number",
        |policy, _| (policy.drop_limit.partitions, policy.detach_per_pass) = (1, Some(2)),
        60,
        "detach 10:00,10:15; wait next-pass x2 (2)",
    ),
    ("the clock went back", same, -60, ""),
    (
        "a limit of one",
        |policy, _| policy.drop_limit.partitions = 1,
        30,
        "create 13:15,13:30; detach 10:00; wait next-pass x1 (1)",
    ),
    (
        "a limit of none is one",
        |policy, _| policy.drop_limit.partitions = 0,
        30,
        "create 13:15,13:30; detach 10:00; wait next-pass x1 (1)",
    ),
    (
        "what expires by itself is held by no limit of bytes",
        |policy, _| policy.drop_limit.bytes = 0,
        15,
        "create 13:15; detach 10:00",
    ),
    (
        "the clock is ahead of the horizon",
        |policy, catalogue| {
            keep(policy, 90 * MINUTE);
            class_of(catalogue).retention_us = 90 * MINUTE;
            catalogue.horizon = Some(Horizon { at_us: NOON - HOUR, clock_us: NOON });
        },
        1,
        "wait horizon x1 (2)",
    ),
    (
        "the horizon is ahead of the clock",
        |_, catalogue| catalogue.horizon = Some(Horizon { at_us: NOON + DAY, clock_us: NOON }),
        15,
        "create 13:15; detach 10:00",
    ),
];

const HOLDS: &[Row] = &[
    ("suspended", |policy, _| policy.suspend = true, 30, "create 13:15,13:30; wait suspended x2 (2)"),
    (
        "a legal hold",
        |policy, _| policy.legal_hold = true,
        30,
        "put 2h/1h held; create 13:15,13:30; wait hold x2 (2)",
    ),
    (
        "both: the hold is named",
        |policy, _| (policy.suspend, policy.legal_hold) = (true, true),
        30,
        "put 2h/1h held; create 13:15,13:30; wait hold x2 (2)",
    ),
    ("tried out", |policy, _| policy.dry_run = true, 30, "create 13:15,13:30; wait dry-run x2 (2)"),
    (
        "tried out, with a legal hold, which counts at once",
        |policy, _| (policy.dry_run, policy.legal_hold) = (true, true),
        30,
        "put 2h/1h held; create 13:15,13:30; wait hold x2 (2)",
    ),
    (
        "a hold is lifted",
        |_, catalogue| class_of(catalogue).legal_hold = true,
        15,
        "put 2h/1h; create 13:15; detach 10:00",
    ),
    (
        "suspended, with a leaf whose grace period is over",
        |policy, catalogue| {
            policy.suspend = true;
            leaf_of(catalogue, 120).state = LeafState::Detached { at_us: Some(NOON) };
        },
        60,
        "wait suspended x4 (4)",
    ),
    (
        "suspended, and empty leaves that nobody needs",
        |policy, _| policy.suspend = true,
        90,
        "wait suspended x6 (6)",
    ),
];

const LONGER: &[Row] = &[
    ("in force at once", |policy, _| keep(policy, 3 * HOUR), 0, "put 3h/1h"),
    ("what had expired stays", |policy, _| keep(policy, 3 * HOUR), 30, "put 3h/1h; create 13:15,13:30"),
    (
        "what was detached comes back",
        |policy, catalogue| {
            keep(policy, 3 * HOUR);
            leaf_of(catalogue, 120).state = LeafState::Detached { at_us: Some(NOON) };
        },
        15,
        "put 3h/1h; create 13:15; reattach 10:00",
    ),
    (
        "while suspended",
        |policy, _| {
            keep(policy, 3 * HOUR);
            policy.suspend = true;
        },
        0,
        "put 3h/1h",
    ),
    (
        "tried out",
        |policy, _| {
            keep(policy, 3 * HOUR);
            policy.dry_run = true;
        },
        0,
        "wait dry-run x1 (0)",
    ),
    ("a longer grace period", |policy, _| policy.grace_us = 2 * HOUR, 0, "put 2h/2h"),
    (
        "a longer retention and a shorter grace period",
        |policy, _| {
            keep(policy, 3 * HOUR);
            policy.grace_us = 0;
        },
        0,
        "put 3h/1h soon 3h/0s at 12:01; wait until x1 (0)",
    ),
];

const GRACE: &[Row] = &[
    (
        "shorter: announced",
        |policy, _| policy.grace_us = 0,
        0,
        "put 2h/1h soon 2h/0s at 12:01; wait until x1 (0)",
    ),
    (
        "it runs",
        |_, catalogue| leaf_of(catalogue, 120).state = LeafState::Detached { at_us: Some(NOON) },
        30,
        "create 13:15,13:30; detach 10:15; wait until x1 (1)",
    ),
    (
        "it is over",
        |_, catalogue| leaf_of(catalogue, 120).state = LeafState::Detached { at_us: Some(NOON) },
        60,
        "drop 10:00; detach 10:15,10:30,10:45",
    ),
    (
        "nobody noted when it began",
        |_, catalogue| leaf_of(catalogue, 120).state = LeafState::Detached { at_us: None },
        15,
        "create 13:15; mark-detached 10:00",
    ),
    (
        "what is empty has none",
        |_, catalogue| {
            let leaf = leaf_of(catalogue, 120);
            (leaf.empty, leaf.bytes) = (true, 0);
            leaf.state = LeafState::Detached { at_us: Some(NOON + 15 * MINUTE) };
        },
        15,
        "create 13:15; drop 10:00",
    ),
    (
        "a shorter one that ends it for more than the limit",
        |policy, catalogue| {
            policy.grace_us = 0;
            policy.drop_limit.partitions = 1;
            for minutes in [120, 105] {
                leaf_of(catalogue, minutes).state = LeafState::Detached { at_us: Some(NOON) };
            }
        },
        30,
        "create 13:15,13:30; wait until x2 (2); wait approval x1 (2)",
    ),
];

#[test]
fn each_row_is_planned_as_it_says_and_passes_the_lint() {
    let there = [TIME_PASSES, HOLDS, SHORTER, LONGER, GRACE, DRIFTED, THERE_AGAIN].concat();
    let rows = there.iter().map(|row| (row, true)).chain(DELETED.iter().map(|row| (row, false)));
    let mut wrong = Vec::new();
    for ((name, edit, minutes, expected), is_there) in rows {
        let mut policy = policy("shop", 2 * HOUR);
        let mut catalogue = stored(std::slice::from_ref(&policy));
        edit(&mut policy, &mut catalogue);
        let policies = if is_there { vec![policy] } else { Vec::new() };
        let now_us = NOON + minutes * MINUTE;
        let planned = plan(&policies, &catalogue, now_us, &TUNING);
        let said = summary(&planned);
        if said != *expected {
            wrong.push(format!("{name}: {said:?} instead of {expected:?}"));
        }
        let findings = lint(&planned, &in_force(&policies), &catalogue, now_us, &TUNING);
        let fatal = findings.iter().filter(|finding| finding.fatal);
        wrong.extend(fatal.map(|finding| format!("{name}: {} {}", finding.subject, finding.message)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(there.len() + DELETED.len() >= 60, "{} rows", there.len() + DELETED.len());
}
