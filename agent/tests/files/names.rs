//! Which names of other programs' files are older files of which, and which file a name stands for when many begin with the same
//! line.

use std::fs;
use std::time::Duration;

use crate::plain::{Scene, append, leave_an_old_one, pack};
use crate::support::{Agent, Container, Limits, Store, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);
const HEADER: &str = "time,level,message";

/// File times are as coarse as the kernel's clock ticks.
async fn tick() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn agent_of(scene: &Scene, pattern: &str) -> Agent {
    let inputs =
        format!("pods_dir: null, files: [{{paths: ['{}/logs/{pattern}']}}]", scene.folder.path().display());
    Agent::start_with(scene.folder.path(), &scene.store, &inputs, Limits::default())
}

/// Rotated as `<id>-YYYYMMDD-HHMMSS.log`, a name that the pattern names too: it was read as a file of its own, from its
/// beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_date_before_the_extension_is_a_rotation() {
    let mut scene = Scene::new();
    scene.write("hello-20251229-154522.log", 20);
    tick().await;
    scene.write("hello.log", 20);
    let mut agent = Some(agent_of(&scene, "*.log"));
    for (away, name) in [(false, "hello-20251230-154522.log"), (true, "hello-20251231-154522.log")] {
        scene.all_stored(name).await;
        if away && let Some(running) = agent.take() {
            running.stop().await;
            scene.write("hello.log", 20);
        }
        tick().await;
        fs::rename(scene.path("hello.log"), scene.path(name)).unwrap();
        scene.write("hello.log", 20);
        agent = Some(agent.unwrap_or_else(|| agent_of(&scene, "*.log")));
        scene.all_stored(name).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    if let Some(agent) = agent {
        agent.stop().await;
    }
    scene.compare("hello");
    assert_eq!(scene.store.streams().len(), 1, "{:?}", scene.store.streams());
}

/// What stands behind a name is a rotation's only if it is numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_beside_another_is_no_older_file_of_it() {
    let mut scene = Scene::new();
    scene.write("app.log", 10);
    let agent = agent_of(&scene, "*");
    scene.all_stored("app.log").await;
    scene.write("app.log.offset", 10);
    scene.all_stored("beside it").await;
    fs::rename(scene.path("app.log"), scene.path("app.log.1")).unwrap();
    scene.write("app.log", 10);
    scene.all_stored("rotated").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    agent.stop().await;
    scene.compare("beside it");
    assert_eq!(scene.store.streams().len(), 2, "{:?}", scene.store.streams());
}

/// Its file had been renamed and the next one was not made yet: a loss was told though the file is there, and a pattern that
/// names all files read it from its beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_starts_between_rename_and_create() {
    for pattern in ["*.log", "*"] {
        let mut scene = Scene::new();
        let agent = agent_of(&scene, pattern);
        scene.write("app.log", 50);
        scene.all_stored(pattern).await;
        agent.stop().await;
        scene.write("app.log", 10);
        fs::rename(scene.path("app.log"), scene.path("app.log.1")).unwrap();
        let agent = agent_of(&scene, pattern);
        scene.all_stored(pattern).await;
        scene.write("app.log", 10);
        scene.all_stored(pattern).await;
        fs::rename(scene.path("app.log.1"), scene.path("app.log.2")).unwrap();
        fs::rename(scene.path("app.log"), scene.path("app.log.1")).unwrap();
        scene.write("app.log", 10);
        scene.all_stored(pattern).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        agent.stop().await;
        scene.compare(pattern);
    }
}

/// A pattern that names all files named a rotated one while there was no live one. It is an older file when the live one comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_read_as_its_own_becomes_an_older_one() {
    let mut scene = Scene::new();
    scene.write("app.log.1", 10);
    let agent = agent_of(&scene, "*");
    scene.all_stored("no live file").await;
    for round in 0..3 {
        tick().await;
        scene.write("app.log", 10);
        scene.all_stored("a live file").await;
        if round > 0 {
            fs::rename(scene.path("app.log.2"), scene.path("app.log.3")).unwrap();
        }
        fs::rename(scene.path("app.log.1"), scene.path("app.log.2")).unwrap();
        fs::rename(scene.path("app.log"), scene.path("app.log.1")).unwrap();
    }
    tick().await;
    scene.write("app.log", 10);
    scene.all_stored("rotated").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    agent.stop().await;
    scene.compare("became older");
}

/// The oldest file that was read is deleted: what came after it, and was never seen as the live file, was passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_came_after_one_that_was_deleted_are_read() {
    let mut scene = Scene::new();
    leave_an_old_one(&scene.path("app.log.3"));
    let agent = scene.agent();
    scene.write("app.log", 50);
    scene.all_stored("first").await;
    agent.stop().await;
    fs::remove_file(scene.path("app.log")).unwrap();
    tick().await;
    scene.write("app.log.1", 30);
    tick().await;
    scene.write("app.log", 20);
    let agent = scene.agent();
    scene.all_stored("after it").await;
    assert!(wait_until(PATIENCE, || scene.store.losses().len() == 1).await, "what was written to the first");
    agent.stop().await;
    let written: Vec<(usize, String)> = scene.written.iter().map(|line| (0, line.clone())).collect();
    scene.store.compare(&written, "deleted");
}

/// A file whose first line never had an end was waited for by nobody any more when its name was gone: its bytes were stored
/// nowhere and told to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_file_whose_first_line_was_never_whole_is_read() {
    for has_successor in [false, true] {
        let mut scene = Scene::new();
        let agent = scene.agent();
        append(&scene.path("app.log"), b"line 0");
        scene.written.push("line 0".to_owned());
        assert!(wait_until(PATIENCE, || agent.logs() == 1).await);
        tick().await;
        fs::remove_file(scene.path("app.log")).unwrap();
        if has_successor {
            scene.write("app.log", 10);
        }
        scene.all_stored("without an end").await;
        agent.stop().await;
        scene.compare(if has_successor { "with a successor" } else { "alone" });
    }
}

/// All begin with one line. A file that nobody saw live was taken for the first of them; a packed one for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_share_a_first_line_are_told_apart_after_a_restart() {
    let mut scene = Scene::new();
    let agent = scene.agent();
    let begin = |scene: &mut Scene, name: &str| {
        scene.put(name, &[HEADER.to_owned()]);
        scene.write(name, 30);
    };
    begin(&mut scene, "app.log");
    scene.all_stored("first").await;
    fs::rename(scene.path("app.log"), scene.path("app.log.1")).unwrap();
    begin(&mut scene, "app.log");
    scene.all_stored("second").await;
    agent.stop().await;
    // The second goes on, is renamed and packed; a third comes and is renamed; a fourth is there.
    scene.write("app.log", 10);
    tick().await;
    begin(&mut scene, "../third");
    tick().await;
    begin(&mut scene, "../fourth");
    fs::rename(scene.path("app.log.1"), scene.path("app.log.3")).unwrap();
    let second = fs::metadata(scene.path("app.log")).unwrap().modified().unwrap();
    fs::rename(scene.path("app.log"), scene.path("app.log.2")).unwrap();
    pack(&scene.path("app.log.2"), &scene.path("app.log.2.gz"));
    let packed = fs::File::options().write(true).open(scene.path("app.log.2.gz")).unwrap();
    packed.set_modified(second).unwrap();
    fs::rename(scene.path("../third"), scene.path("app.log.1")).unwrap();
    fs::rename(scene.path("../fourth"), scene.path("app.log")).unwrap();
    for _ in 0..2 {
        let agent = scene.agent();
        scene.all_stored("after the restart").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        agent.stop().await;
        scene.compare("one header");
    }
}

/// A container's file is emptied in place, and then the agent starts again: what the file holds now was taken for what it held
/// before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_file_that_was_emptied_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1);
    let path = folder.path().join("pods/shop_web-1_0b8e/app/0.log");
    let _container = Container::new(folder.path(), "shop_web-1_0b8e", "app", 0);
    let line = |number: usize| format!("2026-11-21T02:24:31Z stdout F line {number}\n");
    let first = "2026-11-21T02:24:30Z stdout F first\n";
    let agent = Agent::start(folder.path(), &store);
    append(&path, format!("{first}{}{}", line(1), line(2)).as_bytes());
    assert!(wait_until(PATIENCE, || store.count() == 3).await);
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    append(&path, format!("{}{}", line(3), line(4)).as_bytes());
    assert!(wait_until(PATIENCE, || store.count() == 5).await);
    agent.stop().await;
    append(&path, line(5).as_bytes());
    let agent = Agent::start(folder.path(), &store);
    assert!(wait_until(PATIENCE, || store.count() == 6).await, "{} of 6", store.count());
    agent.stop().await;
    assert_eq!(store.losses(), Vec::<String>::new());
}
