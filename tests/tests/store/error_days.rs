//! Counts of errors by day are the sum of their hours, no matter which version changes these; and a list over any range of hours counts what the hours say.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use cordwood_core::level::Level;
use cordwood_core::signature::Signature;
use cordwood_store::errors::{Asked, HOUR_US, Order, groups};
use cordwood_store::scope::Scope;
use cordwood_store::{Store, migrate};
use cordwood_tests::env::Postgres;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use super::{ALL, support};

/// 2026-11-01T00:00:00Z, in hours.
const BEGIN: i64 = 498_408;
const HOURS: i64 = 12 * 24;
const DAY: i64 = 24;

/// A row of `error_counts`.
#[derive(Clone, Debug)]
struct Row {
    hour: i64,
    signature: i64,
    tenant: String,
    namespace: String,
    service: String,
    level: i16,
    audit: bool,
    count: i64,
}

/// As a sealer of any version folds a round.
const FOLD: &str = "insert into error_counts as c (hour, signature, tenant, namespace, service, level, audit, task_id, count)
    select to_timestamp(hour * 3600.0), signature, tenant, namespace, service, level, audit, '', sum(count)
      from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::bool[], $8::bigint[])
        as t (hour, signature, tenant, namespace, service, level, audit, count)
      group by 1, 2, 3, 4, 5, 6, 7 order by 1, 2, 3, 4, 5, 6, 7
    on conflict (hour, signature, tenant, namespace, service, level, audit, task_id) do update set count = c.count + excluded.count";

async fn fold(client: &Client, random: &mut StdRng, rows: usize) -> Result<()> {
    let name = |random: &mut StdRng, names: [&str; 3]| names[random.random_range(0..3)].to_owned();
    let rows: Vec<Row> = (0..rows)
        .map(|_| Row {
            hour: BEGIN + random.random_range(0..HOURS),
            signature: random.random_range(1..6),
            tenant: name(random, ["acme", "bank", "acme"]),
            namespace: name(random, ["shop", "pay", ""]),
            service: name(random, ["web", "api", ""]),
            level: random.random_range(3..5),
            audit: random.random_bool(0.2),
            count: random.random_range(1..100),
        })
        .collect();
    fn column<T>(rows: &[Row], of: impl Fn(&Row) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    client
        .execute(
            FOLD,
            &[
                &column(&rows, |row| row.hour),
                &column(&rows, |row| row.signature),
                &column(&rows, |row| row.tenant.clone()),
                &column(&rows, |row| row.namespace.clone()),
                &column(&rows, |row| row.service.clone()),
                &column(&rows, |row| row.level),
                &column(&rows, |row| row.audit),
                &column(&rows, |row| row.count),
            ],
        )
        .await?;
    client
        .batch_execute(
            "insert into error_groups (signature, tenant, namespace, service, level, audit, task_id, first_seen, last_seen, topic_partition,
                 kafka_offset, record_index, error_type, message)
               select distinct signature, tenant, namespace, service, level, audit, task_id, now(), now(), 0, 0, 0, '', '' from error_counts
             on conflict do nothing",
        )
        .await?;
    Ok(())
}

async fn stored(client: &Client) -> Result<Vec<Row>> {
    let rows = client
        .query(
            "select (extract(epoch from hour) / 3600)::bigint, signature, tenant, namespace, service, level, audit, count from error_counts",
            &[],
        )
        .await?;
    let row = |row: &tokio_postgres::Row| Row {
        hour: row.get(0),
        signature: row.get(1),
        tenant: row.get(2),
        namespace: row.get(3),
        service: row.get(4),
        level: row.get(5),
        audit: row.get(6),
        count: row.get(7),
    };
    Ok(rows.iter().map(row).collect())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    count: i64,
    level: i16,
    tenants: BTreeSet<String>,
    services: BTreeSet<String>,
    trend: BTreeMap<i64, i64>,
}

/// Who sees which rows.
type Seer = (Scope, fn(&Row) -> bool);

fn seers() -> [Seer; 4] {
    [
        (ALL, |_| true),
        (Scope::of_tenants(["bank"]), |row| row.tenant == "bank"),
        (ALL.without_audit(), |row| !row.audit),
        (Scope::of_tenants(["acme"]).in_namespaces(["shop"]), |row| {
            row.tenant == "acme" && row.namespace == "shop"
        }),
    ]
}

/// The days are the sum of the hours, and random questions are answered by both alike.
async fn check(store: &Store, client: &Client, random: &mut StdRng, questions: usize) -> Result<()> {
    let differing = "with h as (select date_trunc('day', hour, 'UTC') as day, signature, tenant, namespace, service, level, audit, task_id,
            sum(count)::bigint as count from error_counts group by 1, 2, 3, 4, 5, 6, 7, 8)
        select count(*) from ((table h except all table error_days) union all (table error_days except all table h)) x";
    let differing: i64 = client.query_one(differing, &[]).await?.get(0);
    ensure!(differing == 0, "{differing} rows differ");
    let rows = stored(client).await?;
    for _ in 0..questions {
        // Hours anywhere, also at the edges of days and outside of everything.
        let edge = |random: &mut StdRng| {
            let hour = random.random_range(-30..HOURS + 30);
            BEGIN + if random.random_bool(0.3) { hour / DAY * DAY + random.random_range(-1..2) } else { hour }
        };
        let (one, other) = (edge(random), edge(random));
        let (from, to) = (one.min(other), one.max(other));
        let seers = seers();
        let (scope, sees) = seers.choose(random).unwrap();
        let bin = *[1, 3, 6, 12, 24, 48, 72].choose(random).unwrap();
        let levels = if random.random_bool(0.3) { vec![Level::Error] } else { vec![] };
        let services = if random.random_bool(0.3) { vec!["web".to_owned()] } else { vec![] };
        let is_asked = |row: &&Row| {
            (from..to).contains(&row.hour)
                && sees(row)
                && (levels.is_empty() || row.level == Level::Error as i16)
                && (services.is_empty() || row.service == "web")
        };
        let mut expected: BTreeMap<i64, Counted> = BTreeMap::new();
        for row in rows.iter().filter(is_asked) {
            let counted = expected.entry(row.signature).or_default();
            counted.count += row.count;
            counted.level = counted.level.max(row.level);
            counted.tenants.insert(row.tenant.clone());
            counted.services.extend((!row.service.is_empty()).then(|| row.service.clone()));
            *counted.trend.entry(row.hour.div_euclid(bin) * bin).or_default() += row.count;
        }
        let asked = Asked {
            from_hour_us: from * HOUR_US,
            to_hour_us: to * HOUR_US,
            levels: levels.clone(),
            tenants: vec![],
            namespaces: vec![],
            services: services.clone(),
            text: None,
            new_since_us: None,
            signature: None,
            order: Order::Count,
            after: None,
            limit: 100,
            bin_us: bin * HOUR_US,
        };
        let listed = groups(store, scope, &asked).await?.groups;
        ensure!(listed.is_sorted_by_key(|group| std::cmp::Reverse(group.count)));
        let listed: BTreeMap<i64, Counted> = listed
            .into_iter()
            .map(|group| {
                let counted = Counted {
                    count: group.count as i64,
                    level: group.level as i16,
                    tenants: group.tenants.into_iter().collect(),
                    services: group.services.into_iter().collect(),
                    trend: group.trend.iter().map(|(at, count)| (at / HOUR_US, *count as i64)).collect(),
                };
                (Signature::as_i64(group.signature), counted)
            })
            .collect();
        ensure!(listed == expected, "{asked:?} by {scope:?}:\n{listed:?}\n{expected:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_are_the_sum_of_their_hours() -> Result<()> {
    for (version, seed) in [(15, 1), (18, 2)] {
        let random = &mut StdRng::seed_from_u64(seed);
        let postgres = Postgres::start(version).await?;
        // What the version before left is taken over.
        let store = support::store_of_version(&postgres, "days", 12).await?;
        let client = postgres.client_of("days").await?;
        for _ in 0..10 {
            fold(&client, random, 60).await?;
        }
        migrate::run(&store).await?;
        check(&store, &client, random, 25).await?;
        for round in 0..6 {
            fold(&client, random, 80).await?;
            // As pruning goes, a part of an hour's rows at a time; and as a deleted task's rows go.
            let gone = match round % 3 {
                0 => format!("level = 3 and hour < to_timestamp({} * 3600.0)", BEGIN + 20 + 10 * round),
                1 => "signature = 2 and tenant = 'acme' and namespace = 'shop'".to_owned(),
                _ => "count % 5 = 0".to_owned(),
            };
            client.batch_execute(&format!("delete from error_counts where {gone}")).await?;
            // A count that somebody corrects.
            client.batch_execute("update error_counts set count = count + 3 where count % 7 = 0").await?;
            check(&store, &client, random, 8).await?;
        }
        client.batch_execute("delete from error_counts").await?;
        check(&store, &client, random, 1).await?;
        let left: i64 = client.query_one("select count(*) from error_days", &[]).await?.get(0);
        ensure!(left == 0, "{left} days are left");
    }
    Ok(())
}
