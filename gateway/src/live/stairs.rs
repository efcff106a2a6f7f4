//! What a stream has shown, as a text that its reader keeps: given as `after`, the stream goes on with all the rest, and with nothing of this.
//!
//! A time and an id alone would not do: what is stored late has an older time than what was shown before. So a cursor says up to which
//! place in the order of storing all was shown. While records wait to be put into order, or for credit, part of what was stored later was
//! shown too: up to a time and id. These are the steps of a staircase; a record that is on any of them was shown.
//!
//! `v1~<time>~<lanes>~<step>~<step>...`: when the first step was looked at, in microseconds; the last transaction of each lane there; each step `<id or *>_<partition>-<next offset>...`,
//! of those that follow only the partitions that differ from the first.

use std::fmt;
use std::str::FromStr;

use cordwood_store::follow::{Place, Step};
use cordwood_store::search::Cursor;

const VERSION: &str = "v1";
/// More lanes, partitions or steps no store has.
const PARTS_MAX: usize = 10_000;
const STEPS_MAX: usize = 8;

/// From the one with the smallest place on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stairs {
    /// When the first was looked at.
    pub looked_us: i64,
    steps: Vec<Step>,
}

impl Stairs {
    pub fn of(step: Step, looked_us: i64) -> Stairs {
        Stairs { looked_us, steps: vec![step] }
    }

    pub fn has(&self, record: Cursor) -> bool {
        self.steps.iter().any(|step| step.has(record))
    }

    pub fn first(&self) -> Option<&Step> {
        self.steps.first()
    }

    /// The newest id that it names.
    pub fn newest(&self) -> Option<Cursor> {
        self.steps.iter().filter_map(|step| step.upto).max()
    }

    pub fn add(&mut self, mut step: Step) {
        // What two hold up to the same record, one holds.
        if let Some(same) = self.steps.iter().position(|known| known.upto == step.upto) {
            step.place.join(&self.steps.swap_remove(same).place);
        }
        if !self.steps.iter().any(|known| known.covers(&step)) {
            self.steps.retain(|known| !step.covers(known));
            self.steps.push(step);
            // The smaller its place, the more times a step has.
            self.steps.sort_by_key(|step| (step.upto.is_some(), std::cmp::Reverse(step.upto)));
        }
    }

    /// With another's, of these only the records up to one.
    #[must_use]
    pub fn with(&self, others: &Stairs, upto: Option<Cursor>) -> Stairs {
        let mut all = self.clone();
        for step in &others.steps {
            let upto = match (step.upto, upto) {
                (Some(own), Some(upto)) => Some(own.min(upto)),
                (own, upto) => own.or(upto),
            };
            all.add(Step { place: step.place.clone(), upto });
        }
        all
    }

    /// No further than what is stored.
    #[must_use]
    pub fn within(&self, stored: &Place) -> Stairs {
        let step = |step: &Step| Step { place: step.place.within(stored), upto: step.upto };
        Stairs { looked_us: self.looked_us, steps: self.steps.iter().map(step).collect() }
    }
}

impl fmt::Display for Stairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nowhere = Place::default();
        let base = self.steps.first().map_or(&nowhere, |step| &step.place);
        write!(f, "{VERSION}~{}~", self.looked_us)?;
        for (lane, seq) in base.lanes.iter().enumerate() {
            write!(f, "{}{seq}", if lane == 0 { "" } else { "." })?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            match step.upto {
                Some(upto) => write!(f, "~{upto}")?,
                None => f.write_str("~*")?,
            }
            let is_told =
                |partition: &u32, next: &u64| number == 0 || base.offsets.get(partition) != Some(next);
            for (partition, next) in
                step.place.offsets.iter().filter(|(partition, next)| is_told(partition, next))
            {
                write!(f, "_{partition}-{next}")?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoStairs;

impl FromStr for Stairs {
    type Err = NoStairs;

    fn from_str(text: &str) -> Result<Stairs, NoStairs> {
        let mut parts = text.split('~');
        if parts.next() != Some(VERSION) {
            return Err(NoStairs);
        }
        let looked_us = parts.next().ok_or(NoStairs)?.parse().map_err(|_| NoStairs)?;
        let lanes = parts.next().ok_or(NoStairs)?;
        let lanes: Vec<i64> = match lanes {
            "" => Vec::new(),
            lanes => lanes
                .split('.')
                .take(PARTS_MAX + 1)
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_| NoStairs)?,
        };
        let mut steps: Vec<Step> = Vec::new();
        for part in parts {
            let mut words = part.split('_');
            let upto = match words.next() {
                Some("*") => None,
                Some(id) => Some(id.parse().map_err(|_| NoStairs)?),
                None => return Err(NoStairs),
            };
            let mut place = steps.first().map_or_else(Place::default, |step| step.place.clone());
            place.lanes.clone_from(&lanes);
            for word in words {
                let (partition, next) = word.split_once('-').ok_or(NoStairs)?;
                let (partition, next) =
                    (partition.parse().map_err(|_| NoStairs)?, next.parse().map_err(|_| NoStairs)?);
                place.offsets.insert(partition, next);
            }
            steps.push(Step { place, upto });
            if steps.len() > STEPS_MAX || steps.iter().any(|step| step.place.offsets.len() > PARTS_MAX) {
                return Err(NoStairs);
            }
        }
        let is_known = !steps.is_empty() && lanes.len() <= PARTS_MAX && lanes.iter().all(|seq| *seq >= 0);
        is_known.then_some(Stairs { looked_us, steps }).ok_or(NoStairs)
    }
}

#[cfg(test)]
mod tests {
    use cordwood_core::identity::RecordId;

    use super::*;

    fn place(offsets: &[(u32, u64)]) -> Place {
        Place { lanes: vec![0, 7, 3], offsets: offsets.iter().copied().collect() }
    }

    fn record(time_us: i64, topic_partition: u32, kafka_offset: u64) -> Cursor {
        Cursor { time_us, id: RecordId { topic_partition, kafka_offset, index: 0 } }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let mut stairs = Stairs::of(Step { place: place(&[(0, 5), (3, 9)]), upto: None }, 17);
        stairs.add(Step { place: place(&[(0, 6), (3, 9), (4, 1)]), upto: Some(record(70, 0, 5)) });
        let text = stairs.to_string();
        assert_eq!(text, "v1~17~0.7.3~*_0-5_3-9~70.0-5-0_0-6_4-1");
        assert_eq!(text.parse(), Ok(stairs));
        let nothing = Stairs::of(Step::default(), 0);
        assert_eq!(nothing.to_string().parse(), Ok(nothing));
        for text in [
            "",
            "v1",
            "v1~",
            "v1~9",
            "v2~9~0~*",
            "v1~9~x~*",
            "v1~x~0~*",
            "v1~9~-4~*",
            "v1~9~0~",
            "v1~9~0~*_",
            "v1~9~0~*_1",
            "v1~9~0~*_1-x",
            "v1~9~0~5",
            "v1~9~0~*~*~*~*~*~*~*~*~*",
            "1.0-0-0",
        ] {
            assert_eq!(text.parse::<Stairs>(), Err(NoStairs), "{text}");
        }
    }

    #[test]
    fn a_step_that_another_covers_is_not_kept() {
        let mut stairs = Stairs::of(Step { place: place(&[(0, 5)]), upto: None }, 0);
        stairs.add(Step { place: place(&[(0, 5)]), upto: Some(record(9, 0, 0)) });
        assert_eq!(stairs.steps.len(), 1);
        stairs.add(Step { place: place(&[(0, 8)]), upto: Some(record(9, 0, 6)) });
        assert_eq!(stairs.steps.len(), 2);
        assert!(stairs.has(record(99, 0, 4)) && stairs.has(record(9, 0, 6)));
        assert!(
            !stairs.has(record(10, 0, 6)) && !stairs.has(record(9, 0, 8)) && !stairs.has(record(1, 1, 0))
        );
        stairs.add(Step { place: place(&[(0, 8)]), upto: None });
        assert_eq!(stairs.steps.len(), 1);
        assert!(stairs.has(record(10, 0, 6)));
        assert!(!stairs.within(&place(&[(0, 6)])).has(record(10, 0, 6)), "of a store that was made anew");
    }
}
