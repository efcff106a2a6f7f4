//! Drops what lies below the level in force.
