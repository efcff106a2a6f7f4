//! Golden tables of plan text: a catalogue, a change, and what the plan then says.

use super::*;
use crate::retention::class;
use crate::retention::{DropLimit, Match, PerLevel, lint};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2026-11-18T12:00:00Z.
const NOON: i64 = 1_795_003_200_000_000;

const NO_NOTICE: Tuning = Tuning::with_notice(0);

fn policy(name: &str, retention: i64) -> Policy {
    Policy {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        generation: 1,
        priority: 1,
        matches: Match { tenants: vec![format!("{name}-*")], ..Match::default() },
        retention_us: PerLevel::of(|_| retention),
        grace_us: HOUR,
        drop_limit: DropLimit { partitions: 3, bytes: 1 << 30 },
        detach_per_pass: None,
        suspend: false,
        legal_hold: false,
        dry_run: false,
        approval: None,
        written_by: crate::retention::WrittenBy::default(),
    }
}

/// Plans and applies until nothing is left to do.
fn settle(policies: &[Policy], catalogue: &mut Catalogue, now_us: i64, tuning: &Tuning) {
    for _ in 0..100 {
        let plan = plan(policies, catalogue, now_us, tuning);
        let findings = lint(&plan, &in_force(policies), catalogue, now_us, tuning);
        assert!(!findings.iter().any(|finding| finding.fatal), "{findings:?}\n{plan}");
        if plan.is_empty() {
            assert_eq!(findings, []);
            return;
        }
        for planned in &plan.steps {
            catalogue.apply(&planned.step, now_us);
        }
    }
    panic!("does not converge");
}

fn settled(policies: &[Policy]) -> Catalogue {
    let mut catalogue = Catalogue::default();
    settle(policies, &mut catalogue, NOON, &NO_NOTICE);
    catalogue
}

/// Records of `shop` at DEBUG wait for these leaves.
fn want(catalogue: &mut Catalogue, from_us: i64, to_us: i64) {
    let class = catalogue.class("shop", PolicyLevel::Debug).unwrap().id;
    catalogue.wanted = vec![LeafRef { class, from_us, to_us }];
}

/// Settled, with records of `shop` at DEBUG in every leaf of the last two hours and of this moment.
fn stored(policies: &[Policy]) -> Catalogue {
    let mut catalogue = settled(policies);
    want(&mut catalogue, NOON - 2 * HOUR, NOON + 1);
    settle(policies, &mut catalogue, NOON, &NO_NOTICE);
    catalogue.wanted.clear();
    for leaf in &mut catalogue.leaves {
        (leaf.empty, leaf.bytes, leaf.blocks) = (false, 1 << 20, 1);
    }
    settle(policies, &mut catalogue, NOON, &NO_NOTICE);
    catalogue
}

/// The plan's text for one class, runs of created leaves as one line.
fn text(plan: &Plan, class: i32) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut created: Vec<LeafRef> = Vec::new();
    for planned in plan.steps.iter().filter(|planned| planned.step.class() == Some(ClassId(class))) {
        match &planned.step {
            Step::CreateLeaf(leaf) => created.push(*leaf),
            step => lines.push(format!("{step}  # {}", planned.why)),
        }
    }
    if let (Some(first), Some(last)) =
        (created.iter().map(|leaf| leaf.from_us).min(), created.iter().map(|leaf| leaf.to_us).max())
    {
        let (first, last) = (duration::time(first), duration::time(last));
        lines.push(format!("create {} leaves [{first} .. {last})", created.len()));
    }
    lines.extend(
        plan.held.iter().filter(|held| held.class == Some(ClassId(class))).map(|held| format!("held {held}")),
    );
    lines.join("\n")
}

#[track_caller]
fn check(actual: &str, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(actual.lines().collect::<Vec<_>>(), expected, "\n{actual}\n");
}

/// 138 tables were made for a policy before a line of it was stored.
#[test]
fn a_new_policy_gets_classes_and_its_records_get_leaves() {
    let policies = [policy("shop", 2 * HOUR)];
    let new = plan(&policies, &Catalogue::default(), NOON, &NO_NOTICE);
    let kinds: Vec<&str> = new.steps.iter().map(|planned| planned.step.kind()).collect();
    assert_eq!(kinds, [vec!["put-class"; 8], vec!["put-routes"]].concat());
    let mut catalogue = settled(&policies);
    assert_eq!(catalogue.tables(), 0);
    // Classes 1 to 4 are the built-in policy's, 5 is shop/debug.
    want(&mut catalogue, NOON - 15 * MINUTE, NOON);
    check(
        &text(&plan(&policies, &catalogue, NOON, &NO_NOTICE), 5),
        "create-class blocks_c5  # its table is missing
         create 1 leaves [2026-11-18T11:45:00Z .. 2026-11-18T12:00:00Z)",
    );
    settle(&policies, &mut catalogue, NOON, &NO_NOTICE);
    assert_eq!(catalogue.tables(), 2);
    catalogue.wanted.clear();
    catalogue.leaves[0].empty = false;
    check(
        &text(&plan(&policies, &catalogue, NOON, &NO_NOTICE), 5),
        "create 5 leaves [2026-11-18T12:00:00Z .. 2026-11-18T13:15:00Z)",
    );
    settle(&policies, &mut catalogue, NOON, &NO_NOTICE);
    // No more records: what is empty goes.
    settle(&policies, &mut catalogue, NOON + HOUR, &NO_NOTICE);
    assert_eq!(catalogue.leaves.len(), 1);
}

/// The state that the version before left: 110 empty leaves for late records, a dozen and more ahead, of other widths.
#[test]
fn empty_leaves_of_the_older_scheme_are_let_go_of_and_the_others_stay() {
    let policies = [policy("shop", DAY)];
    let mut catalogue = settled(&policies);
    let class = catalogue.class("shop", PolicyLevel::Debug).unwrap().id;
    catalogue.apply(&Step::CreateClassTable { class }, NOON);
    let hour = |n: i64| LeafRef { class, from_us: NOON + n * HOUR, to_us: NOON + (n + 1) * HOUR };
    for n in -24..13 {
        catalogue.apply(&Step::CreateLeaf(hour(n)), NOON);
    }
    for n in [-20, -3, 0] {
        let leaf = catalogue.leaves.iter_mut().find(|leaf| leaf.key() == hour(n)).unwrap();
        (leaf.empty, leaf.bytes) = (false, 1 << 20);
    }
    // A record waits for a time in the past of which nothing is there any more, one for a leaf that is still there.
    catalogue.wanted = vec![
        LeafRef { class, from_us: NOON - 9 * HOUR, to_us: NOON - 6 * HOUR },
        LeafRef { class, from_us: NOON - 27 * HOUR, to_us: NOON - 24 * HOUR },
    ];
    let first = plan(&policies, &catalogue, NOON, &NO_NOTICE);
    let detached = first.dropping().filter(|planned| matches!(planned.step, Step::Detach(_))).count();
    assert_eq!(detached, 3, "as many as dropLimit allows at once");
    settle(&policies, &mut catalogue, NOON, &NO_NOTICE);
    let left: Vec<i64> = catalogue
        .leaves_of(class)
        .iter()
        .filter(|leaf| leaf.from_us < NOON - 12 * HOUR || !leaf.empty || leaf.from_us < NOON - 5 * HOUR)
        .map(|leaf| (leaf.from_us - NOON) / HOUR)
        .filter(|hour| *hour < -12 || [-9, -8, -7, -3, 0].contains(hour))
        .collect();
    assert_eq!(left, [-20, -9, -8, -7, -3, 0]);
    // The hourly leaves about now stay until they are past, and no other overlaps them.
    assert!(catalogue.leaf(hour(3)).is_some());
    assert!(catalogue.leaves.len() < 37, "{} leaves", catalogue.leaves.len());
}

/// Beyond it searches and pg_dump end with `out of shared memory`.
#[test]
fn no_more_tables_are_planned_than_the_server_bears() {
    let policies = [policy("shop", 2 * HOUR), policy("zoo", 2 * HOUR)];
    let mut catalogue = stored(&policies);
    let tables = catalogue.tables();
    catalogue.lock_slots = Some(3 * tables as i64);
    let zoo = catalogue.class("zoo", PolicyLevel::Error).unwrap().id;
    catalogue.wanted = vec![LeafRef { class: zoo, from_us: NOON - HOUR, to_us: NOON }];
    let plan_now = plan(&policies, &catalogue, NOON, &NO_NOTICE);
    assert_eq!(plan_now.steps, []);
    assert_eq!(plan_now.held.len(), 1);
    assert_eq!(
        plan_now.held[0].to_string(),
        "zoo: create-class blocks_c12 waits for room: the server's lock table bears 14 tables of partitions; \
         use fewer policies, or raise max_locks_per_transaction"
    );
    assert_eq!(lint(&plan_now, &in_force(&policies), &catalogue, NOON, &NO_NOTICE), []);
    // Who is there already goes on for a while.
    let later = plan(&policies, &catalogue, NOON + 15 * MINUTE, &NO_NOTICE);
    assert!(later.creating().all(|planned| planned.policy == "shop") && later.creating().count() == 1);
    catalogue.lock_slots = Some(6 * tables as i64);
    settle(&policies, &mut catalogue, NOON, &NO_NOTICE);
    assert!(catalogue.leaves_of(zoo).iter().any(|leaf| leaf.from_us == NOON - HOUR));
}

#[test]
fn what_expired_is_detached_then_dropped_after_the_grace_period() {
    let policies = [policy("shop", 2 * HOUR)];
    let mut catalogue = stored(&policies);
    let later = NOON + 30 * MINUTE;
    let next = plan(&policies, &catalogue, later, &NO_NOTICE);
    check(
        &text(&next, 5),
        "detach blocks_c5_20261118t1000 [2026-11-18T10:00:00Z .. 2026-11-18T10:15:00Z)  # expired since 2026-11-18T12:15:00Z
         detach blocks_c5_20261118t1015 [2026-11-18T10:15:00Z .. 2026-11-18T10:30:00Z)  # expired since 2026-11-18T12:30:00Z
         create 2 leaves [2026-11-18T13:15:00Z .. 2026-11-18T13:45:00Z)",
    );
    for planned in &next.steps {
        catalogue.apply(&planned.step, later);
    }
    let waiting = plan(&policies, &catalogue, later + 4 * MINUTE, &NO_NOTICE);
    check(
        &text(&waiting, 5),
        "held shop: drop blocks_c5_20261118t1000 [2026-11-18T10:00:00Z .. 2026-11-18T10:15:00Z) (1 partitions, 1.0 MiB) waits until 2026-11-18T13:30:00Z
         held shop: drop blocks_c5_20261118t1015 [2026-11-18T10:15:00Z .. 2026-11-18T10:30:00Z) (1 partitions, 1.0 MiB) waits until 2026-11-18T13:30:00Z",
    );
    let over = plan(&policies, &catalogue, later + HOUR, &NO_NOTICE);
    let drops: Vec<String> = over
        .dropping()
        .filter(|planned| {
            matches!(planned.step, Step::Drop(_)) && planned.policy == "shop" && planned.bytes > 0
        })
        .map(|planned| planned.why.clone())
        .collect();
    assert_eq!(drops, ["detached 2026-11-18T12:30:00Z, grace period over 2026-11-18T13:30:00Z"; 2]);
}

#[test]
fn a_shorter_retention_is_announced_then_in_force_then_detaches() {
    let tuning = Tuning::with_notice(MINUTE);
    let mut policies = [policy("shop", 2 * HOUR)];
    let mut catalogue = stored(&policies);
    policies[0].retention_us.debug = 90 * MINUTE;
    let announced = plan(&policies, &catalogue, NOON, &tuning);
    check(
        &text(&announced, 5),
        "put-class blocks_c5 = shop/debug retention 2h grace 1h, announced retention 1h30m grace 1h from 2026-11-18T12:01:00Z  # retention 2h -> 1h30m
         held shop: debug: retention 2h -> 1h30m (2 partitions, 2.0 MiB) waits until 2026-11-18T12:01:00Z",
    );
    settle(&policies, &mut catalogue, NOON, &tuning);
    assert_eq!(catalogue.class("shop", PolicyLevel::Debug).unwrap().retention_us, 2 * HOUR);
    let in_force = plan(&policies, &catalogue, NOON + MINUTE, &tuning);
    check(
        &text(&in_force, 5),
        "put-class blocks_c5 = shop/debug retention 1h30m grace 1h  # retention 2h -> 1h30m",
    );
    catalogue.apply(&in_force.steps[0].step, NOON + MINUTE);
    let gone = plan(&policies, &catalogue, NOON + MINUTE, &tuning);
    assert_eq!(
        gone.dropping()
            .filter(|planned| matches!(planned.step, Step::Detach(_)) && planned.bytes > 0)
            .count(),
        2
    );
}

#[test]
fn a_typo_is_held_by_the_limit_and_undone_by_undoing() {
    let mut policies = [policy("shop", 2 * HOUR)];
    let mut catalogue = stored(&policies);
    policies[0].retention_us.debug = 2 * MINUTE;
    let held = plan(&policies, &catalogue, NOON, &NO_NOTICE);
    check(
        &text(&held, 5),
        "held shop: debug: retention 2h -> 2m (7 partitions, 7.0 MiB) waits for approval of plan 686788921e15984c: more than dropLimit allows (3 partitions, 1.0 GiB); undo the change, or approve it: kubectl annotate logretentionpolicies.cordwood.dev shop cordwood.dev/approve-plan=686788921e15984c --overwrite",
    );
    settle(&policies, &mut catalogue, NOON, &NO_NOTICE);
    policies[0].retention_us.debug = 2 * HOUR;
    assert_eq!(plan(&policies, &catalogue, NOON, &NO_NOTICE), Plan::default());
}

/// A table that somebody attached lay where records waited: each pass tried to create a partition there, and failed.
#[test]
fn nothing_is_created_where_a_foreign_table_lies() {
    use crate::retention::{Drift, Strange};
    let policies = [policy("shop", 2 * HOUR)];
    let mut catalogue = settled(&policies);
    want(&mut catalogue, NOON - HOUR, NOON);
    let class = catalogue.class("shop", PolicyLevel::Debug).unwrap().id;
    let taken = (NOON - 50 * MINUTE, NOON - 20 * MINUTE);
    catalogue.drift.push(Drift {
        class: Some(class),
        table: "theirs".to_owned(),
        what: Strange::Foreign,
        taken: vec![taken],
    });
    let created: Vec<(i64, i64)> = plan(&policies, &catalogue, NOON, &NO_NOTICE)
        .creating()
        .filter_map(|planned| planned.step.leaf())
        .map(|leaf| ((leaf.from_us - NOON) / MINUTE, (leaf.to_us - NOON) / MINUTE))
        .collect();
    assert_eq!(created, [(-15, 0), (-20, -15), (-60, -50)].map(|(from, to): (i64, i64)| (from, to)));
}

/// A policy that is tried out changes nothing, whatever it says; its plan is shown; and what was in force goes on.
#[test]
fn a_policy_that_is_tried_out_shows_its_plan_and_does_nothing() {
    // One that never was in force gets no class and no route.
    let new = Policy { dry_run: true, ..policy("shop", 2 * HOUR) };
    let mut catalogue = settled(std::slice::from_ref(&new));
    assert!(catalogue.classes.iter().all(|class| class.policy == "default"));
    let tried = plan(std::slice::from_ref(&new), &catalogue, NOON, &NO_NOTICE);
    assert!(tried.is_empty(), "{tried}");
    assert_eq!(tried.held.iter().filter(|held| held.waits == Waits::DryRun).count(), 4, "{tried}");

    // One that is in force: a shorter retention, within its limit, is shown, and so is what goes by it.
    let before = policy("shop", 2 * HOUR);
    catalogue = stored(std::slice::from_ref(&before));
    let mut shorter = Policy { dry_run: true, ..before.clone() };
    shorter.retention_us.debug = HOUR + 30 * MINUTE;
    settle(std::slice::from_ref(&shorter), &mut catalogue, NOON, &NO_NOTICE);
    let tried = plan(std::slice::from_ref(&shorter), &catalogue, NOON, &NO_NOTICE);
    check(
        &text(&tried, 5),
        "held shop: put-class blocks_c5 = shop/debug retention 1h30m grace 1h (2 partitions, 2.0 MiB) waits while its mode is Plan",
    );
    assert_eq!(catalogue.class("shop", PolicyLevel::Debug).unwrap().retention_us, 2 * HOUR);
    // What expires by the retention in force stays, too, and its records get partitions.
    let later = NOON + 5 * HOUR;
    want(&mut catalogue, later - MINUTE, later);
    let tried = plan(std::slice::from_ref(&shorter), &catalogue, later, &NO_NOTICE);
    assert_eq!(tried.dropping().count(), 0, "{tried}");
    assert!(tried.creating().any(|planned| matches!(planned.step, Step::CreateLeaf(_))), "{tried}");
    let waits = |held: &&Held| held.waits == Waits::DryRun && held.what.starts_with("detach");
    assert!(tried.held.iter().filter(waits).count() > 0, "{tried}");
    // In earnest, all of it is done.
    let plan = plan(&[Policy { dry_run: false, ..shorter }], &catalogue, later, &NO_NOTICE);
    assert!(plan.dropping().count() > 0, "{plan}");
}

/// `24h -> 0s` by mistake: what had been detached was dropped in the next pass, whatever the limit said.
#[test]
fn a_shorter_grace_period_is_announced_and_limited_as_a_shorter_retention_is() {
    let tuning = Tuning::with_notice(MINUTE);
    let mut policies = [policy("shop", 2 * HOUR)];
    let mut catalogue = stored(&policies);
    let begun = NOON + 30 * MINUTE;
    settle(&policies, &mut catalogue, begun, &NO_NOTICE);
    policies[0].grace_us = 0;
    check(
        &text(&plan(&policies, &catalogue, begun, &tuning), 5),
        "put-class blocks_c5 = shop/debug retention 2h grace 1h, announced retention 2h grace 0s from 2026-11-18T12:31:00Z  # grace period 1h -> 0s
         held shop: debug: grace period 1h -> 0s (2 partitions, 2.0 MiB) waits until 2026-11-18T12:31:00Z
         held shop: drop blocks_c5_20261118t1000 [2026-11-18T10:00:00Z .. 2026-11-18T10:15:00Z) (1 partitions, 1.0 MiB) waits until 2026-11-18T13:30:00Z
         held shop: drop blocks_c5_20261118t1015 [2026-11-18T10:15:00Z .. 2026-11-18T10:30:00Z) (1 partitions, 1.0 MiB) waits until 2026-11-18T13:30:00Z",
    );
    let drops = |catalogue: &Catalogue, policies: &[Policy], now_us| {
        let plan = plan(policies, catalogue, now_us, &tuning);
        let dropped = |planned: &&Planned| matches!(planned.step, Step::Drop(_)) && planned.bytes > 0;
        plan.dropping().filter(dropped).count()
    };
    settle(&policies, &mut catalogue, begun, &tuning);
    assert_eq!(drops(&catalogue, &policies, begun + MINUTE / 2), 0);
    let mut in_force = catalogue.clone();
    for planned in plan(&policies, &in_force.clone(), begun + MINUTE, &tuning).creating() {
        in_force.apply(&planned.step, begun + MINUTE);
    }
    assert_eq!(drops(&in_force, &policies, begun + MINUTE), 2);
    // More than the limit: it waits for approval, and the long grace period goes on meanwhile.
    policies[0].drop_limit.partitions = 1;
    settle(&policies, &mut catalogue, begun + MINUTE, &tuning);
    let held = plan(&policies, &catalogue, begun + MINUTE, &tuning).held;
    assert!(held.iter().any(|held| matches!(held.waits, Waits::Approval(_))), "{held:?}");
    assert_eq!(drops(&catalogue, &policies, begun + 2 * MINUTE), 0);
    // An ordinary end of the grace period is held by no limit.
    assert_eq!(drops(&catalogue, &policies, begun + HOUR), 2);
}

/// A grace period of nothing, asked for just before an announced retention was in force, came into force with it.
#[test]
fn what_is_shorter_than_announced_is_announced_anew() {
    let tuning = Tuning::with_notice(HOUR);
    let mut policies = [policy("shop", 2 * HOUR)];
    let mut catalogue = settled(&policies);
    let debug = |catalogue: &Catalogue| catalogue.class("shop", PolicyLevel::Debug).unwrap().clone();
    policies[0].retention_us.debug = 110 * MINUTE;
    settle(&policies, &mut catalogue, NOON, &tuning);
    let effective_from = |catalogue: &Catalogue| {
        debug(catalogue).wanted.map(|wanted| (wanted.effective_from_us - NOON) / MINUTE)
    };
    assert_eq!(effective_from(&catalogue), Some(60));
    // Less short than announced: the notice covers it.
    policies[0].retention_us.debug = 115 * MINUTE;
    settle(&policies, &mut catalogue, NOON + 10 * MINUTE, &tuning);
    assert_eq!(effective_from(&catalogue), Some(60));
    policies[0].grace_us = 0;
    settle(&policies, &mut catalogue, NOON + 59 * MINUTE, &tuning);
    assert_eq!(effective_from(&catalogue), Some(119));
    let before = debug(&catalogue);
    assert_eq!((before.retention_us, before.grace_us), (2 * HOUR, HOUR));
    policies[0].retention_us.debug = 100 * MINUTE;
    settle(&policies, &mut catalogue, NOON + 100 * MINUTE, &tuning);
    assert_eq!(effective_from(&catalogue), Some(160));
    settle(&policies, &mut catalogue, NOON + 160 * MINUTE, &tuning);
    let after = debug(&catalogue);
    assert_eq!((after.retention_us, after.grace_us, after.wanted), (100 * MINUTE, 0, None));
}

/// The ledger had the hash of the whole plan, the status that of the policy's part.
#[test]
fn a_policy_s_part_of_a_plan_is_named_whatever_else_is_planned() {
    let alone = plan(&[policy("shop", 2 * HOUR)], &Catalogue::default(), NOON, &NO_NOTICE);
    let beside =
        plan(&[policy("shop", 2 * HOUR), policy("zoo", HOUR)], &Catalogue::default(), NOON, &NO_NOTICE);
    assert_ne!(alone.hash(), beside.hash());
    assert_eq!(alone.part("shop").hash(), beside.part("shop").hash());
    assert_eq!(beside.part("shop").part("shop").hash(), beside.part("shop").hash());
}

#[test]
fn raised_within_the_grace_period_the_leaves_come_back() {
    let mut policies = [policy("shop", 2 * HOUR)];
    let mut catalogue = stored(&policies);
    let later = NOON + 15 * MINUTE;
    settle(&policies, &mut catalogue, later, &NO_NOTICE);
    policies[0].retention_us.debug = 3 * HOUR;
    let raised = plan(&policies, &catalogue, later, &NO_NOTICE);
    check(
        &text(&raised, 5),
        "put-class blocks_c5 = shop/debug retention 3h grace 1h  # retention 2h -> 3h
         reattach blocks_c5_20261118t1000 [2026-11-18T10:00:00Z .. 2026-11-18T10:15:00Z)  # not expired: retention is 3h",
    );
}

#[test]
fn suspended_and_held_policies_make_room_but_take_nothing_away() {
    for (suspend, legal_hold, waits) in
        [(true, false, "while the policy is suspended"), (true, true, "while the legal hold lasts")]
    {
        let mut policies = [policy("shop", 2 * HOUR)];
        let catalogue = stored(&policies);
        (policies[0].suspend, policies[0].legal_hold) = (suspend, legal_hold);
        let plan = plan(&policies, &catalogue, NOON + 30 * MINUTE, &NO_NOTICE);
        assert!(plan.dropping().all(|planned| planned.policy != "shop"), "{plan}");
        assert!(plan.creating().any(|planned| planned.policy == "shop"));
        assert!(plan.held.iter().any(|held| held.to_string().ends_with(waits)), "{plan}");
    }
}

#[test]
fn a_deleted_policy_keeps_its_promise() {
    let policies = [policy("shop", 2 * HOUR)];
    let mut catalogue = stored(&policies);
    let deleted = plan(&[], &catalogue, NOON, &NO_NOTICE);
    assert!(
        matches!(&deleted.steps[0].step, Step::PutRoutes(routes) if routes.routes().len() == 1),
        "{deleted}"
    );
    // Only what is empty goes at once, a few in each run.
    for planned in deleted.dropping() {
        assert_eq!(planned.why, "empty, and no record waits for it");
    }
    settle(&[], &mut catalogue, NOON, &NO_NOTICE);
    let kept = catalogue.leaves_of(catalogue.class("shop", PolicyLevel::Debug).unwrap().id).len();
    assert_eq!(kept, 9);
    settle(&[], &mut catalogue, NOON + 2 * HOUR, &NO_NOTICE);
    settle(&[], &mut catalogue, NOON + 3 * HOUR, &NO_NOTICE);
    settle(&[], &mut catalogue, NOON + 4 * HOUR, &NO_NOTICE);
    assert_eq!(catalogue.leaves_of(catalogue.class("shop", PolicyLevel::Debug).unwrap().id).len(), 0);
}

#[test]
fn drift_is_repaired() {
    let policies = [policy("shop", 2 * HOUR)];
    let mut catalogue = stored(&policies);
    let class = catalogue.class("shop", PolicyLevel::Debug).unwrap().id;
    let mut states =
        [LeafState::Missing, LeafState::Detaching, LeafState::Detached { at_us: None }].into_iter();
    for leaf in catalogue
        .leaves
        .iter_mut()
        .filter(|leaf| leaf.class == class && leaf.from_us >= NOON - 15 * MINUTE)
        .take(3)
    {
        leaf.state = states.next().unwrap();
    }
    catalogue.classes.iter_mut().find(|known| known.id == class).unwrap().has_table = false;
    let plan = plan(&policies, &catalogue, NOON, &NO_NOTICE);
    let kinds: Vec<&str> = plan.steps.iter().map(|planned| planned.step.kind()).collect();
    assert_eq!(kinds, ["create-class", "create", "reattach", "finalize-detach"], "{plan}");
    settle(&policies, &mut catalogue, NOON, &NO_NOTICE);
    assert!(catalogue.leaves_of(class).iter().all(|leaf| leaf.state == LeafState::Attached));
}

#[test]
fn records_that_were_carried_over_get_their_leaves() {
    let policies = [policy("shop", 90 * DAY)];
    let mut catalogue = settled(&policies);
    let (from_us, to_us) = class::bucket_us(90 * DAY, NOON - 60 * DAY);
    want(&mut catalogue, from_us, to_us);
    let plan = plan(&policies, &catalogue, NOON, &NO_NOTICE);
    let oldest = plan.steps.iter().filter_map(|planned| planned.step.leaf()).map(|leaf| leaf.from_us).min();
    assert!(oldest.is_some_and(|from| from <= NOON - 60 * DAY), "{plan}");
    assert!(oldest.is_some_and(|from| from > NOON - 70 * DAY), "{plan}");
}

#[test]
fn the_lint_refuses_what_the_planner_would_never_plan() {
    let mut policies = vec![policy("shop", 2 * HOUR)];
    let catalogue = stored(&policies);
    policies.push(Policy::builtin());
    let class = catalogue.class("shop", PolicyLevel::Debug).unwrap().id;
    let leaf = catalogue.leaves_of(class)[0].key();
    let planned = |step| Planned::new(step, "shop", "");
    let messages = |steps: Vec<Step>, policies: &[Policy], now| {
        let plan = Plan { steps: steps.into_iter().map(planned).collect(), held: Vec::new() };
        lint(&plan, policies, &catalogue, now, &NO_NOTICE)
            .into_iter()
            .map(|finding| finding.message)
            .collect::<Vec<_>>()
            .join("; ")
    };
    let expired = leaf.to_us + 2 * HOUR;
    assert!(messages(vec![Step::Detach(leaf)], &policies, expired - 1).contains("not expired"));
    assert_eq!(messages(vec![Step::Detach(leaf)], &policies, expired), "");
    assert!(messages(vec![Step::Drop(leaf)], &policies, expired).contains("before it was detached"));
    let many = catalogue_leaves(&catalogue, class).into_iter().take(4).map(Step::Detach).collect::<Vec<_>>();
    assert!(messages(many, &policies, NOON + DAY).contains("4 partitions go at once"));
    let overlapping = LeafRef { class, from_us: leaf.from_us + MINUTE, to_us: leaf.to_us };
    assert!(messages(vec![Step::CreateLeaf(overlapping)], &policies, NOON).contains("overlaps"));
    let mut wanting = catalogue.clone();
    want(&mut wanting, NOON + HOUR, NOON + 2 * HOUR);
    let messages_of = |steps: Vec<Step>, slots| {
        let plan = Plan { steps: steps.into_iter().map(planned).collect(), held: Vec::new() };
        let catalogue = Catalogue { lock_slots: slots, ..wanting.clone() };
        let findings = lint(&plan, &policies, &catalogue, NOON, &NO_NOTICE).into_iter();
        findings.map(|finding| finding.message).collect::<Vec<_>>().join("; ")
    };
    assert!(messages_of(Vec::new(), None).contains("no partition for records"));
    // What is empty goes before it expires, but not while a record waits for it.
    let empty = |at: i64| wanting.leaves_of(class).into_iter().find(|leaf| leaf.from_us == at).unwrap().key();
    assert!(!messages_of(vec![Step::Detach(empty(NOON + 15 * MINUTE))], None).contains("not expired"));
    assert!(messages_of(vec![Step::Detach(empty(NOON + HOUR))], None).contains("not expired"));
    let far = LeafRef { class, from_us: NOON + DAY, to_us: NOON + DAY + HOUR };
    assert!(messages_of(vec![Step::CreateLeaf(far)], Some(20)).contains("lock table"));
    let mut held = policies.clone();
    held[0].suspend = true;
    assert!(messages(vec![Step::Detach(leaf)], &held, expired).contains("suspended"));
}

fn catalogue_leaves(catalogue: &Catalogue, class: ClassId) -> Vec<LeafRef> {
    catalogue.leaves_of(class).into_iter().map(Leaf::key).collect()
}

#[test]
fn the_higher_priority_then_the_longer_retention_wins_in_the_plan_too() {
    let mut policies = vec![policy("a", HOUR), policy("b", 2 * HOUR)];
    policies.iter_mut().for_each(|policy| policy.matches = Match::default());
    let catalogue = settled(&policies);
    let routes = catalogue.routes.as_ref().unwrap();
    let key = crate::retention::RouteKey { tenant: "t", namespace: "n", service: "s", audit: false };
    let winner = routes.class_of(&key, crate::level::Level::Info).unwrap();
    assert_eq!(catalogue.class_by_id(winner).unwrap().policy, "b");
    assert_eq!(crate::retention::routes::conflicts(&policies).len(), 1);
}

#[test]
fn of_more_leaves_than_one_plan_creates_those_nearest_to_now_come_first() {
    let mut policies = [policy("shop", HOUR)];
    policies[0].legal_hold = true;
    let mut catalogue = settled(&policies);
    let width_us = class::interval_us(HOUR);
    let to_us = class::align_down(NOON, width_us) + width_us;
    want(&mut catalogue, to_us - 1000 * width_us, to_us);
    let plan = plan(&policies, &catalogue, NOON, &NO_NOTICE);
    let made: Vec<i64> =
        plan.steps.iter().filter_map(|planned| planned.step.leaf()).map(|leaf| leaf.from_us).collect();
    assert_eq!(made.len(), 500);
    assert_eq!(made.iter().max(), Some(&(to_us - width_us)));
    assert_eq!(made.iter().min(), Some(&(to_us - 500 * width_us)));
}

#[path = "plan_horizon_tests.rs"]
mod horizon;

#[path = "plan_hold_tests.rs"]
mod hold;
#[path = "plan_rows_tests.rs"]
mod rows;
