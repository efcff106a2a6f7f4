//! Tokens of a record and the bloom filter over them: which blocks may hold what a filter looks for.
//!
//! A token is a lower-cased word or number of the body's values, or two neighbours in a script without spaces; `key=value` for
//! a short value of a JSON object and for the names of the origin; `category=audit`. A filter matches words by the same split
//! ([`values`], [`words`]), so that the bloom filter never hides a match. What is not a whole token (a part of a word, a
//! pattern) it cannot answer. The rules have a [`version`].

mod bloom;
#[cfg(test)]
pub(crate) mod first;
pub mod hash;
mod reading;
mod repeated;
#[cfg(test)]
mod tests;
pub mod values;
mod version;
pub mod words;

pub use bloom::{BloomBuilder, PROBES, Probes, build, may_contain, probes, probes_of};
pub(crate) use hash::mix;
pub use hash::{Token, TokenHasher, TokenKind, for_each_token, pair_token, word_token};
pub(crate) use reading::{ESC, without_colours};
pub use repeated::{RepeatedValues, TakeTokens};
pub use version::{TokenClauses, TokenVersion};
