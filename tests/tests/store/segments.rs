//! Indexes of segments on real PostgreSQL: they come and go with their table partition; a store that an older version made gets them; a
//! search opens few blocks by them, and loses nothing where one is damaged or gone; `store verify` reports it and builds it again.

use anyhow::{Context, Result, ensure};
use cordwood_core::block::Format;
use cordwood_core::filter;
use cordwood_core::retention::class::ClassId;
use cordwood_core::retention::step::{LeafRef, Planned, Step};
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::search::{Direction, Page, TimeRange, search};
use cordwood_store::{Store, catalogue, migrate};
use cordwood_tests::env::Postgres;
use tokio_postgres::Client;

use super::formats::sealed;
use super::support::{self, HOUR_US, Lines};
use super::{ALL, Running, all_pages, seal_in, start_writer, verify};

async fn put(running: &Running, lines: &mut Lines, count: u64) -> Result<()> {
    running.sender.send(lines.message(count)).ok().context("the queue is full")?.await?;
    Ok(())
}

async fn is_there(client: &Client, table: &str) -> Result<bool> {
    Ok(client.query_one("select to_regclass($1) is not null", &[&table]).await?.get(0))
}

async fn number(client: &Client, sql: &str) -> Result<i64> {
    Ok(client.query_one(sql, &[]).await?.get(0))
}

async fn indexes(client: &Client) -> Result<Vec<String>> {
    let all = "select relname::text from pg_class where relname ~ '^blocks_c.*_index$' and relkind = 'r'";
    Ok(client.query(all, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Tables of indexes, and of table partitions without one.
async fn tables(client: &Client) -> Result<(i64, i64)> {
    let all =
        "select count(*) from pg_class where relkind = 'r' and relname ~ '^blocks_c[0-9]+_[0-9t]+_index$'";
    let without = "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid \
                   where c.relname ~ '^blocks_c[0-9]+_[0-9t]+$' and to_regclass(c.relname || '_index') is null";
    Ok((number(client, all).await?, number(client, without).await?))
}

async fn apply(session: &mut DdlSession, step: Step) -> Result<()> {
    let what = step.to_string();
    ddl::apply(session, &Planned::new(step, "default", ""), "segments").await.context(what)
}

/// The operator's steps, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_comes_and_goes_with_its_table_partition() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store(&postgres, "ddl").await?;
        let client = postgres.client_of("ddl").await?;
        support::classes(&client).await?;
        let mut creating = DdlSession::open(&store, Loop::Create).await?.context("somebody creates")?;
        let mut dropping = DdlSession::open(&store, Loop::Drop).await?.context("somebody drops")?;
        let this_hour = support::now_us().div_euclid(HOUR_US);
        let leaf = |hour: i64| LeafRef {
            class: ClassId(2),
            from_us: (this_hour + hour) * HOUR_US,
            to_us: (this_hour + hour + 1) * HOUR_US,
        };
        for hour in [-9_000, 0, 1] {
            apply(&mut creating, Step::CreateLeaf(leaf(hour))).await?;
            // Again: nothing changes.
            apply(&mut creating, Step::CreateLeaf(leaf(hour))).await?;
            ensure!(is_there(&client, &format!("{}_index", leaf(hour).table())).await?, "{hour}");
        }
        let storage: i8 = client
            .query_one(
                "select attstorage from pg_attribute where attrelid = to_regclass($1) and attname = 'bytes'",
                &[&format!("{}_index", leaf(0).table())],
            )
            .await?
            .get(0);
        ensure!(storage == b'm' as i8, "pages stay in their rows: {storage}");
        let drift = catalogue::look(&client).await?.drift;
        ensure!(drift.is_empty(), "its table is nobody else's: {drift:?}");

        let old = leaf(-9_000);
        let index = format!("{}_index", old.table());
        apply(&mut dropping, Step::Detach(old)).await?;
        ensure!(is_there(&client, &index).await?, "it stays in the grace period");
        // One of a version before, attached again.
        client.batch_execute(&format!("drop table {index}")).await?;
        apply(&mut creating, Step::Reattach(old)).await?;
        ensure!(is_there(&client, &index).await?, "it is made where it is missing");
        apply(&mut dropping, Step::Detach(old)).await?;
        apply(&mut dropping, Step::Drop(old)).await?;
        ensure!(!is_there(&client, &old.table()).await? && !is_there(&client, &index).await?, "both go");
        // Somebody dropped a table partition: what is left of it is forgotten.
        client.batch_execute(&format!("drop table {}", leaf(1).table())).await?;
        apply(&mut dropping, Step::Forget(leaf(1))).await?;
        ensure!(!is_there(&client, &format!("{}_index", leaf(1).table())).await?, "it is forgotten, too");
        ensure!(tables(&client).await? == (1, 0));
    }
    Ok(())
}

/// A store of the version before: its table partitions get indexes, its blocks stay as they are, and both are found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_before_is_taken_over() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store_of_version(&postgres, "before", 19).await?;
    let client = postgres.client_of("before").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    for table in indexes(&client).await? {
        client.batch_execute(&format!("drop table {table}")).await?;
    }
    client.batch_execute("update ring_ctl set block_format = 2").await?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    // It is in use: the format stays.
    put(&running, &mut lines, 300).await?;
    let migrated = migrate::run(&store).await?;
    ensure!(migrated.applied.iter().any(|name| name.contains("segment_index")), "{migrated:?}");
    ensure!(number(&client, "select block_format::bigint from ring_ctl").await? == 2);
    ensure!(seal_in(&store, Format::Three).await?.records == 300);
    let without = sealed(&client).await?;
    ensure!(without[1] > 0 && without[2] == 0, "where there is no room for an index: {without:?}");
    ensure!(number(&client, "select block_format::bigint from ring_ctl").await? == 2);

    let mut session = DdlSession::open(&store, Loop::Create).await?.context("somebody creates")?;
    // Four classes, this hour and the next one.
    ensure!(ddl::make_indexes(&mut session).await? == 8, "those that are still to be filled");
    ensure!(ddl::make_indexes(&mut session).await? == 0);
    ensure!(catalogue::look(&client).await?.drift.is_empty());
    put(&running, &mut lines, 300).await?;
    ensure!(seal_in(&store, Format::Three).await?.records == 300);
    let with = sealed(&client).await?;
    ensure!(with[1] == without[1] && with[2] > 0, "{without:?}, then {with:?}");
    ensure!(number(&client, "select block_format::bigint from ring_ctl").await? == 3);
    put(&running, &mut lines, 300).await?;
    ensure!(all_pages(&store, &ALL, "", 100, 20_000).await?.len() == 900);
    ensure!(all_pages(&store, &ALL, "word3", 100, 20_000).await?.len() == lines_with(3, 900));
    ensure!(all_pages(&store, &ALL, "nosuchword", 100, 20_000).await?.is_empty());
    // An index that knows nothing of it is not all that there is of its table partition.
    for direction in [Direction::NewestFirst, Direction::OldestFirst] {
        for seq in [5, 299, 305, 899] {
            ensure!(opened(&store, &format!("data.seq={seq}"), direction).await?.1 == 1, "{seq}");
        }
    }
    verify::whole(&store).await?;
    running.stop.cancel();
    running.task.await?
}

/// Of the first so many lines, those whose word ends in `word`.
fn lines_with(word: u64, lines: u64) -> usize {
    (0..lines).filter(|seq| seq % 7 == word).count()
}

/// Blocks that a search opened, and records that it found.
async fn opened(store: &Store, text: &str, direction: Direction) -> Result<(usize, usize)> {
    let page = Page { direction, ..Page::first(10_000) };
    let found = search(store, &ALL, &filter::parse(text)?, TimeRange::default(), page, 20_000).await?;
    ensure!(found.complete && found.cursor.is_none(), "{text}: {:?}", found.cursor);
    Ok((found.blocks_read, found.records.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_blocks_are_opened_and_damage_hides_nothing() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let store = support::store(&postgres, "damage").await?;
    let client = postgres.client_of("damage").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    for _ in 0..6 {
        put(&running, &mut lines, 500).await?;
        ensure!(seal_in(&store, Format::Three).await?.records == 500);
    }
    let all = sealed(&client).await?;
    ensure!(all[..2] == [0, 0] && all[2] >= 18, "{all:?}");
    for table in indexes(&client).await? {
        let segments = number(&client, &format!("select count(*) from {table} where no = -1")).await?;
        let others = number(&client, &format!("select count(distinct segment) from {table}")).await?;
        ensure!(segments <= 3 && others == segments, "small segments are merged: {segments} of {table}");
    }
    let bloom = "select count(*) from blocks where octet_length(bloom) > 0 or octet_length(postings) > 0";
    ensure!(number(&client, bloom).await? == 0, "what the index knows is nowhere else");
    let all = all[2] as usize;
    for direction in [Direction::NewestFirst, Direction::OldestFirst] {
        ensure!(opened(&store, "nosuchword", direction).await? == (0, 0));
        ensure!(opened(&store, "1234", direction).await? == (1, 1));
        ensure!(opened(&store, "data.seq=1234", direction).await? == (1, 1));
        ensure!(opened(&store, "1234 line", direction).await? == (1, 1));
        ensure!(opened(&store, "1234 1334", direction).await? == (0, 0));
        ensure!(opened(&store, "1234 level>=error", direction).await? == (0, 0));
        let (blocks, records) = opened(&store, "line", direction).await?;
        ensure!(blocks == all && records == 3_000, "{blocks} of {all}, {records}");
    }
    verify::whole(&store).await?;

    // Whatever becomes of it: the blocks that it speaks of are read.
    let names = indexes(&client).await?;
    let damages = [
        ("set bytes = set_byte(bytes, 8, 255 - get_byte(bytes, 8)) where no = 0", "is not that of its"),
        ("set bytes = set_byte(bytes, 8, 255 - get_byte(bytes, 8)) where no = -1", "does not open"),
        ("set bytes = set_byte(bytes, 6, 255 - get_byte(bytes, 6)) where no = -2", "does not open"),
        ("set bytes = set_byte(bytes, 0, 9)", ""),
        ("set no = no + 1000000 where no >= 0", "is not that of its"),
        ("set no = no + 1000000 where no = -1", "lacks"),
    ];
    for (damage, told) in damages {
        for name in &names {
            client.batch_execute(&format!("update {name} {damage}")).await?;
        }
        for direction in [Direction::NewestFirst, Direction::OldestFirst] {
            let (_, records) = opened(&store, "1234", direction).await?;
            ensure!(records == 1, "{damage}: {records}");
            ensure!(opened(&store, "word3", direction).await?.1 == lines_with(3, 3_000), "{damage}");
        }
        let faults = verify::faults(&store, true).await?;
        ensure!(faults.iter().any(|fault| fault.what.contains(told)), "{damage}: {faults:?}");
        ensure!(!faults.is_empty() && faults.iter().all(|fault| fault.repaired), "{damage}: {faults:?}");
        verify::whole(&store).await.context(damage)?;
        ensure!(opened(&store, "1234", Direction::NewestFirst).await? == (1, 1), "{damage}");
    }
    // Rows of a segment that are gone, and all of the table.
    for name in &names {
        client
            .batch_execute(&format!("delete from {name} where segment = (select max(segment) from {name})"))
            .await?;
    }
    ensure!(opened(&store, "1234", Direction::NewestFirst).await?.1 == 1);
    ensure!(opened(&store, "2999", Direction::NewestFirst).await?.1 == 1);
    ensure!(!verify::faults(&store, true).await?.is_empty());
    verify::whole(&store).await?;
    ensure!(opened(&store, "2999", Direction::NewestFirst).await? == (1, 1));
    for name in &names {
        client.batch_execute(&format!("drop table {name}")).await?;
    }
    ensure!(opened(&store, "2999", Direction::NewestFirst).await? == (all, 1));
    running.stop.cancel();
    running.task.await?
}

/// Words that many records have, two of them never one record: each block has both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn common_words_that_never_meet_open_no_block() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let store = support::store(&postgres, "apart").await?;
    let client = postgres.client_of("apart").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    for _ in 0..6 {
        put(&running, &mut lines, 1_000).await?;
    }
    ensure!(seal_in(&store, Format::Three).await?.records == 6_000);
    for direction in [Direction::NewestFirst, Direction::OldestFirst] {
        // Where a full hour has just begun, few records lie in a table partition of their own, and of few only granules are told.
        let (blocks, records) = opened(&store, "word3 word4 level=info", direction).await?;
        ensure!(blocks <= 1 && records == 0, "{blocks} blocks, {records} records");
        let (blocks, records) = opened(&store, "word3 line level=info", direction).await?;
        let expected = (0..6_000).filter(|seq| seq % 7 == 3 && seq % 50 > 3).count();
        ensure!(blocks >= 6 && records == expected, "{blocks} blocks, {records} records");
    }
    verify::whole(&store).await?;
    running.stop.cancel();
    running.task.await?
}

/// Who holds a table partition of which the index told that it has nothing keeps no search waiting: it is neither planned nor locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_partition_with_nothing_is_not_touched() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let store = support::store(&postgres, "nothing").await?;
        let client = postgres.client_of("nothing").await?;
        support::classes(&client).await?;
        support::leaves(&client, 6, 2).await?;
        let running = start_writer(&store)?;
        for stream in 0..3 {
            let mut lines = Lines::new(stream);
            lines.age_us = (1 + i64::from(stream)) * HOUR_US;
            put(&running, &mut lines, 100).await?;
        }
        ensure!(seal_in(&store, Format::Three).await?.records == 300);
        let held = "select tableoid::regclass::text from blocks group by tableoid having not bool_or(tenant = 'tenant-1')";
        let held: Vec<String> = client.query(held, &[]).await?.iter().map(|row| row.get(0)).collect();
        ensure!(held.len() >= 8, "{held:?}");
        let holder = postgres.client_of("nothing").await?;
        holder
            .batch_execute(&format!(
                "begin; lock table only {} in access exclusive mode",
                held.join(", only ")
            ))
            .await?;
        for direction in [Direction::NewestFirst, Direction::OldestFirst] {
            let (blocks, records) = opened(&store, "s1", direction).await?;
            ensure!(blocks >= 1 && records == 100, "{blocks} blocks, {records} records");
            ensure!(opened(&store, "s1 word3", direction).await?.1 == lines_with(3, 100));
            ensure!(opened(&store, "s7", direction).await? == (0, 0));
        }
        holder.batch_execute("commit").await?;
        ensure!(opened(&store, "line", Direction::NewestFirst).await?.1 == 300);
        running.stop.cancel();
        running.task.await??;
    }
    Ok(())
}

/// A row of format 1 or 2 that lost its filter is read, and the search goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_without_a_filter_is_read() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "empty").await?;
    let client = postgres.client_of("empty").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    for format in [Format::One, Format::Two] {
        put(&running, &mut lines, 200).await?;
        ensure!(seal_in(&store, format).await?.records == 200);
    }
    put(&running, &mut lines, 200).await?;
    for table in ["blocks", "ring_0", "ring_1", "ring_2", "ring_3"] {
        client.batch_execute(&format!("update {table} set bloom = ''")).await?;
    }
    for text in ["word3", "word3 line", "data.common=word3", "namespace=ns-1 word3"] {
        ensure!(all_pages(&store, &ALL, text, 50, 20_000).await?.len() == lines_with(3, 600), "{text}");
    }
    running.stop.cancel();
    running.task.await?
}
