//! The topic's partitions are raised while the writer is behind: streams move to topic partitions that another writer reads, ahead
//! of what the old ones still hold, and agents that restart send across what is on its way. Everything once, and no loss is left.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::batch::{KAFKA_HEADER, KAFKA_HEADER_VALUE};
use cordwood_store::commit::Position;
use cordwood_tests::env::{Kafka, Postgres};
use cordwood_writer::{Event, KafkaSource, NoFeed, Source, SourceStatus};
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::support::{self, Lines, check_exactly_once};
use super::{count, kafka_settings, parts, start, wait_until};

/// A writer that has one topic partition, while another one has the other.
struct Only {
    source: KafkaSource,
    topic_partition: u32,
}

impl Source for Only {
    fn topic(&self) -> &str {
        self.source.topic()
    }

    async fn next(&mut self) -> Event {
        match self.source.next().await {
            Event::Messages(mut messages) => {
                messages.retain(|message| message.topic_partition == self.topic_partition);
                Event::Messages(messages)
            }
            other => other,
        }
    }

    fn start(&mut self, positions: &HashMap<u32, Position>) -> impl Future<Output = ()> + Send {
        self.source.start(positions)
    }

    fn committed(&mut self, positions: &[(u32, u64)]) {
        self.source.committed(positions);
    }

    fn status(&self) -> SourceStatus {
        self.source.status()
    }
}

/// Lines `from..to` of a stream as one message: however they are cut, the same lines.
fn cut(stream: u32, from: u64, to: u64) -> Vec<u8> {
    let mut lines = Lines::new(stream);
    if from > 0 {
        lines.message(from);
    }
    lines.message(to - from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raised_partitions_lose_nothing_and_double_nothing() -> Result<()> {
    const STREAMS: u32 = 12;
    let postgres = Postgres::start(15).await?;
    let kafka = Kafka::start().await?;
    kafka.create_topic("logs", 1).await?;
    let store = support::store(&postgres, "raised").await?;
    let client = postgres.client_of("raised").await?;
    let producer: FutureProducer = kafka
        .client_config()
        .set("enable.idempotence", "true")
        .set("topic.metadata.refresh.interval.ms", "200")
        .create()?;
    let put = async |topic_partition: i32, payload: Vec<u8>| -> Result<()> {
        let mark = Header { key: KAFKA_HEADER, value: Some(KAFKA_HEADER_VALUE) };
        let record: FutureRecord<'_, str, Vec<u8>> =
            FutureRecord::to("logs").partition(topic_partition).payload(&payload);
        let record = record.headers(OwnedHeaders::new().insert(mark));
        producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
        Ok(())
    };
    // Nobody reads them yet.
    for stream in 0..STREAMS {
        put(0, cut(stream, 0, 50)).await?;
        put(0, cut(stream, 50, 100)).await?;
    }
    let raised =
        kafka.admin()?.create_partitions(&[NewPartitions::new("logs", 2)], &AdminOptions::new()).await?;
    ensure!(raised.iter().all(Result::is_ok), "{raised:?}");
    wait_until("the second topic partition", async || Ok(put(1, cut(0, 100, 150)).await.is_ok())).await?;
    for stream in 1..STREAMS {
        put(1, cut(stream, 100, 150)).await?;
    }
    let settings = kafka_settings(&kafka, "logs")?;
    let writer = |topic_partition: u32| -> Result<_> {
        let source = KafkaSource::new(&settings, &format!("only-{topic_partition}"))?;
        Ok(start(parts(&store, false)?, Only { source, topic_partition }, Arc::new(NoFeed)))
    };
    let records = async |wanted: u32| {
        let sql = "select coalesce(sum(records), 0)::bigint from watermarks where topic_partition = 1";
        wait_until("what was sent after the raise", async || {
            Ok(count(&client, sql).await? >= i64::from(wanted))
        })
        .await
    };
    // The new topic partition is read first. What it does not bring is told as a loss (a record of each stream): nobody knows better.
    let second = writer(1)?;
    records(STREAMS * 51).await?;
    let losses = async || count(&client, "select count(*) from losses").await;
    ensure!(losses().await? == i64::from(STREAMS), "{} losses are told", losses().await?);
    // Agents that restart send from their checkpoints again, to where the streams are now.
    for stream in 0..STREAMS / 2 {
        put(1, cut(stream, 70, 170)).await?;
    }
    records(STREAMS * 51 + STREAMS / 2 * 50).await?;
    let first = writer(0)?;
    // Some clients have old metadata: lines are sent both ways, in other pieces, while both writers read.
    for round in 0..20_u64 {
        for stream in 0..STREAMS {
            let at = if stream < STREAMS / 2 { 170 } else { 150 } + round * 30;
            put(i32::from(round % 2 == 0), cut(stream, at, at + 30)).await?;
            put(i32::from(round % 3 == 0), cut(stream, at - 10, at + 30)).await?;
        }
    }
    let written: Vec<Lines> = (0..STREAMS)
        .map(|stream| {
            let mut lines = Lines::new(stream);
            lines.message(if stream < STREAMS / 2 { 770 } else { 750 });
            lines
        })
        .collect();
    let messages = STREAMS * 3 + STREAMS / 2 + 20 * STREAMS * 2;
    let read = "select coalesce(sum(next_offset), 0)::bigint from positions";
    wait_until("all messages", async || Ok(count(&client, read).await? == i64::from(messages))).await?;
    let overlaps =
        [&first, &second].map(|writer| writer.metrics.resets.with_label_values(&["overlap"]).get());
    println!("going back because the other writer was faster: {overlaps:?}");
    first.end().await?;
    second.end().await?;
    check_exactly_once(&support::stored_but_losses(&client).await?, &written)?;
    ensure!(losses().await? == 0, "{} losses are left", losses().await?);
    ensure!(
        count(&client, "select sum(lost_bytes)::bigint from watermarks").await? == 0,
        "lost bytes are left"
    );
    let lines = count(&client, "select sum(lines - records)::bigint from watermarks").await?;
    ensure!(lines == 0, "lines and records differ by {lines}");
    Ok(())
}
