//! Who leaves costs nothing any more: the statement in PostgreSQL ends with the caller.

use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::level::Level;
use cordwood_gateway::{Access, Limits};
use cordwood_tests::env::wait_for;
use cordwood_tests::http::{ask, open};
use tokio::io::AsyncReadExt as _;

use super::world::{DATABASE, SLOW, World, container, line, recent_us};

/// Sessions of readers whose statement takes its time.
async fn waiting(client: &tokio_postgres::Client) -> Result<i64> {
    let sql = "select count(*) from pg_stat_activity where application_name like 'cordwood%' and state <> 'idle' \
               and wait_event = 'PgSleep'";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

async fn until(client: &tokio_postgres::Client, count: i64) -> Result<()> {
    wait_for(&format!("{count} sessions that wait"), Duration::from_secs(15), async || {
        let found = waiting(client).await?;
        ensure!(found == count, "{found} wait");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_search_ends_with_its_caller() -> Result<()> {
    let at = recent_us();
    let world = World::with(15, &[(container("acme", "shop", 1), vec![line(at, Level::Info, "x")])]).await?;
    let look = world.postgres.client_of(DATABASE).await?;
    look.batch_execute(SLOW).await?;
    let record = format!("/api/platform/logs/{at}.0-0-0");
    for path in ["/api/platform/logs", "/api/platform/logs/histogram", "/api/platform/logs/facets", &record] {
        let asked = open(&world.address, "GET", path, &[]).await?;
        until(&look, 1).await?;
        drop(asked);
        until(&look, 0).await?;
    }
    Ok(())
}

/// An export that waits for a page which it does not get; what of it was read.
struct Held {
    world: World,
    look: tokio_postgres::Client,
    asked: tokio::net::TcpStream,
    read: Vec<u8>,
}

async fn held_export() -> Result<Held> {
    let at = recent_us();
    // More than what sockets hold: the export waits for its reader before it is through.
    let lines = (0..40_000)
        .map(|n| line(at + n, Level::Info, format!("{n} {}", "x".repeat(400))))
        .collect::<Vec<_>>();
    let world = World::with(15, &[(container("acme", "shop", 1), lines)]).await?;
    let look = world.postgres.client_of(DATABASE).await?;
    let mut asked = open(&world.address, "GET", "/api/platform/logs", &[("Accept", "text/plain")]).await?;
    let mut read = vec![0; 64 << 10];
    asked.read_exact(&mut read).await?;
    ensure!(read.starts_with(b"HTTP/1.0 200"));
    look.batch_execute(SLOW).await?;
    let mut some = vec![0; 64 << 10];
    while waiting(&look).await? == 0 {
        match tokio::time::timeout(Duration::from_millis(50), asked.read(&mut some)).await {
            Ok(Ok(0)) => anyhow::bail!("the export ended before it was held"),
            Ok(count) => read.extend_from_slice(&some[..count?]),
            Err(_) => {}
        }
    }
    Ok(Held { world, look, asked, read })
}

#[tokio::test]
async fn an_export_ends_with_its_caller_and_the_metrics_say_so() -> Result<()> {
    let held = held_export().await?;
    drop(held.asked);
    until(&held.look, 0).await?;
    wait_for("the metric", Duration::from_secs(20), async || {
        let metrics = held.world.metrics()?;
        ensure!(metrics.contains("cordwood_gateway_exports_cut_total 1"), "{metrics}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_export_that_the_gateway_ends_says_that_it_is_not_whole() -> Result<()> {
    let mut held = held_export().await?;
    held.world.stop().await;
    held.asked.read_to_end(&mut held.read).await?;
    let text = String::from_utf8(held.read)?;
    let (_, text) = text.split_once("\r\n\r\n").unwrap_or_default();
    let last = text.trim_end().lines().next_back().unwrap_or_default();
    let end: serde_json::Value = serde_json::from_str(last.trim_start_matches("# "))?;
    let records = text.lines().count() - 1;
    ensure!(end["end"]["complete"] == false && end["end"]["records"] == records, "{last}, {records} records");
    ensure!(end["end"]["next"].is_string() && records < 40_000, "{last}");
    Ok(())
}

#[tokio::test]
async fn an_answer_whose_reader_takes_nothing_ends_and_gives_back_its_slot() -> Result<()> {
    let at = recent_us();
    // More than what sockets hold.
    let lines = (0..40_000).map(|n| line(at + n, Level::Info, format!("{n} {}", "x".repeat(400))));
    let sources = [(container("acme", "shop", 1), lines.collect::<Vec<_>>())];
    let limits = Limits { exports_max: 1, streams_max: 1, write_idle_ms_max: 500, ..Limits::default() };
    let world = World::start(15, &sources, Access::Loopback, limits).await?;
    let rows = [("/api/platform/logs", "text/plain"), ("/api/platform/logs/stream?after=1.0-0-0", "*/*")];
    for (stalled, (path, accept)) in (1..).zip(rows) {
        let mut asked = open(&world.address, "GET", path, &[("Accept", accept)]).await?;
        let mut head = [0; 12];
        asked.read_exact(&mut head).await?;
        ensure!(&head == b"HTTP/1.0 200", "{path}: {}", String::from_utf8_lossy(&head));
        wait_for("the metric", Duration::from_secs(20), async || {
            let metrics = world.metrics()?;
            ensure!(metrics.contains(&format!("cordwood_gateway_stalled_total {stalled}\n")), "{metrics}");
            Ok(())
        })
        .await?;
        // The one slot is free, although the connection's reader is still there.
        wait_for("the slot", Duration::from_secs(20), async || {
            if path.contains("stream") {
                let again = open(&world.address, "GET", path, &[]).await?;
                let mut again = tokio::io::BufReader::new(again);
                let mut status = String::new();
                tokio::io::AsyncBufReadExt::read_line(&mut again, &mut status).await?;
                ensure!(status.contains(" 200 "), "{status}");
            } else {
                let again =
                    ask(&world.address, "GET", &format!("{path}?limit=1"), &[("Accept", accept)]).await?;
                ensure!(again.code == 200, "{}", again.text());
            }
            Ok(())
        })
        .await?;
        drop(asked);
    }
    ensure!(world.metrics()?.contains("cordwood_gateway_exports_cut_total 1\n"));
    Ok(())
}
