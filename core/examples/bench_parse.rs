//! Nanoseconds per line of the agent's and the writer's inner loops, without files, Kafka and PostgreSQL around them:
//! `cargo run --release -p cordwood-core --example bench_parse`. Best of several rounds, so that a busy machine shows less.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use cordwood_core::batch::{BatchBuilder, BatchHeader, Provenance, decode};
use cordwood_core::identity::{FileId, OutputStream, StreamKey};
use cordwood_core::join::Join;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_core::{cri, fields};

const LINES: usize = 2000;
const ROUNDS: usize = 40;

fn main() {
    let bodies: Vec<String> = (0..LINES).map(body).collect();
    let texts: Vec<String> = (0..LINES)
        .map(|i| format!("2026-11-21 02:24:31,{:03} INFO  [main] c.e.shop.Cart - item {i} added to the cart of customer", i % 1000))
        .collect();
    let lines: Vec<String> = bodies
        .iter()
        .enumerate()
        .map(|(i, body)| format!("2026-11-21T02:24:31.{:09}Z stdout F {body}", i * 499))
        .collect();
    let bytes: usize = bodies.iter().map(String::len).sum();
    report("body, bytes on average", (bytes / LINES) as f64);

    time("quick, JSON", || bodies.iter().map(|body| fields::quick(body.as_bytes()).level as usize).sum());
    time("quick, text", || texts.iter().map(|body| fields::quick(body.as_bytes()).level as usize).sum());
    time("read, JSON", || bodies.iter().map(|body| fields::read(body.as_bytes()).level as usize).sum());
    time("time", || {
        lines.iter().map(|line| cri::parse_time(&line.as_bytes()[..30]).unwrap_or(0) as usize).sum()
    });
    time("cri", || {
        lines.iter().map(|line| cri::parse(line.as_bytes()).map_or(0, |line| line.content.len())).sum()
    });
    time("cri + join + quick", || {
        let mut join = Join::new();
        let mut position = 0;
        let mut sum = 0;
        for line in &lines {
            let Ok(parsed) = cri::parse(line.as_bytes()) else { continue };
            let end = position + line.len() as u64 + 1;
            let joined = join.push(parsed.io, parsed.partial, parsed.time_ns, parsed.content, position, end);
            position = end;
            sum += joined.map_or(0, |joined| fields::quick(&joined.content).level as usize);
        }
        sum
    });

    let header = BatchHeader {
        stream: StreamKey::of_container(
            "7b0c1f0e-3b0e-4a55-9a3c-0f6d2f5f9a11",
            "app",
            0,
            OutputStream::Stdout,
        ),
        io: OutputStream::Stdout,
        file: FileId(1),
        restart_count: 0,
        prev: 0,
        end: 1 << 40,
        lines: LINES as u64,
        bytes: bytes as u64,
        gated: 0,
        limited: 0,
        rejected: 0,
        loss: None,
    };
    let mut builder = BatchBuilder::new();
    let mut encode = || {
        let mut position = 0;
        for body in &bodies {
            position += body.len() as u64 + 40;
            builder.push(1_763_691_871_000_000_000, Level::Info, Flags::default(), position, body.as_bytes());
        }
        builder.finish(&header, &Origin::default(), 1_763_691_871_000_000_000)
    };
    let message = Bytes::from(encode());
    report("message, bytes a line", message.len() as f64 / LINES as f64);
    time("batch encode", || encode().len());
    time("batch decode", || {
        decode(&message, Provenance::Agent)
            .map_or(0, |batches| batches.iter().map(|batch| batch.records.len()).sum())
    });
    time("batch decode, foreign", || {
        decode(&message, Provenance::Foreign)
            .map_or(0, |batches| batches.iter().map(|batch| batch.records.len()).sum())
    });
}

/// A JSON line of the usual shape, about 216 bytes.
fn body(i: usize) -> String {
    let level = ["info", "info", "info", "debug", "warn", "error"][i % 6];
    format!(
        r#"{{"ts":"2026-11-21T02:24:31.{:06}Z","level":"{level}","service":"checkout","trace_id":"{:032x}","user_id":"u-{:05}","msg":"order {} accepted by the payment provider","duration_ms":{},"region":"eu-1"}}"#,
        i * 37 % 1_000_000,
        (i as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        i % 99_999,
        i * 7919,
        i % 977
    )
}

/// Best round of `ROUNDS`, in nanoseconds a line.
fn time(what: &str, mut run: impl FnMut() -> usize) {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(run());
        best = best.min(start.elapsed().as_nanos() as f64 / LINES as f64);
    }
    report(what, best);
}

#[allow(clippy::print_stdout, reason = "a program for people")]
fn report(what: &str, value: f64) {
    println!("{what:<24}{value:>8.1}");
}
