//! The tokens of version 1, as the program of that time made them: what the tests hold filters against.

use std::collections::HashSet;

use super::hash::{has_pair, pair_token, word_token};
use super::values::{self, Visit};
use crate::origin::Origin;
use crate::record::Flags;
use crate::tokens::Token;

/// The hashes of a record's tokens.
pub fn tokens_of(body: &[u8], origin: &Origin, flags: Flags) -> HashSet<u64> {
    let mut tokens = Tokens(HashSet::new());
    for (field, name) in super::hash::origin_pairs(origin) {
        if !name.is_empty() {
            tokens.0.insert(pair(field.as_bytes(), name.as_bytes()));
        }
    }
    if flags.has(Flags::AUDIT) {
        tokens.0.insert(Token::audit().hash);
    }
    values::visit_first(body, &mut tokens);
    tokens.0
}

/// The filter over them.
pub fn bloom_of(tokens: &HashSet<u64>) -> Vec<u8> {
    let mut bloom = vec![0; (2 * tokens.len()).max(8)];
    for &token in tokens {
        for probe in super::probes_of(token) {
            let bit = (probe % (8 * bloom.len() as i64)) as usize;
            bloom[bit / 8] |= 1 << (bit % 8);
        }
    }
    bloom
}

struct Tokens(HashSet<u64>);

impl Visit for Tokens {
    fn value(&mut self, key: Option<&[u8]>, text: &[u8]) {
        for chunk in text.utf8_chunks() {
            let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
            let words = chunk.valid().split(|c| !is_of_word(c)).filter(|word| !word.is_empty());
            self.0.extend(words.map(|word| word_token(lower(word).as_bytes())));
        }
        if let Some(key) = key.filter(|key| has_pair(key, text)) {
            self.0.insert(pair(key, text));
        }
    }
}

fn pair(key: &[u8], value: &[u8]) -> u64 {
    pair_token(key, lower(&String::from_utf8_lossy(value)).as_bytes())
}

fn lower(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let to_ascii = !c.is_ascii() && c.to_lowercase().any(|lower| lower.is_ascii());
            if to_ascii { vec![c] } else { c.to_lowercase().collect() }
        })
        .collect()
}
