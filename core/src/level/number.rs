//! Maps a number to a level, by the convention of the field that it stands in.

use super::Level;

impl Level {
    /// From the number in a field that is called `level` and the like: the tens of pino and bunyan (10 TRACE .. 60 FATAL,
    /// custom levels between them count as the one below), the hundreds of Monolog (100 DEBUG .. 600 EMERGENCY) and of
    /// java.util.logging (700 CONFIG .. 1000 SEVERE), the thousands of Logback (5000 TRACE .. 50000). Numbers under 10 mean
    /// a different thing in every logger, so they are no level.
    pub fn from_number(number: i64) -> Option<Level> {
        Some(match number {
            10..=19 | 5_000 => Level::Trace,
            20..=29 | 100 | 10_000 => Level::Debug,
            30..=39 | 200..=299 | 700 | 800 | 20_000 => Level::Info,
            40..=49 | 300..=399 | 900 | 30_000 => Level::Warn,
            50..=99 | 400..=600 | 1_000 | 40_000 | 50_000 => Level::Error,
            _ => return None,
        })
    }

    /// From the number in `severity`: Google's hundreds (100 DEBUG .. 800 EMERGENCY), else as [`Level::from_number`].
    pub fn from_severity(number: i64) -> Option<Level> {
        Some(match number {
            100 => Level::Debug,
            200 | 300 => Level::Info,
            400 => Level::Warn,
            500 | 600 | 700 | 800 => Level::Error,
            number => return Level::from_number(number),
        })
    }

    /// From the number in Python's `levelno`: 10 DEBUG .. 50 CRITICAL.
    pub fn from_python(number: i64) -> Option<Level> {
        Some(match number {
            1..=9 => Level::Trace,
            10..=19 => Level::Debug,
            20..=29 => Level::Info,
            30..=39 => Level::Warn,
            40..=100 => Level::Error,
            _ => return None,
        })
    }

    /// From syslog's severity (RFC 5424, table 2): 0 emergency .. 7 debug.
    pub fn from_syslog(number: i64) -> Option<Level> {
        Some(match number {
            0..=3 => Level::Error,
            4 => Level::Warn,
            5 | 6 => Level::Info,
            7 => Level::Debug,
            _ => return None,
        })
    }

    /// OpenTelemetry's `SeverityNumber` for this level (the first of its four).
    pub fn otel_severity(self) -> i32 {
        match self {
            Level::Trace => 1,
            Level::Debug => 5,
            Level::Info => 9,
            Level::Warn => 13,
            Level::Error => 17,
        }
    }

    /// From OpenTelemetry's `SeverityNumber` (1-24; FATAL is ERROR). `None` for 0 (unspecified) and anything else.
    pub fn from_otel_severity(number: i32) -> Option<Level> {
        Some(match number {
            1..=4 => Level::Trace,
            5..=8 => Level::Debug,
            9..=12 => Level::Info,
            13..=16 => Level::Warn,
            17..=24 => Level::Error,
            _ => return None,
        })
    }
}
