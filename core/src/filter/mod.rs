//! The filter expression: one syntax tree and one evaluator for search, live stream and export.
