//! Notices holes in Kafka's offsets: messages that did not arrive although Kafka has them, or had them. librdkafka skips a set of messages whose
//! checksum is wrong, and continues behind it.
//!
//! A hole is fetched again once, and for no more than `GAPS_ASKED_MAX` holes at a time. If messages are still missing then, they cannot be had:
//! the intake sees the jump and records it as a loss. If nothing of a topic partition can be decompressed, that partition alone is given up
//! after some tries.

use std::collections::{BTreeSet, HashMap};

use cordwood_core::limits::{GAPS_ASKED_MAX, UNREADABLE_ANSWERS_MAX};

#[derive(Debug, Default)]
pub struct Gaps {
    /// The next Kafka offset of each topic partition; none before the first message of one that begins at its beginning.
    expected: HashMap<u32, u64>,
    /// Where it was asked again. Several of one topic partition: reading begins before all of them.
    asked: HashMap<u32, BTreeSet<u64>>,
    /// Answers that could not be read since the last message of each.
    tries: HashMap<u32, u32>,
}

impl Gaps {
    /// Another assignment: places follow by [`Gaps::begin`].
    pub fn forget(&mut self) {
        self.expected.clear();
        self.tries.clear();
    }

    /// Reading begins here; what lies before does not come again.
    pub fn begin(&mut self, topic_partition: u32, kafka_offset: u64) {
        if let Some(asked) = self.asked.get_mut(&topic_partition) {
            *asked = asked.split_off(&kafka_offset);
        }
        self.expected.insert(topic_partition, kafka_offset);
    }

    /// A message has arrived. True: there is a hole before it, to be asked for again.
    #[must_use]
    pub fn is_hole_before(&mut self, topic_partition: u32, kafka_offset: u64) -> bool {
        if let Some(&expected) = self.expected.get(&topic_partition)
            && kafka_offset > expected
            && self.ask(topic_partition, expected)
        {
            return true;
        }
        self.tries.remove(&topic_partition);
        self.expected.insert(topic_partition, kafka_offset + 1);
        false
    }

    /// Everything below `fetched_to` was fetched, and nothing of it waits any more. True: something never arrived, to be asked for again.
    #[must_use]
    pub fn is_hole_at_the_end(&mut self, topic_partition: u32, fetched_to: u64) -> bool {
        match self.expected.get(&topic_partition) {
            Some(&expected) => fetched_to > expected && self.ask(topic_partition, expected),
            None => false,
        }
    }

    fn ask(&mut self, topic_partition: u32, kafka_offset: u64) -> bool {
        let asked = self.asked.entry(topic_partition).or_default();
        asked.len() < GAPS_ASKED_MAX && asked.insert(kafka_offset)
    }

    /// An answer could not be read (a checksum, a compression): of which topic partition is not said. `lags` names those of which
    /// something is due. Returns those to give up.
    pub fn unreadable(&mut self, lags: impl Iterator<Item = u32>) -> Vec<(u32, Option<u64>)> {
        let mut over = Vec::new();
        for topic_partition in lags {
            let tries = self.tries.entry(topic_partition).or_default();
            *tries += 1;
            if *tries > UNREADABLE_ANSWERS_MAX {
                *tries = 0;
                over.push((topic_partition, self.expected.get(&topic_partition).copied()));
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_asked_for_once() {
        let mut gaps = Gaps::default();
        gaps.begin(1, 10);
        assert!(!gaps.is_hole_before(1, 10));
        assert!(gaps.is_hole_before(1, 14), "11 to 13 did not come");
        gaps.forget();
        gaps.begin(1, 11);
        assert!(!gaps.is_hole_before(1, 14), "nor the second time");
        assert!(!gaps.is_hole_before(1, 15));
        assert!(gaps.is_hole_before(1, 17), "another hole");
        gaps.begin(1, 16);
        assert!(!gaps.is_hole_before(1, 16), "it came the second time");
        // A topic partition that begins where Kafka begins.
        assert!(!gaps.is_hole_before(2, 500));
        assert!(gaps.is_hole_before(2, 502));
    }

    /// How often Kafka is read from the position on until a reading comes to its end. `arrives`: the offsets of each reading, the last
    /// one for all that follow. The position stays, as it does while nothing of a reading is stored.
    fn readings(position: u64, arrives: &[Vec<u64>]) -> Option<usize> {
        let mut gaps = Gaps::default();
        'again: for reading in 0..5_000 {
            gaps.forget();
            gaps.begin(1, position);
            for offset in &arrives[reading.min(arrives.len() - 1)] {
                if gaps.is_hole_before(1, *offset) {
                    continue 'again;
                }
            }
            return Some(reading + 1);
        }
        None
    }

    #[test]
    fn holes_close_together_are_passed_after_one_more_reading_each() {
        let every_second: Vec<u64> = (0..3_000).map(|n| 12 + 2 * n).collect();
        for (name, arrives, wanted) in [
            ("none", vec![vec![11, 12, 13]], 1),
            ("one", vec![vec![14, 15]], 2),
            ("two", vec![vec![14, 15, 17]], 3),
            ("two, side by side but for one message", vec![vec![12, 14]], 3),
            ("three", vec![vec![11, 13, 14, 16, 20]], 4),
            ("the second one came the second time", vec![vec![14, 15, 17], vec![14, 15, 16, 17]], 2),
            (
                "the first one goes on the way, then the second one",
                vec![vec![12, 13], vec![11, 13], vec![11, 12, 13]],
                3,
            ),
            ("a control record after each message", vec![every_second], GAPS_ASKED_MAX + 1),
        ] {
            assert_eq!(readings(11, &arrives), Some(wanted), "{name}");
        }
    }

    #[test]
    fn a_place_behind_the_position_is_not_kept() {
        let mut gaps = Gaps::default();
        gaps.begin(1, 0);
        for offset in (1..).step_by(2).take(3 * GAPS_ASKED_MAX) {
            assert!(gaps.is_hole_before(1, offset), "{offset}: the position moves, so there is room");
            gaps.forget();
            gaps.begin(1, offset - 1);
            assert!(!gaps.is_hole_before(1, offset));
            gaps.begin(1, offset + 1);
            assert!(gaps.asked[&1].is_empty());
        }
    }

    #[test]
    fn a_hole_with_nothing_behind_it() {
        let mut gaps = Gaps::default();
        assert!(!gaps.is_hole_at_the_end(1, 20), "not begun");
        gaps.begin(1, 10);
        assert!(!gaps.is_hole_at_the_end(1, 10));
        assert!(gaps.is_hole_at_the_end(1, 13));
        assert!(!gaps.is_hole_at_the_end(1, 13), "asked for already");
        assert!(!gaps.is_hole_before(1, 13), "and then told before the next message");
    }

    #[test]
    fn what_cannot_be_unpacked_is_given_up_alone() {
        let mut gaps = Gaps::default();
        gaps.begin(1, 10);
        gaps.begin(2, 0);
        for offset in 0..u64::from(UNREADABLE_ANSWERS_MAX) {
            assert!(gaps.unreadable([1, 2].into_iter()).is_empty());
            assert!(!gaps.is_hole_before(2, offset), "the other one goes on");
        }
        assert_eq!(gaps.unreadable([1, 2].into_iter()), [(1, Some(10))]);
        assert!(gaps.unreadable([1].into_iter()).is_empty(), "looked at again later, it has as many tries");
    }
}
