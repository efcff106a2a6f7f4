//! Measures Cordwood on whole corpora, in one format of sealed blocks: size, CPU and memory, and for the corpus of services also the
//! searches. It measures the searches on fresh records, on sealed ones, and on sealed ones that are not in the page cache. It packs indexes before it measures the
//! size, as the operator does. Fills one column of the table of floors.

use std::fs;

use anyhow::{Context, Result};
use cordwood_store::ddl::{DdlSession, Loop, pack_indexes};
use cordwood_store::search::TimeRange;
use cordwood_store::{Settings, Store, migrate};
use cordwood_tests::policies;
use tokio_postgres::Client;

use super::super::corpus::{Corpus, Pod};
use super::super::services::{PODS, Services, Sought, TENANTS, Tally, pod_name, tenant};
use super::super::storing::{Step, Storage, relation_bytes, shares};
use super::super::{note, reading};
use super::cold;
use super::profile;
use super::searches::{Question, questions};
use super::table::{Cell, Column};
use super::{CORPORA, CPU, HISTOGRAM, MEMORY, Part, cold_page, fresh_page, sealed_page, size, unpacked};

/// Records of a round of sealing, and of what is fresh at the most.
pub const CHUNK: u64 = 2_000_000;
const WARM: usize = 10;
const HISTOGRAMS: usize = 5;

/// A corpus of which only the size counts.
///
/// # Errors
/// A part that does not start or stops by itself.
pub async fn sizes(
    column: &mut Column,
    name: &str,
    corpus: &Corpus,
    format: Option<u8>,
    end_us: i64,
) -> Result<()> {
    let mut storage = Storage::start(format).await?;
    let empty = prepare(&storage, 0, end_us - 60_000_000, end_us).await?;
    let written = corpus.write(&storage.pipeline.pods(), end_us)?;
    reading::ship(&mut storage.pipeline, written.lines).await?;
    drop(storage.pipeline.agent.take());
    storage.write(written.lines).await?;
    storage.seal(written.lines).await?;
    put_sizes(column, &storage, name, written.bytes, empty).await
}

/// The services' lines, in rounds of [`CHUNK`]. Returns the table of the profile, where it is wanted.
///
/// # Errors
/// A part that does not start or stops by itself.
pub async fn services(
    column: &mut Column,
    lines: u64,
    format: Option<u8>,
    end_us: i64,
    parts: &[Part],
) -> Result<Option<String>> {
    let mut storage = Storage::start(format).await?;
    let mut services = Services::new(lines, CHUNK, end_us);
    let empty = prepare(&storage, TENANTS as usize, services.begins_us(), end_us).await?;
    let (mut left, mut run, mut raw, mut all) = (lines, 0, 0, Tally::default());
    let mut steps: Vec<(u64, Step)> = Vec::new();
    while left > 0 {
        let chunk = if left.is_multiple_of(CHUNK) { CHUNK } else { left % CHUNK };
        left -= chunk;
        note(&format!("{}: {chunk} lines, {left} left", column.name));
        let (bytes, from_us) = write(&storage, &mut services, chunk, run)?;
        let tally = services.take_tally();
        (raw, run) = (raw + bytes, run + 1);
        all.add_all(&tally);
        reading::ship(&mut storage.pipeline, chunk).await?;
        drop(storage.pipeline.agent.take());
        // The container has started again, and the kubelet has taken its old files away.
        fs::remove_dir_all(storage.pipeline.pods()).context("remove the lines that are shipped")?;
        fs::create_dir(storage.pipeline.pods()).context("create the folder of pods again")?;
        steps.push((chunk, storage.write(chunk).await?));
        if left == 0 && parts.contains(&Part::Searches) {
            // Records of the one time that lie on both sides of it are few.
            let range = TimeRange { from_us: Some(from_us), to_us: None };
            let store = storage.store().await?;
            for question in questions(services.sought_trace(), range, &tally)? {
                let cell = question.warm(&store, WARM).await?;
                column.put(fresh_page(question.sought), cell);
            }
        }
        steps.push((chunk, storage.seal(chunk).await?));
    }
    put_costs(column, &steps);
    put_sizes(column, &storage, CORPORA[1], raw, empty).await?;
    let all = questions(services.sought_trace(), TimeRange::default(), &all)?;
    if parts.contains(&Part::Searches) {
        searches(column, &mut storage, &all).await?;
    }
    if parts.contains(&Part::Profile) {
        note(&format!("{}: where the time of a first page goes", column.name));
        return Ok(Some(profile::measure(&mut storage.pipeline.postgres, &all).await?));
    }
    Ok(None)
}

/// The schema, the table partitions of so many tenants with policies, and what these take with nothing in them.
async fn prepare(storage: &Storage, tenants: usize, from_us: i64, to_us: i64) -> Result<i64> {
    migrate::run(&storage.store().await?).await?;
    let time = jiff::Timestamp::from_microsecond;
    storage.make_table_partitions(&policies::many(tenants), time(from_us)?, time(to_us)?).await?;
    stored_bytes(&storage.client).await
}

/// Writes a chunk as the files of a start of each pod. Returns its bytes, and the time of its first line.
fn write(storage: &Storage, services: &mut Services, lines: u64, run: u64) -> Result<(u64, i64)> {
    let pods = storage.pipeline.pods();
    let pod = |pod: u64| Pod::named(&pods, &format!("tenant-{}", tenant(pod)), &pod_name(pod), run);
    let mut files = (0..PODS).map(pod).collect::<Result<Vec<_>>>()?;
    let (mut body, mut bytes, mut from_us) = (Vec::new(), 0, None);
    for _ in 0..lines {
        body.clear();
        let line = services.next(&mut body).context("one more line")?;
        from_us.get_or_insert(line.time_us);
        bytes += body.len() as u64 + 1;
        files[line.pod as usize].write(line.time_us, &body)?;
    }
    files.iter_mut().try_for_each(Pod::flush)?;
    Ok((bytes, from_us.context("a line")?))
}

fn put_costs(column: &mut Column, steps: &[(u64, Step)]) {
    // Each line passes two steps.
    let lines = steps.iter().map(|(lines, _)| lines).sum::<u64>() as f64 / 2.0;
    let (mut writer, mut postgres) = (0.0, 0.0);
    for (chunk, step) in steps {
        let (of_writer, of_postgres) = step.cpu_per_million();
        writer += of_writer * *chunk as f64 / lines;
        postgres += of_postgres * *chunk as f64 / lines;
    }
    let how = format!("writer {writer:.2}, PostgreSQL {postgres:.2}");
    column.put(CPU, Cell::new(writer + postgres, how));
    let most = steps.iter().map(|(_, step)| step.memory_max).max().unwrap_or_default();
    column.put(MEMORY, Cell::new(most as f64 / f64::from(1 << 20), ""));
}

async fn put_sizes(column: &mut Column, storage: &Storage, corpus: &str, raw: u64, empty: i64) -> Result<()> {
    let client = &storage.client;
    let share = |bytes: i64| (bytes - empty) as f64 / raw as f64;
    let before = stored_bytes(client).await?;
    let how = format!("tables with nothing in them, {:.4}, not counted", empty as f64 / raw as f64);
    column.put(unpacked(corpus), Cell::new(share(before), how));
    pack(storage).await?;
    client.batch_execute("vacuum").await?;
    note(&format!("{}, {corpus}: {}", column.name, shares(client, raw as f64).await?));
    let of_blocks = relation_bytes(client, "blocks%").await? as f64 / raw as f64;
    note(&format!("{}, {corpus}: tables of blocks {of_blocks:.4}, empty ones included", column.name));
    column.put(
        size(corpus),
        Cell::new(share(stored_bytes(client).await?), format!("of {:.1} MB", raw as f64 / 1e6)),
    );
    Ok(())
}

/// What the operator does to the indexes of table partitions whose time is over, as if that of all of these were.
async fn pack(storage: &Storage) -> Result<()> {
    const YEARS: i64 = 4 * 365 * 24;
    let store = storage.store().await?;
    let mut session = DdlSession::open(&store, Loop::Drop).await?.context("no other program drops tables")?;
    let later = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(YEARS))?;
    while pack_indexes(&mut session, later).await?.tables > 0 {}
    Ok(())
}

/// All tables with their TOAST and their indexes, but the rings (also those of what is counted).
async fn stored_bytes(client: &Client) -> Result<i64> {
    let statement = "select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from pg_class \
                     where relkind = 'r' and relnamespace = 'public'::regnamespace and relname not like '%ring\\_%'";
    Ok(client.query_one(statement, &[]).await?.get(0))
}

async fn searches(column: &mut Column, storage: &mut Storage, questions: &[Question]) -> Result<()> {
    note(&format!("{}: searches, warm", column.name));
    let store = storage.store().await?;
    for question in questions {
        column.put(sealed_page(question.sought), question.warm(&store, WARM).await?);
        if question.sought == Sought::Common {
            column.put(HISTOGRAM, question.histogram(&store, HISTOGRAMS).await?);
        }
    }
    drop(store);
    note(&format!("{}: searches, cold", column.name));
    let postgres = &mut storage.pipeline.postgres;
    for question in questions {
        postgres.stop();
        cold::drop_cached(&postgres.socket_folder().join("data"))?;
        postgres.restart().await?;
        let store = Store::connect(&Settings::url(postgres.url())).await?;
        column.put(cold_page(question.sought), question.once(&store).await?);
    }
    storage.client = storage.pipeline.postgres.client().await?;
    Ok(())
}
