//! Holds what is stored of a block against the block: whether all of it can be read, whether the columns of its row say what it holds,
//! and whether the bloom filter and the postings hide any of its records from a search.

use std::collections::HashMap;

use crate::origin::{Origin, OriginId};
use crate::record::Record;
use crate::segment::SegmentBuilder;
use crate::tokens::{Token, TokenHasher, TokenKind, TokenVersion, may_contain, probes_of};

use super::index::{Index, IndexBuilder, SegmentTokens};
use super::postings::{Postings, RecordSet, level_token};
use super::{Block, BlockError, Format};

/// A block's row as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'r> {
    pub tenant: &'r str,
    pub count: i64,
    pub time_from_us: i64,
    pub time_to_us: i64,
    pub level_mask: i64,
    pub raw_bytes: i64,
    pub bloom: &'r [u8],
    /// `None`: of a kind that has none.
    pub postings: Option<&'r [u8]>,
    /// Its records lie in this time, the second bound exclusive.
    pub bounds_us: Option<(i64, i64)>,
}

/// What is wrong with a block or its row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("its records cannot be read: {0}")]
    Block(#[from] BlockError),
    #[error("column {name} says {stored}, its records {found}")]
    Column { name: &'static str, stored: i64, found: i64 },
    #[error("{0} of its records lie outside of the table partition's time")]
    Bounds(usize),
    #[error("{0} of its origins have no row, or are of another tenant")]
    Origins(usize),
    #[error("the bloom filter lacks {missing} of {tokens} words: a search passes over the block")]
    Bloom { missing: usize, tokens: usize },
    #[error("the postings do not open: {0}")]
    Postings(BlockError),
    #[error("the postings lack {0} records of their words: a search passes over them")]
    Hidden(usize),
}

impl Fault {
    /// Whether [`Checked::index`] repairs it.
    pub fn is_of_index(&self) -> bool {
        matches!(self, Fault::Bloom { .. } | Fault::Postings(_) | Fault::Hidden(_))
    }
}

/// What a look at a block and its row found.
#[derive(Debug, Default)]
pub struct Checked {
    pub records: u64,
    pub raw_bytes: u64,
    /// Records that were given another time than the one they came with.
    pub adjusted: u64,
    pub faults: Vec<Fault>,
    /// The filter and the postings that the block should have, where those that it has are at fault.
    pub index: Option<Index>,
}

/// Looks at blocks one after the other; keeps its buffers between them.
#[derive(Debug, Default)]
pub struct Checker {
    filter: Option<IndexBuilder>,
    lists: Option<IndexBuilder>,
    hasher: TokenHasher,
    tokens: SegmentTokens,
}

impl Checker {
    pub fn new() -> Checker {
        Checker::default()
    }

    /// Reads every record of an opened block, and holds the row against them. `origins`: what is known of an origin.
    pub fn check<'o>(
        &mut self,
        block: &Block<'_>,
        stored: &Stored<'_>,
        origins: impl Fn(&OriginId) -> Option<&'o Origin>,
    ) -> Checked {
        let mut checked = Checked::default();
        let origins: Vec<Option<&Origin>> = block.origins().iter().map(origins).collect();
        if let Err(error) = self.read(block, stored, &origins, &mut checked) {
            checked.faults.push(Fault::Block(error));
        }
        checked
    }

    /// Puts a block into the index of a segment, as sealing did it; the segment's next one then is another.
    ///
    /// # Errors
    /// Its bodies are damaged: the index has the records before.
    pub fn index_into<'o>(
        &mut self,
        segment: &mut SegmentBuilder,
        block: &Block<'_>,
        origins: impl Fn(&OriginId) -> Option<&'o Origin>,
    ) -> Result<(), BlockError> {
        self.tokens.clear();
        for id in block.origins() {
            match origins(id) {
                Some(origin) => self.tokens.origin(origin),
                None => self.tokens.origin(&Origin::default()),
            }
        }
        let read = (0..block.len()).try_for_each(|place| {
            let Record { body, flags, level, .. } = block.record(place)?;
            self.tokens.record(segment, block.origin_place(place), body, flags, level);
            Ok(())
        });
        segment.end_block();
        read
    }

    fn read(
        &mut self,
        block: &Block<'_>,
        stored: &Stored<'_>,
        origins: &[Option<&Origin>],
        checked: &mut Checked,
    ) -> Result<(), BlockError> {
        // All at once: a format whose bodies are put together puts each together once.
        block.bodies()?;
        let (mut mask, mut outside) = (0u8, 0);
        let (mut from_us, mut to_us) = (i64::MAX, i64::MIN);
        for place in 0..block.len() {
            let record = block.record(place)?;
            checked.raw_bytes += record.body.len() as u64;
            checked.adjusted += u64::from(record.original_time_us.is_some());
            mask |= record.level.bit();
            (from_us, to_us) = (from_us.min(record.time_us), to_us.max(record.time_us));
            let is_within = |(from, to): (i64, i64)| record.time_us >= from && record.time_us < to;
            outside += usize::from(!stored.bounds_us.is_none_or(is_within));
        }
        checked.records = block.len() as u64;
        if block.is_empty() {
            (from_us, to_us) = (0, 0);
        }
        let rows = [
            ("count", stored.count, block.len() as i64),
            ("time_from", stored.time_from_us, from_us),
            ("time_to", stored.time_to_us, to_us),
            ("level_mask", stored.level_mask, i64::from(mask)),
            ("raw_bytes", stored.raw_bytes, checked.raw_bytes as i64),
        ];
        let differs = rows.into_iter().filter(|(_, stored, found)| stored != found);
        checked.faults.extend(differs.map(|(name, stored, found)| Fault::Column { name, stored, found }));
        if outside > 0 {
            checked.faults.push(Fault::Bounds(outside));
        }
        let known: Vec<&Origin> =
            origins.iter().flatten().filter(|origin| origin.tenant == stored.tenant).copied().collect();
        if known.len() < origins.len() {
            checked.faults.push(Fault::Origins(origins.len() - known.len()));
            // Not all names are known, so neither is what the filter should hold.
            return Ok(());
        }
        self.index(block, stored, &known, checked)
    }

    fn index(
        &mut self,
        block: &Block<'_>,
        stored: &Stored<'_>,
        origins: &[&Origin],
        checked: &mut Checked,
    ) -> Result<(), BlockError> {
        if block.format() == Format::Three && stored.bloom.is_empty() {
            // The index of its segment is looked at apart.
            return Ok(());
        }
        let builder = match stored.postings {
            Some(_) => self.lists.get_or_insert_with(IndexBuilder::with_postings),
            None => self.filter.get_or_insert_default(),
        };
        let mut known = 0;
        for place in 0..block.len() {
            let Record { body, flags, level, .. } = block.record(place)?;
            let origin_place = block.origin_place(place);
            while known <= origin_place {
                builder.origin(origins[known]);
                known += 1;
            }
            builder.record(place, origin_place, body, flags, level);
        }
        let tokens = builder.distinct().to_vec();
        let index = builder.finish(block.len());
        let before = checked.faults.len();
        // What is as it would be made today hides nothing; what is otherwise may come from an older version.
        if stored.bloom != index.bloom {
            checked.faults.extend(self.bloom(origins, stored.bloom, &tokens));
        }
        if let Some(postings) = stored.postings.filter(|postings| *postings != index.postings) {
            match Postings::open(postings) {
                Ok(Some(postings)) if postings.token_version() == TokenVersion::Current => {
                    let hidden = self.hidden(block, origins, &postings)?;
                    checked.faults.extend((hidden > 0).then_some(Fault::Hidden(hidden)));
                }
                Ok(_) => {}
                Err(error) => checked.faults.push(Fault::Postings(error)),
            }
        }
        if checked.faults.len() > before {
            checked.index = Some(index);
        }
        Ok(())
    }

    fn bloom(&mut self, origins: &[&Origin], bloom: &[u8], tokens: &[u64]) -> Option<Fault> {
        let lacks = |token: &u64| !may_contain(bloom, &probes_of(*token));
        let (missing, tokens) = match TokenVersion::of_bloom(bloom) {
            TokenVersion::First if !bloom.is_empty() => {
                // Its words were others; its origins' names were the same.
                let mut of_origins = Vec::new();
                for origin in origins {
                    self.hasher.origin(origin, &mut |token| of_origins.push(token.hash));
                }
                (of_origins.iter().filter(|token| lacks(token)).count(), of_origins.len())
            }
            _ => (tokens.iter().filter(|token| lacks(token)).count(), tokens.len()),
        };
        (missing > 0 || bloom.is_empty()).then_some(Fault::Bloom { missing, tokens })
    }

    /// Of how many (word, record) the postings say that it is not so.
    fn hidden(
        &mut self,
        block: &Block<'_>,
        origins: &[&Origin],
        postings: &Postings<'_>,
    ) -> Result<usize, BlockError> {
        if postings.records() != block.len() {
            return Ok(block.len());
        }
        let mut lists: HashMap<Token, Option<RecordSet>> = HashMap::new();
        let mut hides = |token: Token, place: usize| {
            let list = lists.entry(token).or_insert_with(|| {
                let mut found = RecordSet::default();
                postings.records_of(&token, &mut found).then_some(found)
            });
            usize::from(list.as_ref().is_some_and(|list| !list.contains(place as u32)))
        };
        let mut hidden = 0;
        for place in 0..block.len() {
            let record = block.record(place)?;
            self.hasher.record(record.body, record.flags, &mut |token| hidden += hides(token, place));
            self.hasher.origin(origins[block.origin_place(place)], &mut |token| {
                if token.kind == TokenKind::Name {
                    hidden += hides(token, place);
                }
            });
            hidden += hides(level_token(record.level), place);
        }
        Ok(hidden)
    }
}
