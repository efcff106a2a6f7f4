//! Tokens of a record and the bloom filter over them.
