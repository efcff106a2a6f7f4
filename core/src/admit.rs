//! The watermark: what of a batch is new, what was seen, what is missing.
//!
//! However often batches of one stream and file come again, from wherever, every record is admitted at most once, and a
//! record that is never admitted lies in a loss that was told.

/// What to do with one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The first record that is new: `records[first_new..]` are to be stored.
    pub first_new: usize,
    /// Records before it: already stored, skipped.
    pub duplicates: usize,
    /// File positions `(after, to]` that no batch brought.
    pub loss: Option<(u64, u64)>,
    /// The watermark once this batch is stored; never below the old one.
    pub watermark: u64,
}

/// Compares a batch that accounts for the file positions `(prev, end]` with the end already stored.
///
/// `watermark`: of the batch's stream, file and topic partition; `None` if nothing of that stream and file is stored: then
/// a `prev` above 0 is a loss too. (Where the stream came by another topic partition before, give `Some(prev)`: its
/// earlier positions are that way's business.) `positions`: the records' end positions, ascending, within `(prev, end]`.
pub fn admit(watermark: Option<u64>, prev: u64, end: u64, positions: &[u64]) -> Admission {
    let stored = watermark.unwrap_or(0);
    let first_new = match watermark {
        Some(stored) => positions.partition_point(|&position| position <= stored),
        None => 0,
    };
    Admission {
        first_new,
        duplicates: first_new,
        loss: (prev > stored).then_some((stored, prev)),
        watermark: stored.max(end),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table() {
        let at = |watermark, prev, end, positions: &[u64]| {
            let a = admit(watermark, prev, end, positions);
            (a.first_new, a.loss, a.watermark)
        };
        assert_eq!(at(None, 0, 30, &[10, 20, 30]), (0, None, 30), "the first batch");
        assert_eq!(at(None, 5, 30, &[10, 20, 30]), (0, Some((0, 5)), 30), "the beginning is missing");
        assert_eq!(at(Some(5), 5, 30, &[10, 20, 30]), (0, None, 30), "the stream moved here");
        assert_eq!(at(Some(30), 30, 50, &[40, 50]), (0, None, 50), "the next batch");
        assert_eq!(at(Some(30), 0, 30, &[10, 20, 30]), (3, None, 30), "the same again");
        assert_eq!(at(Some(30), 0, 50, &[10, 30, 50]), (2, None, 50), "cut otherwise after a restart");
        assert_eq!(at(Some(30), 40, 50, &[45, 50]), (0, Some((30, 40)), 50), "a gap");
        assert_eq!(at(Some(30), 30, 60, &[]), (0, None, 60), "all lines gated");
        assert_eq!(at(Some(30), 10, 20, &[15, 20]), (2, None, 30), "older than the watermark");
        assert_eq!(at(Some(0), 0, 0, &[]), (0, None, 0), "nothing");
    }

    /// Lines at these lengths, cut into batches at these places.
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

    fn deliver(
        watermark: &mut Option<u64>,
        stored: &mut Vec<u64>,
        lost: &mut Vec<(u64, u64)>,
        prev: u64,
        lines: &[u64],
    ) {
        let end = *lines.last().unwrap_or(&prev);
        let admission = admit(*watermark, prev, end, lines);
        stored.extend_from_slice(&lines[admission.first_new..]);
        lost.extend(admission.loss);
        assert_eq!(admission.duplicates + lines[admission.first_new..].len(), lines.len());
        assert!(Some(admission.watermark) >= *watermark);
        *watermark = Some(admission.watermark);
    }

    proptest! {
        /// An agent that restarts again and again from any earlier place, with other batch sizes, stores each line once.
        #[test]
        fn replays_store_each_line_once(lines in file(), runs in prop::collection::vec((0..60usize, 1..20usize, 1..60usize), 1..12)) {
            let (mut watermark, mut stored, mut lost) = (None, Vec::new(), Vec::new());
            let mut sent = 0;
            for (back, size, count) in runs.into_iter().chain([(60, 7, 60)]) {
                let mut from = sent - back.min(sent);
                for batch in lines[from..].chunks(size).take(count) {
                    let prev = if from == 0 { 0 } else { lines[from - 1] };
                    deliver(&mut watermark, &mut stored, &mut lost, prev, batch);
                    from += batch.len();
                    sent = sent.max(from);
                }
            }
            prop_assert_eq!(&stored, &lines);
            prop_assert!(lost.is_empty());
        }

        /// Whole batches missing, repeated and in any order: at most once, and what is not stored is told as lost.
        #[test]
        fn any_order_tells_its_losses(lines in file(), size in 1..10usize, order in prop::collection::vec(0..60usize, 1..80)) {
            let (mut watermark, mut stored, mut lost) = (None, Vec::new(), Vec::new());
            let batches: Vec<&[u64]> = lines.chunks(size).collect();
            for place in order.into_iter().map(|place| place % batches.len()) {
                let prev = if place == 0 { 0 } else { lines[place * size - 1] };
                deliver(&mut watermark, &mut stored, &mut lost, prev, batches[place]);
            }
            prop_assert!(stored.windows(2).all(|pair| pair[0] < pair[1]), "once and in order");
            for line in lines.iter().filter(|&&line| Some(line) <= watermark) {
                let told = lost.iter().filter(|&&(after, to)| after < *line && *line <= to).count();
                prop_assert_eq!(told + stored.iter().filter(|&s| s == line).count(), 1, "line {}", line);
            }
        }
    }
}
