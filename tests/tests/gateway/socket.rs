//! The live stream over a WebSocket: credit, a filter that changes in place, gaps that say how many, and nothing lost or twice over a cut.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use cordwood_core::level::Level;
use cordwood_gateway::Limits;
use cordwood_store::seal::SealSession;
use cordwood_writer::RecordPlacer;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;

use super::web_socket::{Socket, messages, text};
use super::world::{Line, World, container, encoded, ids, line, put, recent_us, tokens};

const SECOND: i64 = 1_000_000;

fn lines(at: i64, name: &str, range: std::ops::Range<i64>) -> Vec<Line> {
    range
        .map(|n| line(at + n, if n % 2 == 0 { Level::Info } else { Level::Warn }, format!("{name} {n}")))
        .collect()
}

fn named(name: &str, range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|n| format!("{name} {n}")).collect()
}

/// All that is fresh is sealed, and gone from where streams look first.
async fn seal(world: &World) -> Result<()> {
    let mut sealing = loop {
        match SealSession::claim(&world.store).await? {
            Some(sealing) => break sealing,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    for _ in 0..3 {
        sealing.switch_ring().await?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        let round = sealing.round(&mut RecordPlacer::new(now_us)).await?;
        while !sealing.is_past(round.xid).await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sealing.truncate().await?;
    }
    Ok(())
}

#[tokio::test]
async fn records_come_as_credit_is_given_and_the_filter_changes_in_place() -> Result<()> {
    let at = recent_us();
    let mut world = World::with(15, &[(container("acme", "shop", 0), lines(at, "old", 0..6))]).await?;
    let mut socket = Socket::open(&world.address).await?;
    for (frame, at, position) in [
        (json!({"type": "credit", "n": 4}), json!("frame"), Value::Null),
        (json!({"type": "start", "filter": "level>=wran", "credit": 1}), json!("filter"), json!(7)),
        (json!({"type": "start", "filter": {"servce": "a"}, "credit": 1}), json!("servce"), Value::Null),
        (json!({"type": "start", "after": "v1~x", "credit": 1}), json!("after"), Value::Null),
    ] {
        socket.say(frame).await?;
        let error = socket.expect("error").await?;
        ensure!(error["at"] == at && error["position"] == position, "{error}");
    }
    socket
        .say(json!({"type": "start", "filter": {"minLevel": "warn"}, "after": "1.0-0-0", "credit": 2}))
        .await?;
    let hello = socket.expect("hello").await?;
    ensure!(hello["scope"]["name"] == "local" && hello["feed"] == "postgresql", "{hello}");
    ensure!(socket.records(2).await?.0 == ["old 1", "old 3"]);
    socket.say(json!({"type": "credit", "n": 5})).await?;
    ensure!(socket.records(1).await?.0 == ["old 5"]);
    socket.expect("caughtUp").await?;
    put(&world.store, &[(container("acme", "shop", 1), lines(at + SECOND, "new", 0..10))]).await?;
    ensure!(socket.records(4).await?.0 == ["new 1", "new 3", "new 5", "new 7"]);
    // What waits for credit is looked at again: the filter that stands there now says what comes.
    socket.say(json!({"type": "filter", "filter": "level=info"})).await?;
    socket.say(json!({"type": "credit", "n": 2})).await?;
    let frame = socket.expect("records").await?;
    ensure!(messages(&frame) == ["new 8"], "on from the newest that was shown: {frame}");
    socket.expect("caughtUp").await?;
    socket.say(json!({"type": "pause"})).await?;
    put(&world.store, &[(container("acme", "shop", 2), lines(at + 2 * SECOND, "paused", 0..3))]).await?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    socket.say(json!({"type": "nonsense"})).await?;
    socket.expect("error").await.context("nothing comes while it is paused")?;
    socket.say(json!({"type": "credit", "n": 100})).await?;
    ensure!(socket.records(2).await?.0 == ["paused 0", "paused 2"]);
    world.stop().await;
    ensure!(socket.ends().await? == (json!(1012), 1012));
    Ok(())
}

#[tokio::test]
async fn a_reader_without_credit_has_a_counted_gap_that_a_search_fills() -> Result<()> {
    let at = recent_us();
    let world = World::with(15, &[]).await?;
    let mut socket = Socket::start(&world, json!({"type": "start", "credit": 10})).await?;
    socket.expect("caughtUp").await?;
    let body = |n: i64| line(at + n, Level::Info, format!("line {n} {}", "x".repeat(300)));
    for part in 0..5 {
        let lines = (part * 1_000..(part + 1) * 1_000).map(body).collect();
        put(&world.store, &[(container("acme", "shop", u32::try_from(part)?), lines)]).await?;
        // Each of them is looked at for itself.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let mut seen = BTreeSet::new();
    let mut shown = 0;
    let mut gaps = Vec::new();
    socket.say(json!({"type": "credit", "n": 10_000})).await?;
    while shown + gaps.iter().map(|gap: &Value| gap["count"].as_u64().unwrap_or_default()).sum::<u64>()
        < 5_000
    {
        let frame = socket.next().await?;
        match frame["type"].as_str() {
            Some("records") => {
                let all = ids(&frame);
                shown += all.len() as u64;
                seen.extend(all);
            }
            Some("gap") => gaps.push(frame),
            _ => bail!("{frame}"),
        }
    }
    ensure!(gaps.len() == 1 && gaps[0]["reason"] == "slow", "{gaps:?}");
    ensure!(shown == 2_010 && seen.len() == 2_010, "{shown} shown, {} known", seen.len());
    let (from, to) = (text(&gaps[0]["from"]), text(&gaps[0]["to"]));
    let mut after = String::new();
    loop {
        let page = world
            .json(&format!(
                "/api/platform/logs?order=oldest&limit=1000&from={}&to={}{after}",
                encoded(&from),
                encoded(&to)
            ))
            .await?;
        seen.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    ensure!(seen.len() == 5_000, "{} with the gap filled", seen.len());
    let metrics = world.metrics()?;
    ensure!(metrics.contains("cordwood_gateway_stream_gap_records_total 2990"), "{metrics}");
    ensure!(metrics.contains("cordwood_gateway_streamed_records_total 2010"), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn a_killed_gateway_costs_nothing_and_what_came_late_meanwhile_is_shown() -> Result<()> {
    let at = recent_us();
    let mut world = World::with(15, &[]).await?;
    let mut socket = Socket::start(&world, json!({"type": "start", "credit": 4})).await?;
    socket.expect("caughtUp").await?;
    put(&world.store, &[(container("acme", "shop", 0), lines(at, "one", 0..10))]).await?;
    let (first, cursor) = socket.records(4).await?;
    ensure!(first == named("one", 0..4));
    world.stop().await;
    drop(socket);
    // Older than all that was shown.
    put(&world.store, &[(container("acme", "shop", 1), lines(at - 60 * SECOND, "late", 0..5))]).await?;
    put(&world.store, &[(container("acme", "shop", 2), lines(at + SECOND, "two", 0..5))]).await?;
    world.another(Limits::default()).await?;
    let mut socket = Socket::start(&world, json!({"type": "start", "after": cursor, "credit": 7})).await?;
    let frame = socket.expect("records").await?;
    ensure!(messages(&frame) == named("late", 0..5) && frame["late"] == true, "{frame}");
    let (on, cursor) = socket.records(2).await?;
    ensure!(on == named("one", 4..6), "{on:?}");
    // The same once everything was sealed meanwhile. What was late by more than an hour is told.
    world.stop().await;
    drop(socket);
    put(&world.store, &[(container("acme", "shop", 3), lines(at - 30 * SECOND, "later", 0..5))]).await?;
    put(&world.store, &[(container("acme", "shop", 4), lines(at - 7_200 * SECOND, "latest", 0..5))]).await?;
    seal(&world).await?;
    world.another(Limits::default()).await?;
    let mut socket = Socket::start(&world, json!({"type": "start", "after": cursor, "credit": 1000})).await?;
    let gap = socket.expect("gap").await?;
    ensure!(gap["reason"] == "restart" && gap["from"].is_null() && gap["count"].is_null(), "{gap}");
    let to: jiff::Timestamp = text(&gap["to"]).parse()?;
    ensure!(to.as_microsecond() > at - 7_200 * SECOND + 5 && to.as_microsecond() < at - 31 * SECOND, "{gap}");
    let (on, cursor) = socket.records(14).await?;
    let expected = [named("later", 0..5), named("one", 6..10), named("two", 0..5)].concat();
    ensure!(on == expected, "{on:?}");
    socket.expect("caughtUp").await?;
    put(&world.store, &[(container("acme", "shop", 5), lines(at + 2 * SECOND, "three", 0..2))]).await?;
    let (on, _) = socket.records(2).await?;
    ensure!(on == named("three", 0..2), "{on:?}");
    // The lines for curl know the same cursors.
    let path = format!("/api/platform/logs/stream?after={}", encoded(&cursor));
    let stream = cordwood_tests::http::open(&world.address, "GET", &path, &[]).await?;
    let mut reader = tokio::io::BufReader::new(stream);
    let mut all = String::new();
    while !all.contains("caughtUp") {
        ensure!(tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut all).await? > 0, "{all}");
    }
    ensure!(all.contains("three 0") && all.contains("three 1") && !all.contains("two 4"), "{all}");
    Ok(())
}

#[tokio::test]
async fn who_may_not_or_does_not_start_is_told_by_a_code() -> Result<()> {
    let file = "tokens:\n- {name: one, token: one-0123456789abcdef, tenants: all}\n";
    let limits = Limits { streams_max: 1, ..Limits::default() };
    let world = World::start(15, &[], tokens(file)?, limits).await?;
    let (protocol, bearer) =
        (("sec-websocket-protocol", "cordwood.v1"), ("authorization", "Bearer one-0123456789abcdef"));
    for (headers, code) in
        [(&[protocol][..], 401), (&[bearer], 400), (&[bearer, ("sec-websocket-protocol", "graphql-ws")], 400)]
    {
        match Socket::connect(&world.address, headers).await? {
            Err(tungstenite::Error::Http(answer)) => ensure!(answer.status() == code, "{}", answer.status()),
            _ => bail!("{headers:?} is let in"),
        }
    }
    let mut first = Socket::connect(&world.address, &[protocol, bearer]).await??;
    let mut second = Socket::connect(&world.address, &[protocol, bearer]).await??;
    second.expect("error").await?;
    ensure!(second.ends().await? == (json!(4429), 4429));
    // The first says nothing.
    ensure!(first.ends().await? == (json!(4408), 4408));
    drop((first, second));
    let again = cordwood_tests::env::wait_for("a free slot", Duration::from_secs(20), async || {
        let mut socket = Socket::connect(&world.address, &[protocol, bearer]).await??;
        socket.say(json!({"type": "start", "credit": 1})).await?;
        socket.expect("hello").await?;
        Ok(socket)
    });
    let mut socket = again.await?;
    // Longer than a reader's frame may be.
    socket.say(json!({"type": "filter", "filter": "x".repeat(70 << 10)})).await?;
    while socket.next().await.is_ok() {}

    let local = World::with(15, &[]).await?;
    let other = ("origin", "https://evil.example");
    match Socket::connect(&local.address, &[protocol, other]).await? {
        Err(tungstenite::Error::Http(answer)) => ensure!(answer.status() == 403, "{}", answer.status()),
        _ => bail!("a page of another place is let in"),
    }
    Ok(())
}
