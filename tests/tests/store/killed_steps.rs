//! Retention is killed before, in and after each step of a plan that has every kind of step: the end is that of a pass that nobody killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::retention::class::{ClassId, leaf_table};
use cordwood_core::retention::policy::Match;
use cordwood_core::retention::{Catalogue, DropLimit, PerLevel, Policy, Tuning};
use cordwood_operator::retention::{PassError, Passes, Report, Standalone};
use cordwood_store::ddl::Loop;
use cordwood_store::{Settings, Store, catalogue};
use cordwood_tests::env::{KillAt, Moment, Postgres};
use tokio_postgres::Client;

use super::support::{self, HOUR_US};

const DAY_US: i64 = 24 * HOUR_US;
/// More than kills and steps together.
const PASSES_MAX: usize = 600;
/// Where a session ends: the step is not done, it is done and not noted, both are not kept, both are.
const MOMENTS: [Moment; 6] = [
    Moment::Before("insert into ledger"),
    Moment::After("insert into ledger"),
    Moment::Before("COMMIT"),
    Moment::After("COMMIT"),
    Moment::Before("concurrently"),
    Moment::After("concurrently"),
];
/// Every kind of step that changes a table or the row of one.
const KINDS: [&str; 10] = [
    "create",
    "create-class",
    "detach",
    "drop",
    "finalize-detach",
    "forget",
    "mark-detached",
    "put-class",
    "put-routes",
    "reattach",
];

/// The policies that there are now; `shop` is new.
fn policies() -> [Policy; 2] {
    let long = |name: &str| Policy {
        name: name.to_owned(),
        retention_us: PerLevel {
            debug: 40 * DAY_US,
            info: 50 * DAY_US,
            warn: 60 * DAY_US,
            error: 60 * DAY_US,
        },
        drop_limit: DropLimit { partitions: 1_000, bytes: 1 << 40 },
        ..Policy::builtin()
    };
    let matches = Match { tenants: vec!["shop-*".to_owned()], ..Match::default() };
    [long("default"), Policy { priority: 1, matches, ..long("shop") }]
}

/// A database in which a plan has all of [`KINDS`] to do. `day`: the first hour of today.
async fn made(postgres: &Postgres, name: &str, day: i64) -> Result<Client> {
    support::store(postgres, name).await?;
    let client = postgres.client_of(name).await?;
    support::classes(&client).await?;
    // What has expired, what has not; an hour of each of these days.
    for days in [90, 91, 92, 93, 94, 95, 9, 10, 11, 12] {
        support::leaves_between(&client, day - days * 24, day - days * 24 + 1).await?;
    }
    let table = |class: i32, days: i64| leaf_table(ClassId(class), (day - days * 24) * HOUR_US);
    let kept = policies()[0].retention_us;
    for (class, retention_us) in (1_i32..).zip([kept.debug, kept.info, kept.warn, kept.error]) {
        client
            .execute("update classes set retention_us = $2 where id = $1", &[&class, &retention_us])
            .await?;
    }
    let time =
        |days: i64| jiff::Timestamp::from_second((day - days * 24) * 3600).map(|time| time.to_string());
    client
        .batch_execute(&format!(
            "insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
               select 1, class, 'shop-eu', 1, time_from, time_from, 1, 1, '\\x00', '\\x00' from leaves;
             alter table blocks_c1 detach partition {dropped};
             update leaves set detached = now() - interval '3 days' where class = 1 and time_from = '{}';
             alter table blocks_c1 detach partition {unmarked};
             drop table {forgotten};
             alter table blocks_c2 detach partition {back};
             drop table {again};
             insert into wanted_leaves (class, time_from, time_to) values
               (5, date_trunc('hour', now()), date_trunc('hour', now()) + interval '1 hour'),
               (3, '{}', timestamptz '{}' + interval '1 hour')",
            time(95)?,
            time(20)?,
            time(20)?,
            dropped = table(1, 95),
            unmarked = table(1, 94),
            forgotten = table(1, 93),
            back = table(2, 9),
            again = table(2, 10),
        ))
        .await?;
    // A detach that a reader interrupted.
    let reader = postgres.client_of(name).await?;
    reader.batch_execute("begin isolation level repeatable read; select count(*) from blocks").await?;
    client.batch_execute("set lock_timeout = '50ms'").await?;
    let detach = format!("alter table blocks_c2 detach partition {} concurrently", table(2, 92));
    ensure!(client.batch_execute(&detach).await.is_err(), "nobody was in the way of the detach");
    reader.batch_execute("commit").await?;
    client.batch_execute("reset lock_timeout").await?;
    Ok(client)
}

/// What is there, but for when: classes, leaves with their state, and where records go.
fn picture(catalogue: &Catalogue) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for class in &catalogue.classes {
        let kept = (class.retention_us, class.grace_us, class.legal_hold, class.has_table);
        all.insert(format!("class {}", class.id.0), format!("{} {} {kept:?}", class.policy, class.level));
    }
    for leaf in &catalogue.leaves {
        let state = format!("{:?}", leaf.state);
        let state = state.split([' ', '{']).next().unwrap_or_default().to_owned();
        all.insert(leaf.table.clone(), format!("{state} {} {} {}", leaf.from_us, leaf.to_us, leaf.empty));
    }
    all.insert("routes".to_owned(), format!("{:?}", catalogue.routes));
    all.insert("drift".to_owned(), format!("{:?}", catalogue.drift));
    all
}

/// A pass that nobody kills; the kinds of its steps.
async fn pass_of(retention: &mut Standalone, policies: &[Policy]) -> Result<Vec<&'static str>> {
    let report = retention.pass(policies).await?;
    ensure!(report.failed.is_empty(), "{:?}", report.failed);
    Ok(report.done.iter().map(|planned| planned.step.kind()).collect())
}

/// Passes of one loop, each of another process that is killed at another moment, until one finds nothing to do. Which kinds of steps were
/// interrupted, and how many kills that took.
async fn until_all_is_done(
    which: Loop,
    store: &Store,
    kills: &KillAt,
    interrupted: &mut BTreeSet<&'static str>,
) -> Result<usize> {
    let (policies, mut count, mut passes) = (policies(), 0, 0);
    loop {
        // A detach is no transaction.
        let moments = if interrupted.contains("detach") { &MOMENTS[..] } else { &MOMENTS[..4] };
        kills.set(moments[passes % moments.len()]);
        let outcome = one_pass(which, store, &policies).await;
        let was_killed = kills.killed().is_some();
        count += usize::from(was_killed);
        match outcome {
            Ok(report) => {
                interrupted.extend(report.failed.iter().map(|(planned, _)| planned.step.kind()));
                if report.done.is_empty() && report.failed.is_empty() && !was_killed {
                    return Ok(count);
                }
            }
            // The session of the pass before has not ended yet.
            Err(PassError::Locked(_)) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            Err(error) => ensure!(was_killed, "{error}"),
        }
        passes += 1;
        ensure!(passes < PASSES_MAX, "no end: {interrupted:?}");
    }
}

async fn one_pass(which: Loop, store: &Store, policies: &[Policy]) -> Result<Report, PassError> {
    let tuning = Tuning::default();
    let mut passes = Passes::new(store.clone(), which);
    let now_us = passes.clock().await?;
    let mut report = passes.look(policies, now_us, &tuning).await?;
    passes.apply(&mut report, |_| true).await?;
    Ok(report)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_step_the_end_is_the_same() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let policies = policies();
        let day = support::now_us().div_euclid(DAY_US) * 24;

        let whole = made(&postgres, "whole", day).await?;
        let store = Store::connect(&Settings::url(postgres.url_of("whole"))).await?;
        let mut retention = Standalone::new(&store, Tuning::default());
        let mut kinds = BTreeSet::new();
        for _ in 0..5 {
            kinds.extend(pass_of(&mut retention, &policies).await?);
        }
        ensure!(kinds.iter().copied().eq(KINDS), "the plan had {kinds:?}");
        drop(retention);
        let expected = picture(&catalogue::look(&whole).await?);

        let killed = made(&postgres, "killed", day).await?;
        let kills = KillAt::start(&postgres).await?;
        let through = Store::connect(&Settings::url(kills.url_of(&postgres, "killed"))).await?;
        let (mut interrupted, mut count) = (BTreeSet::new(), 0);
        for which in [Loop::Create, Loop::Drop] {
            count += until_all_is_done(which, &through, &kills, &mut interrupted).await?;
        }
        ensure!(interrupted.iter().copied().eq(KINDS), "only these were killed: {interrupted:?}");
        ensure!(count > 3 * KINDS.len(), "only {count} kills");
        let mut retention = Standalone::new(&through, Tuning::default());
        for _ in 0..5 {
            pass_of(&mut retention, &policies).await?;
        }
        let end = picture(&catalogue::look(&killed).await?);
        let keys: BTreeSet<&String> = end.keys().chain(expected.keys()).collect();
        for key in keys {
            ensure!(
                end.get(key) == expected.get(key),
                "{key}: {:?}, not {:?}",
                end.get(key),
                expected.get(key)
            );
        }
        let lost = "select count(*) from leaves l where l.detached is null and not exists (select from pg_inherits
                     where inhrelid = to_regclass('blocks_c' || l.class || '_' || to_char(l.time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI')))";
        let lost: i64 = killed.query_one(lost, &[]).await?.get(0);
        ensure!(lost == 0, "{lost} leaves are neither attached nor noted as detached");
        println!(
            "PostgreSQL {version}: {count} kills at {interrupted:?}, the same end of {} rows",
            end.len()
        );
    }
    Ok(())
}
