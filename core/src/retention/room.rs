//! Decides which leaves a class needs: those that its records wait for, and a few ahead while it gets records. An empty leaf that is needed
//! for neither is dropped. A class without records has no tables.

use super::catalogue::{Leaf, LeafState};
use super::class::{self, Class};
use super::step::LeafRef;

/// A class gets leaves ahead until its latest record is so many intervals old...
const WARM_INTERVALS: i64 = 2;
/// ...and loses those that are empty when it is so many: one that gets a record now and then keeps its leaves.
const COLD_INTERVALS: i64 = 4;
/// New leaves of one class in one plan, as a bound: those nearest to now. The next plan goes on.
const CREATE_LEAVES_MAX: usize = 500;

pub const RECORDS_WAIT: &str = "records wait for it";
pub const AHEAD: &str = "ahead";

/// A class, its leaves in the order of their lower bounds, and where its records wait.
pub struct Room<'a> {
    pub class: &'a Class,
    pub leaves: &'a [&'a Leaf],
    pub wanted: &'a [LeafRef],
    /// Where tables lie that are not Cordwood's.
    pub taken: &'a [(i64, i64)],
    pub now_us: i64,
    /// What expires is judged by it.
    pub horizon_us: i64,
    /// Legal holds by match may keep records that their class would not.
    pub keeps_expired: bool,
}

impl Room<'_> {
    /// Leaves that are to be created, with the reason; never one that overlaps another. What has expired needs none, unless a legal
    /// hold keeps it or may.
    pub fn missing(&self) -> Vec<(LeafRef, &'static str)> {
        let interval_us = class::interval_us(self.class.retention_us);
        let horizon_us = match self.class.legal_hold || self.keeps_expired {
            true => i64::MIN,
            false => self.horizon_us.saturating_sub(self.class.retention_us),
        };
        let mut ranges: Vec<(i64, i64, &'static str)> = self
            .wanted
            .iter()
            .map(|wanted| self.asked(wanted))
            .map(|(from_us, to_us)| (from_us, to_us, RECORDS_WAIT))
            .collect();
        if self.has_records_since(WARM_INTERVALS) {
            let (from_us, to_us) = self.ahead();
            ranges.push((from_us, to_us, AHEAD));
        }
        let mut taken: Vec<(i64, i64)> = self.leaves.iter().map(|leaf| (leaf.from_us, leaf.to_us)).collect();
        taken.extend(self.taken);
        taken.sort_unstable();
        let mut missing = Vec::new();
        for (from_us, to_us, why) in ranges {
            let pieces: Vec<(i64, i64)> = gaps(&taken, from_us, to_us)
                .into_iter()
                .flat_map(|(from, to)| cut(from, to, interval_us))
                .filter(|(_, to)| *to > horizon_us)
                .collect();
            for (from_us, to_us) in pieces {
                missing.push((LeafRef { class: self.class.id, from_us, to_us }, why));
                taken.push((from_us, to_us));
            }
            taken.sort_unstable();
        }
        missing.sort_by_key(|(leaf, _)| (leaf.from_us - self.now_us).abs());
        missing.truncate(CREATE_LEAVES_MAX);
        missing
    }

    /// Whether `leaf` may be dropped before it expires: it is empty, no record waits for it, and it lies neither about now nor ahead
    /// of a class that gets records.
    pub fn is_useless(&self, leaf: &Leaf) -> bool {
        let meets = |from_us: i64, to_us: i64| leaf.from_us < to_us && leaf.to_us > from_us;
        if !leaf.empty || self.is_wanted(leaf) {
            return false;
        }
        let around_us = COLD_INTERVALS * class::interval_us(self.class.retention_us);
        let (from_us, to_us) = self.ahead();
        let is_near = meets(from_us - around_us, to_us + around_us);
        !(is_near && self.has_records_since(COLD_INTERVALS))
    }

    /// Whether it is of what was made where records wait, as the sealer last said: what was noted may be narrower than a leaf is by now.
    pub fn is_wanted(&self, leaf: &Leaf) -> bool {
        let mut asked = self.wanted.iter().map(|wanted| self.asked(wanted));
        asked.any(|(from_us, to_us)| leaf.from_us < to_us && leaf.to_us > from_us)
    }

    /// What leaves are made for where a record waits: whole leaves of this retention.
    fn asked(&self, wanted: &LeafRef) -> (i64, i64) {
        let interval_us = class::interval_us(self.class.retention_us);
        let from_us = class::align_down(wanted.from_us, interval_us);
        (from_us, class::align_down(wanted.to_us - 1, interval_us) + interval_us)
    }

    /// From the leaf of now to the one in which [`class::ahead_us`] ends.
    fn ahead(&self) -> (i64, i64) {
        let interval_us = class::interval_us(self.class.retention_us);
        let last_us = self.now_us + class::ahead_us(interval_us);
        (class::align_down(self.now_us, interval_us), class::align_down(last_us, interval_us) + interval_us)
    }

    fn has_records_since(&self, intervals: i64) -> bool {
        let since_us = self.now_us - intervals * class::interval_us(self.class.retention_us);
        let mut attached = self.leaves.iter().filter(|leaf| leaf.state == LeafState::Attached);
        attached.any(|leaf| !leaf.empty && leaf.to_us > since_us)
    }
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
