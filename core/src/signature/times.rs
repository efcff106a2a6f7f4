//! Dates, times of day and durations, at the beginning of a text: how many bytes they take.

/// `2026-11-29`, `2026/11/29`, `29/Nov/2026`, `20:15:07.123`, and a date with a time behind `T`, `t`, `-`, `:` or `_`; with its zone.
pub fn time(text: &[u8]) -> Option<usize> {
    let Some(mut end) = date(text) else { return clock(text).map(|end| end + zone(&text[end..])) };
    if let Some(b'T' | b't' | b'-' | b':' | b'_') = text.get(end)
        && let Some(clock) = clock(&text[end + 1..])
    {
        end += 1 + clock;
        end += zone(&text[end..]);
    }
    (!text.get(end).is_some_and(u8::is_ascii_alphanumeric)).then_some(end)
}

fn digits(text: &[u8], at: usize) -> usize {
    text.iter().skip(at).take(20).take_while(|byte| byte.is_ascii_digit()).count()
}

fn date(text: &[u8]) -> Option<usize> {
    match digits(text, 0) {
        4 => {
            let separator = *text.get(4).filter(|byte| matches!(byte, b'-' | b'/' | b'.'))?;
            let month = digits(text, 5);
            let day_at = 6 + month;
            let day = digits(text, day_at);
            (matches!(month, 1..=2) && text.get(5 + month) == Some(&separator) && matches!(day, 1..=2))
                .then_some(day_at + day)
        }
        day @ 1..=2 => {
            let separator = *text.get(day).filter(|byte| matches!(byte, b'-' | b'/'))?;
            let name = text.get(day + 1..day + 4)?;
            let year = digits(text, day + 5);
            (is_month(name) && text.get(day + 4) == Some(&separator) && year == 4).then_some(day + 9)
        }
        _ => None,
    }
}

/// `20:15`, `20:15:07`, `20:15:07.123`, `20:15:07,123`.
fn clock(text: &[u8]) -> Option<usize> {
    if !matches!(digits(text, 0), 1..=2) {
        return None;
    }
    let hours = digits(text, 0);
    if text.get(hours) != Some(&b':') || digits(text, hours + 1) != 2 {
        return None;
    }
    let minutes = hours + 3;
    if text.get(minutes) != Some(&b':') || digits(text, minutes + 1) != 2 {
        return (hours == 2 && !matches!(text.get(minutes), Some(b':' | b'.'))).then_some(minutes);
    }
    let seconds = minutes + 3;
    let fraction = match text.get(seconds) {
        Some(b'.' | b',') => digits(text, seconds + 1),
        _ => 0,
    };
    Some(if fraction == 0 { seconds } else { seconds + 1 + fraction })
}

/// `Z`, `+01:00`, `+0100`.
fn zone(text: &[u8]) -> usize {
    match text.first() {
        Some(b'Z' | b'z') => 1,
        Some(b'+' | b'-') => match (digits(text, 1), text.get(3), digits(text, 4)) {
            (2, Some(b':'), 2) => 6,
            (4, _, _) => 5,
            _ => 0,
        },
        _ => 0,
    }
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

fn is_month(text: &[u8]) -> bool {
    MONTHS.iter().any(|month| text == *month)
}

/// `Nov`, `Sun`.
pub fn is_date_name(word: &[u8]) -> bool {
    is_month(word) || DAYS.iter().any(|day| word == *day)
}

/// `Nov 29`, `Sun Nov 29`, `Sun, 29 Nov 2026`: the day's and the month's name with a number beside them.
pub fn named_date(text: &[u8]) -> Option<usize> {
    let name = text.get(..3)?;
    let after = skip(text, 3);
    if is_month(name) {
        let day = digits(text, after);
        let end = after + day;
        let whole =
            !text.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.'));
        return (after > 3 && matches!(day, 1..=2) && whole).then_some(end);
    }
    if !DAYS.iter().any(|day| name == *day) || after == 3 {
        return None;
    }
    let rest = &text[after..];
    if rest.get(..3).is_some_and(is_month) {
        return named_date(rest).map(|end| after + end);
    }
    let day = digits(rest, 0);
    let month = skip(rest, day);
    let year = skip(rest, month + 3);
    (matches!(day, 1..=2) && rest.get(month..month + 3).is_some_and(is_month) && digits(rest, year) == 4)
        .then_some(after + year + 4)
}

/// Past a comma, a dash and a few blanks.
fn skip(text: &[u8], at: usize) -> usize {
    let gap = text.iter().skip(at).take(3).take_while(|byte| matches!(byte, b' ' | b',' | b'-')).count();
    at + gap
}

/// Units of time that follow a number, with or without a blank between them.
pub fn is_duration_unit(word: &[u8]) -> bool {
    const UNITS: [&str; 31] = [
        "ns",
        "us",
        "µs",
        "μs",
        "ms",
        "s",
        "m",
        "h",
        "d",
        "sec",
        "secs",
        "second",
        "seconds",
        "min",
        "mins",
        "minute",
        "minutes",
        "hour",
        "hours",
        "day",
        "days",
        "msec",
        "msecs",
        "millis",
        "millisecond",
        "milliseconds",
        "nanos",
        "nanoseconds",
        "micros",
        "microseconds",
        "hrs",
    ];
    word.len() <= 12 && UNITS.iter().any(|unit| unit.as_bytes() == word)
}

/// Units of size that follow a number, with or without a blank between them.
pub fn is_size_unit(word: &[u8]) -> bool {
    const UNITS: [&str; 27] = [
        "B", "b", "k", "K", "M", "G", "T", "kB", "KB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB",
        "PiB", "Ki", "Mi", "Gi", "Ti", "kb", "mb", "gb", "byte", "bytes",
    ];
    word.len() <= 5 && UNITS.iter().any(|unit| unit.as_bytes() == word)
}

#[cfg(test)]
mod tests {
    use super::{named_date, time};

    #[test]
    fn what_is_a_time_and_how_long_it_is() {
        for (text, end) in [
            ("2026-11-29", Some(10)),
            ("2026/1/2 x", Some(8)),
            ("2026-11-29T01:02:03.123456Z", Some(27)),
            ("2026-11-29t01:02:03+01:00", Some(25)),
            ("29/Nov/2026:10:00:00", Some(20)),
            ("01:04:49,767", Some(12)),
            ("01:04", Some(5)),
            ("1:2", None),
            ("12:34:5", None),
            ("2026-11-291", None),
            ("1.2.3", None),
        ] {
            assert_eq!(time(text.as_bytes()), end, "{text}");
        }
        for (text, end) in [
            ("Nov 29 x", Some(6)),
            ("Nov  2", Some(6)),
            ("Sun Nov 29 01:09", Some(10)),
            ("Sun, 29 Nov 2026", Some(16)),
            ("Mar", None),
            ("Sun rises", None),
            ("May 5000", None),
        ] {
            assert_eq!(named_date(text.as_bytes()), end, "{text}");
        }
    }
}
