//! A queue of lines that wait for the output, bounded in bytes. When it is full, it drops lines of the lowest level first.
//! Promises: the queue hands out every line once and in order, or drops and counts it.

use crate::level::Level;

/// How much a line matters: the levels, then audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u8);

const RANKS: usize = Level::ALL.len() + 1;
const AUDIT: usize = Level::ALL.len();

impl Rank {
    pub const AUDIT: Rank = Rank(AUDIT as u8);

    pub fn of(level: Level) -> Rank {
        Rank(level as u8)
    }

    /// It may not wait.
    pub fn is_urgent(self) -> bool {
        self.0 == Level::Error as u8
    }
}

/// How many lines were dropped, by rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped([u64; RANKS]);

impl Dropped {
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn add(&mut self, rank: Rank, count: u64) {
        self.0[usize::from(rank.0)] += count;
    }

    pub(crate) fn add_all(&mut self, other: &Dropped) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, more)| *mine += more);
    }

    /// Names and counts, the lowest level first; without zeros.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Level::ALL.map(Level::as_str).into_iter().chain(["AUDIT"]);
        names.zip(self.0).filter(|(_, count)| *count > 0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Line {
    bytes: u32,
    rank: Rank,
}

/// Whole lines in their order.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

impl Lines {
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
    }

    fn push(&mut self, rank: Rank, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.lines.push(Line { bytes: line.len() as u32, rank });
    }

    /// Pieces of whole lines, of at most `piece_bytes` where a line is not longer by itself; with each, what it holds.
    pub fn pieces(&self, piece_bytes: usize) -> impl Iterator<Item = (&[u8], Dropped)> {
        let (mut at, mut next) = (0, 0);
        std::iter::from_fn(move || {
            let begin = at;
            let mut holds = Dropped::default();
            while let Some(line) = self.lines.get(next) {
                let bytes = line.bytes as usize;
                if at > begin && at + bytes - begin > piece_bytes {
                    break;
                }
                at += bytes;
                next += 1;
                holds.add(line.rank, 1);
            }
            (at > begin).then(|| (&self.bytes[begin..at], holds))
        })
    }
}

/// The waiting lines, and how many were dropped since they were last taken.
#[derive(Debug)]
pub struct LineQueue {
    waiting: Lines,
    bytes_max: usize,
    dropped: Dropped,
}

impl LineQueue {
    pub fn new(bytes_max: usize) -> LineQueue {
        LineQueue { waiting: Lines::default(), bytes_max, dropped: Dropped::default() }
    }

    pub fn waiting(&self) -> &Lines {
        &self.waiting
    }

    /// Takes a line in; what has no room is dropped and counted.
    pub fn push(&mut self, rank: Rank, line: &[u8]) {
        if self.waiting.bytes.len() + line.len() > self.bytes_max && !self.make_room(rank, line.len()) {
            return self.dropped.add(rank, 1);
        }
        self.waiting.push(rank, line);
    }

    /// Those that were dropped since lines were handed out last.
    pub fn dropped(&self) -> &Dropped {
        &self.dropped
    }

    /// Counts lines as dropped that were handed out.
    pub fn add_dropped(&mut self, dropped: &Dropped) {
        self.dropped.add_all(dropped);
    }

    /// Hands out all lines, with how many were dropped before them. `emptied` is what the lines before were in.
    pub fn take(&mut self, mut emptied: Lines) -> (Lines, Dropped) {
        emptied.clear();
        (std::mem::replace(&mut self.waiting, emptied), std::mem::take(&mut self.dropped))
    }

    /// Drops the oldest lines of the lowest levels, none above `rank`; more than needed, so that this is rare.
    fn make_room(&mut self, rank: Rank, bytes: usize) -> bool {
        if bytes > self.bytes_max {
            return false;
        }
        let needed = self.waiting.bytes.len() + bytes - self.bytes_max;
        let mut of_rank = [0usize; RANKS];
        for line in &self.waiting.lines {
            of_rank[usize::from(line.rank.0)] += line.bytes as usize;
        }
        if of_rank[..=usize::from(rank.0)].iter().sum::<usize>() < needed {
            return false;
        }
        // How much of each rank goes: more than needed only of the lowest.
        let wanted = needed.max(self.bytes_max / 8);
        let mut going = [0usize; RANKS];
        let mut gone = 0;
        for index in 0..=usize::from(rank.0) {
            let goal = if gone == 0 { wanted } else { needed };
            going[index] = of_rank[index].min(goal.saturating_sub(gone));
            gone += going[index];
        }
        let (mut read, mut write) = (0, 0);
        let bytes = &mut self.waiting.bytes;
        let dropped = &mut self.dropped;
        self.waiting.lines.retain(|line| {
            let length = line.bytes as usize;
            let goes = &mut going[usize::from(line.rank.0)];
            let stays = *goes == 0;
            if stays {
                bytes.copy_within(read..read + length, write);
                write += length;
            } else {
                *goes = goes.saturating_sub(length);
                dropped.add(line.rank, 1);
            }
            read += length;
            stays
        });
        bytes.truncate(write);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &Lines) -> Vec<String> {
        lines.pieces(1).map(|(line, _)| String::from_utf8_lossy(line).trim_end().to_owned()).collect()
    }

    #[test]
    fn pieces_are_whole_lines() {
        let mut room = LineQueue::new(1_000);
        for length in [3, 4, 10, 1, 1, 8] {
            room.push(Rank::of(Level::Info), "x".repeat(length).as_bytes());
        }
        let (lines, _) = room.take(Lines::default());
        let lengths: Vec<_> = lines.pieces(8).map(|(piece, holds)| (piece.len(), holds.total())).collect();
        assert_eq!(lengths, [(7, 2), (10, 1), (2, 2), (8, 1)]);
    }

    #[test]
    fn the_lowest_level_goes_first_and_is_counted() {
        let mut room = LineQueue::new(100);
        let line = |level: Level, n: usize| format!("{:<9}\n", format!("{level}{n}"));
        for n in 0..5 {
            for level in [Level::Debug, Level::Error] {
                room.push(Rank::of(level), line(level, n).as_bytes());
            }
        }
        room.push(Rank::AUDIT, b"audit    \n");
        room.push(Rank::of(Level::Warn), line(Level::Warn, 0).as_bytes());
        room.push(Rank::of(Level::Trace), b"trace    \n");
        let (lines, dropped) = room.take(Lines::default());
        assert!(dropped.rows().all(|(name, _)| name == "DEBUG" || name == "TRACE"), "{dropped:?}");
        assert_eq!(dropped.total() as usize + lines.count(), 13);
        let texts = texts(&lines);
        for kept in ["ERROR0", "ERROR4", "audit", "WARN0"] {
            assert!(texts.iter().any(|text| text == kept), "{kept}: {texts:?}");
        }
    }

    #[test]
    fn every_line_is_handed_out_in_order_or_counted() {
        // A walk without chance: lengths and levels by a linear congruence.
        let mut seed = 7u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut room = LineQueue::new(2_000);
        let (mut given, mut out, mut dropped) = ([0u64; 5], [0u64; 5], Dropped::default());
        let mut last = 0;
        for number in 1..20_000u64 {
            let level = Level::ALL[next(5) as usize];
            given[level as usize] += 1;
            let line = format!("{number} {level} {}\n", "x".repeat(next(90) as usize));
            room.push(Rank::of(level), line.as_bytes());
            assert!(room.waiting.bytes.len() <= 2_000);
            if next(300) == 0 || number == 19_999 {
                let (lines, gone) = room.take(Lines::default());
                dropped.add_all(&gone);
                for text in texts(&lines) {
                    let mut words = text.split(' ');
                    let number = words.next().and_then(|word| word.parse().ok()).expect("a number");
                    assert!(number > last, "{number} after {last}");
                    last = number;
                    out[Level::named(words.next().expect("a level")).expect("a level") as usize] += 1;
                }
            }
        }
        let missing: Vec<u64> = given.iter().zip(out).map(|(given, out)| given - out).collect();
        assert_eq!(missing, dropped.0[..5]);
        assert!(dropped.total() > 100 && dropped.0[4] < dropped.0[0], "{dropped:?}");
    }
}
