//! Measures the two formats of a block side by side: bytes per raw byte, records per second of processor time in and out, and what a
//! search for a word costs. "In" is with what was best for the blocks before, as the sealer has it; "again" with nothing remembered.
//!
//! `cargo run --release -p cordwood-core --example bench_formats -- [FILE or FOLDER...]`: on generated JSON lines of the bench's kind, on
//! the lines of this tree's tables of real lines, and on the lines of the files given, each file by itself.
#![allow(clippy::print_stdout)]

#[path = "support/random.rs"]
mod random;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cordwood_core::block::{Block, BlockBuilder, EncodedBlock, Format};
use cordwood_core::filter;
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::limits::SEALED_BLOCK_RECORDS;
use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};

use random::Random;

const GENERATED: usize = 200_000;
const LINES_MAX: usize = 200_000;
/// That of sealing.
const LEVEL: i32 = 5;
const RUN_MIN: Duration = Duration::from_millis(1_500);

fn main() {
    println!(
        "{:34} {:>7} {:>6} {:>8} {:>8} {:>6} | thousand records per CPU-second: {:>5} {:>5} (in) {:>5} (again) {:>5} {:>5} (out) {:>5} {:>5} (absent word)",
        "corpus", "lines", "bytes", "format 1", "format 2", "ratio", 1, 2, 2, 1, 2, 1, 2
    );
    measure("generated, one tenant of the bench", &generated(GENERATED, false));
    measure("generated, with a time and nested", &generated(GENERATED, true));
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = ["src/level/cases", "src/signature/labelled.tsv", "src/signature/labelled_others.tsv"];
    let given: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    for path in own.iter().map(|path| tree.join(path)).chain(given) {
        let mut files = Vec::new();
        below(&path, &mut files);
        files.sort();
        let is_table = path.starts_with(tree);
        let mut all = Vec::new();
        for file in &files {
            let Ok(bytes) = std::fs::read(file) else { continue };
            if bytes.iter().take(4096).any(|&byte| byte == 0) {
                continue;
            }
            let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
            let lines: Vec<Vec<u8>> = lines.take(LINES_MAX).map(<[u8]>::to_vec).collect();
            if !is_table && lines.len() >= 100 {
                measure(&short(file), &lines);
            }
            all.extend(lines);
        }
        if is_table || files.len() > 1 {
            measure(&format!("all of {}", short(&path)), &all);
        }
    }
}

fn short(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.chars().rev().take(27).collect::<Vec<_>>().into_iter().rev().collect()
}

fn below(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.for_each(|entry| below(&entry.path(), files));
    } else {
        files.push(path.to_owned());
    }
}

fn measure(name: &str, lines: &[Vec<u8>]) {
    if lines.is_empty() {
        return println!("{name}: no lines");
    }
    let origin = Origin { tenant: "shop-eu".into(), service: "checkout".into(), ..Origin::default() };
    let id = origin.id();
    let record = |n: usize| Record {
        time_us: 1_795_000_000_000_000 + n as i64 * 1_370 + (n as i64 * 7_919) % 97,
        original_time_us: None,
        level: if n.is_multiple_of(20) { Level::Debug } else { Level::Info },
        flags: Flags::default(),
        origin: id,
        id: RecordId { topic_partition: 0, kafka_offset: (n / 100) as u64, index: (n % 100) as u32 },
        body: &lines[n],
    };
    let new = |format| BlockBuilder::with_postings().of_format(format);
    let encode = |builder: &mut BlockBuilder| -> Vec<EncodedBlock> {
        let mut blocks = Vec::new();
        for n in 0..lines.len() {
            if builder.len() == SEALED_BLOCK_RECORDS || !builder.push(&record(n), &origin) {
                blocks.push(builder.finish(LEVEL));
                assert!(builder.push(&record(n), &origin), "an empty block takes any record");
            }
        }
        blocks.push(builder.finish(LEVEL));
        blocks
    };
    let raw: usize = lines.iter().map(Vec::len).sum();
    let of_raw = |blocks: &[EncodedBlock]| {
        blocks.iter().map(|block| block.payload.len()).sum::<usize>() as f64 / raw as f64
    };
    let [one, two] = [Format::One, Format::Two].map(|format| {
        let mut builder = new(format);
        let blocks = encode(&mut builder);
        let mut n = 0;
        for block in &blocks {
            let Ok(block) = Block::open(&block.payload) else { panic!("{name}: it does not open") };
            for place in 0..block.len() {
                let body = block.record(place).map(|record| record.body.to_vec());
                assert_eq!(body.as_ref(), Ok(&lines[n]), "{name}: line {n} comes back");
                n += 1;
            }
        }
        let written = rate(lines.len(), || {
            std::hint::black_box(encode(&mut builder));
        });
        let again = rate(lines.len(), || {
            std::hint::black_box(encode(&mut new(format)));
        });
        let read = rate(lines.len(), || {
            for block in &blocks {
                let block = Block::open(&block.payload);
                std::hint::black_box(block.and_then(|block| block.bodies().map(|all| all.0.len())).is_ok());
            }
        });
        let searched = rate(lines.len(), || {
            let Ok(filter) = filter::parse("nosuchword") else { return };
            for block in &blocks {
                let Ok(block) = Block::open(&block.payload) else { continue };
                std::hint::black_box(filter.screen().of_block(&block).is_ok());
            }
        });
        (of_raw(&encode(&mut builder)), written, again, read, searched)
    });
    println!(
        "{name:34} {:7} {:6.0} {:8.4} {:8.4} {:6.3} | {:34.0} {:5.0}      {:5.0}        {:5.0} {:5.0}       {:5.0} {:5.0}",
        lines.len(),
        raw as f64 / lines.len() as f64,
        one.0,
        two.0,
        two.0 / one.0,
        one.1,
        two.1,
        two.2,
        one.3,
        two.3,
        one.4,
        two.4
    );
}

/// Runs it for a while; thousand records per second of processor time (where the system tells it, else of real time).
fn rate(records: usize, mut run: impl FnMut()) -> f64 {
    let (start, cpu) = (Instant::now(), thread_cpu());
    let mut runs = 0;
    while runs == 0 || start.elapsed() < RUN_MIN {
        run();
        runs += 1;
    }
    let spent = match (cpu, thread_cpu()) {
        (Some(before), Some(after)) if after > before => after - before,
        _ => start.elapsed(),
    };
    (records * runs) as f64 / spent.as_secs_f64() / 1e3
}

/// Linux: this thread's time on a processor.
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// JSON lines as `cargo xtask bench` makes them, of one service; `rich`: with a time, a float and an object within.
fn generated(count: usize, rich: bool) -> Vec<Vec<u8>> {
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
            let level = match random.below(100) {
                0 => "error",
                1..=4 => "warn",
                5..=24 => "debug",
                _ => "info",
            };
            let (text, path) = (texts[(a >> 7) as usize % 12], paths[(b >> 9) as usize % 6]);
            let (status, ms) = ([200, 200, 200, 201, 404, 500][(c >> 8) as usize % 6], (c >> 16) % 3_000);
            let user = (b >> 20) % 50_000;
            if rich {
                let (us, s) = (n * 1_370 % 1_000_000, n * 1_370 / 1_000_000);
                format!(
                    r#"{{"ts":"2026-11-21T{:02}:{:02}:{:02}.{us:06}Z","level":"{level}","msg":"{text} in {ms}ms for u{user}","http":{{"path":"{path}/{user}","status":{status}}},"ratio":0.{:04},"span_id":"{a:016x}","tags":["a{}","b"]}}"#,
                    6 + s / 3600 % 12, s / 60 % 60, s % 60, c % 10_000, c % 3
                )
            } else {
                format!(
                    r#"{{"level":"{level}","service":"checkout","msg":"{text} {n}","path":"{path}","status":{status},"duration_ms":{ms},"trace_id":"{a:016x}{b:016x}","user":"u{user}","attempt":{},"region":"eu-west-1"}}"#,
                    1 + c % 3
                )
            }
            .into_bytes()
        })
        .collect()
}
