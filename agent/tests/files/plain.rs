//! Files of other programs, outside of the pods' folder: rotated by rename, by copy and truncation, packed, and beginning
//! with a header that every file of a program begins with.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{Agent, Limits, Store, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// A folder, a store, and what was written so far.
pub struct Scene {
    pub folder: tempfile::TempDir,
    pub store: Store,
    pub written: Vec<String>,
}

impl Scene {
    pub fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        Scene { folder, store: Store::new(1), written: Vec::new() }
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("logs").join(name)
    }

    /// Appends lines; none may be in the store twice, so each has a number.
    pub fn write(&mut self, name: &str, count: usize) {
        let lines: Vec<String> = (0..count).map(|n| format!("line {}", self.written.len() + n)).collect();
        self.put(name, &lines);
    }

    pub fn put(&mut self, name: &str, lines: &[String]) {
        let mut text = lines.join("\n");
        text.push('\n');
        append(&self.path(name), text.as_bytes());
        self.written.extend_from_slice(lines);
    }

    pub fn agent(&self) -> Agent {
        Agent::start_plain(self.folder.path(), &self.store)
    }

    pub async fn all_stored(&self, ctx: &str) {
        let all = self.written.len();
        let done = wait_until(PATIENCE, || self.store.count() >= all).await;
        assert!(done, "{ctx}: {} of {all}", self.store.count());
    }

    pub fn compare(&self, ctx: &str) {
        let written: Vec<(usize, String)> = self.written.iter().map(|line| (0, line.clone())).collect();
        self.store.compare(&written, ctx);
        assert_eq!(self.store.losses(), Vec::<String>::new(), "{ctx}");
    }
}

pub fn append(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// A rotated file that nobody asked for.
pub fn leave_an_old_one(path: &Path) {
    append(path, b"from long ago\n");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
}

pub fn pack(from: &Path, to: &Path) {
    let mut packer =
        flate2::write::GzEncoder::new(fs::File::create(to).unwrap(), flate2::Compression::fast());
    std::io::copy(&mut fs::File::open(from).unwrap(), &mut packer).unwrap();
    packer.finish().unwrap();
    fs::remove_file(from).unwrap();
}

/// Six generations with the same first line, the agent away now and then: no line of a later one is taken for one of an
/// earlier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_begin_with_the_same_header_are_different_files() {
    let mut scene = Scene::new();
    let mut agent = scene.agent();
    for generation in 0..6 {
        scene.put("app.log", &["time,level,message".to_owned()]);
        scene.write("app.log", 40);
        scene.all_stored(&format!("generation {generation}")).await;
        if generation % 2 == 1 {
            agent.stop().await;
            agent = scene.agent();
        }
        scene.write("app.log", 10);
        scene.all_stored(&format!("generation {generation}, later")).await;
        if generation % 3 == 2 {
            fs::File::options().write(true).open(scene.path("app.log")).unwrap().set_len(0).unwrap();
            // The agent has seen it empty.
            tokio::time::sleep(Duration::from_millis(300)).await;
        } else {
            let _ = fs::remove_file(scene.path("app.log.1"));
            fs::rename(scene.path("app.log"), scene.path("app.log.1")).unwrap();
        }
    }
    agent.stop().await;
    scene.compare("headers");
}

/// What was not read yet when the agent stopped lies in a copy, or in a packed file, when it comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_copied_or_packed_while_the_agent_was_away_is_read_there() {
    for packed in [false, true] {
        let ctx = if packed { "packed" } else { "copied" };
        let mut scene = Scene::new();
        let agent = scene.agent();
        scene.write("app.log", 50);
        scene.all_stored(ctx).await;
        agent.stop().await;
        scene.write("app.log", 50);
        if packed {
            fs::rename(scene.path("app.log"), scene.path("app.log.1")).unwrap();
            pack(&scene.path("app.log.1"), &scene.path("app.log.1.gz"));
        } else {
            fs::copy(scene.path("app.log"), scene.path("app.log.1")).unwrap();
            fs::File::options().write(true).open(scene.path("app.log")).unwrap().set_len(0).unwrap();
        }
        scene.write("app.log", 50);
        leave_an_old_one(&scene.path("app.log.2"));
        let agent = scene.agent();
        scene.all_stored(ctx).await;
        agent.stop().await;
        scene.compare(ctx);
    }
}

/// Two rotations between two looks: nobody saw the second file while it was the live one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_never_seen_live_is_read_if_it_is_younger_than_ours() {
    for away in [false, true] {
        let ctx = if away { "the agent was away" } else { "the agent was slow" };
        // File times are as coarse as the kernel's clock ticks.
        let tick = || tokio::time::sleep(Duration::from_millis(20));
        let mut scene = Scene::new();
        leave_an_old_one(&scene.path("app.log.3"));
        let mut agent = Some(scene.agent());
        scene.write("app.log", 50);
        scene.all_stored(ctx).await;
        if away && let Some(agent) = agent.take() {
            agent.stop().await;
        }
        scene.write("app.log", 10);
        tick().await;
        // (Elsewhere, so that it comes under its later name.)
        scene.write("../second", 30);
        tick().await;
        fs::rename(scene.path("app.log"), scene.path("app.log.2")).unwrap();
        fs::rename(scene.path("../second"), scene.path("app.log.1")).unwrap();
        scene.write("app.log", 20);
        let agent = agent.unwrap_or_else(|| scene.agent());
        scene.all_stored(ctx).await;
        // What was read stays read, also when it is packed.
        pack(&scene.path("app.log.1"), &scene.path("app.log.1.gz"));
        pack(&scene.path("app.log.2"), &scene.path("app.log.2.gz"));
        tokio::time::sleep(Duration::from_millis(500)).await;
        agent.stop().await;
        scene.compare(ctx);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_does_not_hide_the_file_beside_it() {
    let mut scene = Scene::new();
    fs::create_dir(scene.path("nginx")).unwrap();
    let agent = scene.agent();
    scene.write("nginx.log", 10);
    scene.all_stored("nginx.log").await;
    agent.stop().await;
    scene.compare("nginx.log");
}

/// A program that writes its file again each time it runs, with the same first line: its lines were taken for those of the
/// file before, which were stored already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_was_gone_may_begin_as_before() {
    let mut scene = Scene::new();
    let mut agent = scene.agent();
    for round in 0..4 {
        scene.put("app.log", &["starting".to_owned()]);
        scene.write("app.log", 20);
        scene.all_stored(&format!("round {round}")).await;
        assert!(wait_until(PATIENCE, || agent.logs() == 1).await);
        fs::remove_file(scene.path("app.log")).unwrap();
        assert!(wait_until(PATIENCE, || agent.logs() == 0).await, "round {round}: it is closed");
        if round % 2 == 1 {
            agent.stop().await;
            agent = scene.agent();
        }
    }
    agent.stop().await;
    scene.compare("gone and back");
}

/// Its file was gone when the agent came back, with bytes that nobody had read; while that was being told, it was written
/// again, under a configuration that had changed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_comes_back_while_its_loss_is_told_is_read() {
    let mut scene = Scene::new();
    scene.store.set_full(true);
    let agent = scene.agent();
    scene.write("app.log", 50);
    assert!(wait_until(PATIENCE, || agent.held_bytes() > 0).await);
    agent.stop().await;
    fs::remove_file(scene.path("app.log")).unwrap();
    scene.written.clear();
    let inputs = format!(
        "pods_dir: null, files: [{{paths: ['{}/logs/*.log'], tenant: second}}]",
        scene.folder.path().display()
    );
    let agent = Agent::start_with(scene.folder.path(), &scene.store, &inputs, Limits::default());
    assert!(wait_until(PATIENCE, || agent.logs() == 1).await, "the loss waits");
    scene.put("app.log", &["again".to_owned()]);
    scene.write("app.log", 20);
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.store.set_full(false);
    scene.all_stored("again").await;
    assert_eq!(scene.store.losses().len(), 1, "what was gone");
    agent.stop().await;
    let written: Vec<(usize, String)> = scene.written.iter().map(|line| (0, line.clone())).collect();
    scene.store.compare(&written, "again");
    assert!(scene.store.tenants().contains("second"), "{:?}", scene.store.tenants());
}

/// One folder has one watch: only the last of its patterns was told of new files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_of_one_folder_are_all_told_and_the_first_match_counts() {
    let mut scene = Scene::new();
    let logs = scene.folder.path().join("logs");
    let inputs = format!(
        "pods_dir: null, files: [{{paths: ['{0}/*.log'], tenant: first}}, {{paths: ['{0}/*'], tenant: second}}]",
        logs.display()
    );
    // No walk comes to their help.
    let limits = Limits { scan_interval_ms: 600_000, ..Limits::default() };
    let agent = Agent::start_with(scene.folder.path(), &scene.store, &inputs, limits);
    append(&logs.join("begin.txt"), b"begin\n");
    assert!(wait_until(PATIENCE, || scene.store.count() == 1).await);
    assert_eq!(scene.store.tenants(), ["second".to_owned()].into());
    scene.written.push("begin".to_owned());
    scene.write("app.log", 10);
    scene.all_stored("app.log").await;
    agent.stop().await;
    assert_eq!(scene.store.tenants(), ["first".to_owned(), "second".to_owned()].into());
    scene.compare("two patterns");
}
