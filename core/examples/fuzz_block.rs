//! Looks for inputs that the block codec does not bear, for as long as it is told: bodies of every kind go through both formats and must
//! come back byte for byte, with a filter and postings that hide none of them; a search through columns must agree with one through bodies;
//! and a damaged block must be refused, or read, in bounded time and memory, and never end the program.
//!
//! `cargo run --release -p cordwood-core --example fuzz_block -- [MINUTES [SEED [FILE or FOLDER...]]]`: lines of the files given are mutated
//! beside those of this tree's tables. On a failure it prints the seed of the case, which alone repeats it (`0 SEED`).
#![allow(clippy::print_stdout)]

#[path = "support/random.rs"]
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cordwood_core::block::check::{Checker, Stored};
use cordwood_core::block::{Block, BlockBuilder, EncodedBlock, Format, Sought};
use cordwood_core::filter;
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::origin::{Origin, UNASSIGNED};
use cordwood_core::record::{Flags, Record};

use random::Random;

/// Damage of one block.
const DAMAGES: u64 = 40;
/// A block that takes longer than this to read, damaged or not, is one that an attacker would send.
const CASE_SECONDS_MAX: u64 = 20;
/// What a damaged block may put into memory lies far below; the whole process is held to it.
const MEMORY_MIB_MAX: u64 = 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let minutes = arguments.first().and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.0);
    let (first, only) = (number(1).unwrap_or(1).max(1), minutes == 0.0);
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = ["src/level/cases", "src/signature/labelled.tsv", "src/signature/labelled_others.tsv"];
    let mut lines = Vec::new();
    own.iter().map(|path| tree.join(path)).chain(arguments.iter().skip(2).map(PathBuf::from)).for_each(
        |path| {
            read(&path, &mut lines);
        },
    );
    let (began, until) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
    let (mut seed, mut sum) = (first, Sum::default());
    while (only && seed == first) || (!only && began.elapsed() < until) {
        let case = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| Case::new(seed, &lines).run()));
        let told = match result {
            Ok(Ok(of_case)) => {
                sum.add(&of_case);
                None
            }
            Ok(Err(what)) => Some(what),
            Err(_) => Some("a panic, above".to_owned()),
        };
        let slow =
            (case.elapsed().as_secs() >= CASE_SECONDS_MAX).then(|| format!("it took {:?}", case.elapsed()));
        let large = most_mib().filter(|mib| *mib > MEMORY_MIB_MAX).map(|mib| format!("{mib} MiB of memory"));
        if let Some(what) = told.or(slow).or(large) {
            println!("case {seed} fails: {what}\nrepeat it: fuzz_block 0 {seed} (and the same files)");
            return ExitCode::FAILURE;
        }
        seed += 1;
    }
    println!(
        "{} cases from {first} on in {:.1} min: {} records and {} bytes came back in both formats, {} searches agreed, of {} damaged \
         blocks {} were refused and {} read; at most {} MiB of memory",
        seed - first,
        began.elapsed().as_secs_f64() / 60.0,
        sum.records,
        sum.bytes,
        sum.searches,
        sum.refused + sum.read,
        sum.refused,
        sum.read,
        most_mib().unwrap_or_default()
    );
    ExitCode::SUCCESS
}

fn read(path: &Path, lines: &mut Vec<Vec<u8>>) {
    if path.is_dir() {
        let mut entries: Vec<_> =
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect();
        // The same order on every machine: a seed names the same lines.
        entries.sort();
        entries.iter().for_each(|entry| read(entry, lines));
    } else if let Ok(bytes) = std::fs::read(path) {
        lines.extend(bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
    }
}

/// Linux: the most memory so far.
fn most_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}

#[derive(Default)]
struct Sum {
    records: u64,
    bytes: u64,
    searches: u64,
    refused: u64,
    read: u64,
}

impl Sum {
    fn add(&mut self, other: &Sum) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.searches += other.searches;
        self.refused += other.refused;
        self.read += other.read;
    }
}

/// All that a seed says.
struct Case<'l> {
    random: Random,
    lines: &'l [Vec<u8>],
    sum: Sum,
}

impl Case<'_> {
    fn new(seed: u64, lines: &[Vec<u8>]) -> Case<'_> {
        // Seeds that lie side by side are far apart.
        let random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Case { random, lines, sum: Sum::default() }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit.max(1) as u64) as usize
    }

    fn run(mut self) -> Result<Sum, String> {
        let level = [1, 3, 5][self.below(3)];
        let mut builders =
            [Format::One, Format::Two].map(|format| BlockBuilder::with_postings().of_format(format));
        // Blocks after the first are written by what was best for it.
        for _ in 0..1 + self.below(3) {
            let mut records = self.records();
            let source = self.below(2) as u64;
            for builder in &mut builders {
                builder.set_source(source);
                let block = records.encode(builder, level);
                self.holds(&block, &records)?;
                self.searched(&block, &records)?;
                self.damaged(&block.payload)?;
            }
        }
        Ok(self.sum)
    }

    fn holds(&mut self, encoded: &EncodedBlock, records: &Records) -> Result<(), String> {
        let fail = |what: &dyn std::fmt::Display| format!("what was written does not come back: {what}");
        let block = Block::open(&encoded.payload).map_err(|error| fail(&error))?;
        if block.len() != records.bodies.len() {
            return Err(fail(&format!("{} of {} records", block.len(), records.bodies.len())));
        }
        // One by one from the end, before all are put together at once.
        for place in (0..block.len()).rev() {
            let record = block.record(place).map_err(|error| fail(&error))?;
            if record != records.record(place) {
                return Err(fail(&format!("record {place}: {record:?}, not {:?}", records.record(place))));
            }
        }
        let (all, _) = block.bodies().map_err(|error| fail(&error))?;
        if all != records.bodies.concat() {
            return Err(fail(&"the bodies at once"));
        }
        self.sum.records += block.len() as u64;
        self.sum.bytes += all.len() as u64;
        let stored = Stored {
            tenant: UNASSIGNED,
            count: encoded.count.into(),
            time_from_us: encoded.time_from_us,
            time_to_us: encoded.time_to_us,
            level_mask: encoded.level_mask.into(),
            raw_bytes: encoded.raw_bytes as i64,
            bloom: &encoded.bloom,
            postings: Some(&encoded.postings),
            bounds_us: None,
        };
        let origin_of = |id: &_| records.origins.iter().find(|origin| origin.id() == *id);
        let checked = Checker::new().check(&block, &stored, origin_of);
        match checked.faults.first() {
            Some(fault) => Err(format!("a block that was just written has a fault: {fault}")),
            None => Ok(()),
        }
    }

    /// Words of the bodies, and parts of words, through columns and through bodies.
    fn searched(&mut self, encoded: &EncodedBlock, records: &Records) -> Result<(), String> {
        let block = Block::open(&encoded.payload).map_err(|error| error.to_string())?;
        for _ in 0..6 {
            let body = &records.bodies[self.below(records.bodies.len())];
            let at = self.below(body.len());
            let letters = body[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric());
            let lower: Vec<u8> = letters.take(1 + self.below(12)).map(u8::to_ascii_lowercase).collect();
            if lower.is_empty() {
                continue;
            }
            let find =
                |bytes: &[u8]| bytes.windows(lower.len()).position(|part| part.eq_ignore_ascii_case(&lower));
            let held =
                block.may_hold(Sought::Letters { lower: &lower, find: &find }).map_err(|e| e.to_string())?;
            let expected: Vec<bool> = records.bodies.iter().map(|body| find(body).is_some()).collect();
            if held.is_some_and(|held| held != expected) {
                return Err(format!("columns disagree about {:?}", String::from_utf8_lossy(&lower)));
            }
            let word = String::from_utf8_lossy(&lower).into_owned();
            let Ok(filter) =
                filter::parse(&format!("{}{word}{}", ["", "*"][self.below(2)], ["", "*"][self.below(2)]))
            else {
                continue;
            };
            let through = filter.screen().of_block(&block).map_err(|error| error.to_string())?;
            for place in 0..block.len() {
                let record = records.record(place);
                let is_hidden =
                    through.as_ref().is_some_and(|all| all.binary_search(&(place as u32)).is_err());
                if is_hidden && filter.matches(&record, &records.origins[records.origin_of[place]]) {
                    return Err(format!(
                        "the screen of {word:?} hides record {place}: {:?}",
                        lossy(record.body)
                    ));
                }
            }
            self.sum.searches += 1;
        }
        Ok(())
    }

    /// Bytes changed, cut, repeated; the checksum made right again, so that damage reaches what lies behind it.
    fn damaged(&mut self, payload: &[u8]) -> Result<(), String> {
        for _ in 0..DAMAGES {
            let mut bytes = payload.to_vec();
            let is_summed = self.below(8) > 0;
            for _ in 0..1 + self.below(4) {
                // The head is small, and says most.
                let reach = if self.below(2) == 0 { bytes.len().min(200) } else { bytes.len() };
                let at = self.below(reach);
                match self.below(6) {
                    0 => bytes[at] = self.random.next() as u8,
                    1 => bytes[at] ^= 1 << self.below(8),
                    2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                    3 => bytes.truncate(at.max(6)),
                    4 => {
                        let from = self.below(bytes.len());
                        let part: Vec<u8> = bytes[from..].iter().take(1 + self.below(9)).copied().collect();
                        bytes.splice(at..at, part);
                    }
                    _ => drop(bytes.splice(at..at, std::iter::repeat_n(0xff, 1 + at % 11))),
                }
                if bytes.len() < 6 {
                    break;
                }
            }
            if is_summed && bytes.len() > 5 {
                let sum = xxhash_rust::xxh3::xxh3_64(&bytes[5..]) as u32;
                bytes[1..5].copy_from_slice(&sum.to_le_bytes());
            }
            let is_read = match Block::open(&bytes) {
                Err(_) => false,
                Ok(block) => {
                    let find = |bytes: &[u8]| memchr::memmem::find(bytes, b"error");
                    let sought = Sought::Letters { lower: b"error", find: &find };
                    let held = block.may_hold(sought);
                    let all = (0..block.len()).try_for_each(|place| block.record(place).map(drop));
                    let at_once = block.bodies().map(|(bodies, ends)| (bodies.len(), ends.len()));
                    if let (Ok(()), Ok((_, ends))) = (&all, &at_once)
                        && *ends != block.len()
                    {
                        return Err(format!("{ends} bodies of {} records", block.len()));
                    }
                    all.is_ok() && at_once.is_ok() && held.is_ok()
                }
            };
            self.sum.read += u64::from(is_read);
            self.sum.refused += u64::from(!is_read);
        }
        Ok(())
    }

    fn records(&mut self) -> Records {
        let count = match self.below(10) {
            0 => 1 + self.below(4),
            1..=6 => 20 + self.below(120),
            _ => 200 + self.below(800),
        };
        let kind = self.below(7);
        let mut bodies: Vec<Vec<u8>> = Vec::with_capacity(count);
        let mut lines = Vec::new();
        let shape = self.shape();
        let start = self.below(self.lines.len());
        for n in 0..count {
            let body = match kind {
                // One logger's lines.
                0 | 1 => self.fill(&shape),
                // Real lines as they stood, or here and there.
                2 => self.lines.get((start + n) % self.lines.len().max(1)).cloned().unwrap_or_default(),
                3 => self.lines.get(self.below(self.lines.len())).cloned().unwrap_or_default(),
                4 => (0..self.below(80)).map(|_| self.random.next() as u8).collect(),
                5 => {
                    let at = self.below(lines.len());
                    match lines.get(at).filter(|_| self.random.below(4) > 0).cloned() {
                        Some(line) => line,
                        None => {
                            let shape = self.shape();
                            lines.push(self.fill(&shape));
                            lines[lines.len() - 1].clone()
                        }
                    }
                }
                _ => nested(self.below(300), self.below(3)),
            };
            let body = if self.below(12) == 0 { self.torn(body) } else { body };
            bodies.push(body);
        }
        let origins = (0..1 + self.below(3))
            .map(|n| Origin { service: format!("service-{n}"), pod: format!("pod-{n}"), ..Origin::default() })
            .collect::<Vec<_>>();
        let start_us = [0, 1_795_000_000_000_000, i64::MAX - 1_000, i64::MIN]
            [[1, 1, 1, 1, 1, 1, 0, 2, 3][self.below(9)]];
        let mut records = Records { bodies, origins, ..Records::default() };
        let mut time_us = start_us;
        for n in 0..count {
            time_us = time_us.wrapping_add(self.below(3_000) as i64);
            records.times.push((time_us, (self.below(20) == 0).then(|| self.random.next() as i64)));
            records.levels.push(Level::ALL[self.below(Level::ALL.len())]);
            records.flags.push(Flags(if self.below(9) == 0 { self.below(512) as u16 } else { 0 }));
            records.origin_of.push(self.below(records.origins.len()));
            records.ids.push(RecordId {
                topic_partition: 0,
                kafka_offset: (n / 50) as u64,
                index: (n % 50) as u32,
            });
        }
        records
    }

    /// A line with places for values: 0x01 stands for one, the byte after it says of which kind.
    fn shape(&mut self) -> Vec<u8> {
        let mut shape = Vec::new();
        let is_json = self.below(3) > 0;
        for n in 0..1 + self.below(8) {
            let kind = b'a' + self.below(11) as u8;
            if is_json {
                let key =
                    [&b"ts"[..], b"level", b"msg", b"k\\u0041", b"user id", b"", b"trace"][self.below(7)];
                shape.extend_from_slice(if n == 0 { b"{\"" } else { b",\"" });
                shape.extend_from_slice(key);
                let quoted = self.below(3) > 0;
                shape.extend_from_slice(if quoted { b"\":\"\x01" } else { b"\":\x01" });
                shape.push(kind);
                shape.extend_from_slice(if quoted { b"\"" } else { b"" });
            } else {
                shape.extend_from_slice([&b" "[..], b" - ", b"=", b" [", b"] ", b"\t"][self.below(6)]);
                shape.extend_from_slice(b"\x01");
                shape.push(kind);
            }
        }
        if is_json {
            shape.push(b'}');
        }
        shape
    }

    fn fill(&mut self, shape: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        let mut bytes = shape.iter();
        while let Some(&byte) = bytes.next() {
            if byte == 1 {
                let kind = bytes.next().copied().unwrap_or_default();
                self.value(kind, &mut line);
            } else {
                line.push(byte);
            }
        }
        line
    }

    fn value(&mut self, kind: u8, out: &mut Vec<u8>) {
        let (a, b) = (self.random.next(), self.random.next());
        let text = match kind {
            b'a' => (a >> 20).to_string()[..1 + self.below(4)].to_owned(),
            b'b' => format!("u{}", a % 50_000),
            b'c' => format!("{a:016x}{b:016x}"),
            b'd' => format!("{:08X}", a as u32),
            b'e' => format!("{:08x}-0000-4000-8000-{:012x}", a as u32, b & 0xffff_ffff_ffff),
            b'f' => format!(
                "20{:02}-{:02}-{:02}T{:02}:{:02}:{:02}.{:0width$}Z",
                a % 100,
                1 + a / 100 % 13,
                1 + b % 32,
                b / 50 % 25,
                a / 9 % 61,
                b / 7 % 61,
                a % 1_000,
                width = 3 + self.below(7)
            ),
            b'g' => format!("{}{}.{:03}", ["", "-"][self.below(2)], a % 9_000, b % 1_000),
            b'h' => format!("order {} of u{} took {}ms at /v1/{:x}/x", a % 99, b % 9, a % 3_000, b % 4_096),
            b'i' => ["INFO", "WARN", "", "null", "naïve", "\\n\\u0041", "1e999", "\u{1b}[31mred\u{1b}[0m"]
                [self.below(8)]
            .to_owned(),
            b'j' => format!("{:04}", a % 10_000),
            _ => a.cast_signed().to_string(),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// Bytes cut, changed, put in.
    fn torn(&mut self, mut body: Vec<u8>) -> Vec<u8> {
        for _ in 0..1 + self.below(3) {
            let at = self.below(body.len() + 1);
            match self.below(5) {
                0 => body.truncate(at),
                1 => body.insert(at, b"\"\\{}[]\n\0\x01\xff\xc3:,0"[self.below(14)]),
                2 if at < body.len() => body[at] = self.random.next() as u8,
                3 => {
                    let part = body[at..].to_vec();
                    body.extend_from_slice(&part);
                    body.truncate(1 << 16);
                }
                _ => {
                    let other = self.below(body.len() + 1);
                    let (from, to) = (at.min(other), at.max(other));
                    body.drain(from..to);
                }
            }
        }
        body
    }
}

/// Brackets within brackets.
fn nested(depth: usize, kind: usize) -> Vec<u8> {
    let (open, close) = [("{\"a\":", "}"), ("[", "]"), ("[{\"k\":1,\"in\":", "}]")][kind];
    format!("{}{depth}{}", open.repeat(depth), close.repeat(depth)).into_bytes()
}

#[derive(Default)]
struct Records {
    bodies: Vec<Vec<u8>>,
    times: Vec<(i64, Option<i64>)>,
    levels: Vec<Level>,
    flags: Vec<Flags>,
    origins: Vec<Origin>,
    origin_of: Vec<usize>,
    ids: Vec<RecordId>,
}

impl Records {
    fn record(&self, place: usize) -> Record<'_> {
        Record {
            time_us: self.times[place].0,
            original_time_us: self.times[place].1,
            level: self.levels[place],
            flags: self.flags[place],
            origin: self.origins[self.origin_of[place]].id(),
            id: self.ids[place],
            body: &self.bodies[place],
        }
    }

    /// Those for which the block has room; the others are forgotten.
    fn encode(&mut self, builder: &mut BlockBuilder, level: i32) -> EncodedBlock {
        let has_room =
            |place: &usize| builder.push(&self.record(*place), &self.origins[self.origin_of[*place]]);
        let taken = (0..self.bodies.len()).take_while(has_room).count();
        self.bodies.truncate(taken);
        builder.finish(level)
    }
}

fn lossy(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}
