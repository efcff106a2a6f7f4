//! Reads points in time: RFC 3339, `now`, or an age (`-15m`).

use cordwood_core::retention::duration;
use jiff::Timestamp;

/// Microseconds since the epoch.
///
/// # Errors
/// What to write.
pub fn parse(text: &str, now_us: i64) -> Result<i64, String> {
    if text == "now" {
        return Ok(now_us);
    }
    if let Some(ago_us) = text.strip_prefix('-').and_then(|ago| duration::parse(ago).ok()) {
        return Ok(now_us.saturating_sub(ago_us));
    }
    text.parse::<Timestamp>().map(Timestamp::as_microsecond).map_err(|_| {
        // A plus sign of an address is a blank.
        let hint = if text.contains(' ') { "; write + as %2B" } else { "" };
        format!(
            "{text:?} is no time: write 2026-11-21T06:00:00Z, now, or -15m, -2h, -7d for so long ago{hint}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_ago() {
        let now_us = 1_800_000_000_000_000;
        for (text, expected) in [
            ("now", Some(now_us)),
            ("-15m", Some(now_us - 900_000_000)),
            ("-7d", Some(now_us - 604_800_000_000)),
            ("2026-11-21T06:00:00Z", Some(1_795_240_800_000_000)),
            ("2026-11-21T06:00:00.000001+01:00", Some(1_795_237_200_000_001)),
            ("15m", None),
            ("2026-11-21", None),
            ("2026-11-21T06:00:00 01:00", None),
            ("1795240800", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(parse(text, now_us).ok(), expected, "{text}");
        }
        assert!(parse("2026-11-21T06:00:00 01:00", 0).unwrap_err().ends_with("%2B"));
    }
}
