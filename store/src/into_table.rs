//! Matching records as plain rows.
