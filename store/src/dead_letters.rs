//! Messages that could not be decoded.
