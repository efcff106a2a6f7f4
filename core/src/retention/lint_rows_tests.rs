//! What the lint says to plans that somebody else made, of the same class.

use super::*;

/// Its name, the edit, minutes after noon, the steps, part of what the lint says (nothing: it has no objection).
type LintRow = (&'static str, Edit, i64, fn() -> Vec<Step>, &'static str);

fn no_step() -> Vec<Step> {
    Vec::new()
}

fn detach_first() -> Vec<Step> {
    vec![Step::Detach(key(120))]
}

fn drop_first() -> Vec<Step> {
    vec![Step::Drop(key(120))]
}

fn detached(catalogue: &mut Catalogue) {
    leaf_of(catalogue, 120).state = LeafState::Detached { at_us: Some(NOON + 15 * MINUTE) };
}

fn emptied(catalogue: &mut Catalogue) {
    (leaf_of(catalogue, 120).empty, leaf_of(catalogue, 120).bytes) = (true, 0);
}

const OBJECTIONS: &[LintRow] = &[
    ("expired", same, 15, detach_first, ""),
    ("a minute too early", same, 14, detach_first, "can hold records that are not expired"),
    ("the policy keeps longer", |policy, _| keep(policy, 3 * HOUR), 15, detach_first, "not expired"),
    (
        "the database keeps longer",
        |policy, catalogue| {
            keep(policy, HOUR);
            class_of(catalogue).retention_us = 3 * HOUR;
        },
        15,
        detach_first,
        "not expired",
    ),
    (
        "the clock is ahead of the horizon",
        |_, catalogue| catalogue.horizon = Some(Horizon { at_us: NOON - HOUR, clock_us: NOON + 15 * MINUTE }),
        15,
        detach_first,
        "not expired",
    ),
    ("suspended", |policy, _| policy.suspend = true, 15, detach_first, "suspended"),
    ("a legal hold", |policy, _| policy.legal_hold = true, 15, detach_first, "legal hold"),
    ("tried out", |policy, _| policy.dry_run = true, 15, detach_first, "tried out"),
    (
        "a hold of a policy that is gone",
        |policy, catalogue| {
            policy.name = "other".to_owned();
            class_of(catalogue).legal_hold = true;
        },
        15,
        detach_first,
        "legal hold",
    ),
    ("a policy that is gone", |policy, _| policy.name = "other".to_owned(), 15, detach_first, ""),
    (
        "a leaf that is not there",
        |_, catalogue| catalogue.leaves.retain(|leaf| leaf.key() != key(120)),
        15,
        detach_first,
        "does not know it",
    ),
    ("three at once", same, 60, || [120, 105, 90].map(|minutes| Step::Detach(key(minutes))).to_vec(), ""),
    (
        "four at once",
        same,
        60,
        || [120, 105, 90, 75].map(|minutes| Step::Detach(key(minutes))).to_vec(),
        "4 partitions go at once, dropLimit.partitions is 3",
    ),
    (
        "two at once where a pass detaches one",
        |policy, _| policy.detach_per_pass = Some(1),
        60,
        || [120, 105].map(|minutes| Step::Detach(key(minutes))).to_vec(),
        "2 partitions go at once, detachPerPass is 1",
    ),
    (
        "four at once where a pass detaches four",
        |policy, _| policy.detach_per_pass = Some(4),
        60,
        || [120, 105, 90, 75].map(|minutes| Step::Detach(key(minutes))).to_vec(),
        "",
    ),
    ("a drop of what is attached", same, 15, drop_first, "before it was detached"),
    (
        "a drop in the grace period",
        |_, catalogue| detached(catalogue),
        74,
        drop_first,
        "for the grace period",
    ),
    ("a drop after the grace period", |_, catalogue| detached(catalogue), 75, drop_first, ""),
    (
        "a drop in the longer grace period of the policy",
        |policy, catalogue| {
            policy.grace_us = 2 * HOUR;
            detached(catalogue);
        },
        75,
        drop_first,
        "for the grace period",
    ),
    (
        "a drop in the longer grace period of the database",
        |_, catalogue| {
            class_of(catalogue).grace_us = 2 * HOUR;
            detached(catalogue);
        },
        75,
        drop_first,
        "for the grace period",
    ),
    (
        "a drop of a detach that nobody noted",
        |_, catalogue| leaf_of(catalogue, 120).state = LeafState::Detached { at_us: None },
        90,
        drop_first,
        "for the grace period",
    ),
    (
        "a drop of what is empty and detached",
        |_, catalogue| {
            detached(catalogue);
            emptied(catalogue);
        },
        16,
        drop_first,
        "",
    ),
    (
        "a drop of what is empty and attached",
        |_, catalogue| emptied(catalogue),
        15,
        drop_first,
        "still attached",
    ),
    ("empty, and no record waits", same, 0, || vec![Step::Detach(key(-60))], ""),
    (
        "empty, and a record waits",
        |_, catalogue| catalogue.wanted = vec![key(-60)],
        0,
        || vec![Step::Detach(key(-60))],
        "not expired",
    ),
    (
        "two leaves for one time",
        same,
        0,
        || vec![Step::CreateLeaf(LeafRef { to_us: key(120).to_us, ..key(115) })],
        "overlaps",
    ),
    (
        "more tables than the server bears",
        |_, catalogue| catalogue.lock_slots = Some(28),
        0,
        || vec![Step::CreateLeaf(key(-120))],
        "lock table",
    ),
    (
        "as many tables as the server bears",
        |_, catalogue| catalogue.lock_slots = Some(30),
        0,
        || vec![Step::CreateLeaf(key(-120))],
        "",
    ),
    (
        "a record waits for no leaf",
        |_, catalogue| hole(catalogue, 60),
        0,
        no_step,
        "no partition for records",
    ),
    (
        "a record waits for a leaf that is made",
        |_, catalogue| hole(catalogue, 60),
        0,
        || vec![Step::CreateLeaf(key(60))],
        "",
    ),
    ("a record waits that has expired", |_, catalogue| catalogue.wanted = vec![key(180)], 0, no_step, ""),
    (
        "none is made ahead",
        |_, catalogue| catalogue.leaves.retain(|leaf| !leaf.empty),
        14,
        no_step,
        "no partition for records",
    ),
];

#[test]
fn each_plan_is_objected_to_as_its_row_says() {
    let mut wrong = Vec::new();
    for (name, edit, minutes, steps, expected) in OBJECTIONS {
        let mut policy = policy("shop", 2 * HOUR);
        let mut catalogue = stored(std::slice::from_ref(&policy));
        edit(&mut policy, &mut catalogue);
        let steps = steps().into_iter().map(|step| Planned::new(step, "shop", "")).collect();
        let given = Plan { steps, held: Vec::new() };
        let findings = lint(&given, &in_force(&[policy]), &catalogue, NOON + minutes * MINUTE, &TUNING);
        let said: Vec<String> = findings.into_iter().map(|finding| finding.message).collect();
        let is_right = match *expected {
            "" => said.is_empty(),
            part => said.iter().any(|message| message.contains(part)),
        };
        if !is_right {
            wrong.push(format!("{name}: {said:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
