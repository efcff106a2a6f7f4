//! Hundreds of policies and ten thousand table partitions with records, on a PostgreSQL with a larger lock table: what retention and searches
//! cost there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_core::block::{BlockBuilder, EncodedBlock};
use cordwood_core::identity::RecordId;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};
use cordwood_core::retention::Tuning;
use cordwood_operator::retention::Standalone;
use cordwood_store::{Settings, Store, migrate};
use tokio_postgres::Client;

use crate::env::{Postgres, PostgresOptions};
use crate::policies::{many, resident_mib, search_to_the_end, settle};

/// Partitions that one statement touches: each takes some locks.
const PER_STATEMENT: i64 = 500;

/// What was measured.
#[derive(Debug)]
pub struct Outcome {
    /// Tables of classes and leaves.
    pub tables: i64,
    /// Leaves that were made, and how long that took.
    pub created: (i64, Duration),
    /// One pass with nothing to do, and this process's resident memory after it.
    pub pass: Duration,
    pub pass_mib: u64,
    /// What PostgreSQL says of planning one statement over the parent table for the newest hundred blocks of all classes: no search asks
    /// it.
    pub parent_planning_ms: f64,
    /// What it says of planning the statements of the search that follows, which lists blocks newest first.
    pub planning: Planning,
    /// To the end, for a word that nobody wrote.
    pub search: Duration,
}

/// The planning of the statements by which a search lists blocks.
#[derive(Clone, Copy, Debug)]
pub struct Planning {
    pub statements: i64,
    pub mean_ms: f64,
    pub longest_ms: f64,
}

/// # Errors
/// A part that does not start, or a step that fails.
pub async fn measure(version: u32, policies: usize, partitions: usize, locks: u32) -> Result<Outcome> {
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let settings = vec![
        setting("max_locks_per_transaction", &locks.to_string()),
        setting("shared_preload_libraries", "pg_stat_statements"),
        setting("pg_stat_statements.track_planning", "on"),
    ];
    let postgres =
        Postgres::start_with(PostgresOptions { settings, ..PostgresOptions::version(version) }).await?;
    let store = Store::connect(&Settings::url(postgres.database("scale").await?)).await?;
    migrate::run(&store).await?;
    let client = postgres.client_of("scale").await?;
    let all = many(policies);
    let mut retention = Standalone::new(&store, Tuning::default());
    settle(&mut retention, &all).await?;
    // In the past, so that none is made ahead.
    let each = partitions.div_ceil(policies * 4);
    ensure!(each <= 5, "a class has no {each} leaves within its retention");
    client
        .batch_execute(&format!(
            "insert into wanted_leaves (class, time_from, time_to)
               select id, t, t + interval '1 minute' from classes, generate_series(3, {}) n,
                 lateral (select now() - n * retention_us / 8 * interval '1 microsecond') as at (t)
                where policy <> 'default'",
            each + 2
        ))
        .await?;
    let began = Instant::now();
    settle(&mut retention, &all).await?;
    let took = began.elapsed();
    let count = async |sql: &str| anyhow::Ok(client.query_one(sql, &[]).await?.get::<_, i64>(0));
    let leaves = count("select count(*) from leaves").await?;
    fill(&client).await?;
    settle(&mut retention, &all).await?;
    let began = Instant::now();
    let report = retention.pass(&all).await?;
    let pass = began.elapsed();
    ensure!(report.done.is_empty() && report.failed.is_empty(), "{} steps were done", report.done.len());
    let pass_mib = resident_mib()?;
    let parent_planning_ms = parent_planning_ms(&client).await?;
    client.batch_execute("create extension pg_stat_statements; select pg_stat_statements_reset()").await?;
    let began = Instant::now();
    search_to_the_end(&store).await?;
    let search = began.elapsed();
    Ok(Outcome {
        tables: count(
            "select count(*) from pg_class where relname like 'blocks\\_c%' and relname !~ '_index$' and relkind in ('r', 'p')",
        )
        .await?,
        created: (leaves, took),
        pass,
        pass_mib,
        parent_planning_ms,
        planning: planning(&client).await?,
        search,
    })
}

/// A block in the middle of each leaf, and what sealing would have noted of it.
async fn fill(client: &Client) -> Result<()> {
    let block = block();
    let leaves: i64 = client.query_one("select count(*) from leaves", &[]).await?.get(0);
    for offset in (0..leaves).step_by(usize::try_from(PER_STATEMENT)?) {
        let sql = format!(
            "insert into blocks (id, class, tenant, count, time_from, time_to, level_mask, raw_bytes, bloom, payload)
               select 1, class, 'tenant-1', 1, middle, middle, 1, 100, $1::bytea, $2::bytea
                 from (select class, time_from + (time_to - time_from) / 2 as middle from leaves
                        order by class, time_from offset {offset} limit {PER_STATEMENT}) l"
        );
        client.execute(&sql, &[&block.bloom, &block.payload]).await?;
    }
    client
        .batch_execute(
            "insert into sealed_leaves (class, time_from, blocks, bytes, oldest)
               select class, time_from, 1, 40960, time_from from leaves;
             insert into leaf_tenants (tenant, class, time_from) select 'tenant-1', class, time_from from leaves;
             delete from wanted_leaves; analyze leaves; analyze sealed_leaves; analyze leaf_tenants",
        )
        .await?;
    Ok(())
}

fn block() -> EncodedBlock {
    let origin = Origin { tenant: "tenant-1".to_owned(), ..Origin::default() };
    let mut builder = BlockBuilder::new();
    let record = Record {
        time_us: jiff::Timestamp::now().as_microsecond(),
        original_time_us: None,
        level: Level::Info,
        flags: Flags::default(),
        origin: origin.id(),
        id: RecordId { topic_partition: 0, kafka_offset: 0, index: 0 },
        body: b"a line",
    };
    assert!(builder.push(&record, &origin), "a block takes a record");
    builder.finish(1)
}

async fn planning(client: &Client) -> Result<Planning> {
    let sql = "select sum(plans)::bigint, sum(total_plan_time) / sum(plans), max(max_plan_time) from pg_stat_statements
               where query like '%looked_at%' and plans > 0";
    let row = client.query_one(sql, &[]).await?;
    let statements = row.get::<_, Option<i64>>(0).context("no statement that lists blocks was planned")?;
    Ok(Planning { statements, mean_ms: row.get(1), longest_ms: row.get(2) })
}

async fn parent_planning_ms(client: &Client) -> Result<f64> {
    let sql = "explain (summary) select id from blocks where time_to >= now() - interval '40 days'
               order by time_to desc limit 100";
    let rows = client.query(sql, &[]).await?;
    let told =
        rows.iter().map(|row| row.get::<_, &str>(0)).find_map(|line| line.strip_prefix("Planning Time: "));
    Ok(told.context("no planning time")?.trim_end_matches(" ms").parse()?)
}
