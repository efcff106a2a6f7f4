//! A search over any store ends at its budget with a cursor, and keeps few locks at any time.

use anyhow::{Context, Result, ensure};
use cordwood_core::filter;
use cordwood_store::search::{Cursor, Direction, Page, TimeRange, search};
use cordwood_store::{Settings, Store};
use cordwood_tests::env::Postgres;

use super::support::{self, HOUR_US, Lines};
use super::{ALL, Running, seal_once, start_writer};

async fn put(running: &Running, lines: &mut Lines, count: u64) -> Result<()> {
    running.sender.send(lines.message(count)).ok().context("the queue is full")?.await?;
    Ok(())
}

/// Pages to the end; returns (records, pages).
async fn to_the_end(
    store: &Store,
    text: &str,
    direction: Direction,
    budget_ms: u64,
) -> Result<(usize, usize)> {
    let filter = filter::parse(text)?;
    let (mut page, mut records, mut pages) = (Page { direction, ..Page::first(100) }, 0, 0);
    loop {
        let found = search(store, &ALL, &filter, TimeRange::default(), page, budget_ms).await?;
        records += found.records.len();
        pages += 1;
        ensure!(found.cursor.is_some() == found.searched_to_us.is_some(), "{:?}", found.searched_to_us);
        match found.cursor {
            Some(cursor) => {
                ensure!(page.after != Some(cursor), "page {pages} came no further than {cursor}");
                page.after = Some(cursor);
            }
            None => return Ok((records, pages)),
        }
    }
}

/// Blocks that hold no word at all, so many that nobody looks at them within no time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rare_word_in_a_large_store_ends_at_the_budget() -> Result<()> {
    const BLOCKS: i64 = 150_000;
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "rare").await?;
    let client = postgres.client_of("rare").await?;
    support::classes(&client).await?;
    support::leaves(&client, 4, 2).await?;
    let running = start_writer(&store)?;
    for age_us in [3 * HOUR_US, 0] {
        let mut lines = Lines::new(if age_us == 0 { 2 } else { 1 });
        lines.age_us = age_us;
        put(&running, &mut lines, 100).await?;
    }
    seal_once(&store).await?;
    client
        .execute(
            "insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
             select n, 2, 'x', 1, at, at, 4, 1, decode(repeat('00', 65), 'hex'), ''
               from (select n, now() - interval '2 hours' + n * interval '10 milliseconds' as at
                     from generate_series(1::bigint, $1) n) n",
            &[&BLOCKS],
        )
        .await?;
    // Noted as sealing notes it.
    client
        .batch_execute(
            "insert into sealed_leaves (class, time_from, blocks, bytes, oldest)
               select 2, time_from, 1, 1, time_from from leaves where class = 2 on conflict do nothing",
        )
        .await?;
    for direction in [Direction::NewestFirst, Direction::OldestFirst] {
        let page = Page { direction, ..Page::first(100) };
        let nobodys = filter::parse("zzyzxq")?;
        let first = search(&store, &ALL, &nobodys, TimeRange::default(), page, 0).await?;
        ensure!(!first.complete && first.blocks_read == 0, "{direction:?}: {first:?}");
        ensure!(first.cursor.is_some() && first.searched_to_us.is_some(), "{direction:?}: {first:?}");
        let (records, pages) = to_the_end(&store, "zzyzxq", direction, 0).await?;
        ensure!(records == 0 && pages > 3, "{direction:?}: {records} records on {pages} pages");
        let (records, _) = to_the_end(&store, "s1", direction, 0).await?;
        ensure!(records == 100, "{direction:?}: {records} records beyond the others");
        let (records, pages) = to_the_end(&store, "s1", direction, 60_000).await?;
        ensure!((records, pages) == (100, 2) || (records, pages) == (100, 1), "{records} on {pages} pages");
    }
    running.stop.cancel();
    running.task.await?
}

/// How many index entries of a table were read by one page of a search, as PostgreSQL counts them when the search's sessions end.
async fn looked_at(postgres: &Postgres, database: &str, table: &str, page: Page) -> Result<i64> {
    let client = postgres.client_of(database).await?;
    let read = "select coalesce(sum(idx_tup_read), 0)::bigint from pg_stat_user_indexes where relname = $1";
    let sessions = "select coalesce(array_agg(pid), '{}') from pg_stat_activity where backend_type = 'client backend' \
                    and pid <> all($1::int[])";
    let others: Vec<i32> = client.query_one(sessions, &[&Vec::<i32>::new()]).await?.get(0);
    let before: i64 = client.query_one(read, &[&table]).await?.get(0);
    let store = Store::connect(&Settings::url(postgres.url_of(database))).await?;
    let found = search(&store, &ALL, &filter::parse("zzyzxq")?, TimeRange::default(), page, 0).await?;
    ensure!(found.records.is_empty(), "{found:?}");
    let its: Vec<i32> = client.query_one(sessions, &[&others]).await?.get(0);
    ensure!(!its.is_empty(), "the search has no session");
    drop(store);
    let left = "select count(*) from pg_stat_activity where pid = any($1)";
    while client.query_one(left, &[&its]).await?.get::<_, i64>(0) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let after: i64 = client.query_one(read, &[&table]).await?.get(0);
    Ok(after - before)
}

/// What sealing notes of the width of blocks bounds what is looked at before a page begins; what an older version noted, or added,
/// does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_begins_within_a_large_partition_looks_at_few_blocks() -> Result<()> {
    const BLOCKS: i64 = 100_000;
    let postgres = Postgres::start(18).await?;
    let store = support::store(&postgres, "within").await?;
    let client = postgres.client_of("within").await?;
    support::classes(&client).await?;
    support::leaves(&client, 3, 1).await?;
    let from_us = (support::now_us().div_euclid(HOUR_US) - 2) * HOUR_US;
    let time = |us| jiff::Timestamp::from_microsecond(us);
    client
        .execute(
            "insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
             select n, 2, 'x', 1, at, at + interval '1 second', 4, 1, decode(repeat('00', 65), 'hex'), ''
               from (select n, $2::timestamptz + n * interval '30 milliseconds' as at
                     from generate_series(1::bigint, $1) n) n",
            &[&BLOCKS, &time(from_us)?],
        )
        .await?;
    client.batch_execute("vacuum analyze blocks").await?;
    client
        .execute(
            "insert into sealed_leaves (class, time_from, blocks, bytes, oldest, width_us, width_blocks)
             values (2, $1, $2, 1, $1, 1000000, $2)",
            &[&time(from_us)?, &BLOCKS],
        )
        .await?;
    let table = cordwood_core::retention::class::leaf_table(cordwood_core::retention::ClassId(2), from_us);
    let middle = Cursor::end_of(from_us + BLOCKS / 2 * 30_000);
    let page = |direction| Page { limit: 100, after: Some(middle), direction };
    for direction in [Direction::NewestFirst, Direction::OldestFirst] {
        let rows = looked_at(&postgres, "within", &table, page(direction)).await?;
        ensure!((1..=2_000).contains(&rows), "{direction:?}: {rows} of {BLOCKS} blocks were looked at");
        // All the same, the whole of it comes.
        let filter = filter::parse("zzyzxq")?;
        let found = search(&store, &ALL, &filter, TimeRange::default(), page(direction), 60_000).await?;
        ensure!(found.complete && found.cursor.is_none(), "{found:?}");
    }
    // A sealer of the version before adds blocks and counts them: they may be wider.
    client.batch_execute("update sealed_leaves set blocks = blocks + 1").await?;
    for direction in [Direction::NewestFirst, Direction::OldestFirst] {
        let rows = looked_at(&postgres, "within", &table, page(direction)).await?;
        ensure!(rows >= BLOCKS / 2, "{direction:?}: {rows} rows, by a width that is not known");
    }
    Ok(())
}

/// A table partition that somebody has locked: what lies before it is shown, and the cursor goes on from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_cannot_be_read_does_not_hide_the_others() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let store = support::store(&postgres, "locked").await?;
    let client = postgres.client_of("locked").await?;
    support::classes(&client).await?;
    support::leaves(&client, 6, 2).await?;
    let running = start_writer(&store)?;
    for hours in [5, 3, 0] {
        let mut lines = Lines::new(hours);
        lines.age_us = i64::from(hours) * HOUR_US;
        put(&running, &mut lines, 40).await?;
    }
    seal_once(&store).await?;
    let oldest: String = client
        .query_one(
            "select tableoid::regclass::text from blocks where class = 2 order by time_to limit 1",
            &[],
        )
        .await?
        .get(0);
    let locker = postgres.client_of("locked").await?;
    locker.batch_execute(&format!("begin; lock table {oldest} in access exclusive mode")).await?;
    let everything = filter::parse("")?;
    let mut page = Page::first(1000);
    let found = search(&store, &ALL, &everything, TimeRange::default(), page, 4_000).await?;
    ensure!(!found.complete && found.records.len() >= 80, "{} records", found.records.len());
    page.after = Some(found.cursor.context("no cursor")?);
    locker.batch_execute("rollback").await?;
    let rest = search(&store, &ALL, &everything, TimeRange::default(), page, 20_000).await?;
    ensure!(
        found.records.len() + rest.records.len() == 120,
        "{} and {}",
        found.records.len(),
        rest.records.len()
    );
    running.stop.cancel();
    running.task.await?
}

/// More table partitions than PostgreSQL can lock at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_to_the_end_locks_few_tables_at_once() -> Result<()> {
    let mut postgres = Postgres::start(15).await?;
    let admin = postgres.client().await?;
    for setting in ["max_locks_per_transaction = 14", "max_connections = 25", "max_worker_processes = 2"] {
        admin.batch_execute(&format!("alter system set {setting}")).await?;
    }
    drop(admin);
    postgres.restart().await?;
    let store = support::store(&postgres, "locks").await?;
    let client = postgres.client_of("locks").await?;
    support::classes(&client).await?;
    support::leaves(&client, 88, 2).await?;
    // An older version sealed last: any of them may hold records.
    client.batch_execute("update contents_of set round = -1").await?;
    let all = client.batch_execute("select count(*) from blocks").await;
    ensure!(all.is_err(), "PostgreSQL can lock them all: the test shows nothing");
    // The session lets go of what it had locked after it has told of the error.
    client.batch_execute("select 1").await?;
    for direction in [Direction::NewestFirst, Direction::OldestFirst] {
        let (records, _) = to_the_end(&store, "zzyzxq", direction, 20_000).await?;
        ensure!(records == 0);
    }
    Ok(())
}

/// What a search relies on: the snapshot is the transaction's, also when its first statement came after the savepoint.
#[tokio::test]
async fn a_savepoint_lets_go_of_locks_and_keeps_the_snapshot() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let (reader, writer) = (postgres.client().await?, postgres.client().await?);
        writer.batch_execute("create table t (n int primary key); insert into t values (1)").await?;
        reader.batch_execute("begin isolation level repeatable read read only; savepoint searched").await?;
        let locked = "select count(*) from pg_locks where relation = 't'::regclass";
        for round in 0..3 {
            let seen: i64 = reader.query_one("select count(*) from t", &[]).await?.get(0);
            ensure!(seen == 1, "PostgreSQL {version}, round {round}: {seen} rows");
            ensure!(writer.query_one(locked, &[]).await?.get::<_, i64>(0) == 1);
            if round == 1 {
                ensure!(reader.batch_execute("select 1/0").await.is_err());
            }
            reader.batch_execute("rollback to savepoint searched").await?;
            ensure!(
                writer.query_one(locked, &[]).await?.get::<_, i64>(0) == 0,
                "PostgreSQL {version} keeps locks"
            );
            writer.execute("insert into t values ($1)", &[&(round + 2)]).await?;
        }
    }
    Ok(())
}
