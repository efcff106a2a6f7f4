//! Parses Docker's json-file log line: `{"log":"text\n","stream":"stdout","time":"..."}`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::cri::parse_time;
use crate::identity::OutputStream;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerLine<'a> {
    /// Nanoseconds since the Unix epoch, UTC.
    pub time_ns: i64,
    pub io: OutputStream,
    /// The text has no newline at its end: it goes on in the stream's next line (Docker cuts at 16 KiB).
    pub partial: bool,
    pub content: Cow<'a, [u8]>,
}

#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    #[error("parse docker log line: {0}")]
    Json(#[from] serde_json::Error),
    #[error("parse docker log line: the time is not RFC 3339, or lies outside of 1678 to 2261")]
    Time,
    #[error("parse docker log line: the stream is neither stdout nor stderr")]
    Stream,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// `line` is without its `\n`. Docker writes invalid UTF-8 as U+FFFD, so what is read here is what it kept.
pub fn parse(line: &[u8]) -> Result<DockerLine<'_>, DockerError> {
    let Line { log, stream, time } = serde_json::from_slice(line)?;
    let time_ns = parse_time(time.as_bytes()).ok_or(DockerError::Time)?;
    let io = match &*stream {
        "stdout" => OutputStream::Stdout,
        "stderr" => OutputStream::Stderr,
        _ => return Err(DockerError::Stream),
    };
    let partial = !log.ends_with('\n');
    let content = match log {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix('\n').unwrap_or(text).as_bytes()),
        Cow::Owned(mut text) => {
            if !partial {
                text.pop();
            }
            Cow::Owned(text.into_bytes())
        }
    };
    Ok(DockerLine { time_ns, io, partial, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(log: &str) -> String {
        format!(r#"{{"log":{log},"stream":"stderr","time":"2026-11-21T02:24:31.5Z"}}"#)
    }

    #[test]
    fn lines_as_docker_writes_them() {
        for (log, partial, content) in [
            (r#""hello\n""#, false, "hello"),
            (r#""hello""#, true, "hello"),
            (r#""""#, true, ""),
            (r#""\n""#, false, ""),
            (r#""a\nb\n\n""#, false, "a\nb\n"),
            (r#""{\"level\":\"warn\"}\r\n""#, false, "{\"level\":\"warn\"}\r"),
            (r#""\u003cb\u003e \u0000 \ufffd\n""#, false, "<b> \0 \u{fffd}"),
        ] {
            let line = line(log);
            let expected = DockerLine {
                time_ns: 1_795_227_871_500_000_000,
                io: OutputStream::Stderr,
                partial,
                content: Cow::Borrowed(content.as_bytes()),
            };
            assert_eq!(parse(line.as_bytes()).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn other_members_are_passed_over() {
        let line = br#"{"log":"x\n","stream":"stdout","attrs":{"tag":"t"},"time":"2026-11-21T02:24:31Z"}"#;
        assert_eq!(parse(line).unwrap().io, OutputStream::Stdout);
    }

    #[test]
    fn lines_that_are_none() {
        for line in [
            "",
            "{}",
            "[]",
            "hello",
            r#"{"log":"x\n","stream":"stdout"}"#,
            r#"{"log":"x\n","stream":"stdfoo","time":"2026-11-21T02:24:31Z"}"#,
            r#"{"log":"x\n","stream":"stdout","time":"9999-11-21T02:24:31Z"}"#,
            r#"{"log":5,"stream":"stdout","time":"2026-11-21T02:24:31Z"}"#,
            r#"{"log":"\ud800","stream":"stdout","time":"2026-11-21T02:24:31Z"}"#,
            r#"{"log":"cut"#,
            "2026-11-21T02:24:31Z stdout F x",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse(&b"[".repeat(100_000)).is_err());
        assert!(parse(b"{\"log\":\"\xff\"}").is_err());
    }
}
