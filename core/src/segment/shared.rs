//! Writes and reads the pages of lists: long lists lie on pages of their own, and equal lists are written once. Words that always come
//! together, as the words of one message do, have equal lists.
//!
//! ```text
//! page = version u8 | checksum u32 | lists
//! ```
//! A token's page says where in which of these pages its list begins.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::xxh3_64;

use crate::block::columns::put_varint;
use crate::block::{BlockError, PREFIX_BYTES, checked, checksum};

use super::VERSION;
use super::list::{Cells, ELSEWHERE, LOG_MASK, Place, long};

/// A shorter list is in its token's page.
const BYTES_MIN: usize = 64;
/// Of a page, unless one list is longer: three rows of them fill a page of PostgreSQL's.
const PAGE_BYTES: usize = 2_660;

/// The pages of lists that were written so far.
#[derive(Debug, Default)]
pub(super) struct SharedLists {
    pages: Vec<Vec<u8>>,
    /// Where lists were written, by the hash of their bytes.
    places: HashMap<u64, Vec<Place>, RandomState>,
}

impl SharedLists {
    /// Writes a list, or where it is.
    pub fn put(&mut self, out: &mut Vec<u8>, list: &[u8]) {
        if list.len() < BYTES_MIN {
            return out.extend_from_slice(list);
        }
        let place = self.place_of(list);
        out.push(list[0] & LOG_MASK | ELSEWHERE << 4);
        put_varint(out, u64::from(place.page));
        put_varint(out, u64::from(place.offset));
    }

    fn place_of(&mut self, list: &[u8]) -> Place {
        let places = self.places.entry(xxh3_64(list)).or_default();
        let is_it = |place: &&Place| {
            let from = PREFIX_BYTES + place.offset as usize;
            self.pages[place.page as usize].get(from..from + list.len()) == Some(list)
        };
        if let Some(&known) = places.iter().find(is_it) {
            return known;
        }
        if self.pages.last().is_none_or(|page| page.len() + list.len() > PAGE_BYTES) {
            self.pages.push(vec![VERSION, 0, 0, 0, 0]);
        }
        let page = self.pages.len() - 1;
        let offset = self.pages[page].len() - PREFIX_BYTES;
        self.pages[page].extend_from_slice(list);
        let place = Place { page: page as u32, offset: offset as u32 };
        places.push(place);
        place
    }

    /// All pages.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        for page in &mut self.pages {
            let sum = checksum(&page[PREFIX_BYTES..]);
            page[1..PREFIX_BYTES].copy_from_slice(&sum.to_le_bytes());
        }
        self.pages
    }
}

/// The list at a place of a page, of a token in so many cells. A newer version: `None`, it may say anything.
pub(super) fn list_at<'p>(
    page: &'p [u8],
    place: Place,
    count: u32,
    granules: u32,
) -> Result<Option<Cells<'p>>, BlockError> {
    match page.first() {
        Some(&VERSION) => {}
        Some(0) | None => return Err(BlockError::Invalid("version of a page of lists")),
        Some(_) => return Ok(None),
    }
    let mut reader = checked(page)?;
    reader.take(place.offset as usize, "a list of a page")?;
    let kind = reader.byte("a list")?;
    long(kind, &mut reader, count, granules).map(Some)
}
