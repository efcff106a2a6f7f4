//! One corpus all the way: files to Kafka, Kafka to fresh blocks, fresh to sealed blocks, and then queries; what each cost and how large it is.

use super::corpus::Corpus;
use super::process::{cpu, memory, mib, thousands};
use super::{Figure, figure, note, query, reading, rows};
use anyhow::{Context, Result, ensure};
use cordwood_core::retention;
use cordwood_core::retention::class::bucket_us;
use cordwood_store::ddl::{self, DdlSession, Loop};
use cordwood_store::{Settings, Store, catalogue};
use cordwood_tests::http::metric;
use cordwood_tests::pipeline::Pipeline;
use std::time::{Duration, Instant};

/// `format`: of the sealed blocks, where not the writer's default. `whole`: also rates, memory and queries, not the sizes alone.
///
/// # Errors
/// A part that does not start or stops by itself.
pub async fn measure(name: &str, corpus: &Corpus, format: Option<u8>, whole: bool) -> Result<Vec<Figure>> {
    let mut pipeline = Pipeline::prepare(reading::options()).await?;
    let mut client = pipeline.postgres.client().await?;
    // As one would run it: what is committed is on the disk.
    client.batch_execute("alter system set fsync = on").await?;
    client.batch_execute("select pg_reload_conf()").await?;
    let mut figures = Vec::new();

    note(&format!("{name}: writing {} lines", corpus.lines()));
    let written = corpus.write(&pipeline.pods(), jiff::Timestamp::now().as_microsecond())?;
    let raw = written.bytes as f64;

    // Files -> Kafka.
    let of_agent =
        reading::read_all(&mut pipeline, written.lines, written.bytes, reading::Whose::this()).await?;
    if whole {
        figures.extend(of_agent);
    }
    drop(pipeline.agent.take());

    let baseline = if whole { rows::copy(&mut client, 1_000_000).await? } else { 0.0 };

    // Kafka -> fresh blocks.
    pipeline.start_writer()?;
    let writer = pipeline.writer.as_ref().context("the writer")?.id();
    let endpoint = pipeline.endpoints()[1].clone();
    let records =
        async |endpoint: &str| metric(endpoint, "cordwood_writer_records_total").await.unwrap_or(0.0);
    let mut first = None;
    let began = Instant::now();
    wait(&mut pipeline, "the writer", async || {
        let now = records(&endpoint).await;
        if first.is_none() && now > 0.0 {
            first = Some((Instant::now(), now, cpu(writer)?));
        }
        Ok(now >= written.lines as f64)
    })
    .await?;
    let (since, before, used_before) = first.unwrap_or((began, 0.0, Duration::ZERO));
    let rate = (written.lines as f64 - before) / since.elapsed().as_secs_f64();
    let per_cpu = (written.lines as f64 - before) / (cpu(writer)? - used_before).as_secs_f64();
    let (_, most) = memory(writer)?;
    let fresh = relation_bytes(&client, "ring_%").await?;
    if whole {
        figures.push(figure(
            "Kafka to PostgreSQL",
            format!("{:.2}x", rate / baseline),
            format!("{} records/s; bare binary COPY of rows {}/s", thousands(rate), thousands(baseline)),
        ));
        figures.push(figure("writer, records per CPU-second", thousands(per_cpu), ""));
        figures.push(figure("writer, most memory", mib(most), ""));
    }
    figures.push(figure(
        format!("{name}: bytes stored per raw byte, fresh"),
        format!("{:.3}", fresh as f64 / raw),
        format!("{} lines, {:.0} MB, indexes included", written.lines, raw / 1e6),
    ));
    drop(pipeline.writer.take());

    // Fresh -> sealed.
    let store = Store::connect(&Settings::url(pipeline.postgres.url())).await?;
    make_table_partitions(&store).await?;
    want_what_is_fresh(&client).await?;
    make_table_partitions(&store).await?;
    // Tables with nothing in them have a size too; it is not that of these lines.
    let empty = relation_bytes(&client, "blocks%").await?;
    let file = pipeline.pods().parent().context("the pipeline's folder")?.join("writer.yaml");
    let config = std::fs::read_to_string(&file)?;
    let format = format.map(|format| format!("\n  format: {format}")).unwrap_or_default();
    let sealing =
        config.replace("enabled: false", &format!("enabled: true\n  interval_seconds: 0.5{format}"));
    ensure!(config != sealing, "the writer's configuration does not switch sealing off");
    std::fs::write(&file, sealing)?;
    pipeline.start_writer()?;
    let writer = pipeline.writer.as_ref().context("the writer")?.id();
    let mut first = None;
    wait(&mut pipeline, "the sealer", async || {
        let now = metric(&endpoint, "cordwood_writer_sealed_records_total").await.unwrap_or(0.0);
        if first.is_none() {
            first = Some((Instant::now(), cpu(writer)?));
        }
        Ok(now >= written.lines as f64)
    })
    .await?;
    let (since, used_before) = first.context("a beginning")?;
    let sealed = relation_bytes(&client, "blocks%").await? - empty;
    if whole {
        let how = format!(
            "one core; {} records/s by the clock",
            thousands(written.lines as f64 / since.elapsed().as_secs_f64())
        );
        figures.push(figure(
            "sealing, records per CPU-second",
            thousands(written.lines as f64 / (cpu(writer)? - used_before).as_secs_f64()),
            how,
        ));
        figures.push(figure("writer, most memory while sealing", mib(memory(writer)?.1), ""));
    }
    figures.push(figure(
        format!("{name}: bytes stored per raw byte, sealed"),
        format!("{:.3}", sealed as f64 / raw),
        shares(&client, raw).await?,
    ));
    drop(pipeline.writer.take());
    if whole {
        figures.extend(query::measure(&store, written.lines).await?);
    }
    Ok(figures)
}

/// Notes the table partitions that the records need, as a round of sealing does that finds none: what is measured is sealing alone.
async fn want_what_is_fresh(client: &tokio_postgres::Client) -> Result<()> {
    let span = client.query_one("select min(time_from), max(time_to) from fresh", &[]).await?;
    let (from, to): (jiff::Timestamp, jiff::Timestamp) = (span.get(0), span.get(1));
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

/// What the operator does where there is no policy: the built-in one's classes, routes and table partitions.
async fn make_table_partitions(store: &Store) -> Result<()> {
    let mut session =
        DdlSession::open(store, Loop::Create).await?.context("another session makes table partitions")?;
    for _ in 0..10 {
        let catalogue = catalogue::read(session.client()).await?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        let plan = retention::plan(&[], &catalogue, now_us, &retention::Tuning::default());
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

/// Until `done`, looking ten times a second; a part that ends by itself is an error.
async fn wait(pipeline: &mut Pipeline, who: &str, mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !done().await? {
        pipeline.check()?;
        ensure!(began.elapsed() < Duration::from_secs(900), "{who} is not done after 15 minutes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// What of the sealed blocks is payload, bloom filter, postings and indexes of segments, per raw byte.
async fn shares(client: &tokio_postgres::Client, raw: f64) -> Result<String> {
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
async fn relation_bytes(client: &tokio_postgres::Client, like: &str) -> Result<i64> {
    let statement = "select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from pg_class where relkind = 'r' and relname like $1";
    Ok(client.query_one(statement, &[&like]).await?.get(0))
}
