//! PostgreSQL or Kafka stalls, and comes back: everything once, nothing hangs, nothing spins.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_store::{Settings, Store};
use cordwood_tests::env::{Fault, Kafka, KafkaOptions, Postgres, Proxy};
use cordwood_writer::{KafkaSource, NoFeed, queue};
use futures::future::try_join_all;
use rdkafka::producer::FutureProducer;

use super::support::{self, Lines, check_exactly_once};
use super::{RECORDS, Running, count, kafka_settings, parts, send, start, wait_until};

/// Enough small messages that what was handed over, what is read and what librdkafka fetched ahead are all full.
const MESSAGES: usize = 14_000;

async fn send_many(producer: &FutureProducer, streams: &mut [Lines]) -> Result<()> {
    let messages: Vec<(String, Vec<u8>)> = (0..MESSAGES)
        .map(|place| {
            let lines = &mut streams[place % 4];
            (format!("uid-{}/app/0/stdout", lines.stream), lines.message(2))
        })
        .collect();
    try_join_all(messages.iter().map(|(key, message)| send(producer, "logs", key, message, true))).await?;
    Ok(())
}

struct World {
    postgres: Postgres,
    kafka: Kafka,
    to_postgres: Proxy,
    writer: Running,
    producer: FutureProducer,
    streams: Vec<Lines>,
    client: tokio_postgres::Client,
}

impl World {
    /// A writer that has stored something, its way to PostgreSQL through a proxy.
    async fn start(kafka: Kafka) -> Result<World> {
        let postgres = Postgres::start(15).await?;
        kafka.create_topic("logs", 2).await?;
        support::store(&postgres, "stalls").await?;
        let client = postgres.client_of("stalls").await?;
        let to_postgres = Proxy::start(SocketAddr::from(([127, 0, 0, 1], postgres.port()))).await?;
        let through = to_postgres.address();
        let store = Store::new(&Settings::url(postgres.url_through(through.ip(), through.port(), "stalls")))?;
        let producer: FutureProducer = kafka.client_config().set("enable.idempotence", "true").create()?;
        let settings = kafka_settings(&kafka, "logs")?;
        let writer = start(parts(&store, false)?, KafkaSource::new(&settings, "writers")?, Arc::new(NoFeed));
        let mut streams: Vec<Lines> = (0..4).map(Lines::new).collect();
        for lines in &mut streams {
            let key = format!("uid-{}/app/0/stdout", lines.stream);
            send(&producer, "logs", &key, &lines.message(10), true).await?;
        }
        let world = World { postgres, kafka, to_postgres, writer, producer, streams, client };
        world.wait_for_all().await?;
        Ok(world)
    }

    async fn wait_for_all(&self) -> Result<()> {
        let written: u64 = self.streams.iter().map(|lines| lines.next).sum();
        let stored =
            wait_until("all records", async || Ok(count(&self.client, RECORDS).await? as u64 >= written));
        tokio::time::timeout(Duration::from_secs(25), stored)
            .await
            .context("records are missing after 25 s")?
    }

    async fn end(self) -> Result<()> {
        self.wait_for_all().await?;
        self.writer.end().await?;
        check_exactly_once(&support::stored(&self.client).await?, &self.streams)?;
        ensure!(count(&self.client, "select count(*) from losses").await? == 0, "losses");
        drop((self.postgres, self.kafka));
        Ok(())
    }
}

/// Long enough that reading is paused: it must go on once PostgreSQL is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_goes_on_after_a_long_stall() -> Result<()> {
    let kafka = Kafka::start().await?;
    let mut world = World::start(kafka).await?;
    world.to_postgres.set(Fault::Silence);
    send_many(&world.producer, &mut world.streams).await?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    world.to_postgres.set(Fault::Cut);
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.to_postgres.set(Fault::None);
    world.end().await
}

/// A transaction fails while Kafka cannot be asked either: what was fetched ahead must not be stored over the hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_fetched_ahead_of_a_failure_comes_again() -> Result<()> {
    let to_kafka = Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))).await?;
    let options = KafkaOptions { advertised: Some(to_kafka.address()), ..KafkaOptions::default() };
    let kafka = Kafka::start_with(options).await?;
    to_kafka.set_upstream(kafka.direct());
    let mut world = World::start(kafka).await?;
    world.to_postgres.set(Fault::Silence);
    send_many(&world.producer, &mut world.streams).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    to_kafka.set(Fault::Silence);
    world.to_postgres.set(Fault::Cut);
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.to_postgres.set(Fault::None);
    tokio::time::sleep(Duration::from_secs(8)).await;
    to_kafka.set(Fault::None);
    world.end().await
}

/// Many transactions' worth of messages come at once: what does not fit is taken when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_fits_at_once() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "many").await?;
    let (sender, source) = queue(64 << 20);
    let mut lines = Lines::new(1);
    let put = |_| sender.send(lines.message(100)).map_err(|_| anyhow::anyhow!("the queue is full"));
    let stored: Vec<_> = (0..300).map(put).collect::<Result<_>>()?;
    let writer = start(parts(&store, false)?, source, Arc::new(NoFeed));
    let all = tokio::time::timeout(Duration::from_secs(30), try_join_all(stored));
    all.await.context("some were never taken")??;
    writer.end().await?;
    check_exactly_once(&support::stored(&postgres.client_of("many").await?).await?, &[lines])
}

/// A full disk: the session opens, the transaction fails. It is tried at growing intervals, and probes say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_fails_again_and_again_is_told() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "full").await?;
    let client = postgres.client_of("full").await?;
    let (sender, source) = queue(16 << 20);
    let writer = start(parts(&store, false)?, source, Arc::new(NoFeed));
    let mut lines = Lines::new(1);
    let mut put = || sender.send(lines.message(10)).map_err(|_| anyhow::anyhow!("the queue is full"));
    put()?.await?;
    let is_ready = || !writer.health.ready().is_err_and(|reasons| reasons.contains("postgres"));
    ensure!(is_ready(), "{:?}", writer.health.ready());
    client
        .batch_execute(
            "create function full_disk() returns trigger language plpgsql as \
             $$ begin raise exception 'No space left on device' using errcode = '53100'; end $$; \
             create trigger full_disk before insert on batches execute function full_disk()",
        )
        .await?;
    let stored = put()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let tries = writer.metrics.resets.with_label_values(&["postgres"]).get();
    ensure!((2..=8).contains(&tries), "{tries} tries in 3 s");
    ensure!(!is_ready(), "ready with a full disk");
    client.batch_execute("drop trigger full_disk on batches").await?;
    tokio::time::timeout(Duration::from_secs(15), stored).await.context("it does not recover")??;
    wait_until("readiness", async || Ok(is_ready())).await?;
    writer.end().await?;
    check_exactly_once(&support::stored(&client).await?, &[lines])
}
