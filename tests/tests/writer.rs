//! The writer on real Kafka, PostgreSQL and Redis: restarts, cut connections, foreign and poisonous messages, a topic made
//! again, Redis away.

#![allow(clippy::print_stdout)] // What was done and seen, for the person who runs it with --nocapture.

#[path = "writer/dies.rs"]
mod dies;
#[path = "writer/holes.rs"]
mod holes;
#[path = "writer/killed_sealing.rs"]
mod killed_sealing;
#[path = "writer/memory.rs"]
mod memory;
#[path = "writer/raised.rs"]
mod raised;
#[path = "writer/recovers.rs"]
mod recovers;
#[path = "writer/stalls.rs"]
mod stalls;
#[path = "store/support.rs"]
mod support;
#[path = "writer/tasks.rs"]
mod tasks;
#[path = "writer/unreadable.rs"]
mod unreadable;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_core::batch::{KAFKA_HEADER, KAFKA_HEADER_VALUE};
use cordwood_kafka::KafkaSettings;
use cordwood_store::{Settings, Store};
use cordwood_tests::env::{Fault, Kafka, Postgres, Proxy, Redis};
use cordwood_writer::{
    CommitSettings, Feed, KafkaSource, Metrics, NoFeed, Parts, RedisFeed, SealSettings, SourceStatus, queue,
};
use prometheus::Registry;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use support::{Lines, check_exactly_once};
use tokio_util::sync::CancellationToken;

struct Running {
    stop: CancellationToken,
    metrics: Metrics,
    status: Arc<Mutex<SourceStatus>>,
    health: cordwood_service::Health,
    task: tokio::task::JoinHandle<Result<()>>,
}

fn parts(store: &Store, seal: bool) -> Result<Parts> {
    let mut parts = Parts::new(store.clone(), &Registry::new(), CancellationToken::new())?;
    parts.seal = SealSettings { enabled: seal, interval_seconds: 0.2, ..SealSettings::default() };
    parts.commit = CommitSettings { linger_ms: 5, records_max: 2000, ..CommitSettings::default() };
    Ok(parts)
}

fn start(parts: Parts, source: impl cordwood_writer::Source, feed: Arc<dyn Feed>) -> Running {
    let (stop, metrics, health) = (parts.shutdown.clone(), parts.metrics.clone(), parts.health.clone());
    let status = Arc::<Mutex<SourceStatus>>::default();
    let task = tokio::spawn(cordwood_writer::run(parts, source, feed, status.clone()));
    Running { stop, metrics, status, health, task }
}

impl Running {
    async fn end(self) -> Result<()> {
        self.stop.cancel();
        self.task.await?
    }
}

fn kafka_settings(kafka: &Kafka, topic: &str) -> Result<KafkaSettings> {
    Ok(serde_yaml::from_str(&format!("{{brokers: '{}', topic: {topic}}}", kafka.brokers()))?)
}

async fn send(producer: &FutureProducer, topic: &str, key: &str, payload: &[u8], ours: bool) -> Result<()> {
    let mut record = FutureRecord::to(topic).key(key).payload(payload);
    if ours {
        let mark = Header { key: KAFKA_HEADER, value: Some(KAFKA_HEADER_VALUE) };
        record = record.headers(OwnedHeaders::new().insert(mark));
    }
    producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
    Ok(())
}

async fn wait_until(what: &str, mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !done().await? {
        ensure!(Instant::now() < deadline, "{what}: not within 90 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn count(client: &tokio_postgres::Client, sql: &str) -> Result<i64> {
    Ok(client.query_one(sql, &[]).await?.get(0))
}

const RECORDS: &str = "select coalesce(sum(records), 0)::bigint from watermarks";

/// Writers come and go, two at a time for a while, batches are sent again: everything once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_to_postgres_exactly_once() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let kafka = Kafka::start().await?;
    kafka.create_topic("logs", 3).await?;
    let store = support::store(&postgres, "kafka").await?;
    let client = postgres.client_of("kafka").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let producer: FutureProducer = kafka.client_config().set("enable.idempotence", "true").create()?;
    let settings = kafka_settings(&kafka, "logs")?;
    let mut streams: Vec<Lines> = (0..6).map(Lines::new).collect();
    let mut writers: Vec<Running> = Vec::new();
    let (mut resent, mut duplicates) = (0, 0);
    for round in 0..12 {
        if round % 3 == 0 {
            writers.push(start(
                parts(&store, true)?,
                KafkaSource::new(&settings, "writers")?,
                Arc::new(NoFeed),
            ));
        }
        for lines in &mut streams {
            let message = lines.message(50);
            let key = format!("uid-{}/app/0/stdout", lines.stream);
            send(&producer, "logs", &key, &message, true).await?;
            // As an agent does whose checkpoint was behind.
            if round % 4 == 1 {
                send(&producer, "logs", &key, &message, true).await?;
                resent += 50;
            }
        }
        if writers.len() > 2 || round % 5 == 4 {
            // Ended in the middle of what it does, like a kill: nothing is flushed.
            let writer = writers.remove(0);
            duplicates += writer.metrics.duplicates.get();
            writer.task.abort();
            let _ = writer.task.await;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    if writers.is_empty() {
        writers.push(start(parts(&store, true)?, KafkaSource::new(&settings, "writers")?, Arc::new(NoFeed)));
    }
    let written: u64 = streams.iter().map(|lines| lines.next).sum();
    wait_until("all records", async || Ok(count(&client, RECORDS).await? as u64 >= written)).await?;
    for writer in writers {
        duplicates += writer.metrics.duplicates.get();
        writer.end().await?;
    }
    check_exactly_once(&support::stored(&client).await?, &streams)?;
    let skipped = count(&client, "select sum(duplicates)::bigint from watermarks").await?;
    ensure!(skipped == resent && duplicates > 0, "{skipped} duplicates skipped, {resent} records sent again");
    ensure!(count(&client, "select count(*) from losses").await? == 0, "losses");
    Ok(())
}

/// Poison among good messages, a foreign OTLP message, a topic that is created again under the same name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_messages_and_a_strange_topic() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let kafka = Kafka::start().await?;
    kafka.create_topic("logs", 1).await?;
    let store = support::store(&postgres, "strange").await?;
    let client = postgres.client_of("strange").await?;
    let producer: FutureProducer = kafka.client_config().set("enable.idempotence", "true").create()?;
    let settings = kafka_settings(&kafka, "logs")?;
    let mut lines = Lines::new(1);
    send(&producer, "logs", "a", &lines.message(10), true).await?;
    send(&producer, "logs", "a", b"\xff\xff\xff\xff poison", true).await?;
    // What is marked as ours and is not: the same bytes from somebody else are his own records, of nobody's tenant.
    let foreign = Lines::new(2).message(3);
    send(&producer, "logs", "a", &foreign, false).await?;
    send(&producer, "logs", "a", &lines.message(10), true).await?;
    let writer = start(parts(&store, false)?, KafkaSource::new(&settings, "writers")?, Arc::new(NoFeed));
    wait_until("the good messages", async || Ok(count(&client, RECORDS).await? == 20)).await?;
    let row = client.query_one("select kafka_offset, payload, reason from dead_letters", &[]).await?;
    ensure!(row.get::<_, i64>(0) == 1 && row.get::<_, &[u8]>(1).ends_with(b"poison"), "{row:?}");
    let reason: String = row.get(2);
    ensure!(!reason.is_empty(), "no reason");
    let unassigned =
        count(&client, "select coalesce(sum(count), 0)::bigint from fresh where tenant = 'unassigned'")
            .await?;
    ensure!(unassigned == 3, "{unassigned} foreign records of nobody's tenant");
    let whole = cordwood_store::audit::whole(&store).await?;
    ensure!((whole.foreign_records, whole.dead_letters) == (3, 1), "{whole:?}");
    writer.end().await?;

    // The same name, other messages, at least as many: only their content tells.
    let gone = kafka.admin()?.delete_topics(&["logs"], &rdkafka::admin::AdminOptions::new()).await?;
    ensure!(gone.iter().all(Result::is_ok), "{gone:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    kafka.create_topic("logs", 1).await?;
    let mut other = Lines::new(7);
    for _ in 0..6 {
        send(&producer, "logs", "a", &other.message(5), true).await?;
    }
    let before = count(&client, RECORDS).await?;
    let writer = start(parts(&store, false)?, KafkaSource::new(&settings, "writers")?, Arc::new(NoFeed));
    wait_until("the alarm", async || {
        Ok(writer
            .status
            .lock()
            .is_ok_and(|status| status.stopped.get(&0).is_some_and(|why| why.contains("created again"))))
    })
    .await?;
    ensure!(writer.health.ready().is_err(), "ready while stopped");
    ensure!(count(&client, RECORDS).await? == before, "it jumped");
    writer.end().await
}

/// More blocks than a transaction may have, in one message: it was tried again and again, and all behind it waited for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_no_transaction_can_hold_is_a_dead_letter() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "blocks").await?;
    let client = postgres.client_of("blocks").await?;
    let (sender, source) = cordwood_writer::queue(64 << 20);
    let writer = start(parts(&store, false)?, source, Arc::new(NoFeed));
    let put = |message| sender.send(message).map_err(|_| anyhow::anyhow!("the queue is full"));
    let mut lines = Lines::new(1);
    // A tenant's records share no block with another's. (Messages one behind the other are one message.)
    // Each of these tenants has a block for what is below WARN and one for the rest.
    let endless = (10..4_000).flat_map(|stream| {
        let mut lines = Lines::new(stream);
        lines.tenant = format!("tenant-{stream}");
        lines.message(5)
    });
    let sent = [put(lines.message(10))?, put(endless.collect())?, put(lines.message(10))?];
    let all = tokio::time::timeout(Duration::from_secs(60), futures::future::try_join_all(sent));
    all.await.context("the writer stands still")??;
    writer.end().await?;
    check_exactly_once(&support::stored(&client).await?, &[lines])?;
    let reason: String = client.query_one("select reason from dead_letters", &[]).await?.get(0);
    ensure!(reason.contains("blocks in one transaction"), "{reason}");
    Ok(())
}

/// The answer to COMMIT is lost, again and again; PostgreSQL is killed; everything once.
async fn cut_connections(version: u32) -> Result<()> {
    let mut postgres = Postgres::start(version).await?;
    let direct = support::store(&postgres, "cut").await?;
    let proxy = Proxy::start(std::net::SocketAddr::from(([127, 0, 0, 1], postgres.port()))).await?;
    let through = postgres.url_through(proxy.address().ip(), proxy.address().port(), "cut");
    let store = Store::new(&Settings::url(through))?;
    let (sender, source) = queue(16 << 20);
    let writer = start(parts(&store, false)?, source, Arc::new(NoFeed));
    let mut streams: Vec<Lines> = (0..3).map(Lines::new).collect();
    let mut waiting = Vec::new();
    let happened = |metrics: &Metrics| {
        ["unknown", "postgres"].map(|reason| metrics.resets.with_label_values(&[reason]).get())
    };
    let commit = || Fault::DropAnswerTo(b"commit\0".to_vec());
    // COMMIT arrives and its answer does not; the connection goes; it breaks in the middle of a COPY. Each strikes until
    // the writer has felt it, however slow the machine is.
    let faults = [commit(), Fault::Cut, Fault::DropAnswerTo(b"PGCOPY".to_vec()), commit()];
    for (round, fault) in faults.iter().cycle().take(3 * faults.len()).enumerate() {
        let before = happened(&writer.metrics);
        let expected = usize::from(*fault != commit());
        let began = Instant::now();
        let mut calm = Duration::from_millis(40);
        while happened(&writer.metrics)[expected] == before[expected] {
            ensure!(began.elapsed() < Duration::from_secs(60), "{fault:?} did not happen: {before:?}");
            // Again, because it may have struck somebody else (a statement of another kind, a connection that was idle).
            proxy.set(fault.clone());
            for lines in &mut streams {
                let message = lines.message(30);
                waiting.push(sender.send(message).map_err(|_| anyhow::anyhow!("the queue is full"))?);
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
            if *fault == Fault::Cut {
                // So that there is a connection to cut: as long as the writer needs for one on this machine.
                proxy.set(Fault::None);
                tokio::time::sleep(calm).await;
                calm = (2 * calm).min(Duration::from_secs(4));
            }
        }
        proxy.set(Fault::None);
        if round == 5 {
            postgres.kill();
            postgres.restart().await?;
        }
    }
    proxy.set(Fault::None);
    for stored in waiting {
        tokio::time::timeout(Duration::from_secs(90), stored)
            .await
            .context("a message was never acknowledged")??;
    }
    let resets = happened(&writer.metrics);
    writer.end().await?;
    drop(direct);
    let client = postgres.client_of("cut").await?;
    check_exactly_once(&support::stored(&client).await?, &streams)?;
    println!("PostgreSQL {version}: {} lost answers to COMMIT, {} cut connections", resets[0], resets[1]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_15() -> Result<()> {
    cut_connections(15).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_18() -> Result<()> {
    cut_connections(18).await
}

/// A stream per tenant, capped; a Redis that is gone or hangs delays nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_fed_and_never_waited_for() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let mut redis = Redis::start().await?;
    let store = support::store(&postgres, "feed").await?;
    let parts = parts(&store, false)?;
    let metrics = parts.metrics.clone();
    let feed = RedisFeed::start(&redis.settings(), metrics.feed.clone())?;
    let (sender, source) = queue(64 << 20);
    let writer = start(parts, source, Arc::new(feed));
    let mut lines = Lines::new(1);
    let mut connection = redis::Client::open(redis.url())?.get_multiplexed_async_connection().await?;
    for _ in 0..30 {
        let message = lines.message(500);
        sender.send(message).map_err(|_| anyhow::anyhow!("the queue is full"))?.await?;
    }
    wait_until("the feed", async || Ok(metrics.feed.published.get() + metrics.feed.dropped.get() >= 15_000))
        .await?;
    let length: u64 = redis::cmd("XLEN").arg("cordwood:live:tenant-1").query_async(&mut connection).await?;
    ensure!((9_000..=10_200).contains(&length), "{length} entries");
    let last: redis::streams::StreamRangeReply = redis::cmd("XREVRANGE")
        .arg("cordwood:live:tenant-1")
        .arg("+")
        .arg("-")
        .arg("COUNT")
        .arg(1)
        .query_async(&mut connection)
        .await?;
    let body: Vec<u8> = last.ids[0].get("b").context("no body")?;
    ensure!(
        String::from_utf8_lossy(&body).contains("line 14999 of stream s1"),
        "{}",
        String::from_utf8_lossy(&body)
    );
    redis.kill();
    for _ in 0..10 {
        let message = lines.message(500);
        sender.send(message).map_err(|_| anyhow::anyhow!("the queue is full"))?.await?;
    }
    wait_until("the drop", async || Ok(metrics.feed.dropped.get() > 0)).await?;
    writer.end().await?;
    check_exactly_once(&support::stored(&postgres.client_of("feed").await?).await?, &[lines])
}
