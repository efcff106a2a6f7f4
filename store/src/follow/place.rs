//! A reader's place in the order of storing, from which it can continue.

use std::collections::BTreeMap;

use cordwood_core::identity::RecordId;

use crate::search::Cursor;

/// Of all that was stored, what was stored before a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The last transaction of each lane.
    pub lanes: Vec<i64>,
    /// The next Kafka offset of each topic partition. A record's id says with it whether the record is among what was stored.
    pub offsets: BTreeMap<u32, u64>,
}

/// What was stored up to a place, of that only the records up to a cursor where there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub place: Place,
    pub upto: Option<Cursor>,
}

impl Step {
    pub fn has(&self, record: Cursor) -> bool {
        self.place.has(record.id) && self.upto.is_none_or(|upto| record <= upto)
    }

    /// Whether all of another is in it.
    pub fn covers(&self, other: &Step) -> bool {
        let is_as_long = match (self.upto, other.upto) {
            (None, _) => true,
            (Some(own), Some(others)) => own >= others,
            (Some(_), None) => false,
        };
        is_as_long && self.place.covers(&other.place)
    }
}

impl Place {
    pub fn has(&self, id: RecordId) -> bool {
        self.offsets.get(&id.topic_partition).is_some_and(|next| id.kafka_offset < *next)
    }

    fn covers(&self, other: &Place) -> bool {
        let has =
            |(partition, next): (&u32, &u64)| self.offsets.get(partition).is_some_and(|own| own >= next);
        other.offsets.iter().all(has)
    }

    /// Whether who has seen this has seen all transactions of another. (Nobody follows the sealer's lane, which is the first.)
    pub fn has_seen(&self, other: &Place) -> bool {
        (0_i16..).zip(&other.lanes).skip(1).all(|(lane, seq)| self.seen(lane) >= *seq)
    }

    /// What either holds.
    pub fn join(&mut self, other: &Place) {
        (0_i16..).zip(&other.lanes).for_each(|(lane, seq)| self.see(lane, *seq));
        for (partition, next) in &other.offsets {
            let own = self.offsets.entry(*partition).or_default();
            *own = (*own).max(*next);
        }
    }

    /// No further than another: for a place that somebody kept of a store that was created again since.
    #[must_use]
    pub fn within(&self, other: &Place) -> Place {
        let lanes = self.lanes.iter().zip(&other.lanes).map(|(own, others)| *own.min(others));
        let offsets = self.offsets.iter().filter_map(|(partition, next)| {
            let others = other.offsets.get(partition)?;
            Some((*partition, *next.min(others)))
        });
        Place { lanes: lanes.collect(), offsets: offsets.collect() }
    }

    pub(super) fn seen(&self, lane: i16) -> i64 {
        usize::try_from(lane).ok().and_then(|lane| self.lanes.get(lane)).copied().unwrap_or(0)
    }

    pub(super) fn see(&mut self, lane: i16, seq: i64) {
        let lane = usize::try_from(lane).unwrap_or(0);
        if self.lanes.len() <= lane {
            self.lanes.resize(lane + 1, 0);
        }
        self.lanes[lane] = self.lanes[lane].max(seq);
    }

    pub(super) fn pass(&mut self, id: RecordId) {
        let next = self.offsets.entry(id.topic_partition).or_default();
        *next = (*next).max(id.kafka_offset.saturating_add(1));
    }
}
