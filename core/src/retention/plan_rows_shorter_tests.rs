//! Rows of shorter retentions: announced, held by the limit, approved, undone.

use super::*;

pub const SHORTER: &[Row] = &[
    (
        "announced",
        |policy, _| keep(policy, 90 * MINUTE),
        0,
        "put 2h/1h soon 1h30m/1h at 12:01; wait until x1 (2)",
    ),
    (
        "takes nothing, and is announced",
        |policy, _| keep(policy, 119 * MINUTE),
        0,
        "put 2h/1h soon 1h59m/1h at 12:01; wait until x1 (0)",
    ),
    (
        "as much as the limit",
        |policy, _| keep(policy, 75 * MINUTE),
        0,
        "put 2h/1h soon 1h15m/1h at 12:01; wait until x1 (3)",
    ),
    ("one more than the limit", |policy, _| keep(policy, HOUR), 0, "wait approval x1 (4)"),
    (
        "as much as the limit, of which a pass detaches one",
        |policy, _| {
            keep(policy, 75 * MINUTE);
            policy.detach_per_pass = Some(1);
        },
        0,
        "put 2h/1h soon 1h15m/1h at 12:01; wait until x1 (3)",
    ),
    (
        "one more than the limit, and a pass detaches many",
        |policy, _| {
            keep(policy, HOUR);
            policy.detach_per_pass = Some(100);
        },
        0,
        "wait approval x1 (4)",
    ),
    ("a typo", |policy, _| keep(policy, 2 * MINUTE), 0, "wait approval x1 (7)"),
    (
        "a higher limit",
        |policy, _| {
            keep(policy, 2 * MINUTE);
            policy.drop_limit.partitions = 7;
        },
        0,
        "put 2h/1h soon 2m/1h at 12:01; wait until x1 (7)",
    ),
    (
        "more bytes than the limit",
        |policy, _| {
            keep(policy, 75 * MINUTE);
            policy.drop_limit.bytes = (3 << 20) - 1;
        },
        0,
        "wait approval x1 (3)",
    ),
    (
        "as many bytes as the limit",
        |policy, _| {
            keep(policy, 75 * MINUTE);
            policy.drop_limit.bytes = 3 << 20;
        },
        0,
        "put 2h/1h soon 1h15m/1h at 12:01; wait until x1 (3)",
    ),
    (
        "a limit of no byte holds what takes nothing not",
        |policy, _| {
            keep(policy, 119 * MINUTE);
            policy.drop_limit.bytes = 0;
        },
        0,
        "put 2h/1h soon 1h59m/1h at 12:01; wait until x1 (0)",
    ),
    (
        "what is empty does not count",
        |policy, catalogue| {
            keep(policy, HOUR);
            (leaf_of(catalogue, 120).empty, leaf_of(catalogue, 120).bytes) = (true, 0);
        },
        0,
        "put 2h/1h soon 1h/1h at 12:01; detach 10:00; wait until x1 (3)",
    ),
    (
        "while suspended",
        |policy, _| {
            keep(policy, 90 * MINUTE);
            policy.suspend = true;
        },
        0,
        "wait suspended x1 (2)",
    ),
    (
        "under a legal hold",
        |policy, _| {
            keep(policy, 90 * MINUTE);
            policy.legal_hold = true;
        },
        0,
        "put 2h/1h held; wait hold x1 (2)",
    ),
    (
        "approved",
        |policy, catalogue| {
            keep(policy, HOUR);
            approve(policy, catalogue);
        },
        0,
        "put 2h/1h soon 1h/1h at 12:01 by ann; wait until x1 (4)",
    ),
    (
        "approved, and the spec changed",
        |policy, catalogue| {
            keep(policy, HOUR);
            approve(policy, catalogue);
            policy.generation += 1;
        },
        0,
        "wait approval x1 (4)",
    ),
    (
        "approved, and still shorter",
        |policy, catalogue| {
            keep(policy, HOUR);
            approve(policy, catalogue);
            keep(policy, 30 * MINUTE);
        },
        0,
        "wait approval x1 (6)",
    ),
    (
        "approved, and created again",
        |policy, catalogue| {
            keep(policy, HOUR);
            approve(policy, catalogue);
            policy.uid = "another".to_owned();
        },
        0,
        "put 2h/1h; wait approval x1 (4)",
    ),
    (
        "approved, and suspended",
        |policy, catalogue| {
            keep(policy, HOUR);
            approve(policy, catalogue);
            policy.suspend = true;
        },
        0,
        "wait suspended x1 (4)",
    ),
    (
        "its notice is over",
        |policy, catalogue| {
            keep(policy, 90 * MINUTE);
            announce(catalogue, 90 * MINUTE, NOON + MINUTE);
        },
        1,
        "put 1h30m/1h",
    ),
    (
        "its notice runs",
        |policy, catalogue| {
            keep(policy, 90 * MINUTE);
            announce(catalogue, 90 * MINUTE, NOON + 2 * MINUTE);
        },
        1,
        "wait until x1 (2)",
    ),
    (
        "it is undone while its notice runs",
        |_, catalogue| announce(catalogue, 90 * MINUTE, NOON + MINUTE),
        0,
        "put 2h/1h",
    ),
    (
        "less short than announced: the notice goes on",
        |policy, catalogue| {
            keep(policy, 105 * MINUTE);
            announce(catalogue, 90 * MINUTE, NOON + MINUTE / 2);
        },
        0,
        "put 2h/1h soon 1h45m/1h at 12:00; wait until x1 (1)",
    ),
    (
        "shorter than announced: announced again",
        |policy, catalogue| {
            keep(policy, 90 * MINUTE);
            announce(catalogue, 105 * MINUTE, NOON + MINUTE / 2);
        },
        0,
        "put 2h/1h soon 1h30m/1h at 12:01; wait until x1 (2)",
    ),
    ("of another level", |policy, _| policy.retention_us.error = HOUR, 0, ""),
];
