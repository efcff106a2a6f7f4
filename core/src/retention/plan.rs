//! The planner: (policies, catalogue, clock) -> steps and what is held. Chooses; does nothing.
//!
//! Order of the steps: classes, the leaves that now and the near future need, what comes back, routes, older leaves, and
//! only then what goes. Promises: nothing unexpired is detached or dropped; a policy's shorter retention or grace period is announced
//! first and held when it would take away more than its limit; after the plan is applied, the next plan is empty but for
//! what time brings.

use super::catalogue::{Catalogue, Leaf, LeafState};
use super::class::{self, Class, ClassId, PolicyLevel, Wanted};
use super::duration;
use super::policy::{DEFAULT, Policy};
use super::routes::Routes;
use super::step::{Held, LeafRef, Plan, Planned, Step, Waits};
use crate::limits::TIME_PAST_US_MAX;

/// What the operator's configuration adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Time between the announcement of a shorter retention (or grace period) and its taking effect.
    pub notice_us: i64,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { notice_us: 30_000_000 }
    }
}

/// New leaves of one class in one plan, as a bound; the next plan goes on.
const CREATE_LEAVES_MAX: usize = 500;

/// The policies and, unless one is called `default`, the built-in default. Of two with one name the first counts.
pub fn in_force(policies: &[Policy]) -> Vec<Policy> {
    let mut all: Vec<Policy> = Vec::with_capacity(policies.len() + 1);
    for policy in policies {
        if !all.iter().any(|other| other.name == policy.name) {
            all.push(policy.clone());
        }
    }
    if !all.iter().any(|policy| policy.name == DEFAULT) {
        all.push(Policy::builtin());
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What to do now. `now_us`: microseconds since the epoch.
pub fn plan(policies: &[Policy], catalogue: &Catalogue, now_us: i64, tuning: &Tuning) -> Plan {
    let policies = in_force(policies);
    let mut planner = Planner { catalogue, now_us, tuning, parts: Parts::default(), held: Vec::new() };
    let classes = planner.classes(&policies);
    for class in &classes {
        let policy = policies.iter().find(|policy| policy.name == class.policy);
        planner.table(class);
        if policy.is_some() {
            planner.premake(class);
        }
        planner.comings_and_goings(class, policy);
    }
    planner.routes(&policies, &classes);
    planner.parts.limit_runs(&policies, &mut planner.held);
    Plan { steps: planner.parts.in_order(now_us), held: planner.held }
}

struct Planner<'a> {
    catalogue: &'a Catalogue,
    now_us: i64,
    tuning: &'a Tuning,
    parts: Parts,
    held: Vec<Held>,
}

/// Steps by the part of the plan they belong to.
#[derive(Default)]
struct Parts {
    classes: Vec<Planned>,
    near: Vec<Planned>,
    back: Vec<Planned>,
    routes: Vec<Planned>,
    past: Vec<Planned>,
    finish: Vec<Planned>,
    drop: Vec<Planned>,
    detach: Vec<Planned>,
}

impl Parts {
    /// What takes records now comes first for all classes, then the nearest future; of the past the latest.
    fn in_order(mut self, now_us: i64) -> Vec<Planned> {
        let from = |planned: &Planned| planned.step.leaf().map_or(0, |leaf| leaf.from_us);
        self.near.sort_by_key(|planned| from(planned).max(now_us));
        self.past.sort_by_key(|planned| std::cmp::Reverse(from(planned)));
        [self.classes, self.near, self.back, self.routes, self.past, self.finish, self.drop, self.detach]
            .into_iter()
            .flatten()
            .collect()
    }

    /// One run detaches at most `dropLimit.partitions` of a policy (at least one); the rest waits for the next run. What is
    /// dropped was counted when it was detached, or when a shorter grace period was let in.
    fn limit_runs(&mut self, policies: &[Policy], held: &mut Vec<Held>) {
        let limit = |name: &str| {
            let policy = policies.iter().find(|policy| policy.name == name);
            policy.map_or(super::DropLimit::default(), |policy| policy.drop_limit).partitions.max(1)
        };
        let mut taken: Vec<(String, u32)> = Vec::new();
        let mut kept = Vec::new();
        for planned in std::mem::take(&mut self.detach) {
            let place = taken.iter().position(|(name, _)| *name == planned.policy).unwrap_or_else(|| {
                taken.push((planned.policy.clone(), 0));
                taken.len() - 1
            });
            if taken[place].1 < limit(&planned.policy) {
                taken[place].1 += 1;
                kept.push(planned);
            } else {
                held.push(Held {
                    policy: planned.policy,
                    class: planned.step.class(),
                    what: planned.step.to_string(),
                    waits: Waits::NextRun,
                    partitions: 1,
                    bytes: planned.bytes,
                });
            }
        }
        self.detach = kept;
    }
}

impl Planner<'_> {
    /// All classes as they are after this plan's class steps; new ones get the next free ids.
    fn classes(&mut self, policies: &[Policy]) -> Vec<Class> {
        let mut all = self.catalogue.classes.clone();
        all.sort_by_key(|class| class.id);
        let mut next = all.last().map_or(1, |class| class.id.0 + 1);
        for policy in policies {
            let barrier = self.barrier(policy);
            for level in PolicyLevel::ALL {
                let wanted_us = *policy.retention_us.get(level);
                match all.iter_mut().find(|class| class.policy == policy.name && class.level == level) {
                    None => {
                        let class = Class {
                            id: ClassId(next),
                            policy: policy.name.clone(),
                            policy_uid: policy.uid.clone(),
                            level,
                            retention_us: wanted_us,
                            grace_us: policy.grace_us,
                            legal_hold: policy.legal_hold,
                            wanted: None,
                            has_table: false,
                        };
                        next += 1;
                        self.parts.classes.push(planned(Step::PutClass(class.clone()), &class, "new class"));
                        all.push(class);
                    }
                    Some(class) => self.update_class(policy, class, wanted_us, barrier.as_ref()),
                }
            }
        }
        all
    }

    /// Brings a class's row to what its policy says. A longer retention or grace period is in force at once; a shorter one is
    /// announced, and in force when its notice is over and no barrier stands before it.
    fn update_class(&mut self, policy: &Policy, class: &mut Class, wanted_us: i64, barrier: Option<&Waits>) {
        let before = class.clone();
        let mut changes = Vec::new();
        for (name, from_us, to_us) in [
            ("retention", before.retention_us, wanted_us),
            ("grace period", before.grace_us, policy.grace_us),
        ] {
            if from_us != to_us {
                changes.push(format!("{name} {} -> {}", duration::print(from_us), duration::print(to_us)));
            }
        }
        let change = changes.join(", ");
        let why = if change.is_empty() { "policy changed" } else { &change };
        class.policy_uid.clone_from(&policy.uid);
        class.legal_hold = policy.legal_hold;
        class.retention_us = before.retention_us.max(wanted_us);
        class.grace_us = before.grace_us.max(policy.grace_us);
        class.wanted = None;
        if wanted_us < before.retention_us || policy.grace_us < before.grace_us {
            if let Some(waits) = barrier {
                self.hold_shortening(policy, &before, wanted_us, &change, waits.clone());
            } else {
                let announced = before.wanted.filter(|wanted| wanted.covers(wanted_us, policy.grace_us));
                let effective_from_us = announced.map_or_else(
                    || self.now_us + self.tuning.notice_us.max(0),
                    |wanted| wanted.effective_from_us,
                );
                if effective_from_us <= self.now_us {
                    (class.retention_us, class.grace_us) = (wanted_us, policy.grace_us);
                } else {
                    class.wanted = Some(Wanted {
                        retention_us: wanted_us,
                        grace_us: policy.grace_us,
                        effective_from_us,
                    });
                    let waits = Waits::Until(effective_from_us);
                    self.hold_shortening(policy, &before, wanted_us, &change, waits);
                }
            }
        }
        if *class != before {
            self.parts.classes.push(planned(Step::PutClass(class.clone()), class, why));
        }
    }

    /// Why the shorter retentions (or grace period) of a policy may not take effect, if so; judged over all its levels
    /// together.
    fn barrier(&self, policy: &Policy) -> Option<Waits> {
        if let Some(waits) = held_by(policy) {
            return Some(waits);
        }
        let (mut partitions, mut bytes) = (0_u32, 0_i64);
        for level in PolicyLevel::ALL {
            let Some(class) = self.catalogue.class(&policy.name, level) else { continue };
            for leaf in self.taken_away(policy, class, *policy.retention_us.get(level)) {
                partitions += 1;
                bytes = bytes.saturating_add(leaf.bytes);
            }
        }
        let limit = policy.drop_limit;
        (partitions > limit.partitions || (partitions > 0 && bytes > limit.bytes))
            .then_some(Waits::Approval { limit_partitions: limit.partitions, limit_bytes: limit.bytes })
    }

    fn hold_shortening(
        &mut self,
        policy: &Policy,
        class: &Class,
        wanted_us: i64,
        change: &str,
        waits: Waits,
    ) {
        let gone = self.taken_away(policy, class, wanted_us);
        self.held.push(Held {
            policy: class.policy.clone(),
            class: Some(class.id),
            what: format!("{}: {change}", class.level),
            waits,
            partitions: gone.len() as u32,
            bytes: gone.iter().map(|leaf| leaf.bytes).sum(),
        });
    }

    /// Leaves with records that the change of a class takes away at once: those that a shorter retention expires, and those
    /// whose grace period a shorter one ends.
    fn taken_away(&self, policy: &Policy, class: &Class, wanted_us: i64) -> Vec<&Leaf> {
        let mut gone = newly_expired(self.catalogue, class, wanted_us, self.now_us);
        gone.extend(newly_ended(self.catalogue, class, policy.grace_us, self.now_us));
        gone
    }

    /// The class's own table, if it is not there (a new class, or drift).
    fn table(&mut self, class: &Class) {
        if !class.has_table {
            let why = "its table is missing";
            self.parts.classes.push(planned(Step::CreateClassTable { class: class.id }, class, why));
        }
    }

    /// Leaves for every time that a record can have: from the horizon, or as far back as records can come, to some
    /// intervals ahead. Nearest to now first.
    fn premake(&mut self, class: &Class) {
        let interval_us = class::interval_us(class.retention_us);
        let current_us = class::align_down(self.now_us, interval_us);
        let horizon_us = self.now_us.saturating_sub(class.retention_us);
        let reach_us = (self.now_us - TIME_PAST_US_MAX - interval_us)
            .min(self.catalogue.oldest_fresh_us.unwrap_or(i64::MAX))
            .max(horizon_us);
        let from_us = class::align_down(reach_us, interval_us);
        let ahead_us = self.now_us + class::ahead_us(interval_us);
        let to_us = class::align_down(ahead_us, interval_us) + interval_us;
        let leaves = self.catalogue.leaves_of(class.id);
        let taken: Vec<(i64, i64)> = leaves.iter().map(|leaf| (leaf.from_us, leaf.to_us)).collect();
        let mut wanted: Vec<LeafRef> = gaps(&taken, from_us, to_us)
            .into_iter()
            .flat_map(|(from, to)| cut(from, to, interval_us))
            .filter(|(_, to)| *to > horizon_us)
            .map(|(from_us, to_us)| LeafRef { class: class.id, from_us, to_us })
            .collect();
        wanted.sort_by_key(|leaf| (leaf.from_us - current_us).abs());
        wanted.truncate(CREATE_LEAVES_MAX);
        for leaf in wanted {
            let (part, why) = match leaf.to_us <= self.now_us {
                true => (&mut self.parts.past, "late records"),
                false => (&mut self.parts.near, "ahead"),
            };
            part.push(planned(Step::CreateLeaf(leaf), class, why));
        }
    }

    /// What an existing leaf needs: finalized, attached again, detached, dropped, or nothing.
    fn comings_and_goings(&mut self, class: &Class, policy: Option<&Policy>) {
        let hold = match policy {
            Some(policy) => held_by(policy),
            None => class.legal_hold.then_some(Waits::LegalHold),
        };
        // A retention that this plan shortens moves the horizon only when PostgreSQL has it: in the next pass.
        // So does a shorter grace period.
        let before = self.catalogue.class_by_id(class.id);
        let retention_us = class.retention_us.max(before.map_or(0, |class| class.retention_us));
        let grace_us = class.grace_us.max(before.map_or(0, |class| class.grace_us));
        let class = &Class { retention_us, grace_us, ..class.clone() };
        for leaf in self.catalogue.leaves_of(class.id) {
            let expired = leaf.expired(retention_us, self.now_us);
            // A class without a policy gets no more records: its empty leaves are of no use.
            let useless = policy.is_none() && leaf.empty;
            match leaf.state {
                LeafState::Missing if policy.is_none() || expired => {
                    self.parts.finish.push(planned(Step::Forget(leaf.key()), class, "its table is gone"));
                }
                // Made again with the bounds it had.
                LeafState::Missing => {
                    self.parts.near.push(planned(Step::CreateLeaf(leaf.key()), class, "its table is gone"));
                }
                LeafState::Detaching => {
                    let why = "its detach was interrupted";
                    self.parts.finish.push(planned(Step::FinalizeDetach(leaf.key()), class, why));
                }
                LeafState::Attached if expired || useless => self.detach(class, leaf, expired, hold.as_ref()),
                LeafState::Attached => {}
                LeafState::Detached { at_us } if expired || useless => {
                    self.drop(class, leaf, at_us, hold.as_ref());
                }
                LeafState::Detached { .. } => {
                    let why = format!("not expired: retention is {}", duration::print(class.retention_us));
                    let mut step = planned(Step::Reattach(leaf.key()), class, &why);
                    step.bytes = leaf.bytes;
                    self.parts.back.push(step);
                }
            }
        }
    }

    fn detach(&mut self, class: &Class, leaf: &Leaf, expired: bool, hold: Option<&Waits>) {
        let why = if expired {
            format!("expired since {}", duration::time(leaf.to_us + class.retention_us))
        } else {
            "empty, and its policy is gone".to_owned()
        };
        let mut step = planned(Step::Detach(leaf.key()), class, &why);
        step.bytes = leaf.bytes;
        match hold {
            Some(waits) => self.hold_step(step, leaf, waits.clone()),
            None => self.parts.detach.push(step),
        }
    }

    fn drop(&mut self, class: &Class, leaf: &Leaf, at_us: Option<i64>, hold: Option<&Waits>) {
        let Some(at_us) = at_us else {
            let why = format!("grace period of {} begins", duration::print(class.grace_us));
            self.parts.finish.push(planned(Step::MarkDetached(leaf.key()), class, &why));
            return;
        };
        let drop_at_us = at_us.saturating_add(class.grace_us);
        let why = if leaf.empty {
            "detached and empty".to_owned()
        } else {
            format!("detached {}, grace period over {}", duration::time(at_us), duration::time(drop_at_us))
        };
        let mut step = planned(Step::Drop(leaf.key()), class, &why);
        step.bytes = leaf.bytes;
        match hold {
            Some(waits) => self.hold_step(step, leaf, waits.clone()),
            None if leaf.empty || drop_at_us <= self.now_us => self.parts.drop.push(step),
            None => self.hold_step(step, leaf, Waits::Until(drop_at_us)),
        }
    }

    fn hold_step(&mut self, planned: Planned, leaf: &Leaf, waits: Waits) {
        self.held.push(Held {
            policy: planned.policy,
            class: planned.step.class(),
            what: planned.step.to_string(),
            waits,
            partitions: u32::from(!leaf.empty),
            bytes: leaf.bytes,
        });
    }

    fn routes(&mut self, policies: &[Policy], classes: &[Class]) {
        let routes = Routes::compile(policies, classes);
        if self.catalogue.routes.as_ref() != Some(&routes) {
            self.parts.routes.push(Planned {
                step: Step::PutRoutes(routes),
                policy: String::new(),
                why: "policies or classes changed".to_owned(),
                bytes: 0,
            });
        }
    }
}

fn planned(step: Step, class: &Class, why: &str) -> Planned {
    Planned { step, policy: class.policy.clone(), why: why.to_owned(), bytes: 0 }
}

fn held_by(policy: &Policy) -> Option<Waits> {
    if policy.legal_hold { Some(Waits::LegalHold) } else { policy.suspend.then_some(Waits::Suspended) }
}

/// Leaves with records that a retention of `wanted_us` would expire and the one in force does not.
pub fn newly_expired<'a>(
    catalogue: &'a Catalogue,
    class: &Class,
    wanted_us: i64,
    now_us: i64,
) -> Vec<&'a Leaf> {
    catalogue
        .leaves_of(class.id)
        .into_iter()
        .filter(|leaf| leaf.state == LeafState::Attached && !leaf.empty)
        .filter(|leaf| leaf.expired(wanted_us, now_us) && !leaf.expired(class.retention_us, now_us))
        .collect()
}

/// Detached leaves with records whose grace period would be over with `grace_us` and is not with the one in force.
fn newly_ended<'a>(catalogue: &'a Catalogue, class: &Class, grace_us: i64, now_us: i64) -> Vec<&'a Leaf> {
    let over = |leaf: &Leaf, grace_us: i64| match leaf.state {
        LeafState::Detached { at_us: Some(at_us) } => at_us.saturating_add(grace_us) <= now_us,
        _ => false,
    };
    let leaves = catalogue.leaves_of(class.id).into_iter().filter(|leaf| !leaf.empty);
    leaves.filter(|leaf| over(leaf, grace_us) && !over(leaf, class.grace_us)).collect()
}

/// What of `[from, to)` no range in `taken` (sorted by lower bound) covers.
fn gaps(taken: &[(i64, i64)], from: i64, to: i64) -> Vec<(i64, i64)> {
    let mut gaps = Vec::new();
    let mut at = from;
    for &(taken_from, taken_to) in taken {
        if taken_to <= at || taken_from >= to {
            continue;
        }
        if taken_from > at {
            gaps.push((at, taken_from));
        }
        at = at.max(taken_to);
    }
    if at < to {
        gaps.push((at, to));
    }
    gaps
}

/// `[from, to)` cut at the multiples of `interval`.
fn cut(from: i64, to: i64, interval: i64) -> impl Iterator<Item = (i64, i64)> {
    let mut at = from;
    std::iter::from_fn(move || {
        (at < to).then(|| {
            let piece = (at, to.min(class::align_down(at, interval) + interval));
            at = piece.1;
            piece
        })
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
