//! Measures the index of a segment side by side with the bloom filters and postings of format 1, on the same lines: bytes per raw byte,
//! microseconds a record to build, what a look-up costs, how much is told beside the truth. Then the race of words of middle frequency: how
//! many blocks and records are opened for two words that never meet, by what each index takes.
//!
//! `cargo run --release -p cordwood-core --example bench_segment -- [FILE or FOLDER...]`: on generated JSON lines of the bench's kind, and
//! on the lines of the files given, all together.
#![allow(clippy::print_stdout)]

#[path = "support/random.rs"]
mod random;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cordwood_core::block::BlockBuilder;
use cordwood_core::block::postings::{Postings, level_token};
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::limits::SEALED_BLOCK_RECORDS;
use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};
use cordwood_core::segment::{Head, Resolution, SegmentBuilder, meet, tenant_token};
use cordwood_core::tokens::{RepeatedValues, Token, TokenHasher, may_contain, probes_of};

use random::Random;

const GENERATED: usize = 500_000;
const LINES_MAX: usize = 500_000;
const RUN_MIN: Duration = Duration::from_millis(1_000);
/// Two words each, of one record in so many, never in one.
const PLANTED: [usize; 3] = [100, 1_000, 10_000];

fn main() {
    let args: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    measure("generated", generated(GENERATED));
    if !args.is_empty() {
        let mut files = Vec::new();
        args.iter().for_each(|path| below(path, &mut files));
        files.sort();
        let mut lines: Vec<Vec<u8>> = Vec::new();
        for file in files {
            let Ok(bytes) = std::fs::read(&file) else { continue };
            if !bytes.iter().take(4096).any(|&byte| byte == 0) {
                let new = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
                lines.extend(new.map(<[u8]>::to_vec));
            }
        }
        lines.truncate(LINES_MAX);
        measure("the files given", lines);
    }
}

fn below(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.for_each(|entry| below(&entry.path(), files));
    } else {
        files.push(path.to_owned());
    }
}

fn measure(name: &str, mut lines: Vec<Vec<u8>>) {
    if lines.is_empty() {
        return println!("{name}: no lines");
    }
    let raw: usize = lines.iter().map(Vec::len).sum();
    println!("\n{name}: {} lines, {:.0} bytes each", lines.len(), raw as f64 / lines.len() as f64);
    plant(&mut lines);
    let raw = lines.iter().map(Vec::len).sum::<usize>() as f64;
    let of_raw = |bytes: usize| bytes as f64 / raw;
    let origin = origin();
    let us = |run: &mut dyn FnMut()| micros(lines.len(), run);
    let tokens_us = us(&mut || {
        let (mut hasher, mut sum) = (TokenHasher::new(), 0);
        lines.iter().for_each(|line| hasher.record(line, Flags::default(), &mut |token| sum ^= token.hash));
        std::hint::black_box(sum);
    });
    println!("  tokens alone {tokens_us:.2} us/record");

    let one = FormatOne::of(&lines, &origin);
    let with = us(&mut || drop(FormatOne::of(&lines, &origin)));
    println!(
        "  format 1: bloom {:.4} + postings {:.4} = {:.4} of raw; blocks {}; tokens, bloom, postings and the payload at zstd 1: {with:.2} us/record",
        of_raw(one.blooms.iter().map(Vec::len).sum()),
        of_raw(one.postings.iter().map(Vec::len).sum()),
        of_raw(one.blooms.iter().chain(&one.postings).map(Vec::len).sum()),
        one.blooms.len(),
    );
    one.race(&lines);
    let to = |log, densest, fullest| Resolution { log, rarest: 20_000, densest, fullest };
    let all = [
        ("granules of 64", Resolution::GRANULES),
        ("middle words by 16", to(4, 4, 1)),
        ("and denser ones", to(4, 2, 1)),
        ("middle words by 4", to(2, 4, 1)),
        ("middle words exactly", to(0, 4, 1)),
        ("all but the rarest so", to(0, 1, 1)),
        ("and none of most records", to(0, 1, 2)),
        ("nor of one in 2,500", Resolution::CHOSEN),
        ("and none of a quarter", to(0, 1, 4)),
        ("all but the rarest by 2", to(1, 1, 1)),
    ];
    for (name, resolution) in all {
        let index = Index::of(&lines, &origin, resolution);
        let build = us(&mut || drop(Index::of(&lines, &origin, resolution)));
        println!(
            "  {name:23} {:.4} of raw; {} pages of {} bytes, {}; build {:.2} us/record with tokens",
            of_raw(index.bytes()),
            index.pages.len(),
            index.bytes() / index.pages.len(),
            index.pages.iter().map(Vec::len).max().unwrap_or(0),
            build
        );
        index.look_ups(&lines);
        index.race();
    }
}

/// Puts the planted words into lines.
fn plant(lines: &mut [Vec<u8>]) {
    let mut random = Random::new(77);
    for line in lines {
        for many in PLANTED {
            let one = random.below(many as u64 / 2);
            if one < 1 {
                let word = if random.below(2) == 0 { "first" } else { "second" };
                let text = format!("{word}in{many} ");
                // Within the message, or at the begin of a text.
                let at = line.windows(7).position(|seven| seven == b"\"msg\":\"").map_or(0, |at| at + 7);
                line.splice(at..at, text.into_bytes());
            }
        }
    }
}

fn planted(many: usize) -> [Token; 2] {
    ["first", "second"].map(|word| Token::word(format!("{word}in{many}").as_bytes()))
}

/// Bloom filters and postings, as format 1 has them.
struct FormatOne {
    blooms: Vec<Vec<u8>>,
    postings: Vec<Vec<u8>>,
    counts: Vec<u32>,
}

impl FormatOne {
    fn of(lines: &[Vec<u8>], origin: &Origin) -> FormatOne {
        let mut one = FormatOne { blooms: Vec::new(), postings: Vec::new(), counts: Vec::new() };
        let mut builder = BlockBuilder::with_postings();
        let mut cut = |builder: &mut BlockBuilder| {
            let block = builder.finish(1);
            one.blooms.push(block.bloom);
            one.postings.push(block.postings);
            one.counts.push(block.count);
        };
        for (n, line) in lines.iter().enumerate() {
            let record = Record {
                time_us: 1_795_000_000_000_000 + n as i64 * 1_370,
                original_time_us: None,
                level: level(n),
                flags: Flags::default(),
                origin: origin.id(),
                id: RecordId { topic_partition: 0, kafka_offset: (n / 100) as u64, index: (n % 100) as u32 },
                body: line,
            };
            if builder.len() == SEALED_BLOCK_RECORDS || !builder.push(&record, origin) {
                cut(&mut builder);
                assert!(builder.push(&record, origin), "an empty block takes any record");
            }
        }
        cut(&mut builder);
        one
    }

    fn race(&self, lines: &[Vec<u8>]) {
        let mut words = String::new();
        for many in PLANTED {
            let pair = planted(many);
            let (mut blooms, mut opened, mut records) = (0, 0, 0);
            for ((bloom, postings), count) in self.blooms.iter().zip(&self.postings).zip(&self.counts) {
                if !pair.iter().all(|token| may_contain(bloom, &probes_of(token.hash))) {
                    continue;
                }
                blooms += 1;
                let Ok(Some(postings)) = Postings::open(postings) else { continue };
                if postings.may_meet(&pair.map(|token| vec![token])) {
                    opened += 1;
                    records += count;
                }
            }
            words += &format!(
                " | 1 in {many}: by bloom {:.4} of the blocks, by postings {:.4} and {:.4} of the records",
                f64::from(blooms) / self.blooms.len() as f64,
                f64::from(opened) / self.blooms.len() as f64,
                f64::from(records) / lines.len() as f64
            );
        }
        println!("    two that never meet{words}");
        let false_blocks = absent().map(|token| {
            let found = self.blooms.iter().filter(|bloom| may_contain(bloom, &probes_of(token.hash)));
            found.count() as f64 / self.blooms.len() as f64
        });
        println!("    an absent word: {:.5} of the blocks", false_blocks.sum::<f64>() / ABSENT as f64);
    }
}

const ABSENT: usize = 2_000;

fn absent() -> impl Iterator<Item = Token> {
    (0..ABSENT).map(|n| Token::word(format!("absent{n}").as_bytes()))
}

/// Of whole records; a level that differs.
fn level(n: usize) -> Level {
    if n.is_multiple_of(20) { Level::Debug } else { Level::Info }
}

struct Index {
    head: Head,
    pages: Vec<Vec<u8>>,
}

impl Index {
    fn of(lines: &[Vec<u8>], origin: &Origin, resolution: Resolution) -> Index {
        let mut builder = SegmentBuilder::new(resolution);
        let (mut hasher, mut repeated) = (TokenHasher::new(), RepeatedValues::default());
        let tenant = tenant_token(&origin.tenant);
        let mut names = Vec::new();
        hasher.origin(origin, &mut |token| names.push(token));
        for (n, line) in lines.iter().enumerate() {
            names.iter().for_each(|&token| builder.add(token));
            builder.add(tenant);
            builder.add(level_token(level(n)));
            hasher.record_repeated(line, Flags::default(), &mut repeated, &mut builder);
            builder.end_record();
            if (n + 1).is_multiple_of(SEALED_BLOCK_RECORDS) || n + 1 == lines.len() {
                builder.end_block();
                repeated.clear();
            }
        }
        let mut pages = Vec::new();
        let head = builder.finish(|_, page| pages.push(page));
        Index { head, pages }
    }

    fn bytes(&self) -> usize {
        self.pages.iter().map(Vec::len).sum::<usize>() + self.head.to_bytes().len()
    }

    /// Blocks and records that a search would open.
    fn opened(&self, clauses: &[Vec<Token>]) -> (usize, usize) {
        let meeting = meet(&self.head, clauses, |page| self.pages.get(page as usize).map(Vec::as_slice));
        let Ok(meeting) = meeting else { return (0, 0) };
        let (mut blocks, mut records, mut last) = (0, 0, None);
        for found in meeting.map_while(Result::ok) {
            blocks += usize::from(last.replace(found.block) != Some(found.block));
            records += (found.to - found.from) as usize;
        }
        (blocks, records)
    }

    fn look_ups(&self, lines: &[Vec<u8>]) {
        let mut tokens = Vec::new();
        let mut hasher = TokenHasher::new();
        for line in lines.iter().step_by(lines.len() / 200 + 1) {
            hasher.record(line, Flags::default(), &mut |token| tokens.push(token));
        }
        let there = micros(tokens.len(), &mut || {
            tokens.iter().for_each(|&token| {
                std::hint::black_box(self.opened(&[vec![token]]));
            });
        });
        let absent: Vec<Token> = absent().collect();
        let mut told = 0;
        let nowhere = micros(absent.len(), &mut || {
            told = absent.iter().map(|&token| self.opened(&[vec![token]]).0).sum();
        });
        println!(
            "    a look-up: {there:.1} us for a token of a record (with all of its records), {nowhere:.2} for an absent word: {:.5} blocks each, of {}",
            told as f64 / absent.len() as f64,
            self.head.blocks()
        );
    }

    fn race(&self) {
        let mut words = String::new();
        for many in PLANTED {
            let (blocks, records) = self.opened(&planted(many).map(|token| vec![token]));
            let all = self.head.blocks() * SEALED_BLOCK_RECORDS;
            words += &format!(
                " | 1 in {many}: {:.4} of the blocks, {:.5} of the records",
                blocks as f64 / self.head.blocks() as f64,
                records as f64 / all as f64
            );
        }
        println!("    two that never meet{words}");
    }
}

/// Runs it for a while: microseconds of this thread's time for each of so many.
fn micros(count: usize, run: &mut dyn FnMut()) -> f64 {
    let (start, cpu) = (Instant::now(), thread_cpu());
    let mut runs = 0;
    while runs == 0 || (start.elapsed() < RUN_MIN && runs < 1_000) {
        run();
        runs += 1;
    }
    let spent = match (cpu, thread_cpu()) {
        (Some(before), Some(after)) if after > before => after - before,
        _ => start.elapsed(),
    };
    spent.as_secs_f64() * 1e6 / (count * runs) as f64
}

/// Linux: this thread's time on a processor.
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn origin() -> Origin {
    Origin {
        tenant: "shop-eu".into(),
        namespace: "shop".into(),
        pod: "checkout-7f9c6d-00001".into(),
        container: "app".into(),
        node: "node-1".into(),
        service: "checkout".into(),
        ..Origin::default()
    }
}

/// JSON lines as `cargo xtask bench` makes them, of one service, with a time.
fn generated(count: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let texts = [
        "request handled",
        "cache miss, loading from store",
        "connection accepted",
        "order placed",
        "payment authorized",
        "session renewed",
        "retrying after timeout",
        "message queued for delivery",
        "index refreshed",
        "user signed in",
        "stock reserved",
        "connection reset by peer",
    ];
    let paths = ["/v1/orders", "/v1/users/me", "/v2/cart/items", "/healthz", "/v1/search", "/v1/stock"];
    (0..count)
        .map(|n| {
            let (a, b, c) = (random.next(), random.next(), random.next());
            let (text, path) = (texts[(a >> 7) as usize % 12], paths[(b >> 9) as usize % 6]);
            let (status, ms) = ([200, 200, 200, 201, 404, 500][(c >> 8) as usize % 6], (c >> 16) % 3_000);
            let (user, us, s) = ((b >> 20) % 50_000, n * 1_370 % 1_000_000, n * 1_370 / 1_000_000);
            format!(
                r#"{{"ts":"2026-11-21T{:02}:{:02}:{:02}.{us:06}Z","level":"info","service":"checkout","msg":"{text}","path":"{path}","status":{status},"duration_ms":{ms},"trace_id":"{a:016x}{b:016x}","user":"u{user}","attempt":{},"region":"eu-west-1"}}"#,
                6 + s / 3600 % 12, s / 60 % 60, s % 60, 1 + c % 3
            )
            .into_bytes()
        })
        .collect()
}
