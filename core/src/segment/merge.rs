//! Merges the indexes of several segments into one, page by page. The blocks of each segment follow those of the one before.

use crate::block::BlockError;

use super::head::Head;
use super::list::{Cells, GRANULE_LOG, Resolution};
use super::page::{Page, PageWriter};
use super::{
    BLOCKS_MAX, GRANULES_MAX, HASH_BITS_MAX, HASH_BITS_MIN, HASH_BITS_SPARE, PAGE_BITS_MAX, PAGE_BYTES_TARGET,
};

/// One of the indexes that are merged.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub head: &'a Head,
    /// All of its pages: those of tokens, then those of lists.
    pub pages: &'a [Vec<u8>],
}

impl<'a> Part<'a> {
    /// Those of tokens; fewer where some are missing.
    pub(super) fn token_pages(&self) -> &'a [Vec<u8>] {
        self.pages.get(..self.head.token_pages() as usize).unwrap_or(self.pages)
    }

    /// A page of lists.
    pub(super) fn list(&self, number: u32) -> Option<&'a [u8]> {
        let number = self.head.token_pages().checked_add(number)?;
        self.pages.get(number as usize).map(Vec::as_slice)
    }
}

/// Gives the pages out, by their numbers, and returns the head. A word is where building all at once would have had it. So is a pair that
/// all parts have; any other one may then be anywhere, because a part without it may have left it out.
///
/// # Errors
/// A page is damaged, is of a newer version, or there are too many blocks.
pub fn merge(
    parts: &[Part<'_>],
    resolution: Resolution,
    mut emit: impl FnMut(u32, Vec<u8>),
) -> Result<Head, BlockError> {
    let blocks: Vec<u32> =
        parts.iter().flat_map(|part| part.head.firsts.windows(2).map(|pair| pair[1] - pair[0])).collect();
    let granules = parts.iter().map(|part| u64::from(part.head.granules())).sum::<u64>();
    if blocks.len() > BLOCKS_MAX || granules > u64::from(GRANULES_MAX) {
        return Err(BlockError::Limit {
            what: "granules of a segment",
            value: granules,
            max: GRANULES_MAX.into(),
        });
    }
    let (mut tokens, mut bytes) = (0u64, 0u64);
    for part in parts {
        for page in part.token_pages() {
            tokens += open(page, part.head)?.tokens();
            bytes += page.len() as u64;
        }
    }
    let hash_bits = (tokens.max(1).ilog2() + 1 + HASH_BITS_SPARE).clamp(HASH_BITS_MIN, HASH_BITS_MAX);
    let hash_bits = parts.iter().map(|part| part.head.hash_bits).fold(hash_bits, u32::min);
    let page_bits = bytes.div_ceil(PAGE_BYTES_TARGET).max(1).next_power_of_two().ilog2().min(PAGE_BITS_MAX);
    let granules = granules as u32;

    let mut plain = cursors(parts, false)?;
    let mut pairs = cursors(parts, true)?;
    let mut writer = PageWriter::new(resolution, granules);
    let mut found = Found::default();
    for number in 0..1u32 << page_bits {
        writer.begin(hash_bits - page_bits, HASH_BITS_MAX - page_bits);
        while let Some(hash) = next(&mut plain, hash_bits, number, page_bits, resolution, &mut found)? {
            found.write(&mut writer, false, hash);
        }
        while let Some(hash) = next(&mut pairs, HASH_BITS_MAX, number, page_bits, resolution, &mut found)? {
            if found.parts == parts.len() {
                found.write(&mut writer, true, hash);
            }
        }
        emit(number, writer.finish());
    }
    let lists = writer.lists();
    let head = Head::new(hash_bits, page_bits, lists.len() as u32, &blocks);
    (head.token_pages()..).zip(lists).for_each(|(number, list)| emit(number, list));
    Ok(head)
}

fn open<'a>(page: &'a [u8], head: &Head) -> Result<Page<'a>, BlockError> {
    Page::open(page, head)?.ok_or(BlockError::Version(page.first().copied().unwrap_or(0)))
}

fn cursors<'a>(parts: &[Part<'a>], is_pair: bool) -> Result<Vec<Cursor<'a>>, BlockError> {
    let mut granules_before = 0;
    let cursors = parts.iter().map(|&part| {
        let hash_bits = if is_pair { HASH_BITS_MAX } else { part.head.hash_bits };
        let mut cursor = Cursor {
            part,
            is_pair,
            hash_bits,
            granules_before,
            page: 0,
            entries: Vec::new().into_iter(),
            next: None,
        };
        granules_before += part.head.granules();
        cursor.step()?;
        Ok(cursor)
    });
    cursors.collect()
}

/// Reads the tokens of one part, page after page.
struct Cursor<'a> {
    part: Part<'a>,
    is_pair: bool,
    hash_bits: u32,
    granules_before: u32,
    /// The next one.
    page: usize,
    entries: std::vec::IntoIter<(u64, Cells<'a>)>,
    next: Option<(u64, Cells<'a>)>,
}

impl Cursor<'_> {
    fn step(&mut self) -> Result<(), BlockError> {
        loop {
            self.next = self.entries.next();
            let Some(page) = self.part.token_pages().get(self.page).filter(|_| self.next.is_none()) else {
                return Ok(());
            };
            let mut entries = Vec::new();
            let number = (self.page as u64) << (self.hash_bits - self.part.head.page_bits);
            let part = self.part;
            open(page, part.head)?.for_each(
                self.is_pair,
                |number| part.list(number),
                |hash, cells| entries.push((number | hash, cells)),
            )?;
            self.entries = entries.into_iter();
            self.page += 1;
        }
    }
}

/// What all parts together say of one token.
#[derive(Default)]
struct Found {
    /// How many parts have the token.
    parts: usize,
    /// Records of a cell, as a power of two.
    log: u32,
    /// The cells that hold the token, ascending.
    cells: Vec<u32>,
}

/// The next token of a page: by its leading `hash_bits`.
fn next(
    cursors: &mut [Cursor<'_>],
    hash_bits: u32,
    page: u32,
    page_bits: u32,
    resolution: Resolution,
    found: &mut Found,
) -> Result<Option<u64>, BlockError> {
    let hash_of =
        |cursor: &Cursor<'_>| cursor.next.as_ref().map(|(hash, _)| hash >> (cursor.hash_bits - hash_bits));
    let Some(hash) = cursors.iter().filter_map(hash_of).min() else { return Ok(None) };
    if hash >> (hash_bits - page_bits) != u64::from(page) {
        return Ok(None);
    }
    found.parts = 0;
    found.cells.clear();
    found.log = GRANULE_LOG;
    // As if all lists were of the finer cells.
    let fine = GRANULE_LOG - resolution.log;
    let (mut in_all, mut is_fine) = (0, false);
    for cursor in cursors {
        let before = found.cells.len();
        in_all += cursor.part.head.granules();
        while hash_of(cursor) == Some(hash) {
            let Some((_, mut cells)) = cursor.next.take() else { break };
            let log = cells.log;
            is_fine |= log < GRANULE_LOG;
            let mut at = 0;
            while let Some(cell) = cells.seek(at) {
                at = cell + 1;
                let (from, to) =
                    (cell << log >> resolution.log, ((cell + 1) << log).div_ceil(1 << resolution.log));
                for cell in (from..to).map(|cell| (cursor.granules_before << fine) + cell) {
                    if found.cells.last() != Some(&cell) {
                        found.cells.push(cell);
                    }
                }
            }
            if cells.is_cut() {
                return Err(BlockError::Short("a list of a page"));
            }
            cursor.step()?;
        }
        found.parts += usize::from(found.cells.len() > before);
    }
    found.cells.sort_unstable();
    found.cells.dedup();
    let mut granules = found.cells.clone();
    granules.iter_mut().for_each(|cell| *cell >>= fine);
    granules.dedup();
    let records = (found.cells.len() as u64) << resolution.log;
    if is_fine && resolution.of(granules.len(), records, in_all) < GRANULE_LOG {
        found.log = resolution.log;
    } else {
        found.cells = granules;
    }
    Ok(Some(hash))
}

impl Found {
    fn write(&self, writer: &mut PageWriter, is_pair: bool, hash: u64) {
        writer.copy(is_pair, hash, self.log, &self.cells);
    }
}
