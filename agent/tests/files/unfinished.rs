//! Records and lines whose ends do not come, or come late: stored within a stated time, and nothing of them twice.

use std::time::Duration;

use crate::support::{Agent, Container, Limits, Store, put_checkpoint, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);
const POD: &str = "shop_web-1_0b8e";

fn waiting(unfinished_wait_ms: u64) -> Limits {
    Limits { unfinished_wait_ms, ..Limits::default() }
}

/// The last output of a container without a newline was held for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_whose_end_does_not_come_goes_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut container = Container::new(folder.path(), POD, "app", 0);
    let agent = Agent::start_limited(folder.path(), &store, waiting(100));
    container.write_parts(2, "no newline, ");
    assert!(wait_until(PATIENCE, || store.count() == 1).await);
    assert_eq!((store.stdout().as_str(), store.incomplete()), ("no newline, no newline, ", 1));
    assert!(wait_until(PATIENCE, || agent.held_bytes() == 0).await, "nothing is held any more");
    // The other output has its own end, and what comes after all is a record of its own.
    container.write_stderr("beside");
    container.end_records();
    assert!(wait_until(PATIENCE, || store.count() == 3).await);
    assert_eq!(store.stdout(), "no newline, no newline, ");
    agent.stop().await;
}

/// stderr goes on, so the container is never silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_output_does_not_keep_it_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut container = Container::new(folder.path(), POD, "app", 0);
    let agent = Agent::start_limited(folder.path(), &store, waiting(100));
    container.write_parts(1, "no newline");
    let done = wait_until(PATIENCE, || {
        container.write_stderr("beside");
        store.stdout() == "no newline"
    });
    assert!(done.await);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_restart_ends_the_record_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut container = Container::new(folder.path(), POD, "app", 0);
    let agent = Agent::start_limited(folder.path(), &store, waiting(600_000));
    container.write_parts(1, "no newline");
    assert!(wait_until(PATIENCE, || agent.held_bytes() > 0).await);
    assert_eq!(store.count(), 0);
    let _next = Container::new(folder.path(), POD, "app", 1);
    assert!(wait_until(PATIENCE, || store.stdout() == "no newline").await);
    agent.stop().await;
}

/// It went unfinished, was stored, and the agent was killed before it knew: the next one ends it at the same place, though its
/// end is there now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_unfinished_is_not_stored_twice_when_its_end_comes() {
    for rotated in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(1);
        let mut container = Container::new(folder.path(), POD, "app", 0);
        container.write_stderr("first");
        let agent = Agent::start_limited(folder.path(), &store, waiting(50));
        assert!(wait_until(PATIENCE, || store.count() == 1).await);
        store.set_mute(true);
        container.write_parts(3, "part, ");
        if rotated {
            container.rotate();
            container.write_parts(1, "part, ");
        }
        let parts = if rotated { 4 } else { 3 };
        assert!(wait_until(PATIENCE, || store.stdout() == "part, ".repeat(parts)).await);
        let killed = agent.checkpoint();
        agent.stop_at_once().await;
        put_checkpoint(folder.path(), killed.as_deref(), false);
        store.set_mute(false);
        container.write_parts(1, "the end");
        container.end_records();
        container.write_stderr("last");
        let agent = Agent::start_limited(folder.path(), &store, waiting(50));
        let whole = format!("{}the end", "part, ".repeat(parts));
        let done = wait_until(PATIENCE, || store.stdout() == whole && store.count() == 4).await;
        assert!(done, "rotated {rotated}: {:?}", store.stdout());
        assert!(store.duplicates() > 0, "it was sent twice and stored once");
        agent.stop().await;
        assert_eq!(store.losses(), Vec::<String>::new());
    }
}

/// The same of a half line at the end of a rotated file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_line_is_not_stored_twice_when_its_other_half_comes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut container = Container::new(folder.path(), POD, "app", 0);
    let agent = Agent::start_limited(folder.path(), &store, waiting(50));
    container.write_stderr("first");
    assert!(wait_until(PATIENCE, || store.count() == 1).await);
    store.set_mute(true);
    container.write_half_a_line();
    let rotated = container.folder.join("0.log.20261121-000001");
    std::fs::rename(container.folder.join("0.log"), &rotated).unwrap();
    std::fs::write(container.folder.join("0.log"), "2026-11-21T03:00:00Z stdout F next\n").unwrap();
    assert!(wait_until(PATIENCE, || store.incomplete() == 1).await);
    let killed = agent.checkpoint();
    agent.stop_at_once().await;
    put_checkpoint(folder.path(), killed.as_deref(), false);
    store.set_mute(false);
    container.write_the_other_half();
    let written = std::fs::read(&rotated).unwrap().len();
    let agent = Agent::start_limited(folder.path(), &store, waiting(50));
    assert!(wait_until(PATIENCE, || store.stdout().contains("next") && store.count() == 4).await);
    agent.stop().await;
    let first = "2026-11-21T02:24:00.000000001Z stderr F first\n".len();
    let halves = store.stdout().replace("next", "");
    assert_eq!(halves.len() + 1, written - first, "each byte once: {halves:?}");
}

/// A long record goes on in the next file, while so much is unfinished that nobody's end is waited for without limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_goes_on_in_the_next_file_is_whole_where_room_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut rotated = Container::new(folder.path(), POD, "app", 0);
    let mut other = Container::new(folder.path(), "shop_web-2_0b8f", "app", 0);
    let limits = Limits { rotation_grace_ms: 2_000, ..Limits::default() };
    let agent = Agent::start_limited(folder.path(), &store, limits);
    // Both together are more than half of the room.
    let content = "x".repeat(1_000);
    for container in [&mut rotated, &mut other] {
        container.write_parts(20, &content);
    }
    assert!(wait_until(PATIENCE, || agent.held_bytes() >= 38_000).await, "{}", agent.held_bytes());
    rotated.rotate();
    rotated.write_parts(2, "further on");
    rotated.end_records();
    assert!(wait_until(PATIENCE, || store.count() == 1).await);
    assert_eq!((store.stdout().len(), store.incomplete()), (20_020, 0));
    other.end_records();
    assert!(wait_until(PATIENCE, || store.count() == 2).await);
    assert_eq!(store.incomplete(), 0);
    agent.stop().await;
}
