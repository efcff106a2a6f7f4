//! Measures the agent alone: at a steady 10,000 lines a second from 100 pods, with idle files, and under full load. Full load is compared with
//! the CPU that zstd alone needs for the same bytes, and with `--beside` every figure with another build's agent on the same machine. Prints
//! CPU, memory, and lines per CPU-second.

use super::corpus::{Corpus, Pod, line};
use super::process::{cpu, memory, mib, thousands};
use super::random::Random;
use super::{Figure, figure, note, zstd_alone};
use anyhow::{Context, Result};
use cordwood_tests::env::home::Home;
use cordwood_tests::http::metric;
use cordwood_tests::pipeline::{Pipeline, PipelineOptions};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const RATE: u64 = 10_000;
const PODS: usize = 100;
const SECONDS: u64 = 20;
/// How long each of the looks at plain files takes.
const PLAIN_SECONDS: usize = 20;

/// Whose agent is measured: this build's, or that of the programs in a folder.
#[derive(Clone, Copy)]
pub struct Whose<'a>(Option<&'a Path>);

impl<'a> Whose<'a> {
    pub fn this() -> Whose<'static> {
        Whose(None)
    }

    /// This build, and the other one behind it.
    pub fn both(other: Option<&'a PathBuf>) -> Vec<Whose<'a>> {
        let other = other.map(|folder| Whose(Some(folder)));
        [Whose(None)].into_iter().chain(other).collect()
    }

    fn options(self) -> PipelineOptions {
        PipelineOptions { older: self.0.map(Path::to_owned), ..options() }
    }

    fn agent(self) -> &'static str {
        if self.0.is_some() { "the other agent" } else { "agent" }
    }
}

pub fn options() -> PipelineOptions {
    PipelineOptions {
        agent: serde_json::json!({"tenants": {"from_namespace_name": true}}),
        writer: serde_json::json!({"seal": {"enabled": false}}),
        ..PipelineOptions::default()
    }
}

/// # Errors
/// A part that does not start.
pub async fn at_ten_thousand_a_second(whose: Whose<'_>) -> Result<Vec<Figure>> {
    let mut pipeline = Pipeline::prepare(whose.options()).await?;
    let mut pods = (0..PODS).map(|pod| Pod::create(&pipeline.pods(), pod)).collect::<Result<Vec<_>>>()?;
    pipeline.start_agent()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let agent = pipeline.agent.as_ref().context("the agent")?.id();
    let writing = tokio::task::spawn_blocking(move || -> Result<()> {
        let (mut random, mut body, began) = (Random::new(11), Vec::new(), Instant::now());
        for tick in 0..SECONDS * 100 {
            for n in 0..RATE / 100 {
                let pod = (n % PODS as u64) as usize;
                body.clear();
                line(tick * 100 + n, pod, &mut random, &mut body);
                pods[pod].write(jiff::Timestamp::now().as_microsecond(), &body)?;
            }
            pods.iter_mut().try_for_each(Pod::flush)?;
            std::thread::sleep(Duration::from_millis((tick + 1) * 10).saturating_sub(began.elapsed()));
        }
        Ok(())
    });
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (began, used) = (Instant::now(), cpu(agent)?);
    tokio::time::sleep(Duration::from_secs(SECONDS - 6)).await;
    let share = (cpu(agent)? - used).as_secs_f64() / began.elapsed().as_secs_f64();
    writing.await??;
    let shipped = metric(&pipeline.endpoints()[0], "cordwood_agent_records_shipped_total").await?;
    let (_, most) = memory(agent)?;
    let how = format!("{PODS} pods, {:.0} records acknowledged", shipped);
    Ok(vec![
        figure(format!("{}, CPU at 10k lines/s", whose.agent()), format!("{share:.4} core"), &how),
        figure(format!("{}, memory at 10k lines/s", whose.agent()), mib(most), how),
    ])
}

/// Plain files in one folder beside containers: nothing is written; then one of them is written to each second; then one more is made
/// each second.
///
/// # Errors
/// A part that does not start.
pub async fn idle_plain_files(files: usize, whose: Whose<'_>) -> Result<Vec<Figure>> {
    let home = Home::new("plain")?;
    let path = |number: usize| home.join(format!("request-{number:05}.log"));
    let append = |number: usize| -> Result<()> {
        let file = fs::OpenOptions::new().create(true).append(true).open(path(number));
        writeln!(file.context("open a plain file")?, "2026-11-21T02:24:00Z INFO request {number} handled")?;
        Ok(())
    };
    (0..files).try_for_each(append)?;
    let mut options = whose.options();
    options.agent["files"] = serde_json::json!([{"paths": [home.join("*.log")]}]);
    let mut pipeline = Pipeline::prepare(options).await?;
    for pod in 0..PODS {
        let mut pod = Pod::create(&pipeline.pods(), pod)?;
        pod.write(jiff::Timestamp::now().as_microsecond(), b"{\"msg\":\"started\"}")?;
        pod.flush()?;
    }
    pipeline.start_agent()?;
    let endpoint = pipeline.endpoints()[0].clone();
    let shipped =
        async || metric(&endpoint, "cordwood_agent_records_shipped_total").await.unwrap_or_default();
    let (began, all) = (Instant::now(), (files + PODS) as f64);
    while shipped().await < all {
        pipeline.check()?;
        anyhow::ensure!(began.elapsed() < Duration::from_secs(120), "the agent has not read all {all} files");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let first = began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let agent = pipeline.agent.as_ref().context("the agent")?.id();
    let mut figures = Vec::new();
    let what = format!("{}, {files} plain files, {PODS} pods", whose.agent());
    for (how_written, first_written) in
        [(", idle", None), (", one written to each second", Some(0)), (", one more each second", Some(files))]
    {
        let (began, used, read) = (Instant::now(), cpu(agent)?, shipped().await);
        for second in 0..PLAIN_SECONDS {
            first_written.map(|number| append(number + second)).transpose()?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let share = (cpu(agent)? - used).as_secs_f64() / began.elapsed().as_secs_f64();
        let how = match first_written {
            None => format!("{}; all read {first:.1} s after the start", mib(memory(agent)?.0)),
            Some(_) => format!("{:.0} of {PLAIN_SECONDS} lines read", shipped().await - read),
        };
        figures.push(figure(format!("{what}{how_written}"), format!("{:.3}% of a core", share * 100.0), how));
    }
    Ok(figures)
}

/// # Errors
/// A part that does not start.
pub async fn idle_files(files: usize, whose: Whose<'_>) -> Result<Vec<Figure>> {
    let mut pipeline = Pipeline::prepare(whose.options()).await?;
    for pod in 0..files {
        let mut pod = Pod::create(&pipeline.pods(), pod)?;
        pod.write(jiff::Timestamp::now().as_microsecond(), b"{\"msg\":\"started\"}")?;
        pod.flush()?;
    }
    pipeline.start_agent()?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let agent = pipeline.agent.as_ref().context("the agent")?.id();
    let (began, used) = (Instant::now(), cpu(agent)?);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let share = (cpu(agent)? - used).as_secs_f64() / began.elapsed().as_secs_f64();
    let (resident, _) = memory(agent)?;
    Ok(vec![figure(
        format!("{}, {files} idle files", whose.agent()),
        format!("{:.3}% of a core", share * 100.0),
        mib(resident),
    )])
}

/// Files that were written before, read as fast as it goes.
///
/// # Errors
/// A part that does not start.
pub async fn full_load(lines: u64, whose: Whose<'_>) -> Result<Vec<Figure>> {
    let mut pipeline = Pipeline::prepare(whose.options()).await?;
    note(&format!("writing {lines} lines"));
    let written =
        Corpus::Generated { lines }.write(&pipeline.pods(), jiff::Timestamp::now().as_microsecond())?;
    read_all(&mut pipeline, written.lines, written.bytes, whose).await
}

/// Starts the agent and waits until all lines are acknowledged; what that cost beside zstd alone.
///
/// # Errors
/// A part that does not start or stops by itself.
pub async fn read_all(
    pipeline: &mut Pipeline,
    lines: u64,
    bytes: u64,
    whose: Whose<'_>,
) -> Result<Vec<Figure>> {
    let (began, name) = (Instant::now(), whose.agent());
    let agent = ship(pipeline, lines).await?;
    let (took, used, (_, most)) = (began.elapsed(), cpu(agent)?, memory(agent)?);
    let how = format!(
        "{lines} lines of {:.0} bytes, acks=all, zstd; {:.1} s",
        bytes as f64 / lines as f64,
        took.as_secs_f64()
    );
    let alone = zstd_alone::cpu(&pipeline.pods())?;
    let times = format!("{:.2}x", used.as_secs_f64() / alone.as_secs_f64());
    Ok(vec![
        figure(format!("{name}, lines per CPU-second"), thousands(lines as f64 / used.as_secs_f64()), how),
        figure(format!("{name}, most memory under full load"), mib(most), ""),
        figure(
            format!("{name}, CPU against zstd alone"),
            times,
            format!("{:.2} s of CPU for the same files at its level 1", alone.as_secs_f64()),
        ),
    ])
}

/// Starts the agent and waits until so many lines are acknowledged; its process id.
///
/// # Errors
/// It does not start, stops by itself, or takes too long.
pub async fn ship(pipeline: &mut Pipeline, lines: u64) -> Result<u32> {
    pipeline.start_agent()?;
    let agent = pipeline.agent.as_ref().context("the agent")?.id();
    let (endpoint, began) = (pipeline.endpoints()[0].clone(), Instant::now());
    while metric(&endpoint, "cordwood_agent_records_shipped_total").await.unwrap_or_default() < lines as f64 {
        pipeline.check()?;
        anyhow::ensure!(began.elapsed() < Duration::from_secs(900), "the agent is not done after 15 minutes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(agent)
}
