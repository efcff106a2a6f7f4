//! Lines of tasks on the way from Kafka: writers die, PostgreSQL is away; each line is in its task once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::batch::BatchBuilder;
use cordwood_core::identity::FileId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_store::{Settings, Store};
use cordwood_tests::batches::stdout_header;
use cordwood_tests::env::{Fault, Kafka, Postgres, Proxy};
use cordwood_writer::{KafkaSource, NoFeed};
use rdkafka::producer::FutureProducer;

use super::{count, kafka_settings, parts, send, start, support, wait_until};

const TASKS: u64 = 10;
const LINES: u64 = 50;

/// The next lines of a file, of all tasks in turns. Messages of one file: `round` after `round`.
fn message(file: u64, round: u64) -> Vec<u8> {
    const BYTES: u64 = 100;
    let origin = Origin {
        tenant: "acme".into(),
        tenant_id: "acme".into(),
        namespace: "shop".into(),
        pod_uid: format!("uid-{file}"),
        container: "app".into(),
        ..Origin::default()
    };
    let mut builder = BatchBuilder::new();
    let now = support::now_us();
    for line in 0..LINES {
        let seq = round * LINES + line;
        let level = [Level::Info, Level::Warn, Level::Error][(seq % 3) as usize];
        let body = format!(r#"{{"taskId":"{}","message":"{file} {seq} of {level}"}}"#, seq % TASKS);
        builder.push((now + line as i64) * 1000, level, Flags::default(), (seq + 1) * BYTES, body.as_bytes());
    }
    let positions = (round * LINES * BYTES, (round + 1) * LINES * BYTES);
    let header = stdout_header(&format!("uid-{file}"), "app", FileId(file + 1), positions, LINES);
    builder.finish(&header, &origin, now * 1000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_of_a_task_is_stored_once_whatever_dies() -> Result<()> {
    const ROUNDS: u64 = 12;
    let (postgres, kafka) = (Postgres::start(18).await?, Kafka::start().await?);
    kafka.create_topic("logs", 2).await?;
    support::store(&postgres, "tasks").await?;
    let client = postgres.client_of("tasks").await?;
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], postgres.port()))).await?;
    let through = proxy.address();
    let store = Store::new(&Settings::url(postgres.url_through(through.ip(), through.port(), "tasks")))?;
    let producer: FutureProducer = kafka.client_config().set("enable.idempotence", "true").create()?;
    let settings = kafka_settings(&kafka, "logs")?;
    let writer = || {
        Ok::<_, anyhow::Error>(start(
            parts(&store, false)?,
            KafkaSource::new(&settings, "writers")?,
            Arc::new(NoFeed),
        ))
    };
    let lines = "select count(*) from task_logs";
    let mut running = writer()?;
    for round in 0..ROUNDS {
        for file in 0..3 {
            let (key, message) = (format!("uid-{file}/app/0/stdout"), message(file, round));
            send(&producer, "logs", &key, &message, true).await?;
            if round % 3 == 1 {
                // As an agent does whose checkpoint was behind.
                send(&producer, "logs", &key, &message, true).await?;
            }
        }
        match round {
            // Nothing is flushed: like a kill.
            2 | 9 => {
                running.task.abort();
                running = writer()?;
            }
            4 => proxy.set(Fault::Cut),
            6 => {
                ensure!(count(&client, lines).await? < (5 * 3 * LINES + 1) as i64, "PostgreSQL was away");
                proxy.set(Fault::None);
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let all = (ROUNDS * LINES * 3) as i64;
    wait_until("all lines", async || Ok(count(&client, lines).await? >= all)).await?;
    running.end().await?;
    ensure!(count(&client, lines).await? == all, "lines came twice");
    let wrong = "select count(*) from (select task_id, message, count(*) as times from task_logs group by 1, 2) l \
        where times <> 1 or task_id::bigint <> split_part(message, ' ', 2)::bigint % 10";
    ensure!(count(&client, wrong).await? == 0, "lines under another task, or twice");
    ensure!(count(&client, "select count(*) from tasks").await? == TASKS as i64);
    // Two of three tell of an error, each level of its own: counted once, too.
    let counted = "select count(*) from (select level, sum(count) as count from error_fresh group by 1) e \
        where count = (select count(*) / 3 from task_logs)";
    ensure!(count(&client, counted).await? == 2, "errors that were counted twice, or never");
    ensure!(count(&client, "select sum(count)::bigint from error_fresh").await? == all / 3 * 2);
    Ok(())
}
