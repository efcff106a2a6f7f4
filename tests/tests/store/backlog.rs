//! A backlog of any size is sealed in rounds of bounded size, also under kills; table partitions come into being with the records
//! that need them, and no more than these.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::retention::{Policy, Tuning};
use cordwood_operator::retention::Standalone;
use cordwood_store::seal::{Round, SealSession};
use cordwood_store::{Settings, Store, StoreError};
use cordwood_tests::env::{KillAt, Postgres, wait_for};
use cordwood_writer::RecordPlacer;
use tokio_postgres::Client;

use super::support::{self, Lines, check_exactly_once};
use super::{COPIED, Kill, MARKING, MOVED, ROUND, start_writer};

const ROUND_RECORDS: u64 = 500;
const MESSAGE_RECORDS: u64 = 100;
/// One transaction more where it crosses the bound, of the fresh and of the carried records.
const ROUND_BOUND: u64 = 2 * (ROUND_RECORDS + 10 * MESSAGE_RECORDS);

async fn claim(store: &Store) -> Result<SealSession> {
    loop {
        if let Some(mut sealing) = SealSession::claim(store).await? {
            sealing.set_round_records_max(ROUND_RECORDS as i64);
            return Ok(sealing);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn one(sealing: &mut SealSession) -> Result<Round, StoreError> {
    sealing.switch_ring().await?;
    sealing.round(&mut RecordPlacer::new(support::now_us())).await
}

/// Until a round says that there is no more; one of them is killed at this step first. How many rounds.
async fn seal_all(
    store: &Store,
    (kills, client): (&KillAt, &Client),
    streams: &[Lines],
    (kill_round, kill): (u32, Kill),
) -> Result<u32> {
    let (mut sealing, mut rounds, mut killed) = (claim(store).await?, 0, false);
    loop {
        if rounds == kill_round && !killed {
            killed = true;
            let number: i64 = client.query_one(ROUND, &[]).await?.get(0);
            kills.set(kill.at);
            let error = one(&mut sealing).await.err().context("the session goes on")?;
            kills.killed().with_context(|| format!("not killed: {error}"))?;
            let now: i64 = client.query_one(ROUND, &[]).await?.get(0);
            ensure!(now - number == i64::from(kill.sealed), "{kill:?}: {number}, then {now} rounds");
            check_exactly_once(&support::stored(client).await?, streams)?;
            sealing = claim(store).await?;
        }
        let done = one(&mut sealing).await?;
        rounds += 1;
        ensure!(done.records + done.expired <= ROUND_BOUND, "round {rounds}: {done:?}");
        check_exactly_once(&support::stored(client).await?, streams)?;
        if !done.more {
            ensure!(killed, "it ended after {rounds} rounds, before the kill");
            return Ok(rounds);
        }
        ensure!(rounds < 500, "it does not end");
    }
}

async fn backlog(version: u32) -> Result<()> {
    let postgres = Postgres::start(version).await?;
    let store = support::store(&postgres, "backlog").await?;
    let client = postgres.client_of("backlog").await?;
    client.batch_execute("alter system set autovacuum_naptime = '1s'").await?;
    client.batch_execute("select pg_reload_conf()").await?;
    let running = start_writer(&store)?;
    let mut streams: Vec<Lines> = (0..3).map(Lines::new).collect();
    streams[1].age_us = 3 * support::HOUR_US;
    streams[2].age_us = 20 * support::HOUR_US;
    for _ in 0..12 {
        for lines in &mut streams {
            running.sender.send(lines.message(MESSAGE_RECORDS)).ok().context("the queue is closed")?.await?;
        }
    }
    running.stop.cancel();
    running.task.await??;
    let kills = KillAt::start(&postgres).await?;
    let sealer = Store::connect(&Settings::url(kills.url_of(&postgres, "backlog"))).await?;
    let count = async |sql: &str| anyhow::Ok(client.query_one(sql, &[]).await?.get::<_, i64>(0));
    let carried = "select coalesce(sum(records), 0)::bigint from batches b join seals z using (lane) \
                   where lane = 0 and b.seq > z.upto";
    let tables = "select count(*) from pg_class where relname like 'blocks\\_c%' and relname !~ '_index$' and relkind in ('r', 'p')";

    // The operator has never been there: everything is carried, round by round.
    let rounds = seal_all(&sealer, (&kills, &client), &streams, (2, MARKING)).await?;
    ensure!(rounds >= 3, "{rounds} rounds");
    ensure!(count(carried).await? == 3_600);

    // Classes and routes alone make no table.
    let mut retention = Standalone::new(&store, Tuning::default());
    let report = retention.pass(&[]).await?;
    ensure!(report.failed.is_empty(), "{:?}", report.failed);
    ensure!(count(tables).await? == 0);
    ensure!(count("select count(*) from classes").await? == 4);
    seal_all(&sealer, (&kills, &client), &streams, (1, MOVED)).await?;
    ensure!(count(carried).await? == 3_600);
    let wanted = count("select count(*) from wanted_leaves").await?;
    ensure!((4..=16).contains(&wanted), "{wanted} wanted");

    // Within one pass the tables are there, and the records go into them.
    let report = retention.pass(&[]).await?;
    ensure!(report.failed.is_empty(), "{:?}", report.failed);
    ensure!(report.refused().is_none(), "{:?}", report.findings);
    ensure!(count(tables).await? == wanted + 4, "as many as records wait for, and the classes'");
    seal_all(&sealer, (&kills, &client), &streams, (0, COPIED)).await?;
    ensure!(count(carried).await? == 0);
    ensure!(count("select count(*) from wanted_leaves").await? == 0, "what is there is wanted no more");
    ensure!(count("select coalesce(sum(count), 0)::bigint from blocks").await? == 3_600);

    // What the round that was cut off had written is taken away; so few rows would otherwise lie there for good.
    wait_for("the dead rows to be vacuumed", Duration::from_secs(60), || async {
        let sql = "select count(*) filter (where autovacuum_count > 0), \
                     coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables where relname like 'blocks\\_c%'";
        let row = client.query_one(sql, &[]).await?;
        let (vacuumed, dead): (i64, i64) = (row.get(0), row.get(1));
        ensure!(vacuumed > 0 && dead == 0, "{vacuumed} tables were vacuumed, {dead} dead rows");
        Ok(())
    })
    .await?;

    // A few are premade for classes that get records; further passes find nothing to do.
    retention.pass(&[]).await?;
    let settled = count(tables).await?;
    ensure!(settled <= wanted + 4 + 4 * 4, "{settled} tables");
    ensure!(retention.pass(&[]).await?.done.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_sealed_in_bounded_rounds_and_tables_follow_records() -> Result<()> {
    backlog(15).await
}

/// More table partitions than one round may lock: the rest has its turn in the next rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_fills_no_more_partitions_than_the_server_has_locks_for() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let store = support::store(&postgres, "turns").await?;
    let client = postgres.client_of("turns").await?;
    support::classes(&client).await?;
    // 4 classes x 20 hours: the placer is told of a server whose lock table bears 16 of them at once.
    support::leaves(&client, 18, 2).await?;
    let running = start_writer(&store)?;
    let mut streams = Vec::new();
    for hour in 0..18 {
        let mut lines = Lines::new(hour);
        lines.age_us = i64::from(hour) * support::HOUR_US;
        running.sender.send(lines.message(60)).ok().context("the queue is closed")?.await?;
        streams.push(lines);
    }
    running.stop.cancel();
    running.task.await??;
    let mut sealing = SealSession::claim(&store).await?.context("somebody seals")?;
    let (mut filled, mut rounds) = (BTreeMap::new(), 0);
    loop {
        let mut placer = RecordPlacer::new(support::now_us()).with_leaves_max(16);
        sealing.switch_ring().await?;
        let done = sealing.round(&mut placer).await?;
        rounds += 1;
        check_exactly_once(&support::stored(&client).await?, &streams)?;
        let rows = client.query("select class, time_from, blocks from sealed_leaves", &[]).await?;
        let now: BTreeMap<(i32, jiff::Timestamp), i64> =
            rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
        let changed = now.iter().filter(|(leaf, blocks)| filled.get(*leaf) != Some(*blocks)).count();
        ensure!(changed <= 16, "{changed} table partitions in one round");
        filled = now;
        if !done.more {
            ensure!(done.carried == 0, "{done:?}");
            break;
        }
    }
    ensure!(rounds >= 4 && filled.len() >= 64, "{rounds} rounds, {} table partitions", filled.len());
    Ok(())
}

/// Lines of 40 days ago: ERROR is kept for a year and has its own time, INFO is kept for a week and has the time of arrival.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_keeps_its_time_where_its_class_keeps_it_so_long() -> Result<()> {
    const DAY_US: i64 = 24 * support::HOUR_US;
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "old").await?;
    let client = postgres.client_of("old").await?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(0);
    lines.age_us = 40 * DAY_US;
    running.sender.send(lines.message(101)).ok().context("the queue is closed")?.await?;
    running.stop.cancel();
    running.task.await??;
    let mut policy = Policy::builtin();
    policy.retention_us.error = 365 * DAY_US;
    let mut retention = Standalone::new(&store, Tuning::default());
    let mut sealing = SealSession::claim(&store).await?.context("somebody seals")?;
    for _ in 0..2 {
        retention.pass(std::slice::from_ref(&policy)).await?;
        one(&mut sealing).await?;
    }
    let sql = "select sum(b.count)::bigint, max(extract(epoch from now() - b.time_from))::float8 / 86400 \
               from blocks b join classes c on c.id = b.class where c.level = $1";
    let of_level = async |level: i16| {
        let row = client.query_one(sql, &[&level]).await?;
        anyhow::Ok((row.get::<_, Option<i64>>(0), row.get::<_, Option<f64>>(1).unwrap_or_default()))
    };
    let (errors, days) = of_level(3).await?;
    ensure!(errors == Some(3) && (days - 40.0).abs() < 0.1, "{errors:?} errors of {days} days ago");
    let (infos, days) = of_level(1).await?;
    ensure!(infos == Some(92) && days < 0.1, "{infos:?} infos of {days} days ago");
    check_exactly_once(&support::stored(&client).await?, &[lines])
}
