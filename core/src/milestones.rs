//! Milestones of a file: hashes of some of its lines, and where these lines end. After the file was cut short, they tell how much
//! of it is unchanged.
//! Promises: there are at most [`MILESTONES_MAX`] of a file of any size; what lies between two of them is at most a 16th of
//! what was read of it and a quarter of what lies before (but for lines and records that lie there whole), so that little is
//! read again wherever it is cut; what they call unchanged was there before. Where lines that name their time are rare,
//! milestones lie as far apart as these lines, and as much is read again.
//!
//! Only a line that names its time is one: a program that is started again writes the lines without a time again, and they
//! are new. Each milestone is the end of a line with no record begun, so reading can begin there.

use std::fmt::Write;
use std::ops::Range;

use memchr::memrchr;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::{MILESTONE_LINE_BYTES_MAX, MILESTONES_MAX};

/// Milestones lie apart by what was read of the file divided by this, or by up to twice as much...
const PARTS: u64 = 64;
/// ...and by what lies before them divided by this, where that is less.
const PARTS_BEFORE: u64 = 8;

/// A line ends at `at`, and this is its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Milestone {
    at: u64,
    hash: u32,
}

/// In the order of the file. In the checkpoint a text of `<bytes behind the one before>:<hash>`, in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Milestones(Vec<Milestone>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} are no milestones of a file")]
pub struct MilestonesError(String);

impl From<Milestones> for String {
    fn from(milestones: Milestones) -> String {
        let mut text = String::new();
        let mut before = 0;
        for Milestone { at, hash } in milestones.0 {
            let gap = if before == 0 { "" } else { " " };
            // (Writing to a text cannot fail.)
            let _ = write!(text, "{gap}{:x}:{hash:x}", at - before);
            before = at;
        }
        text
    }
}

impl TryFrom<String> for Milestones {
    type Error = MilestonesError;

    fn try_from(text: String) -> Result<Milestones, MilestonesError> {
        let mut before = 0_u64;
        let mut milestone = |word: &str| {
            let (apart, hash) = word.split_once(':')?;
            let apart = u64::from_str_radix(apart, 16).ok().filter(|apart| *apart > 0)?;
            before = before.checked_add(apart)?;
            Some(Milestone { at: before, hash: u32::from_str_radix(hash, 16).ok()? })
        };
        let milestones: Option<Vec<Milestone>> = text.split_ascii_whitespace().map(&mut milestone).collect();
        milestones.map(Milestones).ok_or(MilestonesError(text))
    }
}

impl Milestones {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From where on the end of a line is the next one.
    pub fn due(&self) -> u64 {
        self.0.last().map_or(1, |last| last.at + distance(last.at))
    }

    /// A line ends at `at`. `lines`: whole lines, it is the last of them.
    pub fn add(&mut self, at: u64, lines: &[u8]) {
        if at < self.due() {
            return;
        }
        let Some(hash) = hash_of_line(lines, true) else { return };
        let apart = distance(at);
        if self.0.last().is_some_and(|last| distance(last.at) != apart) {
            // They were set closer when the file was shorter.
            let mut next = 0;
            self.0.retain(|milestone| {
                let keeps = milestone.at >= next;
                if keeps {
                    next = milestone.at + apart.min((milestone.at / PARTS_BEFORE).max(1));
                }
                keeps
            });
        }
        if self.0.len() == MILESTONES_MAX {
            // (No file is so long.)
            self.0.remove(0);
        }
        self.0.push(Milestone { at, hash });
    }

    /// Those up to a position.
    #[must_use]
    pub fn up_to(&self, position: u64) -> Milestones {
        Milestones(self.0.iter().filter(|milestone| milestone.at <= position).copied().collect())
    }
}

/// How far the last ones lie apart at least, where so much of a file was read: a power of two, so that the file's growth drops some
/// and moves none.
pub fn distance(position: u64) -> u64 {
    (position / PARTS).max(1).next_power_of_two()
}

/// The hash of the line at the end of these bytes. `is_start`: they are the first of the file, else the line may have begun
/// before them. `None`: there is no whole line of at most [`MILESTONE_LINE_BYTES_MAX`] bytes.
pub fn hash_of_line(before: &[u8], is_start: bool) -> Option<u32> {
    let inner = last_line(before)?;
    let line = &before[before.len() - 1 - inner.len()..];
    let is_whole = is_start || line.len() < before.len();
    (is_whole && line.len() <= MILESTONE_LINE_BYTES_MAX).then(|| xxh3_64(line) as u32)
}

/// The line at the end of these bytes, without its newline; they may have begun within it.
pub fn last_line(bytes: &[u8]) -> Option<&[u8]> {
    let inner = bytes.strip_suffix(b"\n")?;
    Some(&inner[memrchr(b'\n', inner).map_or(0, |newline| newline + 1)..])
}

/// What is known of a file that was read before it is looked at again.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// Read (or read and acknowledged) up to here.
    pub position: u64,
    /// The largest size seen.
    pub size: u64,
    pub milestones: &'a Milestones,
}

/// What is there now.
#[derive(Clone, Copy, Debug)]
pub struct OnDisk {
    pub size: u64,
    /// All that was read is there: the bytes before the last place are the same.
    pub is_same: bool,
    /// So is what lies before [`Read::position`].
    pub is_same_at_position: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Same,
    /// It was cut short, and perhaps written to since.
    Cut {
        /// What lies before was read, and is as it was. What lies behind may be new.
        at: u64,
        /// What was cut off and not read: so much at the least, where `at` is the position.
        unread: Range<u64>,
    },
}

/// Whether a file still holds what was read from it, and from where on it is to be read as another where it does not.
/// `hash_at` looks at the line that ends at a place ([`hash_of_line`]).
pub fn compare(read: Read<'_>, disk: OnDisk, hash_at: impl Fn(u64) -> Option<u32>) -> Found {
    let Read { position, size, milestones } = read;
    if disk.is_same_at_position {
        if disk.size >= size && disk.is_same {
            return Found::Same;
        }
        // Between the position and its end. What lies there may have been read and sent: it is read as another's, because the
        // places of new lines may be those of lines that are stored.
        let left = if disk.size < size { disk.size.max(position) } else { position };
        return Found::Cut { at: position, unread: left.min(size)..size };
    }
    let left = milestones.0.iter().rev().filter(|milestone| milestone.at <= position.min(disk.size));
    let at = left.map(|milestone| (milestone.at, hash_at(milestone.at) == Some(milestone.hash)));
    let at = at.into_iter().find(|(_, holds)| *holds).map_or(0, |(at, _)| at);
    Found::Cut { at, unread: position.min(size)..size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(number: u64) -> Vec<u8> {
        format!("{number:08} {}\n", "x".repeat((number * 7919 % 190) as usize)).into_bytes()
    }

    fn file(lines: std::ops::Range<u64>) -> Vec<u8> {
        lines.flat_map(line).collect()
    }

    /// As the agent reads it.
    fn read(file: &[u8]) -> Milestones {
        let (mut milestones, mut at) = (Milestones::default(), 0);
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            let from = at;
            at += line.len();
            let begin = file[..from].len().saturating_sub(500);
            milestones.add(at as u64, &file[begin..at]);
        }
        milestones
    }

    fn found(milestones: &Milestones, read: &[u8], now: &[u8], known_size: u64) -> Found {
        let position = read.len();
        let is_same = now.get(..position) == Some(read);
        let disk = OnDisk { size: now.len() as u64, is_same, is_same_at_position: is_same };
        compare(Read { position: position as u64, size: known_size, milestones }, disk, |at| {
            hash_of_line(&now[..at as usize], true)
        })
    }

    #[test]
    fn what_is_left_of_a_file_that_was_cut() {
        let before = file(0..1_000);
        let size = before.len() as u64;
        let milestones = read(&before);
        let end = |lines: u64| file(0..lines).len() as u64;
        for (left, more, new) in [
            (0, 0, 0),
            (0, 0, 2_000),
            (1, 0, 0),
            (1, 0, 300),
            (500, 0, 0),
            (500, 0, 100),
            (500, 3, 100),
            (500, 0, 5_000),
            (999, 0, 0),
            (999, 5, 5_000),
        ] {
            let ctx = format!("{left} lines and {more} bytes left, {new} new");
            let mut now = before[..(end(left) + more) as usize].to_vec();
            now.extend(file(10_000..10_000 + new));
            let Found::Cut { at, unread } = found(&milestones, &before, &now, size) else {
                panic!("{ctx}: the same");
            };
            assert!(unread.is_empty(), "{ctx}");
            assert!(at <= end(left), "{ctx}: {at} of {}: new lines are passed over", end(left));
            assert!(end(left) - at <= size / 16 + 512, "{ctx}: {at} of {}", end(left));
            assert_eq!(at > 0, left > 0, "{ctx}");
        }
        let exactly = milestones.0[milestones.0.len() / 2].at;
        let cut = found(&milestones, &before, &before[..exactly as usize], size);
        assert_eq!(cut, Found::Cut { at: exactly, unread: size..size });
    }

    /// What is cut to a length that is small beside its own is known too.
    #[test]
    fn they_lie_closer_where_less_lies_before() {
        for line in [60_u64, 1_000] {
            let (mut milestones, mut at) = (Milestones::default(), 0);
            let mut size = 0;
            // Up to 16 GiB.
            while at < 1 << 34 {
                at = milestones.due().max(at + line).next_multiple_of(line);
                milestones.add(at, b"x\n");
                if at.ilog2() > size {
                    size = at.ilog2();
                    let mut before = 0;
                    for milestone in &milestones.0 {
                        let apart = milestone.at - before;
                        let bound = (at / 16).min(before / 4 + line) + line;
                        assert!(apart <= bound, "{apart} bytes at {before} of {at}");
                        before = milestone.at;
                    }
                    assert!(milestones.0.len() <= 200, "{} at {at}", milestones.0.len());
                }
            }
        }
    }

    #[test]
    fn as_a_text() {
        let text = |milestones: &[(u64, u32)]| {
            let list = milestones.iter().map(|(at, hash)| Milestone { at: *at, hash: *hash });
            String::from(Milestones(list.collect()))
        };
        assert_eq!(text(&[]), "");
        assert_eq!(text(&[(16, 255), (48, u32::MAX)]), "10:ff 20:ffffffff");
        let milestones = Milestones::try_from("10:ff 20:ffffffff".to_owned()).unwrap();
        assert_eq!(String::from(milestones), "10:ff 20:ffffffff");
        for bad in ["10", "x:1", "10:", "0:1", "1:1ffffffff", "ffffffffffffffff:1 1:1"] {
            assert_eq!(Milestones::try_from(bad.to_owned()), Err(MilestonesError(bad.to_owned())));
        }
    }

    #[test]
    fn what_a_look_says() {
        let milestones = read(&file(0..100));
        let last = milestones.0.last().unwrap().at;
        let look = |position, size, now, same, same_at_position| {
            let disk = OnDisk { size: now, is_same: same, is_same_at_position: same_at_position };
            compare(Read { position, size, milestones: &milestones }, disk, |at| {
                milestones.0.iter().find(|milestone| milestone.at == at).map(|milestone| milestone.hash)
            })
        };
        assert_eq!(look(last, last, last, true, true), Found::Same);
        assert_eq!(look(last, last, last + 50, true, true), Found::Same, "it grew");
        let cut = |at, unread| Found::Cut { at, unread: last + 90 - unread..last + 90 };
        let whole = |at| Found::Cut { at, unread: last..last };
        assert_eq!(look(last, last + 90, last + 20, true, true), cut(last, 70), "cut behind the position");
        assert_eq!(look(last, last + 90, last + 99, false, true), cut(last, 90), "and written to");
        assert_eq!(look(last, last + 90, last + 99, false, false), cut(last, 90));
        let one_before = milestones.0[milestones.0.len() - 2].at;
        assert_eq!(look(last, last + 90, last - 1, false, false), cut(one_before, 90));
        assert_eq!(look(last, last, 0, false, false), whole(0), "emptied");
        let none = Milestones::default();
        let disk = OnDisk { size: last, is_same: false, is_same_at_position: false };
        let by_none = compare(Read { position: last, size: last, milestones: &none }, disk, |_| Some(1));
        assert_eq!(by_none, whole(0), "nothing is known of it");
        let changed = compare(Read { position: last, size: last, milestones: &milestones }, disk, |_| None);
        assert_eq!(changed, whole(0), "other lines");
    }

    #[test]
    fn the_line_at_the_end() {
        let of = |line: &[u8]| Some(xxh3_64(line) as u32);
        assert_eq!(hash_of_line(b"ab\ncd\n", false), of(b"cd\n"));
        assert_eq!(hash_of_line(b"cd\n", true), of(b"cd\n"));
        assert_eq!(hash_of_line(b"cd\n", false), None, "it may have begun before");
        assert_eq!(hash_of_line(b"ab\ncd", true), None);
        assert_eq!(hash_of_line(b"", true), None);
        assert_eq!(hash_of_line(b"\n", true), of(b"\n"));
        let long = [b"\n".as_slice(), &vec![b'x'; MILESTONE_LINE_BYTES_MAX], b"\n"].concat();
        assert_eq!(hash_of_line(&long, true), None, "too long");
    }

    proptest! {
        #[test]
        fn few_in_a_file_of_any_size(steps in prop::collection::vec(1u64..1 << 30, 1..400)) {
            let (mut milestones, mut at) = (Milestones::default(), 0);
            for step in steps {
                let before = milestones.up_to(at);
                let due = milestones.due();
                at += step;
                milestones.add(at, b"\nx\n");
                prop_assert!(milestones.0.len() <= MILESTONES_MAX);
                prop_assert!(milestones.0.windows(2).all(|pair| pair[0].at < pair[1].at));
                if at < due {
                    prop_assert_eq!(&milestones, &before);
                }
                prop_assert!(distance(at) <= (at / 32).max(1));
            }
        }
    }
}
