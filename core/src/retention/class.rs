//! A retention class: one policy and level. Its records share tables, and so go together.

use serde::{Deserialize, Serialize};

use crate::level::Level;
use crate::limits::TIME_FUTURE_US_MAX;

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// The `class` column of sealed blocks: positive, allocated once, never used again for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClassId(pub i32);

/// The levels that a policy tells apart. TRACE is kept as DEBUG. The discriminants are `classes.level` in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum PolicyLevel {
    Debug = 0,
    Info = 1,
    Warn = 2,
    Error = 3,
}

impl PolicyLevel {
    pub const ALL: [PolicyLevel; 4] =
        [PolicyLevel::Debug, PolicyLevel::Info, PolicyLevel::Warn, PolicyLevel::Error];

    pub fn of(level: Level) -> PolicyLevel {
        match level {
            Level::Trace | Level::Debug => PolicyLevel::Debug,
            Level::Info => PolicyLevel::Info,
            Level::Warn => PolicyLevel::Warn,
            Level::Error => PolicyLevel::Error,
        }
    }

    pub fn from_i16(value: i16) -> Option<PolicyLevel> {
        usize::try_from(value).ok().and_then(|value| PolicyLevel::ALL.get(value)).copied()
    }

    /// Lower case, as in a policy's `retention`.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyLevel::Debug => "debug",
            PolicyLevel::Info => "info",
            PolicyLevel::Warn => "warn",
            PolicyLevel::Error => "error",
        }
    }
}

impl std::fmt::Display for PolicyLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A row of `classes`: what is in force for the records already stored, also when the policy is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    pub id: ClassId,
    pub policy: String,
    pub policy_uid: String,
    pub level: PolicyLevel,
    pub retention_us: i64,
    pub grace_us: i64,
    pub legal_hold: bool,
    /// What was announced: a shorter retention or grace period.
    pub wanted: Option<Wanted>,
    /// Its table exists and is attached to the root.
    pub has_table: bool,
}

/// An announced shortening: both as they will be, one of them perhaps as it is, and from when they are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub retention_us: i64,
    pub grace_us: i64,
    pub effective_from_us: i64,
}

impl Wanted {
    /// Whether notice of these was given with it: of nothing shorter.
    pub fn covers(&self, retention_us: i64, grace_us: i64) -> bool {
        retention_us >= self.retention_us && grace_us >= self.grace_us
    }
}

/// Width of a leaf for a retention: a class has about 10 to 32 leaves and overshoots by at most one. Hourly for a day,
/// daily for a month, weekly for a year. Always whole minutes.
pub fn interval_us(retention_us: i64) -> i64 {
    const LADDER: [(i64, i64); 14] = [
        (30 * MINUTE_US, MINUTE_US),
        (HOUR_US, 2 * MINUTE_US),
        (150 * MINUTE_US, 5 * MINUTE_US),
        (5 * HOUR_US, 10 * MINUTE_US),
        (8 * HOUR_US, 15 * MINUTE_US),
        (16 * HOUR_US, 30 * MINUTE_US),
        (32 * HOUR_US, HOUR_US),
        (4 * DAY_US, 3 * HOUR_US),
        (8 * DAY_US, 6 * HOUR_US),
        (16 * DAY_US, 12 * HOUR_US),
        (32 * DAY_US, DAY_US),
        (64 * DAY_US, 2 * DAY_US),
        (128 * DAY_US, 4 * DAY_US),
        (2 * 366 * DAY_US, 7 * DAY_US),
    ];
    LADDER.iter().find(|(upto, _)| retention_us <= *upto).map_or(28 * DAY_US, |(_, interval)| *interval)
}

/// How far ahead of now leaves are made: a day, but at least 4 and at most 12 intervals, and always further than the
/// latest time that a record may carry. So long can the operator be away before the sealer has to carry records over.
pub fn ahead_us(interval_us: i64) -> i64 {
    DAY_US.clamp(4 * interval_us, 12 * interval_us).max(TIME_FUTURE_US_MAX + 5 * MINUTE_US)
}

/// The multiple of `interval_us` at or below `time_us` (also before 1970).
pub fn align_down(time_us: i64, interval_us: i64) -> i64 {
    time_us - time_us.rem_euclid(interval_us)
}

/// `blocks_c<class>`: built from a number alone.
pub fn class_table(class: ClassId) -> String {
    format!("blocks_c{}", class.0)
}

/// `blocks_c<class>_<yyyymmddThhmm>`, by the leaf's lower bound in UTC: built from numbers alone.
pub fn leaf_table(class: ClassId, from_us: i64) -> String {
    let time =
        jiff::Timestamp::from_microsecond(from_us).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
    format!(
        "blocks_c{}_{:04}{:02}{:02}t{:02}{:02}",
        class.0,
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_follows_from_retention() {
        let rows = [
            (MINUTE_US, MINUTE_US),
            (10 * MINUTE_US, MINUTE_US),
            (HOUR_US, 2 * MINUTE_US),
            (12 * HOUR_US, 30 * MINUTE_US),
            (DAY_US, HOUR_US),
            (7 * DAY_US, 6 * HOUR_US),
            (14 * DAY_US, 12 * HOUR_US),
            (30 * DAY_US, DAY_US),
            (90 * DAY_US, 4 * DAY_US),
            (365 * DAY_US, 7 * DAY_US),
            (3650 * DAY_US, 28 * DAY_US),
        ];
        for (retention, interval) in rows {
            assert_eq!(interval_us(retention), interval, "retention of {} min", retention / MINUTE_US);
        }
    }

    #[test]
    fn a_class_has_few_leaves() {
        for hours in 1..24 * 128 {
            let retention = hours * HOUR_US;
            let leaves = (retention + interval_us(retention) - 1) / interval_us(retention);
            assert!((10..=32).contains(&leaves), "{hours} h: {leaves} leaves");
        }
    }

    #[test]
    fn ahead_is_further_than_a_record_may_lie() {
        for minutes in 1..60 * 24 * 40 {
            let interval = interval_us(minutes * MINUTE_US);
            assert!(ahead_us(interval) > TIME_FUTURE_US_MAX && ahead_us(interval) >= 4 * interval);
        }
    }

    #[test]
    fn names_are_numbers_only() {
        assert_eq!(leaf_table(ClassId(12), 1_795_000_020_000_000), "blocks_c12_20261118t1107");
        assert_eq!(class_table(ClassId(3)), "blocks_c3");
    }

    #[test]
    fn aligns_before_1970_too() {
        assert_eq!(align_down(-1, 60), -60);
        assert_eq!(align_down(120, 60), 120);
    }
}
