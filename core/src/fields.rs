//! Decides which JSON key is which field of a record, whatever logger wrote it.
//! Promises: any bytes are read (no panic, no recursion by input, linear time); a key that is not known is in `data`, unchanged;
//! [`quick`] agrees with [`read`] on level, audit and task for every input.
//!
//! A name that comes twice: the first is the field, the later ones are data. A body that begins like an object but does not
//! close is text; level and audit are then what its whole members said.

mod embedded;
mod key;
mod names;
mod path;
mod quick;
mod read;
mod scan;
mod screen;
mod shape;
mod strict;
mod table;
mod texts;
mod verdict;

pub use embedded::object_in;
pub use key::Field;
pub use path::Path;
pub use quick::{Quick, quick};
pub use read::{Datum, Fields, message_of_bytes, read};
pub use scan::{Kind, inside_object, unescape};
pub(crate) use scan::{Members, Value};

#[cfg(test)]
mod tests;
