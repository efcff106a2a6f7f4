//! Packing of indexes on real PostgreSQL: the table of a closed table partition is about as large as its rows; what searches find, sealing,
//! readers and kills in the middle of it change nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use cordwood_core::block::Format;
use cordwood_core::filter;
use cordwood_core::retention::class::ClassId;
use cordwood_core::retention::step::{LeafRef, Planned, Step};
use cordwood_store::ddl::{self, DdlSession, Loop, Packed};
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_store::{Settings, Store, StoreError, catalogue, migrate};
use cordwood_tests::env::{KillAt, Moment, Postgres};
use tokio_postgres::Client;

use super::support::{self, HOUR_US, Lines};
use super::{ALL, Running, all_pages, seal_in, start_writer, verify};

/// How long ago the lines are written: the time of their table partition is over.
const AGE_US: i64 = 3 * HOUR_US;
const INDEXES: &str = "select c.oid, c.relname::text as name from pg_class c where relkind = 'r' and relname ~ '^blocks_c.*_index'";

struct World {
    store: Store,
    client: Client,
    running: Running,
    lines: Lines,
}

/// Leaves as the operator makes them.
async fn world(postgres: &Postgres, name: &str) -> Result<World> {
    let store = support::store(postgres, name).await?;
    let client = postgres.client_of(name).await?;
    support::classes(&client).await?;
    support::leaves(&client, 4, 2).await?;
    let mut session = DdlSession::open(&store, Loop::Create).await?.context("somebody creates")?;
    for row in client.query("select class, time_from, time_to from leaves", &[]).await? {
        let us = |column| row.get::<_, jiff::Timestamp>(column).as_microsecond();
        let leaf = LeafRef { class: ClassId(row.get(0)), from_us: us(1), to_us: us(2) };
        client.batch_execute(&format!("drop table {}_index", leaf.table())).await?;
        ddl::apply(&mut session, &Planned::new(Step::CreateLeaf(leaf), "default", ""), "packed").await?;
    }
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    lines.age_us = AGE_US;
    Ok(World { store, client, running, lines })
}

impl World {
    async fn put(&mut self, messages: u64, lines: u64) -> Result<()> {
        for _ in 0..messages {
            let message = self.lines.message(lines);
            self.running.sender.send(message).ok().context("the queue is full")?.await?;
        }
        Ok(())
    }

    /// Rounds of so many messages of 1,000 lines.
    async fn seal(&mut self, rounds: u64, messages: u64) -> Result<()> {
        for _ in 0..rounds {
            self.put(messages, 1_000).await?;
            ensure!(seal_in(&self.store, Format::Three).await?.records == messages * 1_000);
        }
        Ok(())
    }

    async fn pack(&self) -> Result<Packed> {
        Ok(pack(&self.store).await?)
    }

    /// Of each index: its rows.
    async fn rows(&self) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for row in self.client.query(&format!("{INDEXES} order by 2"), &[]).await? {
            let name: String = row.get(1);
            let rows = format!(
                "select count(*) || coalesce(md5(string_agg(segment || ' ' || no || md5(bytes), ' ' order by no, segment)), '') from {name}"
            );
            all.insert(name, self.client.query_one(&rows, &[]).await?.get(0));
        }
        Ok(all)
    }

    /// Of each index that has rows: the bytes of these in pages, and of the table.
    async fn sizes(&self) -> Result<BTreeMap<String, (i64, i64)>> {
        let mut all = BTreeMap::new();
        for row in self.client.query(INDEXES, &[]).await? {
            let name: String = row.get(1);
            let sizes = format!(
                "select coalesce(sum((40 + octet_length(bytes) + 7) / 8 * 8 + 4), 0)::bigint, pg_relation_size('{name}') from {name}"
            );
            let row = self.client.query_one(&sizes, &[]).await?;
            if row.get::<_, i64>(0) > 0 {
                all.insert(name, (row.get(0), row.get(1)));
            }
        }
        Ok(all)
    }

    /// Everything about the tables but what is in them.
    async fn tables(&self) -> Result<Vec<String>> {
        let all = format!(
            "select i.name || ' ' || c.relpersistence::text || coalesce(c.reloptions::text, '') || coalesce(c.relacl::text, '') \
               || (select string_agg(concat_ws(' ', attname, atttypid::regtype, attstorage, attnotnull), ', ' order by attnum) \
                   from pg_attribute where attrelid = i.oid and attnum > 0) \
               || (select string_agg(concat_ws(' ', conname, contype), ', ' order by conname) from pg_constraint where conrelid = i.oid) \
               || (select string_agg(indexrelid::regclass::text, ', ') from pg_index where indrelid = i.oid) \
             from ({INDEXES}) i join pg_class c on c.oid = i.oid order by 1"
        );
        Ok(self.client.query(&all, &[]).await?.iter().map(|row| row.get(0)).collect())
    }

    async fn files(&self) -> Result<BTreeMap<String, u32>> {
        let all = format!("select name, pg_relation_filenode(oid) from ({INDEXES}) i");
        Ok(self.client.query(&all, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn number(&self, sql: &str) -> Result<i64> {
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    /// What is found is what was written.
    async fn finds_all(&self) -> Result<()> {
        let written = self.lines.next;
        let with = |word: u64| (0..written).filter(|seq| seq % 7 == word).count();
        ensure!(all_pages(&self.store, &ALL, "word3", 10_000, 20_000).await?.len() == with(3));
        for seq in [1, written / 2, written - 1] {
            let found = opened(&self.store, &format!("data.seq={seq}")).await?;
            ensure!(found.1 == 1, "{seq}: {found:?}");
        }
        ensure!(opened(&self.store, "nosuchword").await?.1 == 0);
        Ok(())
    }

    async fn end(self) -> Result<()> {
        self.running.stop.cancel();
        self.running.task.await?
    }
}

async fn pack(store: &Store) -> Result<Packed, StoreError> {
    match DdlSession::open(store, Loop::Drop).await? {
        Some(mut session) => ddl::pack_indexes(&mut session, jiff::Timestamp::now()).await,
        None => Err(StoreError::Invalid("somebody drops".to_owned())),
    }
}

/// Blocks that a search opened, and records that it found.
async fn opened(store: &Store, text: &str) -> Result<(usize, usize)> {
    let found =
        search(store, &ALL, &filter::parse(text)?, TimeRange::default(), Page::first(10_000), 20_000).await?;
    ensure!(found.complete && found.cursor.is_none(), "{text}: {:?}", found.cursor);
    Ok((found.blocks_read, found.records.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packed_index_is_as_large_as_its_rows() -> Result<()> {
    for version in [15, 18] {
        let postgres = Postgres::start(version).await?;
        let mut world = world(&postgres, "packed").await?;
        world.seal(6, 10).await?;
        let (rows, tables, sizes) = (world.rows().await?, world.tables().await?, world.sizes().await?);
        let closed = world.number("select count(*) from sealed_leaves where indexed_blocks > 0").await?;
        ensure!(closed >= 4, "{closed}");

        let reader = postgres.client_of("packed").await?;
        reader.batch_execute("begin isolation level repeatable read; select from leaves").await?;
        let packed = world.pack().await?;
        ensure!(i64::from(packed.tables) == closed && packed.bytes_after < packed.bytes_before, "{packed:?}");
        println!("PostgreSQL {version}: {packed:?}");
        ensure!(world.rows().await? == rows, "it has the same rows");
        ensure!(world.tables().await? == tables, "{:?}, {tables:?}", world.tables().await?);
        for (name, (bytes, table)) in world.sizes().await? {
            println!("{name}: {bytes} bytes of rows, {:?} before, {table} after", sizes.get(&name));
            // The last page may be nearly empty, and so may be those of few rows.
            ensure!(table <= bytes * 108 / 100 + 2 * 8_192, "{name}: {bytes} bytes of rows in {table}");
        }
        let off = "select count(*) from sealed_leaves s cross join lateral (select \
            'blocks_c' || class || '_' || to_char(time_from at time zone 'UTC', 'YYYYMMDD\"t\"HH24MI') as name) n \
            where bytes <> pg_total_relation_size(name::regclass) + pg_total_relation_size((name || '_index')::regclass)";
        ensure!(world.number(off).await? == 0, "the sizes are noted");
        // A snapshot of before packing sees every row.
        for (name, rows) in &rows {
            let count: i64 = reader.query_one(&format!("select count(*) from {name}"), &[]).await?.get(0);
            ensure!(rows.starts_with(&count.to_string()), "{name}: {count} of {rows}");
        }
        reader.batch_execute("commit").await?;
        world.finds_all().await?;
        ensure!(opened(&world.store, "nosuchword").await?.0 <= 1, "it is asked");
        verify::whole(&world.store).await?;
        ensure!(catalogue::look(&world.client).await?.drift.is_empty());

        ensure!(world.pack().await? == Packed::default(), "there is nothing more to pack");
        // A few late lines are not worth it, many are.
        world.put(1, 20).await?;
        ensure!(seal_in(&world.store, Format::Three).await?.records == 20);
        ensure!(world.pack().await? == Packed::default(), "it has hardly grown");
        world.seal(6, 10).await?;
        let again = world.pack().await?;
        ensure!(again.tables >= 1 && again.bytes_after < again.bytes_before, "{again:?}");
        for (name, (bytes, table)) in world.sizes().await? {
            ensure!(
                table <= bytes * 135 / 100 + (64 << 10) + 2 * 8_192,
                "{name}: {bytes} bytes of rows in {table}"
            );
        }
        ensure!(world.pack().await? == Packed::default());
        world.finds_all().await?;
        verify::whole(&world.store).await?;
        world.end().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_use_repaired_or_dropped() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let mut world = world(&postgres, "uses").await?;
    world.seal(3, 1).await?;
    let files = world.files().await?;
    let used = world.sizes().await?.into_keys().next().context("no index")?;
    let reader = postgres.client_of("uses").await?;
    reader.batch_execute(&format!("begin; select count(*) from {used}")).await?;
    let others = world.sizes().await?.len() - 1;
    ensure!(world.pack().await?.tables as usize == others, "all but the one that is read");
    ensure!(world.files().await?.get(&used) == files.get(&used));
    reader.batch_execute("commit").await?;
    ensure!(world.pack().await?.tables == 1);
    ensure!(world.files().await?.get(&used) != files.get(&used));

    world
        .client
        .batch_execute(&format!(
            "update {used} set bytes = set_byte(bytes, 8, 255 - get_byte(bytes, 8)) where no = 0"
        ))
        .await?;
    ensure!(world.pack().await?.tables == 0);
    let faults = verify::faults(&world.store, true).await?;
    ensure!(!faults.is_empty() && faults.iter().all(|fault| fault.repaired), "{faults:?}");
    ensure!(world.pack().await?.tables == 1, "what was repaired is packed again");
    verify::whole(&world.store).await?;
    world.finds_all().await?;

    let mut session = DdlSession::open(&world.store, Loop::Drop).await?.context("somebody drops")?;
    world.client.batch_execute("update classes set retention_us = 3600000000").await?;
    let of_class = "select class, time_from, time_to from packed_leaves join leaves using (class, time_from)";
    for row in world.client.query(of_class, &[]).await? {
        let us = |column| row.get::<_, jiff::Timestamp>(column).as_microsecond();
        let leaf = LeafRef { class: ClassId(row.get(0)), from_us: us(1), to_us: us(2) };
        for step in [Step::Detach(leaf), Step::Drop(leaf)] {
            ddl::apply(&mut session, &Planned::new(step, "default", ""), "packed").await?;
        }
    }
    ensure!(world.number("select count(*) from packed_leaves").await? == 0, "it goes with its partition");
    ensure!(ddl::pack_indexes(&mut session, jiff::Timestamp::now()).await? == Packed::default());
    world.end().await
}

/// Searches, late lines and packing at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_and_sealing_go_on() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let mut world = world(&postgres, "on").await?;
    world.seal(3, 2).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let packing = {
        let (store, stop) = (world.store.clone(), stop.clone());
        let client = postgres.client_of("on").await?;
        tokio::spawn(async move {
            let mut session = DdlSession::open(&store, Loop::Drop).await?.context("somebody drops")?;
            let mut tables = 0;
            while !stop.load(Ordering::Relaxed) {
                client.batch_execute("delete from packed_leaves").await?;
                tables += ddl::pack_indexes(&mut session, jiff::Timestamp::now()).await?.tables;
            }
            anyhow::Ok(tables)
        })
    };
    let searching = {
        let (store, stop) = (world.store.clone(), stop.clone());
        tokio::spawn(async move {
            let mut searches = 0;
            while !stop.load(Ordering::Relaxed) {
                for seq in [7, 3_003, 5_999] {
                    let (_, records) = opened(&store, &format!("data.seq={seq}")).await?;
                    ensure!(records == 1, "{seq}: {records}");
                }
                let (_, records) = opened(&store, "data.seq=3004 level=info").await?;
                ensure!(records == 1, "{records}");
                searches += 1;
            }
            anyhow::Ok(searches)
        })
    };
    for _ in 0..12 {
        world.put(1, 200).await?;
        let round = seal_in(&world.store, Format::Three).await?;
        ensure!(round.records == 200, "{round:?}");
    }
    stop.store(true, Ordering::Relaxed);
    let (tables, searches) = (packing.await??, searching.await??);
    println!("{tables} tables packed, {searches} rounds of searches");
    ensure!(tables > 0 && searches > 0, "{tables} tables packed, {searches} rounds of searches");
    world.finds_all().await?;
    verify::whole(&world.store).await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_the_old_one_stays() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let mut world = world(&postgres, "killed").await?;
    world.seal(3, 1).await?;
    let kills = KillAt::start(&postgres).await?;
    let through = Store::connect(&Settings::url(kills.url_of(&postgres, "killed"))).await?;
    let (rows, tables) = (world.rows().await?, world.tables().await?);
    let moments = [
        (Moment::Before("copy blocks_c"), 0),
        (Moment::MidCopy("copy blocks_c"), 0),
        (Moment::After("add constraint"), 0),
        (Moment::Before("drop table"), 0),
        (Moment::After("drop table"), 0),
        (Moment::After("insert into packed_leaves"), 0),
        (Moment::Before("COMMIT"), 0),
        (Moment::After("COMMIT"), 1),
    ];
    for (moment, changed) in moments {
        let files = world.files().await?;
        kills.set(moment);
        let done = pack(&through).await;
        ensure!(kills.killed().is_some() && done.is_err(), "{moment:?}: {done:?}");
        // The session ends a moment after its client.
        cordwood_tests::env::wait_for("the session to end", std::time::Duration::from_secs(30), || async {
            let there =
                "select count(*) from pg_stat_activity where application_name = 'cordwood operator drop'";
            ensure!(world.number(there).await? == 0);
            Ok(())
        })
        .await?;
        let now = world.files().await?;
        let other = now.iter().filter(|(name, file)| files.get(*name) != Some(*file)).count();
        ensure!(now.len() == files.len() && other == changed, "{moment:?}: {other} of {now:?}");
        ensure!(world.rows().await? == rows && world.tables().await? == tables, "{moment:?}");
    }
    verify::whole(&world.store).await?;
    let left = world.sizes().await?.len() - 1;
    ensure!(world.pack().await?.tables as usize == left);
    ensure!(world.rows().await? == rows);
    verify::whole(&world.store).await?;
    world.end().await
}

/// Indexes that were there before packing are packed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_before_is_taken_over() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store_of_version(&postgres, "before", 20).await?;
    let client = postgres.client_of("before").await?;
    support::classes(&client).await?;
    support::leaves(&client, 4, 2).await?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    lines.age_us = AGE_US;
    let mut world = World { store, client, running, lines };
    world.seal(3, 1).await?;
    let rows = world.rows().await?;
    let migrated = migrate::run(&world.store).await?;
    ensure!(migrated.applied.iter().any(|name| name.contains("packed_indexes")), "{migrated:?}");
    ensure!(world.pack().await?.tables as usize == world.sizes().await?.len());
    ensure!(world.pack().await? == Packed::default());
    ensure!(world.rows().await? == rows);
    world.finds_all().await?;
    verify::whole(&world.store).await?;
    world.end().await
}
