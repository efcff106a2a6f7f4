//! Candidate blocks in one snapshot, newest first.
