//! Streams over the death of what they need: the gateway, Redis, PostgreSQL. Nothing is lost, nothing comes twice.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_tests::bin;
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::{Process, Program, Redis, wait_for};
use serde_json::json;

use super::web_socket::{Socket, messages, text};
use super::world::{DATABASE, Line, World, container, line, put, recent_us};

const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "all-0123456789abcdef";

fn lines(at: i64, name: &str, count: i64) -> Vec<Line> {
    (0..count).map(|n| line(at + n, Level::Info, format!("{name} {n}"))).collect()
}

/// The program, not a part of this one: it can be killed.
struct Killable {
    process: Process,
    port: Port,
    _home: Home,
}

impl Killable {
    async fn start(world: &World) -> Result<Killable> {
        let (home, port, probes) = (Home::new("gateway")?, Port::free()?, Port::free()?);
        let tokens = home.join("tokens.yaml");
        fs::write(&tokens, format!("tokens: [{{name: all, token: {TOKEN}, tenants: all}}]"))?;
        let config = json!({
            "listen": format!("127.0.0.1:{}", port.number()),
            "probes_listen": format!("127.0.0.1:{}", probes.number()),
            "database": {"url": world.postgres.url_of(DATABASE)},
            "tokens_file": tokens,
        });
        let file = home.join("gateway.yaml");
        fs::write(&file, serde_yaml::to_string(&config)?)?;
        let program =
            Program::new("gateway", bin("cordwood-gateway")?, home.path()).arg("--config").arg(&file);
        Ok(Killable { process: program.start()?, port, _home: home })
    }

    async fn stream(&self, start: serde_json::Value) -> Result<Socket> {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("sec-websocket-protocol", "cordwood.v1"), ("authorization", bearer.as_str())];
        let address = format!("127.0.0.1:{}", self.port.number());
        let mut socket = wait_for("the gateway to answer", PATIENCE, async || {
            Ok(Socket::connect(&address, &headers).await??)
        })
        .await?;
        socket.say(start).await?;
        socket.expect("hello").await?;
        Ok(socket)
    }
}

#[tokio::test]
async fn a_gateway_that_is_killed_loses_nothing_and_shows_nothing_twice() -> Result<()> {
    let at = recent_us();
    let world = World::with(15, &[]).await?;
    let mut gateway = Killable::start(&world).await?;
    let mut socket = gateway.stream(json!({"type": "start", "credit": 7})).await?;
    let mut cursor = text(&socket.expect("caughtUp").await?["cursor"]);
    let mut seen = Vec::new();
    for round in 0..3_u32 {
        let origin = |number| container("acme", "shop", 10 * round + number);
        let at = at + i64::from(round) * 1_000;
        put(&world.store, &[(origin(0), lines(at, &format!("open {round}"), 10))]).await?;
        // In the middle of them.
        let (some, last) = socket.records(4).await?;
        seen.extend(some);
        cursor = last;
        gateway.process.kill();
        put(&world.store, &[(origin(1), lines(at + 100, &format!("away {round}"), 10))]).await?;
        // Older than what was shown.
        put(&world.store, &[(origin(2), lines(at - 100, &format!("late {round}"), 10))]).await?;
        gateway.process.restart()?;
        socket = gateway.stream(json!({"type": "start", "after": cursor, "credit": 7})).await?;
    }
    socket.say(json!({"type": "credit", "n": 1_000})).await?;
    while seen.len() < 90 {
        let frame = socket.next().await?;
        ensure!(frame["type"] != "gap", "{frame}");
        seen.extend(messages(&frame));
    }
    let once: BTreeSet<&String> = seen.iter().collect();
    ensure!(once.len() == 90 && seen.len() == 90, "{} shown, {} of them once", seen.len(), once.len());
    drop(socket);
    ensure!(!cursor.is_empty());
    Ok(())
}

#[tokio::test]
async fn redis_wakes_streams_and_its_death_costs_them_nothing() -> Result<()> {
    let at = recent_us();
    let mut redis = Redis::start().await?;
    let mut world = World::with(15, &[]).await?;
    world.stop().await;
    world.woken_by(&redis.settings()).await?;
    let feed = async |expected: &str| {
        wait_for("the feed to be said", PATIENCE, async || {
            let mut socket = Socket::open(&world.address).await?;
            socket.say(json!({"type": "start", "credit": 100})).await?;
            let hello = socket.expect("hello").await?;
            ensure!(hello["feed"] == expected, "{hello}");
            Ok(socket)
        })
        .await
    };
    let mut socket = feed("redis").await?;
    socket.expect("caughtUp").await?;
    put(&world.store, &[(container("acme", "shop", 0), lines(at, "one", 5))]).await?;
    ensure!(socket.records(5).await?.0.last().context("none")? == "one 4");
    redis.kill();
    put(&world.store, &[(container("acme", "shop", 1), lines(at + 10, "two", 5))]).await?;
    ensure!(socket.records(5).await?.0.last().context("none")? == "two 4");
    feed("postgresql").await?;
    redis.restart().await?;
    feed("redis").await?;
    put(&world.store, &[(container("acme", "shop", 2), lines(at + 20, "three", 5))]).await?;
    ensure!(socket.records(5).await?.0.last().context("none")? == "three 4");
    Ok(())
}

#[tokio::test]
async fn a_stream_waits_for_postgresql_and_goes_on() -> Result<()> {
    let at = recent_us();
    let mut world = World::with(15, &[]).await?;
    let mut socket = Socket::start(&world, json!({"type": "start", "credit": 1_000})).await?;
    socket.expect("caughtUp").await?;
    put(&world.store, &[(container("acme", "shop", 0), lines(at, "one", 5))]).await?;
    ensure!(socket.records(5).await?.0.len() == 5);
    world.postgres.kill();
    world.postgres.restart().await?;
    put(&world.store, &[(container("acme", "shop", 1), lines(at + 10, "two", 5))]).await?;
    let (on, _) = socket.records(5).await?;
    ensure!(on.first().context("none")? == "two 0" && on.len() == 5, "{on:?}");
    Ok(())
}
