//! A node with one container that floods it, while Kafka is the bottleneck: a real agent, a real topic that takes messages of 1 MiB
//! as Kafka's own default has it, so that room becomes free a message at a time.

#![allow(clippy::print_stdout, reason = "what a person runs this test for")]

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::{Fault, Kafka, KafkaOptions, Proxy};
use cordwood_tests::shipped::{self, Shipped, TOPIC, log_of};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const MIB: usize = 1 << 20;
/// What the loud container has written before the agent starts. It goes on writing.
const BACKLOG_BYTES: usize = 80 * MIB;
/// How far Kafka has it when the quiet one begins: more than is on its way at once.
const HEAD_START_BYTES: usize = 4 * MIB;
/// The agent's own default.
const MEMORY_BYTES_MAX: usize = 16 * MIB;
const LINES: usize = 10;

/// About as many bytes of lines that do not compress to nothing.
fn flood(bytes: usize, random: &mut StdRng) -> Vec<u8> {
    let mut lines = Vec::with_capacity(bytes + 300);
    while lines.len() < bytes {
        lines.extend_from_slice(b"2026-11-21T02:24:00.000000001Z stdout F loud ");
        lines.extend((0..200).map(|_| random.random_range(b'0'..=b'z')));
        lines.push(b'\n');
    }
    lines
}

/// What came of the loud container, and of the quiet one.
struct Arrived {
    shipped: Shipped,
    loud_bytes: usize,
    quiet_lines: usize,
}

impl Arrived {
    fn next(&mut self) -> Result<()> {
        for body in self.shipped.next_bodies()? {
            match body.starts_with(b"loud ") {
                true => self.loud_bytes += body.len(),
                false => self.quiet_lines += 1,
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_does_not_keep_a_quiet_container_waiting() -> Result<()> {
    let home = Home::new("flooded")?;
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], 9))).await?;
    let options = KafkaOptions { advertised: Some(proxy.address()), ..KafkaOptions::default() };
    let kafka = Kafka::start_with(options).await?;
    proxy.set_upstream(kafka.direct());
    // (Nothing is set: Kafka's default of `max.message.bytes` is 1 MiB.)
    kafka.create_topic(TOPIC, 1).await?;
    // The way to Kafka is slower than reading a file, on any machine.
    proxy.set(Fault::Delay(Duration::from_millis(5)));

    let pods = home.join("pods");
    let mut loud = log_of(&pods, "loud")?;
    let mut random = StdRng::seed_from_u64(4);
    loud.write_all(&flood(BACKLOG_BYTES, &mut random))?;
    let port = Port::free()?;
    let broker = json!({
        "brokers": kafka.brokers(), "topic": TOPIC, "partitions": 1, "replication": 1, "compression": "none",
    });
    let read = json!({"read": {"memory_bytes_max": MEMORY_BYTES_MAX}});
    let program = shipped::agent(&home, &port, &broker, &read)?;
    let mut agent = program.start()?;

    let ended = Arc::new(AtomicBool::new(false));
    let goes_on = std::thread::spawn({
        let ended = Arc::clone(&ended);
        move || -> std::io::Result<()> {
            while !ended.load(Ordering::Relaxed) {
                loud.write_all(&flood(MIB, &mut random))?;
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }
    });
    let seen = tokio::task::spawn_blocking(move || -> Result<()> {
        let mut arrived = Arrived { shipped: Shipped::begin(&kafka)?, loud_bytes: 0, quiet_lines: 0 };
        let began = Instant::now();
        let patient = || began.elapsed() < Duration::from_secs(90);
        while arrived.loud_bytes < HEAD_START_BYTES && patient() {
            agent.check()?;
            arrived.next()?;
        }
        let mut quiet = log_of(&pods, "quiet")?;
        for number in 0..LINES {
            writeln!(quiet, "2026-11-21T02:24:00.000000001Z stdout F quiet {number}")?;
        }
        let written_at = arrived.shipped.end_offset()?;
        while arrived.shipped.next_offset < written_at && patient() {
            arrived.next()?;
        }
        let before = arrived.loud_bytes;
        while arrived.quiet_lines < LINES && arrived.loud_bytes < BACKLOG_BYTES && patient() {
            agent.check()?;
            arrived.next()?;
        }
        println!(
            "{} of {LINES} lines came after {:.1} MiB of the other container, of which {:.1} MiB were there when they were written; the \
             backlog was {} MiB",
            arrived.quiet_lines,
            arrived.loud_bytes as f64 / MIB as f64,
            before as f64 / MIB as f64,
            BACKLOG_BYTES / MIB
        );
        // (What is on its way goes to nobody.)
        agent.kill();
        ensure!(arrived.quiet_lines == LINES, "the quiet container's lines wait for the loud one's backlog");
        let waited = arrived.loud_bytes - before;
        // What was on its way already, and a turn of the other one for each chunk that was free meanwhile.
        ensure!(waited < MEMORY_BYTES_MAX * 3 / 2, "{waited} bytes of the loud container came first");
        ensure!(arrived.loud_bytes < BACKLOG_BYTES / 2, "{} bytes came first", arrived.loud_bytes);
        Ok(())
    });
    let seen = seen.await.context("read the topic");
    ended.store(true, Ordering::Relaxed);
    goes_on.join().expect("the writer does not panic").context("write the loud container's file")?;
    seen?
}
