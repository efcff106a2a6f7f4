//! Durations as Prometheus writes them: `30d`, `1h30m`, `500ms`; in microseconds here.

/// Each unit with its microseconds, largest first; the order in which they must be written.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000_000),
    ("w", 7 * 86_400_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
];

/// What is wrong with a duration; the message says how one is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error(
        "duration {0:?}: write numbers with units from the largest to the smallest, such as 30d, 1h30m or 90s"
    )]
    Form(String),
    #[error("duration {0:?} is too long: at most 200y")]
    TooLong(String),
}

/// 200 years, the longest that is accepted.
pub const DURATION_US_MAX: i64 = 200 * 365 * 86_400_000_000;

/// Microseconds of `text`; each unit at most once, largest first, whole numbers, no sign. `0s` is 0, `` and `5` are errors.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let form = || DurationError::Form(text.to_owned());
    let mut rest = text;
    let mut total: i64 = 0;
    let mut next_unit = 0;
    if rest.is_empty() {
        return Err(form());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let place =
            UNITS[next_unit..].iter().position(|(name, _)| *name == unit).ok_or_else(form)? + next_unit;
        if number.is_empty() {
            return Err(form());
        }
        let part = number.parse::<i64>().ok().and_then(|n| n.checked_mul(UNITS[place].1));
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= DURATION_US_MAX)
            .ok_or_else(|| DurationError::TooLong(text.to_owned()))?;
        next_unit = place + 1;
        rest = tail;
    }
    Ok(total)
}

/// The shortest writing with days as the largest unit: `30d`, `1h30m`, `0s`. Exact down to a millisecond.
pub fn print(duration_us: i64) -> String {
    let mut rest = duration_us.unsigned_abs();
    let mut text = if duration_us < 0 { String::from("-") } else { String::new() };
    for (unit, unit_us) in &UNITS[2..] {
        let count = rest / unit_us.unsigned_abs();
        rest %= unit_us.unsigned_abs();
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() || text == "-" { "0s".to_owned() } else { text }
}

/// RFC 3339 in UTC, whole seconds (or with a fraction where there is one).
pub fn time(time_us: i64) -> String {
    match jiff::Timestamp::from_microsecond(time_us) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{time_us}us"),
    }
}

/// Bytes for people: `12 KiB`, `3.4 GiB`.
pub fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_prometheus_parses() {
        for (text, us) in [
            ("30d", 30 * 86_400_000_000),
            ("1h30m", 5_400_000_000),
            ("1y2w", (365 + 14) * 86_400_000_000),
            ("90s", 90_000_000),
            ("1500ms", 1_500_000),
            ("0s", 0),
            ("200y", DURATION_US_MAX),
        ] {
            assert_eq!(parse(text), Ok(us), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in
            ["", "5", "d", "-1d", "1.5h", "1m1h", "1h1h", "1 d", "1D", "30days", "1d;DROP", "d1", "１d"]
        {
            assert!(matches!(parse(text), Err(DurationError::Form(_))), "{text}: {:?}", parse(text));
        }
        for text in ["201y", "99999999999999999999d", "9223372036854775807y", "200y1ms"] {
            assert!(matches!(parse(text), Err(DurationError::TooLong(_))), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn prints_what_it_parses() {
        for text in ["30d", "1h30m", "90d", "1d12h", "1m30s", "250ms", "0s"] {
            assert_eq!(print(parse(text).unwrap()), text);
        }
        assert_eq!(print(parse("1w").unwrap()), "7d");
    }

    proptest::proptest! {
        #[test]
        fn parse_of_print_is_the_same(ms in 0..DURATION_US_MAX / 1000) {
            proptest::prop_assert_eq!(parse(&print(ms * 1000)), Ok(ms * 1000));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,20}") {
            let _ = parse(&text);
        }
    }
}
