//! The watermark: which records of a batch are new, which are stored already, and which bytes are missing.
//!
//! However often batches of one stream and file come again, from wherever and by whichever topic partitions, every record is
//! admitted exactly once. A gap below the highest stored position was recorded as a loss. If its bytes arrive after all, from a
//! topic partition that lagged, they are admitted and the loss is withdrawn.

use std::ops::Range;

use crate::ranges::Ranges;

/// What to do with one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Places of the records that are new, in order.
    pub new: Vec<Range<usize>>,
    /// The other records: already stored, skipped.
    pub duplicates: usize,
    /// File positions `(after, to]` that no batch brought.
    pub loss: Option<(u64, u64)>,
    /// File positions that are accounted for now and were not before.
    pub added: Ranges,
    /// Of `added`: what was told as a loss before.
    pub filled: Ranges,
}

impl Admission {
    pub fn new_records(&self) -> usize {
        self.new.iter().map(Range::len).sum()
    }
}

/// Compares a batch that accounts for the file positions `(prev, end]` with what is stored of its stream and file.
///
/// `held`: the ranges that all topic partitions together brought. `positions`: the records' end positions, ascending, within
/// `(prev, end]`. A record is a duplicate where a range holds it, and only there.
pub fn admit(held: &Ranges, prev: u64, end: u64, positions: &[u64]) -> Admission {
    let stored = held.end();
    let added: Ranges = held.missing_in(prev, end).into_iter().collect();
    let place = |position: u64| positions.partition_point(|&p| p <= position);
    let new: Vec<Range<usize>> =
        added.iter().map(|(from, to)| place(from)..place(to)).filter(|range| !range.is_empty()).collect();
    let kept: usize = new.iter().map(Range::len).sum();
    Admission {
        new,
        duplicates: positions.len() - kept,
        loss: (prev > stored).then_some((stored, prev)),
        filled: added.iter().map(|(from, to)| (from.min(stored), to.min(stored))).collect(),
        added,
    }
}

#[cfg(test)]
mod tests;
