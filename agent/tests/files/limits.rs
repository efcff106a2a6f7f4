//! What bounds the agent: messages that a topic takes, memory, removed files.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::support::{Agent, Container, Limits, Store, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// Batches that were cut before it was known come again in smaller ones; a record that fits into none is cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_takes_small_messages_gets_small_messages() {
    const MESSAGE: usize = 70_000;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    store.set_full(true);
    let mut random = StdRng::seed_from_u64(6);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    container.write_lines(2_000, &mut random);
    container.end_records();
    container.write_parts(20, &"long ".repeat(3_000));
    container.end_records();
    let long = container.written.len() - 1;
    container.write_lines(2_000, &mut random);
    container.end_records();
    let limits = Limits { batch_bytes_max: 512 << 10, memory_bytes_max: 16 << 20, ..Limits::default() };
    let agent = Agent::start_limited(folder.path(), &store, limits);
    assert!(wait_until(PATIENCE, || agent.held_bytes() > MESSAGE).await, "{}", agent.held_bytes());
    store.set_message_bytes_max(MESSAGE);
    store.set_full(false);
    let all = container.written.len();
    assert!(wait_until(PATIENCE, || store.count() == all).await, "{} of {all}", store.count());
    agent.stop().await;
    let cut = store.cut();
    let written = &mut container.written[long].1;
    assert_eq!(cut.len(), 1, "one is too long");
    assert!(written.starts_with(&cut[0]) && cut[0].len() > MESSAGE - 4096, "{} bytes are left", cut[0].len());
    written.truncate(cut[0].len());
    store.compare(&container.written, "small messages");
}

/// Parts of records whose ends do not come were held beside the budget, as much as there was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_records_are_held_within_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let limits = Limits::default();
    let agent = Agent::start_limited(folder.path(), &store, limits);
    let mut containers: Vec<Container> = (0..12)
        .map(|pod| Container::new(folder.path(), &format!("shop_web-{pod}_0b8e{pod}"), "app", 0))
        .collect();
    for container in &mut containers {
        container.write_parts(20, &"x".repeat(1_000));
    }
    // 240,000 bytes do not fit: the longest go as they are.
    assert!(wait_until(PATIENCE, || store.count() >= 9).await, "{} unfinished records", store.count());
    // (What is read at once may go over it.)
    assert!(agent.held_bytes() < limits.memory_bytes_max + 25_000, "{}", agent.held_bytes());
    // The others have room.
    let mut other = Container::new(folder.path(), "shop_other-1_0b8f", "app", 0);
    let before = store.count();
    other.write_lines(300, &mut StdRng::seed_from_u64(7));
    other.end_records();
    assert!(wait_until(PATIENCE, || store.count() >= before + other.written.len()).await);
    containers.iter_mut().for_each(Container::end_records);
    let whole = 12 * 20 * 1_000;
    let bytes = || store.stdout().matches("x".repeat(1_000).as_str()).count() * 1_000;
    assert!(wait_until(PATIENCE, || bytes() == whole).await, "{} of {whole} bytes", bytes());
    agent.stop().await;
}

/// The files of a pod that is gone were held without a bound while Kafka took nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unread_files_of_removed_pods_are_held_within_their_budget() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    store.set_full(true);
    let mut random = StdRng::seed_from_u64(8);
    let mut first = Container::new(folder.path(), "shop_web-0_0b8e0", "app", 0);
    first.write_lines(2_000, &mut random);
    first.end_records();
    let limits = Limits { held_removed_bytes_max: 50_000, ..Limits::default() };
    let agent = Agent::start_limited(folder.path(), &store, limits);
    assert!(wait_until(PATIENCE, || agent.held_bytes() > 32 << 10).await);
    let mut second = Container::new(folder.path(), "shop_web-1_0b8e1", "app", 0);
    second.write_lines(1_000, &mut random);
    assert!(wait_until(PATIENCE, || agent.files() == 2).await);
    let lag_bytes = agent.lag_bytes();
    second.remove_pod();
    assert!(wait_until(PATIENCE, || agent.lag_bytes() + 100_000 < lag_bytes).await, "it is closed");
    store.set_full(false);
    assert!(wait_until(PATIENCE, || store.losses().len() == 1).await, "{:?}", store.losses());
    assert!(wait_until(PATIENCE, || store.count() >= first.written.len()).await);
    agent.stop().await;
}

/// More long records than there is room for, each with its end in the file: read on one after the other, none in pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_records_that_end_are_not_cut_for_want_of_room() {
    const PARTS: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let content = "x".repeat(16_000);
    for pod in 0..16 {
        let mut container = Container::new(folder.path(), &format!("shop_web-{pod}_0b8e{pod}"), "app", 0);
        container.write_parts(PARTS, &content);
        container.end_records();
    }
    let limits = Limits { batch_bytes_max: 256 << 10, memory_bytes_max: 8 << 20, ..Limits::default() };
    let agent = Agent::start_limited(folder.path(), &store, limits);
    let all = 16 * PARTS * content.len();
    assert!(
        wait_until(PATIENCE, || store.stdout().len() >= all).await,
        "{} of {all} bytes",
        store.stdout().len()
    );
    assert_eq!(store.count(), 16, "each is one record");
    agent.stop().await;
}

/// stdout never ended what it had begun, and stderr went on: each file that was rotated since stayed open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_never_ends_does_not_hold_all_files_behind_it() {
    const FILES: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    let agent = Agent::start(folder.path(), &store);
    for file in 0..FILES {
        container.write_parts(1, "no end, ");
        container.write_stderr(&format!("line {file}"));
        container.rotate();
    }
    assert!(wait_until(PATIENCE, || store.count() >= FILES + 2).await, "{} records", store.count());
    assert!(wait_until(PATIENCE, || agent.files() < 20).await, "{} files are held", agent.files());
    container.end_records();
    let whole = "no end, ".repeat(FILES);
    assert!(wait_until(PATIENCE, || store.stdout() == whole).await, "{}", store.stdout());
    assert!(wait_until(PATIENCE, || agent.files() == 1).await, "{} files are held", agent.files());
    agent.stop().await;
    let stderr: Vec<_> = container.written.into_iter().filter(|record| record.0 == 1).collect();
    assert_eq!(store.count() - stderr.len(), 3, "the record came in three pieces");
}

/// A removed file in which nothing was unread was closed, as a loss of nothing; what was still written to it was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_file_that_is_read_to_its_end_is_not_closed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut random = StdRng::seed_from_u64(9);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    let limits = Limits { held_removed_bytes_max: 1_000, ..Limits::default() };
    let agent = Agent::start_limited(folder.path(), &store, limits);
    // (With a file that stays the run does not end.)
    container.write_lines(10, &mut random);
    container.end_records();
    container.rotate();
    container.write_lines(200, &mut random);
    container.end_records();
    assert!(wait_until(PATIENCE, || store.count() == container.written.len()).await);
    container.remove_live();
    // The budget is looked at once a second.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    container.write_lines(10, &mut random);
    container.end_records();
    let all = container.written.len();
    assert!(wait_until(PATIENCE, || store.count() == all).await, "{} of {all}", store.count());
    agent.stop().await;
    store.compare(&container.written, "removed and read");
    assert_eq!(store.losses(), Vec::<String>::new());
}
