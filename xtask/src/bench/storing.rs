//! Measures one corpus through every step: files to Kafka, Kafka to fresh blocks, fresh to sealed blocks, then queries. Storing is compared
//! with a binary COPY of the same records as plain rows (`rows`), the agent with zstd alone. Prints for each step the records per second
//! and per CPU-second, the memory, and the stored bytes per raw byte.

use super::corpus::Corpus;
use super::process::{cpu, family_cpu, memory, mib, thousands};
use super::{Figure, figure, note, query, reading, rows};
use anyhow::{Context, Result, ensure};
use cordwood_core::retention;
use cordwood_core::retention::Policy;
use cordwood_core::retention::class::bucket_us;
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::{Settings, Store, catalogue};
use cordwood_tests::http::metric;
use cordwood_tests::pipeline::Pipeline;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Of one step of the writer.
const STEP_LIMIT: Duration = Duration::from_secs(900);
/// Of the planner, until it has nothing more to make.
const PASSES_MAX: usize = 50;

/// `format`: of the sealed blocks, where not the writer's default. `whole`: also rates, memory and queries, not the sizes alone.
///
/// # Errors
/// A part that does not start or stops by itself.
pub async fn measure(name: &str, corpus: &Corpus, format: Option<u8>, whole: bool) -> Result<Vec<Figure>> {
    let mut storage = Storage::start(format).await?;
    let mut figures = Vec::new();

    note(&format!("{name}: writing {} lines", corpus.lines()));
    let written = corpus.write(&storage.pipeline.pods(), jiff::Timestamp::now().as_microsecond())?;
    let raw = written.bytes as f64;

    // Files -> Kafka.
    let of_agent =
        reading::read_all(&mut storage.pipeline, written.lines, written.bytes, reading::Whose::this())
            .await?;
    if whole {
        figures.extend(of_agent);
    }
    drop(storage.pipeline.agent.take());

    let baseline = if whole { rows::copy(&mut storage.client, 1_000_000).await? } else { 0.0 };

    // Kafka -> fresh blocks.
    let step = storage.write(written.lines).await?;
    let fresh = relation_bytes(&storage.client, "ring_%").await?;
    if whole {
        figures.push(figure(
            "Kafka to PostgreSQL",
            format!("{:.2}x", step.rate() / baseline),
            format!(
                "{} records/s; bare binary COPY of rows {}/s",
                thousands(step.rate()),
                thousands(baseline)
            ),
        ));
        figures.push(figure("writer, records per CPU-second", thousands(step.per_cpu_second()), ""));
        figures.push(figure("writer, most memory", mib(step.memory_max), ""));
    }
    figures.push(figure(
        format!("{name}: bytes stored per raw byte, fresh"),
        format!("{:.3}", fresh as f64 / raw),
        format!("{} lines, {:.0} MB, indexes included", written.lines, raw / 1e6),
    ));

    // Fresh -> sealed.
    let (from, to) = storage.fresh_span().await?;
    storage.make_table_partitions(&[], from, to).await?;
    // Tables with nothing in them have a size too; it is not that of these lines.
    let empty = relation_bytes(&storage.client, "blocks%").await?;
    let step = storage.seal(written.lines).await?;
    let sealed = relation_bytes(&storage.client, "blocks%").await? - empty;
    if whole {
        let how = format!("one core; {} records/s by the clock", thousands(step.rate()));
        figures.push(figure("sealing, records per CPU-second", thousands(step.per_cpu_second()), how));
        figures.push(figure("writer, most memory while sealing", mib(step.memory_max), ""));
    }
    figures.push(figure(
        format!("{name}: bytes stored per raw byte, sealed"),
        format!("{:.3}", sealed as f64 / raw),
        shares(&storage.client, raw).await?,
    ));
    if whole {
        figures.extend(query::measure(&storage.store().await?, written.lines).await?);
    }
    Ok(figures)
}

/// Agent, Kafka, writer and PostgreSQL with `fsync`, driven one step after the other.
pub struct Storage {
    pub pipeline: Pipeline,
    /// As superuser; PostgreSQL's end is its end.
    pub client: Client,
    /// The writer's configuration, and its text with which it seals nothing.
    file: PathBuf,
    config: String,
    format: Option<u8>,
}

/// What a step of the writer cost.
pub struct Step {
    /// While it was looked at: what it did while it started is left out.
    records: f64,
    took: Duration,
    cpu: Duration,
    postgres_cpu: Duration,
    /// Bytes.
    pub memory_max: u64,
}

impl Step {
    pub fn rate(&self) -> f64 {
        self.records / self.took.as_secs_f64()
    }

    pub fn per_cpu_second(&self) -> f64 {
        self.records / self.cpu.as_secs_f64()
    }

    /// Seconds of the writer and of PostgreSQL for a million records.
    pub fn cpu_per_million(&self) -> (f64, f64) {
        let of = |cpu: Duration| cpu.as_secs_f64() * 1e6 / self.records;
        (of(self.cpu), of(self.postgres_cpu))
    }
}

impl Storage {
    /// `format`: of the sealed blocks, where not the writer's default.
    ///
    /// # Errors
    /// A part that does not start.
    pub async fn start(format: Option<u8>) -> Result<Storage> {
        let pipeline = Pipeline::prepare(reading::options()).await?;
        let client = pipeline.postgres.client().await?;
        // As one would run it: what is committed is on the disk.
        client.batch_execute("alter system set fsync = on").await?;
        client.batch_execute("select pg_reload_conf()").await?;
        let file = pipeline.pods().parent().context("the pipeline's folder")?.join("writer.yaml");
        let config = std::fs::read_to_string(&file)?;
        Ok(Storage { pipeline, client, file, config, format })
    }

    /// Another way to what is stored, as a reader has it.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn store(&self) -> Result<Store> {
        Ok(Store::connect(&Settings::url(self.pipeline.postgres.url())).await?)
    }

    /// Until so many lines more came out of Kafka, as fresh blocks.
    ///
    /// # Errors
    /// The writer ends, or takes too long.
    pub async fn write(&mut self, lines: u64) -> Result<Step> {
        self.step("cordwood_writer_records_total", lines, "enabled: false").await
    }

    /// Until so many lines are sealed.
    ///
    /// # Errors
    /// The writer ends, or takes too long.
    pub async fn seal(&mut self, lines: u64) -> Result<Step> {
        self.step("cordwood_writer_sealed_records_total", lines, "enabled: true\n  interval_seconds: 0.5")
            .await
    }

    /// Runs the writer until its metric says so.
    async fn step(&mut self, name: &str, lines: u64, sealing: &str) -> Result<Step> {
        let format = self.format.map(|format| format!("\n  format: {format}")).unwrap_or_default();
        let config = self.config.replace("enabled: false", &format!("{sealing}{format}"));
        ensure!(
            self.config.contains("enabled: false"),
            "the writer's configuration does not switch sealing off"
        );
        std::fs::write(&self.file, config)?;
        self.pipeline.start_writer()?;
        let writer = self.pipeline.writer.as_ref().context("the writer")?.id();
        let postgres = self.pipeline.postgres.process().id();
        let endpoint = self.pipeline.endpoints()[1].clone();
        // What was done before is not counted: of sealing the first record comes with a whole round.
        let from_zero = name.contains("sealed");
        let mut first = None;
        let began = Instant::now();
        loop {
            let now = metric(&endpoint, name).await.unwrap_or(0.0);
            if first.is_none() && (from_zero || now > 0.0) {
                first = Some((Instant::now(), now, cpu(writer)?, family_cpu(postgres)?));
            }
            if now >= lines as f64 {
                break;
            }
            self.pipeline.check()?;
            ensure!(began.elapsed() < STEP_LIMIT, "the writer is not done after {STEP_LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (since, before, used, used_postgres) =
            first.unwrap_or((began, 0.0, Duration::ZERO, Duration::ZERO));
        let step = Step {
            records: lines as f64 - before,
            took: since.elapsed(),
            cpu: cpu(writer)?.saturating_sub(used),
            postgres_cpu: family_cpu(postgres)?.saturating_sub(used_postgres),
            memory_max: memory(writer)?.1,
        };
        drop(self.pipeline.writer.take());
        Ok(step)
    }

    /// First and last time of what is fresh.
    ///
    /// # Errors
    /// PostgreSQL's; nothing is fresh.
    pub async fn fresh_span(&self) -> Result<(jiff::Timestamp, jiff::Timestamp)> {
        let span = self.client.query_one("select min(time_from), max(time_to) from fresh", &[]).await?;
        Ok((span.try_get(0)?, span.try_get(1)?))
    }

    /// Those that records of this time need under these policies and the built-in one: what is measured is sealing alone.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn make_table_partitions(
        &self,
        policies: &[Policy],
        from: jiff::Timestamp,
        to: jiff::Timestamp,
    ) -> Result<()> {
        let store = self.store().await?;
        make_table_partitions(&store, policies).await?;
        want(&self.client, from, to).await?;
        make_table_partitions(&store, policies).await
    }
}

/// Notes the table partitions that the records need, as a round of sealing does that finds none: what is measured is sealing alone.
async fn want(client: &Client, from: jiff::Timestamp, to: jiff::Timestamp) -> Result<()> {
    for row in client.query("select id, retention_us from classes", &[]).await? {
        let mut at_us = from.as_microsecond();
        while at_us <= to.as_microsecond() {
            let (from_us, to_us) = bucket_us(row.get(1), at_us);
            let time = jiff::Timestamp::from_microsecond;
            let sql = "insert into wanted_leaves (class, time_from, time_to) values ($1, $2, $3) on conflict do nothing";
            client.execute(sql, &[&row.get::<_, i32>(0), &time(from_us)?, &time(to_us)?]).await?;
            at_us = to_us;
        }
    }
    Ok(())
}

/// What the operator does: classes, routes and table partitions of these policies and the built-in one.
async fn make_table_partitions(store: &Store, policies: &[Policy]) -> Result<()> {
    let mut session =
        DdlSession::open(store, Loop::Create).await?.context("another session makes table partitions")?;
    for _ in 0..PASSES_MAX {
        let catalogue = catalogue::read(session.client()).await?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        let plan = retention::plan(policies, &catalogue, now_us, &retention::Tuning::default());
        let hash = plan.hash();
        let steps: Vec<_> = plan.creating().cloned().collect();
        if steps.is_empty() {
            return Ok(());
        }
        for step in &steps {
            ddl::apply(&mut session, step, &hash).await?;
        }
    }
    anyhow::bail!("the planner does not come to rest")
}

/// What of the sealed blocks is payload, bloom filter, postings and indexes of segments, per raw byte.
pub async fn shares(client: &tokio_postgres::Client, raw: f64) -> Result<String> {
    let sum = |column: &str| format!("coalesce(sum(octet_length({column})), 0)::bigint");
    let sql =
        format!("select {}, {}, {}, count(*) from blocks", sum("payload"), sum("bloom"), sum("postings"));
    let row = client.query_one(&sql, &[]).await?;
    let share = |column: usize| row.get::<_, i64>(column) as f64 / raw;
    let (mut pages, mut rows) = (0i64, 0i64);
    let tables =
        "select relname::text from pg_class where relkind = 'r' and relname like 'blocks\\_c%\\_index'";
    for table in client.query(tables, &[]).await? {
        let table: &str = table.get(0);
        let sum = format!("select coalesce(sum(octet_length(bytes)), 0)::bigint, count(*) from {table}");
        let row = client.query_one(&sum, &[]).await?;
        (pages, rows) = (pages + row.get::<_, i64>(0), rows + row.get::<_, i64>(1));
    }
    Ok(format!(
        "indexes included; payload {:.4}, bloom filters {:.4}, postings {:.4}, segments {:.4} ({:.4} as stored, {rows} rows); {} blocks",
        share(0),
        share(1),
        share(2),
        pages as f64 / raw,
        relation_bytes(client, "blocks\\_c%\\_index").await? as f64 / raw,
        row.get::<_, i64>(3)
    ))
}

/// Tables, their TOAST and their indexes.
pub async fn relation_bytes(client: &tokio_postgres::Client, like: &str) -> Result<i64> {
    let statement = "select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from pg_class where relkind = 'r' and relname like $1";
    Ok(client.query_one(statement, &[&like]).await?.get(0))
}
