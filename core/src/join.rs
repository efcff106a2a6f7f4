//! Joins the parts of a record (`P` .. `F`), separately for stdout and stderr, in whatever order their parts interleave.
//! Promises: a line that is a whole record is passed on without a copy. Unfinished records hold at most [`RECORD_BYTES_MAX`] for each output
//! stream; bytes above it are cut, flagged and counted, never silently.

use std::borrow::Cow;

use crate::identity::OutputStream;
use crate::limits::RECORD_BYTES_MAX;
use crate::record::Flags;

/// One record of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined<'a> {
    pub io: OutputStream,
    /// The first part's time.
    pub time_ns: i64,
    pub content: Cow<'a, [u8]>,
    /// File position of the first part's first byte (in the file where that part lies).
    pub start: u64,
    /// File position just past the last part (in the file where that part lies).
    pub end: u64,
    /// `TRUNCATED` if `bytes_cut > 0`; `INCOMPLETE` if the last part was never seen.
    pub flags: Flags,
    /// Bytes of content that did not fit into [`RECORD_BYTES_MAX`].
    pub bytes_cut: u64,
}

#[derive(Debug)]
struct Pending {
    time_ns: i64,
    content: Vec<u8>,
    start: u64,
    end: u64,
    bytes_cut: u64,
}

impl Pending {
    fn append(&mut self, content: &[u8], end: u64) {
        let room = RECORD_BYTES_MAX - self.content.len();
        let kept = content.len().min(room);
        self.content.extend_from_slice(&content[..kept]);
        self.bytes_cut += (content.len() - kept) as u64;
        self.end = end;
    }

    fn into_joined(self, io: OutputStream, flags: Flags) -> Joined<'static> {
        let flags = if self.bytes_cut > 0 { flags | Flags::TRUNCATED } else { flags };
        Joined {
            io,
            time_ns: self.time_ns,
            content: Cow::Owned(self.content),
            start: self.start,
            end: self.end,
            flags,
            bytes_cut: self.bytes_cut,
        }
    }
}

/// The unfinished records of one container: at most one of stdout and one of stderr.
#[derive(Debug, Default)]
pub struct Join {
    stdout: Option<Pending>,
    stderr: Option<Pending>,
}

impl Join {
    pub fn new() -> Join {
        Join::default()
    }

    /// One parsed line, in file order. `start` and `end` are the file positions of the physical line (its newline
    /// included). Returns the record that this line completes.
    pub fn push<'a>(
        &mut self,
        io: OutputStream,
        partial: bool,
        time_ns: i64,
        content: &'a [u8],
        start: u64,
        end: u64,
    ) -> Option<Joined<'a>> {
        let slot = self.slot(io);
        match (slot.take(), partial) {
            (None, false) => {
                let kept = content.len().min(RECORD_BYTES_MAX);
                let bytes_cut = (content.len() - kept) as u64;
                let flags = if bytes_cut > 0 { Flags::TRUNCATED } else { Flags::default() };
                let content = Cow::Borrowed(&content[..kept]);
                Some(Joined { io, time_ns, content, start, end, flags, bytes_cut })
            }
            (None, true) => {
                let mut pending = Pending { time_ns, content: Vec::new(), start, end, bytes_cut: 0 };
                pending.append(content, end);
                *slot = Some(pending);
                None
            }
            (Some(mut pending), partial) => {
                pending.append(content, end);
                if partial {
                    *slot = Some(pending);
                    return None;
                }
                Some(pending.into_joined(io, Flags::default()))
            }
        }
    }

    /// The unfinished record of `io` as it is, flagged `INCOMPLETE`: its end will not come.
    pub fn flush(&mut self, io: OutputStream) -> Option<Joined<'static>> {
        Some(self.slot(io).take()?.into_joined(io, Flags::INCOMPLETE))
    }

    /// Another record of this output has ended at `end`: if the unfinished one never ends, its place is behind that one.
    pub fn passed(&mut self, io: OutputStream, end: u64) {
        if let Some(pending) = self.slot(io) {
            pending.end = pending.end.max(end + 1);
        }
    }

    /// The start of the unfinished record of `io`: a checkpoint must not pass it.
    pub fn pending_start(&self, io: OutputStream) -> Option<u64> {
        match io {
            OutputStream::Stdout => self.stdout.as_ref(),
            OutputStream::Stderr => self.stderr.as_ref(),
        }
        .map(|pending| pending.start)
    }

    /// Whether one of them holds [`RECORD_BYTES_MAX`].
    pub fn is_full(&self) -> bool {
        [&self.stdout, &self.stderr]
            .into_iter()
            .flatten()
            .any(|pending| pending.content.len() >= RECORD_BYTES_MAX)
    }

    /// Bytes of content that are held.
    pub fn pending_bytes(&self) -> usize {
        [&self.stdout, &self.stderr].into_iter().flatten().map(|pending| pending.content.len()).sum()
    }

    fn slot(&mut self, io: OutputStream) -> &mut Option<Pending> {
        match io {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }
}

#[cfg(test)]
mod tests;
