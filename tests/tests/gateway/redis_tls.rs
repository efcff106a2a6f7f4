//! Redis that takes nothing which is not encrypted: writers feed it and gateways are woken by it when they trust its CA, and not else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::level::Level;
use cordwood_service::RedisSettings;
use cordwood_tests::env::{Redis, wait_for};
use cordwood_writer::{Metrics, RedisFeed};
use prometheus::Registry;
use serde_json::json;

use super::web_socket::Socket;
use super::world::{World, container, line, put_and_tell, recent_us};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_reached_by_tls_and_asked_who_it_is() -> Result<()> {
    let (redis, other) = (Redis::start_encrypted().await?, Redis::start_encrypted().await?);
    let mut world = World::with(15, &[]).await?;
    world.stop().await;
    world.woken_by(&redis.settings()).await?;
    let mut socket = wait_for("the gateway to be woken by Redis", PATIENCE, || async {
        let mut socket = Socket::open(&world.address).await?;
        socket.say(json!({"type": "start", "credit": 100})).await?;
        let hello = socket.expect("hello").await?;
        ensure!(hello["feed"] == "redis", "{hello}");
        Ok(socket)
    })
    .await?;
    socket.expect("caughtUp").await?;
    let tell = async |number: u32, settings: &RedisSettings| {
        let metrics = Metrics::register(&Registry::new())?;
        let feed = Arc::new(RedisFeed::start(settings, metrics.feed.clone())?);
        let lines = vec![line(recent_us() + i64::from(number), Level::Info, format!("line {number}"))];
        put_and_tell(&world.store, &[(container("acme", "shop", number), lines)], feed.clone()).await?;
        wait_for("Redis to be told, or not", PATIENCE, || async {
            let told = metrics.feed.published.get() + metrics.feed.dropped.get();
            ensure!(told == 1, "{told}");
            Ok(())
        })
        .await?;
        drop(feed);
        anyhow::Ok(metrics.feed.published.get())
    };
    ensure!(tell(0, &redis.settings()).await? == 1);
    ensure!(socket.records(1).await?.0 == ["line 0"]);
    // Another CA's, the system's, and none at all.
    let others = RedisSettings { ca_file: other.settings().ca_file, ..redis.settings() };
    ensure!(tell(1, &others).await? == 0);
    ensure!(tell(2, &RedisSettings { ca_file: None, ..redis.settings() }).await? == 0);
    let plain =
        RedisSettings { url: redis.url().replace("rediss:", "redis:"), ca_file: None, ..redis.settings() };
    ensure!(tell(3, &plain).await? == 0);
    // It is stored all the same.
    ensure!(socket.records(3).await?.0.len() == 3);
    Ok(())
}
