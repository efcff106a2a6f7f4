//! `cargo xtask bench`: measures the whole of Cordwood with release binaries, real Kafka and real PostgreSQL. It covers reading, storing,
//! sealing, size, memory and queries; each file here says what it compares with. Prints one table with a figure, its value and how it was
//! measured. It asserts nothing: a person judges the figures.

mod corpus;
mod export;
mod floors;
mod groups;
mod operator;
mod policies;
mod process;
mod query;
#[path = "../../../core/examples/support/random.rs"]
mod random;
mod reading;
mod rows;
mod services;
mod storing;
mod stream;
mod tasks;
mod zstd_alone;

use anyhow::Result;
use clap::Args;
use corpus::Corpus;
use reading::Whose;

#[derive(Args)]
pub struct Bench {
    /// Generated lines for reading, storing and queries.
    #[arg(long, default_value_t = 5_000_000)]
    lines: u64,
    /// Plain files in one folder, of which the agent has nothing to read.
    #[arg(long, default_value_t = 10_000)]
    plain_files: usize,
    /// Only these: agent (steady, files, plain and load, each of which can be named alone), idle (agent without load), reading, storing,
    /// logs, policies, tasks, groups, export, stream (from a container's write to who watches), streams (many of them), operator (scale: 10,000 partitions; agents: 1,000 watches; ddl: commits and queries
    /// while partitions come and go, half an hour), floors (what is stored beside the floors of size, CPU and searches, and beside VictoriaLogs;
    /// with them profile: where the time of a first page goes, which can be named alone).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// A folder with another build's programs: what `agent` and `idle` measure is measured of its agent too, in turn with this one's.
    #[arg(long)]
    beside: Option<std::path::PathBuf>,
    /// How often each agent is measured.
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Streams of `streams`.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// At most so many bytes of this machine's own logs.
    #[arg(long, default_value_t = 200_000_000)]
    log_bytes_max: u64,
    /// Formats of the sealed blocks, one after the other: storing and logs are measured with each [default: that of the writer]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=3))]
    seal_format: Vec<u8>,
    /// Folders with logs that nobody here generated, instead of /var/log and cargo's build logs.
    #[arg(long)]
    logs: Vec<std::path::PathBuf>,
}

/// One line of the result: what, how much, and how it was measured.
pub struct Figure {
    what: String,
    value: String,
    how: String,
}

pub fn figure(what: impl Into<String>, value: impl Into<String>, how: impl Into<String>) -> Figure {
    let figure = Figure { what: what.into(), value: value.into(), how: how.into() };
    note(&format!("{}: {} ({})", figure.what, figure.value, figure.how));
    figure
}

/// Progress, for the person who waits.
#[allow(clippy::print_stderr)]
pub fn note(text: &str) {
    eprintln!("bench: {text}");
}

/// # Errors
/// A part that does not start or stops by itself.
pub fn run(bench: &Bench) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(bench))
}

async fn measure(bench: &Bench) -> Result<()> {
    let named = |name: &str| bench.only.iter().any(|only| only == name);
    let wanted = |name: &str| bench.only.is_empty() || named(name);
    let mut figures = Vec::new();
    let agents = Whose::both(bench.beside.as_ref());
    for whose in repeated(&agents, bench.times) {
        if wanted("idle") || named("agent") || named("steady") {
            figures.extend(reading::at_ten_thousand_a_second(whose).await?);
        }
    }
    for whose in repeated(&agents, bench.times) {
        if wanted("idle") || named("agent") || named("files") {
            figures.extend(reading::idle_files(1_000, whose).await?);
        }
    }
    for whose in repeated(&agents, bench.times) {
        if wanted("idle") || named("agent") || named("plain") {
            figures.extend(reading::idle_plain_files(bench.plain_files, whose).await?);
        }
    }
    // (All subjects have it too, with what follows it.)
    for whose in repeated(&agents, bench.times) {
        if named("agent") || named("load") {
            figures.extend(reading::full_load(bench.lines, whose).await?);
        }
    }
    if wanted("reading") || wanted("storing") {
        let corpus = Corpus::Generated { lines: bench.lines };
        figures.extend(in_each_format(&bench.seal_format, "generated", &corpus, true).await?);
    }
    if wanted("policies") {
        figures.extend(policies::measure().await?);
    }
    if wanted("export") {
        figures.extend(export::measure().await?);
    }
    if wanted("tasks") {
        figures.extend(tasks::measure().await?);
    }
    if wanted("groups") {
        figures.extend(groups::measure().await?);
    }
    if wanted("stream") {
        figures.extend(stream::latency().await?);
    }
    // Only where it is asked for: it takes most of a machine.
    if named("streams") {
        figures.extend(stream::many(bench.connections).await?);
    }
    // Only where it is asked for: it takes most of an hour.
    figures.extend(operator::measure(&bench.only).await?);
    if wanted("logs") {
        for (name, folders) in log_folders(bench) {
            let corpus = Corpus::found(&folders, bench.log_bytes_max)?;
            if corpus.lines() < 1_000 {
                note(&format!("{name}: only {} lines found, left out", corpus.lines()));
                continue;
            }
            figures.extend(in_each_format(&bench.seal_format, name, &corpus, false).await?);
        }
    }
    if !figures.is_empty() {
        print(&figures);
    }
    // Only where it is asked for: VictoriaLogs has to be built.
    let parts = match (named("floors"), named("profile")) {
        (true, _) => vec![floors::Part::Searches, floors::Part::Profile],
        (false, true) => vec![floors::Part::Profile],
        (false, false) => return Ok(()),
    };
    floors::measure(&floors::Asked {
        lines: bench.lines,
        formats: &bench.seal_format,
        logs: log_folders(bench).into_iter().flat_map(|(_, folders)| folders).collect(),
        log_bytes_max: bench.log_bytes_max,
        parts,
    })
    .await
}

/// One after the other, so that each pair sees the same machine.
fn repeated<'a>(agents: &[Whose<'a>], times: usize) -> Vec<Whose<'a>> {
    (0..times).flat_map(|_| agents.iter().copied()).collect()
}

/// None named: in the writer's own.
async fn in_each_format(formats: &[u8], name: &str, corpus: &Corpus, whole: bool) -> Result<Vec<Figure>> {
    if formats.is_empty() {
        return storing::measure(name, corpus, None, whole).await;
    }
    let mut figures = Vec::new();
    for &format in formats {
        note(&format!("{name}: sealed in format {format}"));
        let of_format = storing::measure(name, corpus, Some(format), whole).await?;
        figures.extend(
            of_format.into_iter().map(|f| Figure { what: format!("{} [format {format}]", f.what), ..f }),
        );
    }
    Ok(figures)
}

fn log_folders(bench: &Bench) -> Vec<(&'static str, Vec<std::path::PathBuf>)> {
    if !bench.logs.is_empty() {
        return vec![("given logs", bench.logs.clone())];
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), std::path::PathBuf::from);
    let cache = cordwood_tests::env::cache::root().map(|root| root.join("test-logs")).unwrap_or_default();
    vec![
        ("/var/log", vec!["/var/log".into()]),
        ("build logs", vec![target.join("release/build"), target.join("debug/build"), cache]),
    ]
}

#[allow(clippy::print_stdout)]
fn print(figures: &[Figure]) {
    let width = figures.iter().map(|f| f.what.len()).max().unwrap_or_default();
    let value = figures.iter().map(|f| f.value.len()).max().unwrap_or_default();
    println!();
    for f in figures {
        println!("{:width$}  {:>value$}  {}", f.what, f.value, f.how);
    }
}
