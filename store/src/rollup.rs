//! Counts per minute.
