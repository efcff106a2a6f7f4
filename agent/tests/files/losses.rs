//! Every way in which bytes can vanish unread ends in a loss record.

use std::fs;
use std::time::{Duration, SystemTime};

use cordwood_core::checkpoint::{Checkpoint, FileCheckpoint, LogCheckpoint};
use cordwood_core::identity::FileId;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::support::{Agent, Container, Limits, Store, put_checkpoint, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);
const POD: &str = "shop_web-1_0b8e";

/// A job's pod wrote on, ended and was deleted while the agent was away: nobody was told, because all that had been seen of
/// its file had been read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_not_at_its_end_and_is_gone_is_a_loss() {
    for folder_stays in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(1);
        let mut random = StdRng::seed_from_u64(11);
        let mut container = Container::new(folder.path(), POD, "app", 0);
        let agent = Agent::start(folder.path(), &store);
        container.write_lines(50, &mut random);
        container.end_records();
        let all = container.written.len();
        assert!(wait_until(PATIENCE, || store.count() == all).await);
        agent.stop().await;
        container.write_lines(20, &mut random);
        if folder_stays {
            container.remove_live()
        } else {
            container.remove_pod()
        }
        for _ in 0..2 {
            let agent = Agent::start(folder.path(), &store);
            assert!(wait_until(PATIENCE, || store.losses().len() == 1).await, "{:?}", store.losses());
            assert!(wait_until(PATIENCE, || agent.files() == 0).await);
            agent.stop().await;
        }
        assert_eq!(store.losses().len(), 1, "told once");
        assert!(store.losses()[0].contains("\"exact\":false"), "{:?}", store.losses());
    }
}

/// A file that was read to its end, with a successor, may go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_at_its_end_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut random = StdRng::seed_from_u64(12);
    let mut container = Container::new(folder.path(), POD, "app", 0);
    let agent = Agent::start(folder.path(), &store);
    container.write_lines(50, &mut random);
    container.end_records();
    container.rotate();
    container.write_lines(50, &mut random);
    container.end_records();
    assert!(wait_until(PATIENCE, || store.count() == container.written.len()).await);
    assert!(wait_until(PATIENCE, || agent.files() == 1).await);
    agent.stop().await;
    container.remove_rotated();
    let agent = Agent::start(folder.path(), &store);
    container.write_lines(50, &mut random);
    container.end_records();
    assert!(wait_until(PATIENCE, || store.count() == container.written.len()).await);
    agent.stop().await;
    assert_eq!(store.losses(), Vec::<String>::new());
}

/// The kubelet keeps the log of one dead run of a container, and removes the one before it when the next dies: also while the
/// agent is away. What had been read to its end, of a run that could write no more, was told as what may be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_the_container_came_back_from_is_no_loss_once_it_is_read() {
    for (grows, wrote_on_while_away) in [(false, false), (true, false), (false, true)] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(1);
        let mut random = StdRng::seed_from_u64(14);
        let mut first = Container::new(folder.path(), POD, "app", 0);
        let agent = Agent::start(folder.path(), &store);
        first.write_lines(50, &mut random);
        first.end_records();
        assert!(wait_until(PATIENCE, || store.count() == first.written.len()).await);
        let mut second = Container::new(folder.path(), POD, "app", 1);
        second.write_lines(50, &mut random);
        second.end_records();
        let all = || first.written.len() + second.written.len();
        assert!(wait_until(PATIENCE, || store.count() == all()).await);
        let is_done = || {
            let checkpoint = agent.checkpoint().and_then(|bytes| Checkpoint::decode(&bytes).ok());
            let logs = checkpoint.map(|checkpoint| checkpoint.logs).unwrap_or_default();
            let log = logs.iter().find(|log| log.key.ends_with("/0"));
            log.is_some_and(|log| log.files.iter().all(|file| file.done))
        };
        assert!(wait_until(PATIENCE, is_done).await, "a run that is over is read to its end");
        if grows {
            first.write_lines(20, &mut random);
            first.end_records();
            let all = first.written.len() + second.written.len();
            assert!(wait_until(PATIENCE, || store.count() == all).await, "it wrote on after all");
        }
        agent.stop().await;
        if wrote_on_while_away {
            first.write_lines(20, &mut random);
            first.end_records();
        } else if !grows {
            first.remove_live();
        }
        second.write_lines(20, &mut random);
        second.end_records();
        let agent = Agent::start(folder.path(), &store);
        let all = first.written.len() + second.written.len();
        assert!(wait_until(PATIENCE, || store.count() == all).await, "{} of {all}", store.count());
        tokio::time::sleep(Duration::from_millis(300)).await;
        agent.stop().await;
        assert_eq!(store.losses(), Vec::<String>::new());
    }
}

/// The API server was away all the time, so nobody knows whose it is; and a folder that cannot be read kept it untold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_which_nobody_said_whose_it_is_is_a_loss_of_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let file = FileCheckpoint {
        file: FileId(7),
        name: "0.log".to_owned(),
        position: 100,
        size: 300,
        ..FileCheckpoint::default()
    };
    let log = LogCheckpoint {
        key: "0b8e/app/0".to_owned(),
        origin: None,
        namespace: "shop".to_owned(),
        pod: "web-1".to_owned(),
        files: vec![file],
        generations: Vec::new(),
        since_ns: None,
    };
    fs::create_dir_all(folder.path().join("state")).unwrap();
    fs::create_dir_all(folder.path().join("pods")).unwrap();
    let checkpoint = Checkpoint { logs: vec![log], ..Checkpoint::default() };
    put_checkpoint(folder.path(), Some(&checkpoint.encode()), false);
    fs::write(folder.path().join("no-folder"), "").unwrap();
    let inputs =
        format!("pods_dir: {0}/pods, files: [{{paths: ['{0}/no-folder/*.log']}}]", folder.path().display());
    let agent = Agent::start_with(folder.path(), &store, &inputs, Limits::default());
    assert!(wait_until(PATIENCE, || store.losses().len() == 1).await);
    assert!(store.losses()[0].contains("200 bytes"), "{:?}", store.losses());
    assert_eq!(store.tenants(), ["unassigned".to_owned()].into());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_cannot_be_unpacked_is_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut random = StdRng::seed_from_u64(13);
    let mut container = Container::new(folder.path(), POD, "app", 0);
    let archive = container.folder.join("0.log.20261120-000001.gz");
    fs::write(&archive, b"\x1f\x8bno archive").unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    fs::File::options().write(true).open(&archive).unwrap().set_modified(long_ago).unwrap();
    container.write_lines(50, &mut random);
    container.end_records();
    for start in 0..2 {
        let agent = Agent::start(folder.path(), &store);
        assert!(wait_until(PATIENCE, || store.count() == container.written.len()).await);
        assert!(
            wait_until(PATIENCE, || store.losses().len() == 1).await,
            "start {start}: {:?}",
            store.losses()
        );
        assert!(wait_until(PATIENCE, || agent.files() == 1).await);
        agent.stop().await;
    }
    assert_eq!(store.losses().len(), 1, "told once: {:?}", store.losses());
    // One whose file was read before it was packed is none.
    let mut container_2 = Container::new(folder.path(), "shop_web-2_0b8f", "app", 0);
    let agent = Agent::start(folder.path(), &store);
    container_2.write_lines(50, &mut random);
    container_2.end_records();
    container_2.rotate();
    let all = container.written.len() + container_2.written.len();
    assert!(wait_until(PATIENCE, || store.count() == all).await);
    let packed = container_2.folder.join("0.log.20261121-000001");
    fs::remove_file(&packed).unwrap();
    let archive = container_2.folder.join("0.log.20261121-000001.gz");
    fs::write(&archive, b"\x1f\x8bno archive").unwrap();
    fs::File::options().write(true).open(&archive).unwrap().set_modified(long_ago).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    agent.stop().await;
    assert_eq!(store.losses().len(), 1, "{:?}", store.losses());
}
