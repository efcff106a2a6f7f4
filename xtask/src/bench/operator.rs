//! Measures the operator at scale, in three parts. `scale`: 500 policies with 10,000 table partitions. `agents`: how long a change of level
//! rules takes to reach 1,000 agents. `ddl`: commits and queries while table partitions come and go, against the same with nothing beside
//! them. Prints times, tables, memory and percentiles.

use std::time::Duration;

use anyhow::Result;
use cordwood_tests::beside_ddl::{self, Beside};
use cordwood_tests::{many_agents, scale};

use super::{Figure, figure};

const POLICIES: usize = 500;
const PARTITIONS: usize = 10_000;
const LOCKS: u32 = 256;
const RUNS: usize = 5;
/// Partitions that come and go in a run.
const COMING_AND_GOING: u32 = 200;
const READER: Duration = Duration::from_secs(60);
const AGENTS: usize = 1_000;
const CHANGES: usize = 20;

/// # Errors
/// A part that does not start, a step that fails.
pub async fn measure(only: &[String]) -> Result<Vec<Figure>> {
    let wanted = |name: &str| only.iter().any(|only| only == "operator" || only == name);
    let mut figures = Vec::new();
    if wanted("scale") {
        figures.extend(at_scale().await?);
    }
    if wanted("agents") {
        figures.extend(agents().await?);
    }
    if wanted("ddl") {
        figures.extend(beside().await?);
    }
    Ok(figures)
}

async fn at_scale() -> Result<Vec<Figure>> {
    let outcome = scale::measure(15, POLICIES, PARTITIONS, LOCKS).await?;
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let name = |what: &str| format!("{POLICIES} policies, {} partitions: {what}", outcome.created.0);
    let how = || format!("PostgreSQL 15, max_locks_per_transaction = {LOCKS}");
    let rate = outcome.created.0 as f64 / outcome.created.1.as_secs_f64();
    Ok(vec![
        figure(name("tables"), outcome.tables.to_string(), how()),
        figure(name("made"), format!("{}, {rate:.0} a second", seconds(outcome.created.1)), how()),
        figure(name("one pass with nothing to do"), seconds(outcome.pass), how()),
        figure(
            name("memory after it"),
            format!("{} MiB", outcome.pass_mib),
            "resident, of this whole process",
        ),
        figure(
            name("search newest first to the end"),
            seconds(outcome.search),
            "for a word that nobody wrote",
        ),
        figure(
            name("planning each of its statements"),
            format!("mean {:.1} ms, longest {:.1} ms", outcome.planning.mean_ms, outcome.planning.longest_ms),
            format!("{} statements that list blocks, by pg_stat_statements", outcome.planning.statements),
        ),
        figure(
            name("planning one statement over the parent table"),
            format!("{:.0} ms", outcome.parent_planning_ms),
            "all classes, 40 days; no search asks it",
        ),
    ])
}

async fn agents() -> Result<Vec<Figure>> {
    raise_descriptors(8 * AGENTS as u64)?;
    let took = many_agents::measure(AGENTS, CHANGES).await?;
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    Ok(vec![figure(
        format!("a change of level rules to {AGENTS} agents, p50 / p99 / max"),
        format!("{:.0} / {:.0} / {:.0} ms", at(0.5), at(0.99), at(1.0)),
        format!("{CHANGES} LogLevelConfigs, from create to each agent's watch"),
    )])
}

fn raise_descriptors(wanted: u64) -> Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let current = Some(limit.maximum.unwrap_or(wanted).min(wanted));
    let raised = rustix::process::Rlimit { current, ..limit };
    Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?)
}

async fn beside() -> Result<Vec<Figure>> {
    let kinds = [
        ("nothing", Beside::Nothing),
        ("200 partitions come and go", Beside::Partitions(COMING_AND_GOING)),
        ("the same, with a reader of a minute", Beside::PartitionsAndReader(COMING_AND_GOING, READER)),
    ];
    let mut figures = Vec::new();
    for run in 1..=RUNS {
        for (name, beside) in kinds {
            let outcome = beside_ddl::measure(15, beside, READER).await?;
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            figures.push(figure(
                format!("run {run}, beside them {name}: p99.9 of commits / queries"),
                format!("{:.1} / {:.1} ms", ms(outcome.commits.p999), ms(outcome.queries.p999)),
                format!(
                    "{} commits, {} queries, {} partitions",
                    outcome.commits.count, outcome.queries.count, outcome.partitions
                ),
            ));
        }
    }
    Ok(figures)
}
