//! More files than descriptors: those that hold theirs for ever left nothing for the others.

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
    assert!(wait_until(PATIENCE, || agent.runs() == 0).await, "{} runs are left", agent.runs());
    agent.stop().await;
    expect_all(&store, &containers, "gone");
}
