//! Postings from (token, record) pairs, in the order of the records.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::bits::BitWriter;
use crate::block::PREFIX_BYTES;
use crate::block::columns::put_varint;
use crate::level::Level;
use crate::limits::{BLOOM_TOKENS_MAX, SEALED_BLOCK_RECORDS};
use crate::tokens::TokenKind;

use super::bits::{put_rice, rice_bits};
use super::{FEW_RECORDS_MAX, KEY_BITS, RECORDS_MIN, VERSION, WITHOUT, key, level_token, width};

const LEVELS: usize = Level::ALL.len();
/// An occurrence is a `u32`: the token's place above this, the record below.
const RECORD_BITS: u32 = 13;
const HASH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const _: () = assert!(SEALED_BLOCK_RECORDS <= 1 << RECORD_BITS);
const _: () = assert!((BLOOM_TOKENS_MAX + LEVELS) >> (32 - RECORD_BITS) == 0);

/// Gathers which records hold which tokens; reusable. A token is named by its place among the block's distinct ones.
#[derive(Debug, Default)]
pub(in crate::block) struct PostingsBuilder {
    /// By place; the levels come first.
    tokens: Vec<Gathered>,
    occurrences: Vec<u32>,
    /// Too many tokens to keep apart: there are no postings.
    given_up: bool,
    // Of `finish`, kept for their memory.
    order: Vec<Ordered>,
    records: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Gathered {
    kind: TokenKind,
    /// One more than the last record it was in.
    last: u32,
    count: u32,
    /// Where its records begin, then end.
    end: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ordered {
    key: u32,
    place: u32,
}

impl PostingsBuilder {
    /// The record has the token at `place` (`None`: that is not known any more). Records come in their order, a token of one as
    /// often as it likes.
    #[inline]
    pub fn add(&mut self, place: Option<usize>, kind: TokenKind, record: usize) {
        match place {
            Some(_) if matches!(kind, TokenKind::Pair | TokenKind::Origin) => {}
            Some(place) => self.add_at(place + LEVELS, kind, record as u32),
            None => self.given_up = true,
        }
    }

    pub fn add_level(&mut self, level: Level, record: usize) {
        self.add_at(level as usize, TokenKind::Name, record as u32);
    }

    #[inline]
    fn add_at(&mut self, at: usize, kind: TokenKind, record: u32) {
        if at >= self.tokens.len() {
            self.tokens.resize(at + 1, Gathered { kind, last: 0, count: 0, end: 0 });
        }
        let token = &mut self.tokens[at];
        token.kind = kind;
        if token.last != record + 1 {
            token.last = record + 1;
            token.count += 1;
            self.occurrences.push((at as u32) << RECORD_BITS | record);
        }
    }

    /// The postings of so many records, and empties the builder. `hashes`: of the distinct tokens, by place.
    pub fn finish(&mut self, hashes: &[u64], records: usize) -> Vec<u8> {
        let postings = if self.given_up || records < RECORDS_MIN {
            Vec::new()
        } else {
            self.scatter();
            self.sort(hashes);
            self.encode(records)
        };
        self.tokens.clear();
        self.occurrences.clear();
        self.given_up = false;
        postings
    }

    /// Brings the records of each token together; they stay ascending.
    fn scatter(&mut self) {
        let mut start = 0;
        for token in &mut self.tokens {
            token.end = start;
            start += token.count;
        }
        self.records.clear();
        self.records.resize(self.occurrences.len(), 0);
        for &occurrence in &self.occurrences {
            let token = &mut self.tokens[(occurrence >> RECORD_BITS) as usize];
            self.records[token.end as usize] = (occurrence & ((1 << RECORD_BITS) - 1)) as u16;
            token.end += 1;
        }
    }

    /// All tokens by key.
    fn sort(&mut self, hashes: &[u64]) {
        self.order.clear();
        let levels = Level::ALL.iter().map(|&level| level_token(level).hash);
        for (place, hash) in levels.chain(hashes.iter().copied()).enumerate() {
            if self.tokens.get(place).is_some_and(|token| token.count > 0) {
                self.order.push(Ordered { key: key(hash), place: place as u32 });
            }
        }
        self.order.sort_unstable_by_key(|ordered| ordered.key);
    }

    fn encode(&self, records: usize) -> Vec<u8> {
        let mut lists = Lists::default();
        let mut few: Vec<(u32, u16)> = Vec::new();
        let mut merged: Vec<u16> = Vec::new();
        for group in self.order.chunk_by(|a, b| a.key == b.key) {
            let key = group[0].key;
            let found = if let [one] = group {
                self.records_of(one)
            } else {
                merged.clear();
                group.iter().for_each(|one| merged.extend_from_slice(self.records_of(one)));
                merged.sort_unstable();
                merged.dedup();
                &merged[..]
            };
            let is = |kinds: &[TokenKind]| {
                group.iter().any(|one| kinds.contains(&self.tokens[one.place as usize].kind))
            };
            if found.len() > FEW_RECORDS_MAX || is(&[TokenKind::Name]) {
                lists.add(key, found);
            } else if is(&[TokenKind::Word, TokenKind::TimeFraction]) {
                few.extend(found.iter().map(|&record| (key, record)));
            }
        }
        let mut out = Vec::with_capacity(PREFIX_BYTES + 64 * lists.lists.len() + 2 * few.len());
        out.push(VERSION);
        out.extend_from_slice(&[0; PREFIX_BYTES - 1]);
        put_varint(&mut out, records as u64);
        lists.put(&mut out, records as u32);
        put_few(&mut out, few, records);
        let sum = crate::block::checksum(&out[PREFIX_BYTES..]);
        out[1..PREFIX_BYTES].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn records_of(&self, ordered: &Ordered) -> &[u16] {
        let token = &self.tokens[ordered.place as usize];
        &self.records[(token.end - token.count) as usize..token.end as usize]
    }
}

/// Lists, each once.
#[derive(Default)]
struct Lists {
    lists: Vec<List>,
    /// The hash of a list's records -> the last such list.
    known: HashMap<u64, usize, RandomState>,
}

struct List {
    keys: Vec<u32>,
    records: Vec<u16>,
}

impl Lists {
    fn add(&mut self, key: u32, records: &[u16]) {
        let hash = records
            .iter()
            .fold(0u64, |hash, &r| (hash ^ u64::from(r)).wrapping_mul(HASH_FACTOR).rotate_left(23));
        let known = self.known.get(&hash).copied().filter(|&at| self.lists[at].records == records);
        let at = known.unwrap_or_else(|| {
            self.lists.push(List { keys: Vec::new(), records: records.to_vec() });
            self.known.insert(hash, self.lists.len() - 1);
            self.lists.len() - 1
        });
        self.lists[at].keys.push(key);
    }

    fn put(&self, out: &mut Vec<u8>, records: u32) {
        put_varint(out, self.lists.len() as u64);
        for list in &self.lists {
            put_varint(out, list.keys.len() as u64);
            for key in &list.keys {
                out.extend_from_slice(&key.to_le_bytes()[..3]);
            }
            let with = list.records.iter().map(|&record| u32::from(record));
            if list.records.len() * 2 > records as usize {
                let mut held = with.peekable();
                let without: Vec<u32> =
                    (0..records).filter(|record| held.next_if_eq(record).is_none()).collect();
                put_list(out, without.iter().copied(), without.len(), WITHOUT);
            } else {
                put_list(out, with, list.records.len(), 0);
            }
        }
    }
}

fn put_list(out: &mut Vec<u8>, numbers: impl Iterator<Item = u32> + Clone, count: usize, code: u8) {
    let (low, bits) = rice_bits(numbers.clone(), count);
    out.push(code | low as u8);
    put_varint(out, u64::from(bits.div_ceil(8)));
    put_rice(out, numbers, low);
}

/// `few`: ascending by key.
fn put_few(out: &mut Vec<u8>, mut few: Vec<(u32, u16)>, records: usize) {
    // About one record a bucket: a word's bucket then has few of other words.
    let bucket_bits = width(few.len()).min(KEY_BITS);
    few.iter_mut().for_each(|(key, _)| *key >>= KEY_BITS - bucket_bits);
    few.sort_unstable();
    few.dedup();
    out.push(bucket_bits as u8);
    put_varint(out, few.len() as u64);
    let mut counts = BitWriter::new(out);
    let mut rest = &few[..];
    for bucket in 0..1u32 << bucket_bits {
        let count = rest.iter().take_while(|&&(of, _)| of == bucket).count();
        counts.unary(count as u32);
        rest = &rest[count..];
    }
    counts.finish(false);
    let width = width(records);
    let mut numbers = BitWriter::new(out);
    for (_, record) in few {
        numbers.put(u32::from(record), width);
    }
    numbers.finish(false);
}
