//! The pipeline as processes, held against the ledger of what was written: while everything runs, and while everything is
//! killed.

#![allow(clippy::print_stdout, reason = "the report is what a person runs this test for")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cordwood_core::identity::OutputStream;
use cordwood_generator::Format;
use cordwood_tests::generated::{Container, ContainerLog, Rotation};
use cordwood_tests::pipeline::{Pipeline, PipelineOptions, check_checkpoint};
use cordwood_tests::reconcile::{Ledger, reconcile};

fn tenants() -> Vec<(String, String)> {
    [("shop-eu", "shop"), ("shop-us", "shop"), ("bank", "bank"), ("games", "games")]
        .map(|(namespace, tenant)| (namespace.to_owned(), tenant.to_owned()))
        .to_vec()
}

/// Pods over four namespaces with a tenant and one without.
fn container(number: usize) -> Container {
    let namespaces = ["shop-eu", "bank", "games", "shop-us", "nobody"];
    let namespace = namespaces[number % namespaces.len()];
    let tenant = tenants()
        .into_iter()
        .find(|(of, _)| of == namespace)
        .map_or("unassigned".to_owned(), |(_, tenant)| tenant);
    Container {
        namespace: namespace.to_owned(),
        pod: format!("app-{number}"),
        uid: format!("00000000-0000-4000-8000-{number:012}"),
        container: "app".to_owned(),
        tenant,
    }
}

/// One pod, no faults: the thinnest way through.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_lines() -> Result<()> {
    let mut pipeline =
        Pipeline::prepare(PipelineOptions { tenants: tenants(), ..PipelineOptions::default() }).await?;
    pipeline.start_agent()?;
    pipeline.start_writer()?;
    let mut ledger = Ledger { run: "thin".to_owned(), ..Ledger::default() };
    let rotation = Rotation { bytes: 1 << 20, files_max: 100 };
    let mut log = ContainerLog::create(&pipeline.pods(), "thin", &container(0), 0, Format::Json, rotation)?;
    for line in 0..10_000 {
        log.write(if line % 10 == 0 { OutputStream::Stderr } else { OutputStream::Stdout })?;
    }
    log.close(&mut ledger)?;
    pipeline.drained(ledger.lines(), Duration::from_secs(60)).await?;
    let report = reconcile(&pipeline.postgres.url(), ledger).await?;
    println!("{report}");
    report.check()?;
    assert_eq!(report.losses, 0);
    Ok(())
}

const LINES: u64 = 2_000_000;
const PODS: usize = 24;

/// Two million lines from 24 pods, each file rotated, gzipped, a third of the containers restarted, while agent and writer
/// are killed and Kafka and PostgreSQL restarted.
#[tokio::test(flavor = "multi_thread")]
async fn two_million_lines_while_everything_is_killed() -> Result<()> {
    let began = Instant::now();
    let options = PipelineOptions {
        tenants: tenants(),
        writer: serde_json::json!({"seal": {"interval_seconds": 10}}),
        ..PipelineOptions::default()
    };
    let mut pipeline = Pipeline::prepare(options).await?;
    pipeline.start_agent()?;
    pipeline.start_writer()?;
    let written = Generators::start(&pipeline, "kill", 45_000)?;

    // The faults, in an order and rhythm of their own; each only once the one before is over.
    let (mut agents, mut writers, mut kafkas, mut postgres) = (0, 0, 0, 0);
    for step in ["agent", "writer", "agent", "kafka", "writer", "agent", "postgres", "agent", "writer"] {
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        anyhow::ensure!(!written.ended(), "a generator ended before fault {step}");
        match step {
            "agent" => {
                pipeline.kill_agent()?;
                agents += 1;
            }
            "writer" => {
                pipeline.kill_writer()?;
                writers += 1;
            }
            "kafka" => {
                pipeline.kafka.kill();
                tokio::time::sleep(Duration::from_secs(1)).await;
                pipeline.kafka.restart().await?;
                kafkas += 1;
            }
            _ => {
                pipeline.postgres.kill();
                tokio::time::sleep(Duration::from_secs(1)).await;
                pipeline.postgres.restart().await?;
                postgres += 1;
            }
        }
    }
    let (ledger, rotations) = written.finish()?;
    let lines = ledger.lines();
    println!("{lines} lines written after {:.0} s, {rotations} rotations", began.elapsed().as_secs_f64());
    pipeline.drained(lines, Duration::from_secs(120)).await?;
    println!("drained after {:.0} s", began.elapsed().as_secs_f64());
    let checked = check_checkpoint(&pipeline.checkpoint(), &pipeline.postgres.client().await?).await?;
    let report = reconcile(&pipeline.postgres.url(), ledger).await?;
    println!(
        "{report}\n{agents} agents, {writers} writers, {kafkas} Kafka, {postgres} PostgreSQL killed; {checked} checkpointed ends checked; {:.0} s",
        began.elapsed().as_secs_f64()
    );
    report.check()?;
    // The faults happened.
    assert!(lines >= LINES, "{lines} lines");
    assert!(rotations as usize > 5 * PODS, "{rotations} rotations");
    assert!(report.duplicates_skipped > 0, "nothing came twice: the kills did not hit");
    // Of a file that went while its agent was away the agent tells that nobody knows: a loss of 0 bytes.
    assert_eq!((report.lost_bytes, report.dead_letters), (0, 0));
    assert!(checked > 0);
    Ok(())
}

/// Threads that write all pods' files at a given rate: at least [`LINES`], and until they are told that it is enough, so
/// that every fault meets a pipeline under load however slow the machine is.
struct Generators {
    threads: Vec<std::thread::JoinHandle<Result<u64>>>,
    ledger: Arc<Mutex<Ledger>>,
    enough: Arc<AtomicBool>,
}

impl Generators {
    fn start(pipeline: &Pipeline, run: &str, lines_per_s: u64) -> Result<Generators> {
        let ledger = Arc::new(Mutex::new(Ledger { run: run.to_owned(), ..Ledger::default() }));
        let enough = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for thread in 0..2 {
            let (ledger, enough) = (Arc::clone(&ledger), Arc::clone(&enough));
            let (root, run) = (pipeline.pods(), run.to_owned());
            let containers: Vec<usize> = (0..PODS).filter(|number| number % 2 == thread).collect();
            threads.push(std::thread::spawn(move || {
                write_pods(&root, &run, &containers, lines_per_s / 2, LINES / 2, &ledger, &enough)
            }));
        }
        Ok(Generators { threads, ledger, enough })
    }

    fn ended(&self) -> bool {
        self.threads.iter().any(std::thread::JoinHandle::is_finished)
    }

    fn finish(mut self) -> Result<(Ledger, u64)> {
        self.enough.store(true, Ordering::Relaxed);
        let mut rotations = 0;
        for thread in self.threads.drain(..) {
            rotations += thread.join().map_err(|_| anyhow::anyhow!("a generator panicked"))??;
        }
        let ledger = self.ledger.lock().map_err(|_| anyhow::anyhow!("a generator panicked"))?.clone();
        Ok((ledger, rotations))
    }
}

impl Drop for Generators {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
    }
}

fn write_pods(
    root: &std::path::Path,
    run: &str,
    containers: &[usize],
    lines_per_s: u64,
    lines: u64,
    ledger: &Mutex<Ledger>,
    enough: &AtomicBool,
) -> Result<u64> {
    let rotation = Rotation { bytes: 2 << 20, files_max: 60 };
    let create = |number: usize, restart: u32| {
        let format = if number.is_multiple_of(3) { Format::Text } else { Format::Json };
        ContainerLog::create(root, run, &container(number), restart, format, rotation)
    };
    let mut logs = containers.iter().map(|number| create(*number, 0)).collect::<Result<Vec<_>>>()?;
    let (began, mut written, mut rotations) = (Instant::now(), 0, 0);
    while written < lines || !enough.load(Ordering::Relaxed) {
        let due = began.elapsed().as_millis() as u64 * lines_per_s / 1_000;
        while written < due {
            let log = &mut logs[(written / 50) as usize % containers.len()];
            for _ in 0..50 {
                written += 1;
                log.write(if written % 10 == 0 { OutputStream::Stderr } else { OutputStream::Stdout })?;
            }
        }
        for log in &mut logs {
            log.flush()?;
        }
        // In the middle every third container starts again.
        if written >= lines / 2 && logs.iter().all(|log| log.restart_count() == 0) {
            for (index, number) in containers.iter().enumerate().filter(|(index, _)| index % 3 == 0) {
                let ended = std::mem::replace(&mut logs[index], create(*number, 1)?);
                rotations += ended.rotations();
                ended.close(&mut *ledger.lock().map_err(|_| anyhow::anyhow!("a panic"))?)?;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for log in logs {
        rotations += log.rotations();
        anyhow::ensure!(log.removed() == 0, "files were removed unread: raise files_max");
        log.close(&mut *ledger.lock().map_err(|_| anyhow::anyhow!("a panic"))?).context("close a log")?;
    }
    Ok(rotations)
}
