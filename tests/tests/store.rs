//! The store on real PostgreSQL, 15 and 18: fencing, sealing under kills with readers all the while, searches, sessions.

#![allow(clippy::print_stdout)] // What was done and seen, for the person who runs it with --nocapture.

#[path = "store/backlog.rs"]
mod backlog;
#[path = "store/both_ways.rs"]
mod both_ways;
#[path = "store/budget.rs"]
mod budget;
#[path = "store/carry_and_follow.rs"]
mod carry_and_follow;
#[path = "store/contents.rs"]
mod contents;
#[path = "store/drift.rs"]
mod drift;
#[path = "store/dropped.rs"]
mod dropped;
#[path = "store/error_days.rs"]
mod error_days;
#[path = "store/errors.rs"]
mod errors;
#[path = "store/formats.rs"]
mod formats;
#[path = "store/holds.rs"]
mod holds;
#[path = "store/horizon.rs"]
mod horizon;
#[path = "store/killed_steps.rs"]
mod killed_steps;
#[path = "store/ledger.rs"]
mod ledger;
#[path = "store/old_words.rs"]
mod old_words;
#[path = "store/origins.rs"]
mod origins;
#[path = "store/packed.rs"]
mod packed;
#[path = "store/pages.rs"]
mod pages;
#[path = "store/policies.rs"]
mod policies;
#[path = "store/postings.rs"]
mod postings;
#[path = "store/proof.rs"]
mod proof;
#[path = "store/prune.rs"]
mod prune;
#[path = "store/ranges.rs"]
mod ranges;
#[path = "store/refusals.rs"]
mod refusals;
#[path = "store/segments.rs"]
mod segments;
#[path = "store/states.rs"]
mod states;
#[path = "store/support.rs"]
mod support;
#[path = "store/task_counts.rs"]
mod task_counts;
#[path = "store/tasks.rs"]
mod tasks;
#[path = "store/time_zone.rs"]
mod time_zone;
#[path = "store/verify.rs"]
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cordwood_core::block::Format;
use cordwood_core::filter;
use cordwood_store::commit::{Commit, CommitError, PositionStep};
use cordwood_store::lane::Lane;
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::seal::SealSession;
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_store::{Settings, Store, StoreError, migrate};
use cordwood_tests::env::{KillAt, Moment, Postgres, wait_for};
use cordwood_writer::{CommitSettings, NoFeed, Parts, QueueSender, RecordPlacer, SealSettings, queue};
use prometheus::Registry;
use support::{Lines, check_exactly_once};
use tokio_util::sync::CancellationToken;

const ALL: Scope = Scope::all(AdminReason::Audit);

fn step(from: Option<u64>, to: u64) -> Commit {
    Commit {
        positions: vec![PositionStep { topic_partition: 0, from, to, last_hash: 1 }],
        ..Commit::default()
    }
}

async fn fencing(version: u32) -> Result<()> {
    let postgres = Postgres::start(version).await?;
    let store = support::store(&postgres, "fencing").await?;
    let mut one = Lane::claim(&store).await?;
    let mut two = Lane::claim(&store).await?;
    ensure!((one.number(), two.number()) == (1, 2), "lanes are dense from 1");
    one.commit("t", &step(None, 10)).await?;
    two.commit("t", &step(Some(10), 20)).await?;
    // The first was told nothing: it is a zombie now, whatever it tries.
    for zombie in [step(Some(10), 15), step(None, 15)] {
        let refused = one.commit("t", &zombie).await;
        ensure!(matches!(refused, Err(CommitError::Fenced { topic_partition: 0, .. })), "{refused:?}");
    }
    let positions = one.read_positions("t").await?;
    ensure!(positions[&0].next_offset == 20, "{positions:?}");
    ensure!(
        matches!(one.read_positions("other").await, Err(StoreError::Invalid(_))),
        "one database, one topic"
    );
    one.commit("t", &step(Some(20), 21)).await?;
    // Its lane is free once its session ends, and goes on where it stood.
    let (lane, client) = (one.number(), postgres.client_of("fencing").await?);
    drop(one);
    let mut again = claim_lane(&store, lane).await?;
    let done = again.commit("t", &step(Some(21), 22)).await?;
    ensure!((done.lane, done.seq) == (1, 3), "{done:?}");
    // A number that another session used meanwhile is refused.
    client
        .execute("insert into batches (lane, seq, blocks, records, raw_bytes) values (1, 4, 0, 0, 0)", &[])
        .await?;
    let refused = again.commit("t", &step(Some(22), 23)).await;
    ensure!(matches!(refused, Err(CommitError::Lane { lane: 1, seq: 4 })), "{refused:?}");
    Ok(())
}

/// The server notices a session's end a moment later.
async fn claim_lane(store: &Store, wanted: i16) -> Result<Lane> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let lane = Lane::claim(store).await?;
        if lane.number() == wanted {
            return Ok(lane);
        }
        ensure!(Instant::now() < deadline, "lane {wanted} was never given back");
        drop(lane);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_zombie_is_fenced_15() -> Result<()> {
    fencing(15).await
}

#[tokio::test]
async fn a_zombie_is_fenced_18() -> Result<()> {
    fencing(18).await
}

/// A writer in this process, fed by a queue; it does not seal.
struct Running {
    sender: QueueSender,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<()>>,
}

fn start_writer(store: &Store) -> Result<Running> {
    let (sender, source) = queue(64 << 20);
    let stop = CancellationToken::new();
    let mut parts = Parts::new(store.clone(), &Registry::new(), stop.clone())?;
    parts.seal = SealSettings { enabled: false, ..SealSettings::default() };
    parts.commit = CommitSettings { linger_ms: 5, records_max: 500, ..CommitSettings::default() };
    let task = tokio::spawn(cordwood_writer::run(parts, source, Arc::new(NoFeed), Arc::default()));
    Ok(Running { sender, stop, task })
}

/// In one statement: what the watermarks say was stored, and what can be seen.
async fn totals(store: &Store) -> Result<(i64, i64)> {
    let row = store
        .pooled()
        .await?
        .query_one(
            "select (select coalesce(sum(records), 0) from watermarks)::bigint, \
             (select coalesce(sum(count), 0) from fresh f \
               where f.seq > ((select array_agg(upto order by lane) from seals))[f.lane + 1])::bigint \
             + (select coalesce(sum(count), 0) from blocks)::bigint \
             + (select coalesce(sum(expired), 0) from sealed_counts)::bigint",
            &[],
        )
        .await?;
    Ok((row.get(0), row.get(1)))
}

/// Readers that never see a record missing or double, whatever happens to the sealer.
fn start_readers(
    store: &Store,
    stop: Arc<AtomicBool>,
    checks: Arc<AtomicU64>,
) -> Vec<tokio::task::JoinHandle<Result<()>>> {
    let (store_a, stop_a, checks_a) = (store.clone(), stop.clone(), checks.clone());
    let totals_reader = tokio::spawn(async move {
        while !stop_a.load(Ordering::Relaxed) {
            let (stored, seen) = totals(&store_a).await?;
            ensure!(stored == seen, "{stored} records stored, {seen} seen");
            checks_a.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    let store = store.clone();
    let pages_reader = tokio::spawn(async move {
        let mut stream = 0;
        while !stop.load(Ordering::Relaxed) {
            stream = (stream + 1) % 4;
            let filter = filter::parse(&format!("s{stream}"))?;
            let found = search(&store, &ALL, &filter, TimeRange::default(), Page::first(300), 20_000).await?;
            ensure!(found.complete, "20 s were not enough");
            // A stream's times rise with its numbers: newest first, without a hole.
            let numbers = found.records.iter().map(|record| {
                let body: serde_json::Value = serde_json::from_slice(&record.body)?;
                body["seq"].as_i64().context("no seq")
            });
            let numbers: Vec<i64> = numbers.collect::<Result<_>>()?;
            let hole = numbers.windows(2).find(|pair| pair[0] - pair[1] != 1);
            ensure!(hole.is_none(), "stream {stream}: {hole:?}");
            checks.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    vec![totals_reader, pages_reader]
}

/// A moment at which the sealer's session is killed, and whether the round has happened then.
#[derive(Clone, Copy, Debug)]
struct Kill {
    at: Moment,
    sealed: bool,
}

const fn kill(at: Moment, sealed: bool) -> Kill {
    Kill { at, sealed }
}

/// What only a round's own transaction numbers.
const ROUND: &str = "select round from ring_ctl";
const BEGUN: Kill = kill(Moment::Before("order by f.tenant, f.lane, f.seq"), false);
const MID_COPY: Kill = kill(Moment::MidCopy("copy blocks "), false);
const COPIED: Kill = kill(Moment::After("copy blocks "), false);
const MARKING: Kill = kill(Moment::Before("insert into rollup as r "), false);
const MOVED: Kill = kill(Moment::Before("pg_current_xact_id()"), false);
const COMMITTING: Kill = kill(Moment::Before("COMMIT"), false);
const COMMITTED: Kill = kill(Moment::After("COMMIT"), true);
/// With a ring locked and not yet emptied.
const TRUNCATING: Kill = kill(Moment::Before("f.seq > z.upto) or exists (select from rollup_ring_"), true);
const TRUNCATED: Kill = kill(Moment::After("truncate ring_"), true);

async fn seal_once(store: &Store) -> Result<cordwood_store::seal::Round, StoreError> {
    seal_in(store, Format::default()).await
}

async fn seal_in(store: &Store, format: Format) -> Result<cordwood_store::seal::Round, StoreError> {
    seal_and(store, format, || {}).await
}

/// `claimed` is called when the session is there and nothing is done yet.
async fn seal_and(
    store: &Store,
    format: Format,
    claimed: impl FnOnce(),
) -> Result<cordwood_store::seal::Round, StoreError> {
    let mut sealing = loop {
        match SealSession::claim(store).await? {
            Some(sealing) => break sealing,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    claimed();
    sealing.switch_ring().await?;
    let round = sealing.round(&mut RecordPlacer::new(support::now_us()).of_format(format)).await?;
    let deadline = Instant::now() + Duration::from_secs(2);
    while !sealing.is_past(round.xid).await? {
        if Instant::now() > deadline {
            return Ok(round);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sealing.truncate().await?;
    Ok(round)
}

async fn sealing_under_kills(version: u32, format: Format) -> Result<()> {
    let postgres = Postgres::start(version).await?;
    let store = support::store(&postgres, "sealing").await?;
    let client = postgres.client_of("sealing").await?;
    let running = start_writer(&store)?;
    let mut streams: Vec<Lines> = (0..4).map(Lines::new).collect();
    let (stop, checks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers = start_readers(&store, stop.clone(), checks.clone());
    let writing = {
        let (sender, stop) = (running.sender.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                for lines in &mut streams {
                    if let Ok(stored) = sender.send(lines.message(40)) {
                        stored.await?;
                    }
                }
            }
            anyhow::Ok(streams)
        })
    };
    while totals(&store).await?.0 < 1000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nothing of the operator's is there: everything is carried over, again and again.
    for _ in 0..3 {
        let round = seal_in(&store, format).await?;
        ensure!(round.records == 0 && round.carried > 0, "{round:?}");
    }
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let kills_of = KillAt::start(&postgres).await?;
    let through = Store::connect(&Settings::url(kills_of.url_of(&postgres, "sealing"))).await?;
    let all = [BEGUN, MID_COPY, COPIED, MARKING, MOVED, COMMITTING, COMMITTED, TRUNCATING, TRUNCATED];
    let (mut kills, mut sealed) = (0, 0);
    for round in 0..2 {
        for kill in all {
            // Something to seal, however busy the machine is.
            let before = totals(&store).await?.0;
            wait_for("more to seal", Duration::from_secs(60), || async {
                ensure!(totals(&store).await?.0 > before);
                Ok(())
            })
            .await?;
            let number: i64 = client.query_one(ROUND, &[]).await?.get(0);
            let done = seal_and(&through, format, || kills_of.set(kill.at)).await;
            let killed = kills_of.killed();
            match (done, &killed) {
                (Err(_), Some(_)) => kills += 1,
                // A ring in use is left alone, so there may be none to be killed at.
                (Ok(done), None) if [TRUNCATING.at, TRUNCATED.at].contains(&kill.at) => {
                    sealed += done.records;
                }
                (done, killed) => bail!("round {round}, {kill:?}: {done:?}, killed at {killed:?}"),
            }
            let now: i64 = client.query_one(ROUND, &[]).await?.get(0);
            ensure!(now - number == i64::from(kill.sealed), "{kill:?}: {number}, then {now} rounds");
            sealed += seal_in(&store, format).await?.records;
        }
    }
    ensure!(kills >= 2 * 7, "only {kills} kills");
    ensure!(sealed > 0, "nothing was sealed");
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await??;
    }
    let streams = writing.await??;
    running.stop.cancel();
    running.task.await??;
    check_exactly_once(&support::stored(&client).await?, &streams)?;
    // Everything in its leaf, nothing fresh left, the rings empty again, and the rollup complete.
    seal_in(&store, format).await?;
    seal_in(&store, format).await?;
    let row = client
        .query_one(
            "select (select count(*) from fresh f join seals z using (lane) where f.seq > z.upto), \
             (select count(*) from fresh), (select sum(count) from blocks)::bigint, (select sum(count) from rollup)::bigint, \
             (select sum(records) from watermarks)::bigint",
            &[],
        )
        .await?;
    let counts: Vec<i64> = (0..5).map(|column| row.get(column)).collect();
    let written: u64 = streams.iter().map(|lines| lines.next).sum();
    ensure!(
        counts[0] == 0 && counts[2..].iter().all(|count| *count == written as i64),
        "{counts:?}, {written} written"
    );
    ensure!(counts[1] == 0, "the rings hold {} obsolete blocks", counts[1]);
    check_exactly_once(&support::stored(&client).await?, &streams)?;
    // Streams 0 and 3 share a namespace.
    let counted = "select coalesce(sum(count), 0)::bigint from rollup where namespace = 'ns-0'";
    let counted: i64 = client.query_one(counted, &[]).await?.get(0);
    ensure!(counted as u64 == streams[0].next + streams[3].next, "{counted} counted in ns-0");
    let checks = checks.load(Ordering::Relaxed);
    ensure!(checks > 50, "only {checks} checks");
    verify::whole(&store).await?;
    let of_format = "select count(*) filter (where get_byte(payload, 0) <> $1), count(*) from blocks";
    let row = client.query_one(of_format, &[&i32::from(format.version())]).await?;
    let (others, blocks): (i64, i64) = (row.get(0), row.get(1));
    ensure!(others == 0 && blocks > 0, "{others} of {blocks} blocks are not of {format:?}");
    tracing::info!(version, ?format, kills, sealed, written, checks, "sealing under kills");
    println!(
        "PostgreSQL {version}, {format:?}: {kills} kills, {written} records, {checks} checks, none wrong"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealing_under_kills_15() -> Result<()> {
    sealing_under_kills(15, Format::One).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealing_under_kills_18() -> Result<()> {
    sealing_under_kills(18, Format::One).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealing_in_format_2_under_kills() -> Result<()> {
    sealing_under_kills(18, Format::Two).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealing_in_format_3_under_kills() -> Result<()> {
    sealing_under_kills(15, Format::Three).await
}

/// Every page of a search, joined.
async fn all_pages(
    store: &Store,
    scope: &Scope,
    text: &str,
    limit: usize,
    budget_ms: u64,
) -> Result<Vec<String>> {
    let filter = filter::parse(text)?;
    let (mut page, mut bodies, mut last) = (Page::first(limit), Vec::new(), None);
    loop {
        let found = search(store, scope, &filter, TimeRange::default(), page, budget_ms).await?;
        for record in &found.records {
            ensure!(last.is_none_or(|last| record.cursor() < last), "not newest first, or twice");
            last = Some(record.cursor());
            ensure!(found.origins.contains_key(&record.origin), "a record without its origin");
            bodies.push(String::from_utf8(record.body.clone())?);
        }
        match found.cursor {
            Some(cursor) => page.after = Some(cursor.to_string().parse()?),
            None => return Ok(bodies),
        }
    }
}

async fn searches(version: u32) -> Result<()> {
    let postgres = Postgres::start(version).await?;
    let store = support::store(&postgres, "searches").await?;
    let client = postgres.client_of("searches").await?;
    support::classes(&client).await?;
    support::leaves(&client, 2, 2).await?;
    let running = start_writer(&store)?;
    let mut streams: Vec<Lines> = (0..6).map(Lines::new).collect();
    for round in 0..6 {
        for lines in &mut streams {
            let message = lines.message(500);
            running.sender.send(message).map_err(|_| anyhow::anyhow!("the queue is full"))?.await?;
        }
        // Half of it sealed, half fresh, and rings with obsolete rows in them.
        if round == 2 {
            seal_once(&store).await?;
        }
    }
    for (budget_ms, limit) in [(20_000, 100), (20_000, 7), (0, 400)] {
        let all = all_pages(&store, &ALL, "", limit, budget_ms).await?;
        ensure!(all.len() == 18_000, "{} of 18000 with limit {limit}", all.len());
        let rare = all_pages(&store, &ALL, "s4 2999", limit, budget_ms).await?;
        ensure!(rare.len() == 1 && rare[0].contains("line 2999 of stream s4"), "{rare:?}");
        let errors = all_pages(&store, &ALL, "level>=error word0 tenant:tenant-1", limit, budget_ms).await?;
        // Of each stream's 3,000: every 50th is ERROR, of these every 7th has word0; two streams of that tenant.
        let expected = (0..3000).step_by(50).filter(|seq| seq % 7 == 0).count() * 2;
        ensure!(errors.len() == expected, "{} of {expected}", errors.len());
    }
    let scope = Scope::of_tenants(["tenant-2"]);
    for (text, expected) in
        [("", 6000), ("tenant:tenant-1", 0), ("tenant:tenant-1 OR s2", 3000), ("s5", 3000), ("s4", 0)]
    {
        let found = all_pages(&store, &scope, text, 1000, 20_000).await?.len();
        ensure!(found == expected, "{text:?} under a scope: {found}, not {expected}");
    }
    let nobody = Scope::of_tenants([""; 0]);
    ensure!(all_pages(&store, &nobody, "", 10, 1000).await?.is_empty(), "an empty scope sees nothing");
    running.stop.cancel();
    running.task.await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_15() -> Result<()> {
    searches(15).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_18() -> Result<()> {
    searches(18).await
}

/// An upgrade while somebody dumps the tables: its lock is not waited for so long that everybody else queues behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_keeps_nobody_waiting() -> Result<()> {
    let postgres = Postgres::start(18).await?;
    let store = support::store_of_version(&postgres, "old", 2).await?;
    let admin = postgres.client_of("old").await?;
    let dump = postgres.client_of("old").await?;
    dump.batch_execute("begin; select count(*) from blocks").await?;
    let migrating = tokio::spawn({
        let store = store.clone();
        async move { migrate::run(&store).await }
    });
    let until = Instant::now() + Duration::from_secs(5);
    admin.batch_execute("set statement_timeout = '3s'").await?;
    while Instant::now() < until {
        admin.batch_execute("select count(*) from blocks").await.context("queued behind the migration")?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ensure!(!migrating.is_finished(), "{:?}", migrating.await?);
    dump.batch_execute("commit").await?;
    let migrated = tokio::time::timeout(Duration::from_secs(30), migrating).await???;
    ensure!(migrated.applied.first().is_some_and(|first| first.contains("V3")), "{migrated:?}");
    migrate::check(&store).await?;
    Ok(())
}

#[tokio::test]
async fn sessions_say_what_is_wrong() -> Result<()> {
    let postgres = Postgres::start(15).await?;
    let url = postgres.url();
    let store = Store::connect(&Settings::url(&url)).await?;
    let behind = migrate::check(&store).await;
    ensure!(matches!(behind, Err(StoreError::Schema { found: 0, .. })), "{behind:?}");
    migrate::run(&store).await?;
    migrate::run(&store).await.context("a second time")?;
    migrate::check(&store).await?;
    // A newer build was here: this one still starts, and says so.
    let admin = postgres.client().await?;
    let newer = "insert into refinery_schema_history (version, name, applied_on, checksum) \
                 select 99, 'of_the_future', applied_on, '1' from refinery_schema_history where version = 1";
    admin.batch_execute(newer).await?;
    let migrated = migrate::run(&store).await.context("after going back")?;
    ensure!(migrated.warnings.iter().any(|warning| warning.contains("newer")), "{migrated:?}");
    migrate::check(&store).await?;
    for (url, said) in [
        (url.replace(postgres.password(), "wrong"), "password of role \"postgres\": check database.url"),
        (postgres.url_of("nowhere"), "database \"nowhere\" does not exist"),
        (format!("{url}?sslmode=require"), "TLS"),
        (url.replace(&format!(":{}/", postgres.port()), ":1/"), "refused"),
    ] {
        match Store::connect(&Settings::url(&url)).await {
            Ok(_) => anyhow::bail!("{url} was taken"),
            Err(error) => ensure!(error.to_string().contains(said), "{error} does not say {said:?}"),
        }
    }
    // The roles: a reader reads and changes nothing; a writer cannot alter a table.
    admin
        .batch_execute(
            "create role r login password 'r' in role cordwood_reader; create role w login password 'w' in role cordwood_writer",
        )
        .await?;
    let at =
        |role: &str| url.replace(&format!("postgres:{}", postgres.password()), &format!("{role}:{role}"));
    let reader = Store::connect(&Settings::url(at("r"))).await?;
    reader.pooled().await?.query("select * from fresh, blocks, origins", &[]).await?;
    let denied = reader.pooled().await?.batch_execute("truncate ring_0").await;
    ensure!(
        denied.is_err_and(|e| e.code().is_some_and(|code| code.code() == "42501")),
        "a reader may truncate"
    );
    // A store that asks on behalf of others has sessions whose statements end, those of the pool too; an operation's own limit goes before.
    let bounded = Store::bounded(&Settings::url(at("r")), 100)?;
    for _ in 0..2 {
        let session = bounded.pooled().await?;
        let ended = session.batch_execute("select pg_sleep(30)").await;
        ensure!(ended.is_err_and(|e| e.code() == Some(&StoreError::STATEMENT_TIMEOUT)), "it went on");
        session.batch_execute("begin; set local statement_timeout = 0; select pg_sleep(0.2); commit").await?;
    }
    let writer = Store::connect(&Settings::url(at("w"))).await?;
    let mut lane = Lane::claim(&writer).await?;
    lane.commit("t", &step(None, 1)).await?;
    seal_once(&writer).await.context("the writer's role seals")?;
    let denied = writer.pooled().await?.batch_execute("drop table ring_0").await;
    ensure!(denied.is_err(), "a writer may drop a ring");
    Ok(())
}
