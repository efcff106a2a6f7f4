//! Formats times as RFC 3339 by hand: a record's time costs one reading of the clock and a few digits.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many digits a second's fraction has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    Milli,
    Micro,
}

const SECOND_BYTES: usize = 19;

thread_local! {
    /// The second that was written last.
    static LAST: Cell<(u64, [u8; SECOND_BYTES])> = const { Cell::new((u64::MAX, [0; SECOND_BYTES])) };
}

/// Since 1970; a clock before that counts as 1970.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Writes `2025-12-30T15:30:45.123Z`, in UTC.
pub fn write(out: &mut Vec<u8>, time: Duration, digits: Digits) {
    let seconds = time.as_secs();
    let (known, mut text) = LAST.get();
    if known != seconds {
        text = second(seconds);
        LAST.set((seconds, text));
    }
    out.extend_from_slice(&text);
    let (mut fraction, width) = match digits {
        Digits::Milli => (time.subsec_millis(), 3),
        Digits::Micro => (time.subsec_micros(), 6),
    };
    let mut end = *b".000000Z";
    for at in (1..=width).rev() {
        end[at] = b'0' + (fraction % 10) as u8;
        fraction /= 10;
    }
    end[width + 1] = b'Z';
    out.extend_from_slice(&end[..width + 2]);
}

fn second(seconds: u64) -> [u8; SECOND_BYTES] {
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let mut text = *b"0000-00-00T00:00:00";
    put(&mut text[..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], of_day / 3_600);
    put(&mut text[14..16], of_day / 60 % 60);
    put(&mut text[17..19], of_day % 60);
    text
}

fn put(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// `20251230-154522`, as the names of rotated files have it.
pub fn compact(time: Duration) -> String {
    let text = second(time.as_secs());
    let digits = |range: std::ops::Range<usize>| String::from_utf8_lossy(&text[range]).into_owned();
    [
        digits(0..4),
        digits(5..7),
        digits(8..10),
        "-".to_owned(),
        digits(11..13),
        digits(14..16),
        digits(17..19),
    ]
    .concat()
}

/// Year, month and day of a day since 1970, by the civil calendar (Howard Hinnant's algorithm).
fn date(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_the_calendar_has_them() {
        let rows = [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000001Z"),
            (1_767_108_645, 123_456, "2025-12-30T15:30:45.123456Z"),
            (4_107_542_399, 999_999, "2100-02-28T23:59:59.999999Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ];
        for (seconds, micros, expected) in rows {
            let time = Duration::from_secs(seconds) + Duration::from_micros(micros);
            let mut out = Vec::new();
            write(&mut out, time, Digits::Micro);
            assert_eq!(String::from_utf8_lossy(&out), expected);
            out.clear();
            write(&mut out, time, Digits::Milli);
            assert_eq!(String::from_utf8_lossy(&out), format!("{}Z", &expected[..23]));
        }
        assert_eq!(compact(Duration::from_secs(1_767_109_522)), "20251230-154522");
    }
}
