//! What a page of a search is: where it begins, in which direction it goes, what it holds.

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

/// In which order of (time, id) a search goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    NewestFirst,
    OldestFirst,
}

impl Direction {
    pub fn reversed(self) -> Direction {
        match self {
            Direction::NewestFirst => Direction::OldestFirst,
            Direction::OldestFirst => Direction::NewestFirst,
        }
    }

    /// Whether a search comes to `a` before it comes to `b`.
    pub(super) fn is_before<T: Ord>(self, a: T, b: T) -> bool {
        match self {
            Direction::NewestFirst => a > b,
            Direction::OldestFirst => a < b,
        }
    }
}

/// A place between records, and the permanent name of one: shown as `<time in microseconds>.<record id>`. The same cursor is
/// good in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    pub time_us: i64,
    pub id: RecordId,
}

/// Above every id of a record.
const ID_MAX: RecordId = RecordId { topic_partition: u32::MAX, kafka_offset: u64::MAX, index: u32::MAX };

impl Cursor {
    /// Above all records of this time, below all later ones.
    pub fn end_of(time_us: i64) -> Cursor {
        Cursor { time_us, id: ID_MAX }
    }

    /// Whether records of its time can lie above it.
    pub(super) fn is_end(self) -> bool {
        self.id == ID_MAX
    }
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

/// At most `limit` records beyond `after` in the direction, fewer when they are large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    pub after: Option<Cursor>,
    pub direction: Direction,
}

impl Page {
    /// The newest.
    pub fn first(limit: usize) -> Page {
        Page { limit, after: None, direction: Direction::NewestFirst }
    }

    /// The oldest.
    pub fn oldest(limit: usize) -> Page {
        Page { limit, after: None, direction: Direction::OldestFirst }
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
    /// In the direction of the search, by (time, id).
    pub records: Vec<OwnedRecord>,
    /// The origins of these records.
    pub origins: HashMap<OriginId, Origin>,
    /// Where the next page begins; `None` when there is nothing beyond.
    pub cursor: Option<Cursor>,
    /// False when the time budget ended the search before the page was full: `cursor` goes on from there.
    pub complete: bool,
    /// How far the search came (newest first: how far back). Matching records beyond this time, which `cursor` goes on to, were
    /// not looked for. `None` when there is nothing beyond.
    pub searched_to_us: Option<i64>,
    /// What is asked for and no index knows (a part of a word, for example): such a search reads more blocks.
    pub unindexed: Vec<String>,
    pub blocks_read: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_it_shows() {
        let id = RecordId { topic_partition: 3, kafka_offset: 99, index: 7 };
        for time_us in [-5, 0, 1_700_000_000_000_000] {
            let cursor = Cursor { time_us, id };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", "1", "1.2", "x.1-2-3", "1.1-2-3-4"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad:?}");
        }
    }
}
