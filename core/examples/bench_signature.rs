//! Nanoseconds per message of error signatures: `cargo run --release -p cordwood-core --example bench_signature`. Best of several rounds,
//! so that a busy machine shows less. A word behind `--` chooses the measures whose names have it.

use std::hint::black_box;
use std::time::Instant;

use cordwood_core::signature::{Version, error_group, error_group_by, generalise};

const MESSAGES: usize = 2000;
const ROUNDS: usize = 100;

fn main() {
    let messages: Vec<String> = (0..MESSAGES).map(message).collect();
    let texts: Vec<String> = messages
        .iter()
        .enumerate()
        .map(|(i, message)| {
            format!("2026-11-21 02:24:31,{:03} ERROR [main] c.e.shop.Cart - {message}", i % 1000)
        })
        .collect();
    let bodies: Vec<String> = messages.iter().map(|message| json(message)).collect();
    let traces: Vec<String> = (0..MESSAGES).map(trace).collect();
    time("generalise", &messages, |message| generalise(message).len());
    time("text", &texts, |text| error_group(text.as_bytes()).message.len());
    time("JSON", &bodies, |body| error_group(body.as_bytes()).message.len());
    // (The rules of the version before, for comparison.)
    time("text, v1", &texts, |text| error_group_by(text.as_bytes(), Version::V1).message.len());
    time("JSON, v1", &bodies, |body| error_group_by(body.as_bytes(), Version::V1).message.len());
    time("stack trace", &traces, |trace| error_group(trace.as_bytes()).frames.len());
}

/// Messages as services write them, with the values that change.
fn message(i: usize) -> String {
    let id = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match i % 6 {
        0 => format!("connection to 10.0.{}.{}:5432 refused after {} ms", i % 256, i % 200, i),
        1 => format!("order {} failed: payment provider answered HTTP 503", i * 7919),
        2 => format!("request {:08x}-0000-4000-8000-{:012x} timed out", id as u32, id >> 16),
        3 => format!("open /srv/data/{i}/segment-{i}.log: no such file or directory"),
        4 => format!("no such user \"user-{i}\" in the tenant's directory"),
        _ => "the queue is full and the oldest entries are dropped until it is read again".to_owned(),
    }
}

fn json(message: &str) -> String {
    let message = message.replace('"', "\\\"");
    format!(
        r#"{{"ts":"2026-11-21T02:24:31.000123Z","level":"error","service":"checkout","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","msg":"{message}","region":"eu-1"}}"#
    )
}

fn trace(i: usize) -> String {
    let mut text = format!("java.lang.IllegalStateException: order {i} is closed");
    for depth in 0..30 {
        let package = if depth % 4 == 3 { "com.shop.cart" } else { "org.springframework.web" };
        text.push_str(&format!("\n\tat {package}.Handler{depth}.handle(Handler{depth}.java:{})", i % 500));
    }
    text
}

/// Best round of `ROUNDS`.
#[allow(clippy::print_stdout, reason = "a program for people")]
fn time(what: &str, inputs: &[String], run: impl Fn(&str) -> usize) {
    let bytes: usize = inputs.iter().map(String::len).sum();
    if std::env::args().nth(1).is_some_and(|word| !what.contains(&word)) {
        return;
    }
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(inputs.iter().map(|input| run(input)).sum::<usize>());
        best = best.min(start.elapsed().as_nanos() as f64 / inputs.len() as f64);
    }
    println!(
        "{what:<14}{best:>8.0} ns, {:.2} million a second ({} bytes each)",
        1e3 / best,
        bytes / inputs.len()
    );
}
