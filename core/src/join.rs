//! Joins partial lines per stdout and stderr.
