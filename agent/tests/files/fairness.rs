//! Who waits for whom: however much one container has to read, and however little room there is, the others have their turn.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cordwood_agent::{Ack, Refused, Sink};
use cordwood_core::identity::StreamKey;

use crate::support::{Agent, Limits, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// Takes messages, and acknowledges them when it is told to.
#[derive(Clone, Default)]
struct Tray(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Whose messages came, in their order.
    keys: Vec<String>,
    acks: VecDeque<Ack>,
    holds: bool,
    full: bool,
}

impl Tray {
    fn set(&self, holds: bool, full: bool) {
        let mut inner = self.0.lock().unwrap();
        (inner.holds, inner.full) = (holds, full);
    }

    /// Messages of all, and the place of the first one of `pod`.
    fn look(&self, pod: &str) -> (usize, Option<usize>) {
        let inner = self.0.lock().unwrap();
        (inner.keys.len(), inner.keys.iter().position(|key| key.starts_with(pod)))
    }

    fn acknowledge_one(&self) -> bool {
        let ack = self.0.lock().unwrap().acks.pop_front();
        ack.map(Ack::acknowledge).is_some()
    }
}

impl Sink for Tray {
    fn send(&mut self, key: &StreamKey, payload: Vec<u8>, ack: Ack) -> Result<(), Refused> {
        let mut inner = self.0.lock().unwrap();
        if inner.full {
            return Err(Refused::Full { payload, ack });
        }
        inner.keys.push(key.as_str().to_owned());
        if inner.holds {
            inner.acks.push_back(ack);
        } else {
            drop(inner);
            ack.acknowledge();
        }
        Ok(())
    }

    fn reset(&mut self) {}
}

/// A container's file that appears with all that is in it.
fn put(root: &Path, pod: &str, content: &str) {
    let folder = root.join("pods").join(format!("shop_{pod}_{pod}")).join("app");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("new"), content).unwrap();
    fs::rename(folder.join("new"), folder.join("0.log")).unwrap();
}

fn line(io: &str, tag: char, number: usize, content: &str) -> String {
    format!("2026-11-21T02:24:31.{number:09}Z {io} {tag} {content}\n")
}

const ROOM: Limits = Limits {
    open_files_max: 10_000,
    rotation_grace_ms: 20,
    drain_ms: 300,
    batch_bytes_max: 512 << 10,
    memory_bytes_max: 16 << 20,
    held_removed_bytes_max: 1 << 30,
    scan_interval_ms: 100,
    unfinished_wait_ms: 600_000,
};

/// The room is full and each acknowledgement frees one batch: the container that had just taken it was the first to have the
/// next, as long as it had anything to read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_does_not_take_all_room_that_becomes_free() {
    const BATCHES_IN_THE_ROOM: usize = 32;
    let folder = tempfile::tempdir().unwrap();
    let tray = Tray::default();
    tray.set(true, false);
    let content = "x".repeat(1_000);
    for pod in ["flood0", "flood1"] {
        put(folder.path(), pod, &(0..50_000).map(|n| line("stdout", 'F', n, &content)).collect::<String>());
    }
    let agent = Agent::start_sink(folder.path(), tray.clone(), ROOM);
    let sent = |at_least: usize| {
        let tray = tray.clone();
        async move { wait_until(PATIENCE, || tray.look("few").0 >= at_least).await }
    };
    assert!(sent(BATCHES_IN_THE_ROOM - 2).await, "{:?}", tray.look("few"));
    put(
        folder.path(),
        "few",
        &(0..10).map(|n| line("stdout", 'F', n, "ERROR one of ten")).collect::<String>(),
    );
    let mut acks = 0;
    while tray.look("few").1.is_none() {
        let before = tray.look("few").0;
        assert!(acks < BATCHES_IN_THE_ROOM / 2, "ten lines wait after {acks} acknowledgements");
        assert!(tray.acknowledge_one());
        acks += 1;
        assert!(sent(before + 1).await, "the room is filled again");
    }
    agent.stop_at_once().await;
}

/// A record that never ends took more than half of the room: it was read on, and nobody else was read, as long as there was
/// any more of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_without_an_end_does_not_keep_the_others_waiting() {
    const MARKS: usize = 80;
    let folder = tempfile::tempdir().unwrap();
    let tray = Tray::default();
    let part = "x".repeat(16_000);
    let parts = |from: usize, count: usize| -> String {
        (from..from + count).map(|number| line("stdout", 'P', number, &part)).collect()
    };
    // The sink is full: reading stops at the first mark, and there is more of the record.
    tray.set(false, true);
    let mut all = parts(0, 600);
    for mark in 1..=MARKS {
        all.push_str(&line("stderr", 'F', mark, "ERROR mark"));
        all.push_str(&parts(1_000 * mark, 60));
    }
    put(folder.path(), "endless", &all);
    let agent = Agent::start_sink(folder.path(), tray.clone(), ROOM);
    let crowded = || agent.is_stalled() && agent.held_bytes() > 9_000_000;
    assert!(wait_until(PATIENCE, crowded).await, "{}", agent.held_bytes());
    put(
        folder.path(),
        "few",
        &(0..10).map(|n| line("stdout", 'F', n, "ERROR one of ten")).collect::<String>(),
    );
    // Nor does it keep one waiting whose record has two parts.
    put(
        folder.path(),
        "begun",
        &(line("stdout", 'P', 0, "ERROR begun") + &line("stdout", 'F', 1, " and ended")),
    );
    assert!(wait_until(PATIENCE, || agent.logs() == 3).await, "{}", agent.logs());
    tray.set(false, false);
    for pod in ["few", "begun"] {
        assert!(wait_until(PATIENCE, || tray.look(pod).1.is_some()).await, "{pod} is read");
        let (_, place) = tray.look(pod);
        assert!(place.unwrap() < MARKS / 4, "{pod} came behind {} of {MARKS} messages", place.unwrap());
    }
    agent.stop_at_once().await;
}
