//! Foresees what a change of one policy would do, and when: simulates the planner forward, with the change and without it.

use std::collections::{BTreeMap, HashSet};

use super::catalogue::{Catalogue, Leaf, LeafState};
use super::class::{Class, ClassId, PolicyLevel};
use super::known::complete;
use super::lint::{Finding, lint};
use super::plan::{Tuning, plan};
use super::policy::Policy;
use super::step::{LeafRef, Plan, Step, Waits};
use crate::limits::RETENTION_PREVIEW_PASSES_MAX;

/// Between two passes, where a step waits for the next one: what the operator does of itself.
const PASS_INTERVAL_US: i64 = 10_000_000;

/// What a change of one policy does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// The next plan, the policy's part of it.
    pub plan: Plan,
    /// Laws that the whole next plan would break.
    pub findings: Vec<Finding>,
    /// The policy's classes that are new or change.
    pub classes: Vec<ClassChange>,
    /// Names of the policies that records are routed to, before and after; `None`: no route changes, of any of them.
    pub routes: Option<(Vec<String>, Vec<String>)>,
    /// Table partitions with records that go at another time than without the change; what goes first, first.
    pub leaves: Vec<LeafChange>,
    /// The passes were not enough to see all of it.
    pub is_cut: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassChange {
    pub level: PolicyLevel,
    /// `None`: the class is new.
    pub before: Option<Durations>,
    pub after: Durations,
    /// When all of it is in force; `None`: something holds it.
    pub effective_from_us: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durations {
    pub retention_us: i64,
    pub grace_us: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafChange {
    pub leaf: LeafRef,
    pub level: PolicyLevel,
    pub bytes: i64,
    /// When it goes without the change, and with it.
    pub before: Going,
    pub after: Going,
}

/// When a table partition is detached and when it is dropped; `None`: not as far as can be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Going {
    pub detach_us: Option<i64>,
    pub drop_us: Option<i64>,
}

/// `before`, `after`: all policies without and with the change of the one of this name.
pub fn foresee(
    before: &[Policy],
    after: &[Policy],
    name: &str,
    catalogue: &Catalogue,
    now_us: i64,
    tuning: &Tuning,
) -> Foreseen {
    let (before, after) = (complete(before, catalogue), complete(after, catalogue));
    let next = plan(&after, catalogue, now_us, tuning);
    let without = plan(&before, catalogue, now_us, tuning);
    let routes = |plan: &Plan| {
        let put = plan.steps.iter().find_map(|planned| match &planned.step {
            Step::PutRoutes(routes) => Some(routes),
            _ => None,
        });
        put.or(catalogue.routes.as_ref()).cloned()
    };
    let (old_routes, new_routes) = (routes(&without), routes(&next));
    let names = |routes: Option<super::Routes>| -> Vec<String> {
        let routes = routes.iter().flat_map(|routes| routes.routes());
        routes.map(|route| route.policy.clone()).collect()
    };
    let routes = (old_routes != new_routes).then(|| (names(old_routes), names(new_routes)));
    let own = about(name, catalogue);
    let (old, new) = (
        Forward::run(&before, &before, &own, name, now_us, tuning),
        Forward::run(&as_held(&after, &next, catalogue, name), &after, &own, name, now_us, tuning),
    );
    let mut leaves: Vec<LeafChange> = Vec::new();
    for leaf in own.leaves.iter().filter(|leaf| !leaf.empty && leaf.state != LeafState::Missing) {
        let Some(class) = own.class_by_id(leaf.class) else { continue };
        let going = |forward: &Forward| forward.goings.get(&leaf.key()).copied().unwrap_or_default();
        let (before, after) = (going(&old), going(&new));
        if before != after {
            leaves.push(LeafChange {
                leaf: leaf.key(),
                level: class.level,
                bytes: leaf.bytes,
                before,
                after,
            });
        }
    }
    leaves.sort_by_key(|change| (change.after.drop_us.unwrap_or(i64::MAX), change.leaf));
    Foreseen {
        findings: lint(&next, &after, catalogue, now_us, tuning),
        plan: next.part(name),
        classes: classes(&after, catalogue, name, &new),
        routes,
        leaves,
        is_cut: old.is_cut || new.is_cut,
    }
}

/// A shorter retention that needs approval stays as it is: by itself it would only come into force when no records come any more.
fn as_held(policies: &[Policy], next: &Plan, catalogue: &Catalogue, name: &str) -> Vec<Policy> {
    let mut policies = policies.to_vec();
    let needs_approval = |waits: &Waits| matches!(waits, Waits::Approval(_));
    if !next.held.iter().any(|held| held.policy == name && needs_approval(&held.waits)) {
        return policies;
    }
    for policy in policies.iter_mut().filter(|policy| policy.name == name) {
        for class in catalogue.classes.iter().filter(|class| class.policy == name) {
            let retention_us = policy.retention_us.get_mut(class.level);
            *retention_us = class.retention_us.max(*retention_us);
            policy.grace_us = class.grace_us.max(policy.grace_us);
        }
    }
    policies
}

fn classes(policies: &[Policy], catalogue: &Catalogue, name: &str, new: &Forward) -> Vec<ClassChange> {
    let Some(policy) = policies.iter().find(|policy| policy.name == name) else { return Vec::new() };
    let change = |level| {
        let after = Durations { retention_us: *policy.retention_us.get(level), grace_us: policy.grace_us };
        let before = catalogue.class(name, level).map(durations);
        let effective_from_us = new.settled.get(&level).copied();
        (before != Some(after)).then_some(ClassChange { level, before, after, effective_from_us })
    };
    PolicyLevel::ALL.into_iter().filter_map(change).collect()
}

/// The catalogue with the leaves alone that are the policy's business: those of its classes, and those that a legal hold of it keeps or would,
/// whatever class they are of.
fn about(name: &str, catalogue: &Catalogue) -> Catalogue {
    let classes = catalogue.classes.iter().filter(|class| class.policy == name);
    let classes: HashSet<ClassId> = classes.map(|class| class.id).collect();
    let held = catalogue.held.iter().filter(|held| held.policy == name);
    let held: HashSet<(ClassId, i64)> = held.map(|held| (held.class, held.from_us)).collect();
    let is_its = |leaf: &Leaf| classes.contains(&leaf.class) || held.contains(&(leaf.class, leaf.from_us));
    let mut own = catalogue.clone();
    own.leaves.retain(is_its);
    own
}

fn durations(class: &Class) -> Durations {
    Durations { retention_us: class.retention_us, grace_us: class.grace_us }
}

/// What one policy's classes and table partitions come to.
#[derive(Default)]
struct Forward {
    goings: BTreeMap<LeafRef, Going>,
    /// Since when a class is as its policy says.
    settled: BTreeMap<PolicyLevel, i64>,
    is_cut: bool,
}

impl Forward {
    /// Pass after pass, each at the time at which the one before it says that something is due.
    /// `said`: what the policies say, also what of it is held.
    fn run(
        policies: &[Policy],
        said: &[Policy],
        catalogue: &Catalogue,
        name: &str,
        now_us: i64,
        tuning: &Tuning,
    ) -> Forward {
        let mut world = catalogue.clone();
        world.wanted.clear();
        // From here on passes are made and the clock is right.
        world.horizon = None;
        let wanted = said.iter().find(|policy| policy.name == name);
        let mut forward = Forward::default();
        let mut at_us = now_us;
        for _ in 0..RETENTION_PREVIEW_PASSES_MAX {
            let plan = plan(policies, &world, at_us, tuning);
            for planned in &plan.steps {
                match &planned.step {
                    // What is made takes nothing away.
                    Step::CreateLeaf(_) | Step::CreateClassTable { .. } => continue,
                    Step::Detach(leaf) => forward.goings.entry(*leaf).or_default().detach_us = Some(at_us),
                    Step::Drop(leaf) => forward.goings.entry(*leaf).or_default().drop_us = Some(at_us),
                    Step::Reattach(leaf) => {
                        forward.goings.remove(leaf);
                    }
                    _ => {}
                }
                world.apply(&planned.step, at_us);
            }
            for class in world.classes.iter().filter(|class| class.policy == name) {
                let is_as_said = wanted.is_some_and(|policy| {
                    let retention_us = *policy.retention_us.get(class.level);
                    durations(class) == Durations { retention_us, grace_us: policy.grace_us }
                });
                if is_as_said {
                    forward.settled.entry(class.level).or_insert(at_us);
                }
            }
            match due_us(&world, &plan, at_us) {
                Some(next_us) => at_us = next_us,
                None => return forward,
            }
        }
        forward.is_cut = true;
        forward
    }
}

/// When something is due next.
fn due_us(world: &Catalogue, plan: &Plan, at_us: i64) -> Option<i64> {
    let held = plan.held.iter().filter_map(|held| match held.waits {
        Waits::Until(time_us) => Some(time_us),
        Waits::NextPass => Some(at_us + PASS_INTERVAL_US),
        _ => None,
    });
    let announced = world.classes.iter().filter_map(|class| Some(class.wanted?.effective_from_us));
    let leaves = world.leaves.iter().filter(|leaf| !leaf.empty).filter_map(|leaf| {
        let class = world.class_by_id(leaf.class)?;
        match leaf.state {
            LeafState::Attached => Some(leaf.to_us.saturating_add(class.retention_us)),
            LeafState::Detached { at_us: Some(since_us) } => Some(since_us.saturating_add(class.grace_us)),
            _ => None,
        }
    });
    // A step of this pass that another follows in the next one (a shorter retention and what it takes away) has no time of its own.
    let soon = (!plan.steps.iter().all(|planned| planned.step.creates())
        || plan
            .steps
            .iter()
            .any(|planned| matches!(planned.step, Step::PutClass(_) | Step::LiftHold { .. })))
    .then_some(at_us + PASS_INTERVAL_US);
    held.chain(announced).chain(leaves).chain(soon).filter(|due_us| *due_us > at_us).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;
    const NOW: i64 = 1_795_000_000_000_000 / DAY * DAY;
    const TUNING: Tuning = Tuning::with_notice(30_000_000);

    fn policy(info_us: i64) -> Policy {
        let mut policy = Policy { name: "shop".to_owned(), ..Policy::builtin() };
        policy.retention_us.info = info_us;
        policy
    }

    /// A day in each leaf of INFO, for so many days.
    fn catalogue(days: i64, bytes: i64) -> Catalogue {
        let before = policy(30 * DAY);
        let mut catalogue = Catalogue::default();
        for planned in plan(std::slice::from_ref(&before), &catalogue.clone(), NOW, &TUNING).steps {
            catalogue.apply(&planned.step, NOW);
        }
        catalogue.leaves.clear();
        let class = catalogue.class("shop", PolicyLevel::Info).unwrap().id;
        catalogue.leaves.extend((0..days).map(|day| Leaf {
            table: String::new(),
            class,
            from_us: NOW - (day + 1) * DAY,
            to_us: NOW - day * DAY,
            bytes,
            empty: false,
            blocks: 1,
            oldest_us: None,
            newest_us: None,
            records: None,
            state: LeafState::Attached,
        }));
        catalogue
    }

    fn seen(after: &[Policy], catalogue: &Catalogue) -> Foreseen {
        foresee(&[policy(30 * DAY)], after, "shop", catalogue, NOW, &TUNING)
    }

    #[test]
    fn a_shorter_retention_takes_the_same_leaves_at_the_same_times_as_the_passes_that_follow() {
        let start = catalogue(9, 1 << 20);
        let after = [policy(5 * DAY)];
        let foreseen = seen(&after, &start);
        assert!(!foreseen.is_cut);
        // Days 5 to 9 are older than five days; all nine go sooner than they did.
        assert_eq!(foreseen.leaves.len(), 9);
        let class = &foreseen.classes[0];
        assert_eq!((class.level, class.before.unwrap().retention_us), (PolicyLevel::Info, 30 * DAY));
        assert_eq!(class.effective_from_us, Some(NOW + TUNING.notice_us));
        assert_eq!(foreseen.classes.len(), 1);
        assert_eq!(foreseen.routes, None);
        // As the operator would do it: a pass every ten seconds, then every hour.
        let (mut world, mut at_us) = (start.clone(), NOW);
        let mut dropped = BTreeMap::new();
        while at_us < NOW + 40 * DAY {
            for planned in plan(&after, &world, at_us, &TUNING).steps {
                if let Step::Drop(leaf) = planned.step {
                    dropped.insert(leaf, at_us);
                }
                if !matches!(planned.step, Step::CreateLeaf(_)) {
                    world.apply(&planned.step, at_us);
                }
            }
            at_us += if at_us < NOW + 600_000_000 { 10_000_000 } else { 3_600_000_000 };
        }
        assert_eq!(dropped.len(), 9);
        for change in &foreseen.leaves {
            let foreseen_us = change.after.drop_us.unwrap();
            let late_us = dropped[&change.leaf] - foreseen_us;
            assert!((0..=2 * 3_600_000_000).contains(&late_us), "{change:?}: {late_us}");
            assert!(foreseen_us < change.before.drop_us.unwrap());
        }
    }

    #[test]
    fn what_waits_for_approval_or_is_held_takes_nothing_away() {
        let many = catalogue(20, 1 << 20);
        let foreseen = seen(&[policy(5 * DAY)], &many);
        assert!(matches!(foreseen.plan.held[0].waits, Waits::Approval(_)), "{:?}", foreseen.plan.held);
        assert_eq!((foreseen.plan.held[0].partitions, foreseen.leaves.len()), (15, 0));
        assert_eq!(foreseen.classes[0].effective_from_us, None);
        let held = seen(&[Policy { legal_hold: true, ..policy(5 * DAY) }], &catalogue(9, 1));
        assert!(held.leaves.iter().all(|change| change.after == Going::default()), "{:?}", held.leaves);
    }

    #[test]
    fn a_longer_one_keeps_and_no_change_changes_nothing() {
        let foreseen = seen(&[policy(60 * DAY)], &catalogue(9, 1));
        assert!(foreseen.leaves.iter().all(|change| change.after.drop_us > change.before.drop_us));
        assert_eq!((foreseen.leaves.len(), foreseen.classes[0].effective_from_us), (9, Some(NOW)));
        let same = seen(&[policy(30 * DAY)], &catalogue(9, 1));
        assert_eq!((same.leaves.len(), same.classes.len(), same.routes), (0, 0, None));
        // A policy that goes leaves its records for as long as they were to stay; new ones are another policy's.
        let gone = seen(&[], &catalogue(9, 1));
        assert_eq!((gone.leaves.len(), gone.classes.len()), (0, 0));
        assert_eq!(
            gone.routes,
            Some((vec!["default".to_owned(), "shop".to_owned()], vec!["default".to_owned()]))
        );
        // A new one takes nothing that is there.
        let new = [policy(30 * DAY), Policy { name: "new".to_owned(), ..policy(DAY) }];
        let new = foresee(&new[..1], &new, "new", &catalogue(9, 1), NOW, &TUNING);
        assert_eq!((new.leaves.len(), new.classes.len()), (0, 4));
        assert!(new.classes.iter().all(|class| class.before.is_none()));
    }
}
