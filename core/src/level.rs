//! The five levels, and everything that maps onto them.

mod ansi;
mod calendar;
mod group;
mod head;
mod number;
mod value;
mod words;

use serde::{Deserialize, Serialize};

pub(crate) use ansi::without_ansi;
pub use head::{head_of, is_header, level_of_text};
pub(crate) use value::level_of_word;

/// Severity of a record. The discriminants are part of the block format and of `level_mask` in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[repr(u8)]
pub enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

impl Level {
    pub const ALL: [Level; 5] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];

    /// The inverse of `self as u8`; `None` above 4.
    pub fn from_u8(value: u8) -> Option<Level> {
        Level::ALL.get(usize::from(value)).copied()
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        }
    }

    /// The bit of this level in a block's `level_mask`.
    pub fn bit(self) -> u8 {
        1 << (self as u8)
    }

    /// The group a fresh block is cut by: WARN and above are few and looked for first.
    pub fn group(self) -> LevelGroup {
        if self >= Level::Warn { LevelGroup::WarnAndAbove } else { LevelGroup::BelowWarn }
    }

    /// From a word of the common loggers, in any case, without blanks around it: `warning`, `ERR`, `Fatal`, `I`, ...
    /// `None` for any other word (it is then no level at all, and stays data).
    pub fn from_word(word: &[u8]) -> Option<Level> {
        words::level_of(word)
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// See [`Level::group`]. The discriminants are the fresh block's `class` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LevelGroup {
    BelowWarn = 0,
    WarnAndAbove = 1,
}
