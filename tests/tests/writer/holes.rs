//! Messages that do not arrive: damaged on the way (fetched again), deleted in Kafka (recorded), expired where reading begins.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use cordwood_tests::env::{Fault, Kafka, KafkaOptions, Postgres, Proxy};
use cordwood_writer::{KafkaSource, NoFeed};
use rdkafka::admin::AdminOptions;
use rdkafka::producer::FutureProducer;
use rdkafka::{Offset, TopicPartitionList};

use super::support::{self, Lines, check_exactly_once};
use super::{RECORDS, count, kafka_settings, parts, send, start, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_do_not_arrive() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    // The broker's address is known only once it runs: the proxy is told then.
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], 9))).await?;
    let options = KafkaOptions { advertised: Some(proxy.address()), ..KafkaOptions::default() };
    let kafka = Kafka::start_with(options).await?;
    proxy.set_upstream(kafka.direct());
    kafka.create_topic("logs", 1).await?;
    let store = support::store(&postgres, "holes").await?;
    let client = postgres.client_of("holes").await?;
    let producer: FutureProducer =
        kafka.client_config().set("enable.idempotence", "true").set("compression.type", "none").create()?;
    let settings = kafka_settings(&kafka, "logs")?;
    let mut streams: Vec<Lines> = (0..3).map(Lines::new).collect();
    let mut writer = start(parts(&store, false)?, KafkaSource::new(&settings, "writers")?, Arc::new(NoFeed));
    let records = async |wanted: u64| {
        wait_until("the records", async || Ok(count(&client, RECORDS).await? as u64 >= wanted)).await
    };
    send(&producer, "logs", "0", &streams[0].message(10), true).await?;
    records(10).await?;

    // A bit is another on the wire, in the last message of its stream: nothing behind it tells that it is missing.
    proxy.set(Fault::FlipBit(b"of stream s1".to_vec()));
    send(&producer, "logs", "1", &streams[1].message(10), true).await?;
    records(20).await?;
    ensure!(proxy.counts().bits_flipped.load(Ordering::Relaxed) == 1, "no bit was flipped");
    // And in one of several messages of one answer.
    writer.end().await?;
    for _ in 0..3 {
        send(&producer, "logs", "0", &streams[0].message(10), true).await?;
        send(&producer, "logs", "1", &streams[1].message(10), true).await?;
        send(&producer, "logs", "2", &streams[2].message(10), true).await?;
    }
    proxy.set(Fault::FlipBit(b"of stream s2".to_vec()));
    writer = start(parts(&store, false)?, KafkaSource::new(&settings, "writers")?, Arc::new(NoFeed));
    records(110).await?;
    ensure!(proxy.counts().bits_flipped.load(Ordering::Relaxed) == 2, "no bit was flipped");
    check_exactly_once(&support::stored(&client).await?, &streams)?;
    let gaps = "select count(*) from offset_gaps";
    ensure!(count(&client, gaps).await? == 0, "what came the second time is no loss");
    writer.end().await?;

    // The first messages are deleted in Kafka, and somebody deletes the row of the position: what is gone is said.
    let mut to = TopicPartitionList::new();
    to.add_partition_offset("logs", 0, Offset::Offset(5))?;
    kafka.admin()?.delete_records(&to, &AdminOptions::new()).await?;
    client.batch_execute("delete from positions").await?;
    writer = start(parts(&store, false)?, KafkaSource::new(&settings, "writers")?, Arc::new(NoFeed));
    wait_until("the gap", async || Ok(count(&client, gaps).await? == 1)).await?;
    let row = client
        .query_one("select topic_partition, offset_from, offset_to, reason from offset_gaps", &[])
        .await?;
    let told: (i32, i64, i64) = (row.get(0), row.get(1), row.get(2));
    ensure!(told == (0, 0, 5) && row.get::<_, String>(3).contains("reading began here"), "{row:?}");
    wait_until("the rest", async || {
        Ok(count(&client, "select coalesce(max(next_offset), 0)::bigint from positions").await? == 11)
    })
    .await?;
    ensure!(writer.metrics.missing_messages.get() == 5, "{}", writer.metrics.missing_messages.get());
    writer.end().await?;
    check_exactly_once(&support::stored(&client).await?, &streams)
}
