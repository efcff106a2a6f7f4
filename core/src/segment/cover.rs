//! Compares two indexes of the same blocks: whether one names every record that the other names. `store verify` compares a stored index
//! with one that it builds from the blocks.

use crate::block::BlockError;
use crate::tokens::{Token, TokenKind};

use super::HASH_BITS_MAX;
use super::head::Head;
use super::list::{Cells, GRANULE_LOG};
use super::merge::Part;
use super::page::{Page, Told};

/// Whether `index` says of every token of `other` that it is wherever `other` says it is; it may say of pairs that they are anywhere, as
/// merging does, and it may be coarser. Both are of the same blocks.
///
/// # Errors
/// A page of one of them is damaged, or of a newer version.
pub fn covers(index: &Part<'_>, other: &Part<'_>) -> Result<bool, BlockError> {
    if index.head.firsts != other.head.firsts || index.pages.len() as u32 != index.head.pages() {
        return Ok(false);
    }
    let mut opened: Option<(u32, Page<'_>)> = None;
    for (no, bytes) in (0u64..).zip(other.token_pages()) {
        let page = open(bytes, other.head)?;
        for is_pair in [false, true] {
            let hash_bits = if is_pair { HASH_BITS_MAX } else { other.head.hash_bits };
            let bits = hash_bits - other.head.page_bits;
            let kind = if is_pair { TokenKind::Pair } else { TokenKind::Word };
            let mut tokens = Vec::new();
            let lists = |number| other.list(number);
            page.for_each(is_pair, lists, |rest, cells| tokens.push((no << bits | rest, cells)))?;
            for (leading, mut cells) in tokens {
                let hash = leading << (64 - hash_bits);
                let no = index.head.page_of(hash);
                if opened.as_ref().is_none_or(|(known, _)| *known != no) {
                    opened = Some((no, open(&index.pages[no as usize], index.head)?));
                }
                let Some((_, page)) = &opened else { return Ok(false) };
                let is_there =
                    match page.find(Token { hash, kind, word: None }, |number| index.list(number))? {
                        Told::Anything => true,
                        Told::Nothing => false,
                        Told::In(mut found) => holds(&mut found, &mut cells)?,
                    };
                if !is_there {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

fn open<'p>(bytes: &'p [u8], head: &Head) -> Result<Page<'p>, BlockError> {
    Page::open(bytes, head)?.ok_or(BlockError::Invalid("version of a page"))
}

/// Whether all records of the cells are among those of `found`.
fn holds(found: &mut Cells<'_>, cells: &mut Cells<'_>) -> Result<bool, BlockError> {
    let mut at = (0, 0);
    let mut next = 0;
    while let Some(cell) = cells.seek(next) {
        next = cell + 1;
        let (mut from, to) = (cell << cells.log, next << cells.log);
        // Where the other one is finer, a granule that has the token has it in one cell at the least.
        if cells.log == GRANULE_LOG && found.log < GRANULE_LOG {
            let first = found.seek(from >> found.log).map(|cell| cell << found.log);
            if first.is_none_or(|first| first >= to) {
                return Ok(false);
            }
            continue;
        }
        while from < to {
            if at.1 <= from {
                let Some(cell) = found.seek(from >> found.log) else { return Ok(false) };
                at = (cell << found.log, (cell + 1) << found.log);
            }
            if at.0 > from {
                return Ok(false);
            }
            from = at.1;
        }
    }
    if cells.is_cut() || found.is_cut() {
        return Err(BlockError::Short("a list of a page"));
    }
    Ok(true)
}
