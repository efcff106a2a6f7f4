//! The watermark: what of a batch is new, what was seen, what is missing.
