//! Runs a loop of commits and one of queries, as writer and reader do, with or without table partitions that come and go meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cordwood_core::block::BlockBuilder;
use cordwood_core::filter;
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};
use cordwood_core::retention::class::{ClassId, align_down};
use cordwood_core::retention::step::{LeafRef, Planned, Step};
use cordwood_core::retention::{Policy, Tuning};
use cordwood_operator::retention::Standalone;
use cordwood_store::commit::Commit;
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::lane::Lane;
use cordwood_store::ring::BlockRow;
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_store::{Settings, Store, migrate, origins};

use crate::env::Postgres;
use crate::policies::settle;

const RECORDS: u32 = 20;
/// Between two commits and two queries of a loop.
const PAUSE: Duration = Duration::from_millis(5);
const HOUR_US: i64 = 3_600_000_000;

/// What goes on beside the loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// So many partitions are made, detached and dropped, one after the other.
    Partitions(u32),
    /// The same, and a reader holds a transaction for so long.
    PartitionsAndReader(u32, Duration),
}

/// The longest but a thousandth of all, and how many there were.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    pub p999: Duration,
    pub count: usize,
}

#[derive(Debug)]
pub struct Outcome {
    pub commits: Tail,
    pub queries: Tail,
    pub partitions: u32,
}

/// The loops for `time`, and longer when what goes on beside them takes longer.
///
/// # Errors
/// A part that does not start, or a statement that fails.
pub async fn measure(version: u32, beside: Beside, time: Duration) -> Result<Outcome> {
    let postgres = Postgres::start(version).await?;
    let store = Store::connect(&Settings::url(postgres.database("beside").await?)).await?;
    migrate::run(&store).await?;
    let policies = [Policy::builtin()];
    settle(&mut Standalone::new(&store, Tuning::default()), &policies).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let commits = tokio::spawn(commits(store.clone(), Arc::clone(&stop)));
    let queries = tokio::spawn(queries(store.clone(), Arc::clone(&stop)));
    let began = Instant::now();
    let partitions = match beside {
        Beside::Nothing => 0,
        Beside::Partitions(count) => come_and_go(&store, count).await?,
        Beside::PartitionsAndReader(count, long) => {
            let reader = postgres.client_of("beside").await?;
            reader
                .batch_execute("begin isolation level repeatable read; select count(*) from blocks")
                .await?;
            let reading = async {
                tokio::time::sleep(long).await;
                reader.batch_execute("commit").await.context("end the reader's transaction")
            };
            let (partitions, ended) = tokio::join!(come_and_go(&store, count), reading);
            ended?;
            partitions?
        }
    };
    tokio::time::sleep(time.saturating_sub(began.elapsed())).await;
    stop.store(true, Ordering::Relaxed);
    Ok(Outcome { commits: tail(commits.await??), queries: tail(queries.await??), partitions })
}

fn tail(mut all: Vec<Duration>) -> Tail {
    all.sort_unstable();
    let place = all.len() - all.len().div_ceil(1_000).min(all.len());
    Tail { p999: all.get(place).or(all.last()).copied().unwrap_or_default(), count: all.len() }
}

async fn commits(store: Store, stop: Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let mut lane = Lane::claim(&store).await?;
    let origin = Origin { tenant: "shop".to_owned(), pod: "web".to_owned(), ..Origin::default() };
    origins::assign(lane.client(), &[(origin.id(), &origin)]).await?;
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut builder = BlockBuilder::new();
        for index in 0..RECORDS {
            let body = format!("line {index} of commit {}", all.len());
            let taken = builder.push(
                &Record {
                    time_us: jiff::Timestamp::now().as_microsecond(),
                    original_time_us: None,
                    level: Level::Info,
                    flags: Flags::default(),
                    origin: origin.id(),
                    id: RecordId { topic_partition: 0, kafka_offset: all.len() as u64, index },
                    body: body.as_bytes(),
                },
                &origin,
            );
            anyhow::ensure!(taken, "a block takes {RECORDS} records");
        }
        let group = Level::Info.group() as i32;
        let blocks = vec![BlockRow::of(group, origin.tenant.as_str().into(), builder.finish(1))];
        let commit = Commit { blocks, records: u64::from(RECORDS), ..Commit::default() };
        let began = Instant::now();
        lane.commit("logs", &commit).await?;
        all.push(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(all)
}

async fn queries(store: Store, stop: Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let (scope, everything) = (Scope::all(AdminReason::Audit), filter::parse("")?);
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        search(&store, &scope, &everything, TimeRange::default(), Page::first(100), 30_000).await?;
        all.push(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(all)
}

/// Made, detached and dropped; one that a reader keeps is tried again, as the next pass would.
async fn come_and_go(store: &Store, count: u32) -> Result<u32> {
    let mut creating = DdlSession::open(store, Loop::Create).await?.context("somebody creates")?;
    let mut dropping = DdlSession::open(store, Loop::Drop).await?.context("somebody drops")?;
    let class = ClassId(1);
    apply(&mut creating, Step::CreateClassTable { class }).await?;
    let end_us = align_down(jiff::Timestamp::now().as_microsecond(), HOUR_US) - 48 * HOUR_US;
    for number in 0..count {
        let to_us = end_us - i64::from(number) * HOUR_US;
        let leaf = LeafRef { class, from_us: to_us - HOUR_US, to_us };
        apply(&mut creating, Step::CreateLeaf(leaf)).await?;
        apply(&mut dropping, Step::Detach(leaf)).await?;
        apply(&mut dropping, Step::Drop(leaf)).await?;
    }
    Ok(count)
}

async fn apply(session: &mut DdlSession, step: Step) -> Result<()> {
    let planned = Planned::new(step, "default", "a measurement");
    while let Err(error) = ddl::apply(session, &planned, "").await {
        anyhow::ensure!(error.code().is_some_and(|code| code.code() == "55P03"), "{error:#}");
    }
    Ok(())
}
