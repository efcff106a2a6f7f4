//! Writes and reads the pages of an index. A page has the tokens whose hashes begin with the page's number, and for each token the granules
//! or records that hold it, or the place of [its list](super::shared).
//!
//! ```text
//! page = version u8 | checksum u32 | tokens | tokens          the second ones are pairs
//! tokens = count, and if it is not 0: low u8 | bytes of the remainders, of the counts, of the lists | remainders | counts | lists
//! ```

use crate::bits::{BitReader, BitWriter};
use crate::block::columns::{Reader, put_varint};
use crate::block::{BlockError, PREFIX_BYTES, checked, checksum};
use crate::tokens::{Token, TokenKind};

use super::codes::{Ascending, gamma, put_ascending, put_gamma, skip_ascending};
use super::head::Head;
use super::list::{
    Cells, GRANULE_LOG, LONG_MIN, List, Resolution, list, put_cells, put_long, put_records, skip_list,
};
use super::shared::{SharedLists, list_at};
use super::spill::{Entry, gap, put_gap, rice_low};
use super::{HASH_BITS_MAX, VERSION, is_indexed};

/// Writes the pages of tokens one after the other, and then the pages of lists.
pub(super) struct PageWriter {
    resolution: Resolution,
    granules_in_all: u32,
    plain: Tokens,
    pairs: Tokens,
    shared: SharedLists,
}

/// The plain tokens, or the pairs, of the page that is being written.
#[derive(Default)]
struct Tokens {
    /// Number of bits of a hash that are kept and not given by the page's number.
    bits: u32,
    hashes: Vec<u64>,
    /// For each token, how many granules hold it, or how many cells its long list has.
    counts: Vec<u32>,
    /// The granules of the tokens without a long list, one token after the other.
    granules: Vec<u32>,
    /// The encoded long lists, one after the other.
    lists: Vec<u8>,
    /// Buffers that are used again for each token.
    cells: Vec<u32>,
    list: Vec<u8>,
}

impl PageWriter {
    pub fn new(resolution: Resolution, granules_in_all: u32) -> PageWriter {
        let (plain, pairs, shared) = (Tokens::default(), Tokens::default(), SharedLists::default());
        PageWriter { resolution, granules_in_all, plain, pairs, shared }
    }

    /// A page whose tokens' hashes have so many bits beside its number.
    pub fn begin(&mut self, plain_bits: u32, pair_bits: u32) {
        self.plain.clear(plain_bits);
        self.pairs.clear(pair_bits);
    }

    /// A token with the places of the entry. Hashes come in ascending order.
    pub fn plain(&mut self, hash: u64, entry: &Entry) {
        self.plain.add(hash, entry, self.resolution, self.granules_in_all, &mut self.shared);
    }

    pub fn pair(&mut self, hash: u64, entry: &Entry) {
        self.pairs.add(hash, entry, self.resolution, self.granules_in_all, &mut self.shared);
    }

    /// A token whose cells are as a page told them.
    pub fn copy(&mut self, is_pair: bool, hash: u64, log: u32, cells: &[u32]) {
        let tokens = if is_pair { &mut self.pairs } else { &mut self.plain };
        tokens.add_as(hash, log, cells, self.granules_in_all, &mut self.shared);
    }

    /// The pages of lists, after all others.
    pub fn lists(self) -> Vec<Vec<u8>> {
        self.shared.finish()
    }

    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = vec![VERSION, 0, 0, 0, 0];
        self.plain.put(&mut out, self.granules_in_all);
        self.pairs.put(&mut out, self.granules_in_all);
        let sum = checksum(&out[PREFIX_BYTES..]);
        out[1..PREFIX_BYTES].copy_from_slice(&sum.to_le_bytes());
        out
    }
}

impl Tokens {
    fn clear(&mut self, bits: u32) {
        self.bits = bits;
        self.hashes.clear();
        self.counts.clear();
        self.granules.clear();
        self.lists.clear();
    }

    fn add(
        &mut self,
        hash: u64,
        entry: &Entry,
        resolution: Resolution,
        granules_in_all: u32,
        shared: &mut SharedLists,
    ) {
        let log = match entry.granules.len() {
            0..LONG_MIN => GRANULE_LOG,
            many => resolution.of(many, entry.count(), granules_in_all),
        };
        match log {
            GRANULE_LOG => self.add_as(hash, log, &entry.granules, granules_in_all, shared),
            0 => {
                self.hashes.push(hash & ((1 << self.bits) - 1));
                self.list.clear();
                let count = put_records(&mut self.list, &entry.granules, &entry.records, granules_in_all);
                shared.put(&mut self.lists, &self.list);
                self.counts.push(count);
            }
            _ => {
                let mut cells = std::mem::take(&mut self.cells);
                cells.clear();
                for (&granule, &records) in entry.granules.iter().zip(&entry.records) {
                    put_cells(granule, records, log, &mut cells);
                }
                self.add_as(hash, log, &cells, granules_in_all, shared);
                self.cells = cells;
            }
        }
    }

    fn add_as(&mut self, hash: u64, log: u32, cells: &[u32], granules_in_all: u32, shared: &mut SharedLists) {
        self.hashes.push(hash & ((1 << self.bits) - 1));
        self.counts.push(cells.len() as u32);
        if cells.len() < LONG_MIN {
            debug_assert_eq!(log, GRANULE_LOG);
            self.granules.extend_from_slice(cells);
        } else {
            self.list.clear();
            put_long(&mut self.list, cells, log, granules_in_all << (GRANULE_LOG - log));
            shared.put(&mut self.lists, &self.list);
        }
    }

    fn put(&self, out: &mut Vec<u8>, granules_in_all: u32) {
        put_varint(out, self.hashes.len() as u64);
        if self.hashes.is_empty() {
            return;
        }
        let low = rice_low(self.bits, self.hashes.len() as u64);
        let mut remainders = Vec::new();
        let mut bits = BitWriter::new(&mut remainders);
        let mut next = 0;
        for hash in &self.hashes {
            put_gap(&mut bits, hash - next, low);
            next = hash + 1;
        }
        bits.finish(false);
        let mut counts = Vec::new();
        let mut bits = BitWriter::new(&mut counts);
        let mut rest = &self.granules[..];
        for &count in &self.counts {
            put_gamma(&mut bits, count);
            if (count as usize) < LONG_MIN {
                put_ascending(&mut bits, &rest[..count as usize], 0, granules_in_all);
                rest = &rest[count as usize..];
            }
        }
        bits.finish(false);
        out.push(low as u8);
        put_varint(out, remainders.len() as u64);
        put_varint(out, counts.len() as u64);
        put_varint(out, self.lists.len() as u64);
        out.extend_from_slice(&remainders);
        out.extend_from_slice(&counts);
        out.extend_from_slice(&self.lists);
    }
}

/// A page that was read, with its checksum verified.
#[derive(Clone, Debug)]
pub(super) struct Page<'p> {
    plain: Read<'p>,
    pairs: Read<'p>,
    granules: u32,
}

/// The encoded plain tokens, or pairs, of a page.
#[derive(Clone, Copy, Debug)]
struct Read<'p> {
    /// Number of leading bits that are kept of a hash.
    hash_bits: u32,
    /// How many of these the page's number does not give.
    bits: u32,
    count: usize,
    low: u32,
    remainders: &'p [u8],
    counts: &'p [u8],
    lists: &'p [u8],
}

/// What a page says of a token.
#[derive(Debug)]
pub(super) enum Told<'p> {
    /// Any record may have it.
    Anything,
    Nothing,
    In(Cells<'p>),
}

/// What a page says of a token before its list is read. The number is how many cells the list has.
enum Looked<'p> {
    Anything,
    Nothing,
    In(u32, List<'p>),
}

const CUT: BlockError = BlockError::Short("tokens of a page");

impl<'p> Page<'p> {
    /// Checks version and checksum. A newer version: `None`, anything may be.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn open(bytes: &'p [u8], head: &Head) -> Result<Option<Page<'p>>, BlockError> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(0) | None => return Err(BlockError::Invalid("version of a page")),
            Some(_) => return Ok(None),
        }
        let mut reader = checked(bytes)?;
        let plain = Read::open(&mut reader, head.hash_bits, head.page_bits)?;
        let pairs = Read::open(&mut reader, HASH_BITS_MAX, head.page_bits)?;
        if !reader.is_empty() {
            return Err(BlockError::Invalid("end of a page"));
        }
        Ok(Some(Page { plain, pairs, granules: head.granules() }))
    }

    /// `lists` gives the pages of lists, by their numbers; where it gives none, the token may be anywhere.
    ///
    /// # Errors
    /// A page is damaged.
    pub fn find(
        &self,
        token: Token,
        lists: impl FnOnce(u32) -> Option<&'p [u8]>,
    ) -> Result<Told<'p>, BlockError> {
        match self.look_up(token)? {
            Looked::Anything => Ok(Told::Anything),
            Looked::Nothing => Ok(Told::Nothing),
            Looked::In(_, List::Here(cells)) => Ok(Told::In(cells)),
            Looked::In(count, List::At(place, _)) => {
                let cells = lists(place.page).map(|page| list_at(page, place, count, self.granules));
                Ok(cells.transpose()?.flatten().map_or(Told::Anything, Told::In))
            }
        }
    }

    /// In which page of lists that of the token is, if it is in one; whether the token is nowhere.
    ///
    /// # Errors
    /// The page is damaged.
    pub fn list_of(&self, token: Token) -> Result<(Option<u32>, bool), BlockError> {
        Ok(match self.look_up(token)? {
            Looked::In(_, List::At(place, _)) => (Some(place.page), false),
            Looked::Nothing => (None, true),
            Looked::In(_, List::Here(_)) | Looked::Anything => (None, false),
        })
    }

    /// Records of the cells in which the token is; `None`: they may be all. No list is read for it.
    ///
    /// # Errors
    /// The page is damaged.
    pub fn records_of(&self, token: Token) -> Result<Option<u64>, BlockError> {
        Ok(match self.look_up(token)? {
            Looked::Anything => None,
            Looked::Nothing => Some(0),
            Looked::In(count, List::Here(cells)) => Some(u64::from(count) << cells.log),
            Looked::In(count, List::At(_, log)) => Some(u64::from(count) << log),
        })
    }

    fn look_up(&self, token: Token) -> Result<Looked<'p>, BlockError> {
        if !is_indexed(token.kind) {
            return Ok(Looked::Anything);
        }
        let is_pair = token.kind == TokenKind::Pair;
        let tokens = self.of(is_pair);
        match tokens.place_of(token.hash)? {
            Some(place) => tokens.list(place, self.granules).map(|(count, list)| Looked::In(count, list)),
            // It may be a twin.
            None if is_pair => Ok(Looked::Anything),
            None => Ok(Looked::Nothing),
        }
    }

    /// Calls `each` with all tokens of a kind, in the order of their hashes: without the bits that the page's number says. `lists` as for
    /// [`Page::find`], but all of them.
    ///
    /// # Errors
    /// A page is damaged or is not there.
    pub fn for_each(
        &self,
        is_pair: bool,
        lists: impl Fn(u32) -> Option<&'p [u8]>,
        mut each: impl FnMut(u64, Cells<'p>),
    ) -> Result<(), BlockError> {
        let tokens = self.of(is_pair);
        let mut remainders = tokens.remainders();
        let mut counts = BitReader::new(tokens.counts, 0);
        let mut here = Reader::new(tokens.lists);
        for _ in 0..tokens.count {
            let remainder = remainders.next().ok_or(CUT)?;
            let count = gamma(&mut counts).ok_or(CUT)?;
            if (count as usize) < LONG_MIN {
                each(remainder, short(counts.clone(), count, self.granules)?);
                skip_ascending(&mut counts, count, 0, self.granules).ok_or(CUT)?;
            } else {
                let cells = match list(&mut here, count, self.granules)? {
                    List::Here(cells) => cells,
                    List::At(place, _) => {
                        let page = lists(place.page).ok_or(BlockError::Invalid("page of a list"))?;
                        let cells = list_at(page, place, count, self.granules)?;
                        cells.ok_or(BlockError::Invalid("version of a page of lists"))?
                    }
                };
                each(remainder, cells);
            }
        }
        Ok(())
    }

    /// How many there are that are no pairs.
    pub fn tokens(&self) -> u64 {
        self.plain.count as u64
    }

    fn of(&self, is_pair: bool) -> &Read<'p> {
        if is_pair { &self.pairs } else { &self.plain }
    }
}

fn short<'p>(counts: BitReader<'p>, count: u32, granules: u32) -> Result<Cells<'p>, BlockError> {
    let granules = Ascending::new(counts, count, 0, granules);
    granules.map(Cells::short).ok_or(BlockError::Invalid("granules of a token"))
}

impl<'p> Read<'p> {
    fn open(reader: &mut Reader<'p>, hash_bits: u32, page_bits: u32) -> Result<Read<'p>, BlockError> {
        let mut read = Read {
            hash_bits,
            bits: hash_bits - page_bits,
            count: reader.bounded("tokens of a page", usize::MAX)?,
            low: 0,
            remainders: &[],
            counts: &[],
            lists: &[],
        };
        if read.count == 0 {
            return Ok(read);
        }
        read.low = u32::from(reader.byte("tokens of a page")?);
        let mut lengths = [0; 3];
        for length in &mut lengths {
            *length = reader.bounded("tokens of a page", usize::MAX)?;
        }
        read.remainders = reader.take(lengths[0], "tokens of a page")?;
        read.counts = reader.take(lengths[1], "counts of a page")?;
        read.lists = reader.take(lengths[2], "lists of a page")?;
        // Each takes a bit at the least.
        if read.low >= HASH_BITS_MAX || read.count > lengths[0].saturating_mul(8) {
            return Err(BlockError::Invalid("tokens of a page"));
        }
        Ok(read)
    }

    fn remainders(&self) -> impl Iterator<Item = u64> {
        let mut bits = BitReader::new(self.remainders, 0);
        let (low, end) = (self.low, 1u64 << self.bits);
        let mut next = 0;
        std::iter::from_fn(move || {
            let remainder = next + gap(&mut bits, low)?;
            next = remainder + 1;
            (remainder < end).then_some(remainder)
        })
    }

    fn place_of(&self, hash: u64) -> Result<Option<usize>, BlockError> {
        let wanted = hash >> (64 - self.hash_bits) & ((1 << self.bits) - 1);
        let mut remainders = self.remainders();
        for place in 0..self.count {
            let remainder = remainders.next().ok_or(CUT)?;
            if remainder >= wanted {
                return Ok((remainder == wanted).then_some(place));
            }
        }
        Ok(None)
    }

    fn list(&self, place: usize, granules: u32) -> Result<(u32, List<'p>), BlockError> {
        let mut counts = BitReader::new(self.counts, 0);
        let mut lists = Reader::new(self.lists);
        for _ in 0..place {
            let count = gamma(&mut counts).ok_or(CUT)?;
            if (count as usize) < LONG_MIN {
                skip_ascending(&mut counts, count, 0, granules).ok_or(CUT)?;
            } else {
                skip_list(&mut lists)?;
            }
        }
        let count = gamma(&mut counts).ok_or(CUT)?;
        let list = if (count as usize) < LONG_MIN {
            List::Here(short(counts, count, granules)?)
        } else {
            list(&mut lists, count, granules)?
        };
        Ok((count, list))
    }
}
