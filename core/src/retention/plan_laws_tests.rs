//! Plans of any policies for any catalogue at any clocks: nothing young or held goes, no more goes at once than may, the lint never objects, and
//! what was applied is applied again without a change until nothing is left to do.
//!
//! `laws` lives through months from nothing; here a case begins with whatever may lie there, also with what no history of this version
//! leads to. The laws are told from the rows alone, with none of the planner's code. `CORDWOOD_CASES` asks for more cases.

use proptest::prelude::*;

use super::approval::Approval;
use super::catalogue::{Catalogue, Leaf, LeafState};
use super::class::{Class, ClassId, PolicyLevel, Wanted, bucket_us};
use super::policy::{DropLimit, Match, PerLevel, Policy};
use super::step::{LeafRef, Plan, Step, Waits};
use super::{Horizon, Tuning, in_force, lint, plan};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2026-11-18T12:00:00Z.
const NOON: i64 = 1_795_003_200_000_000;
const TUNING: Tuning = Tuning::with_notice(30_000_000);
const NAMES: [&str; 4] = ["a", "b", "c", "default"];
const RETENTIONS: [i64; 9] =
    [MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY];
const UNITS: [i64; 5] = [MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, 2 * DAY];
/// Beside two for each leaf.
const PASSES_MAX: usize = 1_000;

/// Retentions, grace period in minutes, limit of partitions and what one pass detaches, MiB, state.
type DrawnPolicy = (u16, u16, u8, u8, u8);
/// Retention, grace period in minutes, state, width of its leaves; the leaves: gap before it, width, state.
type DrawnClass = (u8, u16, u8, u8, Vec<(u8, u8, u8)>);

fn retention(number: impl Into<usize>) -> i64 {
    RETENTIONS[number.into() % RETENTIONS.len()]
}

fn policy(name: &str, (retentions, grace, partitions, mebibytes, state): DrawnPolicy) -> Policy {
    let at = |shift: u16| retention((retentions >> shift) % 16);
    Policy {
        name: name.to_owned(),
        uid: name.to_owned(),
        generation: 1,
        priority: i32::from(state % 3),
        matches: Match { tenants: vec![format!("{name}*")], ..Match::default() },
        retention_us: PerLevel { debug: at(0), info: at(4), warn: at(8), error: at(12) },
        grace_us: i64::from(grace % 400) * MINUTE,
        drop_limit: DropLimit {
            partitions: 1 + u32::from(partitions % 20),
            bytes: i64::from(mebibytes) << 20,
        },
        detach_per_pass: (partitions >= 160).then(|| u32::from(partitions % 16)),
        suspend: state % 7 == 1,
        legal_hold: state % 11 == 2,
        dry_run: state % 5 == 3,
        ..Policy::builtin()
    }
}

fn class(number: usize, (kept, grace, state, ..): &DrawnClass) -> Class {
    let retention_us = retention(*kept);
    let grace_us = i64::from(grace % 400) * MINUTE;
    let soon = |seconds: i64| Wanted {
        retention_us: retention_us / 2,
        grace_us: grace_us / 2,
        effective_from_us: NOON + seconds * 1_000_000,
    };
    Class {
        id: ClassId(1 + i32::try_from(number).unwrap_or(i32::MAX)),
        policy: NAMES[number / 4 % NAMES.len()].to_owned(),
        policy_uid: String::new(),
        level: PolicyLevel::ALL[number % 4],
        retention_us,
        grace_us,
        legal_hold: state % 9 == 4,
        wanted: (state % 5 == 2).then(|| soon(i64::from(*state) - 100)),
        approved: None,
        has_table: state % 13 != 5,
    }
}

/// Its leaves one behind the other, the last of them about now; and where records wait.
fn leaves(class: &Class, (.., unit, drawn): &DrawnClass, catalogue: &mut Catalogue) {
    let unit_us = UNITS[*unit as usize % UNITS.len()];
    let span = |(gap, width, _): &(u8, u8, u8)| i64::from(gap % 4) + 1 + i64::from(width % 8);
    let mut at_us = NOON - drawn.iter().map(span).sum::<i64>() * unit_us + i64::from(unit % 7) * unit_us;
    for (gap, width, state) in drawn {
        let from_us = at_us + i64::from(gap % 4) * unit_us;
        let to_us = from_us + (1 + i64::from(width % 8)) * unit_us;
        if state % 6 == 5 {
            let (from_us, to_us) = bucket_us(class.retention_us, from_us - 1);
            catalogue.wanted.push(LeafRef { class: class.id, from_us, to_us });
        }
        let detached_us = NOON - i64::from(*width) * 5 * MINUTE;
        let leaf = LeafRef { class: class.id, from_us, to_us };
        let empty = state % 5 == 3;
        catalogue.leaves.push(Leaf {
            table: leaf.table(),
            class: class.id,
            from_us,
            to_us,
            bytes: if empty { 0 } else { i64::from(*state) << 16 },
            empty,
            blocks: 1,
            oldest_us: None,
            newest_us: None,
            records: None,
            state: match state % 16 {
                0..=9 => LeafState::Attached,
                10..=12 => LeafState::Detached { at_us: Some(detached_us) },
                13 => LeafState::Detached { at_us: None },
                14 => LeafState::Detaching,
                _ => LeafState::Missing,
            },
        });
        at_us = to_us;
    }
}

struct World {
    now_us: i64,
    policies: Vec<Policy>,
    catalogue: Catalogue,
}

impl World {
    fn new(
        policies: &[DrawnPolicy],
        classes: &[DrawnClass],
        horizon: Option<(i32, u16)>,
        slots: u16,
    ) -> World {
        let policies = NAMES.into_iter().zip(policies).map(|(name, drawn)| policy(name, *drawn)).collect();
        let minutes = |(behind, ago): (i32, u16)| Horizon {
            at_us: NOON - i64::from(behind) * MINUTE,
            clock_us: NOON - i64::from(ago) * MINUTE,
        };
        let mut catalogue = Catalogue {
            lock_slots: (slots % 3 == 1).then_some(i64::from(slots)),
            horizon: horizon.map(minutes),
            ..Catalogue::default()
        };
        for (number, drawn) in classes.iter().enumerate() {
            let class = class(number, drawn);
            leaves(&class, drawn, &mut catalogue);
            catalogue.classes.push(class);
        }
        World { now_us: NOON, policies, catalogue }
    }

    /// By which age is told: the clock, as far as it can be believed since the last pass.
    fn believed_us(&self) -> i64 {
        let Some(last) = self.catalogue.horizon else { return self.now_us };
        let passed_us = (self.now_us - last.clock_us).abs();
        self.now_us.min(last.at_us + (24 * passed_us).min(DAY))
    }

    /// All passes at one moment. Each of them keeps the laws, and after the last there is nothing left to do.
    fn settle(&mut self) -> Result<Plan, TestCaseError> {
        let (mut passes, mut leaves) = (0, 0);
        loop {
            // A policy may drop one at a time: each is detached and dropped.
            leaves = self.catalogue.leaves.len().max(leaves);
            if passes > PASSES_MAX + 2 * leaves {
                return Err(TestCaseError::fail("does not converge"));
            }
            passes += 1;
            let plan = plan(&self.policies, &self.catalogue, self.now_us, &TUNING);
            let all = in_force(&self.policies);
            let findings = lint(&plan, &all, &self.catalogue, self.now_us, &TUNING);
            prop_assert!(!findings.iter().any(|finding| finding.fatal), "{:?}\n{}", findings, plan);
            self.check(&plan, &all)?;
            let kept = Horizon::next(self.catalogue.horizon, self.now_us, TUNING.horizon_step_us);
            self.catalogue.horizon = Some(kept);
            if plan.is_empty() {
                return Ok(plan);
            }
            self.apply(&plan);
            let once = self.catalogue.clone();
            self.apply(&plan);
            prop_assert_eq!(&once, &self.catalogue, "applied again it changes something\n{}", plan);
        }
    }

    fn apply(&mut self, plan: &Plan) {
        for planned in &plan.steps {
            self.catalogue.apply(&planned.step, self.now_us);
        }
    }

    fn check(&self, plan: &Plan, all: &[Policy]) -> Result<(), TestCaseError> {
        for planned in &plan.steps {
            if let Step::Detach(key) | Step::Drop(key) = planned.step {
                self.check_going(key, matches!(planned.step, Step::Drop(_)), all)?;
            }
        }
        for policy in all {
            let detached = plan.steps.iter().filter(|planned| planned.policy == policy.name);
            let detached = detached.filter(|planned| matches!(planned.step, Step::Detach(_))).count();
            let most = match policy.detach_per_pass {
                Some(most) => most.max(1),
                None => policy.drop_limit.partitions,
            };
            prop_assert!(detached <= most as usize, "{} at once, {} may\n{}", detached, most, plan);
            self.check_shortened(plan, policy)?;
        }
        Ok(())
    }

    /// Nothing young, nothing held, nothing in its grace period.
    fn check_going(&self, key: LeafRef, is_drop: bool, all: &[Policy]) -> Result<(), TestCaseError> {
        let leaf = self.catalogue.leaf(key).ok_or_else(|| TestCaseError::fail("no such leaf"))?;
        let class = self.catalogue.class_by_id(key.class).ok_or_else(|| TestCaseError::fail("no class"))?;
        let policy = all.iter().find(|policy| policy.name == class.policy);
        let is_held = match policy {
            Some(policy) => policy.suspend || policy.legal_hold || policy.dry_run,
            None => class.legal_hold,
        };
        prop_assert!(!is_held, "{:?} is held: {:?}", leaf, policy);
        let wanted_us = policy.map_or(0, |policy| *policy.retention_us.get(class.level));
        let is_old = leaf.to_us <= self.believed_us() - class.retention_us.max(wanted_us);
        let waits = |wanted: &&LeafRef| {
            wanted.class == key.class && wanted.from_us < key.to_us && wanted.to_us > key.from_us
        };
        let is_needed = policy.is_some() && self.catalogue.wanted.iter().any(|wanted| waits(&wanted));
        prop_assert!(is_old || (leaf.empty && !is_needed), "{:?} is young: {:?} {:?}", leaf, class, policy);
        if is_drop && !leaf.empty {
            let grace_us = class.grace_us.max(policy.map_or(0, |policy| policy.grace_us));
            let is_over = match leaf.state {
                LeafState::Detached { at_us: Some(at_us) } => at_us + grace_us <= self.believed_us(),
                _ => false,
            };
            prop_assert!(is_over, "{:?} is within its grace period of {} us", leaf, grace_us);
        }
        Ok(())
    }

    /// A shorter retention or grace period comes after its notice, and takes no more than the limit unless somebody approved it.
    fn check_shortened(&self, plan: &Plan, policy: &Policy) -> Result<(), TestCaseError> {
        let (mut partitions, mut bytes) = (0, 0);
        for planned in plan.steps.iter().filter(|planned| planned.policy == policy.name) {
            let Step::PutClass(row) = &planned.step else { continue };
            let Some(before) = self.catalogue.class_by_id(row.id) else { continue };
            if row.retention_us >= before.retention_us && row.grace_us >= before.grace_us {
                continue;
            }
            let is_announced = before.wanted.is_some_and(|wanted| {
                wanted.effective_from_us <= self.now_us
                    && wanted.retention_us <= row.retention_us
                    && wanted.grace_us <= row.grace_us
            });
            prop_assert!(is_announced, "{:?} was not announced: {:?}", row, before);
            let judged_us = self.believed_us();
            for leaf in self.catalogue.leaves_of(row.id).into_iter().filter(|leaf| !leaf.empty) {
                let (by_new_us, by_old_us) = match leaf.state {
                    LeafState::Attached => (leaf.to_us + row.retention_us, leaf.to_us + before.retention_us),
                    LeafState::Detached { at_us: Some(at_us) } => {
                        (at_us + row.grace_us, at_us + before.grace_us)
                    }
                    _ => continue,
                };
                if by_new_us <= judged_us && by_old_us > judged_us {
                    (partitions, bytes) = (partitions + 1, bytes + leaf.bytes);
                }
            }
        }
        let limit = policy.drop_limit;
        let is_within = partitions == 0 || (partitions <= limit.partitions && bytes <= limit.bytes);
        prop_assert!(
            is_within || policy.approval.is_some(),
            "{} partitions, {} bytes\n{}",
            partitions,
            bytes,
            plan
        );
        Ok(())
    }

    /// Somebody approves all that waits for it.
    fn approve(&mut self, plan: &Plan) {
        for held in &plan.held {
            if let (Waits::Approval(needs), Some(policy)) =
                (&held.waits, self.policies.iter_mut().find(|policy| policy.name == held.policy))
            {
                policy.approval = Some(Approval { plan: needs.plan.clone(), by: "ann".to_owned() });
            }
        }
    }
}

/// How far the clock moves: mostly a little, sometimes for years, sometimes back.
fn moved_us((kind, number): (u8, u16)) -> i64 {
    let number = i64::from(number);
    match kind % 8 {
        0..=3 => 30_000_000 + number * 1_000_000,
        4 | 5 => number * MINUTE,
        6 => -number * 1_000_000,
        _ => (number % 8_000 - 4_000) * DAY,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::cases::count(400), ..ProptestConfig::default() })]

    #[test]
    fn nothing_young_or_held_goes_and_what_was_applied_is_done(
        policies in proptest::collection::vec(any::<DrawnPolicy>(), 0..=4),
        classes in proptest::collection::vec(
            (any::<u8>(), any::<u16>(), any::<u8>(), any::<u8>(), proptest::collection::vec(any::<(u8, u8, u8)>(), 0..8)),
            0..=16,
        ),
        horizon in proptest::option::of((-600_000_i32..600_000, any::<u16>())),
        slots in any::<u16>(),
        moves in proptest::collection::vec((any::<u8>(), any::<u16>(), any::<bool>()), 0..4),
    ) {
        let mut world = World::new(&policies, &classes, horizon, slots);
        let mut last = world.settle()?;
        for (kind, number, approves) in moves {
            if approves {
                world.approve(&last);
            }
            world.now_us += moved_us((kind, number));
            last = world.settle()?;
        }
    }
}
