//! Parses the container runtime's log line: `<time> <stdout|stderr> <P|F>[:more tags] <content>`, as the kubelet writes and reads
//! it (kubernetes `pkg/kubelet/kuberuntime/logs/logs.go`, `parseCRILog`; containerd `internal/cri/io/logger.go`).
//! A line of another form is an error that says what is wrong; the caller keeps its bytes.

mod time;

use crate::identity::OutputStream;

pub use time::parse_time;
pub(crate) use time::{days_in, days_since_epoch};

/// One physical line. `content` is everything after the tag's blank, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CriLine<'a> {
    /// Nanoseconds since the Unix epoch, UTC.
    pub time_ns: i64,
    pub io: OutputStream,
    /// `P`: the record goes on in the stream's next line.
    pub partial: bool,
    pub content: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CriError {
    #[error("parse container log line: it is empty")]
    Empty,
    #[error("parse container log line: the time is not RFC 3339, or lies outside of 1678 to 2261")]
    Time,
    #[error("parse container log line: the stream is neither stdout nor stderr")]
    Stream,
    #[error("parse container log line: the first tag is neither P nor F")]
    Tag,
}

/// `line` is without its `\n`. A tag without content behind it (`... stdout F`) is an empty record.
pub fn parse(line: &[u8]) -> Result<CriLine<'_>, CriError> {
    if line.is_empty() {
        return Err(CriError::Empty);
    }
    let (time_ns, rest) = time::parse_prefix(line).ok_or(CriError::Time)?;
    let rest = rest.strip_prefix(b" ").ok_or(CriError::Time)?;
    let (io, rest) = match rest.get(..7) {
        Some(b"stdout ") => (OutputStream::Stdout, &rest[7..]),
        Some(b"stderr ") => (OutputStream::Stderr, &rest[7..]),
        _ => return Err(CriError::Stream),
    };
    let (partial, content) = match rest {
        [b'F', b' ', content @ ..] => (false, content),
        [b'P', b' ', content @ ..] => (true, content),
        [b'F'] => (false, &rest[1..]),
        [b'P'] => (true, &rest[1..]),
        [tag @ (b'F' | b'P'), b':', more @ ..] => {
            let blank = memchr::memchr(b' ', more);
            (*tag == b'P', blank.map_or(&more[more.len()..], |at| &more[at + 1..]))
        }
        _ => return Err(CriError::Tag),
    };
    Ok(CriLine { time_ns, io, partial, content })
}

#[cfg(test)]
mod tests;
