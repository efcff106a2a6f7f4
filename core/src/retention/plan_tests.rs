//! Golden tables of plan text.
