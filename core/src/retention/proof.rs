//! States what a class keeps and what it must keep: the oldest record that must still be there, and how much stays longer than it has to.

use std::collections::BTreeMap;

use super::catalogue::{Catalogue, Leaf, LeafState};
use super::class::{ClassId, align_down, interval_us};

/// Of one class. Times are microseconds since the epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub class: ClassId,
    /// Sealed records that queries see. `None`: not all of them are counted yet.
    pub records: Option<i64>,
    /// Of all its leaves, those included that are detached.
    pub bytes: i64,
    /// Time of the oldest and of the newest sealed record that queries see, where they are known.
    pub oldest_us: Option<i64>,
    pub newest_us: Option<i64>,
    /// Whatever was stored for a time since then must be there: the retention before now, up to the bound of a leaf of this
    /// retention. It moves with whole leaves.
    pub oldest_due_us: i64,
    /// Leaves with records that queries see although all of them are expired: a hold, a limit or a failure keeps them.
    pub overdue: usize,
}

impl Proof {
    fn none(class: ClassId, oldest_due_us: i64) -> Proof {
        Proof {
            class,
            records: Some(0),
            bytes: 0,
            oldest_us: None,
            newest_us: None,
            oldest_due_us,
            overdue: 0,
        }
    }

    fn add(&mut self, leaf: &Leaf, is_expired: bool) {
        self.bytes = self.bytes.saturating_add(leaf.bytes);
        if leaf.state != LeafState::Attached || leaf.empty {
            return;
        }
        self.records = self.records.zip(leaf.records).map(|(sum, more)| sum.saturating_add(more));
        self.oldest_us = [self.oldest_us, leaf.oldest_us].into_iter().flatten().min();
        self.newest_us = self.newest_us.max(leaf.newest_us);
        self.overdue += usize::from(is_expired);
    }
}

/// Of every class, by its number. `now_us`: microseconds since the epoch.
pub fn proofs(catalogue: &Catalogue, now_us: i64) -> Vec<Proof> {
    let mut all: BTreeMap<ClassId, (i64, Proof)> = BTreeMap::new();
    for class in &catalogue.classes {
        let horizon_us = now_us.saturating_sub(class.retention_us);
        let interval_us = interval_us(class.retention_us);
        let due_us = align_down(horizon_us.saturating_add(interval_us - 1), interval_us);
        all.insert(class.id, (class.retention_us, Proof::none(class.id, due_us)));
    }
    for leaf in &catalogue.leaves {
        if let Some((retention_us, proof)) = all.get_mut(&leaf.class) {
            proof.add(leaf, leaf.expired(*retention_us, now_us));
        }
    }
    all.into_values().map(|(_, proof)| proof).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::class::{Class, PolicyLevel};

    const HOUR: i64 = 3_600_000_000;
    const NOW: i64 = 1_795_003_200_000_000;

    fn leaf(hours_ago: i64, records: Option<i64>, state: LeafState) -> Leaf {
        let from_us = NOW - hours_ago * HOUR;
        Leaf {
            table: String::new(),
            class: ClassId(1),
            from_us,
            to_us: from_us + HOUR,
            bytes: 10,
            empty: records == Some(0),
            blocks: 1,
            oldest_us: (records != Some(0)).then_some(from_us + 1),
            newest_us: records.filter(|records| *records > 0).map(|_| from_us + HOUR - 1),
            records,
            state,
        }
    }

    fn proof(retention_hours: i64, leaves: Vec<Leaf>) -> Proof {
        let class = Class {
            id: ClassId(1),
            policy: "shop".to_owned(),
            policy_uid: String::new(),
            level: PolicyLevel::Info,
            retention_us: retention_hours * HOUR,
            grace_us: HOUR,
            legal_hold: false,
            wanted: None,
            approved: None,
            has_table: true,
        };
        proofs(&Catalogue { classes: vec![class], leaves, ..Catalogue::default() }, NOW)[0]
    }

    #[test]
    fn a_class_tells_what_it_keeps_and_what_it_owes() {
        let (attached, detached) = (LeafState::Attached, LeafState::Detached { at_us: Some(NOW) });
        let found = proof(
            8,
            vec![
                leaf(2, Some(5), attached),
                leaf(12, Some(7), detached),
                leaf(9, Some(3), attached),
                leaf(0, Some(0), attached),
            ],
        );
        let expected = Proof {
            class: ClassId(1),
            records: Some(8),
            bytes: 40,
            oldest_us: Some(NOW - 9 * HOUR + 1),
            newest_us: Some(NOW - HOUR - 1),
            oldest_due_us: NOW - 8 * HOUR,
            overdue: 1,
        };
        assert_eq!(found, expected);
    }

    /// A sum of what is known would prove too little.
    #[test]
    fn what_is_not_counted_is_not_known() {
        let attached = LeafState::Attached;
        let found = proof(24, vec![leaf(2, Some(5), attached), leaf(1, None, attached)]);
        assert_eq!((found.records, found.overdue), (None, 0));
        assert_eq!(found.oldest_us, Some(NOW - 2 * HOUR + 1));
        assert_eq!(proof(24, vec![]).records, Some(0));
    }

    /// Within a leaf's width the same is owed: a status that says it is not written at each pass.
    #[test]
    fn what_is_owed_moves_with_whole_leaves() {
        let catalogue = |now_us| {
            let class = Class {
                id: ClassId(1),
                policy: String::new(),
                policy_uid: String::new(),
                level: PolicyLevel::Info,
                retention_us: 24 * HOUR,
                grace_us: 0,
                legal_hold: false,
                wanted: None,
                approved: None,
                has_table: true,
            };
            proofs(&Catalogue { classes: vec![class], ..Catalogue::default() }, now_us)[0].oldest_due_us
        };
        let begin = align_down(NOW, 3 * HOUR);
        assert_eq!(catalogue(begin), begin - 24 * HOUR);
        assert_eq!(catalogue(begin + 1), begin - 21 * HOUR);
        assert_eq!(catalogue(begin + 3 * HOUR), begin - 21 * HOUR);
    }
}
