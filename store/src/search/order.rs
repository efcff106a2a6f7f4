//! All candidates in the order of a search. Fresh blocks and the sealed ones of each chunk of classes are streams of their own, listed
//! by bounded statements; what the stream that has come least far may still bring keeps the others' blocks waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ground::{Chunk, Ground, begin_below, end_above};
use super::index::{Clauses, Indexed, Indexes, Told};
use super::list::{Candidate, Listed, Look, list};
use super::page::Direction;
use super::session::{LEAVES_MAX, Session};
use super::wanted::{TIME_MAX_US, Wanted};
use crate::error::StoreError;

/// Blocks that a statement looks at: few first, more while it is quick.
const ROWS_FIRST: usize = 256;
const ROWS_MIN: usize = 16;
const ROWS_MAX: usize = 32_768;
const QUICK: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_millis(500);
/// Table partitions of a window: few first, because planning a statement over many costs more than running it.
const LEAVES_FIRST: usize = 32;
/// Where indexes are read of each, before the first block of the window is known.
const INDEXED_LEAVES_FIRST: usize = 8;
/// Blocks of a window upwards that are kept; more of them make it a shorter one.
const WINDOW_BLOCKS_MAX: usize = 2_048;

pub(super) struct Order<'w> {
    wanted: &'w Wanted,
    streams: Vec<Stream>,
    /// Listed, but blocks that come before them may still be.
    held: Vec<Candidate>,
}

impl<'w> Order<'w> {
    pub fn new(wanted: &'w Wanted, chunks: Vec<Chunk>) -> Order<'w> {
        let sources = std::iter::once(None).chain(chunks.into_iter().map(Some));
        let clauses: Clauses = wanted.index_clauses().into();
        let streams = sources.map(|chunk| Stream::new(chunk, wanted, Arc::clone(&clauses))).collect();
        Order { wanted, streams, held: Vec::new() }
    }

    /// What came with the next statement, perhaps nothing; `None` when there is nothing beyond.
    pub async fn next(&mut self, session: &mut Session<'_>) -> Result<Option<Vec<Candidate>>, StoreError> {
        let Some(stream) = self.behind() else { return Ok(None) };
        let listed = self.streams[stream].list(session, self.wanted).await?;
        self.held.extend(listed);
        Ok(Some(self.ready()))
    }

    /// None of the blocks that are still to come has a record before this; `None` when there are none.
    pub fn next_at_us(&self) -> Option<i64> {
        self.behind().map(|stream| self.streams[stream].frontier_us)
    }

    /// After a statement took too long: the next is to do less. False: it cannot.
    pub fn shrink(&mut self) -> bool {
        self.behind().is_some_and(|stream| self.streams[stream].shrink(self.wanted.direction))
    }

    /// The stream that has come least far.
    fn behind(&self) -> Option<usize> {
        let direction = self.wanted.direction;
        let left = self.streams.iter().enumerate().filter(|(_, stream)| !stream.is_done);
        let first = left.reduce(|first, other| {
            if direction.is_before(other.1.frontier_us, first.1.frontier_us) { other } else { first }
        });
        first.map(|(place, _)| place)
    }

    fn ready(&mut self) -> Vec<Candidate> {
        let (direction, limit) = (self.wanted.direction, self.next_at_us());
        let is_ready = |block: &Candidate| {
            limit.is_none_or(|limit| direction.is_before(block.edge_us(direction), limit))
        };
        let (mut ready, held): (Vec<_>, Vec<_>) = self.held.drain(..).partition(is_ready);
        self.held = held;
        ready.sort_by_key(|block| block.edge_us(direction));
        if direction == Direction::NewestFirst {
            ready.reverse();
        }
        ready
    }
}

/// The fresh blocks, or the sealed ones of some classes.
struct Stream {
    /// `None`: the fresh ones.
    chunk: Option<Chunk>,
    rows: usize,
    leaves_max: usize,
    /// Blocks not listed yet have no record before this.
    frontier_us: i64,
    is_done: bool,
    /// Where the next window begins: downwards its upper end, inclusive.
    next_us: i64,
    window: Option<Window>,
    /// In the window nothing before this (time to, id) is left to be looked at.
    beyond: Option<(i64, i64)>,
    /// Blocks that were given out and reach into later windows upwards, and where they end.
    crossing: HashMap<i64, i64>,
    /// What indexes are asked for; empty: none is asked.
    clauses: Clauses,
    indexes: Indexes,
}

/// A window of time that is being listed.
#[derive(Debug)]
struct Window {
    /// Blocks are looked for by their ends, inclusive.
    ends_from_us: i64,
    ends_to_us: i64,
    begins_to_us: i64,
    /// Upwards: the blocks so far, and where the window ends, without that.
    found: Vec<Candidate>,
    end_us: i64,
}

impl Window {
    /// Upwards: it ends here, if that is earlier.
    fn shorten(&mut self, end_us: i64, chunk: Option<&Chunk>) {
        self.end_us = self.end_us.min(end_us);
        self.begins_to_us = self.end_us - 1;
        self.ends_to_us = last_end(self.end_us, chunk);
        self.found.retain(|block| block.time_from_us < self.end_us);
    }
}

/// Blocks that begin before `end_us` may end after it, but not beyond their table partition, nor later than they are wide.
fn last_end(end_us: i64, chunk: Option<&Chunk>) -> i64 {
    chunk.map_or(TIME_MAX_US, |chunk| end_above(&chunk.leaves, end_us - 1).saturating_sub(1))
}

impl Stream {
    fn new(chunk: Option<Chunk>, wanted: &Wanted, clauses: Clauses) -> Stream {
        let reads_indexes = !clauses.is_empty() && chunk.as_ref().is_some_and(Chunk::has_indexes);
        let leaves_first = if reads_indexes { INDEXED_LEAVES_FIRST } else { LEAVES_FIRST };
        let (frontier_us, next_us, leaves_max) = match wanted.direction {
            Direction::NewestFirst => {
                let above = |chunk: &Chunk| end_above(&chunk.leaves, wanted.to_us).saturating_sub(1);
                (i64::MAX, chunk.as_ref().map_or(TIME_MAX_US, above), leaves_first)
            }
            // Nothing is known before a window has been listed whole.
            Direction::OldestFirst => (i64::MIN, wanted.from_us, 1),
        };
        Stream {
            chunk,
            rows: ROWS_FIRST,
            leaves_max,
            frontier_us,
            is_done: false,
            next_us,
            window: None,
            beyond: None,
            crossing: HashMap::new(),
            clauses,
            indexes: Indexes::default(),
        }
    }

    async fn list(
        &mut self,
        session: &mut Session<'_>,
        wanted: &Wanted,
    ) -> Result<Vec<Candidate>, StoreError> {
        let indexed = self.next_window(wanted);
        let told = match &indexed[..] {
            [] => None,
            indexed => {
                session.reserve_locks(indexed.len()).await?;
                Some(self.indexes.told(session.transaction, &self.clauses, indexed).await?)
            }
        };
        let Some(look) = self.look(told.as_ref()) else { return Ok(Vec::new()) };
        // To plan a statement over many table partitions takes longer than to ask their indexes.
        if look.sealed.as_ref().is_some_and(Vec::is_empty) {
            return Ok(self.saw(wanted, Listed { candidates: Vec::new(), stopped_at: None }));
        }
        session.reserve_locks(look.sealed.iter().flatten().map(|ground| ground.leaves).sum()).await?;
        let began = Instant::now();
        let listed = list(session.transaction, wanted, look).await?;
        match began.elapsed() {
            // What is rare is looked for in larger steps.
            took if took < QUICK => {
                let steps = if listed.candidates.is_empty() { 16 } else { 4 };
                self.rows = (self.rows * steps).min(ROWS_MAX);
            }
            took if took > SLOW => self.rows = (self.rows / 2).max(ROWS_MIN),
            _ => {}
        }
        Ok(self.saw(wanted, listed))
    }

    /// Opens the next window, unless one is open. Which table partitions of it have an index that can tell something.
    fn next_window(&mut self, wanted: &Wanted) -> Vec<Indexed> {
        let window = match self.window.take() {
            Some(window) => window,
            None => self.open(wanted),
        };
        let window = &*self.window.insert(window);
        match &self.chunk {
            Some(chunk) if !self.clauses.is_empty() => {
                chunk.indexed_between(window.ends_from_us, window.ends_to_us)
            }
            _ => Vec::new(),
        }
    }

    /// The next statement, over the window that is open.
    fn look<'a>(&'a self, told: Option<&'a Told>) -> Option<Look<'a>> {
        let window = self.window.as_ref()?;
        let grounds =
            |chunk: &Chunk| -> Vec<Ground> { chunk.grounds(window.ends_from_us, window.ends_to_us, told) };
        Some(Look {
            sealed: self.chunk.as_ref().map(grounds),
            ends_from_us: window.ends_from_us,
            ends_to_us: window.ends_to_us,
            begins_to_us: window.begins_to_us,
            beyond: self.beyond,
            rows: self.rows,
            told,
        })
    }

    /// What the statement saw. Returns the blocks that nothing of this stream comes before.
    fn saw(&mut self, wanted: &Wanted, listed: Listed) -> Vec<Candidate> {
        match wanted.direction {
            Direction::NewestFirst => self.down(wanted, listed),
            Direction::OldestFirst => self.up(wanted, listed),
        }
    }

    fn open(&self, wanted: &Wanted) -> Window {
        match wanted.direction {
            Direction::NewestFirst => {
                let to_us = self.next_us;
                let from_us = match &self.chunk {
                    Some(chunk) => chunk.window_down(to_us, wanted.from_us, self.leaves(chunk)),
                    None => wanted.from_us,
                };
                Window {
                    ends_from_us: from_us,
                    ends_to_us: to_us,
                    begins_to_us: wanted.to_us,
                    found: Vec::new(),
                    end_us: from_us,
                }
            }
            Direction::OldestFirst => {
                let end_us = match &self.chunk {
                    Some(chunk) => chunk.window_up(self.next_us, wanted.to_us, self.leaves(chunk)),
                    None => wanted.to_us.saturating_add(1),
                };
                Window {
                    ends_from_us: self.next_us,
                    ends_to_us: last_end(end_us, self.chunk.as_ref()),
                    begins_to_us: end_us - 1,
                    found: Vec::new(),
                    end_us,
                }
            }
        }
    }

    /// At least one table partition of each class, which all exist at any time.
    fn leaves(&self, chunk: &Chunk) -> usize {
        self.leaves_max.max(chunk.classes.len())
    }

    fn down(&mut self, wanted: &Wanted, listed: Listed) -> Vec<Candidate> {
        let Some(window) = &mut self.window else { return listed.candidates };
        match listed.stopped_at {
            Some(last) => {
                self.beyond = Some(last);
                self.frontier_us = last.0;
            }
            None if window.ends_from_us <= wanted.from_us => self.is_done = true,
            None => {
                self.next_us = window.ends_from_us - 1;
                self.frontier_us = self.next_us;
                self.leaves_max = (self.leaves_max * 2).min(LEAVES_MAX);
                (self.window, self.beyond) = (None, None);
            }
        }
        listed.candidates
    }

    fn up(&mut self, wanted: &Wanted, listed: Listed) -> Vec<Candidate> {
        let Some(window) = &mut self.window else { return Vec::new() };
        let new =
            |block: &Candidate| block.time_from_us < window.end_us && !self.crossing.contains_key(&block.id);
        window.found.extend(listed.candidates.into_iter().filter(new));
        self.beyond = listed.stopped_at;
        if window.found.len() > WINDOW_BLOCKS_MAX {
            window.found.sort_by_key(|block| block.time_from_us);
            let end_us = window.found[WINDOW_BLOCKS_MAX].time_from_us.max(self.next_us + 1);
            window.shorten(end_us, self.chunk.as_ref());
        }
        if let Some((last_us, _)) = listed.stopped_at {
            match self.chunk.as_ref().map(|chunk| begin_below(&chunk.leaves, last_us)) {
                // Nothing that is still to be listed begins before this: it is the end of this window. The next one lists again
                // what reaches across it, which is no more than half of what this one did.
                Some(end_us) if end_us.saturating_sub(self.next_us) > last_us.saturating_sub(end_us) => {
                    window.shorten(end_us, self.chunk.as_ref());
                }
                _ if last_us > window.ends_to_us => {}
                _ => return Vec::new(),
            }
        }
        let (found, end_us) = (std::mem::take(&mut window.found), window.end_us);
        self.crossing.retain(|_, ends_us| *ends_us >= end_us);
        let crossing = found.iter().filter(|block| block.time_to_us >= end_us);
        self.crossing.extend(crossing.map(|block| (block.id, block.time_to_us)));
        (self.next_us, self.frontier_us) = (end_us, end_us);
        self.is_done = end_us > wanted.to_us;
        if listed.stopped_at.is_none() {
            self.leaves_max = (self.leaves_max * 2).min(LEAVES_MAX);
        }
        (self.window, self.beyond) = (None, None);
        found
    }

    fn shrink(&mut self, direction: Direction) -> bool {
        if self.rows <= ROWS_MIN && self.leaves_max <= 1 {
            return false;
        }
        self.rows = (self.rows / 8).max(ROWS_MIN);
        self.leaves_max = (self.leaves_max / 8).max(1);
        self.window = None;
        match (direction, self.beyond) {
            // A shorter window goes on where the last list stopped.
            (Direction::NewestFirst, Some((time_us, _))) => self.next_us = time_us,
            // Upwards the window begins anew.
            _ => self.beyond = None,
        }
        true
    }
}

#[cfg(test)]
mod tests;
