//! The sealer's statements.
