//! Sealed blocks.
