//! Files that are cut short in place: what is left of them was read, what is written behind it is new.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use cordwood_core::checkpoint::{Checkpoint, FileCheckpoint};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::support::{Agent, Limits, Store, put_checkpoint, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// Which lines a file has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Container,
    /// A container's, each in three parts.
    Parts,
    Docker,
    /// Another program's lines, with the time in each.
    Timed,
    /// Lines that say nothing of when they were written.
    Timeless,
}

struct Log {
    folder: TempDir,
    kind: Kind,
    path: PathBuf,
    store: Store,
    /// Where each line of the file ends, and the number of the next line.
    ends: Vec<u64>,
    next: usize,
}

impl Log {
    fn new(kind: Kind) -> Log {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(match kind {
            Kind::Timed | Kind::Timeless => "logs/a.log",
            _ => "pods/shop_web-1_0b8e/app/0.log",
        });
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        Log { folder, kind, path, store: Store::new(1), ends: Vec::new(), next: 0 }
    }

    fn agent(&self) -> Agent {
        match self.kind {
            Kind::Timed | Kind::Timeless => Agent::start_plain(self.folder.path(), &self.store),
            _ => Agent::start(self.folder.path(), &self.store),
        }
    }

    fn line(&self, number: usize) -> String {
        let (time, body) = (format!("2026-11-21T02:24:31.{number:09}Z"), self.body(number));
        match self.kind {
            Kind::Container => format!("{time} stdout F {body}\n"),
            Kind::Parts => {
                let (first, rest) = body.split_at(3);
                format!("{time} stdout P {first}\n{time} stdout P \n{time} stdout F {rest}\n")
            }
            Kind::Docker => format!("{{\"log\":\"{body}\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n"),
            Kind::Timed | Kind::Timeless => format!("{body}\n"),
        }
    }

    fn body(&self, number: usize) -> String {
        let text = format!("of {number} no {}", number * 7);
        if self.kind == Kind::Timed { format!("2026-11-21 02:24:31.{number:06} {text}") } else { text }
    }

    /// Appends so many lines.
    fn write(&mut self, count: usize) {
        let mut file = OpenOptions::new().append(true).open(&self.path).unwrap();
        let mut end = file.metadata().unwrap().len();
        let mut text = String::new();
        for _ in 0..count {
            let line = self.line(self.next);
            self.next += 1;
            end += line.len() as u64;
            self.ends.push(end);
            text += &line;
        }
        file.write_all(text.as_bytes()).unwrap();
    }

    fn cut(&mut self, len: u64) {
        OpenOptions::new().write(true).open(&self.path).unwrap().set_len(len).unwrap();
        self.ends.retain(|end| *end <= len);
    }

    fn size(&self) -> u64 {
        fs::metadata(&self.path).unwrap().len()
    }

    async fn has(&self, number: usize) -> bool {
        let body = self.body(number);
        wait_until(PATIENCE, || self.store.stdout().contains(&body)).await
    }

    /// All lines are stored; gives how many bytes were stored more than once.
    fn compare(&self, context: &str) -> usize {
        let bodies = self.store.bodies();
        let all = self.store.stdout();
        let mut twice = 0;
        for number in 0..self.next {
            let body = self.body(number);
            assert!(all.contains(&body), "{context}: line {number} is not stored");
            let times = bodies.iter().filter(|stored| **stored == body).count();
            twice += times.saturating_sub(1) * self.line(number).len();
        }
        twice
    }
}

/// People who have a full disk cut what is largest. The lines that are left were stored twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_cut_short_is_read_on_behind_what_is_left() {
    for (kind, away, regrown) in [
        (Kind::Container, false, false),
        (Kind::Container, false, true),
        (Kind::Container, true, false),
        (Kind::Container, true, true),
        (Kind::Parts, false, true),
        (Kind::Parts, true, false),
        (Kind::Docker, false, false),
        (Kind::Docker, true, true),
        (Kind::Timed, false, false),
        (Kind::Timed, true, true),
    ] {
        // At a line's end, in the middle of one, behind the first.
        for (lines, more) in [(700, 0), (500, 13), (1, 0), (950, 5)] {
            let mut log = Log::new(kind);
            let ctx =
                format!("{kind:?}, away {away}, regrown {regrown}, cut to {lines} lines and {more} bytes");
            let mut agent = log.agent();
            log.write(1_000);
            assert!(log.has(999).await, "{ctx}");
            let size = log.size();
            if away {
                agent.stop().await;
                log.cut(log.ends[lines - 1] + more);
                log.write(if regrown { 1_500 } else { 100 });
                agent = log.agent();
            } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                log.cut(log.ends[lines - 1] + more);
                tokio::time::sleep(Duration::from_millis(if regrown { 0 } else { 50 })).await;
                log.write(if regrown { 1_500 } else { 100 });
            }
            assert!(log.has(log.next - 1).await, "{ctx}");
            agent.stop().await;
            let twice = log.compare(&ctx);
            assert!(twice as u64 <= size / 16 + 256, "{ctx}: {twice} of {size} bytes twice");
            let agent = log.agent();
            log.write(10);
            assert!(log.has(log.next - 1).await, "{ctx}");
            agent.stop().await;
            assert_eq!(log.compare(&ctx), twice, "{ctx}: after a restart");
            assert_only_may_be_lost(&log, away, &ctx);
        }
    }
}

/// Before a cut while the agent is away more may have been written; nothing is known to be lost.
fn assert_only_may_be_lost(log: &Log, away: bool, context: &str) {
    let losses = log.store.losses();
    assert_eq!(losses.len(), usize::from(away), "{context}: {losses:?}");
    assert!(losses.iter().all(|loss| loss.contains("may be lost")), "{context}: {losses:?}");
}

/// Each cut makes another file of it, of which the writer knows nothing: positions that were used are used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_cut_short_again_and_again_loses_nothing() {
    let mut log = Log::new(Kind::Container);
    let mut agent = log.agent();
    log.write(1_000);
    let mut bound = 0;
    for round in 0..4_usize {
        assert!(log.has(log.next - 1).await, "round {round}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        bound += log.size() / 16 + 256;
        if round % 2 == 1 {
            agent.stop().await;
            log.cut(log.ends[900 - 200 * round] + 3);
            log.write(400);
            agent = log.agent();
        } else {
            log.cut(log.ends[900 - 200 * round] + 3);
            log.write(400);
        }
    }
    assert!(log.has(log.next - 1).await);
    agent.stop().await;
    let twice = log.compare("four times");
    assert!(twice as u64 <= bound, "{twice} bytes twice");
    assert_eq!(log.store.losses().len(), 2, "{:?}", log.store.losses());
    assert!(log.store.losses().iter().all(|loss| loss.contains("may be lost")));
}

/// A job that writes the same lines each night into the file that it empties: they are new each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_without_a_time_that_are_written_again_are_stored_again() {
    let mut log = Log::new(Kind::Timeless);
    let agent = log.agent();
    log.write(300);
    assert!(log.has(299).await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let first = log.next;
    log.cut(0);
    tokio::time::sleep(Duration::from_millis(50)).await;
    log.next = 0;
    log.write(250);
    let all = first + 250;
    assert!(wait_until(PATIENCE, || log.store.count() == all).await, "{} of {all}", log.store.count());
    agent.stop().await;
}

/// What a cut takes before it was read is lost, also where reading was not as far as the cut; what is written behind it is not
/// taken for what was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_off_unread_is_a_loss() {
    for away in [false, true] {
        let mut log = Log::new(Kind::Container);
        let agent = log.agent();
        log.write(100);
        assert!(log.has(99).await);
        log.store.set_full(true);
        log.write(40_000);
        let (held, size) = (log.ends[30_000], log.size());
        assert!(wait_until(PATIENCE, || agent.lag_bytes() > size / 2).await);
        let mut agent = if away {
            agent.stop().await;
            None
        } else {
            Some(agent)
        };
        log.cut(held);
        if agent.is_none() {
            log.store.set_full(false);
            agent = Some(log.agent());
        }
        log.store.set_full(false);
        assert!(log.has(30_000).await, "away {away}");
        assert!(
            wait_until(PATIENCE, || log.store.losses().len() == 1).await,
            "away {away}: {:?}",
            log.store.losses()
        );
        let lost = format!("\"bytes\":{}", size - held);
        assert!(log.store.losses()[0].contains(&lost), "away {away}: {lost}: {:?}", log.store.losses());
        let last = log.next;
        log.write(500);
        assert!(log.has(log.next - 1).await, "away {away}");
        agent.unwrap().stop().await;
        let stored: HashSet<String> = log.store.bodies().into_iter().collect();
        for number in (0..=30_000).chain(last..log.next) {
            assert!(stored.contains(&log.body(number)), "away {away}: {number}");
        }
        assert_eq!(log.store.losses().len(), 1);
    }
}

/// A program that does not append writes on where it was: what lies between is a hole, and no line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hole_that_a_cut_leaves_is_no_line() {
    for (away, lines, more, hole) in [
        (false, 600, 0, 0),
        (false, 600, 9, 0),
        (true, 600, 9, 64 << 20),
        (true, 0, 0, 0),
        (false, 0, 0, 64 << 20),
    ] {
        let mut log = Log::new(Kind::Timed);
        let ctx = format!("away {away}, cut to {lines} lines and {more} bytes, hole of {hole}");
        let mut agent = Some(log.agent());
        log.write(1_000);
        assert!(log.has(999).await, "{ctx}");
        let at = log.size() + hole;
        tokio::time::sleep(Duration::from_millis(50)).await;
        if away {
            agent.take().unwrap().stop().await;
        }
        let len = if lines == 0 { 0 } else { log.ends[lines - 1] + more };
        log.cut(len);
        let mut file = OpenOptions::new().write(true).open(&log.path).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        for number in 1_000..1_100 {
            file.write_all(log.line(number).as_bytes()).unwrap();
        }
        log.next = 1_100;
        let agent = agent.unwrap_or_else(|| log.agent());
        assert!(log.has(1_099).await, "{ctx}");
        agent.stop().await;
        let twice = log.compare(&ctx);
        assert!(twice as u64 <= at / 16 + 256, "{ctx}: {twice} bytes twice");
        let bodies = log.store.bodies();
        assert!(bodies.iter().all(|body| !body.contains('\0')), "{ctx}");
        assert!(bodies.contains(&log.body(1_000)), "{ctx}: the first line behind the hole is whole");
        assert_only_may_be_lost(&log, away, &ctx);
    }
}

/// A file that was made larger than what is in it, as some programs do, is still written to where its text ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_room_behind_its_text_is_read_where_it_is_written() {
    let mut log = Log::new(Kind::Timed);
    let agent = log.agent();
    log.write(10);
    let at = log.size();
    OpenOptions::new().write(true).open(&log.path).unwrap().set_len(8 << 20).unwrap();
    assert!(log.has(9).await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut file = OpenOptions::new().write(true).open(&log.path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(log.line(10).as_bytes()).unwrap();
    log.next = 11;
    assert!(log.has(10).await);
    agent.stop().await;
    assert_eq!(log.compare("preallocated"), 0);
}

/// Its program gives back the room that it did not need.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_shortened_to_its_text_lost_nothing() {
    for away in [false, true] {
        let mut log = Log::new(Kind::Timed);
        let mut agent = Some(log.agent());
        log.write(10);
        let text = log.size();
        let set_len =
            |len: u64| OpenOptions::new().write(true).open(&log.path).unwrap().set_len(len).unwrap();
        set_len(8 << 20);
        assert!(log.has(9).await);
        // (Room that was never looked at may have held lines.)
        tokio::time::sleep(Duration::from_secs(2)).await;
        if away {
            agent.take().unwrap().stop().await;
        }
        set_len(text);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let agent = agent.unwrap_or_else(|| log.agent());
        log.write(5);
        assert!(log.has(14).await, "away {away}");
        agent.stop().await;
        assert_eq!(log.compare("shortened"), 0);
        assert_eq!(log.store.losses(), Vec::<String>::new(), "away {away}");
    }
}

/// A file with room behind its text has a successor, and who writes it has not noticed yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_file_with_room_is_read_where_it_is_written() {
    let mut log = Log::new(Kind::Timed);
    let inputs =
        format!("pods_dir: null, files: [{{paths: ['{}/logs/*.log']}}]", log.folder.path().display());
    let limits = Limits { rotation_grace_ms: 1_500, ..Limits::default() };
    let agent = Agent::start_with(log.folder.path(), &log.store, &inputs, limits);
    log.write(10);
    let mut file = OpenOptions::new().write(true).open(&log.path).unwrap();
    // Nothing of the room lies in a block with text.
    let (text, at) = (log.size(), 4096);
    file.seek(SeekFrom::Start(text)).unwrap();
    file.write_all(format!("{}\n", "x".repeat((at - text - 1) as usize)).as_bytes()).unwrap();
    file.set_len(8 << 20).unwrap();
    assert!(log.has(9).await);
    fs::rename(&log.path, log.path.with_extension("log.1")).unwrap();
    log.next = 20;
    fs::write(&log.path, log.line(20)).unwrap();
    // Its successor was seen.
    assert!(wait_until(PATIENCE, || agent.files() == 2).await, "{} files", agent.files());
    tokio::time::sleep(Duration::from_millis(200)).await;
    file.seek(SeekFrom::Start(at)).unwrap();
    for number in 10..20 {
        file.write_all(log.line(number).as_bytes()).unwrap();
    }
    log.next = 21;
    assert!(log.has(20).await);
    agent.stop().await;
    assert_eq!(log.compare("rotated"), 0);
    assert_eq!(log.store.losses(), Vec::<String>::new());
}

/// A checkpoint of the version before says nothing of what was read: such a file is read from its beginning, as it was then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_checkpoint_of_before_a_file_that_was_cut_short_loses_nothing() {
    let mut log = Log::new(Kind::Container);
    let agent = log.agent();
    log.write(500);
    assert!(log.has(499).await);
    agent.stop().await;
    let path = log.folder.path().join("state/checkpoint");
    let mut before = Checkpoint::decode(&fs::read(&path).unwrap()).unwrap();
    for file in before.logs.iter_mut().flat_map(|log| &mut log.files) {
        file.milestones = Default::default();
        file.ahead = None;
    }
    let body = serde_json::to_vec(&before).unwrap();
    let mut bytes =
        format!("cordwood-checkpoint 2 {:08x} {}\n", crc32fast::hash(&body), body.len()).into_bytes();
    bytes.extend_from_slice(&body);
    put_checkpoint(log.folder.path(), Some(&bytes), false);
    log.cut(log.ends[200]);
    log.write(50);
    let agent = log.agent();
    assert!(log.has(549).await);
    agent.stop().await;
    let twice = log.compare("version 2");
    assert_eq!(twice as u64, log.ends[200], "as before");
}

/// Lines that were sent and not acknowledged when the agent was killed, then a cut among them: the places of these lines are
/// used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_among_lines_that_were_sent_and_not_acknowledged_hides_no_new_ones() {
    for regrown in [false, true] {
        let mut log = Log::new(Kind::Container);
        let agent = log.agent();
        log.write(300);
        assert!(log.has(299).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
        log.store.set_mute(true);
        log.write(300);
        assert!(log.has(599).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let killed = agent.checkpoint();
        agent.stop_at_once().await;
        put_checkpoint(log.folder.path(), killed.as_deref(), false);
        log.store.set_mute(false);
        log.cut(log.ends[450]);
        log.write(if regrown { 600 } else { 100 });
        let agent = log.agent();
        assert!(log.has(log.next - 1).await, "regrown {regrown}");
        agent.stop().await;
        log.compare(&format!("regrown {regrown}"));
    }
}

/// One script: a file that is written to and cut anywhere, an agent that comes and goes or is killed.
async fn script(kind: Kind, seed: u64) {
    let ctx = format!("{kind:?}, seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut log = Log::new(kind);
    log.store = Store::new(seed);
    let mut agent = Some(log.agent());
    let mut bound = 0;
    for _ in 0..12 {
        log.write(random.random_range(1..600));
        // Only what is stored may be cut off.
        assert!(log.has(log.next - 1).await, "{ctx}: {} of {}", log.store.count(), log.next);
        let away = random.random_bool(0.4);
        if away {
            let running = agent.take().unwrap();
            // The checkpoint knows how far reading was.
            let size = log.size();
            let is_known =
                |file: &FileCheckpoint| file.position == size || file.ahead.is_some_and(|to| to.0 == size);
            let knows = || {
                let checkpoint = running.checkpoint().and_then(|bytes| Checkpoint::decode(&bytes).ok());
                let logs = checkpoint.map(|checkpoint| checkpoint.logs).unwrap_or_default();
                logs.iter().flat_map(|log| &log.files).any(is_known)
            };
            assert!(wait_until(PATIENCE, knows).await, "{ctx}");
            let killed = running.checkpoint().filter(|_| random.random_bool(0.5));
            running.stop().await;
            if let Some(killed) = killed {
                // As after kill -9: an older one.
                put_checkpoint(log.folder.path(), Some(&killed), false);
                bound = u64::MAX / 2;
            }
        }
        let size = log.size();
        let len = if random.random_bool(0.2) { 0 } else { random.random_range(0..=size) };
        bound += size / 16 + 512;
        log.cut(len);
        if random.random_bool(0.5) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
        }
        log.write(random.random_range(1..900));
        if away {
            agent = Some(log.agent());
        }
    }
    assert!(log.has(log.next - 1).await, "{ctx}");
    agent.unwrap().stop().await;
    let twice = log.compare(&ctx);
    assert!(twice as u64 <= bound, "{ctx}: {twice} bytes twice");
}

const KINDS: [Kind; 4] = [Kind::Container, Kind::Parts, Kind::Docker, Kind::Timed];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_line_is_lost_wherever_a_file_is_cut() {
    let first: u64 = rand::rng().random_range(0..1 << 40);
    let scripts = (first..first + 8).map(|seed| tokio::spawn(script(KINDS[(seed % 4) as usize], seed)));
    for script in scripts.collect::<Vec<_>>() {
        script.await.unwrap();
    }
}

/// A change that was seen while lines were not acknowledged, and another before they are, or the agent's end: what was compared
/// then says nothing of what is there now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_again_before_its_lines_are_acknowledged_hides_no_new_ones() {
    for (acknowledged, is_cut_first, first_line_stays, killed) in [
        (0, true, false, false),
        (300, true, true, false),
        (0, false, true, true),
        (300, false, true, true),
        (0, true, true, true),
        (300, true, true, true),
        (300, true, false, true),
    ] {
        let ctx = format!(
            "{acknowledged} lines acknowledged, cut first {is_cut_first}, the first line stays {first_line_stays}, killed {killed}"
        );
        let mut log = Log::new(Kind::Container);
        let agent = log.agent();
        log.write(acknowledged);
        assert!(acknowledged == 0 || log.has(acknowledged - 1).await, "{ctx}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        log.store.set_mute(true);
        log.write(300);
        assert!(log.has(log.next - 1).await, "{ctx}");
        if is_cut_first {
            let mut file = OpenOptions::new().append(true).open(&log.path).unwrap();
            file.write_all(b"2026-11-21T02:24:31.9Z stdout F without an end").unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            log.cut(log.size() - 20);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // (A file whose first line is another is known for another.)
        log.cut(if first_line_stays { log.ends[9] } else { 0 });
        log.write(900);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let agent = if killed {
            // Another file is read meanwhile, so that the checkpoint is written once more.
            let other = log.folder.path().join("pods/shop_web-2_0b8f/app/0.log");
            fs::create_dir_all(other.parent().unwrap()).unwrap();
            fs::write(&other, "2026-11-21T02:24:31.1Z stdout F of another\n").unwrap();
            assert!(wait_until(PATIENCE, || log.store.stdout().contains("of another")).await, "{ctx}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            let killed = agent.checkpoint();
            agent.stop_at_once().await;
            put_checkpoint(log.folder.path(), killed.as_deref(), false);
            log.store.set_mute(false);
            log.agent()
        } else {
            log.store.set_mute(false);
            log.store.acknowledge_all();
            agent
        };
        assert!(log.has(log.next - 1).await, "{ctx}");
        agent.stop().await;
        log.compare(&ctx);
    }
}
