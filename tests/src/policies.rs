//! Many policies, each with a little data, on a PostgreSQL with its own settings: how many tables they are, and what still works.
//! The same for the benchmark (hundreds) and for a test (as many as fit its time).

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_core::block::BlockBuilder;
use cordwood_core::filter;
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};
use cordwood_core::retention::policy::{DEFAULT, Match, Policy};
use cordwood_core::retention::{LeafState, Tuning};
use cordwood_operator::retention::Standalone;
use cordwood_store::commit::Commit;
use cordwood_store::lane::Lane;
use cordwood_store::ring::BlockRow;
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::seal::SealSession;
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_store::{Settings, Store, migrate, origins};
use cordwood_writer::RecordPlacer;
use tokio_postgres::Client;

use crate::env::Postgres;

const RECORDS: u64 = 20;
const PASSES_MAX: u32 = 200;

/// What was measured. A text where something did not work: why.
#[derive(Debug)]
pub struct Outcome {
    pub tables: i64,
    /// Rows of `pg_class`: tables, indexes, out-of-line storage.
    pub relations: i64,
    /// Until every policy has its classes, its routes and no step left to do.
    pub ready: Duration,
    /// Until all records are sealed, and nothing is left to do.
    pub sealed: Result<Duration, String>,
    /// One pass that finds nothing to do.
    pub pass: Duration,
    /// Resident memory of this process after it, MiB.
    pub pass_mib: u64,
    /// To the end, for a word that nobody wrote.
    pub search: Result<Duration, String>,
    /// `pg_dump | psql`, and as many records afterwards as before.
    pub dump: Result<Duration, String>,
}

/// `levels`: of each policy, how many of INFO, ERROR, WARN and DEBUG have records, in this order.
///
/// # Errors
/// What is needed to measure at all does not work.
pub async fn measure(version: u32, policies: usize, levels: usize) -> Result<Outcome> {
    let postgres = Postgres::start(version).await?;
    let store = Store::connect(&Settings::url(postgres.database("policies").await?)).await?;
    migrate::run(&store).await?;
    let client = postgres.client_of("policies").await?;
    let all = many(policies);
    ensure!(all.iter().all(|policy| policy.name != DEFAULT));
    let mut retention = Standalone::new(&store, Tuning::default());
    let began = Instant::now();
    settle(&mut retention, &all).await?;
    let ready = began.elapsed();
    write(&store, policies, levels).await?;
    let began = Instant::now();
    let sealed = seal(&store, &client, &mut retention, &all).await;
    let sealed = sealed.map(|()| began.elapsed()).map_err(|error| format!("{error:#}"));
    let began = Instant::now();
    retention.pass(&all).await?;
    let pass = began.elapsed();
    let count = async |sql: &str| anyhow::Ok(client.query_one(sql, &[]).await?.get::<_, i64>(0));
    let began = Instant::now();
    let search =
        search_to_the_end(&store).await.map(|()| began.elapsed()).map_err(|error| format!("{error:#}"));
    Ok(Outcome {
        tables: count(
            "select count(*) from pg_class where relname like 'blocks\\_c%' and relname !~ '_index$' and relkind in ('r', 'p')",
        )
        .await?,
        relations: count("select count(*) from pg_class").await?,
        ready,
        sealed,
        pass,
        pass_mib: resident_mib()?,
        search,
        dump: dump(version, &postgres, &client).await.map_err(|error| format!("{error:#}")),
    })
}

/// So many policies, `policy-N` for the tenant `tenant-N`, with the retention of the built-in one.
pub fn many(count: usize) -> Vec<Policy> {
    let one = |number: usize| Policy {
        name: format!("policy-{number}"),
        uid: number.to_string(),
        priority: 1,
        matches: Match { tenants: vec![tenant(number)], ..Match::default() },
        ..Policy::builtin()
    };
    (0..count).map(one).collect()
}

fn tenant(number: usize) -> String {
    format!("tenant-{number}")
}

/// Passes until one has nothing to do.
///
/// # Errors
/// A step that fails, or no end.
pub async fn settle(retention: &mut Standalone, policies: &[Policy]) -> Result<()> {
    for _ in 0..PASSES_MAX {
        let report = retention.pass(policies).await?;
        if let Some((planned, why)) = report.failed.first() {
            anyhow::bail!("{}: {why}", planned.step);
        }
        if report.done.is_empty() {
            return Ok(());
        }
    }
    anyhow::bail!("not settled after {PASSES_MAX} passes")
}

/// Fresh blocks of each policy's tenant, as the writer would commit them.
async fn write(store: &Store, policies: usize, levels: usize) -> Result<()> {
    let mut lane = Lane::claim(store).await?;
    for number in 0..policies {
        let tenant = tenant(number);
        let origin = Origin { tenant: tenant.clone(), pod: format!("pod-{number}"), ..Origin::default() };
        let mut blocks = Vec::new();
        for level in [Level::Info, Level::Error, Level::Warn, Level::Debug].into_iter().take(levels) {
            let mut builder = BlockBuilder::new();
            for index in 0..RECORDS {
                let body = format!("line {index} of {tenant} at {level:?}");
                let record = Record {
                    time_us: jiff::Timestamp::now().as_microsecond(),
                    original_time_us: None,
                    level,
                    flags: Flags::default(),
                    origin: origin.id(),
                    id: RecordId {
                        topic_partition: level as u32,
                        kafka_offset: number as u64,
                        index: u32::try_from(index)?,
                    },
                    body: body.as_bytes(),
                };
                ensure!(builder.push(&record, &origin));
            }
            let group = level.group() as i32;
            blocks.push(BlockRow::of(group, tenant.as_str().into(), builder.finish(1)));
        }
        let records = RECORDS * blocks.len() as u64;
        let commit = Commit { blocks, records, ..Commit::default() };
        origins::assign(lane.client(), &[(origin.id(), &origin)]).await?;
        lane.commit("logs", &commit).await?;
    }
    Ok(())
}

/// Rounds and passes by turns, as sealer and operator do them.
async fn seal(store: &Store, client: &Client, retention: &mut Standalone, policies: &[Policy]) -> Result<()> {
    let mut sealing = SealSession::claim(store).await?.context("somebody seals")?;
    let fresh = "select count(*) from fresh f join seals z using (lane) where f.seq > z.upto";
    for _ in 0..PASSES_MAX {
        sealing.switch_ring().await?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        let done = sealing.round(&mut RecordPlacer::new(now_us)).await?;
        while !sealing.is_past(done.xid).await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sealing.truncate().await?;
        settle(retention, policies).await?;
        if client.query_one(fresh, &[]).await?.get::<_, i64>(0) == 0 {
            return Ok(());
        }
    }
    let report = retention.pass(policies).await?;
    let attached = report.catalogue.leaves.iter().filter(|leaf| leaf.state == LeafState::Attached).count();
    anyhow::bail!("not all is sealed after {PASSES_MAX} rounds ({attached} table partitions)")
}

/// All pages of a search for a word that nobody wrote.
///
/// # Errors
/// The search fails, or finds something.
pub async fn search_to_the_end(store: &Store) -> Result<()> {
    let filter = filter::parse("zzyzxq")?;
    let scope = Scope::all(AdminReason::Audit);
    let mut page = Page::first(100);
    loop {
        let found = search(store, &scope, &filter, TimeRange::default(), page, 60_000).await?;
        ensure!(found.records.is_empty(), "{} records have a word that nobody wrote", found.records.len());
        match found.cursor {
            Some(cursor) => page.after = Some(cursor.to_string().parse()?),
            None => return Ok(()),
        }
    }
}

/// The programs of PostgreSQL 15; for 18 they are not there, and every table is locked at once, as `pg_dump` does first.
async fn dump(version: u32, postgres: &Postgres, client: &Client) -> Result<Duration> {
    let began = Instant::now();
    if version != 15 {
        let tables = "select format('lock table %s in access share mode', string_agg(oid::regclass::text, ', ')) \
                      from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace";
        let lock: String = client.query_one(tables, &[]).await?.get(0);
        client.batch_execute(&format!("begin; {lock}; commit")).await?;
        return Ok(began.elapsed());
    }
    let stored = "select coalesce(sum(count), 0)::bigint from blocks";
    let before: i64 = client.query_one(stored, &[]).await?.get(0);
    let (from, to) = (postgres.url_of("policies"), postgres.database("restored").await?);
    let bin = "/usr/lib/postgresql/15/bin";
    let mut dump = Command::new(format!("{bin}/pg_dump"))
        .arg(&from)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run pg_dump")?;
    let text = dump.stdout.take().context("no output of pg_dump")?;
    let restored = Command::new(format!("{bin}/psql"))
        .args(["-q", "-v", "ON_ERROR_STOP=1", &to])
        .stdin(text)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("run psql")?;
    let dumped = dump.wait_with_output().context("wait for pg_dump")?;
    ensure!(dumped.status.success(), "pg_dump: {}", first_line(&dumped.stderr));
    ensure!(restored.status.success(), "psql: {}", first_line(&restored.stderr));
    let took = began.elapsed();
    let client = postgres.client_of("restored").await?;
    let after: i64 = client.query_one(stored, &[]).await?.get(0);
    ensure!(after == before, "{after} of {before} records were restored");
    Ok(took)
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or_default().to_owned()
}

/// Resident memory of this process.
///
/// # Errors
/// `/proc` cannot be read.
pub fn resident_mib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib = line.split_whitespace().nth(1).context("no number in VmRSS")?;
    Ok(kib.parse::<u64>()? / 1024)
}
