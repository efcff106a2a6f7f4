//! Pages of records: candidate blocks newest first, their payloads, the one evaluator. All within one snapshot.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::record::{Flags, Record};

/// Half-open: `from_us <= time < to_us`, microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    pub from_us: Option<i64>,
    pub to_us: Option<i64>,
}

/// Where a page ended: the next one begins below it. Shown as `<time in microseconds>.<record id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    pub time_us: i64,
    pub id: RecordId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.time_us, self.id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cursor {0:?} is not of the form <time>.<record id>")]
pub struct CursorError(pub String);

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Cursor, CursorError> {
        let error = || CursorError(text.to_owned());
        let (time, id) = text.split_once('.').ok_or_else(error)?;
        Ok(Cursor { time_us: time.parse().map_err(|_| error())?, id: id.parse().map_err(|_| error())? })
    }
}

/// Newest first: at most `limit` records below `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    pub after: Option<Cursor>,
}

impl Page {
    pub fn first(limit: usize) -> Page {
        Page { limit, after: None }
    }
}

/// A record with a body of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    pub time_us: i64,
    pub original_time_us: Option<i64>,
    pub level: Level,
    pub flags: Flags,
    pub origin: OriginId,
    pub id: RecordId,
    pub body: Vec<u8>,
}

impl OwnedRecord {
    pub fn of(record: &Record<'_>) -> OwnedRecord {
        OwnedRecord {
            time_us: record.time_us,
            original_time_us: record.original_time_us,
            level: record.level,
            flags: record.flags,
            origin: record.origin,
            id: record.id,
            body: record.body.to_vec(),
        }
    }

    pub fn as_record(&self) -> Record<'_> {
        Record {
            time_us: self.time_us,
            original_time_us: self.original_time_us,
            level: self.level,
            flags: self.flags,
            origin: self.origin,
            id: self.id,
            body: &self.body,
        }
    }

    pub fn cursor(&self) -> Cursor {
        Cursor { time_us: self.time_us, id: self.id }
    }
}

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Newest first, by (time, id).
    pub records: Vec<OwnedRecord>,
    /// The origins of these records.
    pub origins: HashMap<OriginId, Origin>,
    /// Where the next page begins; `None` when there is nothing below.
    pub cursor: Option<Cursor>,
    /// False when the time budget ended the search before the page was full: `cursor` goes on from there.
    pub complete: bool,
    pub blocks_read: usize,
}
