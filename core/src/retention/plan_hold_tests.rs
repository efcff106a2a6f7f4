//! Plans under legal holds by match: what another policy's class keeps no longer stays while a hold matches a record of it.

use super::*;
use crate::retention::foresee::{Going, foresee};
use crate::retention::hold::HeldLeaf;
use crate::retention::holding::kept;

/// A hold over the tenants of `shop`, which has no records of its own.
fn case() -> Policy {
    let tenants = vec!["shop-*".to_owned()];
    let matches = Match { tenants, ..Match::default() };
    Policy { matches, priority: 0, legal_hold: true, ..policy("case", HOUR) }
}

/// The hold of `case` finds records in these leaves.
fn mark(catalogue: &mut Catalogue, leaves: &[LeafRef]) {
    let held = |leaf: &LeafRef| HeldLeaf {
        policy: "case".to_owned(),
        class: leaf.class,
        from_us: leaf.from_us,
        records: Some(7),
    };
    catalogue.held = leaves.iter().map(held).collect();
}

/// Records of `shop` that the hold matches but those of its last leaf; half an hour later two leaves have expired.
fn held_catalogue(policies: &[Policy]) -> (Catalogue, ClassId) {
    let mut catalogue = stored(&[policy("shop", 2 * HOUR)]);
    let class = catalogue.class("shop", PolicyLevel::Debug).unwrap().id;
    let filled: Vec<LeafRef> =
        catalogue.leaves_of(class).iter().filter(|leaf| !leaf.empty).map(|leaf| leaf.key()).collect();
    mark(&mut catalogue, &filled[..filled.len() - 1]);
    settle(policies, &mut catalogue, NOON, &NO_NOTICE);
    (catalogue, class)
}

const LATER: i64 = NOON + 30 * MINUTE;

fn goes(plan: &Plan) -> usize {
    plan.dropping().filter(|planned| planned.bytes > 0).count()
}

#[test]
fn what_a_hold_of_another_policy_matches_stays_and_says_whose_hold_it_is() {
    let policies = [policy("shop", 2 * HOUR), case()];
    let (catalogue, class) = held_catalogue(&policies);
    assert_eq!(catalogue.holds.iter().map(|hold| hold.policy.as_str()).collect::<Vec<_>>(), ["case"]);
    let next = plan(&policies, &catalogue, LATER, &NO_NOTICE);
    assert_eq!(goes(&next), 0, "{next}");
    let held = Plan { steps: Vec::new(), held: next.held.clone() };
    check(
        &text(&held, class.0),
        "held shop: detach blocks_c5_20261118t1000 [2026-11-18T10:00:00Z .. 2026-11-18T10:15:00Z) (1 partitions, 1.0 MiB) waits while the legal hold of policy case lasts
         held shop: detach blocks_c5_20261118t1015 [2026-11-18T10:15:00Z .. 2026-11-18T10:30:00Z) (1 partitions, 1.0 MiB) waits while the legal hold of policy case lasts",
    );
    assert_eq!(lint(&next, &in_force(&policies), &catalogue, LATER, &NO_NOTICE), []);
    // What the hold matches nothing of goes all the same.
    let ever = plan(&policies, &catalogue, NOON + 30 * DAY, &NO_NOTICE);
    assert_eq!(goes(&ever), 1, "{ever}");
    let amount = kept("case", &catalogue, LATER);
    assert_eq!((amount.all.records, amount.expired), (Some(7 * i64::from(amount.all.partitions)), 2));
    // The lint says so by itself.
    let leaf = catalogue_leaves(&catalogue, class)[0];
    let going = Plan { steps: vec![Planned::new(Step::Detach(leaf), "shop", "")], held: Vec::new() };
    let findings = lint(&going, &in_force(&policies), &catalogue, LATER, &NO_NOTICE);
    let named = |text: &str| findings.iter().any(|finding| finding.fatal && finding.message.contains(text));
    assert!(named("legal hold of case"), "{findings:?}");
    let findings = lint(&going, &in_force(&policies[..1]), &catalogue, LATER, &NO_NOTICE);
    assert!(findings.iter().any(|finding| finding.fatal), "the hold outlives its policy");
}

#[test]
fn a_hold_is_put_changed_and_lifted_by_a_step() {
    let shop = policy("shop", 2 * HOUR);
    let mut wider = case();
    wider.matches.namespaces = vec!["pay".to_owned()];
    let none = Policy { matches: Match::default(), ..case() };
    let lifted = Policy { legal_hold: false, ..case() };
    let tried = Policy { dry_run: true, ..case() };
    let tried_off = Policy { dry_run: true, ..lifted.clone() };
    let (with, without) = (held_catalogue(&[shop.clone(), case()]).0, settled(std::slice::from_ref(&shop)));
    // (policies, catalogue, the step and why)
    let rows: [(Vec<Policy>, &Catalogue, &str); 8] = [
        (
            vec![case()],
            &without,
            "put-hold case = tenants shop-*  # legalHold: nothing of what it matches goes",
        ),
        (vec![case()], &with, ""),
        (
            vec![wider],
            &with,
            "put-hold case = tenants shop-*; namespaces pay  # legalHold: nothing of what it matches goes",
        ),
        (vec![lifted], &with, "lift-hold case  # legalHold is false"),
        (vec![none], &with, "lift-hold case  # it names no tenants or namespaces any more"),
        (vec![], &with, ""),
        (vec![tried], &without, ""),
        (vec![tried_off], &with, ""),
    ];
    for (number, (policies, catalogue, expected)) in rows.into_iter().enumerate() {
        let all = [vec![shop.clone()], policies].concat();
        let plan = plan(&all, catalogue, NOON, &NO_NOTICE);
        let of_hold = |planned: &&Planned| matches!(planned.step, Step::PutHold(_) | Step::LiftHold { .. });
        let said =
            plan.steps.iter().filter(of_hold).map(|planned| format!("{}  # {}", planned.step, planned.why));
        assert_eq!(said.collect::<Vec<_>>().join("\n"), expected, "row {number}");
    }
}

#[test]
fn a_hold_ends_when_it_is_lifted_and_not_when_its_policy_is_deleted() {
    let shop = policy("shop", 2 * HOUR);
    let (mut catalogue, _) = held_catalogue(&[shop.clone(), case()]);
    // Deleted: it stays.
    let deleted = std::slice::from_ref(&shop);
    assert_eq!(goes(&plan(deleted, &catalogue, LATER, &NO_NOTICE)), 0);
    settle(deleted, &mut catalogue, LATER, &NO_NOTICE);
    assert_eq!(catalogue.holds.len(), 1);
    // Made again without it: the pass that lifts it takes nothing yet, the next one does.
    let lifted = [shop, Policy { legal_hold: false, uid: "another".to_owned(), ..case() }];
    let first = plan(&lifted, &catalogue, LATER, &NO_NOTICE);
    assert_eq!(goes(&first), 0, "{first}");
    assert_eq!(lint(&first, &in_force(&lifted), &catalogue, LATER, &NO_NOTICE), []);
    for planned in &first.steps {
        catalogue.apply(&planned.step, LATER);
    }
    assert_eq!(goes(&plan(&lifted, &catalogue, LATER, &NO_NOTICE)), 2);
}

#[test]
fn what_was_detached_before_the_hold_is_not_dropped() {
    let shop = policy("shop", 2 * HOUR);
    let mut catalogue = stored(std::slice::from_ref(&shop));
    let class = catalogue.class("shop", PolicyLevel::Debug).unwrap().id;
    settle(std::slice::from_ref(&shop), &mut catalogue, LATER, &NO_NOTICE);
    let detached = |leaf: &&&Leaf| matches!(leaf.state, LeafState::Detached { .. });
    let leaves: Vec<LeafRef> =
        catalogue.leaves_of(class).iter().filter(detached).map(|leaf| leaf.key()).collect();
    assert_eq!(leaves.len(), 2);
    mark(&mut catalogue, &leaves);
    let over = LATER + 2 * HOUR;
    let without = plan(std::slice::from_ref(&shop), &catalogue, over, &NO_NOTICE);
    assert_eq!(
        without.steps.iter().filter(|one| matches!(one.step, Step::Drop(_)) && one.bytes > 0).count(),
        2
    );
    let with = plan(&[shop, case()], &catalogue, over, &NO_NOTICE);
    assert_eq!(with.steps.iter().filter(|one| matches!(one.step, Step::Drop(_)) && one.bytes > 0).count(), 0);
    let told =
        |held: &&Held| held.waits == Waits::HoldOf("case".to_owned()) && held.what.starts_with("drop ");
    assert_eq!(with.held.iter().filter(told).count(), 2, "{with}");
}

/// A record that is older than its class's retention when it is sealed finds a place, because a hold may be what it waits under.
#[test]
fn what_waits_for_an_expired_leaf_gets_it_while_there_is_a_hold() {
    let policies = [policy("shop", 2 * HOUR), case()];
    let (mut catalogue, class) = held_catalogue(&policies);
    let old = LeafRef { class, from_us: NOON - 5 * HOUR, to_us: NOON - 5 * HOUR + 15 * MINUTE };
    catalogue.wanted = vec![old];
    assert!(
        plan(&policies[..1], &Catalogue { holds: Vec::new(), ..catalogue.clone() }, NOON, &NO_NOTICE)
            .steps
            .iter()
            .all(|planned| planned.step != Step::CreateLeaf(old))
    );
    settle(&policies, &mut catalogue, NOON, &NO_NOTICE);
    let leaf = catalogue.leaf(old).expect("it was made, and stays");
    assert!(leaf.empty && leaf.state == LeafState::Attached);
    // Nothing was sealed into it, and nothing waits any more.
    catalogue.wanted.clear();
    settle(&policies, &mut catalogue, NOON, &NO_NOTICE);
    assert_eq!(catalogue.leaf(old), None);
}

#[test]
fn a_preview_sees_what_a_hold_keeps_in_the_classes_of_others() {
    let shop = policy("shop", 2 * HOUR);
    let (catalogue, class) = held_catalogue(&[shop.clone(), case()]);
    let with = [shop.clone(), case()];
    let lifted = [shop, Policy { legal_hold: false, ..case() }];
    let off = foresee(&with, &lifted, "case", &catalogue, LATER, &NO_NOTICE);
    let marked = catalogue.held.iter().filter(|held| held.class == class).count();
    assert_eq!(off.leaves.len(), marked, "{:?}", off.leaves);
    assert!(
        off.leaves.iter().all(|change| change.before == Going::default() && change.after.drop_us.is_some())
    );
    let without = Catalogue { holds: Vec::new(), ..catalogue };
    let on = foresee(&lifted, &with, "case", &without, LATER, &NO_NOTICE);
    assert_eq!(on.leaves.len(), marked);
    assert!(
        on.leaves.iter().all(|change| change.before.drop_us.is_some() && change.after == Going::default())
    );
}

#[test]
fn a_hold_that_is_tried_out_holds_nothing_and_says_what_it_would() {
    let shop = policy("shop", 2 * HOUR);
    let mut catalogue = stored(std::slice::from_ref(&shop));
    let class = catalogue.class("shop", PolicyLevel::Debug).unwrap().id;
    let leaves = catalogue_leaves(&catalogue, class);
    mark(&mut catalogue, &leaves);
    let policies = [shop, Policy { dry_run: true, ..case() }];
    let next = plan(&policies, &catalogue, LATER, &NO_NOTICE);
    assert_eq!(goes(&next), 2, "{next}");
    assert_eq!(lint(&next, &in_force(&policies), &catalogue, LATER, &NO_NOTICE), []);
    let would = |held: &&Held| held.waits == Waits::DryRun && held.what == "put-hold case = tenants shop-*";
    assert_eq!(next.held.iter().filter(would).count(), 1, "{next}");
}
