//! Reads the time that a line of a plain file names: at its beginning, in an access log's brackets, or in a field of its JSON.
//! Promises: what is no whole time in a known form is none; a time without a zone is in the zone that is given, one without a
//! year in the year that brings it nearest to the reading; nothing is allocated but for escaped JSON.
//!
//! In the hour that a clock change repeats, a time without a zone is the later of the two, unless that lies behind the moment
//! of reading. In the hour that a change leaves out, it is as much later as the change is long.
//!
//! Forms whose day and month cannot be told apart (`11/12/2026`), and times of day alone, are not read.

mod json;
mod text;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::cri::{days_in, days_since_epoch};

const NS: i64 = 1_000_000_000;
/// A time without a year may lie this far after the reading.
const AHEAD_NS_MAX: i64 = 86_400 * NS;
/// February 29 is at most so many years ago.
const YEARS_BACK_MAX: i32 = 8;

/// A date and a time of day as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: Option<i32>,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    fraction_ns: i64,
    /// Seconds east of UTC, if it says so.
    offset_s: Option<i64>,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Nanoseconds since the Unix epoch.
    Epoch(i64),
    Civil(Civil),
}

/// The time of a line (without its newline), in nanoseconds since the Unix epoch. `zone`: of times that name none; UTC when
/// absent. `now_ns`: when the line was read.
pub fn of_line(line: &[u8], zone: Option<&TimeZone>, now_ns: i64) -> Option<i64> {
    let resolve = |said: Said| match said {
        Said::Epoch(time_ns) => Some(time_ns),
        Said::Civil(civil) => civil.resolve(zone, now_ns),
    };
    text::of_text(line).and_then(resolve).or_else(|| json::of_json(line).and_then(resolve))
}

impl Civil {
    fn is_valid(&self) -> bool {
        // (A year that is not told may be a leap year.)
        let days = days_in(self.year.and_then(|year| u32::try_from(year).ok()).unwrap_or(2000), self.month);
        (1..=days).contains(&self.day) && self.hour <= 23 && self.minute <= 59 && self.second <= 60
    }

    fn resolve(&self, zone: Option<&TimeZone>, now_ns: i64) -> Option<i64> {
        if self.year.is_some() {
            return self.in_zone(zone, now_ns);
        }
        let now = Timestamp::from_nanosecond(i128::from(now_ns)).ok()?;
        let this_year = i32::from(zone.unwrap_or(&TimeZone::UTC).to_datetime(now).year());
        // Around the turn of the year the sender's may have changed already.
        (0..=YEARS_BACK_MAX + 1).map(|back| this_year + 1 - back).find_map(|year| {
            let civil = Civil { year: Some(year), ..*self };
            let time_ns = civil.is_valid().then(|| civil.in_zone(zone, now_ns))??;
            (time_ns <= now_ns.saturating_add(AHEAD_NS_MAX)).then_some(time_ns)
        })
    }

    fn in_zone(&self, zone: Option<&TimeZone>, now_ns: i64) -> Option<i64> {
        let year = u32::try_from(self.year?).ok()?;
        let days = days_since_epoch(year, self.month, self.day);
        // (A leap second is the last of its minute.)
        let second = self.second.min(59);
        let local_s = days * 86_400 + i64::from(self.hour * 3600 + self.minute * 60 + second);
        let at = |offset_s: i64| (local_s - offset_s).checked_mul(NS)?.checked_add(self.fraction_ns);
        match (self.offset_s, zone) {
            (Some(offset_s), _) => at(offset_s),
            (None, None) => at(0),
            (None, Some(zone)) => {
                let part = |value: u32| i8::try_from(value).ok();
                let year = i16::try_from(year).ok()?;
                let (month, day) = (part(self.month)?, part(self.day)?);
                let (hour, minute, second) = (part(self.hour)?, part(self.minute)?, part(second)?);
                let local = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
                match zone.to_ambiguous_timestamp(local).offset() {
                    AmbiguousOffset::Unambiguous { offset } => at(i64::from(offset.seconds())),
                    AmbiguousOffset::Gap { before, .. } => at(i64::from(before.seconds())),
                    AmbiguousOffset::Fold { before, after } => {
                        let later = at(i64::from(after.seconds()))?;
                        if later <= now_ns { Some(later) } else { at(i64::from(before.seconds())) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
