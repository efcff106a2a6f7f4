//! The planner: (policies, catalogue, clock) -> steps, and what is held. It decides and executes nothing.
//!
//! Order of the steps: classes, the leaves for which records wait, those ahead, what comes back, routes, and only then what goes.
//! Promises: nothing unexpired is detached or dropped but what is empty; a policy's shorter retention or grace period is announced
//! first and held when it would take away more than its limit; after the plan is applied, the next plan is empty but for
//! what time brings.

use std::collections::{HashMap, HashSet};

use super::amount::Amount;
use super::approval::Approval;
use super::catalogue::{Catalogue, Leaf, LeafState};
use super::class::{ApprovedFor, Class, ClassId, PolicyLevel, Wanted, tables_max};
use super::dry_run;
use super::duration;
use super::hold::Hold;
use super::holding::Holding;
use super::horizon::{Horizon, STEP_US};
use super::known::in_force;
use super::policy::Policy;
use super::room::{RECORDS_WAIT, Room};
use super::routes::Routes;
use super::shortening::{Approved, Shortening, Verdict, lost_by};
use super::step::{Held, LeafRef, Plan, Planned, Step, Waits};

/// What the operator's configuration adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Time between the announcement of a shorter retention (or grace period) and its taking effect.
    pub notice_us: i64,
    /// How far the horizon moves in one pass, at the most.
    pub horizon_step_us: i64,
}

impl Tuning {
    /// With another notice.
    pub const fn with_notice(notice_us: i64) -> Tuning {
        Tuning { notice_us, horizon_step_us: STEP_US }
    }
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning::with_notice(30_000_000)
    }
}

/// What to do now. `now_us`: microseconds since the epoch.
pub fn plan(policies: &[Policy], catalogue: &Catalogue, now_us: i64, tuning: &Tuning) -> Plan {
    let all = in_force(policies);
    if !all.iter().any(|policy| policy.dry_run) {
        return plan_for(&all, catalogue, now_us, tuning);
    }
    let mut plan = plan_for(&dry_run::in_force_meanwhile(&all, catalogue), catalogue, now_us, tuning);
    let tried: Vec<Policy> = all.iter().map(|policy| Policy { dry_run: false, ..policy.clone() }).collect();
    // A notice that would begin now ends at another time in each pass.
    let tried_plan = plan_for(&tried, catalogue, now_us, &Tuning { notice_us: 0, ..*tuning });
    let horizon_us = Horizon::next(catalogue.horizon, now_us, tuning.horizon_step_us).judged_us();
    dry_run::show(&mut plan, tried_plan, &all, &|policy: &Policy, class: ClassId| {
        let Some(class) = catalogue.class_by_id(class) else { return Amount::default() };
        lost_by(policy, class, *policy.retention_us.get(class.level), catalogue, horizon_us)
    });
    plan
}

fn plan_for(policies: &[Policy], catalogue: &Catalogue, now_us: i64, tuning: &Tuning) -> Plan {
    let policies = in_force(policies);
    let horizon = Horizon::next(catalogue.horizon, now_us, tuning.horizon_step_us);
    let mut planner = Planner {
        catalogue,
        now_us,
        horizon,
        horizon_us: horizon.judged_us(),
        tuning,
        holding: Holding::of(&policies, catalogue),
        parts: Parts::default(),
        held: Vec::new(),
    };
    let classes = planner.classes(&policies);
    planner.holds(&policies);
    let by_name: HashMap<&str, &Policy> =
        policies.iter().map(|policy| (policy.name.as_str(), policy)).collect();
    let mut leaves: HashMap<ClassId, Vec<&Leaf>> = HashMap::new();
    for leaf in &catalogue.leaves {
        leaves.entry(leaf.class).or_default().push(leaf);
    }
    leaves.values_mut().for_each(|leaves| leaves.sort_by_key(|leaf| (leaf.from_us, leaf.to_us)));
    let mut wanted: HashMap<ClassId, Vec<LeafRef>> = HashMap::new();
    for leaf in &catalogue.wanted {
        wanted.entry(leaf.class).or_default().push(*leaf);
    }
    for class in &classes {
        let policy = by_name.get(class.policy.as_str()).copied();
        let leaves = leaves.get(&class.id).map_or(&[][..], Vec::as_slice);
        let wanted = wanted.get(&class.id).map_or(&[][..], Vec::as_slice);
        let drift = catalogue.drift.iter().filter(|drift| drift.class == Some(class.id));
        let taken: Vec<(i64, i64)> = drift.flat_map(|drift| drift.taken.iter().copied()).collect();
        let horizon_us = planner.horizon_us;
        let keeps_expired = planner.holding.any();
        let room = Room { class, leaves, wanted, taken: &taken, now_us, horizon_us, keeps_expired };
        planner.comings_and_goings(class, policy, &room);
        planner.make_room(class, policy, &room);
    }
    planner.routes(&policies, &classes);
    planner.parts.sort(now_us);
    planner.parts.limit_detaches(&policies, &mut planner.held);
    planner.parts.limit_tables(catalogue, &mut planner.held);
    let mut steps = planner.parts.in_order();
    for planned in &mut steps {
        planned.generation = by_name.get(planned.policy.as_str()).map_or(0, |policy| policy.generation);
    }
    Plan { steps, held: planner.held }
}

struct Planner<'a> {
    catalogue: &'a Catalogue,
    now_us: i64,
    horizon: Horizon,
    /// What expires is judged by it.
    horizon_us: i64,
    tuning: &'a Tuning,
    holding: Holding<'a>,
    parts: Parts,
    held: Vec<Held>,
}

/// Steps by the part of the plan they belong to.
#[derive(Default)]
struct Parts {
    classes: Vec<Planned>,
    tables: Vec<Planned>,
    near: Vec<Planned>,
    back: Vec<Planned>,
    routes: Vec<Planned>,
    finish: Vec<Planned>,
    drop: Vec<Planned>,
    detach: Vec<Planned>,
}

impl Parts {
    fn in_order(self) -> Vec<Planned> {
        let Parts { classes, tables, near, back, routes, finish, drop, detach } = self;
        [classes, tables, near, back, routes, finish, drop, detach].into_iter().flatten().collect()
    }

    /// What records wait for comes first for all classes, then what is nearest to now.
    fn sort(&mut self, now_us: i64) {
        self.near.sort_by_key(|planned| {
            let from_us = planned.step.leaf().map_or(0, |leaf| leaf.from_us);
            (planned.why != RECORDS_WAIT, (from_us - now_us).abs())
        });
    }

    /// What the server does not bear waits, and so do its records. A class that has a table already gets a quarter more: its records
    /// are the ones that come every day.
    fn limit_tables(&mut self, catalogue: &Catalogue, held: &mut Vec<Held>) {
        let Some(limit) = catalogue.lock_slots.map(tables_max) else { return };
        let mut tables = catalogue.tables();
        let mut refused: HashSet<ClassId> = HashSet::new();
        let mut fits = |planned: &Planned, limit_here: usize| {
            let class = planned.step.class();
            if class.is_some_and(|class| refused.contains(&class)) {
                return false;
            }
            if tables < limit_here {
                tables += 1;
                return true;
            }
            refused.extend(class);
            held.push(Held {
                policy: planned.policy.clone(),
                class,
                what: planned.step.to_string(),
                waits: Waits::TooManyPartitions { limit },
                partitions: 0,
                bytes: 0,
                records: None,
            });
            false
        };
        self.tables.retain(|planned| fits(planned, limit));
        self.near.retain(|planned| fits(planned, limit + limit / 4));
    }

    /// One pass detaches at most [`Policy::detach_max`] of a policy, of one that is gone as many as of the built-in one; the rest waits for
    /// the next pass. What is dropped was counted when it was detached, or when a shorter grace period was let in.
    fn limit_detaches(&mut self, policies: &[Policy], held: &mut Vec<Held>) {
        let limit = |name: &str| {
            let policy = policies.iter().find(|policy| policy.name == name);
            policy.map_or_else(|| Policy::builtin().detach_max(), Policy::detach_max)
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
                    waits: Waits::NextPass,
                    partitions: u32::from(planned.bytes > 0),
                    bytes: planned.bytes,
                    records: planned.records,
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
            let verdict = match held_by(policy) {
                Some(waits) => Err(waits),
                None => match Shortening::of(policy, self.catalogue, self.horizon_us).verdict() {
                    Verdict::Within => Ok(None),
                    Verdict::Approved(approved) => Ok(Some(approved)),
                    Verdict::Needs(needs) => Err(Waits::Approval(needs)),
                },
            };
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
                            approved: None,
                            has_table: false,
                        };
                        next += 1;
                        self.parts.classes.push(planned(Step::PutClass(class.clone()), &class, "new class"));
                        all.push(class);
                    }
                    Some(class) => self.update_class(policy, class, wanted_us, &verdict),
                }
            }
        }
        all
    }

    /// Brings a class's row to what its policy says. A longer retention or grace period is in force at once; a shorter one is
    /// announced, and in force when its notice is over. `verdict`: what it waits for, or the approval under which it may.
    fn update_class(
        &mut self,
        policy: &Policy,
        class: &mut Class,
        wanted_us: i64,
        verdict: &Result<Option<Approved>, Waits>,
    ) {
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
        let mut why = if change.is_empty() { "policy changed".to_owned() } else { change.clone() };
        let mut approval = None;
        class.policy_uid.clone_from(&policy.uid);
        class.legal_hold = policy.legal_hold;
        class.retention_us = before.retention_us.max(wanted_us);
        class.grace_us = before.grace_us.max(policy.grace_us);
        class.wanted = None;
        let is_longer = class.retention_us > before.retention_us || class.grace_us > before.grace_us;
        if is_longer {
            class.approved = None;
        }
        if wanted_us < before.retention_us || policy.grace_us < before.grace_us {
            if let Err(waits) = verdict {
                // An approval that was taken back before it was in force.
                class.approved = class.approved.take().filter(|_| before.wanted.is_none());
                self.hold_shortening(policy, &before, wanted_us, &change, waits.clone());
            } else {
                if let Ok(Some(Approved { approval: given, at_us })) = verdict {
                    let before_us = at_us.saturating_sub(wanted_us);
                    class.approved = Some(ApprovedFor { approval: given.clone(), before_us });
                    why = format!("{change}, plan {} approved by {}", given.plan, given.by);
                    approval = Some(given.clone());
                }
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
            let step = planned(Step::PutClass(class.clone()), class, &why);
            self.parts.classes.push(Planned { approval, ..step });
        }
    }

    fn hold_shortening(
        &mut self,
        policy: &Policy,
        class: &Class,
        wanted_us: i64,
        change: &str,
        waits: Waits,
    ) {
        let Amount { partitions, bytes, records } =
            lost_by(policy, class, wanted_us, self.catalogue, self.horizon_us);
        self.held.push(Held {
            policy: class.policy.clone(),
            class: Some(class.id),
            what: format!("{}: {change}", class.level),
            waits,
            partitions,
            bytes,
            records,
        });
    }

    /// The leaves that the class needs and has not, and its own table when it has none and is to have leaves.
    fn make_room(&mut self, class: &Class, policy: Option<&Policy>, room: &Room<'_>) {
        if policy.is_some() {
            for (leaf, why) in room.missing() {
                self.parts.near.push(planned(Step::CreateLeaf(leaf), class, why));
            }
        }
        let creates = |planned: &Planned| planned.step.class() == Some(class.id);
        // Its leaves come last: these are the last ones.
        let needs = self.parts.near.last().is_some_and(creates)
            || room.leaves.iter().any(|leaf| leaf.state != LeafState::Missing);
        if needs && !class.has_table {
            let why = "its table is missing";
            self.parts.tables.push(planned(Step::CreateClassTable { class: class.id }, class, why));
        }
    }

    /// What an existing leaf needs: finalized, attached again, detached, dropped, or nothing.
    fn comings_and_goings(&mut self, class: &Class, policy: Option<&Policy>, room: &Room<'_>) {
        let of_class = match policy {
            Some(policy) => held_by(policy),
            None => class.legal_hold.then_some(Waits::LegalHold),
        };
        // A retention that this plan shortens moves the horizon only when PostgreSQL has it: in the next pass.
        // So does a shorter grace period.
        let before = self.catalogue.class_by_id(class.id);
        let retention_us = class.retention_us.max(before.map_or(0, |class| class.retention_us));
        let grace_us = class.grace_us.max(before.map_or(0, |class| class.grace_us));
        let class = &Class { retention_us, grace_us, ..class.clone() };
        let mut late = Late::default();
        for leaf in room.leaves.iter().copied() {
            let by_match = self.holding.by(leaf.key()).map(|policy| Waits::HoldOf(policy.to_owned()));
            let hold = of_class.as_ref().or(by_match.as_ref());
            // What is older than its class's retention may wait for it all the same, because of a hold.
            let awaited = self.holding.any() && leaf.empty && room.is_wanted(leaf);
            let expired = leaf.expired(retention_us, self.horizon_us) && !awaited;
            if hold.is_none() && !leaf.empty {
                late.note(class, leaf, self.horizon_us, self.now_us);
            }
            // A class without a policy gets no more records. Under a hold not even what is empty goes.
            let useless = leaf.empty && (policy.is_none() || (hold.is_none() && room.is_useless(leaf)));
            match leaf.state {
                LeafState::Missing if useless || policy.is_none() || expired => {
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
                LeafState::Attached if expired || useless => self.detach(class, leaf, expired, hold),
                LeafState::Attached => {}
                LeafState::Detached { at_us } if expired || useless => {
                    self.drop(class, leaf, at_us, hold);
                }
                LeafState::Detached { .. } => {
                    let why = format!("not expired: retention is {}", duration::print(class.retention_us));
                    let mut step = planned(Step::Reattach(leaf.key()), class, &why);
                    (step.bytes, step.records) = (leaf.bytes, leaf.records);
                    self.parts.back.push(step);
                }
            }
        }
        self.held.extend(late.held(class, self.horizon));
    }

    fn detach(&mut self, class: &Class, leaf: &Leaf, expired: bool, hold: Option<&Waits>) {
        let why = if expired {
            format!("expired since {}", duration::time(leaf.to_us + class.retention_us))
        } else {
            "empty, and no record waits for it".to_owned()
        };
        let mut step = planned(Step::Detach(leaf.key()), class, &why);
        (step.bytes, step.records) = (leaf.bytes, leaf.records);
        step.approval = approval_of(class, leaf);
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
        (step.bytes, step.records) = (leaf.bytes, leaf.records);
        step.approval = approval_of(class, leaf);
        match hold {
            Some(waits) => self.hold_step(step, leaf, waits.clone()),
            None if leaf.empty || drop_at_us <= self.horizon_us => self.parts.drop.push(step),
            // What waits for the horizon is told for the whole class.
            None if drop_at_us <= self.now_us => {}
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
            records: leaf.records,
        });
    }

    /// Brings the holds by match to what the policies say. One whose policy is gone stays, as its classes stay held.
    fn holds(&mut self, policies: &[Policy]) {
        for policy in policies.iter().filter(|policy| !policy.dry_run) {
            let known = self.catalogue.holds.iter().find(|hold| hold.policy == policy.name);
            let (step, why) = match (Hold::of(policy), known) {
                (Some(hold), known) if known != Some(&hold) => {
                    (Step::PutHold(hold), "legalHold: nothing of what it matches goes")
                }
                (None, Some(_)) if policy.legal_hold => (
                    Step::LiftHold { policy: policy.name.clone() },
                    "it names no tenants or namespaces any more",
                ),
                (None, Some(_)) => (Step::LiftHold { policy: policy.name.clone() }, "legalHold is false"),
                _ => continue,
            };
            self.parts.classes.push(Planned::new(step, policy.name.clone(), why));
        }
    }

    fn routes(&mut self, policies: &[Policy], classes: &[Class]) {
        let routes = Routes::compile(policies, classes);
        if self.catalogue.routes.as_ref() != Some(&routes) {
            let why = "policies or classes changed";
            self.parts.routes.push(Planned::new(Step::PutRoutes(routes), "", why));
        }
    }
}

/// Leaves with records of one class whose time has come by the clock and not yet by the horizon: a jump of the clock can make it all of
/// them, so they are told together.
#[derive(Default)]
struct Late {
    detach: Amount,
    drop: Amount,
}

impl Late {
    fn note(&mut self, class: &Class, leaf: &Leaf, horizon_us: i64, now_us: i64) {
        let (sum, at_us) = match leaf.state {
            LeafState::Attached => (&mut self.detach, leaf.to_us.saturating_add(class.retention_us)),
            LeafState::Detached { at_us: Some(at_us) } if leaf.expired(class.retention_us, horizon_us) => {
                (&mut self.drop, at_us.saturating_add(class.grace_us))
            }
            _ => return,
        };
        if at_us <= now_us && at_us > horizon_us {
            sum.add(leaf.bytes, leaf.records);
        }
    }

    fn held(self, class: &Class, horizon: Horizon) -> impl Iterator<Item = Held> {
        let told = move |(what, amount): (&str, Amount)| Held {
            policy: class.policy.clone(),
            class: Some(class.id),
            what: format!("{what} of {}", class.level),
            waits: Waits::Horizon(horizon.caught_up_us()),
            partitions: amount.partitions,
            bytes: amount.bytes,
            records: amount.records,
        };
        let all = [("detach what expired", self.detach), ("drop what was detached", self.drop)];
        all.into_iter().filter(|(_, amount)| amount.partitions > 0).map(told)
    }
}

fn planned(step: Step, class: &Class, why: &str) -> Planned {
    Planned::new(step, class.policy.clone(), why)
}

/// Under which approval a leaf goes, if its class's retention was shortened by one.
fn approval_of(class: &Class, leaf: &Leaf) -> Option<Approval> {
    let covers = |known: &&ApprovedFor| !leaf.empty && leaf.to_us <= known.before_us;
    class.approved.as_ref().filter(covers).map(|known| known.approval.clone())
}

fn held_by(policy: &Policy) -> Option<Waits> {
    if policy.legal_hold {
        Some(Waits::LegalHold)
    } else if policy.suspend {
        Some(Waits::Suspended)
    } else {
        policy.dry_run.then_some(Waits::DryRun)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
