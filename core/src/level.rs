//! The five levels and everything that maps onto them.

mod text;
mod words;

use serde::{Deserialize, Serialize};

pub use text::level_of_text;
pub(crate) use text::strip_ansi;

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

    /// From the number in a field that is called `level` and the like: the tens of pino and bunyan (10 TRACE .. 60
    /// FATAL, custom levels between them count as the one below). Numbers under 10 mean a different thing in every logger,
    /// so they are no level.
    pub fn from_tens(number: i64) -> Option<Level> {
        Some(match number {
            10..=19 => Level::Trace,
            20..=29 => Level::Debug,
            30..=39 => Level::Info,
            40..=49 => Level::Warn,
            50..=100 => Level::Error,
            _ => return None,
        })
    }

    /// From the number in Python's `levelno`: 10 DEBUG .. 50 CRITICAL.
    pub fn from_python(number: i64) -> Option<Level> {
        Some(match number {
            1..=9 => Level::Trace,
            10..=19 => Level::Debug,
            20..=29 => Level::Info,
            30..=39 => Level::Warn,
            40..=100 => Level::Error,
            _ => return None,
        })
    }

    /// From syslog's severity (RFC 5424, table 2): 0 emergency .. 7 debug.
    pub fn from_syslog(number: i64) -> Option<Level> {
        Some(match number {
            0..=3 => Level::Error,
            4 => Level::Warn,
            5 | 6 => Level::Info,
            7 => Level::Debug,
            _ => return None,
        })
    }

    /// OpenTelemetry's `SeverityNumber` for this level (the first of its four).
    pub fn otel_severity(self) -> i32 {
        match self {
            Level::Trace => 1,
            Level::Debug => 5,
            Level::Info => 9,
            Level::Warn => 13,
            Level::Error => 17,
        }
    }

    /// From OpenTelemetry's `SeverityNumber` (1-24; FATAL is ERROR). `None` for 0 (unspecified) and anything else.
    pub fn from_otel_severity(number: i32) -> Option<Level> {
        Some(match number {
            1..=4 => Level::Trace,
            5..=8 => Level::Debug,
            9..=12 => Level::Info,
            13..=16 => Level::Warn,
            17..=24 => Level::Error,
            _ => return None,
        })
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
