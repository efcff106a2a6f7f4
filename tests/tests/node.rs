//! The real node: pods under a real kubelet. First the node by itself, then Cordwood on it, killed again and again, held
//! against the generators' ledger.

#![allow(clippy::print_stdout, reason = "the report is what a person runs this test for")]

#[path = "node/gateway.rs"]
mod gateway;
#[path = "node/resources.rs"]
mod resources;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cordwood_tests::env::{Node, NodeOptions, image, wait_for};
use cordwood_tests::pipeline::check_checkpoint;
use cordwood_tests::reconcile::{Ledger, Written, ledger, reconcile};
use cordwood_tests::release::{Part, Release};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;

/// A pod runs, the kubelet rotates its log, its container comes back after SIGKILL, and nothing is left at the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_runs_pods_and_cleans_up() -> Result<()> {
    let options = NodeOptions { log_size_max: "1Mi".to_owned(), log_files_max: 20, log_look_every_s: 3 };
    let node = Node::start_with(options).await?;
    let run = "run one --image-pull-policy=Never";
    let generate = "run --run r --stream one --lines 100000 --rate 10000 --stay";
    let mut arguments: Vec<&str> = run.split(' ').collect();
    arguments.extend(["--image", image::GENERATOR, "--"]);
    arguments.extend(generate.split(' '));
    node.kubectl(&arguments)?;
    wait_for("a rotated and gzipped log", Duration::from_secs(60), || async {
        let folder = log_folder("default", "one")?;
        anyhow::ensure!(log_files(&folder)?.iter().any(|name| name.ends_with(".gz")), "none yet");
        Ok(())
    })
    .await?;
    node.kill_container("default", "one", "one").await?;
    wait_for("the container's restart", Duration::from_secs(60), || async {
        let path = "jsonpath={.status.containerStatuses[0].restartCount}";
        let count = node.kubectl(&["get", "pod", "one", "-o", path])?;
        anyhow::ensure!(count == "1", "restarts {count}");
        Ok(())
    })
    .await?;
    node.stop()
}

/// `/var/log/pods/<namespace>_<pod>_<uid>/<container>`, the container being the pod's only one.
fn log_folder(namespace: &str, pod: &str) -> Result<std::path::PathBuf> {
    let begins = format!("{namespace}_{pod}_");
    let pods = std::fs::read_dir("/var/log/pods").context("read /var/log/pods")?;
    let found = pods.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with(&begins));
    let folder = found.with_context(|| format!("no folder {begins}*"))?.path();
    let mut containers = std::fs::read_dir(&folder).context("read the pod's folder")?.flatten();
    Ok(containers.next().context("no container's folder")?.path())
}

fn log_files(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

const RUN: &str = "node";
const PODS_PER_NAMESPACE: usize = 5;
const LINES_PER_POD: u64 = 51_000;
/// About a MiB in eight seconds, of which the kubelet rotates each.
const LINES_PER_POD_PER_S: u64 = 500;
/// (namespace, what its label says).
const NAMESPACES: [(&str, Option<&str>); 4] = [
    ("shop", Some("shop-tenant")),
    ("bank", Some("bank-tenant")),
    ("games", Some("games-tenant")),
    ("nobody", None),
];
const KILLS_PER_PART: i32 = 3;

/// The whole promise on a real node.
#[tokio::test(flavor = "multi_thread")]
async fn a_million_lines_of_twenty_pods_while_everything_is_killed() -> Result<()> {
    let began = Instant::now();
    let options = NodeOptions { log_size_max: "1Mi".to_owned(), log_files_max: 90, log_look_every_s: 3 };
    let values = json!({"writer": {"config": {"seal": {"interval_seconds": 15}}}});
    let mut release = Release::install(options, values).await?;
    println!("release ready after {:.0} s", began.elapsed().as_secs_f64());
    let folder = release.folder("ledger")?;
    start_generators(&release.node, &folder).await?;

    wait_for("all generators to write", Duration::from_secs(180), || async {
        let (lines, _) = noted(&folder)?;
        anyhow::ensure!(lines > 50_000, "{lines} lines");
        Ok(())
    })
    .await?;
    // One fault after the other while the generators write; they write until the last is over.
    let mut broken = BTreeMap::<&str, i32>::new();
    for step in [
        "agent", "writer", "operator", "kafka", "agent", "writer", "operator", "postgres", "agent", "writer",
        "operator",
    ] {
        let (lines, done) = noted(&folder)?;
        anyhow::ensure!(!done, "the generators were done before fault {step}: nothing was killed under load");
        println!("{:.0} s: {lines} lines written, now {step}", began.elapsed().as_secs_f64());
        match step {
            "agent" => release.kill(Part::Agent).await?,
            "writer" => release.kill(Part::Writer).await?,
            "operator" => release.kill(Part::Operator).await?,
            "kafka" => {
                release.kafka.kill();
                release.kafka.restart().await?;
            }
            _ => {
                release.postgres.kill();
                release.postgres.restart().await?;
            }
        }
        *broken.entry(step).or_default() += 1;
    }
    std::fs::write(folder.join("enough"), "").context("tell the generators that it is enough")?;

    wait_for("the generators to be done", Duration::from_secs(300), || async {
        let (lines, done) = noted(&folder)?;
        anyhow::ensure!(done, "{lines} lines written");
        Ok(())
    })
    .await?;
    let (ledger, pods) = read_ledger(&release.node, &folder).await?;
    let lines = ledger.lines();
    println!("{:.0} s: all {lines} lines written", began.elapsed().as_secs_f64());
    let client = release.postgres.client_of("cordwood").await?;
    let of_pods: Vec<String> = pods.values().map(|uid| format!("{uid}/%")).collect();
    let drained = wait_for("all lines to be stored", Duration::from_secs(180), || async {
        let statement = "select coalesce(sum(lines), 0)::bigint from watermarks where stream like any ($1)";
        let seen: i64 = client.query_one(statement, &[&of_pods]).await.context("read watermarks")?.get(0);
        anyhow::ensure!(seen.cast_unsigned() >= lines, "{seen} of {lines}");
        Ok(())
    })
    .await;
    if let Err(error) = drained {
        anyhow::bail!("{error:#}\n{}", release.story());
    }
    println!("{:.0} s: all stored", began.elapsed().as_secs_f64());

    let mut rotations = Vec::new();
    for (namespace, pod) in pods.keys() {
        let files = log_files(&log_folder(namespace, pod)?)?;
        rotations.push(files.iter().filter(|name| name.starts_with("0.log.")).count());
    }
    let mut restarts = Vec::new();
    for part in [Part::Agent, Part::Writer, Part::Operator] {
        restarts.push((part.name(), release.restarts(part).await?));
    }
    let report = reconcile(&release.database_url(), ledger).await?;
    let checked = check_checkpoint(&release.agent_state().join("checkpoint"), &client).await;
    println!(
        "{report}\nfiles rotated {} times (each log {} to {}), restarts seen {restarts:?}, faults {broken:?}, {checked:?} \
         checkpointed ends; {:.0} s",
        rotations.iter().sum::<usize>(),
        rotations.iter().min().unwrap_or(&0),
        rotations.iter().max().unwrap_or(&0),
        began.elapsed().as_secs_f64()
    );
    if !report.holds() {
        println!("{}", release.story());
    }
    report.check()?;
    checked?;
    // The faults happened.
    assert!(lines >= 1_000_000, "{lines} lines");
    assert_eq!(rotations.len(), NAMESPACES.len() * PODS_PER_NAMESPACE);
    assert!(rotations.iter().all(|count| *count >= 5), "rotations {rotations:?}");
    assert!(restarts.iter().all(|(_, count)| *count >= KILLS_PER_PART), "restarts {restarts:?}");
    assert!(report.duplicates_skipped > 0, "nothing came twice: the kills did not hit");
    // Of a file that went while its agent was away the agent tells that nobody knows: a loss of 0 bytes.
    assert_eq!((report.lost_bytes, report.dead_letters), (0, 0));
    release.node.stop()
}

/// 20 pods, five in each namespace, each writing its lines and then staying.
async fn start_generators(node: &Node, ledger: &Path) -> Result<()> {
    let client = node.client().await?;
    for (namespace, tenant) in NAMESPACES {
        node.kubectl(&["create", "namespace", namespace])?;
        if let Some(tenant) = tenant {
            node.kubectl(&["label", "namespace", namespace, &format!("cordwood.dev/tenant={tenant}")])?;
        }
    }
    for (namespace, _) in NAMESPACES {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        for number in 0..PODS_PER_NAMESPACE {
            let name = format!("{namespace}-{number}");
            let format = if number % 2 == 0 { "json" } else { "text" };
            let lines = LINES_PER_POD.to_string();
            let rate = LINES_PER_POD_PER_S.to_string();
            let arguments = [
                "run",
                "--run",
                RUN,
                "--stream",
                &name,
                "--lines",
                &lines,
                "--rate",
                &rate,
                "--format",
                format,
                "--ledger",
                "/ledger",
                "--until",
                "/ledger/enough",
                "--stay",
            ];
            let pod: Pod = serde_json::from_value(json!({
                // A label that claims a tenant must not matter.
                "metadata": {"name": name, "labels": {"app": namespace, "cordwood.dev/tenant": "bank-tenant"}},
                "spec": {
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "app", "image": image::GENERATOR, "imagePullPolicy": "Never", "args": arguments,
                        "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}},
                        "volumeMounts": [{"name": "ledger", "mountPath": "/ledger"}]
                    }],
                    "volumes": [{"name": "ledger", "hostPath": {"path": ledger, "type": "Directory"}}]
                }
            }))?;
            // The namespace's service account is made a moment after the namespace.
            wait_for("the pod to be admitted", Duration::from_secs(30), || async {
                pods.create(&PostParams::default(), &pod).await.with_context(|| format!("create pod {name}"))
            })
            .await?;
        }
    }
    Ok(())
}

/// Lines noted so far, and whether all generators are done.
fn noted(folder: &Path) -> Result<(u64, bool)> {
    let notes = ledger::notes(folder, RUN)?;
    let lines = notes.values().map(|(lines, _)| lines).sum();
    let done = notes.values().filter(|(_, done)| *done).count();
    Ok((lines, done == 2 * NAMESPACES.len() * PODS_PER_NAMESPACE))
}

/// The ledger, and each pod's (namespace, name) and UID.
async fn read_ledger(node: &Node, folder: &Path) -> Result<(Ledger, BTreeMap<(String, String), String>)> {
    let mut pods = BTreeMap::new();
    for (namespace, _) in NAMESPACES {
        let api: Api<Pod> = Api::namespaced(node.client().await?, namespace);
        for pod in api.list(&ListParams::default()).await.context("list pods")? {
            let uid = pod.metadata.uid.context("a pod without UID")?;
            pods.insert((namespace.to_owned(), pod.metadata.name.context("a pod without name")?), uid);
        }
    }
    let mut ledger = Ledger { run: RUN.to_owned(), others_allowed: true, ..Ledger::default() };
    for (stream, (lines, complete)) in ledger::notes(folder, RUN)? {
        let (pod, io) = stream.rsplit_once('.').context("a stream without output")?;
        let (namespace, tenant) = NAMESPACES
            .into_iter()
            .find(|(namespace, _)| pod.rsplit_once('-').is_some_and(|(of, _)| of == *namespace))
            .with_context(|| format!("the namespace of {pod}"))?;
        let uid = pods.get(&(namespace.to_owned(), pod.to_owned())).with_context(|| format!("pod {pod}"))?;
        let output = if io == "err" { "stderr" } else { "stdout" };
        let written = Written {
            lines,
            complete,
            tenant: tenant.unwrap_or("unassigned").to_owned(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            stderr: io == "err",
            stream_key: Some(format!("{uid}/app/0/{output}")),
        };
        ledger.streams.insert(stream, written);
    }
    Ok((ledger, pods))
}
