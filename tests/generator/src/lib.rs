//! Lines whose every byte follows from (run, stream, seq), so that a test that reads them back can tell each one, and can tell
//! a changed one from a true one without having seen it before: `run|stream|seq|crc|payload`.
//!
//! Lengths are mostly a log line's; every stream also meets the boundaries where readers, runtimes and buffers break.

/// How a stream's lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"level":"info","msg":"run|stream|seq|crc|payload"}`
    Json,
    /// `run|stream|seq|crc|payload`
    Text,
}

/// A stream of lines: who writes (`run`), which of its outputs (`stream`). Neither holds `|`, `"`, `\` or control bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub run: String,
    pub stream: String,
    pub format: Format,
    seed: u64,
}

/// Whole lines of exactly these lengths appear near the start of every stream (the runtime cuts at 16 KiB).
pub const BOUNDARIES: [usize; 6] = [16_383, 16_384, 16_385, 65_535, 65_536, 65_537];
/// One of these too, by the stream's seed, and again later.
pub const LARGE: [usize; 3] = [(1 << 20) - 1, 1 << 20, (1 << 20) + 1];
/// Seq of the line of 0 bytes and of 1 byte near the start.
const BARE: [u64; 2] = [3, 4];
const BOUNDARIES_FROM: u64 = 10;
const LARGE_AT: u64 = 20;
/// Later on, every so many lines: a bare line, one of [`BOUNDARIES`], one of [`LARGE`].
const BARE_EVERY: u64 = 1_009;
const BOUNDARY_EVERY: u64 = 2_003;
const LARGE_EVERY: u64 = 40_009;

const WORDS: [&str; 48] = [
    "order",
    "checkout",
    "payment",
    "user",
    "session",
    "cart",
    "item",
    "price",
    "total",
    "shipped",
    "queued",
    "retry",
    "timeout",
    "connected",
    "closed",
    "accepted",
    "refused",
    "cache",
    "hit",
    "miss",
    "latency",
    "ms",
    "bytes",
    "request",
    "response",
    "status",
    "200",
    "404",
    "500",
    "GET",
    "POST",
    "/api/orders",
    "/api/cart",
    "eu-west",
    "us-east",
    "größe",
    "価格",
    "naïve",
    "worker",
    "batch",
    "commit",
    "offset",
    "leader",
    "follower",
    "started",
    "stopped",
    "failed",
    "done",
];

impl Stream {
    pub fn new(run: &str, stream: &str, format: Format) -> Stream {
        let seed = (u64::from(crc32fast::hash(run.as_bytes())) << 32)
            | u64::from(crc32fast::hash(stream.as_bytes()));
        Stream { run: run.to_owned(), stream: stream.to_owned(), format, seed }
    }

    /// A line too short to say who it is: empty, or one byte. `seq` counts from 1.
    pub fn is_bare(seq: u64) -> bool {
        BARE.contains(&seq) || seq.is_multiple_of(BARE_EVERY)
    }

    /// Replaces `out` by line `seq` (from 1), without a line end.
    pub fn line(&self, seq: u64, out: &mut Vec<u8>) {
        out.clear();
        if Stream::is_bare(seq) {
            if seq.is_multiple_of(2) {
                out.push(b'x');
            }
            return;
        }
        let mut random = Random::new(self.seed ^ seq.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (before, after) = match self.format {
            Format::Json => (format!("{{\"level\":\"{}\",\"msg\":\"", level(random.next())), "\"}"),
            Format::Text => (String::new(), ""),
        };
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(format!("{}|{}|{seq}|", self.run, self.stream).as_bytes());
        let crc_at = out.len();
        out.extend_from_slice(b"00000000|");
        let payload_at = out.len();
        let payload_end = match whole_length(seq, self.seed) {
            Some(whole) => whole.saturating_sub(after.len()).max(payload_at),
            None => payload_at + (random.next() % 320) as usize,
        };
        fill(out, payload_end, &mut random);
        let crc = format!("{:08x}", crc32fast::hash(&out[payload_at..]));
        out[crc_at..crc_at + 8].copy_from_slice(crc.as_bytes());
        out.extend_from_slice(after.as_bytes());
    }
}

/// Lengths that are prescribed, of the whole line.
fn whole_length(seq: u64, seed: u64) -> Option<usize> {
    let from = seq.checked_sub(BOUNDARIES_FROM).unwrap_or(u64::MAX);
    if let Some(length) = usize::try_from(from).ok().and_then(|index| BOUNDARIES.get(index)) {
        return Some(*length);
    }
    if seq == LARGE_AT || seq.is_multiple_of(LARGE_EVERY) {
        return Some(LARGE[((seed ^ (seed >> 32)).wrapping_add(seq) % LARGE.len() as u64) as usize]);
    }
    seq.is_multiple_of(BOUNDARY_EVERY).then(|| BOUNDARIES[(seq / BOUNDARY_EVERY) as usize % BOUNDARIES.len()])
}

fn level(random: u64) -> &'static str {
    match random % 100 {
        0..10 => "debug",
        10..90 => "info",
        90..97 => "warn",
        _ => "error",
    }
}

/// Words up to exactly `end`; the last bytes are dots, so that no character is cut.
fn fill(out: &mut Vec<u8>, end: usize, random: &mut Random) {
    out.reserve(end.saturating_sub(out.len()) + 16);
    while out.len() < end {
        let value = random.next();
        let word = WORDS[(value % WORDS.len() as u64) as usize].as_bytes();
        if out.len() + word.len() + 8 > end {
            out.resize(end, b'.');
            return;
        }
        out.extend_from_slice(word);
        if value & (1 << 40) == 0 {
            out.push(b' ');
        } else {
            out.push(b'=');
            for shift in [0, 8, 16, 24] {
                out.push(b'0' + ((value >> shift) % 10) as u8);
            }
            out.push(b' ');
        }
    }
}

/// What a line says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    pub run: &'a str,
    pub stream: &'a str,
    pub seq: u64,
    pub format: Format,
}

/// Reads who a line says it is; `None` for bare lines and for what no generator wrote. Whether the rest is true, only
/// comparing it with [`Stream::line`] tells.
pub fn claim(line: &[u8]) -> Option<Claim<'_>> {
    let head = &line[..line.len().min(300)];
    let (format, head) = match head.strip_prefix(b"{\"level\":\"") {
        Some(rest) => {
            let at = rest.windows(9).position(|window| window == b"\",\"msg\":\"")?;
            (Format::Json, &rest[at + 9..])
        }
        None => (Format::Text, head),
    };
    let mut parts = head.splitn(4, |byte| *byte == b'|');
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let (run, stream, seq) = (text()?, text()?, text()?);
    parts.next()?;
    Some(Claim { run, stream, seq: seq.parse().ok()?, format })
}

/// splitmix64: enough for text, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_meets_every_boundary() {
        for format in [Format::Json, Format::Text] {
            let stream = Stream::new("r", "pod-1.out", format);
            let mut lengths = Vec::new();
            let mut line = Vec::new();
            for seq in 1..=30 {
                stream.line(seq, &mut line);
                lengths.push(line.len());
            }
            for wanted in [0, 1].iter().chain(&BOUNDARIES) {
                assert!(lengths.contains(wanted), "no line of {wanted} bytes");
            }
            assert!(LARGE.iter().any(|wanted| lengths.contains(wanted)), "no line of 1 MiB");
        }
    }

    #[test]
    fn a_line_names_itself_and_is_the_same_when_made_again() {
        for format in [Format::Json, Format::Text] {
            let stream = Stream::new("r", "pod-1.out", format);
            let (mut line, mut again) = (Vec::new(), Vec::new());
            for seq in 1..5_000 {
                stream.line(seq, &mut line);
                assert!(std::str::from_utf8(&line).is_ok() && !line.contains(&b'\n'));
                match claim(&line) {
                    Some(claim) => {
                        assert_eq!(claim, Claim { run: "r", stream: "pod-1.out", seq, format });
                        Stream::new(claim.run, claim.stream, claim.format).line(seq, &mut again);
                        assert_eq!(line, again);
                    }
                    None => assert!(Stream::is_bare(seq), "line {seq} does not name itself"),
                }
            }
        }
    }
}
