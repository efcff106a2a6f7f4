//! The tenant scope that no query can be built without.
