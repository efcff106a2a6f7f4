//! The environment itself: each part starts, works, restarts on its data, and leaves nothing behind.

use std::sync::Mutex;

use anyhow::Result;
use cordwood_tests::env::{Kafka, Postgres, process};

async fn postgres(version: u32) -> Result<()> {
    let mut postgres = Postgres::start(version).await?;
    let url = postgres.database("one").await?;
    assert!(url.ends_with("/one"));
    let client = postgres.client_of("one").await?;
    client.batch_execute("create table kept (n int); insert into kept values (7)").await?;
    let shown: String = client.query_one("show server_version_num", &[]).await?.get(0);
    assert_eq!(shown[..2], version.to_string());
    postgres.kill();
    assert!(postgres.client().await.is_err(), "a killed server answers");
    postgres.restart().await?;
    let n: i32 = postgres.client_of("one").await?.query_one("select n from kept", &[]).await?.get(0);
    assert_eq!(n, 7);
    let wrong = url.replace(postgres.password(), "wrong");
    assert!(
        tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await.is_err(),
        "any password is accepted"
    );
    Ok(())
}

#[tokio::test]
async fn postgres_15() -> Result<()> {
    postgres(15).await
}

#[tokio::test]
async fn postgres_18() -> Result<()> {
    postgres(18).await
}

#[tokio::test]
async fn kafka() -> Result<()> {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::producer::{FutureProducer, FutureRecord};
    use rdkafka::{Message, Offset, TopicPartitionList};
    use std::time::Duration;

    let mut kafka = Kafka::start().await?;
    kafka.create_topic("t", 2).await?;
    let producer: FutureProducer =
        kafka.client_config().set("acks", "all").set("enable.idempotence", "true").create()?;
    let record = FutureRecord::to("t").partition(1).key("k").payload("before");
    producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error)?;
    kafka.kill();
    kafka.restart().await?;
    let record = FutureRecord::to("t").partition(1).key("k").payload("after");
    producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
    let consumer: BaseConsumer = kafka.client_config().set("group.id", "g").create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 1, Offset::Beginning)?;
    consumer.assign(&list)?;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let Some(message) = consumer.poll(Duration::from_secs(30)) {
            seen.push(String::from_utf8_lossy(message?.payload().unwrap_or_default()).into_owned());
        }
    }
    assert_eq!(seen, ["before", "after"]);
    Ok(())
}

/// A part that is dropped by a panic leaves no process and no folder.
#[test]
fn nothing_is_left_after_a_panic() {
    let seen = Mutex::new(None);
    let outcome = std::panic::catch_unwind(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let postgres = Postgres::start(15).await.expect("PostgreSQL starts");
            let mark = postgres.process().mark().to_owned();
            let running = process::running(&mark);
            assert!(running.len() > 3, "the backends are not seen while they run: {running:?}");
            *seen.lock().expect("the lock") = Some((mark, postgres.socket_folder().to_owned()));
            panic!("on purpose");
        });
    });
    let message = outcome.expect_err("the panic");
    assert_eq!(message.downcast_ref::<&str>(), Some(&"on purpose"));
    let (mark, folder) = seen.lock().expect("the lock").take().expect("PostgreSQL ran");
    assert_eq!(process::running(&mark), Vec::<String>::new());
    assert!(!folder.exists(), "{} is left", folder.display());
}
