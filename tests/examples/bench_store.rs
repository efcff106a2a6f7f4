//! Figures of the way in and of the store, on a PostgreSQL and a Kafka that it starts: a bare COPY of rows (the
//! baseline), Kafka -> fresh blocks, sealing, the first page of searches, bytes per raw byte. Release build:
//! `cargo run --release -p cordwood-tests --example bench_store -- --records 2000000 --version 15`

#![allow(clippy::print_stdout)] // Its figures are its output.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::{BufMut, BytesMut};
use clap::Parser;
use cordwood_core::batch::{BatchBuilder, BatchHeader, KAFKA_HEADER, KAFKA_HEADER_VALUE};
use cordwood_core::filter;
use cordwood_core::identity::{FileId, Io, StreamKey};
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_store::scope::{AdminReason, TenantScope};
use cordwood_store::seal::Sealing;
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_store::{Settings, Store, migrate};
use cordwood_tests::env::{Kafka, Postgres, PostgresOptions};
use cordwood_writer::{KafkaSource, NoFeed, Parts, RecordSorter, SealSettings};
use futures::SinkExt;
use prometheus::Registry;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio_util::sync::CancellationToken;

#[path = "../tests/store/support.rs"]
mod support;

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    #[arg(long, default_value_t = 15)]
    version: u32,
    /// Lines of a message.
    #[arg(long, default_value_t = 500)]
    lines: u64,
}

const STREAMS: u64 = 200;
const ALL: TenantScope = TenantScope::All(AdminReason::CommandLine);

struct Line {
    level: Level,
    body: String,
    text: String,
    data: String,
    trace: String,
}

/// About 216 bytes of JSON, 20 services, words of a Zipf-like frequency, a trace id of its own.
fn line(random: &mut SmallRng, number: u64) -> Line {
    const WORDS: [&str; 24] = [
        "request",
        "completed",
        "user",
        "order",
        "payment",
        "cache",
        "miss",
        "hit",
        "timeout",
        "retry",
        "connection",
        "database",
        "query",
        "slow",
        "started",
        "stopped",
        "received",
        "sent",
        "queue",
        "worker",
        "session",
        "expired",
        "created",
        "deleted",
    ];
    let level = match random.random_range(0..100) {
        0 => Level::Error,
        1..=4 => Level::Warn,
        5..=14 => Level::Debug,
        _ => Level::Info,
    };
    let mut word = || WORDS[(random.random::<f64>().powi(2) * 24.0) as usize];
    let text = format!("{} {} {} {} {}", word(), word(), word(), word(), word());
    let text = if number.is_multiple_of(100_003) { format!("{text} zebra") } else { text };
    let trace = format!("{:032x}", random.random::<u128>());
    let data = format!(
        r#"{{"durationMs":{},"status":{},"path":"/api/v1/items/{}"}}"#,
        random.random_range(1..3000),
        [200, 200, 200, 404, 500][random.random_range(0..5)],
        random.random_range(0..100_000)
    );
    let body = format!(
        r#"{{"level":"{}","msg":"{text}","traceId":"{trace}",{}"#,
        level.as_str().to_lowercase(),
        &data[1..]
    );
    Line { level, body, text, data, trace }
}

fn origin(stream: u64) -> Origin {
    // A few large tenants, many small ones.
    let tenant = format!("tenant-{}", (50.0 * (stream as f64 / STREAMS as f64).powi(2)) as u64);
    Origin {
        tenant_id: tenant.clone(),
        tenant,
        namespace: format!("ns-{}", stream % 30),
        pod: format!("pod-{stream}"),
        pod_uid: format!("uid-{stream}"),
        container: "app".into(),
        service: format!("service-{}", stream % 20),
        node: format!("node-{}", stream % 5),
        ..Origin::default()
    }
}

fn say(what: &str, figure: impl std::fmt::Display) {
    println!("{what:<58} {figure}");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let settings = [("shared_buffers", "1GB"), ("max_wal_size", "4GB"), ("checkpoint_timeout", "15min")];
    let postgres = Postgres::start_with(PostgresOptions {
        fsync: true,
        settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        ..PostgresOptions::version(arguments.version)
    })
    .await?;
    let store = Store::connect(&Settings::url(postgres.database("bench").await?)).await?;
    migrate::run(&store).await?;
    let client = postgres.client_of("bench").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;

    let base = copy_rows(&client, &arguments).await?;
    let records = arguments.records;
    say(
        "bare COPY of rows, 5,000 a transaction",
        format!("{:.0} records/s", records as f64 / base.as_secs_f64()),
    );

    let kafka = Kafka::start().await?;
    kafka.create_topic("logs", 4).await?;
    let raw = produce(&kafka, &arguments).await?;
    let registry = Registry::new();
    let stop = CancellationToken::new();
    let mut parts = Parts::new(store.clone(), &registry, stop.clone())?;
    parts.seal = SealSettings { enabled: false, ..SealSettings::default() };
    let metrics = parts.metrics.clone();
    let settings: cordwood_kafka::KafkaSettings =
        serde_yaml::from_str(&format!("{{brokers: '{}', topic: logs}}", kafka.brokers()))?;
    let source = KafkaSource::new(&settings, "bench")?;
    let writer = tokio::spawn(cordwood_writer::run(parts, source, Arc::new(NoFeed), Arc::default()));
    let mut started = None;
    let took = loop {
        let done = metrics.records.get();
        // The group's first rebalance is not the writer's speed.
        if done > 0 && started.is_none() {
            started = Some((Instant::now(), done));
        }
        if let (true, Some((at, before))) = (done >= records, started) {
            break at.elapsed().mul_f64(records as f64 / (records - before) as f64);
        }
        anyhow::ensure!(!writer.is_finished(), "the writer ended");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let ratio = base.as_secs_f64() / took.as_secs_f64();
    say(
        "Kafka -> PostgreSQL",
        format!("{:.0} records/s = {ratio:.2}x the bare COPY", records as f64 / took.as_secs_f64()),
    );
    let commits = metrics.commits.get();
    say("transactions, records each", format!("{commits}, {}", records / commits.max(1)));
    say("longest transaction", format!("{:.1} ms", metrics.commit_seconds_max.get() * 1000.0));
    stop.cancel();
    writer.await??;
    let fresh =
        size(&client, "select sum(pg_total_relation_size('ring_'||n)) from generate_series(0,3) n").await?;
    say("fresh bytes per raw byte, indexes included", format!("{:.3}", fresh as f64 / raw as f64));
    searches(&store, "fresh").await?;

    let mut sealing = Sealing::claim(&store).await?.context("another sealer")?;
    sealing.switch_ring().await?;
    let started = Instant::now();
    let round = sealing.round(&mut RecordSorter::new(support::now_us())).await?;
    let took = started.elapsed();
    anyhow::ensure!(round.records == records && round.carried == 0, "{round:?}");
    say("sealing", format!("{:.0} records/s, {} blocks", records as f64 / took.as_secs_f64(), round.blocks));
    while !sealing.is_past(round.xid).await? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sealing.truncate().await?;
    let sealed = size(
        &client,
        "select sum(pg_total_relation_size(relid)) from pg_partition_tree('blocks') where isleaf",
    )
    .await?;
    say("sealed bytes per raw byte, indexes included", format!("{:.3}", sealed as f64 / raw as f64));
    client.batch_execute("vacuum analyze").await?;
    searches(&store, "sealed").await?;
    Ok(())
}

async fn size(client: &tokio_postgres::Client, sql: &str) -> Result<i64> {
    let row = client.query_one(&format!("select ({sql})::bigint"), &[]).await?;
    Ok(row.get(0))
}

/// The first page of some searches, warm: the median of five.
async fn searches(store: &Store, kind: &str) -> Result<()> {
    let since = TimeRange::default();
    for text in [
        "zebra",
        "request",
        "request payment",
        "deleted expired",
        "",
        "timeout tenant:tenant-3 level>=warn service:service-7",
        "traceId=00000000000000000000000000000000",
        "tenant:tenant-49",
    ] {
        let filter = filter::parse(text)?;
        let mut times = Vec::new();
        let mut hits = 0;
        for _ in 0..5 {
            let started = Instant::now();
            let found = search(store, &ALL, &filter, since, Page::first(100), 60_000).await?;
            times.push(started.elapsed());
            hits = found.records.len();
        }
        times.sort();
        let ms = times[2].as_secs_f64() * 1000.0;
        say(&format!("{kind}: first page of {text:?}"), format!("{ms:.1} ms ({hits} hits)"));
    }
    Ok(())
}

/// The same records as rows: time, id, tenant id, origin id, level, message, data as jsonb, trace id.
async fn copy_rows(client: &tokio_postgres::Client, arguments: &Arguments) -> Result<Duration> {
    client
        .batch_execute(
            "create table bare (time timestamptz, id bigint, tenant integer, origin bigint, level smallint, message text, \
             data jsonb, trace text)",
        )
        .await?;
    let statement = client
        .prepare("copy bare (time, id, tenant, origin, level, message, data, trace) from stdin binary")
        .await?;
    let mut random = SmallRng::seed_from_u64(1);
    let mut took = Duration::ZERO;
    let mut number = 0;
    while number < arguments.records {
        let lines: Vec<Line> = (number..number + 5000).map(|n| line(&mut random, n)).collect();
        let started = Instant::now();
        let mut buffer = BytesMut::with_capacity(1 << 20);
        buffer.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        for (place, line) in lines.iter().enumerate() {
            let now = support::now_us() - 946_684_800_000_000;
            put_row(&mut buffer, now, number + place as u64, line);
        }
        buffer.put_i16(-1);
        client.batch_execute("begin").await?;
        let mut sink = pin!(client.copy_in(&statement).await?);
        sink.send(buffer.freeze()).await?;
        sink.finish().await?;
        client.batch_execute("commit").await?;
        took += started.elapsed();
        number += 5000;
    }
    client.batch_execute("drop table bare").await?;
    Ok(took)
}

fn put_row(buffer: &mut BytesMut, time: i64, id: u64, line: &Line) {
    buffer.put_i16(8);
    let mut put = |value: &[u8], prefix: &[u8]| {
        buffer.put_i32((value.len() + prefix.len()) as i32);
        buffer.put_slice(prefix);
        buffer.put_slice(value);
    };
    put(&time.to_be_bytes(), b"");
    put(&id.to_be_bytes(), b"");
    put(&((id % 50) as i32).to_be_bytes(), b"");
    put(&((id % STREAMS) as i64).to_be_bytes(), b"");
    put(&(line.level as i16).to_be_bytes(), b"");
    put(line.text.as_bytes(), b"");
    // jsonb's binary form begins with its version.
    put(line.data.as_bytes(), &[1]);
    put(line.trace.as_bytes(), b"");
}

async fn produce(kafka: &Kafka, arguments: &Arguments) -> Result<u64> {
    let producer: FutureProducer = kafka
        .client_config()
        .set("compression.type", "lz4")
        .set("queue.buffering.max.kbytes", "262144")
        .create()?;
    let mut random = SmallRng::seed_from_u64(1);
    let mut ends = vec![0u64; STREAMS as usize];
    let mut builder = BatchBuilder::new();
    let (mut number, mut raw) = (0, 0);
    let mut waiting = Vec::new();
    while number < arguments.records {
        let stream = (number / arguments.lines) % STREAMS;
        let end = &mut ends[stream as usize];
        let prev = *end;
        let count = arguments.lines.min(arguments.records - number);
        let now = support::now_us();
        for n in number..number + count {
            let line = line(&mut random, n);
            *end += line.body.len() as u64 + 44;
            raw += line.body.len() as u64;
            builder.push(
                (now + (n - number) as i64) * 1000,
                line.level,
                Flags::default(),
                *end,
                line.body.as_bytes(),
            );
        }
        let header = BatchHeader {
            stream: StreamKey::of_container(&format!("uid-{stream}"), "app", 0, Io::Stdout),
            io: Io::Stdout,
            file: FileId(stream + 1),
            restart: 0,
            prev,
            end: *end,
            lines: count,
            bytes: *end - prev,
            gated: 0,
            limited: 0,
            rejected: 0,
            loss: None,
        };
        let payload = builder.finish(&header, &origin(stream), now * 1000);
        let key = header.stream.as_str();
        let mark = OwnedHeaders::new().insert(Header { key: KAFKA_HEADER, value: Some(KAFKA_HEADER_VALUE) });
        let record = FutureRecord::to("logs").key(key).payload(&payload).headers(mark);
        waiting.push(producer.send_result(record).map_err(|(error, _)| error)?);
        if waiting.len() > 200 {
            for sent in waiting.drain(..) {
                sent.await?.map_err(|(error, _)| error)?;
            }
        }
        number += count;
    }
    for sent in waiting {
        sent.await?.map_err(|(error, _)| error)?;
    }
    Ok(raw)
}
