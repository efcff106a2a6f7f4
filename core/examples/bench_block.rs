//! Measures the block codec: records per second in and out, bytes per raw byte, how often the bloom filter is wrong.
//!
//! `cargo run --release -p cordwood-core --example bench_block -- [--only WORDS] [FILE...]`: on generated lines of about
//! 224 bytes, and on the lines of the files given. `--only`: the measurements whose name has these words.
#![allow(clippy::print_stdout)]

#[path = "support/random.rs"]
mod random;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cordwood_core::block::{Block, BlockBuilder, EncodedBlock};
use cordwood_core::filter;
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::limits::SEALED_BLOCK_RECORDS;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::record::{Flags, Record};
use cordwood_core::seal::{Leaf, LeafPacker};
use cordwood_core::tokens::{self, TokenHasher};

use random::Random;

const GENERATED_RECORDS: usize = 400_000;
static ONLY: OnceLock<String> = OnceLock::new();
const RUN_MIN: Duration = Duration::from_secs(2);

fn main() {
    let mut sets = vec![("generated".to_owned(), generated(GENERATED_RECORDS))];
    let mut args = std::env::args().skip(1);
    while let Some(path) = args.next() {
        if path == "--only" {
            ONLY.get_or_init(|| args.next().unwrap_or_default());
            continue;
        }
        match std::fs::read(&path) {
            Ok(bytes) => {
                let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
                sets.push((path, lines.take(GENERATED_RECORDS).map(<[u8]>::to_vec).collect()));
            }
            Err(error) => println!("read {path}: {error}"),
        }
    }
    for (name, lines) in &sets {
        measure(name, lines);
    }
}

fn measure(name: &str, lines: &[Vec<u8>]) {
    if lines.is_empty() {
        return println!("{name}: no lines");
    }
    let raw: usize = lines.iter().map(Vec::len).sum();
    println!("\n{name}: {} lines, {:.0} bytes each", lines.len(), raw as f64 / lines.len() as f64);
    let origins: Vec<Origin> = (0..8).map(origin).collect();
    let ids: Vec<OriginId> = origins.iter().map(Origin::id).collect();
    let record = |n: usize| Record {
        time_us: 1_795_000_000_000_000 + n as i64 * 137 + (n as i64 * 7_919) % 97,
        original_time_us: None,
        level: if n.is_multiple_of(20) { Level::Debug } else { Level::Info },
        flags: Flags::default(),
        origin: ids[n / 25 % ids.len()],
        id: RecordId {
            topic_partition: (n / 25 % 4) as u32,
            kafka_offset: (n / 100) as u64,
            index: (n % 100) as u32,
        },
        body: &lines[n],
    };
    let origin_of = |n: usize| &origins[n / 25 % ids.len()];
    let encode = |per_block: usize, level: i32| -> Vec<EncodedBlock> {
        let is_sealed = per_block == SEALED_BLOCK_RECORDS;
        let mut builder = if is_sealed { BlockBuilder::with_postings() } else { BlockBuilder::new() };
        let mut blocks = Vec::new();
        for n in 0..lines.len() {
            if builder.len() == per_block || !builder.push(&record(n), origin_of(n)) {
                blocks.push(builder.finish(level));
                assert!(builder.push(&record(n), origin_of(n)), "an empty block takes any record");
            }
        }
        blocks.push(builder.finish(level));
        blocks
    };

    let mut hasher = TokenHasher::new();
    let mut sum = 0u64;
    rate("tokens only", lines.len(), || {
        for line in lines {
            hasher.record(line, Flags::default(), &mut |token| sum ^= token.hash);
        }
    });
    let mut zstd = zstd::bulk::Compressor::new(3).unwrap_or_default();
    rate("zstd 3 alone, 50 a block", lines.len(), || {
        for chunk in lines.chunks(50) {
            sum ^= zstd.compress(&chunk.concat()).map_or(0, |packed| packed.len()) as u64;
        }
    });
    for (per_block, level) in [(50, 3), (50, 1), (SEALED_BLOCK_RECORDS, 3), (SEALED_BLOCK_RECORDS, 5)] {
        let per_s = rate(&format!("encode {per_block} a block, zstd {level}"), lines.len(), || {
            encode(per_block, level);
        });
        let blocks = encode(per_block, level);
        let payload: usize = blocks.iter().map(|block| block.payload.len()).sum();
        let bloom: usize = blocks.iter().map(|block| block.bloom.len()).sum();
        let postings: usize = blocks.iter().map(|block| block.postings.len()).sum();
        println!(
            "    {:.3} us a record; of raw: payload {:.3} + bloom {:.3} + postings {:.3} = {:.3}; {:.1} tokens a record; false {:.3}%",
            1e6 / per_s,
            payload as f64 / raw as f64,
            bloom as f64 / raw as f64,
            postings as f64 / raw as f64,
            (payload + bloom + postings) as f64 / raw as f64,
            bloom as f64 / 2.0 / lines.len() as f64,
            false_rate(&blocks) * 100.0
        );
        decode(&blocks, lines.len());
        if per_block == 50 && level == 3 {
            seal(&blocks, lines.len(), &origins, &ids);
        }
        if (per_block, level) == (SEALED_BLOCK_RECORDS, 5) {
            search(&blocks, lines.len(), &origins, &ids);
        }
    }
    std::hint::black_box(sum);
}

fn decode(blocks: &[EncodedBlock], records: usize) {
    rate("    open columns", records, || {
        for block in blocks {
            std::hint::black_box(Block::open(&block.payload).map(|block| block.len()).unwrap_or_default());
        }
    });
    rate("    open and read all", records, || {
        for block in blocks {
            if let Ok(block) = Block::open(&block.payload) {
                for i in 0..block.len() {
                    std::hint::black_box(block.record(i).map(|record| record.body.len()).unwrap_or_default());
                }
            }
        }
    });
}

fn seal(blocks: &[EncodedBlock], records: usize, origins: &[Origin], ids: &[OriginId]) {
    let leaf = Leaf { class: 1, from_us: 0, to_us: i64::MAX };
    rate("    seal (decode, sort, encode)", records, || {
        let mut packer = LeafPacker::new(5);
        let mut emit = |sealed| {
            std::hint::black_box(sealed);
        };
        for fresh in blocks {
            let Ok(block) = Block::open(&fresh.payload) else { continue };
            for i in 0..block.len() {
                let Ok(record) = block.record(i) else { continue };
                let place = ids.iter().position(|id| *id == record.origin).unwrap_or(0);
                packer.push("tenant", leaf, &record, &origins[place], &mut emit);
            }
        }
        packer.finish(&mut emit);
    });
}

fn search(blocks: &[EncodedBlock], records: usize, origins: &[Origin], ids: &[OriginId]) {
    for expression in ["nosuchword", "connection", "level>=warn", "userId=nobody", "\"reset by\" taskId=1"] {
        let Ok(filter) = filter::parse(expression) else { continue };
        let mut hits = 0usize;
        let per_s = rate(&format!("    filter {expression}"), records, || {
            hits = 0;
            for block in blocks {
                let Ok(block) = Block::open(&block.payload) else { continue };
                for i in 0..block.len() {
                    let Ok(record) = block.record(i) else { continue };
                    let place = ids.iter().position(|id| *id == record.origin).unwrap_or(0);
                    hits += usize::from(filter.matches(&record, &origins[place]));
                }
            }
        });
        println!("        {hits} hits; {:.2} ms for 64 blocks", 65_536.0 / per_s * 1e3);
    }
}

/// Runs it for a while; records per second of processor time (where the system tells it, else of real time).
fn rate(what: &str, records: usize, mut run: impl FnMut()) -> f64 {
    if ONLY.get().is_some_and(|only| !what.contains(only.as_str())) {
        return f64::NAN;
    }
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
    let per_s = (records * runs) as f64 / spent.as_secs_f64();
    println!("{what:32} {:8.0}k records/s", per_s / 1e3);
    per_s
}

/// Linux: this thread's time on a processor.
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn false_rate(blocks: &[EncodedBlock]) -> f64 {
    let (mut asked, mut wrong) = (0u64, 0u64);
    for block in blocks.iter().step_by(blocks.len().div_ceil(200)) {
        for n in 0..500 {
            asked += 1;
            wrong += u64::from(tokens::may_contain(&block.bloom, &tokens::probes(&format!("absent{n}"))));
        }
    }
    wrong as f64 / asked as f64
}

fn origin(n: usize) -> Origin {
    Origin {
        tenant: "shop-eu".into(),
        tenant_id: "shop-eu".into(),
        namespace: "shop".into(),
        pod: format!("checkout-7f9c6d-{n:05}"),
        pod_uid: format!("7c0f0b2e-0000-4000-8000-{n:012}"),
        container: "app".into(),
        node: format!("node-{}", n % 3),
        service: "checkout".into(),
        ..Origin::default()
    }
}

/// JSON lines of about 224 bytes.
fn generated(count: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let messages = [
        "request handled",
        "connection reset by peer",
        "payment accepted for order",
        "cache miss, loading from store",
        "user session refreshed",
        "retrying after timeout",
        "inventory reserved",
        "message published to topic",
    ];
    (0..count)
        .map(|n| {
            let (a, b) = (random.next(), random.next());
            let message = messages[(a % 64).min(a % 8) as usize];
            let ms = n as u64 / 8 % 1000;
            let s = n as u64 / 8000 % 60;
            format!(
                "{{\"ts\":\"2026-11-21T06:17:{s:02}.{ms:03}Z\",\"level\":\"info\",\"msg\":\"{message}\",\"source\":\"{}\",\
                 \"traceId\":\"{:016x}{:016x}\",\"userId\":\"u{}\",\"durationMs\":{},\"status\":{},\"path\":\"/api/v1/orders/{}\"}}",
                ["api", "db", "worker"][random.below(3) as usize],
                a,
                b,
                b % 5_000,
                a % 400,
                [200, 200, 200, 201, 404, 500][(a >> 8) as usize % 6],
                b % 90_000,
            )
            .into_bytes()
        })
        .collect()
}
