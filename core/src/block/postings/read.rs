//! What postings say of some tokens.

use crate::bits::BitReader;
use crate::block::{BlockError, checked};
use crate::limits::{BLOCK_RECORDS_MAX, BLOOM_TOKENS_MAX};
use crate::tokens::{Token, TokenKind, TokenVersion};

use super::bits::{RecordSet, rice};
use super::{FEW_RECORDS_MAX, KEY_BITS, VERSION, VERSION_FIRST, WITHOUT, key, width};

/// Opened postings.
#[derive(Debug)]
pub struct Postings<'p> {
    version: TokenVersion,
    records: usize,
    lists: Vec<List<'p>>,
    bucket_bits: u32,
    few: usize,
    counts: &'p [u8],
    few_records: &'p [u8],
}

#[derive(Debug)]
struct List<'p> {
    /// Three bytes each.
    keys: &'p [u8],
    code: u8,
    gaps: &'p [u8],
}

/// Tokens that there can be at the most, levels included.
const TOKENS_MAX: usize = BLOOM_TOKENS_MAX + 64;

impl<'p> Postings<'p> {
    /// Checks version and checksum. No bytes, or those of a newer version: `None`, anything may be.
    pub fn open(bytes: &'p [u8]) -> Result<Option<Postings<'p>>, BlockError> {
        let version = match bytes.first() {
            Some(&VERSION) => TokenVersion::Current,
            Some(&VERSION_FIRST) => TokenVersion::First,
            Some(0) => return Err(BlockError::Invalid("version of postings")),
            _ => return Ok(None),
        };
        let mut reader = checked(bytes)?;
        let records = reader.bounded("records of postings", BLOCK_RECORDS_MAX)?;
        let count = reader.bounded("lists of postings", TOKENS_MAX)?;
        let mut lists = Vec::with_capacity(count.min(bytes.len() / 6));
        for _ in 0..count {
            let keys = reader.bounded("keys of a list", TOKENS_MAX)?;
            let keys = reader.take(keys * 3, "keys of a list")?;
            let code = reader.byte("a list")?;
            let gaps = reader.bounded("a list", bytes.len())?;
            lists.push(List { keys, code, gaps: reader.take(gaps, "a list")? });
        }
        let bucket_bits = u32::from(reader.byte("buckets of postings")?);
        if bucket_bits > KEY_BITS {
            return Err(BlockError::Invalid("buckets of postings"));
        }
        let few = reader.bounded("records of buckets", TOKENS_MAX * FEW_RECORDS_MAX)?;
        let counts = reader.take((few + (1 << bucket_bits)).div_ceil(8), "buckets of postings")?;
        let few_records = reader.take((few * width(records) as usize).div_ceil(8), "records of buckets")?;
        if !reader.is_empty() {
            return Err(BlockError::Invalid("end of postings"));
        }
        Ok(Some(Postings { version, records, lists, bucket_bits, few, counts, few_records }))
    }

    /// Of how many records they tell.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Which words they know: a filter's clauses are to be those of this version.
    pub fn token_version(&self) -> TokenVersion {
        self.version
    }

    /// Whether one record may hold, of each clause, any of its tokens.
    pub fn may_meet(&self, clauses: &[Vec<Token>]) -> bool {
        let (mut all, mut any, mut one) = (RecordSet::default(), RecordSet::default(), RecordSet::default());
        all.fill(self.records);
        clauses.iter().all(|clause| {
            any.clear(self.records);
            let known = clause.iter().all(|token| {
                let known = self.records_of(token, &mut one);
                any.add(&one);
                known
            });
            !known || all.keep(&any)
        })
    }

    /// The records that may hold a token, and perhaps a few more; `false`: any may.
    pub(in crate::block) fn records_of(&self, token: &Token, found: &mut RecordSet) -> bool {
        found.clear(self.records);
        if matches!(token.kind, TokenKind::Pair | TokenKind::Origin) {
            return false;
        }
        let key = key(token.hash);
        let bytes = key.to_le_bytes();
        let list = self.lists.iter().find(|list| list.keys.chunks_exact(3).any(|key| key == &bytes[..3]));
        if let Some(list) = list {
            rice(list.gaps, u32::from(list.code & 15), self.records as u32)
                .for_each(|record| found.insert(record));
            if list.code & WITHOUT != 0 {
                found.complement();
            }
            return true;
        }
        match token.kind {
            TokenKind::Name => true,
            TokenKind::Word | TokenKind::TimeFraction => {
                self.bucket(key >> (KEY_BITS - self.bucket_bits), found)
            }
            _ => false,
        }
    }

    fn bucket(&self, bucket: u32, found: &mut RecordSet) -> bool {
        let mut counts = BitReader::new(self.counts, 0);
        let mut before = 0;
        for _ in 0..bucket {
            before += counts.unary().unwrap_or(0) as usize;
        }
        let count = counts.unary().unwrap_or(0) as usize;
        let width = width(self.records);
        let mut numbers = BitReader::new(self.few_records, before.min(self.few) * width as usize);
        for _ in 0..count {
            match numbers.take(width) {
                Some(record) if (record as usize) < self.records => found.insert(record),
                // Forged: nothing can be said.
                _ => return false,
            }
        }
        true
    }
}
