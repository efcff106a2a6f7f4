//! Plans after a clock that jumped.

use super::*;

/// The operator's and PostgreSQL's clocks jumped together by a year: everything went, and a shorter retention had nothing to take away.
#[test]
fn a_clock_that_jumps_takes_no_more_than_a_step() {
    let mut policies = [policy("shop", 30 * HOUR)];
    let mut catalogue = stored(&policies);
    let leaves = 2;
    catalogue.horizon = Some(Horizon { at_us: NOON, clock_us: NOON });
    let jumped = NOON + 365 * DAY;
    let first = plan(&policies, &catalogue, jumped, &NO_NOTICE);
    assert!(first.dropping().all(|planned| planned.bytes == 0), "{first}");
    let held = Plan { steps: Vec::new(), held: first.held.clone() };
    check(
        &text(&held, 5),
        &format!(
            "held shop: detach what expired of debug ({leaves} partitions, {leaves}.0 MiB) waits for the horizon: PostgreSQL's clock jumped, \
             or no pass was made for long, and expiry follows it step by step until about 2027-12-04T08:00:00Z; suspend the policy if the \
             clock is wrong"
        ),
    );
    assert_eq!(lint(&first, &in_force(&policies), &catalogue, jumped, &NO_NOTICE), []);
    // A shorter retention still sees what it takes away: by the horizon, a day later, everything that is older than an hour.
    policies[0].retention_us.debug = HOUR;
    policies[0].drop_limit.partitions = 1;
    let shorter = plan(&policies, &catalogue, jumped, &NO_NOTICE);
    assert!(shorter.held.iter().any(|held| matches!(held.waits, Waits::Approval(_))), "{shorter}");
    // The lint tells age by the same.
    let class = catalogue.class("shop", PolicyLevel::Debug).unwrap().id;
    let leaf = catalogue.leaves_of(class)[0].key();
    let going = Plan { steps: vec![Planned::new(Step::Detach(leaf), "shop", "")], held: Vec::new() };
    policies[0].retention_us.debug = 30 * HOUR;
    let findings = lint(&going, &in_force(&policies), &catalogue, jumped, &NO_NOTICE);
    assert!(findings.iter().any(|finding| finding.message.contains("not expired")), "{findings:?}");
    // The clock is right, and an operator was away: the horizon gets there, pass by pass.
    let mut now_us = jumped;
    while catalogue.horizon.is_none_or(|horizon| horizon.behind_us() > 0) || now_us == jumped {
        catalogue.horizon = Some(Horizon::next(catalogue.horizon, now_us, NO_NOTICE.horizon_step_us));
        now_us += 10 * MINUTE;
    }
    for pass in 0..4 {
        settle(&policies, &mut catalogue, now_us + pass, &NO_NOTICE);
    }
    assert!(catalogue.leaves_of(class).iter().all(|leaf| leaf.state != LeafState::Attached));
}

/// What was detached by a clock that was wrong is kept until the horizon says that its grace period is over.
#[test]
fn a_grace_period_ends_by_the_horizon() {
    let policies = [policy("shop", 2 * HOUR)];
    let mut catalogue = stored(&policies);
    catalogue.horizon = Some(Horizon { at_us: NOON, clock_us: NOON });
    let detached = NOON + 30 * MINUTE;
    settle(&policies, &mut catalogue, detached, &NO_NOTICE);
    catalogue.horizon = Some(Horizon { at_us: detached, clock_us: detached });
    let step = Tuning { horizon_step_us: 10 * MINUTE, ..NO_NOTICE };
    let later = plan(&policies, &catalogue, detached + 5 * HOUR, &step);
    let dropped = |planned: &&Planned| matches!(planned.step, Step::Drop(_)) && planned.bytes > 0;
    assert_eq!(later.dropping().filter(dropped).count(), 0, "{later}");
    let waits = |held: &&Held| {
        held.what == "drop what was detached of debug" && matches!(held.waits, Waits::Horizon(_))
    };
    assert_eq!(later.held.iter().find(waits).map(|held| held.partitions), Some(2), "{later}");
    let over = plan(&policies, &catalogue, detached + 5 * HOUR, &NO_NOTICE);
    assert!(over.dropping().filter(dropped).count() >= 2, "{over}");
}
