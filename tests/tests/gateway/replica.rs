//! Searches read from a replica that keeps up, and from the database itself when there is none.

use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::level::Level;
use cordwood_gateway::{Access, Gateway, Limits};
use cordwood_store::{Settings, Store, migrate};
use cordwood_tests::env::wait_for;
use cordwood_tests::http::ask;
use prometheus::{Registry, TextEncoder};

use super::world::{World, container, ids, line, put, recent_us};

/// What it was given of the database's records; a replica that is behind has as little.
const REPLICA: &str = "replica";

#[tokio::test]
async fn searches_read_from_a_replica_that_keeps_up() -> Result<()> {
    let at = recent_us();
    let both = |number: u32| {
        [(container("acme", "shop", number), vec![line(at, Level::Info, format!("line {number}"))])]
    };
    let mut world = World::with(15, &both(0)).await?;
    let url = world.postgres.database(REPLICA).await?;
    let copy = Store::connect(&Settings::url(&url)).await?;
    migrate::run(&copy).await?;
    put(&copy, &both(0)).await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    put(&world.store, &both(1)).await?;
    let start = async |lag_max: Duration| -> Result<_> {
        let registry = Registry::new();
        let gateway = Gateway::new(world.store.clone(), Access::Loopback, &Limits::default(), &registry)?;
        let replica = Store::new(&Settings::url(&url))?.replica_of(&world.store);
        let gateway = gateway.reading_from(replica, lag_max);
        Ok((cordwood_gateway::start(gateway, "127.0.0.1:0".parse()?).await?, registry))
    };
    let count = async |address: String, path: &str, accept: &str| -> Result<usize> {
        let answer = ask(&address, "GET", path, &[("Accept", accept)]).await?;
        ensure!(answer.code == 200, "{}", answer.text());
        Ok(answer.text().matches("\"message\":\"line ").count())
    };
    let counter = |registry: &Registry, name: &str| -> Result<bool> {
        Ok(TextEncoder::new()
            .encode_to_string(&registry.gather())?
            .lines()
            .any(|told| told.starts_with(&format!("cordwood_gateway_{name}")) && !told.ends_with(" 0")))
    };
    // It knows one of the two lines: what is read shows where from.
    let (running, registry) = start(Duration::from_secs(3600)).await?;
    for (accept, path) in
        [("application/json", "/api/platform/logs"), ("application/x-ndjson", "/api/platform/logs")]
    {
        ensure!(count(running.address.to_string(), path, accept).await? == 1, "{accept}");
    }
    for counted in ["histogram", "facets"] {
        let path = format!("/api/platform/logs/{counted}");
        let answer = ask(&running.address.to_string(), "GET", &path, &[]).await?;
        ensure!(answer.json()?["records"] == 1, "{}", answer.text());
    }
    ensure!(counter(&registry, "replica_searches_total")?);
    // One record is read where it was shown: streams show what the database itself has.
    world.address = running.address.to_string();
    let everything = cordwood_store::scope::Scope::all(cordwood_store::scope::AdminReason::Audit);
    let line_1 = cordwood_core::filter::parse("\"line 1\"")?;
    let all = cordwood_store::search::search(
        &world.store,
        &everything,
        &line_1,
        cordwood_store::search::TimeRange::default(),
        cordwood_store::search::Page::first(1),
        10_000,
    );
    let id = all.await?.records[0].cursor();
    ensure!(world.get(&format!("/api/platform/logs/{id}")).await?.code == 200);
    // It goes away: the next search is answered all the same, after what was known of it.
    let client = world.postgres.client().await?;
    client.batch_execute(&format!("alter database {REPLICA} allow_connections false; select pg_terminate_backend(pid) from pg_stat_activity where datname = '{REPLICA}'")).await?;
    ensure!(ids(&world.json("/api/platform/logs").await?).len() == 2, "the replica is away");
    ensure!(counter(&registry, "replica_passed_over_total{reason=\"away\"}")?);
    client.batch_execute(&format!("alter database {REPLICA} allow_connections true")).await?;
    wait_for("the replica to be asked again", Duration::from_secs(30), async || {
        ensure!(ids(&world.json("/api/platform/logs").await?).len() == 1);
        Ok(())
    })
    .await?;
    running.stop().await;
    // What is too far behind is passed over.
    let (running, registry) = start(Duration::from_millis(1)).await?;
    ensure!(count(running.address.to_string(), "/api/platform/logs", "application/json").await? == 2);
    ensure!(counter(&registry, "replica_passed_over_total{reason=\"behind\"}")?);
    running.stop().await;
    Ok(())
}
