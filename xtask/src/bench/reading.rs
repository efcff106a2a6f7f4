//! The agent at a steady 10,000 lines a second over 100 pods, and with files in which nothing happens.

use super::corpus::{Pod, Random, line};
use super::process::{cpu, memory, mib};
use super::{Figure, figure};
use anyhow::{Context, Result};
use cordwood_tests::http::metric;
use cordwood_tests::pipeline::{Pipeline, PipelineOptions};
use std::time::{Duration, Instant};

const RATE: u64 = 10_000;
const PODS: usize = 100;
const SECONDS: u64 = 20;

pub fn options() -> PipelineOptions {
    PipelineOptions {
        agent: serde_json::json!({"tenants": {"from_namespace_name": true}}),
        writer: serde_json::json!({"seal": {"enabled": false}}),
        ..PipelineOptions::default()
    }
}

/// # Errors
/// A part that does not start.
pub async fn at_ten_thousand_a_second() -> Result<Vec<Figure>> {
    let mut pipeline = Pipeline::prepare(options()).await?;
    let mut pods = (0..PODS).map(|pod| Pod::create(&pipeline.pods(), pod)).collect::<Result<Vec<_>>>()?;
    pipeline.start_agent()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let agent = pipeline.agent.as_ref().context("the agent")?.id();
    let writing = tokio::task::spawn_blocking(move || -> Result<()> {
        let (mut random, mut body, began) = (Random(11), Vec::new(), Instant::now());
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
        figure("agent, CPU at 10k lines/s", format!("{share:.3} core"), &how),
        figure("agent, memory at 10k lines/s", mib(most), how),
    ])
}

/// # Errors
/// A part that does not start.
pub async fn idle_files(files: usize) -> Result<Vec<Figure>> {
    let mut pipeline = Pipeline::prepare(options()).await?;
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
        format!("agent, {files} idle files"),
        format!("{:.2}% of a core", share * 100.0),
        mib(resident),
    )])
}
