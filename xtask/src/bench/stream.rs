//! Measures live streams with the default settings of agent, writer and gateway. `stream`: how long a line takes from its container's write
//! until Kafka has it, PostgreSQL has it and a reader gets it. `streams`: the gateway's memory and CPU and the same delay with thousands of
//! readers. Nothing stands beside them. Prints the median and the 99th percentile of the delays.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_core::filter::Filter;
use cordwood_core::scope::{AdminReason, Scope};
use cordwood_store::follow::{Feed, Selection};
use cordwood_store::wake::Wakes;
use cordwood_store::{Settings, Store};
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::{Process, Program, wait_for};
use cordwood_tests::http::{metric, open};
use cordwood_tests::pipeline::{Pipeline, PipelineOptions, TOPIC};
use futures::future::try_join_all;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinHandle;

use super::process::{cpu, memory, mib};
use super::{Figure, figure, note};

const TOKEN: &str = "bench-0123456789abcdef";
const MARK: &[u8] = b"bench:";
/// Of many streams.
const RATE: u64 = 5_000;
const KEYS: u64 = 1_000;
const PODS: u64 = 10;
const SECONDS: u64 = 30;
const WATCH_ALL: usize = 10;
/// Streams that are opened at once.
const TOGETHER: usize = 100;

/// Numbers of lines, and how many microseconds after it was written each was seen.
type Seen = Arc<Mutex<Vec<(u64, i64)>>>;

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// The marks `bench:<number>:<microseconds>;` in what was seen.
fn see(bytes: &[u8], seen: &Seen) {
    let now_us = now_us();
    let mut rest = bytes;
    let mut found = Vec::new();
    while let Some(place) = rest.windows(MARK.len()).position(|window| window == MARK) {
        rest = &rest[place + MARK.len()..];
        let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
        let mark = String::from_utf8_lossy(&rest[..end]).into_owned();
        if let Some((number, written)) = mark.split_once(':')
            && let (Ok(number), Ok(written)) = (number.parse(), written.parse::<i64>())
        {
            found.push((number, now_us - written));
        }
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
}

fn line(file: &mut File, number: u64) -> Result<()> {
    let now = jiff::Timestamp::now();
    let (us, key) = (now.as_microsecond(), number % KEYS);
    let text = format!(
        "{now} stdout F {{\"level\":\"info\",\"message\":\"order taken bench:{number}:{us};\",\"key\":\"k{key}\",\
         \"user\":\"u{}\",\"path\":\"/api/orders/{}\"}}\n",
        number * 7 % 9_973,
        number * 31 % 99_991
    );
    Ok(file.write_all(text.as_bytes())?)
}

fn pod(pods: &Path, number: u64) -> Result<File> {
    let folder = pods.join(format!("shop_web-{number}_{number:08}-1111-4111-8111-111111111111/app"));
    fs::create_dir_all(&folder)?;
    Ok(File::create(folder.join("0.log"))?)
}

/// All parts with their defaults.
struct Whole {
    pipeline: Pipeline,
    gateway: Process,
    address: String,
    probes: String,
}

impl Whole {
    async fn start(limits: serde_json::Value) -> Result<Whole> {
        let mut pipeline = Pipeline::prepare(PipelineOptions::default()).await?;
        let client = pipeline.postgres.client().await?;
        // As one would run it: what is committed is on the disk.
        client.batch_execute("alter system set fsync = on").await?;
        client.batch_execute("select pg_reload_conf()").await?;
        pipeline.start_agent()?;
        pipeline.start_writer()?;
        let folder = pipeline.pods().parent().context("the pipeline's folder")?.to_owned();
        let (port, probes) = (Port::free()?, Port::free()?);
        let address = format!("127.0.0.1:{}", port.number());
        let tokens = folder.join("tokens.yaml");
        fs::write(&tokens, format!("tokens: [{{name: bench, token: {TOKEN}, tenants: all, audit: true}}]"))?;
        let probes = format!("127.0.0.1:{}", probes.number());
        let config = serde_json::json!({
            "listen": address, "probes_listen": probes, "database": {"url": pipeline.postgres.url()}, "tokens_file": tokens,
            "limits": limits,
        });
        let file = folder.join("gateway.yaml");
        fs::write(&file, config.to_string())?;
        let gateway = Program::new("gateway", cordwood_tests::bin("cordwood-gateway")?, &folder)
            .arg("--config")
            .arg(&file)
            .start()?;
        let whole = Whole { pipeline, gateway, address, probes };
        wait_for("the gateway and the schema", Duration::from_secs(120), async || {
            let (code, text) = cordwood_tests::http::get(&whole.probes, "/readyz").await?;
            ensure!(code == 200, "{text}");
            Ok(())
        })
        .await?;
        Ok(whole)
    }

    /// A stream that notes what it sees.
    async fn watch(&self, query: &str, seen: &Seen) -> Result<JoinHandle<()>> {
        let bearer = format!("Bearer {TOKEN}");
        let path = format!("/api/platform/logs/stream{query}");
        let stream = open(&self.address, "GET", &path, &[("Authorization", &bearer)]).await?;
        let mut lines = BufReader::with_capacity(1 << 10, stream);
        let mut text = Vec::new();
        loop {
            text.clear();
            ensure!(lines.read_until(b'\n', &mut text).await? > 0, "the stream ended before it began");
            if text.starts_with(b"HTTP/1") {
                ensure!(text.windows(5).any(|five| five == b" 200 "), "{}", String::from_utf8_lossy(&text));
            }
            if text.windows(10).any(|ten| ten == b"\"caughtUp\"") {
                break;
            }
        }
        let seen = Arc::clone(seen);
        Ok(tokio::spawn(async move {
            let mut text = Vec::new();
            while lines.read_until(b'\n', &mut text).await.is_ok_and(|read| read > 0) {
                see(&text, &seen);
                text.clear();
            }
        }))
    }
}

/// What lies in Kafka, as soon as it lies there.
fn watch_kafka(pipeline: &Pipeline, seen: &Seen, stop: &Arc<AtomicBool>) -> Result<()> {
    let mut config = pipeline.kafka.client_config();
    let consumer: BaseConsumer = config
        .set("group.id", "bench")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("topic.metadata.refresh.interval.ms", "500")
        .create()?;
    consumer.subscribe(&[TOPIC])?;
    let (seen, stop) = (Arc::clone(seen), Arc::clone(stop));
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                see(message.payload().unwrap_or_default(), &seen);
            }
        }
    });
    Ok(())
}

/// What is stored, as soon as a commit is told.
async fn watch_store(pipeline: &Pipeline, seen: &Seen) -> Result<JoinHandle<Result<()>>> {
    let store = Store::connect(&Settings::url(pipeline.postgres.url())).await?;
    let (mut wakes, mut feed) = (Wakes::listen(&store).await?, Feed::from_now(&store).await?);
    let seen = Arc::clone(seen);
    Ok(tokio::spawn(async move {
        let sieve = Selection::new(&Scope::all(AdminReason::Audit), &Filter::all());
        while wakes.next().await.is_some() {
            let fresh = feed.next().await?;
            let mut found = Vec::new();
            (0..fresh.parts()).for_each(|part| fresh.matching(part, &sieve, &mut found));
            found.iter().for_each(|record| see(&record.body, &seen));
        }
        Ok(())
    }))
}

/// Of those with these numbers, sorted.
fn of(seen: &Seen, numbers: &std::ops::Range<u64>) -> Vec<i64> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<i64> =
        seen.iter().filter(|(number, _)| numbers.contains(number)).map(|(_, us)| *us).collect();
    all.sort_unstable();
    all
}

fn at(sorted: &[i64], percent: usize) -> String {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or_else(|| "none".to_owned(), |us| format!("{:.0} ms", *us as f64 / 1e3))
}

/// # Errors
/// A part that does not start.
pub async fn latency() -> Result<Vec<Figure>> {
    let whole = Whole::start(serde_json::json!({})).await?;
    let (kafka, stored, shown) = (Seen::default(), Seen::default(), Seen::default());
    let stop = Arc::new(AtomicBool::new(false));
    let store = watch_store(&whole.pipeline, &stored).await?;
    let reader = whole.watch("", &shown).await?;
    let mut file = pod(&whole.pipeline.pods(), 0)?;
    // The topic and the consumers' groups are there before anything is measured.
    line(&mut file, u64::MAX)?;
    wait_for("the first line", Duration::from_secs(60), async || {
        ensure!(of(&shown, &(u64::MAX - 1..u64::MAX)).is_empty());
        ensure!(!shown.lock().unwrap_or_else(PoisonError::into_inner).is_empty(), "nothing yet");
        Ok(())
    })
    .await?;
    watch_kafka(&whole.pipeline, &kafka, &stop)?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut figures = Vec::new();
    for (name, numbers, every_ms) in [
        ("one line every 5 ms", 0..4_000_u64, [5, 5, 5]),
        ("one line every 20 ms", 10_000..11_000, [20, 20, 20]),
        ("single lines", 20_000..20_060, [430, 770, 1_190]),
    ] {
        note(name);
        let (writing, mut out) = (numbers.clone(), file.try_clone()?);
        tokio::task::spawn_blocking(move || -> Result<()> {
            let mut next = Instant::now();
            for number in writing {
                line(&mut out, number)?;
                next += Duration::from_millis(every_ms[usize::try_from(number % 3)?]);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(())
        })
        .await??;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (kafka, stored, shown) = (of(&kafka, &numbers), of(&stored, &numbers), of(&shown, &numbers));
        let count = usize::try_from(numbers.end - numbers.start)?;
        let how = format!(
            "p50 / p99 after the write: in Kafka {} / {}, stored {} / {}; {} of {count} shown",
            at(&kafka, 50),
            at(&kafka, 99),
            at(&stored, 50),
            at(&stored, 99),
            shown.len()
        );
        figures.push(figure(
            format!("container write to reader, {name}"),
            format!("{} / {}", at(&shown, 50), at(&shown, 99)),
            how,
        ));
    }
    stop.store(true, Ordering::Relaxed);
    reader.abort();
    store.abort();
    Ok(figures)
}

/// # Errors
/// A part that does not start, or too few descriptors.
pub async fn many(connections: usize) -> Result<Vec<Figure>> {
    let descriptors = (4 * connections + 1_000) as u64;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: Some(limit.maximum.unwrap_or(descriptors).min(descriptors)),
            ..limit
        },
    )?;
    let whole = Whole::start(serde_json::json!({
        "streams_max": connections + 100, "connections_max": connections + 100,
        "per_identity": {"streams_max": connections + 100, "requests_max": connections + 200},
    }))
    .await?;
    let id = whole.gateway.id();
    let (shown, all) = (Seen::default(), Seen::default());
    // The agent, the topic and the writer are there.
    let first = whole.watch("", &all).await?;
    let mut files =
        (0..PODS).map(|number| pod(&whole.pipeline.pods(), number)).collect::<Result<Vec<_>>>()?;
    line(&mut files[0], u64::MAX)?;
    wait_for("the first line", Duration::from_secs(60), async || {
        ensure!(!all.lock().unwrap_or_else(PoisonError::into_inner).is_empty(), "nothing yet");
        Ok(())
    })
    .await?;
    first.abort();
    let before = memory(id)?.0;
    let began = Instant::now();
    let mut readers = Vec::new();
    let queries: Vec<String> =
        (0..connections as u64).map(|number| format!("?data.key=k{}", number % KEYS)).collect();
    // A stream begins with a look at the store, and streams that begin together share it: one after the other they would wait
    // for one look each, and looks lie the further apart the more streams there are.
    for some in queries.chunks(TOGETHER) {
        readers.extend(try_join_all(some.iter().map(|query| whole.watch(query, &shown))).await?);
    }
    note(&format!("{connections} streams after {:.1} s", began.elapsed().as_secs_f64()));
    let idle = memory(id)?.0;
    for _ in 0..WATCH_ALL {
        readers.push(whole.watch("", &all).await?);
    }
    let (used, began) = (cpu(id)?, Instant::now());
    tokio::task::spawn_blocking(move || -> Result<()> {
        let mut next = Instant::now();
        for tick in 0..SECONDS * 100 {
            for number in tick * RATE / 100..(tick + 1) * RATE / 100 {
                line(&mut files[usize::try_from(number % PODS)?], number)?;
            }
            next += Duration::from_millis(10);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    })
    .await??;
    let cores = (cpu(id)? - used).as_secs_f64() / began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (now, most) = memory(id)?;
    let numbers = 0..SECONDS * RATE;
    let (shown, all) = (of(&shown, &numbers), of(&all, &numbers));
    let wanted = connections as u64 / KEYS * SECONDS * RATE;
    let gaps = metric(&whole.probes, "cordwood_gateway_stream_gaps_total").await?;
    readers.iter().for_each(JoinHandle::abort);
    Ok(vec![
        figure(
            format!("{connections} streams, memory of each"),
            format!("{:.1} KiB", (idle.saturating_sub(before)) as f64 / 1024.0 / connections as f64),
            format!("idle {}; at {RATE} lines/s {}, most {}", mib(idle), mib(now), mib(most)),
        ),
        figure(
            format!("{connections} streams of 5 lines/s of {RATE}: p50 / p99"),
            format!("{} / {}", at(&shown, 50), at(&shown, 99)),
            format!("{} of about {wanted} shown, {gaps} gaps, {cores:.2} cores of the gateway", shown.len()),
        ),
        figure(
            format!("{WATCH_ALL} streams of all beside them: p50 / p99"),
            format!("{} / {}", at(&all, 50), at(&all, 99)),
            format!("{} of {} shown", all.len(), WATCH_ALL as u64 * SECONDS * RATE),
        ),
    ])
}
