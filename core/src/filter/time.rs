//! Times in expressions: a moment, or the day, hour, minute or second that is written.

use jiff::{Timestamp, civil, tz::TimeZone};

const SECOND_US: i64 = 1_000_000;

/// The first and the last microsecond of what is written; without an offset it is UTC.
pub(super) fn range(text: &str) -> Option<(i64, i64)> {
    let text = text.trim();
    if let Ok(date) = text.parse::<civil::Date>()
        && text.len() == "2026-11-21".len()
    {
        return span(date.to_datetime(civil::Time::midnight()), 86_400 * SECOND_US);
    }
    let (_, clock) = text.split_once(['T', 't', ' '])?;
    let offset = clock.find(['Z', 'z', '+', '-']);
    let digits = &clock[..offset.unwrap_or(clock.len())];
    let width_us = match (digits.len(), digits.split_once('.')) {
        (_, Some((_, fraction))) => 10i64.pow(6u32.saturating_sub(fraction.len() as u32)),
        (8, None) => SECOND_US,
        (5, None) => 60 * SECOND_US,
        (2, None) => 3_600 * SECOND_US,
        _ => return None,
    };
    if offset.is_some() {
        let whole = if digits.len() == 5 {
            text.replacen(digits, &format!("{digits}:00"), 1)
        } else {
            text.to_owned()
        };
        let first_us = whole.parse::<Timestamp>().ok()?.as_microsecond();
        return Some((first_us, first_us + width_us - 1));
    }
    span(text.parse::<civil::DateTime>().ok()?, width_us)
}

fn span(from: civil::DateTime, width_us: i64) -> Option<(i64, i64)> {
    let first_us = from.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond();
    Some((first_us, first_us + width_us - 1))
}
