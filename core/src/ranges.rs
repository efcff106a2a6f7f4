//! Sets of file positions, as disjoint ranges `(begin, end]` in ascending order.
//! Promises: ranges that overlap or touch become one; an empty range adds nothing.

/// Positions of one file. A position is the byte offset just past a line's last byte, so `(0, 10]` is a first line of 10 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// `(begin, end]` without the holes in it.
    pub fn without(begin: u64, end: u64, holes: &Ranges) -> Ranges {
        Ranges(holes.missing_in(begin, end))
    }

    /// Where the first range begins; 0 when there is none.
    pub fn begin(&self) -> u64 {
        self.0.first().map_or(0, |range| range.0)
    }

    /// The highest position; 0 when there is none.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.1)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    /// Sum of the ranges' lengths.
    pub fn length(&self) -> u64 {
        self.iter().map(|(begin, end)| end - begin).sum()
    }

    pub fn contains(&self, position: u64) -> bool {
        let at = self.0.partition_point(|range| range.1 < position);
        self.0.get(at).is_some_and(|range| range.0 < position)
    }

    pub fn add(&mut self, begin: u64, end: u64) {
        if begin >= end {
            return;
        }
        let from = self.0.partition_point(|range| range.1 < begin);
        let to = self.0.partition_point(|range| range.0 <= end);
        let joined = match self.0.get(from..to) {
            Some([]) | None => (begin, end),
            Some(touched) => (begin.min(touched[0].0), end.max(touched[touched.len() - 1].1)),
        };
        self.0.splice(from..to, [joined]);
    }

    pub fn add_all(&mut self, other: &Ranges) {
        other.iter().for_each(|(begin, end)| self.add(begin, end));
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn without_all(&self, other: &Ranges) -> Ranges {
        Ranges(self.iter().flat_map(|(begin, end)| other.missing_in(begin, end)).collect())
    }

    /// The parts of `(begin, end]` that are not in the set.
    pub fn missing_in(&self, begin: u64, end: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut at = begin;
        let from = self.0.partition_point(|range| range.1 <= begin);
        for &(held_from, held_to) in self.0.iter().skip(from).take_while(|range| range.0 < end) {
            if held_from > at {
                missing.push((at, held_from));
            }
            at = at.max(held_to);
        }
        if at < end {
            missing.push((at, end));
        }
        missing
    }

    /// What lies between the ranges.
    pub fn holes(&self) -> Ranges {
        Ranges(self.missing_in(self.begin(), self.end()))
    }

    /// Closes the lowest holes until at most `holes_max` are left.
    pub fn close_holes(&mut self, holes_max: usize) {
        let over = self.0.len().saturating_sub(holes_max + 1);
        if over > 0 {
            let begin = self.begin();
            self.0.drain(..over);
            self.0[0].0 = begin;
        }
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<T: IntoIterator<Item = (u64, u64)>>(ranges: T) -> Ranges {
        let mut set = Ranges::default();
        ranges.into_iter().for_each(|(begin, end)| set.add(begin, end));
        set
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the positions one by one.
        #[test]
        fn a_set_of_ranges_is_the_set_of_its_positions(
            ranges in prop::collection::vec((0..60u64, 0..60u64), 0..20), asked in (0..60u64, 0..60u64), holes_max in 0..4usize,
        ) {
            let set: Ranges = ranges.iter().copied().collect();
            let holds = |position: u64| ranges.iter().any(|(begin, end)| *begin < position && position <= *end);
            for position in 0..70 {
                prop_assert_eq!(set.contains(position), holds(position), "{}", position);
            }
            let parts: Vec<_> = set.iter().collect();
            prop_assert!(parts.iter().all(|(begin, end)| begin < end));
            prop_assert!(parts.windows(2).all(|pair| pair[0].1 < pair[1].0), "disjoint, and joined where they touch");
            let missing: Ranges = set.missing_in(asked.0, asked.1).into_iter().collect();
            for position in 0..70 {
                let expected = asked.0 < position && position <= asked.1 && !holds(position);
                prop_assert_eq!(missing.contains(position), expected, "{}", position);
            }
            prop_assert_eq!(Ranges::without(set.begin(), set.end(), &set.holes()), set.clone());
            prop_assert_eq!(set.length(), (0..70).filter(|position| holds(*position)).count() as u64);
            let from_all = Ranges::from_iter([(0, 70)]).without_all(&set);
            prop_assert!((1..=70).all(|position| from_all.contains(position) != holds(position)));
            let mut closed = set.clone();
            closed.close_holes(holes_max);
            prop_assert!(closed.holes().iter().count() <= holes_max);
            prop_assert_eq!((closed.begin(), closed.end()), (set.begin(), set.end()));
            prop_assert!((0..70).all(|position| !set.contains(position) || closed.contains(position)));
        }
    }
}
