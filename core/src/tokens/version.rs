//! The version of the rules of words by which a block's bloom filter and postings were made. Blocks outlive programs.
//!
//! Version 1 (until 0.1.0) knew words as runs of letters, digits and `_`: what a colour or an escape touched was another word,
//! a part of `payment_failed` none, a run of Chinese one. A filter's version is in its length: odd from version 2 on.

use super::Token;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenVersion {
    First,
    Current,
}

impl TokenVersion {
    /// Of a block's bloom filter.
    pub fn of_bloom(bloom: &[u8]) -> TokenVersion {
        if bloom.len() % 2 == 1 { TokenVersion::Current } else { TokenVersion::First }
    }
}

/// All of: any of: a token that a block must have, for each version of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenClauses {
    pub current: Vec<Vec<Token>>,
    /// Only what both versions agree on: the names of origins and whole values. Words they do not, so blocks of the first
    /// version are read for them.
    pub first: Vec<Vec<Token>>,
}

impl TokenClauses {
    pub fn of(&self, version: TokenVersion) -> &[Vec<Token>] {
        match version {
            TokenVersion::First => &self.first,
            TokenVersion::Current => &self.current,
        }
    }
}
