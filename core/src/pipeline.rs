//! The pipeline: a line's way through the agent. Read it as a table of contents. Bytes of a file go in, records and counts come out, in order.
//! Promises: any split of the bytes into chunks gives the same records; every byte belongs to exactly one outcome; a
//! line that is not what the file's format says is a record of its own, flagged, and its neighbours are untouched.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use memchr::memchr;

use crate::audit::AuditTrust;
use crate::gate::{Decision, Gate, Look};
use crate::identity::OutputStream;
use crate::join::{Join, Joined};
use crate::level::Level;
use crate::limits::{HOLE_BYTES_MIN, RECORD_BYTES_MAX};
use crate::record::Flags;
use crate::{cri, docker, fields, line_time};

/// What the lines of a file look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Cri,
    Docker,
    /// Each line is a record, all of them stdout; its time is what it says itself ([`crate::line_time`]), else the time of
    /// reading.
    Plain,
}

impl Format {
    /// A container's file: Docker's lines are JSON objects, the others' begin with a time.
    pub fn of_container_file(first_byte: u8) -> Format {
        if first_byte == b'{' { Format::Docker } else { Format::Cri }
    }
}

/// What is the same for all lines of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    pub format: Format,
    pub gate: &'a Gate,
    /// Whether its lines are believed when they call themselves audit records.
    pub audit: &'a AuditTrust,
    /// Of times in plain files that name no zone; UTC when absent.
    pub zone: Option<&'a TimeZone>,
    /// Nanoseconds since the Unix epoch, UTC: when the chunk was read.
    pub time_ns: i64,
}

/// Where a record lies. `start` belongs to the file where its first part lies, `end` to the file where its last one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub io: OutputStream,
    pub start: u64,
    pub end: u64,
    /// Bytes of all its lines as they lie in the files, newlines included.
    pub bytes: u64,
    /// Its first part lies in an earlier file than its last one.
    pub carried: bool,
}

/// A record that goes on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    pub span: Span,
    pub time_ns: i64,
    pub level: Level,
    pub flags: Flags,
    pub body: Cow<'a, [u8]>,
    /// Bytes that were cut off the body (then flagged `TRUNCATED`).
    pub bytes_cut: u64,
}

/// Takes what the pipeline decides, in file order.
pub trait Output {
    fn kept(&mut self, record: Kept<'_>);
    /// Dropped by a level rule.
    fn gated(&mut self, span: Span);
}

/// The lines of one container's files, one file after the other.
#[derive(Debug, Default)]
pub struct Pipeline {
    join: Join,
    /// File bytes of the unfinished records, by output.
    pending_bytes: [u64; 2],
    /// Whether they began in an earlier file.
    carried: [bool; 2],
    /// Whether their last part so far lies in the file that is fed now.
    ends_here: [bool; 2],
    /// The ends of the last records of the file that is fed now, by output.
    ends: [u64; 2],
    nul_bytes: u64,
    /// The last time a line gave: what a line without one gets.
    time_ns: Option<i64>,
}

impl Pipeline {
    pub fn new() -> Pipeline {
        Pipeline::default()
    }

    /// Takes the whole lines at the front of `chunk`, which begins at file position `at`, and says how many bytes they
    /// were. What is left is the beginning of a line: the next chunk is to begin with it. (A line longer than
    /// [`RECORD_BYTES_MAX`] is taken in pieces of that size.) A file that is cut short while a program writes on where it was
    /// has a hole of NUL bytes. NUL bytes where a line begins are passed over, but for a line of nothing else that is shorter
    /// than [`HOLE_BYTES_MIN`]. That many of them end the line that they stand in, unless it is a CRI line.
    pub fn feed(&mut self, chunk: &[u8], at: u64, now: &Now<'_>, out: &mut impl Output) -> usize {
        let mut from = 0;
        loop {
            let rest = &chunk[from..];
            if rest.first() == Some(&0) {
                match rest.iter().position(|byte| *byte != 0) {
                    // A short line of nothing else is somebody's line.
                    Some(nuls) if nuls < HOLE_BYTES_MIN && rest[nuls] == b'\n' => {}
                    Some(nuls) => {
                        self.nul_bytes += nuls as u64;
                        from += nuls;
                        continue;
                    }
                    // (What lies at a file's end may be room for what is to come.)
                    None if rest.len() <= RECORD_BYTES_MAX => return from,
                    None => {
                        self.nul_bytes += rest.len() as u64;
                        return chunk.len();
                    }
                }
            }
            let (line, taken, piece) = match memchr(b'\n', rest) {
                Some(newline) if newline <= RECORD_BYTES_MAX => (&rest[..newline], newline + 1, false),
                None if rest.len() <= RECORD_BYTES_MAX => return from,
                _ => (&rest[..RECORD_BYTES_MAX], RECORD_BYTES_MAX, true),
            };
            let start = at + from as u64;
            if let Some(hole) = hole_in(line, now.format) {
                self.line(&line[..hole], start, start + hole as u64, true, now, out);
                from += hole;
                continue;
            }
            self.line(line, start, start + taken as u64, piece, now, out);
            from += taken;
        }
    }

    /// The bytes behind a file's last newline, once nothing can follow them any more.
    pub fn feed_unended(&mut self, rest: &[u8], at: u64, now: &Now<'_>, out: &mut impl Output) {
        let mut from = 0;
        loop {
            let nuls = rest[from..].iter().position(|byte| *byte != 0).unwrap_or(rest.len() - from);
            self.nul_bytes += nuls as u64;
            from += nuls;
            let line = &rest[from..];
            if line.is_empty() {
                return;
            }
            let line = &line[..hole_in(line, now.format).unwrap_or(line.len())];
            let start = at + from as u64;
            self.line(line, start, start + line.len() as u64, true, now, out);
            from += line.len();
        }
    }

    /// NUL bytes that were passed over since the last question.
    pub fn take_nul_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.nul_bytes)
    }

    /// What is fed from now on lies in another file: unfinished records go on there.
    pub fn next_file(&mut self) {
        for io in [OutputStream::Stdout, OutputStream::Stderr] {
            self.carried[io as usize] = self.join.pending_start(io).is_some();
            self.ends_here[io as usize] = false;
            self.ends[io as usize] = 0;
        }
    }

    /// The unfinished record of `io` as it is: its end will not come. `out` is to be for the file where its last part lies
    /// ([`Pipeline::ends_here`]).
    pub fn flush(&mut self, io: OutputStream, now: &Now<'_>, out: &mut impl Output) {
        if let Some(joined) = self.join.flush(io) {
            self.record(joined, self.ends_here[io as usize], now, out);
        }
    }

    /// The unfinished record of `io`, to tell whether it is still as it was: where it begins, and how many bytes it has.
    pub fn pending(&self, io: OutputStream) -> Option<(u64, u64)> {
        Some((self.join.pending_start(io)?, self.pending_bytes[io as usize]))
    }

    /// Where the unfinished record of `io` begins, in the file where its first part lies.
    pub fn pending_start(&self, io: OutputStream) -> Option<u64> {
        self.join.pending_start(io)
    }

    /// Whether the last part of the unfinished record of `io` lies in the file that is fed now.
    pub fn ends_here(&self, io: OutputStream) -> bool {
        self.ends_here[io as usize]
    }

    /// Whether an unfinished record holds all that a record may: what follows of it is cut off.
    pub fn is_full(&self) -> bool {
        self.join.is_full()
    }

    /// Bytes of unfinished records in memory.
    pub fn held_bytes(&self) -> usize {
        self.join.pending_bytes()
    }

    /// One physical line: parse -> join -> level -> gate -> out. `piece`: not a whole line.
    #[inline]
    fn line(&mut self, line: &[u8], start: u64, end: u64, piece: bool, now: &Now<'_>, out: &mut impl Output) {
        match parse(now, line) {
            Some(parsed) => {
                let time_ns = parsed.time_ns.unwrap_or(now.time_ns);
                self.time_ns = Some(time_ns);
                self.pending_bytes[parsed.io as usize] += end - start;
                if let Some(mut joined) =
                    self.join.push(parsed.io, parsed.partial, time_ns, &parsed.content, start, end)
                {
                    if piece {
                        joined.flags = joined.flags | Flags::INCOMPLETE;
                    }
                    self.record(joined, true, now, out);
                } else {
                    self.ends_here[parsed.io as usize] = true;
                }
            }
            None => {
                let mut kept = self.unparsed(line, start, end, piece, now);
                kept.span.end = self.place(OutputStream::Stdout, end);
                if self.ends_here[OutputStream::Stdout as usize] {
                    self.join.passed(OutputStream::Stdout, kept.span.end);
                }
                out.kept(kept);
            }
        }
    }

    /// The place of a record that ends at `end`: behind all before it. (A record that was sent unfinished may have taken the
    /// place of an empty line behind it.)
    #[inline]
    fn place(&mut self, io: OutputStream, end: u64) -> u64 {
        let last = &mut self.ends[io as usize];
        *last = end.max(*last + 1);
        *last
    }

    /// `here`: its last part lies in the file that is fed now.
    #[inline]
    fn record(&mut self, joined: Joined<'_>, here: bool, now: &Now<'_>, out: &mut impl Output) {
        let end = if here { self.place(joined.io, joined.end) } else { joined.end };
        let bytes = std::mem::take(&mut self.pending_bytes[joined.io as usize]);
        let carried = std::mem::take(&mut self.carried[joined.io as usize]);
        let span = Span { io: joined.io, start: joined.start, end, bytes, carried };
        let quick = fields::quick(&joined.content);
        let now_ms = now.time_ns / 1_000_000;
        let audit = quick.audit && now.audit.accepts(bytes, now_ms);
        let look = Look { level: quick.named(), audit, task: quick.task };
        match now.gate.decide(look, now_ms, span.end) {
            Decision::Gated => out.gated(span),
            Decision::Keep => out.kept(Kept {
                span,
                time_ns: joined.time_ns,
                level: quick.level,
                flags: flags_of(&quick, audit, joined.flags),
                body: joined.content,
                bytes_cut: joined.bytes_cut,
            }),
        }
    }

    /// A line that is not what it should be: kept as it is, at the time of the line before it. No gate: what its level
    /// is nobody knows.
    fn unparsed<'a>(&self, line: &'a [u8], start: u64, end: u64, piece: bool, now: &Now<'_>) -> Kept<'a> {
        let flags = Flags::PARSE_ERROR | Flags::UNLEVELED;
        let flags = if piece { flags | Flags::INCOMPLETE } else { flags };
        Kept {
            span: Span { io: OutputStream::Stdout, start, end, bytes: end - start, carried: false },
            time_ns: self.time_ns.unwrap_or(now.time_ns),
            level: Level::Info,
            flags,
            body: Cow::Borrowed(line),
            bytes_cut: 0,
        }
    }
}

#[inline]
fn flags_of(quick: &fields::Quick, audit: bool, mut flags: Flags) -> Flags {
    if quick.audit {
        flags = flags | Flags::AUDIT;
        if !audit {
            flags = flags | Flags::AUDIT_CLAIMED;
        }
    }
    if !quick.level_given {
        flags = flags | Flags::UNLEVELED;
    }
    flags
}

/// Whether the line says when it was written.
pub fn names_its_time(line: &[u8], now: &Now<'_>) -> bool {
    parse(now, line).is_some_and(|parsed| parsed.time_ns.is_some())
}

/// Where a hole begins in a line. Runtimes that write CRI lines append, so that NUL bytes in such a line are the container's own: what
/// stands behind them would be a line that the container made up, with any time.
#[inline]
fn hole_in(line: &[u8], format: Format) -> Option<usize> {
    if format == Format::Cri || line.len() <= HOLE_BYTES_MIN {
        return None;
    }
    let mut from = 0;
    while let Some(nul) = memchr(0, &line[from..]) {
        let begin = from + nul;
        let end = line[begin..].iter().position(|byte| *byte != 0).map_or(line.len(), |len| begin + len);
        if end - begin >= HOLE_BYTES_MIN {
            return Some(begin);
        }
        from = end;
    }
    None
}

struct Parsed<'a> {
    time_ns: Option<i64>,
    io: OutputStream,
    partial: bool,
    content: Cow<'a, [u8]>,
}

#[inline]
fn parse<'a>(now: &Now<'_>, line: &'a [u8]) -> Option<Parsed<'a>> {
    match now.format {
        Format::Cri => cri::parse(line).ok().map(|line| Parsed {
            time_ns: Some(line.time_ns),
            io: line.io,
            partial: line.partial,
            content: Cow::Borrowed(line.content),
        }),
        Format::Docker => docker::parse(line).ok().map(|line| Parsed {
            time_ns: Some(line.time_ns),
            io: line.io,
            partial: line.partial,
            content: line.content,
        }),
        Format::Plain => Some(Parsed {
            time_ns: line_time::of_line(line, now.zone, now.time_ns),
            io: OutputStream::Stdout,
            partial: false,
            content: Cow::Borrowed(line.strip_suffix(b"\r").unwrap_or(line)),
        }),
    }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "pipeline_cases_tests.rs"]
mod cases;
