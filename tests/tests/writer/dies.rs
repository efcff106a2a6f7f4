//! A writer that dies again and again, sooner than Kafka gives up the session of a dead member, still stores: it keeps its name.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cordwood_tests::pipeline::{Pipeline, PipelineOptions, TOPIC};
use rdkafka::producer::FutureProducer;
use serde_json::json;

use super::support::{self, Lines, check_exactly_once};
use super::{RECORDS, count, send, wait_until};

const LIFE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_dies_every_five_seconds_stores() -> Result<()> {
    let options = PipelineOptions { writer: json!({"member": "writer-0"}), ..PipelineOptions::default() };
    let mut pipeline = Pipeline::prepare(options).await?;
    pipeline.start_writer()?;
    let producer: FutureProducer =
        pipeline.kafka.client_config().set("enable.idempotence", "true").create()?;
    let client = pipeline.postgres.client().await?;
    let made = "select case when to_regclass('positions') is null then 0 else 1 end::bigint";
    wait_until("the schema", async || Ok(count(&client, made).await? == 1)).await?;
    let mut lines = Lines::new(1);
    let put = async |lines: &mut Lines| {
        let message = lines.message(10);
        wait_until("the topic", async || Ok(send(&producer, TOPIC, "1", &message, true).await.is_ok())).await
    };
    put(&mut lines).await?;
    wait_until("the first life", async || Ok(count(&client, RECORDS).await? == 10)).await?;
    let mut lives = Vec::new();
    for _ in 0..3 {
        let before = count(&client, RECORDS).await?;
        pipeline.kill_writer()?;
        let began = Instant::now();
        while began.elapsed() < LIFE {
            put(&mut lines).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        lives.push(count(&client, RECORDS).await? - before);
    }
    println!("records stored in each life: {lives:?}");
    ensure!(lives.iter().any(|records| *records > 0), "no life stored anything");
    let written = lines.next as i64;
    wait_until("all records", async || Ok(count(&client, RECORDS).await? >= written)).await?;
    check_exactly_once(&support::stored(&client).await?, &[lines])?;
    // Another one under the same name drives it out: it says so and ends.
    let second = cordwood_writer::KafkaSource::join(
        &super::kafka_settings(&pipeline.kafka, TOPIC)?,
        "cordwood-writer",
        Some("writer-0"),
    )?;
    let process = pipeline.writer.as_mut().expect("it was started");
    let deadline = Instant::now() + Duration::from_secs(90);
    while process.ended().is_none() {
        ensure!(Instant::now() < deadline, "two writers of one name go on beside one another");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = process.log_tail(20);
    ensure!(log.contains("member"), "{log}");
    drop(second);
    Ok(())
}
