//! The real node: pods under a real kubelet, and everything gone afterwards.

use anyhow::Result;
use cordwood_tests::env::{Node, NodeOptions, image, wait_for};
use std::time::Duration;

/// A pod runs, the kubelet rotates its log, its container comes back after SIGKILL, and nothing is left at the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_runs_pods_and_cleans_up() -> Result<()> {
    let options = NodeOptions { log_size_max: "1Mi".to_owned(), log_files_max: 20, log_look_every_s: 3 };
    let node = Node::start_with(options).await?;
    node.kubectl(&[
        "run",
        "one",
        "--image",
        image::GENERATOR,
        "--image-pull-policy=Never",
        "--",
        "run",
        "--run",
        "r",
        "--stream",
        "one",
        "--lines",
        "100000",
        "--rate",
        "10000",
        "--stay",
    ])?;
    wait_for("the pod to run", Duration::from_secs(60), || async {
        let phase = node.kubectl(&["get", "pod", "one", "-o", "jsonpath={.status.phase}"])?;
        anyhow::ensure!(phase == "Running", "phase {phase}");
        Ok(())
    })
    .await?;
    wait_for("a rotated and gzipped log", Duration::from_secs(60), || async {
        let pods = std::fs::read_dir("/var/log/pods")?;
        let folder = pods.flatten().find(|pod| pod.file_name().to_string_lossy().starts_with("default_one_"));
        let folder = folder.ok_or_else(|| anyhow::anyhow!("no folder"))?.path().join("one");
        let gzipped = std::fs::read_dir(folder)?
            .flatten()
            .any(|file| file.file_name().to_string_lossy().ends_with(".gz"));
        anyhow::ensure!(gzipped, "none yet");
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
