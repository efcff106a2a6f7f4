use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::fields::quick;
use crate::level::Level;

const TIME: &str = "2026-11-21T02:24:31.123456789Z";
const TIME_NS: i64 = 1_795_227_871_123_456_789;

fn full(io: OutputStream, partial: bool, content: &[u8]) -> Result<CriLine<'_>, CriError> {
    Ok(CriLine { time_ns: TIME_NS, io, partial, content })
}

#[test]
fn lines_as_runtimes_write_them() {
    use OutputStream::*;
    let rows: &[(&[u8], OutputStream, bool, &[u8])] = &[
        (b" stdout F hello", Stdout, false, b"hello"),
        (b" stderr P half", Stderr, true, b"half"),
        (b" stdout F ", Stdout, false, b""),
        (b" stdout F", Stdout, false, b""),
        (b" stdout P", Stdout, true, b""),
        (b" stdout P:x half", Stdout, true, b"half"),
        (b" stdout F:a:b whole", Stdout, false, b"whole"),
        (b" stdout F: whole", Stdout, false, b"whole"),
        (b" stdout P:x", Stdout, true, b""),
        // What follows the tag's blank is the application's: blanks, CR, NUL, colours, broken UTF-8.
        (b" stdout F   two blanks more ", Stdout, false, b"  two blanks more "),
        (b" stdout F line\r", Stdout, false, b"line\r"),
        (b" stdout F a\0b", Stdout, false, b"a\0b"),
        (b" stdout F \xff\xfe", Stdout, false, b"\xff\xfe"),
        (b" stdout F \xc3", Stdout, false, b"\xc3"),
        (b" stdout F 2026-11-21T02:24:31Z stdout F x", Stdout, false, b"2026-11-21T02:24:31Z stdout F x"),
    ];
    for (rest, io, partial, content) in rows {
        let line = [TIME.as_bytes(), rest].concat();
        assert_eq!(parse(&line), full(*io, *partial, content), "{}", String::from_utf8_lossy(&line));
    }
}

#[test]
fn lines_that_are_none() {
    use CriError::*;
    let after_time: &[(&[u8], CriError)] = &[
        (b"", Time),
        (b" ", Stream),
        (b"  stdout F x", Stream),
        (b" stdfoo F x", Stream),
        (b" stdout", Stream),
        (b" STDOUT F x", Stream),
        (b" stdoutF x", Stream),
        (b" stdout ", Tag),
        (b" stdout hello world", Tag),
        (b" stdout Full x", Tag),
        (b" stdout f x", Tag),
        (b" stdout F\r", Tag),
        (b" stdout :P x", Tag),
        (b"\tstdout F x", Time),
    ];
    for (rest, error) in after_time {
        let line = [TIME.as_bytes(), rest].concat();
        assert_eq!(parse(&line), Err(*error), "{}", String::from_utf8_lossy(&line));
    }
    assert_eq!(parse(b""), Err(Empty));
    for line in [
        "\r",
        "\0",
        " ",
        "hello",
        "F x",
        "stdout F x",
        "2026 stdout F x",
        "2026-11-21 stdout F x",
        "0000-01-01T00:00:00Z stdout F x",
        "9999-12-31T23:59:59Z stdout F x",
        "2026-13-01T00:00:00Z stdout F x",
        "2026-02-29T00:00:00Z stdout F x",
        "2026-11-21T24:00:00Z stdout F x",
        "2026-11-21T02:24:60Z stdout F x",
        "2026-11-21T02:24:31. stdout F x",
        "2026-11-21T02:24:31.Z stdout F x",
        "2026-11-21T02:24:31.1234567890Z stdout F x",
        "2026-11-21T02:24:31.12x456789Z stdout F x",
        "2026-11-21T02:24:31 stdout F x",
        "2026-11-21t02:24:31Z stdout F x",
        "2026-11-21T02:24:31z stdout F x",
        "2026-11-21T02:24:31+1:00 stdout F x",
        "2026-11-21T02:24:31+24:00 stdout F x",
        "-026-11-21T02:24:31Z stdout F x",
        "{\"log\":\"docker\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T02:24:31Z\"}",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Time), "{line}");
    }
}

#[test]
fn times() {
    for (text, time_ns) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
        ("2026-11-21T02:24:31.123456789Z", TIME_NS),
        ("2026-11-21T03:24:31.123456789+01:00", TIME_NS),
        ("2026-11-20T20:54:31.123456789-05:30", TIME_NS),
        ("2026-11-21T02:24:31Z", TIME_NS - 123_456_789),
        ("2026-11-21T02:24:31.12Z", TIME_NS - 3_456_789),
        ("2000-02-29T00:00:00-00:00", 951_782_400_000_000_000),
        ("2262-04-11T23:47:16.854775807Z", i64::MAX),
        ("1677-09-21T00:12:44Z", -9_223_372_036_000_000_000),
    ] {
        assert_eq!(parse_time(text.as_bytes()), Some(time_ns), "{text}");
    }
    for text in ["2262-04-11T23:47:16.854775808Z", "1677-09-21T00:12:43Z", "2026-11-21T02:24:31Z ", ""] {
        assert_eq!(parse_time(text.as_bytes()), None, "{text}");
    }
}

/// What jiff makes of a text, with what CRI does not allow taken away.
fn by_jiff(text: &str) -> Option<i64> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(timestamp.as_nanosecond()).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_time_is_what_jiff_says(
        time_ns in any::<i64>(), digits in 0usize..10, offset_minutes in -23 * 60 - 59i32..=23 * 60 + 59, zulu in any::<bool>(),
    ) {
        let step = 10i64.pow(9 - digits as u32);
        // Half of the range, so that no rounding and no offset leaves it.
        let time_ns = (time_ns / 2).div_euclid(step) * step;
        let timestamp = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap();
        let text = if zulu {
            format!("{timestamp:.digits$}")
        } else {
            let offset = jiff::tz::Offset::from_seconds(offset_minutes * 60).unwrap();
            let civil = offset.to_datetime(timestamp);
            let sign = if offset_minutes < 0 { '-' } else { '+' };
            let minutes = offset_minutes.abs();
            format!("{civil:.digits$}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        };
        prop_assert_eq!(parse_time(text.as_bytes()), Some(time_ns), "{}", text);
        prop_assert_eq!(by_jiff(&text), Some(time_ns), "{}", text);
    }

    #[test]
    fn what_is_taken_for_a_time_is_one_to_jiff(
        at in 0usize..30, byte in "[0-9TZ:.+-]", time_ns in 0i64..4_000_000_000_000_000_000,
    ) {
        let timestamp = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap();
        let mut text = format!("{timestamp:.9}");
        text.replace_range(at..=at, &byte);
        if let Some(read) = parse_time(text.as_bytes()) {
            prop_assert_eq!(Some(read), by_jiff(&text), "{}", text);
        }
    }

    #[test]
    fn what_is_written_is_read(
        time_ns in any::<i64>(), stderr in any::<bool>(), partial in any::<bool>(), tags in "(:[a-z]{0,3}){0,2}",
        content in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let io = if stderr { OutputStream::Stderr } else { OutputStream::Stdout };
        let time_ns = time_ns / 2;
        let timestamp = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap();
        let tag = if partial { "P" } else { "F" };
        let mut line = format!("{timestamp:.9} {} {tag}{tags} ", io.as_str()).into_bytes();
        line.extend_from_slice(&content);
        prop_assert_eq!(parse(&line), Ok(CriLine { time_ns, io, partial, content: &content }));
    }

    #[test]
    fn any_bytes_are_a_line_or_an_error(line in prop::collection::vec(any::<u8>(), 0..80), cut in 0usize..40) {
        let _ = parse(&line);
        let nearly = [&TIME.as_bytes()[..cut.min(TIME.len())], &line].concat();
        let _ = parse(&nearly);
    }
}

/// One parsed part is enough for the agent to go on: content is borrowed from the line.
#[test]
fn content_is_not_copied() {
    let line = [TIME.as_bytes(), b" stdout F {\"level\":\"warn\"}"].concat();
    let parsed = parse(&line).unwrap();
    assert!(line.as_ptr_range().contains(&parsed.content.as_ptr()));
    assert_eq!(quick(parsed.content).level, Level::Warn);
    let mut join = crate::join::Join::new();
    let joined = join.push(parsed.io, parsed.partial, parsed.time_ns, parsed.content, 0, 10).unwrap();
    assert!(matches!(joined.content, Cow::Borrowed(_)));
}
