//! Which JSON key is which field of a record, whatever logger wrote it.
//! Promises: any bytes are read (no panic, no recursion by input, linear time); what is not known is in `data`, untouched;
//! [`quick`] agrees with [`read`] on level and audit for every input.

pub mod names;
mod quick;
mod read;
pub mod scan;

pub use names::Field;
pub use quick::{Quick, quick};
pub use read::{Datum, Fields, read};
