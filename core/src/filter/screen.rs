//! Screens all bodies of a block at once: which records can match at all. One pass over the block's bytes costs a fraction of parsing
//! every record. In format 2 the columns are searched, and only bodies in which letters may hide are rebuilt.

use crate::block::{Block, BlockError, Format, Sought};
use crate::tokens;

use super::find::{Needle, bytes_as_numbers};
use super::{Expr, Test};

/// What letters may hide behind, by how it begins: terminal colours, `\u` escapes, arrays of numbers. Each may go on in another piece.
const HIDING: [(u8, Hides); 3] = [
    (tokens::ESC, |_| true),
    (b'\\', |rest| rest.first().is_none_or(|&next| next == b'u')),
    (b'[', |rest| rest.trim_ascii_start().first().is_none_or(u8::is_ascii_digit)),
];

/// Whether what follows the byte makes it one.
type Hides = fn(&[u8]) -> bool;

/// More alternatives than this in one clause cost more than they spare.
const ALTERNATIVES_MAX: usize = 8;

/// Words that bodies must hold: all of, any of. No clause: any body may match.
#[derive(Debug)]
pub struct Screen<'f> {
    clauses: Vec<Clause<'f>>,
}

type Clause<'f> = Vec<&'f Needle>;

impl<'f> Screen<'f> {
    pub(super) fn new(expr: &'f Expr) -> Screen<'f> {
        let mut clauses = clauses(expr);
        // The one that few bodies satisfy goes over all bytes: a long word is rarer than a short one.
        clauses.sort_by_key(|clause| std::cmp::Reverse(worth(clause)));
        Screen { clauses }
    }

    /// The records of a block that can match, ascending; `None`: all may.
    ///
    /// # Errors
    /// Damage within the bodies.
    pub fn of_block(&self, block: &Block<'_>) -> Result<Option<Vec<u32>>, BlockError> {
        if self.clauses.is_empty() {
            return Ok(None);
        }
        if block.format() != Format::One {
            return self.of_columns(block).map(Some);
        }
        let (bodies, ends) = block.bodies()?;
        Ok(self.may_match(bodies, ends))
    }

    fn of_columns(&self, block: &Block<'_>) -> Result<Vec<u32>, BlockError> {
        let mut through = vec![true; block.len()];
        for clause in &self.clauses {
            let mut any = vec![false; block.len()];
            for needle in clause {
                let find = |bytes: &[u8]| needle.find_in(bytes);
                let sought = Sought::Letters { lower: needle.letters(), find: &find };
                let holding = block.may_hold(sought)?.unwrap_or_default();
                any.iter_mut().zip(holding).for_each(|(any, holds)| *any |= holds);
            }
            through.iter_mut().zip(any).for_each(|(through, any)| *through &= any);
            if !through.contains(&true) {
                break;
            }
        }
        let mut doubtful = vec![false; block.len()];
        for (byte, may_begin) in HIDING {
            let holding = block.may_hold(Sought::Begin { byte, may_begin: &may_begin })?.unwrap_or_default();
            doubtful.iter_mut().zip(holding).for_each(|(doubtful, holds)| *doubtful |= holds);
        }
        for (record, through) in through.iter_mut().enumerate().filter(|(_, through)| !**through) {
            *through = doubtful[record] && self.lets_through(block.record(record)?.body);
        }
        let records = through.iter().enumerate().filter(|(_, through)| **through);
        Ok(records.map(|(record, _)| record as u32).collect())
    }

    /// Whether the evaluator has to see this body.
    fn lets_through(&self, body: &[u8]) -> bool {
        let has = |seen: &[u8]| {
            self.clauses.iter().all(|clause| clause.iter().any(|needle| needle.find_in(seen).is_some()))
        };
        has(body)
            || memchr::memmem::find(body, b"\\u").is_some()
            || bytes_as_numbers(body, self.shortest()).is_some()
            || (memchr::memchr(tokens::ESC, body).is_some() && has(&tokens::without_colours(body)))
    }

    fn shortest(&self) -> usize {
        self.clauses.iter().flatten().map(|needle| needle.len()).min().unwrap_or(0)
    }

    /// The records whose bodies can match, ascending; `None`: all may. `bodies` lie one after the other; `ends` says where
    /// each ends.
    pub fn may_match(&self, bodies: &[u8], ends: &[u32]) -> Option<Vec<u32>> {
        let (first, others) = self.clauses.split_first()?;
        let body = |record: u32| {
            let start = record.checked_sub(1).map_or(0, |before| ends[before as usize]);
            &bodies[start as usize..ends[record as usize] as usize]
        };
        let mut found = Vec::new();
        for needle in first {
            each_record(bodies, ends, |rest| needle.find_in(rest), &mut found);
        }
        found.retain(|&record| {
            others.iter().all(|clause| clause.iter().any(|needle| needle.find_in(body(record)).is_some()))
        });
        // Colours may lie within a word.
        let mut coloured = Vec::new();
        each_record(bodies, ends, |rest| memchr::memchr(tokens::ESC, rest), &mut coloured);
        found.extend(coloured.into_iter().filter(|&record| {
            let seen = tokens::without_colours(body(record));
            self.clauses.iter().all(|clause| clause.iter().any(|needle| needle.find_in(&seen).is_some()))
        }));
        // Letters may hide behind `\u` escapes, or be written as numbers: such a body is for the evaluator.
        each_record(bodies, ends, |rest| memchr::memmem::find(rest, b"\\u"), &mut found);
        let shortest = self.shortest();
        each_record(bodies, ends, |rest| bytes_as_numbers(rest, shortest), &mut found);
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

/// Pushes each record in which something is found. What lies across two bodies is found in the first, by mistake.
fn each_record(bodies: &[u8], ends: &[u32], find: impl Fn(&[u8]) -> Option<usize>, found: &mut Vec<u32>) {
    let mut from = 0;
    while let Some(place) = bodies.get(from..).and_then(&find) {
        let record = ends.partition_point(|&end| end as usize <= from + place);
        let Some(&end) = ends.get(record) else { return };
        found.push(record as u32);
        from = end as usize;
    }
}

fn worth(clause: &Clause<'_>) -> usize {
    clause.iter().map(|needle| needle.len()).min().unwrap_or(0)
}

/// What every matching body satisfies.
fn clauses(expr: &Expr) -> Vec<Clause<'_>> {
    match expr {
        Expr::And(parts) => parts.iter().flat_map(clauses).collect(),
        // One of each branch will do; a branch without any lets everything through.
        Expr::Or(parts) => {
            let best = parts.iter().map(|part| clauses(part).into_iter().max_by_key(worth));
            match best.collect::<Option<Vec<_>>>().map(|best| best.concat()) {
                Some(any) if (1..=ALTERNATIVES_MAX).contains(&any.len()) => vec![any],
                _ => Vec::new(),
            }
        }
        Expr::Test(Test::Text { phrase, .. }) => {
            phrase.needle().map(|needle| vec![needle]).into_iter().collect()
        }
        Expr::Test(Test::Field { needle: Some(needle), .. }) => vec![vec![needle]],
        Expr::Test(_) | Expr::Not(_) => Vec::new(),
    }
}
