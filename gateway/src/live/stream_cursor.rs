//! The cursor of a stream: which records the stream has shown, as a text that its reader keeps. A reader that gives it as `after` gets all
//! other records, and none of these.
//!
//! A time and an id alone are not enough, because a record that is stored late has an older time than records that were shown before it.
//! So the cursor says up to which place in the order of storing all records were shown. While records wait to be put into order, or wait
//! for credit, a part of the records behind that place was shown too: those up to a time and id. Such a pair of place and record is a step.
//! A record was shown if it lies on any step.
//!
//! The text is `v1~<time>~<lanes>~<step>~<step>...`: when the feed was at the first step, in microseconds; the last transaction of each lane
//! there; the steps. A step is `<id or *>_<partition>-<next offset>...`; the second and later steps name only the partitions that differ
//! from the first.

use std::fmt;
use std::str::FromStr;

use cordwood_store::follow::{Place, Step};
use cordwood_store::search::Cursor;

const VERSION: &str = "v1";
/// No store has more lanes, partitions or steps.
const PARTS_MAX: usize = 10_000;
const STEPS_MAX: usize = 8;

/// Steps, from the one with the smallest place on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamCursor {
    /// When the first step was looked at.
    pub looked_us: i64,
    steps: Vec<Step>,
}

impl StreamCursor {
    pub fn of(step: Step, looked_us: i64) -> StreamCursor {
        StreamCursor { looked_us, steps: vec![step] }
    }

    pub fn has(&self, record: Cursor) -> bool {
        self.steps.iter().any(|step| step.has(record))
    }

    pub fn first(&self) -> Option<&Step> {
        self.steps.first()
    }

    /// The newest record that a step names.
    pub fn newest(&self) -> Option<Cursor> {
        self.steps.iter().filter_map(|step| step.upto).max()
    }

    pub fn add(&mut self, mut step: Step) {
        // Two steps up to the same record are one step.
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

    /// This cursor with the steps of another one, of which only the records up to `upto` count.
    #[must_use]
    pub fn with(&self, others: &StreamCursor, upto: Option<Cursor>) -> StreamCursor {
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

    /// Moves every step back to what is stored.
    #[must_use]
    pub fn within(&self, stored: &Place) -> StreamCursor {
        let step = |step: &Step| Step { place: step.place.within(stored), upto: step.upto };
        StreamCursor { looked_us: self.looked_us, steps: self.steps.iter().map(step).collect() }
    }
}

impl fmt::Display for StreamCursor {
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

/// The text is not a cursor of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCursor;

impl FromStr for StreamCursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<StreamCursor, BadCursor> {
        let mut parts = text.split('~');
        if parts.next() != Some(VERSION) {
            return Err(BadCursor);
        }
        let looked_us = parts.next().ok_or(BadCursor)?.parse().map_err(|_| BadCursor)?;
        let lanes = parts.next().ok_or(BadCursor)?;
        let lanes: Vec<i64> = match lanes {
            "" => Vec::new(),
            lanes => lanes
                .split('.')
                .take(PARTS_MAX + 1)
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_| BadCursor)?,
        };
        let mut steps: Vec<Step> = Vec::new();
        for part in parts {
            let mut words = part.split('_');
            let upto = match words.next() {
                Some("*") => None,
                Some(id) => Some(id.parse().map_err(|_| BadCursor)?),
                None => return Err(BadCursor),
            };
            let mut place = steps.first().map_or_else(Place::default, |step| step.place.clone());
            place.lanes.clone_from(&lanes);
            for word in words {
                let (partition, next) = word.split_once('-').ok_or(BadCursor)?;
                let (partition, next) =
                    (partition.parse().map_err(|_| BadCursor)?, next.parse().map_err(|_| BadCursor)?);
                place.offsets.insert(partition, next);
            }
            steps.push(Step { place, upto });
            if steps.len() > STEPS_MAX || steps.iter().any(|step| step.place.offsets.len() > PARTS_MAX) {
                return Err(BadCursor);
            }
        }
        let is_known = !steps.is_empty() && lanes.len() <= PARTS_MAX && lanes.iter().all(|seq| *seq >= 0);
        is_known.then_some(StreamCursor { looked_us, steps }).ok_or(BadCursor)
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
        let mut cursor = StreamCursor::of(Step { place: place(&[(0, 5), (3, 9)]), upto: None }, 17);
        cursor.add(Step { place: place(&[(0, 6), (3, 9), (4, 1)]), upto: Some(record(70, 0, 5)) });
        let text = cursor.to_string();
        assert_eq!(text, "v1~17~0.7.3~*_0-5_3-9~70.0-5-0_0-6_4-1");
        assert_eq!(text.parse(), Ok(cursor));
        let nothing = StreamCursor::of(Step::default(), 0);
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
            assert_eq!(text.parse::<StreamCursor>(), Err(BadCursor), "{text}");
        }
    }

    #[test]
    fn a_step_that_another_covers_is_not_kept() {
        let mut cursor = StreamCursor::of(Step { place: place(&[(0, 5)]), upto: None }, 0);
        cursor.add(Step { place: place(&[(0, 5)]), upto: Some(record(9, 0, 0)) });
        assert_eq!(cursor.steps.len(), 1);
        cursor.add(Step { place: place(&[(0, 8)]), upto: Some(record(9, 0, 6)) });
        assert_eq!(cursor.steps.len(), 2);
        assert!(cursor.has(record(99, 0, 4)) && cursor.has(record(9, 0, 6)));
        assert!(
            !cursor.has(record(10, 0, 6)) && !cursor.has(record(9, 0, 8)) && !cursor.has(record(1, 1, 0))
        );
        cursor.add(Step { place: place(&[(0, 8)]), upto: None });
        assert_eq!(cursor.steps.len(), 1);
        assert!(cursor.has(record(10, 0, 6)));
        assert!(!cursor.within(&place(&[(0, 6)])).has(record(10, 0, 6)), "of a store that was created again");
    }
}
