//! What a message unpacks to: no matter who wrote it, a writer stays below the limit that the chart gives it, and goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::batch::{KAFKA_HEADER, KAFKA_HEADER_VALUE};
use cordwood_tests::pipeline::{Pipeline, PipelineOptions, TOPIC};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::support::Lines;
use super::{count, wait_until};

/// `writer.resources.limits.memory` of the chart.
const LIMIT_KB: u64 = 512 << 10;

/// A length-delimited field of a protobuf message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

/// A resource whose names are as long as they may be.
fn large_resource() -> Vec<u8> {
    let attribute = |key: &str, bytes: usize| {
        let value = field(1, "n".repeat(bytes).as_bytes());
        field(1, &[field(1, key.as_bytes()), field(2, &value)].concat())
    };
    let names = [
        "k8s.namespace.name",
        "k8s.pod.name",
        "k8s.pod.uid",
        "k8s.container.name",
        "k8s.node.name",
        "service.name",
        "deployment.environment.name",
        "service.version",
        "cloud.region",
    ];
    let mut resource: Vec<u8> = names.iter().flat_map(|name| attribute(name, 253)).collect();
    resource.extend(attribute("log.file.path", 4096));
    resource
}

/// One resource with `scopes` scopes of `records` empty records each: four bytes where there is one.
fn empty_records(scopes: usize, records: usize) -> Vec<u8> {
    let scope = field(2, &[0x12, 0x00].repeat(records));
    let logs = [field(1, &large_resource()), scope.repeat(scopes)].concat();
    field(1, &logs)
}

fn one_record(record: &[u8]) -> Vec<u8> {
    field(1, &field(2, &field(2, record)))
}

fn words(bytes: usize) -> Vec<u8> {
    let mut text = String::with_capacity(bytes + 16);
    let mut word = 1_u64;
    while text.len() < bytes {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:x} ", word >> 20));
    }
    one_record(&field(5, &field(1, text.as_bytes())))
}

fn stayed_below_its_limit(pipeline: &mut Pipeline) -> Result<()> {
    pipeline.check()?;
    let process = pipeline.writer.as_ref().context("a writer")?.id();
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let peak_kb: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    println!("peak of the writer: {} MiB", peak_kb >> 10);
    ensure!(peak_kb < LIMIT_KB, "{} MiB", peak_kb >> 10);
    Ok(())
}

/// Messages of one letter, a set each: librdkafka unpacks all sets of an answer before it hands out the first message. They lie
/// there when the writer starts, which is when an answer is as full as it may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_takes_a_writer_above_its_memory() -> Result<()> {
    const TOPIC_PARTITIONS: u32 = 4;
    let mut pipeline = Pipeline::prepare(PipelineOptions {
        topic_partitions: TOPIC_PARTITIONS,
        ..PipelineOptions::default()
    })
    .await?;
    pipeline.start_writer()?;
    let client = pipeline.postgres.client().await?;
    let read = "select case when to_regclass('positions') is null then 0 else 1 end::bigint";
    wait_until("the schema", async || Ok(count(&client, read).await? == 1)).await?;
    let letters = one_record(&field(5, &field(1, "a".repeat(15 << 20).as_bytes())));
    let producer: FutureProducer = pipeline.kafka.client_config().create()?;
    let line = Lines::new(1).message(10);
    let put = async || {
        let record: FutureRecord<'_, str, [u8]> = FutureRecord::to(TOPIC).partition(0).payload(&line);
        Ok(producer.send(record, Duration::from_secs(30)).await.is_ok())
    };
    wait_until("the topic", put).await?;
    drop(pipeline.writer.take());
    let mut sent = 1;
    // What each packs best: 1 to 26,000, 1 to 1,000, 1 to 250; and sets of several.
    for (codec, messages, of_a_set) in
        [("zstd", 64, 1), ("gzip", 8, 1), ("lz4", 8, 1), ("zstd", 8, 2), ("gzip", 6, 6)]
    {
        let producer: FutureProducer = pipeline
            .kafka
            .client_config()
            .set("message.max.bytes", "100000000")
            .set("batch.size", "100000000")
            .set("batch.num.messages", of_a_set.to_string())
            .set("linger.ms", "500")
            .set("compression.type", codec)
            .create()?;
        let acknowledged = (0..messages).map(|message| {
            let topic_partition = message / of_a_set % TOPIC_PARTITIONS;
            let record: FutureRecord<'_, str, [u8]> =
                FutureRecord::to(TOPIC).partition(topic_partition as i32).payload(&letters);
            producer.send(record, Duration::from_secs(30))
        });
        for acknowledged in futures::future::join_all(acknowledged).await {
            acknowledged.map_err(|(error, _)| error)?;
            sent += 1;
        }
    }
    pipeline.start_writer()?;
    let read = "select coalesce(sum(next_offset), 0)::bigint from positions";
    wait_until("all messages", async || Ok(count(&client, read).await? >= sent)).await?;
    stayed_below_its_limit(&mut pipeline)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_takes_a_writer_above_its_memory() -> Result<()> {
    let mut pipeline =
        Pipeline::prepare(PipelineOptions { topic_partitions: 1, ..PipelineOptions::default() }).await?;
    pipeline.start_writer()?;
    let client = pipeline.postgres.client().await?;
    let read = "select case when to_regclass('positions') is null then 0 else 1 end::bigint";
    wait_until("the schema", async || Ok(count(&client, read).await? == 1)).await?;
    let producer: FutureProducer = pipeline
        .kafka
        .client_config()
        .set("message.max.bytes", (17 << 20).to_string())
        .set("compression.type", "zstd")
        .create()?;
    let mut sent = 0;
    let mut put = async |payload: &[u8], ours: bool| -> Result<()> {
        let mut record: FutureRecord<'_, str, [u8]> = FutureRecord::to(TOPIC).partition(0).payload(payload);
        if ours {
            let mark = Header { key: KAFKA_HEADER, value: Some(KAFKA_HEADER_VALUE) };
            record = record.headers(OwnedHeaders::new().insert(mark));
        }
        producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
        sent += 1;
        Ok(())
    };
    let mut lines = Lines::new(1);
    wait_until("the topic", async || Ok(put(&lines.message(10), true).await.is_ok())).await?;
    // The message of half a megabyte that took a writer to 915 MB, and what is just within the limits.
    put(&empty_records(131_072, 1), false).await?;
    put(&empty_records(4_000, 32), false).await?;
    // Millions of attributes in a record, millions of values in a list, millions of words.
    let mebibytes_15 = 15 << 20;
    put(&one_record(&[0x32, 0x00].repeat(mebibytes_15 / 2)), false).await?;
    let list = field(5, &[0x0a, 0x00].repeat(mebibytes_15 / 2));
    put(&one_record(&field(5, &list)), false).await?;
    put(&words(mebibytes_15), false).await?;
    // As many tenants as a message may have batches.
    let tenants: Vec<u8> = (10..4_000)
        .flat_map(|stream| {
            let mut lines = Lines::new(stream);
            lines.tenant = format!("tenant-{stream}");
            lines.message(1)
        })
        .collect();
    put(&tenants, true).await?;
    // Several of the largest, one behind the other.
    for _ in 0..2 {
        put(&words(mebibytes_15), false).await?;
    }
    put(&lines.message(10), true).await?;
    let read = "select coalesce(sum(next_offset), 0)::bigint from positions";
    wait_until("all messages", async || Ok(count(&client, read).await? >= sent)).await?;
    stayed_below_its_limit(&mut pipeline)?;
    let records = "select sum(records)::bigint from watermarks where stream like 'uid-1/%'";
    ensure!(count(&client, records).await? == 20, "the lines around them");
    Ok(())
}
