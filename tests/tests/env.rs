//! The environment itself: each part starts, works, restarts on its data, and leaves nothing behind.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use cordwood_tests::env::{ApiServer, Fault, Kafka, Postgres, Proxy, Redis, cache, kubernetes, process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

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
            assert_eq!(process::running(&mark).len(), 1, "the server is not seen while it runs");
            let backends = postgres.process().descendants();
            assert!(backends.len() > 3, "the backends are not seen while they run: {backends:?}");
            *seen.lock().expect("the lock") = Some((mark, backends, postgres.socket_folder().to_owned()));
            panic!("on purpose");
        });
    });
    let message = outcome.expect_err("the panic");
    assert_eq!(message.downcast_ref::<&str>(), Some(&"on purpose"));
    let (mark, backends, folder) = seen.lock().expect("the lock").take().expect("PostgreSQL ran");
    assert_eq!(process::running(&mark), Vec::<String>::new());
    let left: Vec<_> = backends.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
    assert!(left.is_empty(), "backends are left: {left:?}");
    assert!(!folder.exists(), "{} is left", folder.display());
}

#[tokio::test]
async fn redis() -> Result<()> {
    let mut redis = Redis::start().await?;
    let mut client = redis.client().await?;
    redis::cmd("SET").arg("a").arg("b").query_async::<()>(&mut client).await?;
    redis.kill();
    assert!(redis.client().await.is_err(), "a killed server answers");
    redis.restart().await?;
    let gone: Option<String> = redis::cmd("GET").arg("a").query_async(&mut redis.client().await?).await?;
    assert_eq!(gone, None);
    Ok(())
}

#[tokio::test]
async fn api_server() -> Result<()> {
    use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
    use kube::api::{Api, PostParams};

    let mut server = ApiServer::start().await?;
    let client = server.client().await?;
    assert_eq!(client.apiserver_version().await?.git_version, "v1.34.4");
    let map: ConfigMap =
        serde_json::from_value(serde_json::json!({"metadata": {"name": "kept"}, "data": {"a": "b"}}))?;
    Api::namespaced(client.clone(), "default").create(&PostParams::default(), &map).await?;
    server.restart().await?;
    let kept: ConfigMap = Api::namespaced(server.client().await?, "default").get("kept").await?;
    assert_eq!(kept.data, map.data);
    // A token that nobody knows is refused.
    let stranger = server.client_of(&server.kubeconfig_for("stranger", "unknown")?).await?;
    assert!(Api::<Namespace>::all(stranger).list(&Default::default()).await.is_err());
    let printed = cache::run(
        std::process::Command::new(kubernetes::kubectl()?)
            .arg("--kubeconfig")
            .arg(server.kubeconfig())
            .args(["get", "ns"]),
    )?;
    assert!(printed.contains("kube-system"), "{printed}");
    Ok(())
}

/// An echo server behind the proxy, and a client that meets each fault.
#[tokio::test]
async fn proxy() -> Result<()> {
    let echo = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::start(echo.local_addr()?).await?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let say = async |stream: &mut TcpStream, text: &str| -> std::io::Result<String> {
        stream.write_all(text.as_bytes()).await?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let short = Duration::from_millis(100);

    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert_eq!(say(&mut stream, "plain").await?, "plain");

    proxy.set(Fault::Delay(Duration::from_millis(60)));
    let began = Instant::now();
    assert_eq!(say(&mut stream, "slow").await?, "slow");
    assert!(began.elapsed() >= Duration::from_millis(120), "both ways wait");

    proxy.set(Fault::Silence);
    assert!(timeout(short, say(&mut stream, "quiet")).await.is_err(), "a silent proxy answers");
    proxy.set(Fault::None);
    let mut late = vec![0; 5];
    stream.read_exact(&mut late).await?;
    assert_eq!(late, b"quiet", "what was held goes on afterwards");

    proxy.set(Fault::DropAnswers);
    assert!(timeout(short, say(&mut stream, "lost")).await.is_err(), "the answer came");
    assert_eq!(proxy.counts().bytes_dropped.load(Ordering::Relaxed), 4);

    proxy.set(Fault::DropAnswerTo(b"COMMIT".to_vec()));
    assert_eq!(say(&mut stream, "BEGIN CO").await?, "BEGIN CO");
    assert!(say(&mut stream, "MMIT").await.is_err(), "the answer to COMMIT came");
    assert_eq!(proxy.counts().answers_dropped.load(Ordering::Relaxed), 1);
    assert_eq!(proxy.fault(), Fault::None, "it happens once");

    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert_eq!(say(&mut stream, "again").await?, "again");
    let before = proxy.counts().bytes_to_server.load(Ordering::Relaxed);
    proxy.set(Fault::HalfClose);
    assert_eq!(stream.read(&mut [0; 8]).await?, 0, "the end of the answers");
    stream.write_all(b"still").await?;
    while proxy.counts().bytes_to_server.load(Ordering::Relaxed) < before + 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    proxy.set(Fault::None);
    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert_eq!(say(&mut stream, "open").await?, "open");
    proxy.set(Fault::Cut);
    assert!(stream.read(&mut [0; 8]).await.is_err(), "a cut is a reset, not an orderly end");
    let refused = async { say(&mut TcpStream::connect(proxy.address()).await?, "new").await }.await;
    assert!(refused.is_err(), "a new connection works while cut");
    Ok(())
}
