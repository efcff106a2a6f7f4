//! Which JSON key is which field of a record.
