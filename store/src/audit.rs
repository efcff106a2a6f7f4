//! Counters per stream.
