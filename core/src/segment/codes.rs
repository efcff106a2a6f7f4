//! Writes and reads the numbers of pages and spills. Counts are Elias gamma codes. Ascending numbers below a bound are binary interpolative
//! codes: first the middle number, in as few bits as its possible range needs, then the lower half, then the upper half.

use crate::bits::{BitReader, BitWriter};

/// `value` is at least 1.
pub(super) fn put_gamma(bits: &mut BitWriter<'_>, value: u32) {
    let log = value.ilog2();
    bits.unary(log);
    bits.put(value & ((1 << log) - 1), log);
}

pub(super) fn gamma(bits: &mut BitReader<'_>) -> Option<u32> {
    let log = bits.unary().filter(|&log| log < 32)?;
    Some(1 << log | bits.take(log)?)
}

/// A number below `room` (at least 1), in the fewest bits on average.
fn put_below(bits: &mut BitWriter<'_>, value: u32, room: u32) {
    debug_assert!(value < room);
    let log = room.ilog2();
    // So many numbers need a bit less. (`room` is below 2^31.)
    let short = (2 << log) - room;
    if value < short {
        bits.put(value, log);
    } else {
        let value = value + short;
        bits.put(value >> 1, log);
        bits.put(value & 1, 1);
    }
}

fn below(bits: &mut BitReader<'_>, room: u32) -> Option<u32> {
    let log = room.ilog2();
    let short = (2 << log) - room;
    let value = bits.take(log)?;
    if value < short { Some(value) } else { Some((value << 1 | bits.take(1)?) - short) }
}

/// Bounds of numbers are below this.
pub(super) const BOUND_MAX: u32 = 1 << 30;

/// Ascending numbers, all at least `from` and below `to`.
pub(super) fn put_ascending(bits: &mut BitWriter<'_>, numbers: &[u32], from: u32, to: u32) {
    let count = numbers.len() as u32;
    if count == 0 || count == to - from {
        return;
    }
    let middle = numbers.len() / 2;
    let (number, before) = (numbers[middle], middle as u32);
    put_below(bits, number - (from + before), to - from - count + 1);
    put_ascending(bits, &numbers[..middle], from, number);
    put_ascending(bits, &numbers[middle + 1..], number + 1, to);
}

/// Passes over numbers that [`put_ascending`] wrote; they are few.
pub(super) fn skip_ascending(bits: &mut BitReader<'_>, count: u32, from: u32, to: u32) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let room = to.checked_sub(from)?.checked_sub(count)? + 1;
    if room == 1 {
        return Some(());
    }
    let before = count / 2;
    let number = from + before + below(bits, room)?;
    skip_ascending(bits, before, from, number)?;
    skip_ascending(bits, count - before - 1, number + 1, to)
}

/// Appends numbers that [`put_ascending`] wrote.
pub(super) fn read_ascending(
    bits: &mut BitReader<'_>,
    count: u32,
    from: u32,
    to: u32,
    numbers: &mut Vec<u32>,
) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let room = to.checked_sub(from)?.checked_sub(count)? + 1;
    if room == 1 {
        numbers.extend(from..to);
        return Some(());
    }
    let before = count / 2;
    let number = from + before + below(bits, room)?;
    read_ascending(bits, before, from, number, numbers)?;
    numbers.push(number);
    read_ascending(bits, count - before - 1, number + 1, to, numbers)
}

/// Reads numbers that [`put_ascending`] wrote, one by one.
#[derive(Clone, Debug)]
pub(super) struct Ascending<'a> {
    bits: BitReader<'a>,
    /// The range that is read next, if one is left; `open` has the ranges after it, the next one last.
    top: Option<Open>,
    open: Vec<Open>,
    /// The bits ended early: there may be more numbers than were given out.
    pub is_cut: bool,
}

/// A range whose numbers are not read yet: `count` numbers, at least `from` and below `to`.
#[derive(Clone, Copy, Debug)]
struct Open {
    from: u32,
    to: u32,
    count: u32,
}

impl<'a> Ascending<'a> {
    /// `None`: there cannot be so many.
    pub fn new(bits: BitReader<'a>, count: u32, from: u32, to: u32) -> Option<Ascending<'a>> {
        (from <= to && to <= BOUND_MAX && count <= to - from).then(|| Ascending {
            bits,
            // A single number needs no room.
            top: Some(Open { from, to, count }),
            open: Vec::new(),
            is_cut: false,
        })
    }

    /// The reader behind the numbers, once all have come.
    #[cfg(test)]
    pub fn into_bits(self) -> Option<BitReader<'a>> {
        (!self.is_cut && self.top.is_none() && self.open.is_empty()).then_some(self.bits)
    }
}

impl Iterator for Ascending<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            let Open { from, to, count } = self.top.take().or_else(|| self.open.pop())?;
            if count == 0 {
                continue;
            }
            let room = to - from - count + 1;
            if room == 1 {
                if count > 1 {
                    self.open.push(Open { from: from + 1, to, count: count - 1 });
                }
                return Some(from);
            }
            let before = count / 2;
            let Some(free) = below(&mut self.bits, room) else {
                self.is_cut = true;
                self.open.clear();
                return None;
            };
            let number = from + before + free;
            if count - before > 1 {
                self.open.push(Open { from: number + 1, to, count: count - before - 1 });
            }
            if before == 0 {
                return Some(number);
            }
            self.open.push(Open { from: number, to: number + 1, count: 1 });
            self.open.push(Open { from, to: number, count: before });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(
            sets in prop::collection::vec((prop::collection::btree_set(prop_oneof![0..40u32, 0..3_000u32, 0..BOUND_MAX - 7], 0..200), 0..7u32), 1..5),
        ) {
            let mut bytes = Vec::new();
            let mut bits = BitWriter::new(&mut bytes);
            let sets: Vec<(Vec<u32>, u32)> = sets.into_iter().map(|(set, more)| {
                let to = set.last().map_or(0, |last| last + 1) + more;
                (set.into_iter().collect(), to)
            }).collect();
            for (numbers, to) in &sets {
                put_gamma(&mut bits, numbers.len() as u32 + 1);
                put_ascending(&mut bits, numbers, 0, *to);
            }
            bits.finish(false);
            let mut again = BitReader::new(&bytes, 0);
            for (numbers, to) in &sets {
                let count = gamma(&mut again).expect("it is there") - 1;
                let mut found = Vec::new();
                prop_assert_eq!(read_ascending(&mut again, count, 0, *to, &mut found), Some(()));
                prop_assert_eq!(&found, numbers);
            }
            let mut bits = BitReader::new(&bytes, 0);
            for (numbers, to) in &sets {
                let count = gamma(&mut bits).expect("it is there") - 1;
                let mut read = Ascending::new(bits, count, 0, *to).expect("they fit");
                let found: Vec<u32> = read.by_ref().collect();
                prop_assert_eq!(&found, numbers);
                bits = read.into_bits().expect("they are all there");
            }
        }

        #[test]
        fn any_bits_give_ascending_numbers_within_the_bounds(
            bytes in prop::collection::vec(any::<u8>(), 0..60), from in 0..50u32, more in 0..5_000u32, count in 0..5_000u32,
        ) {
            let Some(mut read) = Ascending::new(BitReader::new(&bytes, 0), count, from, from + more) else {
                prop_assert!(count > more);
                return Ok(());
            };
            let found: Vec<u32> = read.by_ref().collect();
            prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(found.iter().all(|number| (from..from + more).contains(number)));
            prop_assert!(read.is_cut || found.len() == count as usize);
        }
    }

    #[test]
    fn what_is_sure_costs_nothing() {
        for (numbers, to, bits_max) in [((0..100).collect(), 100, 0), (vec![5], 6, 3), (vec![0], 1, 0)] {
            let numbers: Vec<u32> = numbers;
            let mut bytes = Vec::new();
            let mut bits = BitWriter::new(&mut bytes);
            put_ascending(&mut bits, &numbers, 0, to);
            bits.finish(false);
            assert!(
                bytes.len() * 8 <= (bits_max as usize).next_multiple_of(8),
                "{to}: {} bytes",
                bytes.len()
            );
        }
    }
}
