//! A writer that is killed in the middle of a round of sealing: nothing of the round is seen, the next writer seals the same records, each
//! is there once, and no half of an index.

use anyhow::{Result, ensure};
use cordwood_store::verify::Verifier;
use cordwood_store::{Settings, Store};
use cordwood_tests::pipeline::{Pipeline, PipelineOptions, TOPIC};
use rdkafka::producer::FutureProducer;
use serde_json::json;

use super::support::{self, Lines, check_exactly_once};
use super::{RECORDS, count, send, wait_until};

/// What a round waits for while somebody else holds it: with its blocks written, and before it ends.
const HELD: [&str; 3] = ["rollup", "sealed_leaves", "contents_of"];

const MIGRATED: &str =
    "select count(*) from pg_attribute where attrelid = to_regclass('ring_ctl') and attname = 'block_format'";
const WAITS: &str = "select count(*) from pg_stat_activity where application_name = 'cordwood sealer' and wait_event_type = 'Lock'";
const SEALED: &str = "select coalesce(sum(count), 0)::bigint from blocks";
/// Table partitions into which the round has written that has not ended.
const WRITTEN: &str = "select count(*) from pg_locks l join pg_stat_activity a using (pid) join pg_partition_tree('blocks') p on p.relid = l.relation \
                       where a.application_name = 'cordwood sealer' and p.isleaf and l.mode = 'RowExclusiveLock'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_killed_while_it_seals_in_format_2_loses_nothing() -> Result<()> {
    killed(2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_killed_while_it_seals_in_format_3_loses_nothing() -> Result<()> {
    killed(3).await
}

async fn killed(format: u8) -> Result<()> {
    let writer = json!({"member": "writer-0", "seal": {"format": format, "interval_seconds": 0.2}});
    let mut pipeline = Pipeline::prepare(PipelineOptions { writer, ..PipelineOptions::default() }).await?;
    pipeline.start_writer()?;
    let producer: FutureProducer =
        pipeline.kafka.client_config().set("enable.idempotence", "true").create()?;
    let client = pipeline.postgres.client().await?;
    wait_until("the schema", async || Ok(count(&client, MIGRATED).await? == 1)).await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let mut lines = Lines::new(1);
    for table in HELD {
        let holder = pipeline.postgres.client().await?;
        let mut before = count(&client, SEALED).await?;
        loop {
            holder.batch_execute(&format!("begin; lock table {table} in share mode")).await?;
            wait_until("a round that waits", async || Ok(count(&client, WAITS).await? > 0)).await?;
            let sealed = count(&client, SEALED).await?;
            if sealed == before && count(&client, WRITTEN).await? > 0 {
                break;
            }
            // It has nothing to seal, or one before it ended meanwhile: the next one has.
            before = sealed;
            for _ in 0..4 {
                let message = lines.message(300);
                wait_until("the topic", async || {
                    Ok(send(&producer, TOPIC, "1", &message, true).await.is_ok())
                })
                .await?;
            }
            let written = lines.next as i64;
            wait_until("all to be stored", async || Ok(count(&client, RECORDS).await? >= written)).await?;
            holder.batch_execute("rollback").await?;
        }
        pipeline.kill_writer()?;
        ensure!(count(&client, SEALED).await? == before, "{table}: a part of a round is seen");
        holder.batch_execute("rollback").await?;
        let written = lines.next as i64;
        wait_until("all to be sealed", async || Ok(count(&client, SEALED).await? >= written)).await?;
        ensure!(count(&client, SEALED).await? == written, "{table}: some are sealed twice");
    }
    let others = format!("select count(*) from blocks where get_byte(payload, 0) <> {format}");
    ensure!(count(&client, &others).await? == 0, "blocks of another format");
    let store = Store::connect(&Settings::url(pipeline.postgres.url())).await?;
    let (mut verifier, mut faults) = (Verifier::open(&store, false).await?, Vec::new());
    for leaf in verifier.leaves().await? {
        verifier.leaf(&leaf, &mut |fault| faults.push(fault)).await?;
    }
    ensure!(faults.is_empty(), "{faults:?}");
    check_exactly_once(&support::stored(&client).await?, &[lines])?;
    Ok(())
}
