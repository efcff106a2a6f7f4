//! The milestones of one file: places by which the agent recognises how much of the file is unchanged after it was cut short.

use cordwood_core::milestones::{Milestones, distance};
use memchr::memchr;

/// How many lines in a row may name no time. After that, the next milestone is looked for further on.
const UNTIMED_LINES_MAX: u32 = 16;

/// The milestones of a file, and where the next one is looked for.
#[derive(Debug, Default)]
pub struct Marks {
    milestones: Milestones,
    /// File position before which no milestone is looked for.
    none_before: u64,
    /// Lines without a time that were seen where the next milestone is due.
    untimed_lines: u32,
}

impl Marks {
    pub fn new(milestones: Milestones) -> Marks {
        Marks { milestones, ..Marks::default() }
    }

    pub fn milestones(&self) -> &Milestones {
        &self.milestones
    }

    /// The bytes behind `position` are read again.
    pub fn go_back(&mut self, position: u64) {
        self.milestones = self.milestones.up_to(position);
    }

    /// The part of these whole lines up to the end of the line that is the next milestone. The lines begin at `position`.
    pub fn up_to_next<'a>(&self, given: &'a [u8], position: u64) -> &'a [u8] {
        let due = self.milestones.due().max(self.none_before);
        let from = usize::try_from(due.saturating_sub(position + 1)).unwrap_or(usize::MAX);
        let end = given.get(from..).and_then(|rest| memchr(b'\n', rest)).map(|newline| from + newline + 1);
        &given[..end.unwrap_or(given.len())]
    }

    /// Notes that a line ends at `position`, where a milestone may be. It is the last line of `taken`.
    pub fn note(&mut self, position: u64, taken: &[u8], names_its_time: bool) {
        if names_its_time {
            self.milestones.add(position, taken);
            self.untimed_lines = 0;
            return;
        }
        // Lines without a time may belong to a line with a time before them; or the whole file names no times.
        self.untimed_lines += 1;
        if self.untimed_lines == UNTIMED_LINES_MAX {
            self.none_before = position + distance(position) / 2;
            self.untimed_lines = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_a_time_are_passed_over_after_some() {
        let mut marks = Marks::default();
        let line = b"no time here\n";
        let given = line.repeat(10_000);
        let position = 10_000_000;
        for _ in 1..UNTIMED_LINES_MAX {
            marks.note(position, line, false);
            assert_eq!(marks.up_to_next(&given, position).len(), line.len(), "the next may have a time");
        }
        marks.note(position, line, false);
        assert!(marks.up_to_next(&given, position).len() > line.len());
        marks.note(position, line, true);
        assert!(marks.milestones().due() > position);
        marks.go_back(position - 1);
        assert_eq!(marks.milestones().due(), 1);
    }
}
