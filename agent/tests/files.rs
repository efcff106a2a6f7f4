//! The agent against a model: scripts of writing, rotating, packing, restarting, with a sink that is full, fails, and
//! answers late. Whatever happens, each line is admitted exactly once, whole and in order. (Idea: Vector's file watcher
//! tests.) A failing script prints its seed; `CORDWOOD_SEED` runs that one alone.

#[path = "files/descriptors.rs"]
mod descriptors;
#[path = "files/fairness.rs"]
mod fairness;
#[path = "files/limits.rs"]
mod limits;
#[path = "files/losses.rs"]
mod losses;
#[path = "files/names.rs"]
mod names;
#[path = "files/nodes.rs"]
mod nodes;
#[path = "files/plain.rs"]
mod plain;
mod support;
#[path = "files/truncated.rs"]
mod truncated;
#[path = "files/unfinished.rs"]
mod unfinished;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::{Agent, Container, Store, wait_until};

/// One script: a container that writes and is rotated, an agent that comes and goes.
async fn script(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(seed);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    let mut agent = Some(Agent::start(folder.path(), &store));
    let (mut restarts, mut rotations) = (0, 0);
    for _ in 0..random.random_range(20..60) {
        match random.random_range(0..100) {
            0..50 => container.write_lines(random.random_range(1..200), &mut random),
            50..60 => {
                container.write_half_a_line();
                tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
                container.write_the_other_half();
            }
            60..66 => {
                rotations += 1;
                container.rotate();
            }
            66..72 => {
                rotations += 1;
                rotate_slowly(&mut container, &mut random).await;
            }
            72..80 => container.pack_oldest(),
            80..86 => store.set_full(random.random_bool(0.5)),
            86..90 => store.fail_next(),
            90..96 => {
                restarts += 1;
                if let Some(running) = agent.take() {
                    let old = random.random_bool(0.5).then(|| running.checkpoint());
                    running.stop().await;
                    // As after kill -9: the checkpoint is an older one, or torn.
                    if let Some(old) = old {
                        support::put_checkpoint(folder.path(), old.as_deref(), random.random_bool(0.2));
                    }
                    for _ in 0..random.random_range(0..3) {
                        container.write_lines(random.random_range(1..50), &mut random);
                        container.rotate();
                        rotations += 1;
                        if random.random_bool(0.5) {
                            container.pack_oldest();
                        }
                    }
                }
                agent = Some(Agent::start(folder.path(), &store));
            }
            _ => tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await,
        }
    }
    container.end_records();
    store.set_full(false);
    let expected = container.written.clone();
    let done = wait_until(Duration::from_secs(30), || store.count() >= expected.len()).await;
    let running = agent.take().unwrap();
    if !done {
        running.explain();
    }
    running.stop().await;
    let ctx =
        format!("seed {seed}: {rotations} rotations, {restarts} restarts, {} duplicates", store.duplicates());
    assert!(done, "{ctx}: {} of {} lines", store.count(), expected.len());
    store.compare(&expected, &ctx);
    assert_eq!(store.losses(), Vec::<String>::new(), "{ctx}");
}

/// Between the rename and the runtime's next file there is no live file, and the old one is still written to.
async fn rotate_slowly(container: &mut Container, random: &mut StdRng) {
    if !container.rename() {
        return;
    }
    for _ in 0..random.random_range(0..3) {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..15))).await;
        container.write_lines(random.random_range(1..30), random);
    }
    container.reopen();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_line_exactly_once_whatever_happens_to_the_files() {
    if let Some(seed) = std::env::var("CORDWOOD_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return script(seed).await;
    }
    let first: u64 = rand::rng().random_range(0..1 << 40);
    let scripts: Vec<_> = (first..first + 24).map(|seed| tokio::spawn(script(seed))).collect();
    for script in scripts {
        script.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_emptied_in_place_goes_on_as_another() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut random = StdRng::seed_from_u64(1);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    let agent = Agent::start(folder.path(), &store);
    container.write_lines(100, &mut random);
    container.end_records();
    let before = container.written.len();
    assert!(wait_until(Duration::from_secs(10), || store.count() == before).await);
    container.truncate();
    container.write_lines(300, &mut random);
    container.end_records();
    let all = container.written.len();
    assert!(wait_until(Duration::from_secs(10), || store.count() == all).await, "{} of {all}", store.count());
    agent.stop().await;
    store.compare(&container.written, "truncated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rotated_away_unread_is_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut random = StdRng::seed_from_u64(2);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    let agent = Agent::start(folder.path(), &store);
    container.write_lines(50, &mut random);
    container.end_records();
    let before = container.written.len();
    assert!(wait_until(Duration::from_secs(10), || store.count() == before).await);
    agent.stop().await;
    container.write_lines(50, &mut random);
    container.end_records();
    container.rotate();
    container.remove_rotated();
    let lost = container.written.len() - before;
    assert!(lost > 0);
    container.written.truncate(before);
    container.write_lines(50, &mut random);
    container.end_records();
    let all = container.written.len();
    let agent = Agent::start(folder.path(), &store);
    assert!(wait_until(Duration::from_secs(10), || store.count() == all && store.losses().len() == 1).await);
    agent.stop().await;
    store.compare(&container.written, "lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_goes_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    store.set_full(true);
    let mut random = StdRng::seed_from_u64(3);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    let agent = Agent::start(folder.path(), &store);
    container.write_lines(20, &mut random);
    assert!(wait_until(Duration::from_secs(10), || agent.files() > 0).await);
    container.write_lines(200, &mut random);
    container.end_records();
    container.write_partial();
    tokio::time::sleep(Duration::from_millis(50)).await;
    container.remove_pod();
    store.set_full(false);
    let all = container.written.len();
    assert!(wait_until(Duration::from_secs(10), || store.count() == all).await, "{} of {all}", store.count());
    assert!(wait_until(Duration::from_secs(10), || agent.files() == 0).await, "its files are closed");
    agent.stop().await;
    store.compare(&container.written, "removed");
}

/// Its place was taken for one in the file after it, where nonsense lay already: it was passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_never_ends_is_of_the_file_where_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    let agent = Agent::start(folder.path(), &store);
    let nonsense = "nonsense ".repeat(50);
    container.write_parts(1, "unfinished");
    container.rotate();
    container.write_nonsense(&nonsense);
    assert!(wait_until(Duration::from_secs(10), || store.count() == 1).await);
    container.remove_pod();
    assert!(wait_until(Duration::from_secs(10), || store.count() == 2).await, "{} of 2", store.count());
    assert!(wait_until(Duration::from_secs(10), || agent.files() == 0).await, "its files are closed");
    agent.stop().await;
    store.compare(&[(0, nonsense), (0, "unfinished".to_owned())], "unfinished");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_and_other_files_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "2026-11-21T02:24:31Z stdout F secret\n").unwrap();
    let store = Store::new(1);
    let mut random = StdRng::seed_from_u64(4);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    std::os::unix::fs::symlink(&secret, container.folder.join("1.log")).unwrap();
    std::os::unix::fs::symlink(&secret, container.folder.join("0.log.20260101-000000")).unwrap();
    std::fs::write(container.folder.join("0.log.20260101-000000.tmp"), "half packed").unwrap();
    std::os::unix::fs::symlink(&container.folder, container.folder.parent().unwrap().join("linked")).unwrap();
    let agent = Agent::start(folder.path(), &store);
    container.write_lines(10, &mut random);
    container.end_records();
    let all = container.written.len();
    assert!(wait_until(Duration::from_secs(10), || store.count() == all).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    agent.stop().await;
    store.compare(&container.written, "links");
}

/// Runs that found no room for longer than a run waits before it rests, and to which nothing is written afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_for_room_is_read_once_there_is_some() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    store.set_full(true);
    let mut random = StdRng::seed_from_u64(5);
    let mut all = 0;
    for pod in 0..4 {
        let mut container = Container::new(folder.path(), &format!("shop_web-{pod}_0b8e{pod}"), "app", 0);
        container.write_lines(200, &mut random);
        container.end_records();
        all += container.written.len();
    }
    let agent = Agent::start(folder.path(), &store);
    assert!(wait_until(Duration::from_secs(10), || agent.files() == 4).await);
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    assert_eq!(store.count(), 0, "the sink was full");
    store.set_full(false);
    assert!(wait_until(Duration::from_secs(10), || store.count() == all).await, "{} of {all}", store.count());
    agent.stop().await;
}

/// To say how far each was safe took twice as long with each file more: the reader came to nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_files_that_each_begin_with_the_rest_of_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    for _ in 0..40 {
        container.write_parts(1, "from one file into the next");
        container.rotate();
        container.end_records();
    }
    let agent = Agent::start(folder.path(), &store);
    assert!(wait_until(Duration::from_secs(10), || agent.files() > 0).await);
    assert!(
        wait_until(Duration::from_secs(10), || agent.files() == 1).await,
        "{} files are held",
        agent.files()
    );
    agent.stop().await;
    store.compare(&container.written, "from file to file");
}

/// A crash loop without a word: the kubelet removes the empty files of earlier restarts, and the folder stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_file_that_is_removed_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let mut container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    let agent = Agent::start(folder.path(), &store);
    assert!(wait_until(Duration::from_secs(10), || agent.logs() == 1).await);
    for restart in 1..3 {
        let next = Container::new(folder.path(), "shop_web-1_0b8e", "app", restart);
        assert!(wait_until(Duration::from_secs(10), || agent.logs() == 2).await);
        container.remove_live();
        assert!(wait_until(Duration::from_secs(10), || agent.logs() == 1).await, "restart {restart}");
        container = next;
    }
    container.write_stderr("at last");
    assert!(wait_until(Duration::from_secs(10), || store.count() == 1).await);
    agent.stop().await;
    store.compare(&container.written, "crash loop");
}
