//! Origins of which somebody chose the names so that both have the same hash: each keeps its own row, and its own name in what is read.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use cordwood_core::filter;
use cordwood_core::limits::ORIGIN_PROBES_MAX;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_store::origins::{assign, read};
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_tests::env::Postgres;

use super::support::{self, Lines};
use super::{ALL, start_writer};

fn origin(service: &str) -> Origin {
    Origin { tenant: "shop".into(), tenant_id: "shop".into(), service: service.into(), ..Origin::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_of_one_hash_have_rows_of_their_own() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "origins").await?;
    let client = postgres.client_of("origins").await?;
    let hash = OriginId(u64::MAX - 1);
    let all: Vec<Origin> = (0..ORIGIN_PROBES_MAX + 4).map(|n| origin(&format!("service-{n}"))).collect();
    let wanted: Vec<(OriginId, &Origin)> = all.iter().map(|origin| (hash, origin)).collect();
    // One alone, several in one call, and two writers at once.
    let first = assign(&client, &wanted[..1]).await?;
    ensure!(first == [hash], "{first:?}");
    let (one, two) = (store.client("one").await?, store.client("two").await?);
    let (few, more) = tokio::join!(assign(&one, &wanted[..3]), assign(&two, &wanted[..3]));
    let few = few?;
    ensure!(few == more?, "two writers at once give one origin two ids");
    ensure!(few == [hash, OriginId(u64::MAX), OriginId(0)] || few == [hash, OriginId(0), OriginId(u64::MAX)]);
    let ids = assign(&client, &wanted).await?;
    ensure!(ids[..3] == few, "an id that was given stays: {ids:?}");
    ensure!(ids.iter().collect::<HashSet<_>>().len() == all.len(), "{ids:?}");
    let found = read(&client, &ids).await?;
    for (id, origin) in ids.iter().zip(&all) {
        ensure!(found.get(id) == Some(origin), "{id:?}: {:?}", found.get(id));
    }
    Ok(())
}

/// From the message to the answer of a search, the rows being taken by another tenant's origins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_id_shows_nobody_under_anothers_name() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "taken").await?;
    let client = postgres.client_of("taken").await?;
    let lines = || (0..3).map(Lines::new);
    for lines in lines() {
        let id = lines.origin().id();
        let theirs = Origin { tenant: "mallory".into(), ..origin("mallory") };
        ensure!(assign(&client, &[(id, &theirs)]).await? == [id]);
    }
    let running = start_writer(&store)?;
    for mut lines in lines() {
        for _ in 0..2 {
            running.sender.send(lines.message(10)).ok().context("the queue is closed")?.await?;
        }
    }
    running.stop.cancel();
    running.task.await??;
    let filter = filter::parse("")?;
    let found = search(&store, &ALL, &filter, TimeRange::default(), Page::first(100), 20_000).await?;
    ensure!(found.records.len() == 60, "{}", found.records.len());
    let wanted: Vec<Origin> = lines().map(|lines| lines.origin()).collect();
    for record in &found.records {
        let body: serde_json::Value = serde_json::from_slice(&record.body)?;
        let stream = body["msg"].as_str().and_then(|text| text.rsplit(" s").next()).context("no stream")?;
        let shown = found.origins.get(&record.origin).context("no origin")?;
        ensure!(*shown == wanted[stream.parse::<usize>()?], "stream {stream} is shown as {shown:?}");
    }
    Ok(())
}
