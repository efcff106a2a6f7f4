//! Checks a plan for what must never happen. It is written independently of the planner, from these laws and not from its code.
//!
//! Laws: (1) only expired leaves are detached or dropped, measured by the retention that the database has in force and
//! by what the policy says, whichever is longer; or empty ones for which no record waits; (2) a leaf that holds records is dropped only when it was detached and its grace
//! period, the longer of the two likewise, is over; (3) nothing goes under a policy that is suspended or tried out, or a legal hold, nor what a hold of any policy matches; (4) no more goes at once than the policy's
//! limit of one pass; (5) after the plan every unexpired record that waits for a leaf of a class that records are routed to has one, and
//! a class that got records lately has leaves from now until well after now, unless the plan says that the server bears no more;
//! (6) leaves of a class do not overlap; (7) no more tables are created than the server bears;
//! (8) age is told by the clock only as far as it can be believed: since the last pass by no more than a step, nor than its pace.

use super::catalogue::{Catalogue, Leaf, LeafState};
use super::class::{Class, ClassId, PolicyLevel, interval_us};
use super::plan::Tuning;
use super::policy::Policy;
use super::step::{LeafRef, Plan, Planned, Step, Waits};

const HOUR_US: i64 = 3_600_000_000;

/// A law that a plan would break. `fatal`: nothing of the plan that detaches or drops may be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub fatal: bool,
    pub subject: String,
    pub message: String,
}

/// All findings; none for a plan of [`super::plan()`]. `policies` are those in force, the default included.
pub fn lint(
    plan: &Plan,
    policies: &[Policy],
    catalogue: &Catalogue,
    now_us: i64,
    tuning: &Tuning,
) -> Vec<Finding> {
    // Law 8.
    let believed_us = match catalogue.horizon {
        Some(last) => {
            let day_for_an_hour_us = 24 * i128::from(now_us).abs_diff(i128::from(last.clock_us));
            let step_us = u128::from(tuning.horizon_step_us.max(0).unsigned_abs());
            let moved_us = i64::try_from(day_for_an_hour_us.min(step_us)).unwrap_or(i64::MAX);
            now_us.min(last.at_us.saturating_add(moved_us))
        }
        None => now_us,
    };
    let mut lint = Lint { policies, catalogue, now_us, believed_us, findings: Vec::new() };
    for planned in &plan.steps {
        match &planned.step {
            Step::Detach(leaf) => lint.going(*leaf, false),
            Step::Drop(leaf) => lint.going(*leaf, true),
            _ => {}
        }
    }
    lint.at_once(plan);
    let mut after = catalogue.clone();
    for planned in &plan.steps {
        after.apply(&planned.step, now_us);
    }
    lint.coverage(plan, &after);
    lint.room(plan, &after);
    lint.overlaps(&after);
    lint.findings
}

struct Lint<'a> {
    policies: &'a [Policy],
    catalogue: &'a Catalogue,
    now_us: i64,
    believed_us: i64,
    findings: Vec<Finding>,
}

impl Lint<'_> {
    fn fatal(&mut self, subject: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding { fatal: true, subject: subject.into(), message: message.into() });
    }

    fn policy_of(&self, class: &Class) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.name == class.policy)
    }

    /// Laws 1 to 3 for one leaf.
    fn going(&mut self, key: LeafRef, drop: bool) {
        let table = key.table();
        let (Some(leaf), Some(class)) = (self.catalogue.leaf(key), self.catalogue.class_by_id(key.class))
        else {
            self.fatal(table, "goes, but the catalogue does not know it");
            return;
        };
        // The policy's word counts only where it is longer: a shorter one must first be in force in the database.
        let promised_us = match self.policy_of(class) {
            Some(policy) => class.retention_us.max(*policy.retention_us.get(class.level)),
            None => class.retention_us,
        };
        let youngest_possible_us = leaf.to_us - 1;
        let (empty, orphan, state) = (leaf.empty, self.policy_of(class).is_none(), leaf.state);
        let wanted = self.catalogue.wanted.iter().any(|wanted| {
            wanted.class == key.class && wanted.from_us < key.to_us && wanted.to_us > key.from_us
        });
        if self.believed_us - youngest_possible_us <= promised_us && !(empty && (orphan || !wanted)) {
            self.fatal(&table, "goes, but can hold records that are not expired");
        }
        let grace_us = self.policy_of(class).map_or(0, |policy| policy.grace_us).max(class.grace_us);
        let held = match self.policy_of(class) {
            Some(policy) => policy.suspend || policy.legal_hold || policy.dry_run,
            None => class.legal_hold,
        };
        if held {
            self.fatal(&table, "goes, but its policy is suspended, under legal hold or tried out");
        }
        let holds = |policy: &str| {
            self.catalogue.holds.iter().any(|hold| hold.policy == policy)
                || self.policies.iter().any(|one| one.name == policy && one.legal_hold && !one.dry_run)
        };
        let holder = self
            .catalogue
            .held
            .iter()
            .find(|held| held.class == key.class && held.from_us == key.from_us && holds(&held.policy));
        if let Some(held) = holder {
            let message = format!("goes, but the legal hold of {} matches records of it", held.policy);
            self.fatal(&table, message);
        }
        if drop && !empty {
            let over = match state {
                LeafState::Detached { at_us: Some(at_us) } => self.believed_us - at_us >= grace_us,
                _ => false,
            };
            if !over {
                self.fatal(&table, "is dropped before it was detached for the grace period");
            }
        } else if drop && !matches!(state, LeafState::Detached { .. }) {
            self.fatal(&table, "is dropped but still attached");
        }
    }

    /// Law 4.
    fn at_once(&mut self, plan: &Plan) {
        for policy in self.policies {
            let detached = plan
                .steps
                .iter()
                .filter(|planned| planned.policy == policy.name && matches!(planned.step, Step::Detach(_)))
                .count();
            let (setting, limit) = match policy.detach_per_pass {
                Some(limit) => ("detachPerPass", limit),
                None => ("dropLimit.partitions", policy.drop_limit.partitions),
            };
            if detached > limit.max(1) as usize {
                self.fatal(&policy.name, format!("{detached} partitions go at once, {setting} is {limit}"));
            }
        }
    }

    /// Law 5.
    fn coverage(&mut self, plan: &Plan, after: &Catalogue) {
        let routed: Vec<(ClassId, i64)> = after
            .routes
            .iter()
            .flat_map(|routes| routes.routes())
            .flat_map(|route| {
                PolicyLevel::ALL.map(|level| (*route.classes.get(level), *route.retention_us.get(level)))
            })
            .collect();
        for (class, retention_us) in routed {
            let waits = |waits: &Waits| matches!(waits, Waits::TooManyPartitions { .. });
            if plan.held.iter().any(|held| held.class == Some(class) && waits(&held.waits)) {
                continue;
            }
            let mut ranges: Vec<(i64, i64)> = Vec::new();
            for wanted in after.wanted.iter().filter(|wanted| wanted.class == class) {
                ranges.push((wanted.from_us.max(self.believed_us - retention_us), wanted.to_us));
            }
            let width_us = interval_us(retention_us);
            let lately = |leaf: &&Leaf| {
                leaf.state == LeafState::Attached && !leaf.empty && leaf.to_us > self.now_us - 2 * width_us
            };
            let leaves = after.leaves_of(class);
            if leaves.iter().any(lately) {
                ranges.push((self.now_us, self.now_us + width_us.min(HOUR_US)));
            }
            for (from_us, to_us) in ranges {
                let mut at_us = from_us;
                for leaf in &leaves {
                    if leaf.state == LeafState::Attached && leaf.from_us <= at_us && leaf.to_us > at_us {
                        at_us = leaf.to_us;
                    }
                }
                if at_us < to_us {
                    let hole = super::duration::time(at_us);
                    self.findings.push(Finding {
                        fatal: false,
                        subject: super::class::class_table(class),
                        message: format!(
                            "has no partition for records of {hole}: they would be carried over"
                        ),
                    });
                }
            }
        }
    }

    /// Law 7.
    fn room(&mut self, plan: &Plan, after: &Catalogue) {
        let Some(slots) = self.catalogue.lock_slots else { return };
        let creates =
            |planned: &Planned| matches!(planned.step, Step::CreateLeaf(_) | Step::CreateClassTable { .. });
        let (before, created) =
            (self.catalogue.tables(), plan.steps.iter().filter(|step| creates(step)).count());
        // Half of the lock table stays for other sessions of the server.
        if created > 0 && i64::try_from(before + created).unwrap_or(i64::MAX) > slots / 2 {
            let tables = after.tables();
            self.fatal("tables", format!("{tables} tables are more than the server's lock table bears"));
        }
    }

    /// Law 6.
    fn overlaps(&mut self, after: &Catalogue) {
        for class in &after.classes {
            let leaves = after.leaves_of(class.id);
            for pair in leaves.windows(2) {
                if pair[1].from_us < pair[0].to_us {
                    self.fatal(&pair[1].table, format!("overlaps {}", pair[0].table));
                }
            }
        }
    }
}
