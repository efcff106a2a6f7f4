//! A topic that was there and takes messages of less than our batches: what fits arrives, what does not is cut and said so.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::record::Flags;
use cordwood_tests::http;
use cordwood_tests::pipeline::{Pipeline, PipelineOptions, TOPIC};
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};

use super::stored::records;

/// Letters that no compression makes much smaller.
fn noise(seed: u64, len: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..len).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_arrives_and_what_does_not_is_cut() -> Result<()> {
    let mut pipeline = Pipeline::prepare(PipelineOptions::default()).await?;
    pipeline.kafka.create_topic_with(TOPIC, 1, &[("max.message.bytes", "200000")]).await?;
    let folder = pipeline.pods().join("shop_small-1_uid1/app");
    fs::create_dir_all(&folder)?;
    let mut file = fs::File::create(folder.join("0.log")).context("create the log")?;
    let mut written = Vec::new();
    let mut write = |bodies: Vec<String>| -> Result<u64> {
        for body in bodies {
            let now = jiff::Timestamp::now();
            let parts: Vec<&str> =
                body.as_bytes().chunks(16 << 10).map(|part| std::str::from_utf8(part).unwrap()).collect();
            for (index, part) in parts.iter().enumerate() {
                let tag = if index + 1 < parts.len() { "P" } else { "F" };
                writeln!(file, "{now:.9} stdout {tag} {part}")?;
            }
            written.push(body);
        }
        Ok(written.len() as u64)
    };
    let mut bodies: Vec<String> = (0..60).map(|seed| noise(seed, 9_000)).collect();
    bodies.insert(30, noise(99, 500_000));
    let lines = write(bodies)?;
    pipeline.start_agent()?;
    pipeline.start_writer()?;
    pipeline.drained(lines, Duration::from_secs(60)).await?;
    let address = pipeline.endpoints()[0].replace("http://", "");
    let restarts = http::metric(&address, "cordwood_agent_send_restarts_total").await?;
    ensure!(restarts <= 1.0, "{restarts} restarts: the topic was asked before anything was sent");

    // It takes less from now on, and the agent hears of it from a refusal.
    let topic = AlterConfig::new(ResourceSpecifier::Topic(TOPIC)).set("max.message.bytes", "100000");
    pipeline.kafka.admin()?.alter_configs([&topic], &AdminOptions::new()).await?;
    let lines = write((200..260).map(|seed| noise(seed, 9_000)).collect())?;
    pipeline.drained(lines, Duration::from_secs(60)).await?;

    let stored = records(&pipeline.postgres.client().await?).await?;
    ensure!(stored.len() == written.len(), "{} of {} records", stored.len(), written.len());
    for (stored, written) in stored.iter().zip(&written) {
        let cut = stored.flags.has(Flags::TRUNCATED);
        ensure!(cut == (written.len() > 200_000), "only what does not fit is cut");
        ensure!(written.as_bytes().starts_with(&stored.body), "in order, as it was");
        ensure!(if cut { stored.body.len() > 150_000 } else { stored.body.len() == written.len() });
    }
    let cut = http::metric(&address, "cordwood_agent_truncated_bytes_total").await?;
    ensure!(cut > 300_000.0, "{cut} bytes cut");
    let (code, ready) = http::get(&address, "/readyz").await?;
    ensure!(code == 200, "{ready}");
    Ok(())
}
