//! Measures where the time of a first page goes. It splits the page into PostgreSQL's planning and running of each kind of statement (by
//! `pg_stat_statements`), this program's own CPU, and the rest, which is waiting. Beside it stand a new connection and the whole command
//! `cordwood query`. Prints a table with a column for each search, with the locks taken and the blocks opened.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_store::{Settings, Store};
use cordwood_tests::env::Postgres;
use tokio_postgres::Client;

use super::super::process::cpu;
use super::super::services::Sought;
use super::searches::{PAGE, Question, median, ms};
use super::table::aligned;

const ROUNDS: usize = 20;
const SOUGHT: [Sought; 7] = [
    Sought::Absent,
    Sought::OneInAMillion,
    Sought::User,
    Sought::OneInTenThousand,
    Sought::Common,
    Sought::TwoCommonApart,
    Sought::TwoSeldomApart,
];
/// Kinds of statements, by what only they have; the first that fits.
const KINDS: [(&str, &str); 7] = [
    ("which tasks are deleted", "task_tombstones"),
    ("which table partitions", "from leaves l join classes"),
    ("list of blocks", "looked_at"),
    ("postings", "select id, postings"),
    ("index of segments", "_index"),
    ("payloads", "select id, payload"),
    ("origins", "from origins"),
];
/// Begin, settings, savepoints, end.
const OTHER: &str = "begin, settings, end";

/// What statements of a kind took, of one page.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    calls: f64,
    plan_ms: f64,
    run_ms: f64,
}

/// The table, of these searches over all that is stored.
///
/// # Errors
/// PostgreSQL's; the command line finds nothing of what there is.
pub async fn measure(postgres: &mut Postgres, questions: &[Question]) -> Result<String> {
    let client = with_statistics(postgres).await?;
    let leaves: i64 = client.query_one("select count(*) from sealed_leaves", &[]).await?.get(0);
    let blocks: i64 = client.query_one("select count(*) from blocks", &[]).await?.get(0);
    let mut columns = vec![("of a first page, ms".to_owned(), names())];
    for question in questions.iter().filter(|question| SOUGHT.contains(&question.sought)) {
        columns.push((question.sought.name().to_owned(), column(postgres, &client, question).await?));
    }
    let header = columns.iter().map(|(name, _)| name.clone()).collect();
    let rows = columns.first().map_or(0, |(_, rows)| rows.len());
    let line = |row: usize| columns.iter().map(|(_, rows)| rows[row].clone()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(header).chain((0..rows).map(line)).collect();
    Ok(format!(
        "over {leaves} table partitions with {blocks} blocks, warm, mean of {ROUNDS}\n{}",
        aligned(&lines)
    ))
}

fn names() -> Vec<String> {
    let kinds = KINDS.iter().map(|(kind, _)| *kind).chain([OTHER]);
    let kinds = kinds.map(|kind| format!("{kind}: planned + run (statements)"));
    let rest = [
        "PostgreSQL together: planned + run (statements)",
        "this program's CPU",
        "neither: waiting",
        "the whole page: mean; median, slowest",
        "locks of relations, at most",
        "blocks opened; records found",
        "a new connection beside it",
        "`cordwood query`, from start to end",
    ];
    kinds.chain(rest.map(str::to_owned)).collect()
}

async fn column(postgres: &Postgres, client: &Client, question: &Question) -> Result<Vec<String>> {
    let settings = Settings::url(postgres.url());
    let store = Store::connect(&settings).await?;
    let (found, _) = question.page(&store).await?;
    client.execute("select pg_stat_statements_reset()", &[]).await?;
    let used = cpu(std::process::id())?;
    let mut pages = Vec::new();
    for _ in 0..ROUNDS {
        pages.push(question.page(&store).await?.1);
    }
    let own = (cpu(std::process::id())? - used).as_secs_f64() * 1_000.0 / ROUNDS as f64;
    let kinds = statements(client).await?;
    let mut rows = Vec::new();
    let mut all = Took::default();
    for kind in KINDS.iter().map(|(kind, _)| *kind).chain([OTHER]) {
        let took = kinds.get(kind).copied().unwrap_or_default();
        all.calls += took.calls;
        all.plan_ms += took.plan_ms;
        all.run_ms += took.run_ms;
        rows.push(shown(took));
    }
    let mean = pages.iter().sum::<f64>() / pages.len() as f64;
    let (median_ms, slowest) = median(pages)?;
    rows.push(shown(all));
    rows.push(format!("{own:.2}"));
    rows.push(format!("{:.2}", (mean - all.plan_ms - all.run_ms - own).max(0.0)));
    rows.push(format!("{mean:.2}; {median_ms:.2}, {slowest:.2}"));
    rows.push(locks(client, &store, question).await?.to_string());
    rows.push(format!("{}; {}", found.blocks_read, found.records.len()));
    let mut connections = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        drop(Store::connect(&settings).await?);
        connections.push(ms(began));
    }
    rows.push(format!("{:.2}", median(connections)?.0));
    rows.push(format!("{:.1}", command_line(postgres, question)?));
    Ok(rows)
}

fn shown(took: Took) -> String {
    format!("{:.2} + {:.2} ({:.1})", took.plan_ms, took.run_ms, took.calls)
}

/// Restarts PostgreSQL, which counts its statements from then on.
async fn with_statistics(postgres: &mut Postgres) -> Result<Client> {
    let client = postgres.client().await?;
    client.batch_execute("alter system set shared_preload_libraries = 'pg_stat_statements'").await?;
    postgres.restart().await?;
    let client = postgres.client().await?;
    // Known only once the library is there.
    client.batch_execute("alter system set pg_stat_statements.track_planning = on").await?;
    client
        .batch_execute("select pg_reload_conf(); create extension if not exists pg_stat_statements")
        .await?;
    Ok(client)
}

async fn statements(client: &Client) -> Result<BTreeMap<&'static str, Took>> {
    let sql = "select query, calls, total_plan_time, total_exec_time from pg_stat_statements
                where query not like '%pg_stat_statements%'";
    let mut kinds: BTreeMap<&str, Took> = BTreeMap::new();
    for row in client.query(sql, &[]).await? {
        let query: &str = row.get(0);
        let kind = KINDS.iter().find(|(_, has)| query.contains(has)).map_or(OTHER, |(kind, _)| *kind);
        let took = kinds.entry(kind).or_default();
        took.calls += row.get::<_, i64>(1) as f64 / ROUNDS as f64;
        took.plan_ms += row.get::<_, f64>(2) / ROUNDS as f64;
        took.run_ms += row.get::<_, f64>(3) / ROUNDS as f64;
    }
    Ok(kinds)
}

/// As many as were seen at a time: another session looks again and again while pages are found.
async fn locks(client: &Client, store: &Store, question: &Question) -> Result<i64> {
    let sql = "select count(*) from pg_locks l join pg_stat_activity a using (pid)
                where l.locktype = 'relation' and a.pid <> pg_backend_pid() and a.application_name like 'cordwood%'";
    let look = client.prepare(sql).await?;
    let mut most = 0;
    let mut pages = std::pin::pin!(async {
        for _ in 0..ROUNDS {
            question.page(store).await?;
        }
        anyhow::Ok(())
    });
    loop {
        tokio::select! {
            biased;
            done = &mut pages => {
                done?;
                return Ok(most);
            }
            row = client.query_one(&look, &[]) => most = most.max(row?.get(0)),
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// Milliseconds of the program, its start included: the median of five.
fn command_line(postgres: &Postgres, question: &Question) -> Result<f64> {
    let program = cordwood_tests::bin("cordwood")?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let ended = Command::new(&program)
            .args([
                "query",
                "--database-url",
                &postgres.url(),
                "--limit",
                &PAGE.to_string(),
                "--output",
                "json",
            ])
            .arg(&question.text)
            .stdin(Stdio::null())
            .output()
            .context("run cordwood query")?;
        times.push(ms(began));
        ensure!(ended.status.success(), "cordwood query: {}", String::from_utf8_lossy(&ended.stderr));
    }
    Ok(median(times)?.0)
}
