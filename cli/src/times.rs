//! Points in time as people type them: `15m`, `1h30m`, `7d` (ago), `now`, `2026-11-21`, `2026-11-21 06:00`, RFC 3339.

use cordwood_core::retention::duration;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Kept as typed until the clock is read once for the whole command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    Now,
    Ago(SignedDuration),
    At(Timestamp),
    /// Without a zone: in the zone that times are shown in.
    Civil(DateTime),
}

impl When {
    /// Microseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the point lies outside of what a timestamp can hold.
    pub fn resolve_us(&self, now_us: i64, zone: &TimeZone) -> Result<i64, jiff::Error> {
        Ok(match self {
            When::Now => now_us,
            When::Ago(duration) => {
                let duration_us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
                now_us.saturating_sub(duration_us)
            }
            When::At(time) => time.as_microsecond(),
            When::Civil(time) => time.to_zoned(zone.clone())?.timestamp().as_microsecond(),
        })
    }
}

/// For clap.
///
/// # Errors
/// A message with examples.
pub fn parse(text: &str) -> Result<When, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(When::Now);
    }
    if let Some(duration) = parse_duration(text) {
        return Ok(When::Ago(duration));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(When::At(time));
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return Ok(When::Civil(time));
    }
    if let Ok(date) = text.parse::<Date>() {
        return Ok(When::Civil(date.at(0, 0, 0, 0)));
    }
    Err("not a time; examples: 15m, 1h30m, 7d (ago), now, 2026-11-21, '2026-11-21 06:00', 2026-11-21T06:00:00Z".to_owned())
}

/// As [`parse`], and `+7d` is 7 days from now.
///
/// # Errors
/// A message with examples.
pub fn parse_future(text: &str) -> Result<When, String> {
    match text.trim().strip_prefix('+') {
        Some(duration) => parse_duration(duration)
            .map(|duration| When::Ago(-duration))
            .ok_or_else(|| "not a duration; examples: +30m, +1h30m, +7d".to_owned()),
        None => parse(text),
    }
}

/// As in a policy: `1h30m`.
fn parse_duration(text: &str) -> Option<SignedDuration> {
    duration::parse(text).ok().map(SignedDuration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_type_them() {
        let now_us = 1_800_000_000_000_000;
        let utc = TimeZone::UTC;
        let cases = [
            ("now", Some(now_us)),
            ("15m", Some(now_us - 900_000_000)),
            ("1h30m", Some(now_us - 5_400_000_000)),
            ("7d", Some(now_us - 604_800_000_000)),
            ("2026-11-21", Some(1_795_219_200_000_000)),
            ("2026-11-21 06:00", Some(1_795_240_800_000_000)),
            ("2026-11-21T06:00:00Z", Some(1_795_240_800_000_000)),
            ("2026-11-21T06:00:00+01:00", Some(1_795_237_200_000_000)),
            ("30m1h", None),
            ("5", None),
            ("yesterday", None),
            ("", None),
            ("99999999999999999999d", None),
        ];
        for (text, expected) in cases {
            let found = parse(text).ok().map(|when| when.resolve_us(now_us, &utc).unwrap());
            assert_eq!(found, expected, "{text}");
        }
    }
}
