//! Finds what somebody else did to the table partitions, reports it, and changes nothing. What can be repaired without harm is a step and not
//! drift: a leaf that is missing is created again, a leaf that was detached by hand is attached again (and gets its indexes), and a leaf that
//! was attached by hand is like any other.

use std::fmt;

use super::class::{ClassId, class_table};
use super::duration;

/// One table partition that differs from what the tables `classes` and `leaves` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// `None`: of no class.
    pub class: Option<ClassId>,
    pub table: String,
    pub what: Strange,
    /// Where nothing may be created because of it.
    pub taken: Vec<(i64, i64)>,
}

/// What is strange about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strange {
    /// A partition of a class that `leaves` does not know.
    Foreign,
    /// A partition of `blocks` for a class that there is not.
    ForeignClass,
    /// It holds other times than `leaves` says. `None`: not a range of times.
    Bounds { is: Option<(i64, i64)>, should: (i64, i64) },
    /// It is a partition of another table.
    Parent { is: String },
    /// So many of its indexes are missing or not valid.
    Indexes { missing: i64 },
}

impl Strange {
    /// A word for conditions and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Strange::Foreign | Strange::ForeignClass => "ForeignPartition",
            Strange::Bounds { .. } => "WrongBounds",
            Strange::Parent { .. } => "WrongParent",
            Strange::Indexes { .. } => "IndexMissing",
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = self.class.map_or_else(|| "blocks".to_owned(), class_table);
        let range = |(from_us, to_us): (i64, i64)| {
            format!("[{} .. {})", duration::time(from_us), duration::time(to_us))
        };
        let table = &self.table;
        match &self.what {
            Strange::Foreign | Strange::ForeignClass => write!(
                f,
                "{table} is attached to {parent} and was not made by Cordwood: its records are never dropped, and others of its times wait; \
                 detach it from {parent}"
            ),
            Strange::Bounds { is, should } => {
                let is = is.map_or_else(|| "no range of times".to_owned(), range);
                let should = range(*should);
                write!(
                    f,
                    "{table} holds {is} instead of {should}: nothing of it is dropped, and records of its times wait; \
                     detach it, and it is attached again with its own bounds"
                )
            }
            Strange::Parent { is } => write!(
                f,
                "{table} is attached to {is} instead of {parent}: nothing of it is dropped; detach it from {is}, and it is attached again \
                 to its own table"
            ),
            Strange::Indexes { missing } => write!(
                f,
                "{missing} of the indexes of {table} are missing or not valid, so that searches read all of it; reindex it, or detach it, \
                 and it is attached again with its indexes"
            ),
        }
    }
}
