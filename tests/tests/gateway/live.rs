//! The live stream: what is stored while it is open, of what its caller may see; after a cut it goes on without loss or repetition.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_gateway::Limits;
use cordwood_tests::http::{ask, open};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

use super::world::{World, container, line, put, recent_us, tokens};

pub struct Frames(BufReader<TcpStream>);

impl Frames {
    pub async fn open(world: &World, query: &str, headers: &[(&str, &str)]) -> Result<Frames> {
        let stream =
            open(&world.address, "GET", &format!("/api/platform/logs/stream?{query}"), headers).await?;
        let mut frames = Frames(BufReader::new(stream));
        let mut head = String::new();
        while frames.0.read_line(&mut head).await? > 2 {}
        ensure!(head.starts_with("HTTP/1.0 200") && head.contains("x-accel-buffering: no"), "{head}");
        Ok(frames)
    }

    /// The next frame that is no heartbeat; `None` after the last.
    async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            let mut text = String::new();
            let read = tokio::time::timeout(Duration::from_secs(30), self.0.read_line(&mut text));
            if read.await.context("no frame within 30 s")?? == 0 {
                return Ok(None);
            }
            let frame: Value = serde_json::from_str(&text)?;
            if frame["type"] != "heartbeat" {
                return Ok(Some(frame));
            }
        }
    }

    pub async fn expect(&mut self, kind: &str) -> Result<Value> {
        let frame = self.next().await?.with_context(|| format!("it ended before {kind}"))?;
        ensure!(frame["type"] == kind, "{kind} expected: {frame}");
        Ok(frame)
    }

    /// The messages of so many records, and the last cursor.
    pub async fn records(&mut self, count: usize) -> Result<(Vec<String>, String)> {
        let (mut messages, mut cursor) = (Vec::new(), String::new());
        while messages.len() < count {
            let frame = self.expect("records").await?;
            let items = frame["items"].as_array().context("no items")?;
            messages.extend(items.iter().map(|item| item["message"].as_str().unwrap_or_default().to_owned()));
            cursor = frame["cursor"].as_str().context("no cursor")?.to_owned();
        }
        Ok((messages, cursor))
    }
}

fn lines(at: i64, name: &str, count: i64) -> Vec<super::world::Line> {
    (0..count)
        .map(|n| line(at + n, if n % 2 == 0 { Level::Info } else { Level::Warn }, format!("{name} {n}")))
        .collect()
}

#[tokio::test]
async fn a_stream_shows_what_is_stored_and_goes_on_from_its_cursor() -> Result<()> {
    let at = recent_us();
    let mut world = World::with(15, &[(container("acme", "shop", 0), lines(at, "before", 10))]).await?;
    let mut frames = Frames::open(&world, "minLevel=warn", &[]).await?;
    let hello = frames.expect("hello").await?;
    ensure!(hello["scope"]["name"] == "local" && hello["feed"] == "postgresql", "{hello}");
    frames.expect("caughtUp").await?;
    put(&world.store, &[(container("acme", "shop", 1), lines(at + 1_000, "one", 10))]).await?;
    let (messages, cursor) = frames.records(5).await?;
    ensure!(messages == ["one 1", "one 3", "one 5", "one 7", "one 9"], "{messages:?}");
    drop(frames);

    put(&world.store, &[(container("acme", "shop", 2), lines(at + 2_000, "two", 4_000))]).await?;
    let mut frames = Frames::open(&world, &format!("minLevel=warn&after={cursor}"), &[]).await?;
    frames.expect("hello").await?;
    let (messages, _) = frames.records(2_000).await?;
    let expected: Vec<String> = (0..4_000).filter(|n| n % 2 == 1).map(|n| format!("two {n}")).collect();
    ensure!(messages == expected, "{} messages", messages.len());
    frames.expect("caughtUp").await?;
    put(&world.store, &[(container("acme", "shop", 3), lines(at + 9_000, "three", 2))]).await?;
    ensure!(frames.records(1).await?.0 == ["three 1"]);

    world.stop().await;
    let bye = frames.expect("bye").await?;
    ensure!(bye["code"] == 1012 && frames.next().await?.is_none(), "{bye}");
    Ok(())
}

#[tokio::test]
async fn a_stream_shows_nothing_of_others_and_streams_are_bounded() -> Result<()> {
    let at = recent_us();
    let file = "tokens:\n- {name: both, token: both-0123456789abcdef, tenants: [acme], namespaces: [shop]}\n";
    let limits = Limits { streams_max: 1, ..Limits::default() };
    let stored = [
        (container("umbrella", "shop", 0), lines(at, "secret", 5)),
        (container("acme", "shop", 1), lines(at, "own", 2)),
    ];
    let world = World::start(15, &stored, tokens(file)?, limits).await?;
    let bearer = [("Authorization", "Bearer both-0123456789abcdef")];
    let mut frames = Frames::open(&world, "after=1.0-0-0", &bearer).await?;
    let hello = frames.expect("hello").await?;
    ensure!(hello["scope"]["tenants"] == serde_json::json!(["acme"]), "{hello}");
    ensure!(frames.records(2).await?.0 == ["own 0", "own 1"]);
    frames.expect("caughtUp").await?;
    let others = [
        (container("umbrella", "shop", 2), lines(at + 10, "secret", 5)),
        (container("acme", "bank", 3), lines(at + 20, "secret", 5)),
        (container("acme", "shop", 4), lines(at + 30, "own", 2)),
    ];
    put(&world.store, &others).await?;
    ensure!(frames.records(2).await?.0 == ["own 0", "own 1"]);
    let second = ask(&world.address, "GET", "/api/platform/logs/stream", &bearer).await?;
    ensure!(second.code == 429, "{}", second.text());
    // A filter is read by those alone who have a slot; the rest is told at once.
    for (query, code, words) in [
        ("from=-1h", 400, "no such parameter"),
        ("after=x", 400, "id of a record"),
        ("filter=(", 429, "busy"),
    ] {
        let answer =
            ask(&world.address, "GET", &format!("/api/platform/logs/stream?{query}"), &bearer).await?;
        ensure!(answer.code == code && answer.text().contains(words), "{query}: {}", answer.text());
    }
    // The slot is free once the caller has left.
    drop(frames);
    let again = cordwood_tests::env::wait_for("a free slot", Duration::from_secs(20), async || {
        Frames::open(&world, "", &bearer).await
    });
    again.await?.expect("hello").await?;
    let refused = cordwood_tests::env::wait_for("a free slot", Duration::from_secs(20), async || {
        let answer = ask(&world.address, "GET", "/api/platform/logs/stream?filter=(", &bearer).await?;
        ensure!(answer.code != 429, "{}", answer.text());
        Ok(answer)
    });
    let refused = refused.await?;
    ensure!(refused.code == 400 && refused.text().contains("position"), "{}", refused.text());
    Ok(())
}
