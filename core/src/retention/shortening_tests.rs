//! A shortening above the limit: what names it, what an approval of it allows to be dropped, and what makes the approval void.

use proptest::prelude::*;

use super::*;
use crate::retention::class::ClassId;
use crate::retention::step::{LeafRef, Step, Waits};
use crate::retention::{DropLimit, Match, PerLevel, Plan, Tuning, in_force, lint, plan};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// 2026-11-18T00:00:00Z.
const NOW: i64 = 1_794_960_000_000_000;
const TUNING: Tuning = Tuning::with_notice(30_000_000);

fn policy(retention_us: i64) -> Policy {
    Policy {
        name: "shop".to_owned(),
        uid: "u".to_owned(),
        generation: 3,
        priority: 1,
        matches: Match { tenants: vec!["shop-*".to_owned()], ..Match::default() },
        retention_us: PerLevel::of(|_| retention_us),
        grace_us: HOUR,
        drop_limit: DropLimit { partitions: 10, bytes: 50 << 30 },
        detach_per_pass: None,
        suspend: false,
        legal_hold: false,
        dry_run: false,
        approval: None,
        written_by: crate::retention::WrittenBy::default(),
    }
}

fn settle(policy: &Policy, catalogue: &mut Catalogue, now_us: i64) -> Vec<Step> {
    let policies = std::slice::from_ref(policy);
    let mut done = Vec::new();
    for _ in 0..200 {
        let plan = plan(policies, catalogue, now_us, &TUNING);
        let findings = lint(&plan, &in_force(policies), catalogue, now_us, &TUNING);
        assert!(!findings.iter().any(|finding| finding.fatal), "{findings:?}\n{plan}");
        if plan.is_empty() {
            return done;
        }
        for planned in plan.steps {
            catalogue.apply(&planned.step, now_us);
            done.push(planned.step);
        }
    }
    panic!("does not converge");
}

/// Kept for 30 days, `leaves` of six hours at ERROR with records, the last one ends now.
fn stored(leaves: i64) -> Catalogue {
    let mut catalogue = Catalogue::default();
    settle(&policy(30 * DAY), &mut catalogue, NOW);
    let class = catalogue.class("shop", PolicyLevel::Error).unwrap().id;
    for number in 0..leaves {
        add(&mut catalogue, class, NOW - (number + 1) * 6 * HOUR);
    }
    catalogue
}

fn add(catalogue: &mut Catalogue, class: ClassId, from_us: i64) {
    let leaf = LeafRef { class, from_us, to_us: from_us + 6 * HOUR };
    catalogue.apply(&Step::CreateLeaf(leaf), NOW);
    let made = catalogue.leaves.last_mut().unwrap();
    (made.empty, made.bytes, made.blocks) = (false, 1 << 20, 1);
}

fn needs(plan: &Plan) -> Option<NeedsApproval> {
    plan.held.iter().find_map(|held| match &held.waits {
        Waits::Approval(needs) => Some(needs.clone()),
        _ => None,
    })
}

fn asked(policy: &Policy, catalogue: &Catalogue, now_us: i64) -> Option<NeedsApproval> {
    needs(&plan(std::slice::from_ref(policy), catalogue, now_us, &TUNING))
}

fn approved(policy: &Policy, plan: &str) -> Policy {
    Policy { approval: Some(Approval { plan: plan.to_owned(), by: "ann".to_owned() }), ..policy.clone() }
}

fn gone(steps: &[Step]) -> Vec<LeafRef> {
    let detached = |step: &Step| match step {
        Step::Detach(leaf) => Some(*leaf),
        _ => None,
    };
    steps.iter().filter_map(detached).collect()
}

#[test]
fn nothing_goes_before_and_exactly_what_was_held_goes_after_the_approval() {
    let mut catalogue = stored(100);
    let short = policy(HOUR);
    let held = asked(&short, &catalogue, NOW).unwrap();
    // The leaf that ends now is not an hour old.
    assert_eq!((held.partitions, held.bytes, held.other.clone()), (99, 99 << 20, None));
    assert_eq!(gone(&settle(&short, &mut catalogue, NOW + HOUR / 2)), []);
    let given = approved(&short, &held.plan);
    // It is announced, and then in force; each of its steps names it.
    let announced = settle(&given, &mut catalogue, NOW + HOUR / 2);
    assert!(announced.iter().all(|step| matches!(step, Step::PutClass(_))), "{announced:?}");
    let later = NOW + HOUR / 2 + TUNING.notice_us;
    let mut named = 0;
    for _ in 0..20 {
        for planned in plan(std::slice::from_ref(&given), &catalogue, later, &TUNING).steps {
            if matches!(planned.step, Step::PutClass(_)) || planned.bytes > 0 {
                assert_eq!((&planned.approval, planned.generation), (&given.approval, 3), "{planned:?}");
                named += 1;
            }
            catalogue.apply(&planned.step, later);
        }
    }
    assert_eq!(named, 99 + 4);
    let left: Vec<i64> = catalogue
        .leaves
        .iter()
        .filter(|leaf| leaf.state == LeafState::Attached && !leaf.empty)
        .map(|leaf| leaf.to_us)
        .collect();
    assert_eq!(left, [NOW]);
}

#[test]
fn another_plan_needs_another_approval() {
    let catalogue = stored(100);
    let short = policy(HOUR);
    let plan = asked(&short, &catalogue, NOW).unwrap().plan;
    let now_needs = |policy: &Policy| asked(policy, &catalogue, NOW);
    assert_eq!(now_needs(&approved(&short, &plan)), None);
    let given = approved(&short, &plan);
    let others = [
        ("another spec", Policy { generation: 4, ..given.clone() }),
        ("an object that was created again", Policy { uid: "v".to_owned(), ..given.clone() }),
        ("a still shorter retention", Policy { retention_us: PerLevel::of(|_| HOUR / 2), ..given.clone() }),
        ("a shorter grace period", Policy { grace_us: 0, ..given.clone() }),
        ("a policy of another name", approved(&short, "0123456789abcdef")),
        ("no name at all", approved(&short, "")),
        ("a name in capitals", approved(&short, &plan.to_uppercase().replace(char::is_numeric, "A"))),
    ];
    for (what, other) in others {
        let needed = now_needs(&other).unwrap_or_else(|| panic!("{what} went through"));
        assert_ne!(needed.plan, other.approval.clone().unwrap().plan, "{what}");
        assert_eq!(needed.other, other.approval.map(|approval| approval.plan), "{what}");
    }
}

#[test]
fn what_is_made_meanwhile_voids_nothing_and_what_ages_meanwhile_is_judged_by_the_limit() {
    let mut catalogue = stored(100);
    let class = catalogue.class("shop", PolicyLevel::Error).unwrap().id;
    let short = policy(HOUR);
    let plan = asked(&short, &catalogue, NOW).unwrap().plan;
    // Leaves that are made: of now and ahead.
    for number in 0..4 {
        add(&mut catalogue, class, NOW + number * 6 * HOUR);
    }
    assert_eq!(asked(&short, &catalogue, NOW + HOUR / 2).unwrap().plan, plan);
    // A day later four more are older than an hour: another name, and the first one is still good, for four are within the limit.
    let day = NOW + DAY + HOUR;
    let later = asked(&short, &catalogue, day).unwrap();
    assert_ne!(later.plan, plan);
    assert_eq!(asked(&approved(&short, &plan), &catalogue, day), None);
    assert_eq!(asked(&approved(&short, &later.plan), &catalogue, day), None);
    // Five days later they are twenty: too many for an approval that named none of them.
    for number in 4..20 {
        add(&mut catalogue, class, NOW + number * 6 * HOUR);
    }
    let late = asked(&approved(&short, &plan), &catalogue, NOW + 5 * DAY + HOUR).unwrap();
    assert_eq!(late.other.as_deref(), Some(plan.as_str()));
    assert!(late.partitions > 100, "{late:?}");
}

#[test]
fn an_approval_taken_back_before_it_is_in_force_changes_nothing() {
    let mut catalogue = stored(50);
    let short = policy(HOUR);
    let plan = asked(&short, &catalogue, NOW).unwrap().plan;
    settle(&approved(&short, &plan), &mut catalogue, NOW);
    assert!(catalogue.class("shop", PolicyLevel::Error).unwrap().wanted.is_some());
    settle(&short, &mut catalogue, NOW);
    let class = catalogue.class("shop", PolicyLevel::Error).unwrap();
    assert_eq!((class.wanted, &class.approved, class.retention_us), (None, &None, 30 * DAY));
    assert_eq!(gone(&settle(&short, &mut catalogue, NOW + HOUR / 2)), []);
}

#[test]
fn a_hold_is_stronger_than_an_approval() {
    let mut catalogue = stored(50);
    let short = policy(HOUR);
    let given = approved(&short, &asked(&short, &catalogue, NOW).unwrap().plan);
    for held in [Policy { suspend: true, ..given.clone() }, Policy { legal_hold: true, ..given }] {
        assert_eq!(gone(&settle(&held, &mut catalogue, NOW + HOUR / 2)), []);
    }
}

/// The command that a status shows is the one that approves.
#[test]
fn the_command_names_the_policy_the_annotation_and_the_plan() {
    let needs = asked(&policy(HOUR), &stored(20), NOW).unwrap();
    assert_eq!(
        needs.command(),
        format!(
            "kubectl annotate logretentionpolicies.cordwood.dev shop cordwood.dev/approve-plan={} --overwrite",
            needs.plan
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever is cut off after whichever step, and however time goes on meanwhile: an approval allows dropping what it named, once, and
    /// beside that of no more than the limit.
    #[test]
    fn an_approval_lets_go_of_what_it_named(
        leaves in 12_i64..120, hours in 1_i64..200, waited_hours in 0_i64..60, cuts in proptest::collection::vec(0_usize..12, 0..12),
    ) {
        let mut catalogue = stored(leaves);
        let short = policy(hours * HOUR);
        let Some(held) = asked(&short, &catalogue, NOW) else { return Ok(()) };
        let named: Vec<LeafRef> = catalogue.leaves.iter()
            .filter(|leaf| !leaf.empty && leaf.to_us <= NOW - hours * HOUR).map(Leaf::key).collect();
        prop_assert_eq!(named.len(), held.partitions as usize);
        let given = approved(&short, &held.plan);
        let mut now_us = NOW + waited_hours * HOUR;
        let mut detached = Vec::new();
        let mut cuts = cuts.into_iter();
        for _ in 0..80 {
            let policies = std::slice::from_ref(&given);
            let plan = plan(policies, &catalogue, now_us, &TUNING);
            let findings = lint(&plan, &in_force(policies), &catalogue, now_us, &TUNING);
            prop_assert!(!findings.iter().any(|finding| finding.fatal), "{:?}\n{}", findings, plan);
            for planned in plan.steps.iter().take(cuts.next().unwrap_or(usize::MAX)) {
                if let Step::Detach(leaf) = planned.step
                    && catalogue.leaf(leaf).is_some_and(|leaf| !leaf.empty)
                {
                    detached.push(leaf);
                    prop_assert_eq!(planned.approval.is_some(), named.contains(&leaf), "{:?}", planned);
                }
                catalogue.apply(&planned.step, now_us);
            }
            now_us += TUNING.notice_us;
        }
        // What aged meanwhile is judged by the limit: with more of it nothing goes at all.
        let aged = |now_us: i64| leaves.min((now_us - NOW).max(0) / (6 * HOUR) + 1 + held.partitions as i64) - held.partitions as i64;
        let went = named.iter().filter(|leaf| detached.contains(leaf)).count();
        if aged(now_us) <= i64::from(short.drop_limit.partitions) {
            prop_assert_eq!(went, named.len());
        } else {
            prop_assert!(went == 0 || went == named.len(), "{} of {} went", went, named.len());
        }
    }
}
