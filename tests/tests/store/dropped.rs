//! Table partitions are detached and dropped while searches are under way, and new ones come: what is kept is found once, and nobody
//! is told of an error.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::filter;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::retention::catalogue::Catalogue;
use cordwood_core::retention::class::ClassId;
use cordwood_core::retention::step::{LeafRef, Planned, Step};
use cordwood_core::seal::SegmentIndex;
use cordwood_store::Store;
use cordwood_store::contents::LeafKey;
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::ring::BlockRow;
use cordwood_store::seal::{Placed, Placer, SealSession};
use cordwood_store::search::{Direction, Page, TimeRange, search};
use cordwood_tests::env::Postgres;
use cordwood_writer::RecordPlacer;
use tokio_postgres::Client;

use super::support::{self, HOUR_US, Lines};
use super::{ALL, Running, seal_once, start_writer};

/// With four classes more table partitions than a search keeps locked: it reads from some whose locks it has released.
const HOURS: i64 = 52;
const DROPPED: i64 = 4;
const PER_HOUR: u64 = 50;

async fn put(running: &Running, lines: &mut Lines, count: u64) -> Result<()> {
    running.sender.send(lines.message(count)).ok().context("the queue is full")?.await?;
    Ok(())
}

/// As the operator does it: a pass that got no lock is followed by another.
async fn apply(session: &mut DdlSession, step: Step) -> Result<()> {
    let planned = Planned::new(step, "default", "");
    let mut tries = 0;
    while let Err(error) = ddl::apply(session, &planned, "").await {
        tries += 1;
        ensure!(error.code().is_some_and(|code| code.code() == "55P03") && tries < 50, "{error:#}");
    }
    Ok(())
}

/// What searches have to find: all of the first stream from a number on, and of the second all that was acknowledged.
#[derive(Default)]
struct Kept {
    acknowledged: AtomicU64,
    searches: AtomicU64,
    stop: AtomicBool,
}

/// Whole searches, one after the other, until it is stopped.
async fn searches(store: Store, direction: Direction, limit: usize, kept: Arc<Kept>) -> Result<()> {
    let everything = filter::parse("")?;
    while !kept.stop.load(Ordering::Relaxed) {
        let acknowledged = kept.acknowledged.load(Ordering::SeqCst);
        let mut shown: BTreeMap<(String, u64), u32> = BTreeMap::new();
        let mut page = Page { direction, ..Page::first(limit) };
        loop {
            let found = search(&store, &ALL, &everything, TimeRange::default(), page, 30_000).await?;
            ensure!(found.complete, "30 s were not enough");
            for record in &found.records {
                let body: serde_json::Value = serde_json::from_slice(&record.body)?;
                let stream = body["msg"].as_str().and_then(|text| text.rsplit(' ').next());
                let name = (stream.context("no stream")?.to_owned(), body["seq"].as_u64().context("no seq")?);
                *shown.entry(name).or_default() += 1;
            }
            match found.cursor {
                Some(_) => page.after = found.cursor,
                None => break,
            }
        }
        let twice: Vec<_> = shown.iter().filter(|(_, times)| **times > 1).take(5).collect();
        ensure!(twice.is_empty(), "{direction:?}, pages of {limit}: twice: {twice:?}");
        let first = PER_HOUR * DROPPED as u64;
        let wanted = (first..PER_HOUR * HOURS as u64)
            .map(|seq| ("s1".to_owned(), seq))
            .chain((0..acknowledged).map(|seq| ("s2".to_owned(), seq)));
        let missing: Vec<_> = wanted.filter(|name| !shown.contains_key(name)).take(5).collect();
        ensure!(missing.is_empty(), "{direction:?}, pages of {limit}: not shown: {missing:?}");
        kept.searches.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A store with some lines in each of the last hours, all sealed, and the number of the present hour.
async fn hours(postgres: &Postgres, name: &str) -> Result<(Store, Running, i64)> {
    let store = support::store(postgres, name).await?;
    let client = postgres.client_of(name).await?;
    support::classes(&client).await?;
    support::leaves(&client, HOURS, 1).await?;
    // Nothing expires before a search has begun.
    client.execute("update classes set retention_us = $1", &[&(90 * 24 * HOUR_US)]).await?;
    let running = start_writer(&store)?;
    let mut lines = Lines::new(1);
    let this_hour = support::now_us().div_euclid(HOUR_US);
    for hour in (1..=HOURS).rev() {
        // In the first half of each hour.
        lines.age_us = support::now_us() - ((this_hour - hour) * HOUR_US + HOUR_US / 4);
        put(&running, &mut lines, PER_HOUR).await?;
    }
    let round = seal_once(&store).await?;
    ensure!(round.carried == 0 && round.records == PER_HOUR * HOURS as u64, "{round:?}");
    Ok((store, running, this_hour))
}

/// The first hours expire for all classes.
async fn expire(client: &Client, this_hour: i64) -> Result<()> {
    let expired_us = (this_hour - HOURS + DROPPED) * HOUR_US;
    let retention_us = support::now_us() - expired_us - 60_000_000;
    client.execute("update classes set retention_us = $1", &[&retention_us]).await?;
    Ok(())
}

fn leaf(class: i32, hour: i64) -> LeafRef {
    LeafRef { class: ClassId(class), from_us: hour * HOUR_US, to_us: (hour + 1) * HOUR_US }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_found_once_while_tables_come_and_go() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let (store, running, this_hour) = hours(&postgres, "dropped").await?;
    let client = postgres.client_of("dropped").await?;
    let kept = Arc::new(Kept::default());
    let searching: Vec<_> =
        [(Direction::NewestFirst, 10_000), (Direction::OldestFirst, 10_000), (Direction::NewestFirst, 300)]
            .map(|(direction, limit)| tokio::spawn(searches(store.clone(), direction, limit, kept.clone())))
            .into();
    expire(&client, this_hour).await?;
    let mut dropping = DdlSession::open(&store, Loop::Drop).await?.context("no session")?;
    let mut creating = DdlSession::open(&store, Loop::Create).await?.context("no session")?;
    let mut new = Lines::new(2);
    for hour in 0..DROPPED {
        for class in 1..=4 {
            apply(&mut creating, Step::CreateLeaf(leaf(class, this_hour + 1 + hour))).await?;
            apply(&mut dropping, Step::Detach(leaf(class, this_hour - HOURS + hour))).await?;
            apply(&mut dropping, Step::Drop(leaf(class, this_hour - HOURS + hour))).await?;
        }
        // Into the partitions that just came, and into older ones.
        new.age_us = -(1 + hour) * HOUR_US * (hour % 2);
        put(&running, &mut new, PER_HOUR).await?;
        kept.acknowledged.store(new.next, Ordering::SeqCst);
        seal_once(&store).await?;
    }
    kept.stop.store(true, Ordering::Relaxed);
    for search in searching {
        search.await??;
    }
    let left = "select count(*) from leaves where time_to <= (select min(time_from) from blocks)";
    let left: i64 = client.query_one(left, &[]).await?.get(0);
    ensure!(left == 0, "{left} partitions were not dropped");
    let searches = kept.searches.load(Ordering::Relaxed);
    println!("{searches} whole searches while {} partitions went", 4 * DROPPED);
    ensure!(searches >= 6, "only {searches} searches while partitions went");
    running.stop.cancel();
    running.task.await?
}

/// A search that reads one block when another that it has listed is dropped with its table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_goes_between_list_and_reading_is_no_error() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let (store, running, this_hour) = hours(&postgres, "gone").await?;
    let client = postgres.client_of("gone").await?;
    // A payload that lies outside of its row, in the middle of what is listed together with the oldest.
    const HALFWAY: i64 = 26;
    let mut large = Lines::new(2);
    large.age_us = support::now_us() - ((this_hour - HALFWAY) * HOUR_US + HOUR_US / 4);
    put(&running, &mut large, 2_000).await?;
    seal_once(&store).await?;
    let toast = "select reltoastrelid::regclass::text from pg_class where oid = $1::text::regclass";
    let toast: String = client.query_one(toast, &[&leaf(2, this_hour - HALFWAY).table()]).await?.get(0);
    let locker = postgres.client_of("gone").await?;
    locker.batch_execute(&format!("begin; reindex table {toast}")).await?;
    let searching = tokio::spawn({
        let store = store.clone();
        async move {
            let everything = filter::parse("")?;
            let page = Page::first(10_000);
            anyhow::Ok(search(&store, &ALL, &everything, TimeRange::default(), page, 60_000).await?)
        }
    });
    let waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like 'select id, payload%')";
    while !client.query_one(waits, &[]).await?.get::<_, bool>(0) {
        ensure!(!searching.is_finished(), "the search did not wait: {:?}", searching.await??);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    expire(&client, this_hour).await?;
    let mut dropping = DdlSession::open(&store, Loop::Drop).await?.context("no session")?;
    for class in 1..=4 {
        let oldest = leaf(class, this_hour - HOURS);
        apply(&mut dropping, Step::Detach(oldest)).await?;
        apply(&mut dropping, Step::Drop(oldest)).await?;
    }
    ensure!(!searching.is_finished(), "the search waits no more: {:?}", searching.await??);
    locker.batch_execute("commit").await?;
    let found = searching.await??;
    let expected = PER_HOUR as usize * (HOURS as usize - 1) + 2_000;
    ensure!(found.complete && found.cursor.is_none(), "{:?}", found.cursor);
    ensure!(found.records.len() == expected, "{} records of {expected}", found.records.len());
    running.stop.cancel();
    running.task.await?
}

/// Gives a round of sealing time for others after it has taken its snapshot.
struct Paused {
    placer: RecordPlacer,
    begun: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Placer for Paused {
    fn begin(&mut self, catalogue: Catalogue, now_us: i64) {
        self.placer.begin(catalogue, now_us);
        let _ = self.begun.send(());
        let _ = tokio::task::block_in_place(|| self.go_on.recv());
    }

    fn index(&mut self, leaves: Vec<LeafKey>) {
        self.placer.index(leaves);
    }

    fn block(
        &mut self,
        block: &BlockRow,
        stored_us: Option<i64>,
        output: &mut Placed,
    ) -> Result<(), Vec<OriginId>> {
        self.placer.block(block, stored_us, output)
    }

    fn learn(&mut self, origins: HashMap<OriginId, Origin>) {
        self.placer.learn(origins);
    }

    fn finish(&mut self, output: &mut Placed) {
        self.placer.finish(output);
    }

    fn next_index(&mut self) -> Option<SegmentIndex> {
        self.placer.next_index()
    }
}

/// The first record comes into an empty table partition at the moment in which that is detached, because it is of no use.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_round_of_sealing_fills_no_partition_that_is_being_detached() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let store = support::store(&postgres, "filled").await?;
    let client = postgres.client_of("filled").await?;
    support::classes(&client).await?;
    support::leaves(&client, 1, 2).await?;
    let running = start_writer(&store)?;
    let hour = support::now_us().div_euclid(HOUR_US) - 1;
    let mut lines = Lines::new(1);
    lines.age_us = support::now_us() - (hour * HOUR_US + HOUR_US / 4);
    put(&running, &mut lines, PER_HOUR).await?;
    let visible = "select coalesce(sum(count), 0)::bigint from blocks";
    // Somebody reads: a detach can begin, and cannot end.
    let reader = postgres.client_of("filled").await?;
    reader.batch_execute("begin; select count(*) from blocks_c2").await?;
    let ((begun, has_begun), (let_go_on, go_on)) = (mpsc::channel(), mpsc::channel());
    let sealing = tokio::spawn({
        let store = store.clone();
        async move {
            let mut placer = Paused { placer: RecordPlacer::new(support::now_us()), begun, go_on };
            let mut sealing = SealSession::claim(&store).await?.context("somebody seals")?;
            sealing.switch_ring().await?;
            anyhow::Ok(sealing.round(&mut placer).await?)
        }
    });
    tokio::task::block_in_place(|| has_begun.recv())?;
    let mut dropping = DdlSession::open(&store, Loop::Drop).await?.context("no session")?;
    let step = Step::Detach(leaf(2, hour));
    let detach = Planned::new(step, "default", "");
    let refused = ddl::apply(&mut dropping, &detach, "").await;
    ensure!(refused.is_err_and(|error| error.code().is_some_and(|code| code.code() == "55P03")));
    let_go_on.send(())?;
    let round = sealing.await??;
    let seen: i64 = client.query_one(visible, &[]).await?.get(0);
    ensure!(round.records == PER_HOUR && seen == PER_HOUR as i64, "{seen} of {} are seen", round.records);
    reader.batch_execute("commit").await?;
    // Now that it is over it is not empty: it stays.
    let refused = ddl::apply(&mut dropping, &detach, "").await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("its class keeps it by now")));
    let seen: i64 = client.query_one(visible, &[]).await?.get(0);
    ensure!(seen == PER_HOUR as i64, "{seen} are seen");
    running.stop.cancel();
    running.task.await?
}
