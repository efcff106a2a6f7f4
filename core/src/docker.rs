//! Docker's json-file log line.
