//! More files than descriptors: those that hold theirs for ever left nothing for the others.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{Agent, Container, Limits, Store, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
const FILES: usize = 60;
const OPEN: usize = 8;

fn limits() -> Limits {
    Limits { open_files_max: OPEN, ..Limits::default() }
}

/// All containers' lines come into one store: each line begins with its container's number.
fn write(container: &mut Container, number: usize, count: usize) -> usize {
    for _ in 0..count {
        container.write_stderr(&format!("{number} {}", container.written.len()));
    }
    count
}

fn expect_all(store: &Store, containers: &[Container], ctx: &str) {
    let mut expected: Vec<String> =
        containers.iter().flat_map(|container| container.written.iter().map(|line| line.1.clone())).collect();
    let mut stored = store.stderr();
    for (number, container) in containers.iter().enumerate() {
        let prefix = format!("{number} ");
        let own: Vec<&String> = stored.iter().filter(|body| body.starts_with(&prefix)).collect();
        let written: Vec<&String> = container.written.iter().map(|line| &line.1).collect();
        assert_eq!(own, written, "{ctx}: container {number}");
    }
    expected.sort();
    stored.sort();
    assert_eq!(stored, expected, "{ctx}");
    assert_eq!(store.losses(), Vec::<String>::new(), "{ctx}");
}

fn containers(root: &std::path::Path) -> Vec<Container> {
    let container = |n: usize| Container::new(root, &format!("shop_web-{n}_0b8e{n}"), "app", 0);
    (0..FILES).map(container).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_has_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut containers = containers(folder.path());
    let mut all = 0;
    for (number, container) in containers.iter_mut().enumerate() {
        all += write(container, number, number % 7);
    }
    let agent = Agent::start_limited(folder.path(), &store, limits());
    assert!(wait_until(PATIENCE, || store.count() == all).await, "{} of {all}", store.count());
    for round in 0..3 {
        for (number, container) in containers.iter_mut().enumerate() {
            all += write(container, number, 1 + round);
            assert!(agent.files() <= OPEN, "{} files are open", agent.files());
        }
        assert!(wait_until(PATIENCE, || store.count() == all).await, "{round}: {} of {all}", store.count());
    }
    agent.stop().await;
    expect_all(&store, &containers, "turns");
    // The next life goes on where the files that were closed had been read to.
    for (number, container) in containers.iter_mut().enumerate() {
        all += write(container, number, 2);
    }
    let agent = Agent::start_limited(folder.path(), &store, limits());
    assert!(wait_until(PATIENCE, || store.count() == all).await, "{} of {all}", store.count());
    agent.stop().await;
    expect_all(&store, &containers, "turns in the next life");
}

/// Some write all the time, and all are rotated and packed, open or closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_closed_rotate_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(2);
    let mut random = StdRng::seed_from_u64(7);
    let mut containers = containers(folder.path());
    let agent = Agent::start_limited(folder.path(), &store, limits());
    let mut all = 0;
    for _ in 0..150 {
        for (number, container) in containers.iter_mut().enumerate().take(OPEN + 2) {
            all += write(container, number, 3);
        }
        let number = random.random_range(0..FILES);
        let container = &mut containers[number];
        all += write(container, number, random.random_range(0..20));
        match random.random_range(0..4) {
            0 | 1 => container.rotate(),
            2 => container.pack_oldest(),
            _ => {}
        }
        all += write(container, number, random.random_range(0..3));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let done = wait_until(PATIENCE, || store.count() >= all).await;
    if !done {
        agent.explain();
    }
    assert!(done, "{} of {all}", store.count());
    agent.stop().await;
    expect_all(&store, &containers, "rotated");
}

/// A closed file that was read to its end and goes is no loss; its run is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_file_that_goes_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut containers = containers(folder.path());
    let mut all = 0;
    for (number, container) in containers.iter_mut().enumerate() {
        all += write(container, number, 1);
    }
    let agent = Agent::start_limited(folder.path(), &store, limits());
    assert!(wait_until(PATIENCE, || store.count() == all).await, "{} of {all}", store.count());
    for container in &mut containers {
        container.remove_pod();
    }
    assert!(wait_until(PATIENCE, || agent.logs() == 0).await, "{} logs are left", agent.logs());
    agent.stop().await;
    expect_all(&store, &containers, "gone");
}

/// One file may be open, and it cannot be closed, because nothing of it is taken: what others write meanwhile and lose is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_before_it_is_opened_is_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let container = |name: &str| Container::new(folder.path(), &format!("shop_{name}_0b8e{name}"), "app", 0);
    let (mut empty, mut still_empty) = (container("a"), container("b"));
    let agent =
        Agent::start_limited(folder.path(), &store, Limits { open_files_max: 1, ..Limits::default() });
    assert!(wait_until(PATIENCE, || agent.logs() == 2).await, "{} logs", agent.logs());
    // (That this comes means that the files of the others are closed.)
    let mut busy = container("c");
    busy.write_stderr("first");
    assert!(wait_until(PATIENCE, || store.count() == 1).await);
    store.set_full(true);
    busy.write_stderr("waits");
    assert!(wait_until(PATIENCE, || agent.held_bytes() > 0).await);
    let mut never_opened = container("d");
    never_opened.write_stderr("of d");
    assert!(wait_until(PATIENCE, || agent.logs() == 4).await, "{} logs", agent.logs());
    empty.write_stderr("of a");
    tokio::time::sleep(Duration::from_millis(300)).await;
    for gone in [&mut empty, &mut still_empty, &mut never_opened] {
        gone.remove_pod();
    }
    assert!(wait_until(PATIENCE, || agent.logs() < 4).await, "{} logs", agent.logs());
    store.set_full(false);
    assert!(wait_until(PATIENCE, || store.losses().len() >= 2).await, "{:?}", store.losses());
    assert!(wait_until(PATIENCE, || agent.logs() == 1).await, "{} logs", agent.logs());
    agent.stop().await;
    assert_eq!(store.stderr(), ["first", "waits"]);
    let of: BTreeSet<bool> =
        store.losses().iter().map(|loss| loss.contains("no file descriptor was left")).collect();
    assert_eq!((store.losses().len(), of), (2, BTreeSet::from([true])), "{:?}", store.losses());
}

/// Nobody writes any more: the last lines of closed files have no newlines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_line_of_a_closed_file_is_taken_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let mut expected = Vec::new();
    for number in 0..FILES {
        let text = if number % 3 == 0 {
            format!("{number} alone")
        } else {
            format!("{number} whole\n{number} half")
        };
        expected.extend(text.lines().map(str::to_owned));
        std::fs::write(logs.join(format!("{number}.log")), text).unwrap();
    }
    let whole = expected.iter().filter(|line| line.ends_with("whole")).count();
    expected.sort();
    let inputs = format!("pods_dir: null, files: [{{paths: ['{}/*.log']}}]", logs.display());
    let store = Store::new(1);
    for life in ["first", "second"] {
        let limits = Limits { drain_ms: 60_000, ..limits() };
        let agent = Agent::start_with(folder.path(), &store, &inputs, limits);
        assert!(
            wait_until(PATIENCE, || store.count() >= whole && agent.logs() == FILES).await,
            "{life}: {}",
            store.count()
        );
        agent.stop_with_all().await;
        assert_eq!(store.sorted(), expected, "{life}");
        assert_eq!(store.losses(), Vec::<String>::new(), "{life}");
    }
}

/// It was read as a file of its own, until the file came that it is an older one of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_file_that_becomes_an_older_one_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let append = |name: &str, line: &str| {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(logs.join(name));
        writeln!(file.unwrap(), "{line}").unwrap();
    };
    let inputs = format!("pods_dir: null, files: [{{paths: ['{}/*']}}]", logs.display());
    let store = Store::new(1);
    append("app.log.1", "1");
    let agent =
        Agent::start_with(folder.path(), &store, &inputs, Limits { open_files_max: 1, ..Limits::default() });
    assert!(wait_until(PATIENCE, || store.count() == 1).await);
    append("other.log", "2");
    assert!(wait_until(PATIENCE, || store.count() == 2).await);
    store.set_full(true);
    append("other.log", "3");
    assert!(wait_until(PATIENCE, || agent.held_bytes() > 0).await);
    append("app.log.1", "4");
    // (What was written to in the same tick as the new file is taken for a part of that one's sequence.)
    tokio::time::sleep(Duration::from_millis(50)).await;
    append("app.log", "5");
    assert!(wait_until(PATIENCE, || agent.logs() == 3).await, "{} logs", agent.logs());
    store.set_full(false);
    assert!(wait_until(PATIENCE, || store.count() >= 5).await, "{:?}", store.sorted());
    agent.stop().await;
    assert_eq!(store.sorted(), ["1", "2", "3", "4", "5"]);
    assert_eq!(store.losses(), Vec::<String>::new());
}

/// It was read to its end and has no name when its run is closed; then its packed copy comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_packed_while_its_run_is_closed_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let append = |name: &str, line: &str| {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(logs.join(name));
        writeln!(file.unwrap(), "{line}").unwrap();
    };
    let inputs = format!("pods_dir: null, files: [{{paths: ['{}/*.log']}}]", logs.display());
    let store = Store::new(1);
    append("app.log", "1");
    let limits = Limits { open_files_max: 2, rotation_grace_ms: 300, ..Limits::default() };
    let agent = Agent::start_with(folder.path(), &store, &inputs, limits);
    assert!(wait_until(PATIENCE, || store.count() == 1).await);
    std::fs::rename(logs.join("app.log"), logs.join("app.log.1")).unwrap();
    append("app.log", "2");
    assert!(wait_until(PATIENCE, || store.count() == 2).await);
    let packed = folder.path().join("packed");
    crate::plain::pack(&logs.join("app.log.1"), &packed);
    tokio::time::sleep(Duration::from_millis(250)).await;
    append("other.log", "3");
    assert!(wait_until(PATIENCE, || store.count() == 3).await);
    std::fs::rename(packed, logs.join("app.log.1.gz")).unwrap();
    append("app.log", "4");
    assert!(wait_until(PATIENCE, || store.count() >= 4).await, "{:?}", store.sorted());
    tokio::time::sleep(Duration::from_millis(500)).await;
    agent.stop().await;
    assert_eq!(store.sorted(), ["1", "2", "3", "4"]);
    assert_eq!(store.losses(), Vec::<String>::new());
}

/// What went while the agent was away is told though its folder cannot be looked at in whole before the run gives up its descriptor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_of_the_life_before_is_told_by_a_run_that_was_closed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut containers: Vec<Container> = containers(folder.path()).into_iter().take(2).collect();
    write(&mut containers[0], 0, 10);
    let agent = Agent::start_limited(folder.path(), &store, limits());
    assert!(wait_until(PATIENCE, || store.count() == 10).await);
    agent.stop().await;
    containers[0].rotate();
    containers[0].remove_rotated();
    let mut all = 10 + write(&mut containers[0], 0, 3);
    // An archive that is being written and cannot be unpacked yet.
    let archive = containers[0].folder.join("0.log.20261121-000000.gz");
    let touch = || std::fs::write(&archive, "not whole").unwrap();
    touch();
    let agent = Agent::start_limited(folder.path(), &store, Limits { open_files_max: 1, ..limits() });
    for _ in 0..10 {
        all += write(&mut containers[1], 1, 1);
        let is_read = wait_until(PATIENCE, || {
            touch();
            store.count() == all
        });
        assert!(is_read.await, "{} of {all}", store.count());
        for _ in 0..10 {
            touch();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(store.losses(), Vec::<String>::new(), "it may be there under another name");
    std::fs::remove_file(&archive).unwrap();
    let is_told = wait_until(Duration::from_secs(5), || store.losses().len() == 1).await;
    assert!(is_told, "{:?}", store.losses());
    agent.stop().await;
}
