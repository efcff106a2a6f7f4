//! Applies the legal holds in force to a catalogue: which leaves they keep, and how much each keeps.

use std::collections::HashMap;

use super::amount::Amount;
use super::catalogue::{Catalogue, Leaf, LeafState};
use super::class::ClassId;
use super::hold::Hold;
use super::policy::{Policy, State};
use super::step::LeafRef;

/// The holds in force, and what each keeps.
pub struct Holding<'a> {
    any: bool,
    by: HashMap<(ClassId, i64), &'a str>,
}

impl<'a> Holding<'a> {
    /// In force is what the database remembers and what a policy says that is not tried out. Lifting one is a step of its own.
    pub fn of(policies: &[Policy], catalogue: &'a Catalogue) -> Holding<'a> {
        let said: Vec<&str> = policies
            .iter()
            .filter(|policy| !policy.dry_run && Hold::of(policy).is_some())
            .map(|policy| policy.name.as_str())
            .chain(catalogue.holds.iter().map(|hold| hold.policy.as_str()))
            .collect();
        let mut by: HashMap<(ClassId, i64), &'a str> = HashMap::new();
        for held in catalogue.held.iter().filter(|held| said.contains(&held.policy.as_str())) {
            by.entry((held.class, held.from_us)).or_insert(held.policy.as_str());
        }
        Holding { any: !said.is_empty(), by }
    }

    /// Whether there is any: then records may wait for a leaf that are older than their class's retention.
    pub fn any(&self) -> bool {
        self.any
    }

    /// The policy whose hold keeps this leaf.
    pub fn by(&self, leaf: LeafRef) -> Option<&'a str> {
        self.by.get(&(leaf.class, leaf.from_us)).copied()
    }
}

/// What the hold of one policy keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Table partitions with records: all of its own classes, and those elsewhere in which a record matches. `records` are those of its
    /// own classes and those that match; `bytes` are of whole table partitions.
    pub all: Amount,
    /// Of these, table partitions whose records have all expired: what would be detached, or dropped, without a hold.
    pub expired: u32,
}

/// What a hold of the policy of this name keeps, or would. `now_us`: microseconds since the epoch.
pub fn kept(policy: &str, catalogue: &Catalogue, now_us: i64) -> Kept {
    let marks = catalogue.held.iter().filter(|held| held.policy == policy);
    let marks: HashMap<(ClassId, i64), Option<i64>> =
        marks.map(|held| ((held.class, held.from_us), held.records)).collect();
    let classes: HashMap<ClassId, (bool, i64)> = catalogue
        .classes
        .iter()
        .map(|class| (class.id, (class.policy == policy, class.retention_us)))
        .collect();
    let mut kept = Kept::default();
    let there = |leaf: &&Leaf| !leaf.empty && leaf.state != LeafState::Missing;
    for leaf in catalogue.leaves.iter().filter(there) {
        let Some((is_own, retention_us)) = classes.get(&leaf.class).copied() else { continue };
        let records = match marks.get(&(leaf.class, leaf.from_us)) {
            _ if is_own => leaf.records,
            Some(records) => *records,
            None => continue,
        };
        kept.all.add(leaf.bytes, records);
        kept.expired += u32::from(leaf.expired(retention_us, now_us));
    }
    kept
}

/// What keeps a policy's records. A legal hold of a policy that is tried out does once it was in force.
pub fn state(policy: &Policy, catalogue: &Catalogue) -> State {
    let is_in_force = || {
        catalogue.holds.iter().any(|hold| hold.policy == policy.name)
            || catalogue.classes.iter().any(|class| class.policy == policy.name && class.legal_hold)
    };
    match policy.state() {
        State::LegalHold if policy.dry_run && !is_in_force() => {
            Policy { legal_hold: false, ..policy.clone() }.state()
        }
        state => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::policy::Match;

    fn policy(tenant: &str) -> Policy {
        let matches = Match { tenants: vec![tenant.to_owned()], ..Match::default() };
        Policy { name: "case-7".to_owned(), matches, legal_hold: true, ..Policy::builtin() }
    }

    #[test]
    fn a_hold_that_is_tried_out_is_no_hold_yet() {
        let tried = Policy { dry_run: true, ..policy("a") };
        let mut catalogue = Catalogue::default();
        assert_eq!(state(&tried, &catalogue), State::DryRun);
        assert_eq!(state(&policy("a"), &catalogue), State::LegalHold);
        catalogue.holds.extend(Hold::of(&tried));
        assert_eq!(state(&tried, &catalogue), State::LegalHold);
    }
}
