//! The block codec: records as compressed columns, versioned and checksummed.
