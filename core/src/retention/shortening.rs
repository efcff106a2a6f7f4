//! A shorter retention or grace period of one policy: which table partitions it takes away, what names it, and whether it may.
//!
//! What is above the policy's limit waits until somebody approves this very shortening. Its name (16 hex digits) covers the policy, its
//! UID and generation, the retentions and the grace period that are wanted, and up to which moment partitions had come under them.
//! Partitions that are made meanwhile change nothing of it. When time brings more partitions under the shorter retention it has another
//! name; the earlier one stays good for what it named, and the rest is judged by the limit alone.

use super::amount::Amount;
use super::approval::{Approval, NeedsApproval};
use super::catalogue::{Catalogue, Leaf, LeafState};
use super::class::{Class, PolicyLevel};
use super::policy::Policy;

/// What a policy's classes lose at once when they become as the policy says.
pub struct Shortening<'a> {
    policy: &'a Policy,
    catalogue: &'a Catalogue,
    now_us: i64,
    gone: Vec<Gone<'a>>,
}

struct Gone<'a> {
    leaf: &'a Leaf,
    /// Since when the shorter retention or grace period no longer keeps it.
    since_us: i64,
}

/// Whether a shortening may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes away no more than the limit.
    Within,
    Approved(Approved),
    Needs(NeedsApproval),
}

/// An approval of a shortening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    pub approval: Approval,
    /// It covers what the shorter retention no longer kept by then.
    pub at_us: i64,
}

impl<'a> Shortening<'a> {
    pub fn of(policy: &'a Policy, catalogue: &'a Catalogue, now_us: i64) -> Shortening<'a> {
        let mut gone = Vec::new();
        for class in catalogue.classes.iter().filter(|class| class.policy == policy.name) {
            let wanted_us = *policy.retention_us.get(class.level);
            if wanted_us < class.retention_us || policy.grace_us < class.grace_us {
                gone.extend(taken_away(policy, class, wanted_us, catalogue, now_us));
            }
        }
        Shortening { policy, catalogue, now_us, gone }
    }

    pub fn verdict(&self) -> Verdict {
        if self.is_within(i64::MIN) {
            return Verdict::Within;
        }
        let approved = self.policy.approval.as_ref();
        if let Some(approval) = approved
            && let Some(at_us) = self.moment(&approval.plan)
            && self.is_within(at_us)
        {
            return Verdict::Approved(Approved { approval: approval.clone(), at_us });
        }
        let limit = self.policy.drop_limit;
        let at_us = self.gone.iter().map(|gone| gone.since_us).max().unwrap_or(self.now_us);
        let Amount { partitions, bytes, records } = amount(&self.gone);
        Verdict::Needs(NeedsApproval {
            policy: self.policy.name.clone(),
            plan: name(self.policy, at_us),
            limit_partitions: limit.partitions,
            limit_bytes: limit.bytes,
            partitions,
            bytes,
            records,
            other: approved.map(|approval| approval.plan.clone()),
        })
    }

    /// Whether what it takes away later than `at_us` is within the limit.
    fn is_within(&self, at_us: i64) -> bool {
        let (mut partitions, mut bytes) = (0_u32, 0_i64);
        for gone in self.gone.iter().filter(|gone| gone.since_us > at_us) {
            partitions += 1;
            bytes = bytes.saturating_add(gone.leaf.bytes);
        }
        let limit = self.policy.drop_limit;
        partitions <= limit.partitions && (partitions == 0 || bytes <= limit.bytes)
    }

    /// The moment, now or before, at which this shortening had the name `plan`. All leaves are tried: the one that made the name may
    /// have gone by now.
    fn moment(&self, plan: &str) -> Option<i64> {
        let policy = self.policy;
        let classes = self.catalogue.classes.iter().filter(|class| class.policy == policy.name);
        let mut moments: Vec<i64> = Vec::new();
        for class in classes {
            let wanted_us = *policy.retention_us.get(class.level);
            let leaves = self.catalogue.leaves.iter().filter(|leaf| leaf.class == class.id);
            moments.extend(leaves.flat_map(|leaf| moments_of(leaf, wanted_us, policy.grace_us)));
            // A pass that was interrupted between two classes: what gave the name may be dropped.
            moments.extend(class.approved.as_ref().map(|known| known.before_us.saturating_add(wanted_us)));
        }
        moments.sort_unstable_by(|a, b| b.cmp(a));
        moments.dedup();
        moments.into_iter().filter(|at_us| *at_us <= self.now_us).find(|at_us| name(policy, *at_us) == plan)
    }
}

fn moments_of(leaf: &Leaf, retention_us: i64, grace_us: i64) -> impl Iterator<Item = i64> {
    let ended = match leaf.state {
        LeafState::Detached { at_us: Some(at_us) } => Some(at_us.saturating_add(grace_us)),
        _ => None,
    };
    std::iter::once(leaf.to_us.saturating_add(retention_us)).chain(ended)
}

/// Leaves with records that the change of a class takes away at once: those that a shorter retention expires, and those whose grace
/// period a shorter one ends.
fn taken_away<'a>(
    policy: &Policy,
    class: &Class,
    wanted_us: i64,
    catalogue: &'a Catalogue,
    now_us: i64,
) -> Vec<Gone<'a>> {
    let leaves = catalogue.leaves.iter().filter(|leaf| leaf.class == class.id && !leaf.empty);
    let gone = leaves.filter_map(|leaf| {
        let (by_new_us, by_old_us) = match leaf.state {
            LeafState::Attached => {
                (leaf.to_us.saturating_add(wanted_us), leaf.to_us.saturating_add(class.retention_us))
            }
            LeafState::Detached { at_us: Some(at_us) } => {
                (at_us.saturating_add(policy.grace_us), at_us.saturating_add(class.grace_us))
            }
            _ => return None,
        };
        (by_new_us <= now_us && by_old_us > now_us).then_some(Gone { leaf, since_us: by_new_us })
    });
    gone.collect()
}

/// What one class loses when it becomes as its policy says.
pub fn lost_by(policy: &Policy, class: &Class, wanted_us: i64, catalogue: &Catalogue, now_us: i64) -> Amount {
    amount(&taken_away(policy, class, wanted_us, catalogue, now_us))
}

fn amount(gone: &[Gone<'_>]) -> Amount {
    let mut amount = Amount::default();
    gone.iter().for_each(|gone| amount.add(gone.leaf.bytes, gone.leaf.records));
    amount
}

fn name(policy: &Policy, at_us: i64) -> String {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(bytes);
    };
    field(policy.name.as_bytes());
    field(policy.uid.as_bytes());
    for number in [policy.generation, policy.grace_us, at_us] {
        field(&number.to_le_bytes());
    }
    for level in PolicyLevel::ALL {
        field(&policy.retention_us.get(level).to_le_bytes());
    }
    format!("{:016x}", hasher.digest())
}

/// A number for a spec that has no generation.
pub fn number_of(spec: &[u8]) -> i64 {
    i64::from_le_bytes(xxhash_rust::xxh3::xxh3_64(spec).to_le_bytes())
}

#[cfg(test)]
#[path = "shortening_tests.rs"]
mod tests;
