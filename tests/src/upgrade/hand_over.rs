//! Programs of an older version hand over to those of this one, on real Kafka, in the middle of the stream.

#![allow(clippy::print_stdout, reason = "the report is what a person runs this for")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::identity::OutputStream;
use cordwood_generator::Format;
use serde_json::json;

use crate::env::wait_for;
use crate::generated::{Container, ContainerLog, Rotation};
use crate::pipeline::{Pipeline, PipelineOptions};
use crate::reconcile::{Ledger, reconcile};

/// An agent and a writer of an older version (in the folder `older`) are killed while lines are written, one after the other, and
/// those of this version go on: containers and a plain file, real Kafka.
pub async fn hand_over(older: PathBuf, agent_first: bool) -> Result<()> {
    let plain = tempfile::tempdir()?;
    let path = plain.path().join("app.log");
    let options = PipelineOptions {
        tenants: vec![("shop".to_owned(), "shop".to_owned())],
        agent: json!({"files": [{"paths": [path], "service": "plain", "tenant": "shop"}]}),
        older: Some(older),
        ..PipelineOptions::default()
    };
    let mut pipeline = Pipeline::prepare(options).await?;
    pipeline.start_agent()?;
    pipeline.start_writer()?;
    let pods = pipeline.pods();
    let enough = Arc::new(AtomicBool::new(false));
    let writing = tokio::task::spawn_blocking({
        let enough = Arc::clone(&enough);
        move || write(&enough, &pods, &path)
    });
    let before = wait_for("lines stored by the older version", Duration::from_secs(60), || async {
        let stored = pipeline.accounted().await?;
        ensure!(stored >= 5_000, "{stored}");
        Ok(stored)
    })
    .await?;
    for agent in [agent_first, !agent_first] {
        if agent {
            pipeline.upgrade_agent()?;
        } else {
            pipeline.upgrade_writer()?;
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    enough.store(true, Ordering::Relaxed);
    let (ledger, lines) = writing.await??;
    ensure!(before < ledger.lines(), "nothing was left for this version");
    pipeline.drained(ledger.lines() + lines, Duration::from_secs(120)).await?;
    let report = reconcile(&pipeline.postgres.url(), ledger).await?;
    println!("agent first: {agent_first}; {before} lines by the older version\n{report}");
    report.check()?;
    ensure!(report.others == lines, "{} of {lines} lines of the plain file", report.others);
    ensure!(report.duplicates_skipped > 0, "nothing came twice: the kills did not hit");
    ensure!((report.losses, report.dead_letters) == (0, 0));
    Ok(())
}

/// Eight containers and a plain file, until it is enough; the ledger of the containers, and the lines of the plain file.
fn write(enough: &AtomicBool, pods: &Path, plain: &Path) -> Result<(Ledger, u64)> {
    let container = |number: usize| Container {
        namespace: "shop".to_owned(),
        pod: format!("app-{number}"),
        uid: format!("00000000-0000-4000-8000-{number:012}"),
        container: "app".to_owned(),
        tenant: "shop".to_owned(),
    };
    let rotation = Rotation { bytes: 2 << 20, files_max: 100 };
    let mut ledger = Ledger { run: "upgrade".to_owned(), others_allowed: true, ..Ledger::default() };
    let create =
        |number| ContainerLog::create(pods, "upgrade", &container(number), 0, Format::Json, rotation);
    let mut logs = (0..8).map(create).collect::<Result<Vec<_>>>()?;
    let mut file = std::fs::File::create(plain)?;
    let mut lines = 0;
    while !enough.load(Ordering::Relaxed) {
        for log in &mut logs {
            for line in 0..10 {
                log.write(if line == 0 { OutputStream::Stderr } else { OutputStream::Stdout })?;
            }
            log.flush()?;
        }
        let text: String = (0..10).map(|line| format!("INFO order {} was paid\n", lines + line)).collect();
        file.write_all(text.as_bytes())?;
        lines += 10;
        std::thread::sleep(Duration::from_millis(10));
    }
    for log in logs {
        log.close(&mut ledger)?;
    }
    Ok((ledger, lines))
}
