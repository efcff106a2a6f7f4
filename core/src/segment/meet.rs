//! Finds the records of a segment that may hold at least one token of each clause of a search. It reads lists only as far as the search
//! asks; no list is ever in memory as a whole.

use crate::block::BlockError;
use crate::tokens::Token;

use super::GRANULE_RECORDS;
use super::head::Head;
use super::list::Cells;
use super::page::{Page, Told};

/// A range of records of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    /// The block's number in the segment.
    pub block: u32,
    /// The first record's index in the block.
    pub from: u32,
    /// Behind the last record; the block may end before it.
    pub to: u32,
}

/// Iterates over the records that may hold a token of each clause.
#[derive(Debug)]
pub struct Meeting<'a, 'p> {
    head: &'a Head,
    /// The clauses that restrict the records; a clause with a token that may be anywhere is left out.
    clauses: Vec<Vec<Found<'p>>>,
    /// The first record that was not given out or passed over, counted as granule * 64 + record.
    next: u32,
    is_over: bool,
}

/// The pages of lists that [`meet`] needs besides those of [`Head::page_of`] for each token, which `page` gives. None where no record can have
/// a token of each clause.
///
/// # Errors
/// A page is damaged.
pub fn lists_of<'p>(
    head: &Head,
    clauses: &[Vec<Token>],
    mut page: impl FnMut(u32) -> Option<&'p [u8]>,
) -> Result<Vec<u32>, BlockError> {
    let mut lists = Vec::new();
    for clause in clauses {
        let mut is_nowhere = true;
        for &token in clause {
            let page = match page(head.page_of(token.hash)) {
                Some(bytes) => Page::open(bytes, head)?,
                None => None,
            };
            let (list, is_absent) = page.map_or(Ok((None, false)), |page| page.list_of(token))?;
            lists.extend(list.and_then(|list| head.token_pages().checked_add(list)));
            is_nowhere &= is_absent;
        }
        if is_nowhere {
            return Ok(Vec::new());
        }
    }
    lists.sort_unstable();
    lists.dedup();
    Ok(lists)
}

/// In how many blocks there is a record, at the least, of which the index says that it may hold a token of each clause; that is told by how
/// often each token is there, so no page of lists is read. `page` as for [`lists_of`].
///
/// # Errors
/// A page is damaged.
pub fn blocks_at_least<'p>(
    head: &Head,
    clauses: &[Vec<Token>],
    mut page: impl FnMut(u32) -> Option<&'p [u8]>,
) -> Result<usize, BlockError> {
    let all = u64::from(head.granules()) * u64::from(GRANULE_RECORDS);
    // Records that some clause leaves out, at the most.
    let mut without = 0;
    for clause in clauses {
        let mut most = 0;
        for &token in clause {
            let page = match page(head.page_of(token.hash)) {
                Some(bytes) => Page::open(bytes, head)?,
                None => None,
            };
            let records = page.map_or(Ok(None), |page| page.records_of(token))?;
            most = most.max(records.map_or(all, |records| records.min(all)));
        }
        without += all - most;
    }
    Ok(head.fewest_blocks_of(all.saturating_sub(without)))
}

/// Of clauses of which each asks for one of its tokens. `page` gives the bytes of those of [`Head::page_of`] for each token, and of
/// [`lists_of`] them; where it gives none, any record may have it.
///
/// # Errors
/// A page is damaged.
pub fn meet<'a, 'p>(
    head: &'a Head,
    clauses: &[Vec<Token>],
    mut page: impl FnMut(u32) -> Option<&'p [u8]>,
) -> Result<Meeting<'a, 'p>, BlockError> {
    let mut meeting = Meeting { head, clauses: Vec::new(), next: 0, is_over: false };
    for clause in clauses {
        let mut found = Vec::new();
        let mut says_something = true;
        for &token in clause {
            let opened = match page(head.page_of(token.hash)) {
                Some(bytes) => Page::open(bytes, head)?,
                None => None,
            };
            let lists = |number| page(head.token_pages().checked_add(number)?);
            match opened.map_or(Ok(Told::Anything), |opened| opened.find(token, lists))? {
                Told::Anything => says_something = false,
                Told::Nothing => {}
                Told::In(cells) => found.push(Found { cells, head: (0, 0) }),
            }
        }
        if says_something {
            meeting.clauses.push(found);
        }
    }
    Ok(meeting)
}

impl Meeting<'_, '_> {
    /// No clause said anything: every record may be it.
    pub fn is_anything(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Nothing more of the block is to come: its records are all looked at, or none.
    pub fn pass(&mut self, block: u32) {
        if let Some(&behind) = self.head.firsts.get(block as usize + 1) {
            self.next = self.next.max(behind * GRANULE_RECORDS);
        }
    }

    /// The next records that hold a token of each clause, numbered by granules.
    fn next_range(&mut self) -> Result<Option<(u32, u32)>, BlockError> {
        let end = self.head.granules() * GRANULE_RECORDS;
        let mut from = self.next;
        loop {
            let (mut first, mut to) = (from, end);
            for clause in &mut self.clauses {
                let Some((a, b)) = seek(clause, from)? else { return Ok(None) };
                first = first.max(a);
                to = to.min(b);
            }
            if first >= end {
                return Ok(None);
            }
            if first == from {
                self.next = to;
                return Ok(Some((from, to)));
            }
            from = first;
        }
    }
}

impl Iterator for Meeting<'_, '_> {
    type Item = Result<Records, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let found = self.next_range();
        let place = match &found {
            Ok(Some((from, _))) => self.head.place_of(from / GRANULE_RECORDS),
            _ => None,
        };
        let (Ok(Some((from, to))), Some((block, first))) = (&found, place) else {
            self.is_over = true;
            return found.err().map(Err);
        };
        // To the end of a granule: of the next one the block may be another.
        let to = (*to).min((from / GRANULE_RECORDS + 1) * GRANULE_RECORDS);
        self.next = to;
        let within = from % GRANULE_RECORDS;
        Some(Ok(Records { block, from: first + within, to: first + within + (to - from) }))
    }
}

/// The cells of one token, and how far they are read.
#[derive(Debug)]
struct Found<'p> {
    cells: Cells<'p>,
    /// The records of the cell that was read last, from and to, counted as granule * 64 + record.
    head: (u32, u32),
}

impl Found<'_> {
    /// The records that follow each other from `record` on, or the first ones behind it.
    fn seek(&mut self, record: u32) -> Result<Option<(u32, u32)>, BlockError> {
        if self.head.1 <= record {
            let log = self.cells.log;
            match self.cells.seek(record >> log) {
                Some(cell) => self.head = (cell << log, (cell + 1) << log),
                None if self.cells.is_cut() => return Err(BlockError::Short("a list of a page")),
                None => return Ok(None),
            }
        }
        Ok(Some((self.head.0.max(record), self.head.1)))
    }
}

/// The same of any of them.
fn seek(clause: &mut [Found<'_>], record: u32) -> Result<Option<(u32, u32)>, BlockError> {
    let mut best: Option<(u32, u32)> = None;
    for one in clause {
        let Some((from, to)) = one.seek(record)? else { continue };
        best = match best {
            Some((first, _)) if first < from => best,
            Some((first, end)) if first == from => Some((first, end.max(to))),
            _ => Some((from, to)),
        };
    }
    Ok(best)
}
