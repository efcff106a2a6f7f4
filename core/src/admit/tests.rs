use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

#[test]
fn table() {
    let at = |held: &[(u64, u64)], prev, end, positions: &[u64]| {
        let a = admit(&held.iter().copied().collect(), prev, end, positions);
        let new: Vec<u64> = a.new.iter().flat_map(|range| positions[range.clone()].to_vec()).collect();
        (new, a.loss, a.filled.iter().collect::<Vec<_>>())
    };
    let none = Vec::new;
    assert_eq!(at(&[], 0, 30, &[10, 20, 30]), (vec![10, 20, 30], None, none()), "the first batch");
    assert_eq!(
        at(&[], 5, 30, &[10, 20, 30]),
        (vec![10, 20, 30], Some((0, 5)), none()),
        "the beginning is missing"
    );
    assert_eq!(at(&[(0, 30)], 30, 50, &[40, 50]), (vec![40, 50], None, none()), "the next batch");
    assert_eq!(at(&[(0, 30)], 0, 30, &[10, 20, 30]), (vec![], None, none()), "the same again");
    assert_eq!(
        at(&[(0, 30)], 0, 50, &[10, 30, 50]),
        (vec![50], None, none()),
        "cut otherwise after a restart"
    );
    assert_eq!(at(&[(0, 30)], 40, 50, &[45, 50]), (vec![45, 50], Some((30, 40)), none()), "a gap");
    assert_eq!(at(&[(0, 30)], 30, 60, &[]), (vec![], None, none()), "all lines gated");
    assert_eq!(at(&[(0, 30)], 10, 20, &[15, 20]), (vec![], None, none()), "older than the watermark");
    assert_eq!(at(&[(0, 0)], 0, 0, &[]), (vec![], None, none()), "nothing");
    // Topic partitions were raised while the writer lagged: another one brought (100, 150] before the stream's beginning.
    assert_eq!(at(&[(100, 150)], 0, 50, &[20, 50]), (vec![20, 50], None, vec![(0, 50)]), "the lagging one");
    assert_eq!(at(&[(0, 50), (100, 150)], 50, 100, &[70, 100]), (vec![70, 100], None, vec![(50, 100)]));
    assert_eq!(
        at(&[(0, 50), (100, 150)], 40, 200, &[45, 60, 120, 160]),
        (vec![60, 160], None, vec![(50, 100)]),
        "cut across what others brought"
    );
    assert_eq!(
        at(&[(0, 50), (100, 150)], 60, 90, &[70, 90]),
        (vec![70, 90], None, vec![(60, 90)]),
        "a part of it"
    );
    assert_eq!(at(&[(0, 50), (100, 150)], 160, 170, &[170]), (vec![170], Some((150, 160)), none()));
}

/// Lines of these lengths; the value is each line's end.
fn file() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(1..50u64, 1..60).prop_map(|lengths| {
        lengths
            .iter()
            .scan(0, |end, len| {
                *end += len;
                Some(*end)
            })
            .collect()
    })
}

/// What a store would hold: of one file, by topic partition.
#[derive(Default)]
struct Stored {
    held: BTreeMap<usize, Ranges>,
    records: Vec<u64>,
    lost: Ranges,
}

impl Stored {
    fn deliver(&mut self, topic_partition: usize, prev: u64, lines: &[u64]) {
        let mut all = Ranges::default();
        self.held.values().for_each(|ranges| all.add_all(ranges));
        let end = *lines.last().unwrap_or(&prev);
        let admission = admit(&all, prev, end, lines);
        assert_eq!(admission.duplicates + admission.new_records(), lines.len());
        for range in &admission.new {
            self.records.extend_from_slice(&lines[range.clone()]);
        }
        if let Some((after, to)) = admission.loss {
            self.lost.add(after, to);
        }
        // A loss that was told is taken back where its bytes came.
        self.lost = self.lost.without_all(&admission.added);
        for (from, to) in admission.added.iter() {
            assert!(all.missing_in(from, to) == [(from, to)], "only what nobody held");
        }
        self.held.entry(topic_partition).or_default().add_all(&admission.added);
    }

    fn lines_once(&self, lines: &[u64]) {
        let mut sorted = self.records.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, lines, "each line once");
    }
}

proptest! {
    /// An agent that restarts again and again from any earlier place, with other batch sizes, stores each line once.
    #[test]
    fn replays_store_each_line_once(lines in file(), runs in prop::collection::vec((0..60usize, 1..20usize, 1..60usize), 1..12)) {
        let mut stored = Stored::default();
        let mut sent = 0;
        for (back, size, count) in runs.into_iter().chain([(60, 7, 60)]) {
            let mut from = sent - back.min(sent);
            for batch in lines[from..].chunks(size).take(count) {
                let prev = if from == 0 { 0 } else { lines[from - 1] };
                stored.deliver(0, prev, batch);
                from += batch.len();
                sent = sent.max(from);
            }
        }
        prop_assert_eq!(&stored.records, &lines, "in order");
        prop_assert!(stored.lost.is_empty());
    }

    /// Whole batches missing, repeated and in any order: at most once, and what is not stored is told as lost.
    #[test]
    fn any_order_tells_its_losses(lines in file(), size in 1..10usize, order in prop::collection::vec(0..60usize, 1..80)) {
        let mut stored = Stored::default();
        let batches: Vec<&[u64]> = lines.chunks(size).collect();
        for place in order.into_iter().map(|place| place % batches.len()) {
            let prev = if place == 0 { 0 } else { lines[place * size - 1] };
            stored.deliver(place % 3, prev, batches[place]);
        }
        let end = stored.held.values().map(Ranges::end).max().unwrap_or(0);
        for line in lines.iter().filter(|&&line| line <= end) {
            let times = stored.records.iter().filter(|&s| s == line).count();
            prop_assert_eq!(usize::from(stored.lost.contains(*line)) + times, 1, "line {}", line);
        }
    }

    /// The stream moves from one topic partition to another (to and fro: some broker's metadata are old), the agent restarts
    /// now and then and sends from its checkpoint again, and the topic partitions are read with any lag, in any order.
    #[test]
    fn moving_streams_lose_nothing_and_double_nothing(
        lines in file(),
        sends in prop::collection::vec((0..3usize, 1..9usize, 0..15usize, any::<bool>()), 1..40),
        reads in prop::collection::vec(0..3usize, 0..300),
    ) {
        let mut queues: Vec<VecDeque<(u64, Vec<u64>)>> = vec![VecDeque::new(); 3];
        let mut from = 0;
        let last = (0, lines.len(), 0, false);
        for (topic_partition, size, back, restarts) in sends.into_iter().chain([last]) {
            if restarts {
                from -= back.min(from);
            }
            let to = (from + size).min(lines.len());
            let prev = if from == 0 { 0 } else { lines[from - 1] };
            queues[topic_partition].push_back((prev, lines[from..to].to_vec()));
            from = to;
        }
        let mut stored = Stored::default();
        let rest = (0..3).cycle().take(3 * 50);
        for topic_partition in reads.into_iter().chain(rest) {
            if let Some((prev, batch)) = queues[topic_partition].pop_front() {
                stored.deliver(topic_partition, prev, &batch);
            }
        }
        stored.lines_once(&lines);
        prop_assert!(stored.lost.is_empty(), "{:?} is said to be lost, and is not", stored.lost);
    }
}
