//! Which file of a log comes next, is resumed, has ended or is lost: decided over a listing of its names and what is known of
//! them. The caller opens, reads and closes files; nothing here does.
//!
//! A look at a folder goes this way: [`listing`] puts the names in order and leaves out those that are not the log's;
//! [`register`] tells which of them are as they were; [`appeared`] says what each other name stands for, and [`same`] which
//! known file it is a copy of; [`cut`] compares a file that is read on with what was read of it; [`sequence`] says where a new file goes among those that are open. [`ending`] says when a file
//! has ended, [`gone`] which files are lost. [`live`] tells which logs the names of a folder belong to.
//!
//! Promise: what is still on the disk is read once, whatever happened to its name. `cases.txt` has a row for each way in
//! which files were rotated, copied, packed, cut, deleted or replaced so far.

pub mod appeared;
pub mod cut;
pub mod ending;
pub mod gone;
pub mod listing;
pub mod live;
pub mod register;
pub mod same;
pub mod sequence;

pub use appeared::{Appeared, Stands};
pub use listing::Names;
pub use register::{Glance, Known, Register};
pub use same::Content;

use crate::identity::FileId;

/// Device and inode: which file a name stands for, as long as the file is there.
pub type Inode = (u64, u64);

/// One name of a log's files, as a look at the folder found it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub name: String,
    pub inode: Inode,
    pub size: u64,
    pub mtime_ns: i64,
    /// It is a `.gz`.
    pub packed: bool,
    /// The log is written to under this name.
    pub live: bool,
}

/// The same name for the same file: its size may have changed.
impl PartialEq for Listed {
    fn eq(&self, other: &Listed) -> bool {
        self.name == other.name && self.inode == other.inode
    }
}

/// A file that is held open, or of which something is still on its way.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub id: FileId,
    pub inode: Inode,
    /// Read up to here.
    pub position: u64,
    /// Of the last bytes before `position`, as they were when they were read.
    pub marker: u64,
}

#[cfg(test)]
mod cases_tests;
