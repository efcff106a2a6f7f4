//! Messages that a broker has whole, by their checksum, and that nobody can unpack: their topic partitions stop and say so, the others
//! go on, and an administrator who passes over them as the documents say has the rest, and the loss told.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::{Kafka, Postgres};
use cordwood_writer::{KafkaSource, NoFeed};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::support::{self, Lines};
use super::{RECORDS, count, kafka_settings, parts, start, wait_until};

/// Of a set of messages (Kafka's record batch, version 2): where its checksum stands, what the checksum is of, and where the messages begin.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
const MESSAGES_AT: usize = 61;

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// Makes the compressed messages of the set at this offset nonsense, under a checksum that is right.
fn spoil(segment: &Path, kafka_offset: u64) -> Result<()> {
    let mut bytes = std::fs::read(segment)?;
    let mut at = 0;
    while at + MESSAGES_AT < bytes.len() {
        let first = u64::from_be_bytes(bytes[at..at + 8].try_into()?);
        let end = at + 12 + u32::from_be_bytes(bytes[at + 8..at + 12].try_into()?) as usize;
        let set = bytes.get_mut(at..end).context("a set that is cut")?;
        let stored = u32::from_be_bytes(set[CRC_AT..CRC_FROM].try_into()?);
        ensure!(stored == crc32c(&set[CRC_FROM..]), "this is not where the checksum stands");
        if first == kafka_offset {
            set[MESSAGES_AT + 8..].iter_mut().for_each(|byte| *byte = !*byte);
            let crc = crc32c(&set[CRC_FROM..]).to_be_bytes();
            set[CRC_AT..CRC_FROM].copy_from_slice(&crc);
            return std::fs::write(segment, bytes).context("write the segment");
        }
        at = end;
    }
    anyhow::bail!("no set at {kafka_offset}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_unpacked_stops_its_topic_partition_alone() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let mut kafka = Kafka::start().await?;
    kafka.create_topic("logs", 3).await?;
    let store = support::store(&postgres, "unreadable").await?;
    let client = postgres.client_of("unreadable").await?;
    let producer: FutureProducer = kafka.client_config().set("compression.type", "zstd").create()?;
    let mut streams: Vec<Lines> = (0..3).map(Lines::new).collect();
    let send = async |lines: &mut Lines| -> Result<()> {
        let (partition, payload) = (lines.stream as i32, lines.message(10));
        let mark = rdkafka::message::Header {
            key: cordwood_core::batch::KAFKA_HEADER,
            value: Some(cordwood_core::batch::KAFKA_HEADER_VALUE),
        };
        let record: FutureRecord<'_, str, [u8]> = FutureRecord::to("logs")
            .partition(partition)
            .payload(&payload[..])
            .headers(rdkafka::message::OwnedHeaders::new().insert(mark));
        producer.send(record, std::time::Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
        Ok(())
    };
    for lines in &mut streams {
        for _ in 0..3 {
            send(lines).await?;
        }
    }
    kafka.stop();
    // The very first of one topic partition, and one in the middle of another.
    spoil(&kafka.segment("logs", 0), 0)?;
    spoil(&kafka.segment("logs", 1), 1)?;
    kafka.restart().await?;
    let settings = kafka_settings(&kafka, "logs")?;
    let writer = start(parts(&store, false)?, KafkaSource::new(&settings, "writers")?, Arc::new(NoFeed));
    let stopped = || writer.status.lock().map(|status| status.stopped.clone()).unwrap_or_default();
    wait_until("both to be stopped", async || Ok(stopped().len() == 2)).await?;
    let said = stopped();
    for (partition, place) in [(0, "its beginning"), (1, "1 on")] {
        let why = said.get(&partition).with_context(|| format!("another was stopped: {said:?}"))?;
        ensure!(why.contains(place) && why.contains("cannot be unpacked"), "{why}");
    }
    send(&mut streams[2]).await?;
    wait_until("the others", async || Ok(count(&client, RECORDS).await? == 10 + 40)).await?;
    writer.end().await?;

    // As the text says.
    client
        .batch_execute(
            "insert into positions (topic_partition, topic, next_offset) values (0, 'logs', 1); \
             update positions set next_offset = 2, last_hash = null where topic_partition = 1",
        )
        .await?;
    let writer = start(parts(&store, false)?, KafkaSource::new(&settings, "writers")?, Arc::new(NoFeed));
    // Each loss is a record too.
    wait_until("the rest", async || Ok(count(&client, RECORDS).await? == 20 + 20 + 40 + 2)).await?;
    let losses = "select count(*) from losses where bytes > 0 and stream in \
                  (select stream from watermarks where topic_partition in (0, 1))";
    ensure!(count(&client, losses).await? == 2, "the lines that are gone were not told as lost");
    writer.end().await
}
