//! Fresh records into sealed blocks.
