//! What PostgreSQL has: the planner's picture of it, read again for every pass.

use super::class::{Class, ClassId, PolicyLevel};
use super::drift::Drift;
use super::hold::{HeldLeaf, Hold};
use super::horizon::Horizon;
use super::routes::Routes;
use super::step::LeafRef;

/// Classes, leaves and routes as they are. Times are microseconds since the epoch, UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    pub classes: Vec<Class>,
    /// Every table that is or was a leaf, in any order.
    pub leaves: Vec<Leaf>,
    pub routes: Option<Routes>,
    /// Where records wait for a leaf, as the sealer noted it: the bucket that the class's retention gave at the time.
    pub wanted: Vec<LeafRef>,
    /// Entries of the server's lock table, which all sessions share. `None`: not known, nothing is bounded by it.
    pub lock_slots: Option<i64>,
    /// Tables that are not as they should be; none of them is among the leaves but those that lack an index.
    pub drift: Vec<Drift>,
    /// Legal holds by match that are in force.
    pub holds: Vec<Hold>,
    /// What these keep, and what the holds of the policies that are planned for would.
    pub held: Vec<HeldLeaf>,
    /// Where the last pass stood. `None`: there was none.
    pub horizon: Option<Horizon>,
}

/// One table partition: the records of a class with a time in `[from_us, to_us)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub table: String,
    pub class: ClassId,
    pub from_us: i64,
    pub to_us: i64,
    /// With indexes and out-of-line storage, when records were last sealed into it.
    pub bytes: i64,
    /// It surely holds no record (nothing was sealed into it, and its heap has no page).
    pub empty: bool,
    /// Blocks, as the statistics say; an estimate.
    pub blocks: i64,
    /// Begin of the oldest block, where it is known.
    pub oldest_us: Option<i64>,
    /// End of the newest block, where it is known.
    pub newest_us: Option<i64>,
    /// Records, where they are counted.
    pub records: Option<i64>,
    pub state: LeafState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafState {
    Attached,
    /// `DETACH CONCURRENTLY` was interrupted: new queries do not see it, it must be finalized.
    Detaching,
    /// A table of its own. `at_us`: since when the grace period runs; `None` when that was not recorded yet.
    Detached {
        at_us: Option<i64>,
    },
    /// `leaves` has a row of it but the table is gone: dropped by hand, or a crash after DROP.
    Missing,
}

impl Leaf {
    pub fn key(&self) -> LeafRef {
        LeafRef { class: self.class, from_us: self.from_us, to_us: self.to_us }
    }

    /// Whether all records of the leaf are older than `retention_us`.
    pub fn expired(&self, retention_us: i64, now_us: i64) -> bool {
        self.to_us <= now_us.saturating_sub(retention_us)
    }
}

impl Catalogue {
    pub fn class(&self, policy: &str, level: PolicyLevel) -> Option<&Class> {
        self.classes.iter().find(|class| class.policy == policy && class.level == level)
    }

    pub fn class_by_id(&self, id: ClassId) -> Option<&Class> {
        self.classes.iter().find(|class| class.id == id)
    }

    /// Leaves of one class by lower bound.
    pub fn leaves_of(&self, class: ClassId) -> Vec<&Leaf> {
        let mut leaves: Vec<&Leaf> = self.leaves.iter().filter(|leaf| leaf.class == class).collect();
        leaves.sort_by_key(|leaf| (leaf.from_us, leaf.to_us));
        leaves
    }

    /// Tables of leaves and classes: each costs locks wherever all of them are touched.
    pub fn tables(&self) -> usize {
        let leaves = self.leaves.iter().filter(|leaf| leaf.state != LeafState::Missing).count();
        leaves + self.classes.iter().filter(|class| class.has_table).count()
    }

    pub fn leaf(&self, key: LeafRef) -> Option<&Leaf> {
        self.leaves.iter().find(|leaf| leaf.key() == key)
    }
}
