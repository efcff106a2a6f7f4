//! Groups of errors on real PostgreSQL: what is counted is what a search finds, for everybody who asks, before and after sealing; nothing of a
//! deleted task; what goes with its level; and what an older version leaves behind.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use cordwood_core::filter;
use cordwood_core::level::Level;
use cordwood_core::limits::SIGNATURES_PER_MINUTE_MAX;
use cordwood_core::signature::{Signature, Version, error_group, error_group_by};
use cordwood_store::ddl::{DdlSession, Loop};
use cordwood_store::errors::{Asked, Group, HOUR_US, Order, groups};
use cordwood_store::prune::prune;
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::search::{Found, Page, TimeRange, search};
use cordwood_store::tasks::{self, Named};
use cordwood_store::{Store, migrate};
use cordwood_tests::env::Postgres;

use super::support;
use super::tasks::{File, Writer};
use super::{ALL, seal_once};

fn asked() -> Asked {
    let hour = support::now_us().div_euclid(HOUR_US) * HOUR_US;
    Asked {
        from_hour_us: hour - 30 * 24 * HOUR_US,
        to_hour_us: hour + 2 * HOUR_US,
        levels: vec![],
        tenants: vec![],
        namespaces: vec![],
        services: vec![],
        text: None,
        new_since_us: None,
        signature: None,
        order: Order::Count,
        after: None,
        limit: 7,
        bin_us: HOUR_US,
    }
}

/// Page after page.
async fn all(store: &Store, scope: &Scope, mut asked: Asked) -> Result<Vec<Group>> {
    let mut found = Vec::new();
    loop {
        let page = groups(store, scope, &asked).await?;
        ensure!(page.groups.len() <= asked.limit);
        found.extend(page.groups);
        asked.after = page.next;
        if asked.after.is_none() {
            return Ok(found);
        }
    }
}

async fn found(store: &Store, scope: &Scope, text: &str) -> Result<Found> {
    let filter = filter::parse(text)?;
    let found = search(store, scope, &filter, TimeRange::default(), Page::first(10_000), 60_000).await?;
    ensure!(found.cursor.is_none() && found.complete, "too many");
    Ok(found)
}

/// Every group is what a search for its signature finds, and they are all that a search for their levels finds.
async fn check(store: &Store, scope: &Scope) -> Result<u64> {
    let listed = all(store, scope, asked()).await?;
    let signatures: BTreeSet<Signature> = listed.iter().map(|group| group.signature).collect();
    ensure!(signatures.len() == listed.len(), "a group was listed twice");
    for group in &listed {
        let records = found(store, scope, &format!("signature={}", group.signature)).await?;
        let of = |name: fn(&cordwood_core::origin::Origin) -> &String| -> Vec<String> {
            let names: BTreeSet<String> =
                records.origins.values().map(|origin| name(origin).clone()).collect();
            names.into_iter().collect()
        };
        let (newest, oldest) =
            (records.records.first().context("none")?, records.records.last().context("none")?);
        ensure!(
            group.count == records.records.len() as u64
                && group.sample.record == newest.cursor()
                && (group.first_us, group.last_us) == (oldest.time_us, newest.time_us)
                && Some(group.level) == records.records.iter().map(|record| record.level).max()
                && group.tenants == of(|origin| &origin.tenant)
                && group.services == of(|origin| &origin.service)
                && group.trend.iter().map(|bin| bin.1).sum::<u64>() == group.count
                && group.sample.message == error_group(&newest.body).message,
            "{group:?}: {} records, from {} to {}",
            records.records.len(),
            oldest.time_us,
            newest.time_us
        );
    }
    let sum: u64 = listed.iter().map(|group| group.count).sum();
    let records = found(store, scope, "level>=warn").await?.records.len() as u64;
    ensure!(sum == records, "{sum} counted, {records} found");
    Ok(sum)
}

/// A message of letters, which tells it from all others.
fn word(n: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    format!("q{}{}{}z", letter(n / 676), letter(n / 26), letter(n))
}

fn lines(round: usize, of: &str) -> Vec<(Level, String)> {
    let levels = [Level::Warn, Level::Error, Level::Info];
    let line = |n: usize| match n % 4 {
        0 => format!(r#"{{"msg":"order {n} failed after {round} ms","service":"own"}}"#),
        1 => format!("{of} cannot reach 10.0.0.{n}:80"),
        2 => format!(r#"{{"message":"{} failed","error":{{"type":"Timeout{}"}}}}"#, word(n % 20), n % 2),
        _ => format!("task {n} is {}", word(n % 8)),
    };
    (0..60).map(|n| (levels[n % 3], line(n))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_what_a_search_finds_on_postgresql_15() -> Result<()> {
    groups_are_what_a_search_finds(15).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_what_a_search_finds_on_postgresql_18() -> Result<()> {
    groups_are_what_a_search_finds(18).await
}

async fn groups_are_what_a_search_finds(version: u32) -> Result<()> {
    let postgres = Postgres::start(version).await?;
    let store = support::store(&postgres, "errors").await?;
    let client = postgres.client_of("errors").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let mut files = [("acme", "shop"), ("acme", "bank"), ("other", "shop"), ("other", "")];
    let mut files: Vec<(File, &str)> = (1..)
        .zip(&mut files)
        .map(|(n, (tenant, namespace))| (File::new(tenant, namespace, n), *namespace))
        .collect();
    let scopes = [
        ALL,
        Scope::of_tenants(["acme"]),
        Scope::all(AdminReason::Authorized).in_namespaces(["shop", ""]).without_audit(),
        Scope::of_tenants(["acme"]).in_namespaces(["shop"]),
        Scope::of_tenants(["nobody"]),
    ];
    // Fresh ones; sealed ones; both.
    for round in 0..3 {
        let writer = Writer::start(&store)?;
        for (file, of) in &mut files {
            writer.put(file, &lines(round, of)).await?;
        }
        writer.end().await?;
        for (place, scope) in scopes.iter().enumerate() {
            let counted = check(&store, scope).await.with_context(|| format!("{round}: {scope:?}"))?;
            let expected = [4, 2, 2, 1, 0][place] * 40 * (round as u64 + 1);
            ensure!(counted == expected, "{round}: {counted} of {expected} for {scope:?}");
        }
        if round < 2 {
            seal_once(&store).await?;
            check(&store, &ALL).await.context("sealed")?;
        }
    }
    // Any order, each once.
    let whole = all(&store, &ALL, Asked { limit: 1000, ..asked() }).await?;
    for order in [Order::Count, Order::LastSeen, Order::FirstSeen] {
        let listed = all(&store, &ALL, Asked { order, limit: 3, ..asked() }).await?;
        let key = |group: &Group| {
            let value = match order {
                Order::Count => group.count as i64,
                Order::LastSeen => group.last_us,
                Order::FirstSeen => group.first_us,
            };
            (-value, group.signature.as_i64())
        };
        ensure!(listed.is_sorted_by_key(key), "{order:?}");
        let mut sorted = listed.clone();
        sorted.sort_by_key(|group| (-(group.count as i64), group.signature.as_i64()));
        ensure!(sorted == whole, "{order:?}");
    }
    // What is asked for.
    let count = async |asked: Asked| -> Result<(usize, u64)> {
        let listed = all(&store, &ALL, asked).await?;
        Ok((listed.len(), listed.iter().map(|group| group.count).sum()))
    };
    let of_search =
        async |text: &str| Ok::<_, anyhow::Error>(found(&store, &ALL, text).await?.records.len() as u64);
    ensure!(
        count(Asked { levels: vec![Level::Error], ..asked() }).await?.1 == of_search("level=error").await?
    );
    ensure!(
        count(Asked { namespaces: vec!["bank".into()], tenants: vec!["acme".into()], ..asked() }).await?.1
            == of_search("level>=warn namespace=bank tenant=acme").await?
    );
    ensure!(count(Asked { services: vec!["nobody".into()], ..asked() }).await? == (0, 0));
    let reach = count(Asked { text: Some("CANNOT reach".into()), ..asked() }).await?;
    ensure!(reach == (3, of_search("level>=warn \"cannot reach\"").await?), "{reach:?}");
    ensure!(count(Asked { text: Some("timeout0".into()), ..asked() }).await?.0 > 0);
    ensure!(count(Asked { text: Some("%".into()), ..asked() }).await?.0 == 0);
    let newest = whole.iter().map(|group| group.first_us).max().context("none")?;
    let new = count(Asked { new_since_us: Some(newest), ..asked() }).await?.0;
    ensure!(new == whole.iter().filter(|group| group.first_us == newest).count() && new < whole.len());
    ensure!(count(Asked { to_hour_us: asked().from_hour_us + HOUR_US, ..asked() }).await? == (0, 0));
    let one = Asked { signature: Some(whole[0].signature), ..asked() };
    ensure!(all(&store, &ALL, one).await? == whole[..1]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_task_is_in_no_group() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "deleted").await?;
    let client = postgres.client_of("deleted").await?;
    let line = |task: &str, n: usize| {
        (Level::Error, format!(r#"{{"{task}":"t","message":"step {n} failed {}"}}"#, word(n)))
    };
    let (mut shop, mut bank) = (File::new("acme", "shop", 1), File::new("acme", "bank", 2));
    let put = async |shop: &mut File, bank: &mut File| {
        let writer = Writer::start(&store)?;
        // However its key is written.
        let task: Vec<_> = ["taskId", "task_id", "tas\\u006bId"]
            .iter()
            .flat_map(|key| (0..4).map(|n| line(key, n)))
            .collect();
        let others: Vec<_> = (2..6).map(|n| line("taskless", n)).collect();
        writer.put(shop, &[task.clone(), others].concat()).await?;
        writer.put(bank, &task).await?;
        writer.end().await
    };
    put(&mut shop, &mut bank).await?;
    ensure!(check(&store, &ALL).await? == 28);
    seal_once(&store).await?;
    put(&mut shop, &mut bank).await?;
    ensure!(check(&store, &ALL).await? == 56);
    ensure!(matches!(tasks::delete(&store, &ALL, "t", Some("shop")).await?, Named::One(_)));
    ensure!(check(&store, &ALL).await? == 32, "at once");
    put(&mut shop, &mut bank).await?;
    ensure!(check(&store, &ALL).await? == 48, "late lines");
    seal_once(&store).await?;
    ensure!(check(&store, &ALL).await? == 48);
    for table in ["error_counts", "error_groups"] {
        let left = format!("select count(*) from {table} where task_id <> '' and namespace = 'shop'");
        ensure!(client.query_one(&left, &[]).await?.get::<_, i64>(0) == 0, "{table}");
    }
    Ok(())
}

/// What no table could hold, and more groups than are counted apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_errors_say_is_counted() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let store = support::store(&postgres, "hostile").await?;
    let writer = Writer::start(&store)?;
    let mut file = File::new("acme", "shop", 1);
    let long = "x".repeat(100_000);
    let hostile = [
        r#"{"message":"a\u0000b","error":{"type":"E\u0000"},"service":"s\u0000","taskId":"t\u0000"}"#
            .to_owned(),
        format!(
            r#"{{"message":"{long}","fingerprint":"{long}","taskId":"{long}","error":{{"type":"{long}"}}}}"#
        ),
        String::new(),
        "\u{0}\u{feff}\u{202e}".to_owned(),
        "'; drop table error_counts; --".to_owned(),
    ];
    let lines: Vec<_> = hostile.into_iter().map(|body| (Level::Error, body)).collect();
    writer.put(&mut file, &lines).await?;
    ensure!(check(&store, &ALL).await? == 5 && writer.metrics.dead_letters.get() == 0);
    // In one message: within one minute.
    let many = 3 * SIGNATURES_PER_MINUTE_MAX;
    let flood: Vec<_> = (0..many).map(|n| (Level::Warn, format!("{} is wrong", word(n)))).collect();
    let mut other = File::new("other", "shop", 2);
    writer.put(&mut other, &flood).await?;
    let listed = all(&store, &Scope::of_tenants(["other"]), Asked { limit: 1000, ..asked() }).await?;
    let apart = SIGNATURES_PER_MINUTE_MAX;
    ensure!(listed.len() == apart + 1, "{} groups", listed.len());
    let surplus = (many - apart) as u64;
    let rest = &listed[0];
    ensure!((rest.signature, rest.count) == (Signature::OTHER, surplus), "{rest:?}");
    ensure!(rest.sample.message.is_empty() && writer.metrics.other_errors.get() == surplus);
    writer.end().await?;
    seal_once(&store).await?;
    let sealed = all(&store, &Scope::of_tenants(["other"]), Asked { limit: 1000, ..asked() }).await?;
    ensure!(sealed == listed);
    Ok(())
}

/// WARN is kept for 14 days, ERROR for 30, each with a day of grace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_go_with_their_levels_records() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "prune").await?;
    let client = postgres.client_of("prune").await?;
    let mut session = DdlSession::open(&store, Loop::Drop).await?.context("the drop loop's session")?;
    client
        .batch_execute(
            "insert into error_counts select date_trunc('hour', now()) - n * interval '1 day', n, 't', '', '', level, false, '', 1
               from generate_series(0, 40) n, unnest(array[3, 4]) level;
             insert into error_groups select n, 't', '', '', level, false, '', now() - interval '50 days',
               now() - n * interval '1 day', 0, 0, 0, '', '' from generate_series(0, 40) n, unnest(array[3, 4]) level",
        )
        .await?;
    ensure!(prune(&mut session).await? == 0, "nobody has said yet what is kept how long");
    support::classes(&client).await?;
    // Of a class of INFO something older is held.
    client
        .batch_execute(
            "insert into leaves (class, time_from, time_to) values (2, now() - interval '39 days', now() - interval '38 days')",
        )
        .await?;
    prune(&mut session).await?;
    let left = "select level, (select max(extract(day from now() - hour))::int from error_counts c where c.level = g.level), \
        max(extract(day from now() - last_seen))::int from error_groups g group by level order by level";
    let left: Vec<(i16, i32, i32)> =
        client.query(left, &[]).await?.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    ensure!(left.iter().map(|row| (row.0, row.2)).eq([(3, 14), (4, 30)]), "{left:?}");
    // An hour goes when all of it has gone.
    ensure!(left.iter().all(|row| row.1 == row.2 || row.1 == row.2 + 1), "{left:?}");
    let found = all(&store, &ALL, Asked { limit: 1000, ..asked() }).await?;
    ensure!(found.len() == 31 && found.iter().all(|group| group.count <= 2), "{}", found.len());
    Ok(())
}

/// The schema with which version 9 ran is taken over with what is in it; and a sealer of that version beside writers of this one loses
/// no count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_versions_before_left_is_taken_over() -> Result<()> {
    for (version, old) in [(15, 8), (18, 9)] {
        let postgres = Postgres::start(version).await?;
        let store = support::store_of_version(&postgres, "old", old).await?;
        let client = postgres.client_of("old").await?;
        // As a writer and a sealer of that version leave it.
        client
            .batch_execute(
                "insert into seals (lane, upto) values (1, 5);
                 insert into batches (lane, seq, blocks, records, raw_bytes) values (1, 5, 1, 1, 10);
                 insert into rollup (minute, tenant, service, source, level, count, bytes)
                   values (date_trunc('minute', now()), 'acme', 'runner', '', 3, 7, 70);
                 insert into positions (topic_partition, topic, next_offset) values (3, 'queue', 17)",
            )
            .await?;
        if old == 9 {
            client
                .batch_execute(
                    "insert into tasks (task_id, namespace, tenant) values ('kept', 'shop', 'acme');
                     insert into task_logs (task_id, \"timestamp\", level, message, namespace, tenant, topic_partition, kafka_offset, record_index)
                       values ('kept', now(), 'INFO', 'a line', 'shop', 'acme', 0, 0, 0);
                     insert into task_tombstones (task_id, namespace, tenant, emptied) values ('gone', 'shop', 'acme', true)",
                )
                .await?;
        }
        let migrated = migrate::run(&store).await?;
        ensure!(migrated.applied.len() as i64 == migrate::newest() - old, "{:?}", migrated.applied);
        let rollup = client.query_one("select sum(count)::bigint from rollup", &[]).await?;
        ensure!(rollup.get::<_, i64>(0) == 7);
        ensure!(check(&store, &ALL).await? == 0);
        client.batch_execute("delete from positions").await?;
        let mut file = File::new("acme", "shop", 1);
        let put = async |file: &mut File, n: usize| {
            let writer = Writer::start(&store)?;
            let line =
                |task: &str| (Level::Error, format!(r#"{{"taskId":"{task}","message":"step {n} failed"}}"#));
            writer.put(file, &[line("kept"), line("gone"), line("new")]).await?;
            writer.end().await
        };
        put(&mut file, 0).await?;
        // Of version 8 nothing is known of tasks.
        let each = if old == 9 { 2 } else { 3 };
        ensure!(check(&store, &ALL).await? == each);
        if old == 9 {
            let Named::One(task) = tasks::find(&store, &ALL, "kept", None).await? else {
                anyhow::bail!("no task")
            };
            ensure!(task.lines(&store, &tasks::Lines::default(), 0, 10).await?.total == 2);
        }
        // A sealer of before moves its mark and knows no other.
        let counted = async || -> Result<u64> {
            Ok(all(&store, &ALL, asked()).await?.iter().map(|group| group.count).sum())
        };
        client
            .batch_execute(
                "update seals set upto = (select max(seq) from batches where lane = 1) where lane = 1",
            )
            .await?;
        ensure!(counted().await? == each);
        put(&mut file, 1).await?;
        ensure!(counted().await? == 2 * each);
        seal_once(&store).await?;
        ensure!(counted().await? == 2 * each, "what it left is folded");
        put(&mut file, 2).await?;
        ensure!(counted().await? == 3 * each);
        let ring = client.query_one(
            "select count(*) from error_fresh f join seals z using (lane) where f.seq > z.errors_upto",
            &[],
        );
        ensure!(ring.await?.get::<_, i64>(0) == 3, "one transaction is not folded");
    }
    Ok(())
}

/// Groups that a writer of the first rules counted keep their signature beside those of this version, are found by it, and so are what such a
/// writer and such a sealer still do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_the_rules_before_keep_their_signature() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let store = support::store_of_version(&postgres, "old", 11).await?;
    let client = postgres.client_of("old").await?;
    let body = "could not write to topic=orders: not leader";
    let [old, new] = [Version::V1, Version::V2].map(|version| error_group_by(body.as_bytes(), version));
    let row = format!(
        "{}, 'acme', 'shop', 'web', {}::smallint, false, ''",
        old.signature.as_i64(),
        Level::Error as i16
    );
    client
        .batch_execute(&format!(
            "insert into error_counts (hour, signature, tenant, namespace, service, level, audit, task_id, count)
               select date_trunc('hour', now()), {row}, 5;
             insert into error_groups (signature, tenant, namespace, service, level, audit, task_id, first_seen, last_seen,
                 topic_partition, kafka_offset, record_index, error_type, message)
               select {row}, now() - interval '1 minute', now(), 9, 9, 9, '', '{}'",
            old.message
        ))
        .await?;
    migrate::run(&store).await?;
    let counted = async || -> Result<Vec<(String, u64)>> {
        let mut counted: Vec<_> = all(&store, &ALL, asked())
            .await?
            .iter()
            .map(|group| (group.signature.to_string(), group.count))
            .collect();
        counted.sort();
        Ok(counted)
    };
    let both = |of_old: u64, of_new: u64| {
        vec![(old.signature.to_string(), of_old), (new.signature.to_string(), of_new)]
    };
    ensure!(both(0, 0)[0].0.starts_with("v1:") && both(0, 0)[1].0.starts_with("v2:"));
    ensure!(counted().await? == both(5, 0)[..1]);

    let mut file = File::new("acme", "shop", 1);
    let writer = Writer::start(&store)?;
    let other = body.replace("orders", "payments");
    writer.put(&mut file, &[(Level::Error, body.to_owned()), (Level::Error, other)]).await?;
    writer.end().await?;
    ensure!(counted().await? == both(5, 2));
    // A writer of before in the same lane knows no version.
    client
        .batch_execute(&format!(
            "insert into error_ring_0 (lane, seq, hour, signature, tenant, namespace, service, level, audit, task_id, count, first_seen,
                 last_seen, topic_partition, kafka_offset, record_index, error_type, message)
               select lane, seq, date_trunc('hour', now()), {row}, 1, now(), now(), 9, 9, 10, '', '{}'
               from batches order by seq desc limit 1",
            old.message
        ))
        .await?;
    ensure!(counted().await? == both(6, 2));
    seal_once(&store).await?;
    ensure!(counted().await? == both(6, 2), "folded");
    // A sealer of before loses the version of what it folds; what is folded after it repairs that.
    client.batch_execute("update error_groups set version = 1").await?;
    let writer = Writer::start(&store)?;
    writer.put(&mut file, &[(Level::Error, body.to_owned())]).await?;
    writer.end().await?;
    seal_once(&store).await?;
    ensure!(counted().await? == both(6, 3));

    // Either signature finds what its own rules say: the stored records, no matter which version of the writer stored them.
    ensure!(found(&store, &ALL, &format!("signature={}", new.signature)).await?.records.len() == 3);
    ensure!(found(&store, &ALL, &format!("signature={}", old.signature)).await?.records.len() == 2);
    for (signature, count) in [(old.signature, 6), (new.signature, 3)] {
        let one = all(&store, &ALL, Asked { signature: Some(signature), ..asked() }).await?;
        ensure!(one.len() == 1 && (one[0].signature, one[0].count) == (signature, count), "{one:?}");
    }
    Ok(())
}
