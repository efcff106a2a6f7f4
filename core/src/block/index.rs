//! What lies beside a block and tells whether to open it: the bloom filter over its tokens, and its postings. Made from the records, while
//! a block is written and, later, from the block itself.

use crate::level::Level;
use crate::origin::Origin;
use crate::record::Flags;
use crate::segment::{SegmentBuilder, tenant_token};
use crate::tokens::{BloomBuilder, RepeatedValues, TakeTokens, Token, TokenHasher, TokenKind};

use super::postings::{PostingsBuilder, level_token};

/// The columns of a block's row by which a search passes over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// See [`crate::tokens`]; empty where a segment's index is in its place.
    pub bloom: Vec<u8>,
    /// See [`super::postings`]; empty when there are none.
    pub postings: Vec<u8>,
}

/// Gathers the tokens of a block's records; reusable.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    bloom: BloomBuilder,
    postings: Option<PostingsBuilder>,
    /// The places of each origin's names among the distinct tokens.
    names: Vec<Vec<Option<usize>>>,
    hasher: TokenHasher,
}

impl IndexBuilder {
    pub fn with_postings() -> IndexBuilder {
        IndexBuilder { postings: Some(PostingsBuilder::default()), ..IndexBuilder::default() }
    }

    /// The distinct tokens so far.
    pub fn distinct(&self) -> &[u64] {
        self.bloom.distinct()
    }

    /// The next of the block's origins, in the order of their first records.
    pub fn origin(&mut self, origin: &Origin) {
        let mut names = Vec::new();
        self.hasher.origin(origin, &mut |token| {
            let place = self.bloom.insert(token.hash);
            names.extend((token.kind == TokenKind::Name).then_some(place));
        });
        self.names.push(names);
    }

    /// The record at `place`, whose origin is the one at `origin_place`.
    pub fn record(&mut self, place: usize, origin_place: usize, body: &[u8], flags: Flags, level: Level) {
        let bloom = &mut self.bloom;
        match &mut self.postings {
            None => self.hasher.record(body, flags, &mut |token| {
                bloom.insert(token.hash);
            }),
            Some(postings) => {
                self.hasher.record(body, flags, &mut |token| {
                    postings.add(bloom.insert(token.hash), token.kind, place);
                });
                self.names[origin_place].iter().for_each(|&name| postings.add(name, TokenKind::Name, place));
                postings.add_level(level, place);
            }
        }
    }

    /// Of so many records; empties the builder.
    pub fn finish(&mut self, records: usize) -> Index {
        let distinct = self.bloom.distinct();
        let postings =
            self.postings.as_mut().map_or_else(Vec::new, |postings| postings.finish(distinct, records));
        self.names.clear();
        Index { postings, bloom: self.bloom.finish() }
    }
}

/// Groups of tokens by their numbers: a level's, a repeated value's, an origin's names'.
const VALUES_FROM: usize = Level::ALL.len();
const NAMES_FROM: usize = VALUES_FROM + RepeatedValues::GROUPS_MAX;

impl TakeTokens for SegmentBuilder {
    fn token(&mut self, token: Token) {
        self.add(token);
    }

    fn group(&mut self, group: usize, tokens: &[Token]) {
        self.add_group(VALUES_FROM + group, tokens);
    }
}

/// Gives the index of a segment the tokens of a block's records, and keeps none.
#[derive(Debug, Default)]
pub(super) struct SegmentTokens {
    /// The names of each origin of the block.
    names: Vec<Vec<Token>>,
    hasher: TokenHasher,
    repeated: RepeatedValues,
}

impl SegmentTokens {
    /// The next of the block's origins, in the order of their first records.
    pub fn origin(&mut self, origin: &Origin) {
        let mut names = vec![tenant_token(&origin.tenant)];
        self.hasher.origin(origin, &mut |token| names.push(token));
        self.names.push(names);
    }

    /// The next record, whose origin is the one at `origin_place`.
    pub fn record(
        &mut self,
        segment: &mut SegmentBuilder,
        origin_place: usize,
        body: &[u8],
        flags: Flags,
        level: Level,
    ) {
        segment.add_group(level as usize, &[level_token(level)]);
        segment.add_group(NAMES_FROM + origin_place, &self.names[origin_place]);
        self.hasher.record_repeated(body, flags, &mut self.repeated, segment);
        segment.end_record();
    }

    pub fn clear(&mut self) {
        self.names.clear();
        self.repeated.clear();
    }
}
