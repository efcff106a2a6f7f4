//! A stream is opened before its namespace, or its tenant, has any records: it shows the first of them as it shows all others.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cordwood_core::level::Level;
use cordwood_core::limits::ACCESS_NAMES_MAX;
use cordwood_gateway::Limits;
use cordwood_tests::env::wait_for;
use cordwood_tests::http::{ask, open};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::cluster::{HOME, Kubernetes, access};
use super::web_socket::Socket;
use super::world::{World, container, line, now_us, put};

const PATIENCE: Duration = Duration::from_secs(30);

/// Each stream is read until it shows this.
const LAST: &str = "the last";

async fn make(cluster: &Kubernetes, name: &str) -> Result<()> {
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    Api::<Namespace>::all(cluster.client.clone()).create(&PostParams::default(), &namespace).await?;
    Ok(())
}

/// Binds the reader, and waits until the API server knows it.
async fn let_read(cluster: &Kubernetes, namespace: &str) -> Result<()> {
    cluster.bind("reader", "logs", namespace).await?;
    let attributes =
        json!({"group": "cordwood.dev", "resource": "logs", "verb": "get", "namespace": namespace});
    let review: SubjectAccessReview = serde_json::from_value(json!({
        "metadata": {},
        "spec": {"user": format!("system:serviceaccount:{HOME}:reader"), "resourceAttributes": attributes},
    }))?;
    let reviews: Api<SubjectAccessReview> = Api::all(cluster.client.clone());
    wait_for("the binding to hold", PATIENCE, || async {
        let answer = reviews.create(&PostParams::default(), &review).await?;
        ensure!(answer.status.is_some_and(|status| status.allowed));
        Ok(())
    })
    .await
}

/// What a WebSocket shows up to the last line.
async fn shown(socket: &mut Socket) -> Result<String> {
    let mut all = String::new();
    loop {
        match socket.message().await? {
            Message::Text(text) => all.push_str(&text),
            other => anyhow::bail!("{other:?} after {all}"),
        }
        if all.contains(LAST) {
            return Ok(all);
        }
    }
}

async fn lines_until(lines: &mut Lines<BufReader<TcpStream>>, word: &str) -> Result<String> {
    let mut all = String::new();
    while !all.contains(word) {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??;
        all.push_str(&line.with_context(|| format!("it ended after {all}"))?);
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_shows_the_first_lines_of_what_had_none() -> Result<()> {
    let cluster = Kubernetes::start().await?;
    let at = now_us();
    // What the API server said is remembered as long as by default.
    let access = access(&cluster.gateway().await?).await?;
    let stored = [(container("rival", "shop", 0), vec![line(at, Level::Info, "old")])];
    let world = World::start(15, &stored, access, Limits::default()).await?;
    let mut bearers = Vec::new();
    for name in ["reader", "other", "tenant"] {
        bearers.push(format!("Bearer {}", cluster.token(name, "cordwood").await?));
        cluster.bind(name, "logs", "shop").await?;
    }
    cluster.bind("tenant", "acme", "").await?;
    let_read(&cluster, "bank").await?;
    let mut sockets = Vec::new();
    for bearer in &bearers {
        let headers = [("authorization", bearer.as_str()), ("sec-websocket-protocol", "cordwood.v1")];
        let mut socket = Socket::connect(&world.address, &headers).await??;
        socket.say(json!({"type": "start", "credit": 1000})).await?;
        let hello = socket.expect("hello").await?;
        ensure!(hello["scope"]["namespaces"] == json!(["shop"]), "{hello}");
        socket.expect("caughtUp").await?;
        sockets.push(socket);
    }
    let of_reader = [("authorization", bearers[0].as_str())];
    // The one that names where it looks, and the one that looks elsewhere.
    for path in
        ["/ws/monitor", "/ws/monitor?namespace=made-later&namespace=shop", "/ws/monitor?namespace=shop"]
    {
        sockets.push(Socket::connect_to(&world.address, path, &of_reader).await??);
    }
    let mut task = Socket::connect_to(&world.address, "/api/tasks/job/logs/stream", &of_reader).await??;
    let path = "/api/platform/logs/stream";
    let plain = open(&world.address, "GET", path, &[("Authorization", &bearers[0])]).await?;
    let mut plain = BufReader::new(plain).lines();
    lines_until(&mut plain, "caughtUp").await?;
    // A deploy: the namespace, who may see it, its first lines.
    make(&cluster, "made-later").await?;
    let_read(&cluster, "made-later").await?;
    let told =
        |word: &str| vec![line(now_us(), Level::Info, format!(r#"{{"taskId":"job","message":"{word}"}}"#))];
    let first = [
        (container("acme", "bank", 1), told("first of bank")),
        (container("acme", "made-later", 2), told("first of made-later")),
    ];
    put(&world.store, &first).await?;
    put(&world.store, &[(container("acme", "made-later", 3), told("second of made-later"))]).await?;
    let last = vec![line(now_us(), Level::Info, LAST)];
    put(&world.store, &[(container("rival", "shop", 4), last)]).await?;
    let all = ["first of bank", "first of made-later", "second of made-later"];
    let expected: [(&str, &[&str]); 6] = [
        ("reader", &all),
        ("other", &[]),
        ("tenant", &all),
        ("monitor", &all),
        ("monitor of two", &all[1..]),
        ("monitor of shop", &[]),
    ];
    for ((name, expected), socket) in expected.into_iter().zip(&mut sockets) {
        let shown = shown(socket).await?;
        for word in all {
            ensure!(shown.contains(word) == expected.contains(&word), "{name}, {word}: {shown}");
        }
    }
    let shown = lines_until(&mut plain, LAST).await?;
    ensure!(all.iter().all(|word| shown.contains(word)), "lines: {shown}");
    // (A task is that of one namespace.)
    let line_of_task = task.message().await?.into_text()?;
    ensure!(line_of_task.contains("first of"), "{line_of_task}");
    drop((sockets, plain, task));
    wait_for("all streams to be over", PATIENCE, || async {
        let metrics = world.metrics()?;
        let mut open = metrics.lines().filter(|line| line.starts_with("cordwood_gateway_streams_open{"));
        ensure!(open.all(|line| line.ends_with(" 0")), "{metrics}");
        Ok(())
    })
    .await?;
    cut_off_meanwhile(&cluster, &world, &bearers[0], at).await?;
    too_many_to_ask_for(&world, &bearers[0]).await
}

/// Namespaces are then named: over a WebSocket in its frames.
async fn too_many_to_ask_for(world: &World, bearer: &str) -> Result<()> {
    let headers = [("authorization", bearer), ("sec-websocket-protocol", "cordwood.v1")];
    let mut open = Socket::connect(&world.address, &headers).await??;
    open.say(json!({"type": "start", "credit": 1000, "filter": "namespace=shop"})).await?;
    open.expect("hello").await?;
    let many: Vec<_> = (0..=ACCESS_NAMES_MAX)
        .map(|number| {
            let name = format!("many-{number}");
            (container("acme", &name, 100), vec![line(now_us(), Level::Info, name.clone())])
        })
        .collect();
    put(&world.store, &many).await?;
    wait_for("the names to be too many", PATIENCE, || async {
        let answer = ask(&world.address, "GET", "/api/platform/logs", &[("Authorization", bearer)]).await?;
        ensure!(answer.code == 400 && answer.text().contains("problem:namespace"), "{}", answer.text());
        Ok(())
    })
    .await?;
    let mut socket = Socket::connect(&world.address, &headers).await??;
    for filter in ["", "level>=info", "NOT namespace=shop"] {
        socket.say(json!({"type": "start", "credit": 1000, "filter": filter})).await?;
        let error = socket.expect("error").await?;
        ensure!(error["at"] == "namespace", "{filter:?}: {error}");
    }
    // One of them is granted.
    let filter = "namespace IN (shop, many-7)";
    socket.say(json!({"type": "start", "credit": 1000, "filter": filter})).await?;
    let hello = socket.expect("hello").await?;
    ensure!(hello["scope"]["namespaces"] == json!(["shop"]), "{hello}");
    socket.expect("caughtUp").await?;
    let of = |word: &str| vec![line(now_us(), Level::Info, word)];
    put(&world.store, &[(container("acme", "many-7", 101), of("of many"))]).await?;
    put(&world.store, &[(container("acme", "shop", 102), of("of shop"))]).await?;
    ensure!(socket.records(1).await?.0 == ["of shop"]);
    // It changes in place, and names another.
    socket.say(json!({"type": "filter", "filter": "of"})).await?;
    ensure!(socket.expect("error").await?["at"] == "namespace");
    socket.say(json!({"type": "filter", "filter": "namespace=bank"})).await?;
    socket.expect("caughtUp").await?;
    put(&world.store, &[(container("acme", "bank", 103), of("of bank"))]).await?;
    ensure!(socket.records(1).await?.0 == ["of bank"]);
    Ok(())
}

/// Cut off before the first line of a namespace, and back after it.
async fn cut_off_meanwhile(cluster: &Kubernetes, world: &World, bearer: &str, at: i64) -> Result<()> {
    let headers = [("authorization", bearer), ("sec-websocket-protocol", "cordwood.v1")];
    let mut socket = Socket::connect(&world.address, &headers).await??;
    socket.say(json!({"type": "start", "credit": 1000})).await?;
    socket.expect("hello").await?;
    let cursor = socket.expect("caughtUp").await?["cursor"].clone();
    drop(socket);
    make(cluster, "third").await?;
    let_read(cluster, "third").await?;
    let of = |word: &str| vec![line(now_us(), Level::Info, word)];
    put(&world.store, &[(container("acme", "third", 5), of("first of third"))]).await?;
    put(&world.store, &[(container("acme", "shop", 6), of("really the last"))]).await?;
    let record = json!(format!("{at}.0-0-0"));
    for (after, words) in
        [(cursor, &["first of third"][..]), (record, &["first of bank", LAST, "first of third"])]
    {
        let mut socket = Socket::connect(&world.address, &headers).await??;
        socket.say(json!({"type": "start", "credit": 1000, "after": after})).await?;
        let mut seen = String::new();
        while !seen.contains("really the last") {
            seen.push_str(&socket.next().await?.to_string());
        }
        ensure!(words.iter().all(|word| seen.contains(word)), "{after}: {seen}");
        ensure!(seen.matches("first of third").count() == 1, "{after}: {seen}");
    }
    Ok(())
}
