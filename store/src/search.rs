//! Pages of records: candidates, decoding, the filter.
