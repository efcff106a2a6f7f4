//! A retention class: one policy and level. Its records share tables, so they are dropped together.

use serde::{Deserialize, Serialize};

use super::approval::Approval;
use crate::level::Level;
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
    /// The last approval of a shorter retention or grace period.
    pub approved: Option<ApprovedFor>,
    /// Its table exists and is attached to the root.
    pub has_table: bool,
}

/// How long records are kept. Under a legal hold none expires; the retention still says how wide a leaf is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeps {
    pub retention_us: i64,
    pub held: bool,
}

impl Keeps {
    pub fn is_expired(self, time_us: i64, now_us: i64) -> bool {
        !self.held && time_us < now_us.saturating_sub(self.retention_us)
    }

    /// The leaf's bounds that a record of this time asks for.
    pub fn bucket_us(self, time_us: i64) -> (i64, i64) {
        bucket_us(self.retention_us, time_us)
    }
}

impl Class {
    pub fn keeps(&self) -> Keeps {
        Keeps { retention_us: self.retention_us, held: self.legal_hold }
    }
}

/// Under which approval records of a class go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovedFor {
    pub approval: Approval,
    /// It covers what is older.
    pub before_us: i64,
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

/// Leaves that a retention spans, at the least: the last of them overshoots it by at most its own width.
const LEAVES_MIN: i64 = 8;

/// Width of a leaf for a retention: the widest that is at most an eighth of it, so that a class has 8 to 16 leaves and keeps a
/// record at most an eighth longer. 3 h for a day, 12 h for a week, 2 days for a month. Always whole minutes.
pub fn interval_us(retention_us: i64) -> i64 {
    const WIDTHS: [i64; 20] = [
        MINUTE_US,
        2 * MINUTE_US,
        4 * MINUTE_US,
        8 * MINUTE_US,
        15 * MINUTE_US,
        30 * MINUTE_US,
        HOUR_US,
        2 * HOUR_US,
        3 * HOUR_US,
        6 * HOUR_US,
        12 * HOUR_US,
        DAY_US,
        2 * DAY_US,
        4 * DAY_US,
        7 * DAY_US,
        14 * DAY_US,
        28 * DAY_US,
        56 * DAY_US,
        112 * DAY_US,
        224 * DAY_US,
    ];
    let fits = |width: &&i64| **width <= retention_us / LEAVES_MIN;
    WIDTHS.iter().rev().find(fits).copied().unwrap_or(MINUTE_US)
}

/// How far ahead of now leaves are made for a class that gets records: 6 hours, but at most 4 intervals. So long can the operator
/// be away before the sealer has to carry records over.
pub fn ahead_us(interval_us: i64) -> i64 {
    (6 * HOUR_US).min(4 * interval_us)
}

/// The leaf's bounds that a record of this time asks for in a class of this retention.
pub fn bucket_us(retention_us: i64, time_us: i64) -> (i64, i64) {
    let interval_us = interval_us(retention_us);
    let from_us = align_down(time_us, interval_us);
    (from_us, from_us.saturating_add(interval_us))
}

/// Tables of leaves and classes that a server with this many entries in its lock table bears: a session that touches them all (`pg_dump`)
/// takes a third of it.
pub fn tables_max(lock_slots: i64) -> usize {
    usize::try_from(lock_slots / 3).unwrap_or(0)
}

/// Leaves that one round of sealing fills: each costs six locks until the round ends (its table, its out-of-line storage, their
/// indexes).
pub fn leaves_per_round_max(lock_slots: i64) -> usize {
    usize::try_from(lock_slots / 16).unwrap_or(0).max(16)
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
            (HOUR_US, 4 * MINUTE_US),
            (12 * HOUR_US, HOUR_US),
            (DAY_US, 3 * HOUR_US),
            (7 * DAY_US, 12 * HOUR_US),
            (14 * DAY_US, DAY_US),
            (30 * DAY_US, 2 * DAY_US),
            (90 * DAY_US, 7 * DAY_US),
            (365 * DAY_US, 28 * DAY_US),
            (3650 * DAY_US, 224 * DAY_US),
        ];
        for (retention, interval) in rows {
            assert_eq!(interval_us(retention), interval, "retention of {} min", retention / MINUTE_US);
        }
    }

    #[test]
    fn a_class_has_few_leaves() {
        for minutes in (8..60 * 24 * 40).chain((40 * 24 * 60..3650 * 24 * 60).step_by(61)) {
            let retention = minutes * MINUTE_US;
            let leaves = (retention + interval_us(retention) - 1) / interval_us(retention);
            assert!((8..=17).contains(&leaves), "{minutes} min: {leaves} leaves");
        }
    }

    #[test]
    fn at_most_four_leaves_are_ahead_and_always_one_in_time() {
        for minutes in 1..60 * 24 * 40 {
            let interval = interval_us(minutes * MINUTE_US);
            assert!(ahead_us(interval) <= 4 * interval);
            assert!(ahead_us(interval) >= interval.min(HOUR_US));
        }
    }

    #[test]
    fn a_bucket_holds_the_time_that_asks_for_it() {
        for (retention, time) in [(DAY_US, 0), (DAY_US, -1), (30 * DAY_US, 1_795_003_200_123_456), (1, 59)] {
            let (from, to) = bucket_us(retention, time);
            assert!(from <= time && time < to && to - from == interval_us(retention));
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
