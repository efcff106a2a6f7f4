//! Rows of what somebody did to the tables or the policy: by hand, or by deleting it.

use super::*;

pub const DRIFTED: &[Row] = &[
    ("a table is gone", |_, catalogue| leaf_of(catalogue, 60).state = LeafState::Missing, 0, "create 11:00"),
    (
        "a table is gone that had expired",
        |_, catalogue| leaf_of(catalogue, 120).state = LeafState::Missing,
        15,
        "create 13:15; forget 10:00",
    ),
    (
        "a detach was interrupted",
        |_, catalogue| leaf_of(catalogue, 60).state = LeafState::Detaching,
        0,
        "finalize-detach 11:00",
    ),
    (
        "somebody detached a leaf",
        |_, catalogue| leaf_of(catalogue, 60).state = LeafState::Detached { at_us: None },
        0,
        "reattach 11:00",
    ),
    ("the class's table is gone", |_, catalogue| class_of(catalogue).has_table = false, 0, "table"),
    ("records wait for a leaf", |_, catalogue| hole(catalogue, 60), 0, "create 11:00"),
    ("records wait for a leaf that is there", |_, catalogue| catalogue.wanted = vec![key(60)], 0, ""),
    ("records wait that have expired", |_, catalogue| catalogue.wanted = vec![key(180)], 0, ""),
    (
        "records wait that a hold keeps",
        |policy, catalogue| {
            policy.legal_hold = true;
            catalogue.wanted = vec![key(180)];
        },
        0,
        "put 2h/1h held; create 09:00",
    ),
    ("records wait that are early", |_, catalogue| catalogue.wanted = vec![key(-120)], 0, "create 14:00"),
    (
        "records wait where a foreign table lies",
        |_, catalogue| {
            hole(catalogue, 60);
            let taken = vec![(key(60).from_us, key(60).to_us)];
            let (class, table) = (Some(DEBUG), "theirs".to_owned());
            catalogue.drift.push(Drift { class, table, what: Strange::Foreign, taken });
        },
        0,
        "",
    ),
    (
        "the server bears a few more of a class that is there",
        |_, catalogue| catalogue.lock_slots = Some(42),
        15,
        "create 13:15; detach 10:00",
    ),
    (
        "the server bears no more",
        |_, catalogue| catalogue.lock_slots = Some(30),
        15,
        "detach 10:00; wait room x1 (0)",
    ),
];

/// With another policy in the place of `shop`, or none: it was deleted, or is there again.
pub const DELETED: &[Row] = &[
    ("what is empty goes, the rest when it has expired", same, 0, "detach 12:15,12:30,12:45,13:00"),
    ("and it expires", same, 15, "detach 10:00,12:15,12:30,12:45,13:00"),
    (
        "a hold outlives its policy",
        |_, catalogue| class_of(catalogue).legal_hold = true,
        15,
        "wait hold x5 (1)",
    ),
    (
        "its grace period is over",
        |_, catalogue| leaf_of(catalogue, 120).state = LeafState::Detached { at_us: Some(NOON) },
        60,
        "drop 10:00; detach 10:15,10:30,10:45,12:15,12:30,12:45,13:00",
    ),
    (
        "what is gone is forgotten",
        |_, catalogue| leaf_of(catalogue, 60).state = LeafState::Missing,
        0,
        "forget 11:00; detach 12:15,12:30,12:45,13:00",
    ),
    (
        "nothing is made for records that wait",
        |_, catalogue| hole(catalogue, 60),
        0,
        "detach 12:15,12:30,12:45,13:00",
    ),
];

pub const THERE_AGAIN: &[Row] = &[
    (
        "it goes on with what it had left",
        |_, catalogue| without_routes(catalogue),
        15,
        "create 13:15; detach 10:00",
    ),
    (
        "tried out: nothing of what it had left goes",
        |policy, catalogue| {
            policy.dry_run = true;
            without_routes(catalogue);
        },
        15,
        "wait dry-run x2 (1)",
    ),
    (
        "tried out, beside a hold of before",
        |policy, catalogue| {
            policy.dry_run = true;
            without_routes(catalogue);
            class_of(catalogue).legal_hold = true;
        },
        15,
        "wait dry-run x3 (1)",
    ),
];
