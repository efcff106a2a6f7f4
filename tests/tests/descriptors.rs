//! A node with more container logs than the agent may open files: a real agent under a real limit, on a real Kafka.

#![allow(clippy::print_stdout, reason = "what a person runs this test for")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::Kafka;
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::shipped::{self, Shipped, TOPIC, log_of};
use serde_json::json;

const PODS: usize = 200;
const DESCRIPTORS: usize = 64;
const ROUNDS: usize = 3;

struct Pod {
    number: usize,
    pods: PathBuf,
    file: File,
    written: usize,
    rotations: usize,
}

impl Pod {
    fn write(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let (number, line) = (self.number, self.written);
            writeln!(self.file, "2026-11-21T02:24:00.000000001Z stdout F {number} {line}")?;
            self.written += 1;
        }
        Ok(())
    }

    /// As the kubelet does it.
    fn rotate(&mut self) -> Result<()> {
        let pod = format!("web-{}", self.number);
        let folder = self.pods.join(format!("shop_{pod}_{pod}-uid/app"));
        self.rotations += 1;
        let older = folder.join(format!("0.log.20261121-{:06}", self.rotations));
        fs::rename(folder.join("0.log"), older).context("rotate a log")?;
        self.file = log_of(&self.pods, &pod)?;
        Ok(())
    }
}

/// Those that were opened first held their files for ever; the others were never read, and nothing said so.
#[tokio::test(flavor = "multi_thread")]
async fn with_64_descriptors_200_containers_lose_nothing() -> Result<()> {
    let home = Home::new("descriptors")?;
    let kafka = Kafka::start().await?;
    kafka.create_topic(TOPIC, 1).await?;
    let pods = home.join("pods");
    let pod = |number: usize| -> Result<Pod> {
        let file = log_of(&pods, &format!("web-{number}"))?;
        Ok(Pod { number, pods: pods.clone(), file, written: 0, rotations: 0 })
    };
    let mut all = (0..PODS).map(pod).collect::<Result<Vec<_>>>()?;
    let port = Port::free()?;
    let broker = json!({"brokers": kafka.brokers(), "topic": TOPIC, "partitions": 1, "replication": 1});
    let program = shipped::agent(&home, &port, &broker, &json!({}))?;
    let limited = format!("ulimit -n {DESCRIPTORS} && exec \"$@\"");
    let mut agent = program.wrapped("sh", ["-c", &limited, "agent"]).start()?;
    let reading = tokio::task::spawn_blocking(move || -> Result<usize> {
        let mut shipped = Shipped::begin(&kafka)?;
        let mut arrived: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let (began, mut most_open) = (Instant::now(), 0);
        for round in 0..ROUNDS {
            for pod in &mut all {
                pod.write(1 + (pod.number + round) % 5)?;
                // Some go on in a new file before anybody can have read the one before.
                if pod.number % 10 == round {
                    pod.rotate()?;
                    pod.write(2)?;
                }
            }
            let written: usize = all.iter().map(|pod| pod.written).sum();
            while arrived.values().map(Vec::len).sum::<usize>() < written {
                agent.check()?;
                ensure!(
                    began.elapsed() < Duration::from_secs(90),
                    "round {round}: lines of {} of {PODS} containers came, {} of {written} lines\n{}",
                    arrived.len(),
                    arrived.values().map(Vec::len).sum::<usize>(),
                    agent.log_tail(5)
                );
                for body in shipped.next_bodies()? {
                    let text = std::str::from_utf8(&body)?;
                    let (number, line) = text.split_once(' ').with_context(|| text.to_owned())?;
                    arrived.entry(number.parse()?).or_default().push(line.parse()?);
                }
                let open = fs::read_dir(format!("/proc/{}/fd", agent.id())).map_or(0, Iterator::count);
                most_open = most_open.max(open);
            }
        }
        for pod in &all {
            ensure!(
                arrived[&pod.number].iter().copied().eq(0..pod.written),
                "{}: {:?}",
                pod.number,
                arrived[&pod.number]
            );
        }
        println!(
            "all lines of {PODS} containers; at most {most_open} descriptors of {DESCRIPTORS}; {:?}",
            began.elapsed()
        );
        agent.kill();
        Ok(most_open)
    });
    let most_open = reading.await.context("read the topic")??;
    ensure!(most_open <= DESCRIPTORS);
    Ok(())
}
