//! Plain files of several nodes in one store, and the keys that they had before.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cordwood_core::identity::{FileId, OutputStream, StreamKey};

use crate::support::{Agent, Limits, Store, put_checkpoint, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);
const HEADER: &str = "time,level,message";

fn append(path: &Path, lines: &[String]) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
}

/// Two nodes with the same path and the same first line, the second behind the first: its lines were taken for those of the
/// first. (One process has one tree of folders: the path leads to one node's folder and then to the other's.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_have_a_file_of_one_path_and_one_first_line() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("logs");
    let inputs = format!("pods_dir: null, files: [{{paths: ['{}/*.csv']}}]", path.display());
    // The last two have one name: a node that was built again.
    let nodes = [("a", "a"), ("b", "b"), ("c", "b")];
    let store = Store::new(1);
    let mut written = Vec::new();
    for round in 0..3 {
        for (folder, name) in nodes {
            let _ = fs::remove_file(&path);
            fs::create_dir_all(root.path().join(folder)).unwrap();
            std::os::unix::fs::symlink(root.path().join(folder), &path).unwrap();
            let mut lines: Vec<String> = (0..100).map(|n| format!("{folder} {round} line {n}")).collect();
            if round == 0 {
                lines.insert(0, HEADER.to_owned());
            }
            append(&path.join("access.csv"), &lines);
            written.extend(lines.into_iter().map(|line| (0, line)));
            let state = root.path().join(format!("state-{folder}"));
            let agent = Agent::start_node(name, &state, store.clone(), &inputs, Limits::default());
            let all = written.len();
            let done = wait_until(PATIENCE, || store.count() == all).await;
            assert!(done, "{folder} in round {round}: {} of {all}", store.count());
            agent.stop().await;
        }
    }
    store.compare(&written, "nodes");
    assert_eq!(store.losses(), Vec::<String>::new());
    assert_eq!(store.streams().len(), nodes.len());
}

/// A checkpoint as the program before wrote it, for a file of which the store has more.
fn version_1(path: &Path, end: u64) -> Vec<u8> {
    let content = fs::read(path).unwrap();
    let (stat, at) = (fs::metadata(path).unwrap(), usize::try_from(end).unwrap());
    let marker = xxhash_rust::xxh3::xxh3_64(&content[at.saturating_sub(64)..at]);
    let body = format!(
        r#"{{"runs":[{{"key":"file:{path}","files":[{{"file":{id},"name":"app.log","dev":{dev},"ino":{ino},"position":{end},"marker":{marker},"ends":[{end},0],"size":{size},"done":false}}],"generations":[[{id},{id}]]}}]}}"#,
        path = path.display(),
        id = FileId::of_head(&content).unwrap().0,
        dev = stat.dev(),
        ino = stat.ino(),
        size = content.len(),
    );
    let crc = crc32fast::hash(body.as_bytes());
    format!("cordwood-checkpoint 1 {crc:08x} {}\n{body}", body.len()).into_bytes()
}

/// The program before was killed: what it had sent behind its checkpoint is not stored again, what follows has no hole
/// before it, however often the agent starts from an older checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_taken_over_from_the_key_that_all_nodes_shared() {
    let root = tempfile::tempdir().unwrap();
    let path: PathBuf = root.path().join("logs/app.log");
    fs::create_dir(root.path().join("logs")).unwrap();
    let lines: Vec<String> = (0..1_000).map(|n| format!("line {n}")).collect();
    let end = |count: usize| lines[..count].iter().map(|line| line.len() as u64 + 1).sum::<u64>();
    append(&path, &lines[..500]);
    let store = Store::new(1);
    let shared = StreamKey::of_file(None, path.to_str().unwrap(), OutputStream::Stdout);
    let id = FileId::of_head(lines[0].as_bytes().iter().chain(b"\n").copied().collect::<Vec<_>>().as_slice());
    store.put(shared.clone(), id.unwrap().0, end(400), &lines[..400]);
    fs::create_dir(root.path().join("state")).unwrap();
    let first = version_1(&path, end(300));
    put_checkpoint(root.path(), Some(&first), false);
    let mut checkpoints = Vec::new();
    for upto in [500, 600, 800, 1_000] {
        let agent = Agent::start_plain(root.path(), &store);
        if upto > 500 {
            append(&path, &lines[upto - 100..upto - 50]);
            assert!(wait_until(PATIENCE, || store.count() == upto - 50).await, "{} of {upto}", store.count());
            append(&path, &lines[upto - 50..upto]);
        }
        let done = wait_until(PATIENCE, || store.count() == upto).await;
        assert!(done, "{} of {upto}", store.count());
        // (It is written by a thread of its own; the version before's is no state of this life.)
        let is_ours = || agent.checkpoint().is_some_and(|now| now != first);
        assert!(wait_until(PATIENCE, is_ours).await, "no checkpoint of its own");
        checkpoints.extend(agent.checkpoint());
        agent.stop().await;
        if upto == 600 {
            append(&path, &lines[600..700]);
        }
        // As after kill -9: an earlier state of this life.
        if let Some(older) = checkpoints.get(checkpoints.len().saturating_sub(2)) {
            put_checkpoint(root.path(), Some(older), false);
        }
        if upto == 800 {
            append(&path, &lines[800..900]);
        }
    }
    let written: Vec<(usize, String)> = lines.iter().map(|line| (0, line.clone())).collect();
    store.compare(&written, "taken over");
    assert_eq!(store.losses(), Vec::<String>::new());
    assert_eq!(store.streams().len(), 2, "the old key and the new one: {:?}", store.streams());
}
