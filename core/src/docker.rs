//! Docker's json-file log line: `{"log":"text\n","stream":"stdout","time":"..."}`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::cri::parse_time;
use crate::identity::Io;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerLine<'a> {
    /// Nanoseconds since the Unix epoch, UTC.
    pub time_ns: i64,
    pub io: Io,
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
        "stdout" => Io::Stdout,
        "stderr" => Io::Stderr,
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
