//! Months of simulated operation with random edits, crashes and clock steps: the laws of retention as properties.
//! No record is gone before its retention; no pass detaches more of a policy than one may; what waits for a leaf has one after the next pass, unless the server bears no more tables;
//! no leaf is made but those, and those of now and ahead;
//! a class without records has no tables; a plan that is applied
//! again and again ends in an empty plan; the lint never objects to the planner. What a legal hold matches stays, whatever class keeps it.
//! The clock may jump by months: no record goes but by the horizon. `CORDWOOD_CASES` asks for more cases.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::approval::Approval;
use super::catalogue::{Catalogue, Leaf, LeafState};
use super::class::{ClassId, PolicyLevel, align_down, interval_us};
use super::hold::{HeldLeaf, Hold, Takes};
use super::policy::{DropLimit, Match, PerLevel, Policy};
use super::step::{LeafRef, Plan, Step, Waits};
use super::{Horizon, Tuning, in_force, lint, plan};
use crate::limits::{TIME_FUTURE_US_MAX, TIME_PAST_US_MAX};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const TUNING: Tuning = Tuning::with_notice(30_000_000);

/// One thing that happens; the numbers are reduced to what the thing can take.
type Event = (u8, u32, u32);

struct World {
    now_us: i64,
    policies: Vec<Policy>,
    catalogue: Catalogue,
    /// Every stored record: where it lies, whose it is, its time.
    records: Vec<(LeafRef, &'static str, i64)>,
    /// Records without a leaf: in the rings, as the sealer leaves them.
    waiting: Vec<(ClassId, &'static str, i64)>,
}

const RETENTIONS: [i64; 9] =
    [MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY];

impl World {
    fn new() -> World {
        World {
            now_us: 1_795_000_000_000_000,
            policies: Vec::new(),
            catalogue: Catalogue::default(),
            records: Vec::new(),
            waiting: Vec::new(),
        }
    }

    fn retention(number: u32) -> PerLevel<i64> {
        let at = |shift: u32| RETENTIONS[(number >> shift) as usize % RETENTIONS.len()];
        PerLevel { debug: at(0), info: at(3), warn: at(6), error: at(9) }
    }

    fn happen(&mut self, (kind, a, b): Event) -> Result<(), TestCaseError> {
        let name = format!("p{}", a % 3);
        let place = self.policies.iter().position(|policy| policy.name == name);
        match (kind % 10, place) {
            (0, None) => self.policies.push(Policy {
                name,
                uid: b.to_string(),
                generation: 1,
                priority: (b % 3) as i32,
                matches: Match { tenants: vec![format!("t{}*", a % 3)], ..Match::default() },
                retention_us: World::retention(b),
                grace_us: i64::from(b % 200) * MINUTE,
                drop_limit: DropLimit { partitions: 1 + b % 20, bytes: i64::from(b % 50) << 20 },
                detach_per_pass: (b % 3 == 1).then_some(b % 5),
                suspend: false,
                legal_hold: false,
                dry_run: b % 7 == 3,
                approval: None,
                written_by: crate::retention::WrittenBy::default(),
            }),
            (0, Some(place)) => {
                self.policies[place].generation += 1;
                self.policies[place].retention_us = World::retention(b);
            }
            (1, Some(place)) if b % 3 == 0 => {
                self.policies.remove(place);
            }
            (1, Some(place)) if b % 5 == 1 => self.policies[place].dry_run ^= true,
            (1, Some(place)) => self.policies[place].suspend = b % 2 == 0,
            (2, Some(place)) if b % 4 == 1 => self.approve(place),
            (2, Some(place)) => self.policies[place].legal_hold = b % 4 == 0,
            // The clock: mostly forward, sometimes back by up to an hour.
            (3..=6, _) => self.now_us += i64::from(b) % (2 * DAY / 1_000_000) * 1_000_000,
            // It jumps by months, or comes back from there.
            (7, _) if b % 16 == 15 => self.now_us += (i64::from(a % 800) - 400) * DAY,
            (7, _) => self.now_us -= i64::from(b % 60) * MINUTE,
            (8, _) if b % 8 == 7 => {
                self.catalogue.lock_slots = (a % 2 == 0).then_some(60 + i64::from(b % 900));
            }
            (8, _) => self.drift(a, b),
            _ => {}
        }
        // A crash: only some of the plan's steps are done.
        let part = if kind % 10 == 9 { (b % 40) as usize } else { usize::MAX };
        self.pass(part)?;
        self.settle()?;
        self.store(a, b)
    }

    /// Holds of which somebody was told: what the database has, and what a policy says.
    fn holds(&self) -> Vec<Hold> {
        let said = self.policies.iter().filter(|policy| !policy.dry_run).filter_map(Hold::of);
        said.chain(self.catalogue.holds.iter().cloned()).collect()
    }

    /// What holds find in the leaves, also those of policies that are tried out: as PostgreSQL is asked.
    fn mark(&mut self) {
        let asked = self.policies.iter().filter_map(Hold::of).chain(self.catalogue.holds.iter().cloned());
        let asked: Vec<Hold> = asked.collect();
        let mut marks: BTreeSet<(String, LeafRef)> = BTreeSet::new();
        if !asked.is_empty() {
            let whose: BTreeSet<(LeafRef, &str)> =
                self.records.iter().map(|(leaf, tenant, _)| (*leaf, *tenant)).collect();
            for hold in asked {
                let takes = Takes::of(std::slice::from_ref(&hold));
                let found = whose.iter().filter(|(_, tenant)| takes.takes(tenant, ""));
                marks.extend(found.map(|(leaf, _)| (hold.policy.clone(), *leaf)));
            }
        }
        let held = |(policy, leaf): (String, LeafRef)| HeldLeaf {
            policy,
            class: leaf.class,
            from_us: leaf.from_us,
            records: None,
        };
        self.catalogue.held = marks.into_iter().map(held).collect();
    }

    /// Somebody approves what waits for it now.
    fn approve(&mut self, place: usize) {
        self.mark();
        let plan = plan(&self.policies, &self.catalogue, self.now_us, &TUNING);
        let policy = &mut self.policies[place];
        policy.approval =
            plan.held.iter().filter(|held| held.policy == policy.name).find_map(|held| match &held.waits {
                Waits::Approval(needs) => Some(Approval { plan: needs.plan.clone(), by: "ann".to_owned() }),
                _ => None,
            });
    }

    /// A detach is interrupted, or somebody detaches or drops an empty leaf by hand.
    fn drift(&mut self, a: u32, b: u32) {
        let count = self.catalogue.leaves.len().max(1);
        if let Some(leaf) = self.catalogue.leaves.get_mut(a as usize % count) {
            leaf.state = match (b % 3, leaf.state) {
                (0, LeafState::Attached) => LeafState::Detaching,
                (1, LeafState::Attached) => LeafState::Detached { at_us: None },
                (2, _) if leaf.empty => LeafState::Missing,
                (_, state) => state,
            };
        }
    }

    fn pass(&mut self, steps_max: usize) -> Result<usize, TestCaseError> {
        self.mark();
        let plan = plan(&self.policies, &self.catalogue, self.now_us, &TUNING);
        let findings = lint(&plan, &in_force(&self.policies), &self.catalogue, self.now_us, &TUNING);
        // What was interrupted leaves a hole until the next pass; nothing does when there is nothing left to do.
        let grave = findings.iter().any(|finding| finding.fatal || plan.is_empty());
        prop_assert!(!grave, "{:?}\n{}", findings, plan);
        self.watch()?;
        self.check_shortened(&plan)?;
        self.check_detached(&plan)?;
        for planned in plan.steps.iter().take(steps_max) {
            self.check_going(&planned.step)?;
            self.catalogue.apply(&planned.step, self.now_us);
        }
        Ok(plan.steps.len())
    }

    /// What expires is judged by: no later than the clock, and since the pass before later by no more than a step.
    fn believed_us(&self) -> i64 {
        self.catalogue.horizon.map_or(self.now_us, |horizon| horizon.at_us.min(self.now_us))
    }

    /// The pass keeps its horizon, which has moved by no more than a step, or than 24 times what the clock has.
    fn watch(&mut self) -> Result<(), TestCaseError> {
        let next = Horizon::next(self.catalogue.horizon, self.now_us, TUNING.horizon_step_us);
        if let Some(before) = self.catalogue.horizon {
            let moved_us = (next.at_us - before.at_us).abs();
            prop_assert!(
                moved_us <= (24 * (self.now_us - before.clock_us).abs()).min(DAY),
                "{:?} {:?}",
                before,
                next
            );
        }
        self.catalogue.horizon = Some(next);
        Ok(())
    }

    /// No retention becomes shorter by which more records expire at once than the limit allows, unless somebody approved something.
    fn check_shortened(&self, plan: &Plan) -> Result<(), TestCaseError> {
        for policy in self.policies.iter().filter(|policy| policy.approval.is_none()) {
            let mut expired = 0;
            for planned in plan.steps.iter().filter(|planned| planned.policy == policy.name) {
                let Step::PutClass(row) = &planned.step else { continue };
                let Some(before) = self.catalogue.class_by_id(row.id) else { continue };
                expired += self
                    .catalogue
                    .leaves_of(row.id)
                    .iter()
                    .filter(|leaf| leaf.state == LeafState::Attached && !leaf.empty)
                    .filter(|leaf| leaf.expired(row.retention_us, self.believed_us()))
                    .filter(|leaf| !leaf.expired(before.retention_us, self.believed_us()))
                    .count();
            }
            prop_assert!(
                expired <= policy.drop_limit.partitions as usize,
                "{} expire without approval\n{}",
                expired,
                plan
            );
        }
        Ok(())
    }

    /// No pass detaches more of a policy than it says, or else than a shortening may take away.
    fn check_detached(&self, plan: &Plan) -> Result<(), TestCaseError> {
        for policy in &self.policies {
            let of_it = plan.steps.iter().filter(|planned| planned.policy == policy.name);
            let detached = of_it.filter(|planned| matches!(planned.step, Step::Detach(_))).count();
            let most = policy.detach_per_pass.unwrap_or(policy.drop_limit.partitions).max(1);
            prop_assert!(detached <= most as usize, "{} at once, {} may\n{}", detached, most, plan);
        }
        Ok(())
    }

    /// No record that is still promised goes out of sight or is dropped.
    fn check_going(&self, step: &Step) -> Result<(), TestCaseError> {
        let (Step::Detach(leaf) | Step::Drop(leaf)) = step else { return Ok(()) };
        let class = self.catalogue.class_by_id(leaf.class).ok_or_else(|| TestCaseError::fail("no class"))?;
        let policy = self.policies.iter().find(|policy| policy.name == class.policy);
        let held =
            policy.map_or(class.legal_hold, |policy| policy.suspend || policy.legal_hold || policy.dry_run);
        let takes = Takes::of(&self.holds());
        for (_, tenant, time_us) in self.records.iter().filter(|(key, ..)| key == leaf) {
            prop_assert!(!held, "{} under a hold", step);
            prop_assert!(!takes.takes(tenant, ""), "{}: a hold matches a record of {}", step, tenant);
            prop_assert!(
                self.believed_us() - time_us > class.retention_us,
                "{}: a record of {} goes early",
                step,
                time_us
            );
        }
        if let (Step::Drop(_), Some(known)) = (step, self.catalogue.leaf(*leaf)) {
            prop_assert!(
                matches!(known.state, LeafState::Detached { at_us: Some(_) }),
                "{} was not detached",
                step
            );
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..2_000 {
            if self.pass(usize::MAX)? == 0 {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("does not converge"))
    }

    /// Records come for each policy's tenant and some of its levels, late or early. What finds no leaf waits, and finds one after
    /// the next passes.
    fn store(&mut self, a: u32, b: u32) -> Result<(), TestCaseError> {
        let routes = self.catalogue.routes.clone().ok_or_else(|| TestCaseError::fail("no routes"))?;
        for (place, tenant) in ["t0x", "t1x", "t2x", "other"].into_iter().enumerate() {
            let key = super::RouteKey { tenant, namespace: "", service: "", audit: false };
            let targets = routes.targets(&key);
            for level in PolicyLevel::ALL {
                if (a >> (place + level as usize)) & 1 == 0 {
                    continue;
                }
                let target = targets.get(level).ok_or_else(|| TestCaseError::fail("no class"))?;
                let late = i64::from(a) * 1_000_000 % target.retention_us.min(TIME_PAST_US_MAX);
                let early = i64::from(b) % TIME_FUTURE_US_MAX;
                for time_us in [self.now_us - late, self.now_us, self.now_us + early] {
                    self.waiting.push((target.class, tenant, time_us));
                }
            }
        }
        self.seal();
        let before: Vec<LeafRef> = self.catalogue.leaves.iter().map(Leaf::key).collect();
        self.settle()?;
        self.check_made(&before)?;
        self.seal();
        if self.catalogue.lock_slots.is_none() {
            prop_assert_eq!(&self.waiting, &[], "wait although their leaves can be created");
        }
        self.settle()?;
        self.check_tables()?;
        let leaves = &self.catalogue;
        self.records.retain(|(key, ..)| leaves.leaf(*key).is_some());
        Ok(())
    }

    /// What has a leaf goes there; the rest is noted as wanted; what expired meanwhile, or is of a class without routes, is dropped
    /// (it would be routed again).
    fn seal(&mut self) {
        let takes = Takes::of(&self.catalogue.holds);
        let (now_us, catalogue) = (self.believed_us(), &mut self.catalogue);
        catalogue.wanted.clear();
        let routed: Vec<ClassId> = catalogue
            .routes
            .iter()
            .flat_map(|routes| routes.routes())
            .flat_map(|route| PolicyLevel::ALL.map(|level| *route.classes.get(level)))
            .collect();
        let mut waiting = Vec::new();
        for (id, tenant, time_us) in std::mem::take(&mut self.waiting) {
            let Some(class) = catalogue.class_by_id(id).cloned() else { continue };
            let is_held = takes.takes(tenant, "");
            if (class.keeps().is_expired(time_us, now_us) && !is_held) || !routed.contains(&id) {
                continue;
            }
            let found = catalogue.leaves.iter_mut().find(|leaf| {
                leaf.class == id
                    && leaf.from_us <= time_us
                    && leaf.to_us > time_us
                    && leaf.state == LeafState::Attached
            });
            let Some(leaf) = found else {
                let (from_us, to_us) = class.keeps().bucket_us(time_us);
                catalogue.wanted.push(LeafRef { class: id, from_us, to_us });
                waiting.push((id, tenant, time_us));
                continue;
            };
            leaf.empty = false;
            leaf.bytes += 1 << 10;
            self.records.push((leaf.key(), tenant, time_us));
        }
        catalogue.wanted.sort_unstable();
        catalogue.wanted.dedup();
        self.waiting = waiting;
    }

    /// Each leaf that was made lies about a record that waits for it, or about now, or ahead: also under a legal hold.
    fn check_made(&self, before: &[LeafRef]) -> Result<(), TestCaseError> {
        for leaf in self.catalogue.leaves.iter().map(Leaf::key).filter(|leaf| !before.contains(leaf)) {
            let class =
                self.catalogue.class_by_id(leaf.class).ok_or_else(|| TestCaseError::fail("no class"))?;
            let width_us = interval_us(class.retention_us);
            let waits = self.waiting.iter().any(|(id, _, time_us)| {
                let from_us = align_down(*time_us, width_us);
                *id == leaf.class && leaf.from_us < from_us + width_us && leaf.to_us > from_us
            });
            let ahead = leaf.to_us > align_down(self.now_us, width_us);
            prop_assert!(waits || ahead, "{:?} was made for no record: {:?}", leaf, class);
        }
        Ok(())
    }

    /// Tables follow records: what is empty is premade for a class that gets some.
    fn check_tables(&self) -> Result<(), TestCaseError> {
        for class in &self.catalogue.classes {
            let leaves = self.catalogue.leaves_of(class.id);
            // Those of a retention that was shorter may be many more.
            let width_us = interval_us(class.retention_us);
            let premade = |leaf: &&&Leaf| leaf.empty && leaf.to_us - leaf.from_us == width_us;
            let empty = leaves.iter().filter(premade).count();
            let policy = self.policies.iter().find(|policy| policy.name == class.policy);
            let held = policy
                .map_or(class.legal_hold, |policy| policy.suspend || policy.legal_hold || policy.dry_run);
            // Premade: now's, four ahead, and what lies about them while the class still gets records.
            prop_assert!(held || empty <= 16, "{:?} has {} empty leaves", class, empty);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::cases::count(24), ..ProptestConfig::default() })]

    #[test]
    fn retention_keeps_its_laws(events in proptest::collection::vec(any::<Event>(), 1..60)) {
        let mut world = World::new();
        for event in events {
            world.happen(event)?;
        }
    }
}
