//! In which order rows fill PostgreSQL's pages: it puts a row where the one before it is, or on a new page, so rows of a third of a page in
//! any order leave much of each page empty.
//!
//! Promises: every row once; memory grows with the rows, time with the rows and a bound that holds for any lengths.

use std::collections::BTreeMap;

/// Of a page of 8 KiB, without its header.
pub(crate) const PAGE_BYTES: usize = 8_168;
/// Of a row: its header and the pointer to it.
const TUPLE_HEADER: usize = 24;
const LINE_POINTER: usize = 4;
/// A `bytea` above this has a length of four bytes, aligned to as many, in place of one.
const SHORT_BYTES_MAX: usize = 126;
/// `segment` and `no`.
const KEY: usize = 12;

/// Rows that are put in order together.
const ROWS_MAX: usize = 1 << 15;
/// A page that has no more than this left is full. Which of them is best depends on the lengths: what fills one page to the last byte may leave
/// the others rows that do not go together.
const FULL: [usize; 5] = [450, 1_400, 1_200, 1_000, 150];
/// Of the pages that the bytes need at the least, so many more in a hundred are few enough.
const MORE_PERCENT: usize = 1;
/// Lengths that are tried for the first of three rows.
const FIRSTS_MAX: usize = 16;

/// What a row of the table of indexes takes of a page, when its `bytes` are so many. It is stored as it is: nothing is compressed.
pub(crate) fn row_bytes(bytes: usize) -> usize {
    let length = if bytes <= SHORT_BYTES_MAX { 1 } else { 4 };
    (TUPLE_HEADER + KEY + length + bytes).next_multiple_of(8) + LINE_POINTER
}

/// The places of `rows` (what each takes of a page) in an order in which they fill pages when they are put one after the other.
pub(crate) fn order(rows: &[usize]) -> Vec<usize> {
    let mut all = Vec::with_capacity(rows.len());
    for (number, some) in rows.chunks(ROWS_MAX).enumerate() {
        let few = some.iter().sum::<usize>().div_ceil(PAGE_BYTES) * (100 + MORE_PERCENT) / 100;
        let mut best: Option<(usize, Vec<usize>)> = None;
        for full in FULL {
            let (pages, order) = Left::of(some).onto_pages(full);
            if best.as_ref().is_none_or(|(least, _)| pages < *least) {
                best = Some((pages, order));
            }
            if pages <= few {
                break;
            }
        }
        let (_, order) = best.unwrap_or_default();
        all.extend(order.into_iter().map(|place| number * ROWS_MAX + place));
    }
    all
}

/// The rows that have no page yet.
struct Left {
    /// Ascending, each with rows of it.
    lengths: Vec<(usize, Vec<usize>)>,
}

/// Rows that are put on a page together.
#[derive(Clone, Copy, Default)]
struct Together {
    bytes: usize,
    /// Places of their lengths, the longest first.
    lengths: [Option<usize>; 3],
}

impl Left {
    fn of(rows: &[usize]) -> Left {
        let mut lengths: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, bytes) in rows.iter().enumerate() {
            lengths.entry(*bytes).or_default().push(place);
        }
        Left { lengths: lengths.into_iter().collect() }
    }

    /// Page by page, each begun with the longest row; with the pages.
    fn onto_pages(mut self, full: usize) -> (usize, Vec<usize>) {
        let (mut pages, mut order) = (0, Vec::new());
        while let Some(longest) = self.lengths.len().checked_sub(1) {
            pages += 1;
            let mut room = PAGE_BYTES.saturating_sub(self.take(longest, &mut order));
            while let Some(best) = self.best(room, full) {
                room -= best.bytes;
                // The longest first: shorter ones keep their places in the list.
                for length in best.lengths.into_iter().flatten() {
                    self.take(length, &mut order);
                }
            }
        }
        (pages, order)
    }

    /// Moves a row of that length; returns what it takes.
    fn take(&mut self, length: usize, order: &mut Vec<usize>) -> usize {
        let (bytes, rows) = &mut self.lengths[length];
        let bytes = *bytes;
        order.extend(rows.pop());
        if rows.is_empty() {
            self.lengths.remove(length);
        }
        bytes
    }

    /// Up to three rows that fill so much room best, and few rather than many; `None`: none fits.
    fn best(&self, room: usize, full: usize) -> Option<Together> {
        let fitting = self.lengths.partition_point(|(bytes, _)| *bytes <= room);
        let longest = fitting.checked_sub(1)?;
        let mut best = Together { bytes: self.lengths[longest].0, lengths: [Some(longest), None, None] };
        let is_full = |best: &Together| room - best.bytes <= full;
        if is_full(&best) {
            return Some(best);
        }
        self.two(room, None, &mut best);
        for first in (0..fitting).rev().step_by(fitting.div_ceil(FIRSTS_MAX)) {
            if is_full(&best) {
                break;
            }
            self.two(room, Some(first), &mut best);
        }
        Some(best)
    }

    /// The two that fill what a first one leaves, none of them longer than it, if they do better than `best`.
    fn two(&self, room: usize, first: Option<usize>, best: &mut Together) {
        let taken = first.map_or(0, |first| self.lengths[first].0);
        let Some(room) = room.checked_sub(taken) else { return };
        let end = first.map_or(self.lengths.len(), |first| first + 1);
        let (mut short, mut long) = (0, end);
        while short < long {
            let (shorter, longer) = (&self.lengths[short], &self.lengths[long - 1]);
            let bytes = shorter.0 + longer.0;
            if bytes > room {
                long -= 1;
                continue;
            }
            let place = long - 1;
            let needed = |length| {
                usize::from(length == short)
                    + usize::from(length == place)
                    + usize::from(Some(length) == first)
            };
            let enough = shorter.1.len() >= needed(short) && longer.1.len() >= needed(place);
            if enough && taken + bytes > best.bytes {
                let lengths = [first, Some(place), Some(short)];
                *best = Together { bytes: taken + bytes, lengths };
            }
            short += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pages that the rows take in this order, put one after the other.
    fn pages(rows: &[usize], order: &[usize]) -> usize {
        let (mut pages, mut room) = (0, 0);
        for bytes in order.iter().map(|place| rows[*place]) {
            if bytes > room {
                (pages, room) = (pages + 1, PAGE_BYTES);
            }
            room = room.saturating_sub(bytes);
        }
        pages
    }

    fn filled(rows: &[usize], order: &[usize]) -> f64 {
        rows.iter().sum::<usize>() as f64 / (pages(rows, order) * PAGE_BYTES) as f64
    }

    /// Numbers of no pattern, the same in each run.
    fn scattered(count: usize, mut one: impl FnMut(u64) -> usize) -> Vec<usize> {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        (0..count).map(|_| row_bytes(one(next()))).collect()
    }

    #[test]
    fn a_row_takes_what_postgresql_gives_it() {
        // 24 of the header, 12 of the key, 1 or 4 of the length, in eights; 4 of the pointer.
        for (bytes, takes) in [(0, 44), (3, 44), (4, 52), (126, 172), (127, 172), (2_660, 2_708)] {
            assert_eq!(row_bytes(bytes), takes, "{bytes}");
        }
    }

    #[test]
    fn pages_are_filled() {
        let cases: [(&str, Vec<usize>, f64); 7] = [
            ("pages of tokens", scattered(20_000, |n| 1_500 + (n % 1_600) as usize), 0.98),
            (
                "and of lists",
                scattered(20_000, |n| if n % 3 == 0 { 2_660 } else { 1_500 + (n % 2_500) as usize }),
                0.96,
            ),
            (
                "longer ones too",
                scattered(20_000, |n| if n % 40 == 0 { 5_000 } else { 1_500 + (n % 2_500) as usize }),
                0.96,
            ),
            (
                "most in the middle",
                scattered(20_000, |n| 1_500 + (n % 1_000 + n / 1_000 % 1_000 + n / 1_000_000 % 500) as usize),
                0.96,
            ),
            ("short ones", scattered(20_000, |n| (n % 900) as usize), 0.99),
            ("few", scattered(60, |n| 1_500 + (n % 1_600) as usize), 0.9),
            ("three of a page", scattered(3_000, |_| 2_660), 0.99),
        ];
        for (what, rows, least) in cases {
            let ordered = order(&rows);
            let as_they_come: Vec<usize> = (0..rows.len()).collect();
            let (before, after) = (filled(&rows, &as_they_come), filled(&rows, &ordered));
            assert!(after >= least && after >= before, "{what}: {before:.3}, in order {after:.3}");
        }
    }

    proptest! {
        /// Also of rows that no page has room for, and where more rows come than are put in order together.
        #[test]
        fn every_row_comes_once(mut rows in prop::collection::vec(0..12_000_usize, 0..300), many: bool) {
            if many {
                rows.extend(std::iter::repeat_n(4_000, ROWS_MAX));
            }
            let mut ordered = order(&rows);
            ordered.sort_unstable();
            prop_assert!(ordered.iter().copied().eq(0..rows.len()));
        }

        /// Nearly as good as can be wherever four fit on a page.
        #[test]
        fn rows_of_any_length_fill_pages(rows in prop::collection::vec(44..2_000_usize, 100..600)) {
            let ordered = order(&rows);
            let least = rows.iter().sum::<usize>().div_ceil(PAGE_BYTES);
            prop_assert!(pages(&rows, &ordered) <= least + 1 + least / 20);
        }
    }
}
