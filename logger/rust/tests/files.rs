//! The files of plugins and their supervisor: every line once and whole, by many threads, through rotation and a kill; what a
//! child writes; the supervisor's events.

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cordwood_logger::Level;
use cordwood_logger::files::{PluginLogger, Supervisor};
use serde_json::{Value, json};
use support::{Reaped, json_lines, part, program as run};

const FOLDER: &str = "CORDWOOD_LOGGER_TEST_FOLDER";
/// A file is full after about 200 lines.
const SMALL_BYTES: u64 = 20_000;

/// Not a test of its own: the program that the tests kill. It names each line that the logger took.
#[test]
fn program() {
    if part().as_deref() != Some("killed") {
        return;
    }
    let folder = std::env::var(FOLDER).expect("a folder");
    let logger = PluginLogger::open_with(folder, "hello", SMALL_BYTES).expect("a logger");
    let begin: u64 =
        std::env::var("CORDWOOD_LOGGER_TEST_BEGIN").expect("a number").parse().expect("a number");
    for n in begin.. {
        logger.log(Level::Info, &n.to_string()).expect("a line");
        writeln!(std::io::stderr(), "{n}").expect("stderr");
    }
}

/// The lines of all files of a plugin, the oldest file first.
fn lines(folder: &Path, plugin: &str) -> Vec<Value> {
    let entries = std::fs::read_dir(folder.join("plugins")).expect("the folder").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().expect("a name")).collect();
    names.retain(|name| name.starts_with(plugin));
    // (The live file's name ends in `.log` at once: `-` comes before `.`.)
    names.sort();
    let mut all = Vec::new();
    for name in names {
        let bytes = std::fs::read(folder.join("plugins").join(&name)).expect("a file");
        assert!(bytes.is_empty() || bytes.ends_with(b"}\n"), "{name} ends within a line");
        all.extend(json_lines(&bytes));
    }
    all
}

fn numbers(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["message"].as_str().expect("a message").parse().expect("a number")).collect()
}

#[test]
fn eight_threads_lose_and_tear_nothing_at_a_rotation() {
    let folder = tempfile::tempdir().expect("a folder");
    // Five older files and the live one hold all of it.
    let logger = PluginLogger::open_with(folder.path(), "hello", 200_000).expect("a logger");
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let logger = logger.clone();
            scope.spawn(move || {
                for n in 0..1_000 {
                    logger.log(Level::Info, &(thread * 1_000 + n).to_string()).expect("a line");
                }
            });
        }
    });
    let found = numbers(&lines(folder.path(), "hello"));
    assert_eq!(found.len(), 8_000);
    assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), (0..8_000).collect());
    for thread in 0..8 {
        let own: Vec<_> = found.iter().filter(|n| **n / 1_000 == thread).collect();
        assert!(own.is_sorted(), "the lines of thread {thread} are out of order");
    }
    let files = std::fs::read_dir(folder.path().join("plugins")).expect("the folder").count();
    assert!(files > 2, "only {files} files");
}

#[test]
fn a_kill_takes_no_line_that_was_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut begin = 0;
    for _ in 0..4 {
        let mut command = run("killed");
        command.env(FOLDER, folder.path()).env("CORDWOOD_LOGGER_TEST_BEGIN", begin.to_string());
        let mut child = Reaped(command.stdout(Stdio::null()).spawn().expect("run"));
        let mut stderr = BufReader::new(child.0.stderr.take().expect("stderr"));
        let mut last = begin;
        let mut line = String::new();
        // Through a rotation or two, and then in the midst of it.
        while last < begin + 450 {
            line.clear();
            assert!(stderr.read_line(&mut line).expect("stderr") > 0, "it ended by itself: {line}");
            last = line.trim().parse().expect("a number");
        }
        child.0.kill().expect("kill");
        child.0.wait().expect("its end");
        line.clear();
        while stderr.read_line(&mut line).expect("stderr") > 0 {
            last = line.trim().parse().unwrap_or(last);
            line.clear();
        }
        let found = numbers(&lines(folder.path(), "hello"));
        // What went is whole files, the oldest ones; of what is there no line is missing.
        let first = found[0];
        assert!(found.iter().copied().eq(first..first + found.len() as u64), "{first}, {}", found.len());
        let newest = first + found.len() as u64 - 1;
        assert!(newest == last || newest == last + 1, "{newest} written, {last} taken");
        begin = newest + 1;
    }
}

#[test]
fn what_a_child_writes_is_there_line_by_line_with_its_pid() {
    let folder = tempfile::tempdir().expect("a folder");
    let logger = PluginLogger::open(folder.path(), "hello").expect("a logger");
    let script = r#"
        echo "ready"
        echo "WARN: disk is nearly full"
        echo '{"level":"debug","msg":"asked","requestId":"r-1","pid":99,"error":null,"data":{"n":1}}'
        printf '\377 not UTF-8\n'
        echo "no such file" >&2
        printf 'without an end'
    "#;
    let mut command = Command::new("sh");
    let mut child =
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh");
    let pid = child.id();
    let captured = logger.capture(&mut child).expect("threads");
    captured.wait();
    child.wait().expect("its end");
    let mut lines = lines(folder.path(), "hello");
    for line in &mut lines {
        let line = line.as_object_mut().expect("an object");
        assert!(
            line.remove("timestamp").is_some_and(|time| time.as_str().is_some_and(|time| time.len() == 24))
        );
        assert_eq!((line.remove("plugin"), line.remove("pid")), (Some("hello".into()), Some(pid.into())));
    }
    let of = |level: &str, message: &str| json!({"level": level, "message": message, "error": null});
    // The two pipes are read side by side.
    let (errors, others): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line["level"] == "Error");
    assert_eq!(errors, [of("Error", "no such file")]);
    let mut asked = of("Debug", "asked");
    asked["requestId"] = "r-1".into();
    asked["data"] = json!({"n": 1});
    assert_eq!(
        others,
        [
            of("Info", "ready"),
            of("Warn", "WARN: disk is nearly full"),
            asked,
            of("Info", "\u{fffd} not UTF-8"),
            of("Info", "without an end")
        ]
    );
    assert_eq!(logger.path(), folder.path().join("plugins/hello.log"));
}

#[test]
fn the_supervisors_events_are_records_with_an_action() {
    let folder = tempfile::tempdir().expect("a folder");
    let supervisor = Supervisor::open(folder.path()).expect("a file");
    supervisor.spawned("hello-plugin", Some(12_345)).expect("a line");
    supervisor.crashed("hello-plugin", Some(12_345), "exit status: 101").expect("a line");
    supervisor.restarted("hello-plugin", 2, Duration::from_millis(1_500)).expect("a line");
    supervisor.max_restarts_reached("hello-plugin", 5).expect("a line");
    supervisor.enabled("hello-plugin").expect("a line");
    supervisor.killed("hello-plugin", None).expect("a line");
    supervisor.disabled("hello-plugin", "by an administrator").expect("a line");
    let text = std::fs::read_to_string(folder.path().join("plugin-supervisor.log")).expect("the file");
    let mut lines = json_lines(text.as_bytes());
    for line in &mut lines {
        line.as_object_mut().expect("an object").remove("timestamp");
        assert_eq!(line["plugin"], "hello-plugin");
    }
    let actions: Vec<_> = lines.iter().filter_map(|line| line["action"].as_str()).collect();
    assert_eq!(actions, ["spawn", "crash", "restart", "disable", "enable", "kill", "disable"]);
    assert_eq!(
        lines[0],
        json!({"level": "Info", "message": "Plugin spawned: hello-plugin (PID: Some(12345))", "plugin": "hello-plugin",
            "error": null, "pid": null, "action": "spawn", "childPid": 12345})
    );
    assert_eq!((&lines[1]["error"], &lines[1]["level"]), (&json!("exit status: 101"), &json!("Error")));
    assert_eq!((&lines[2]["attempt"], &lines[2]["delayMs"]), (&json!(2), &json!(1_500)));
    assert_eq!((&lines[3]["reason"], &lines[3]["attempts"]), (&json!("max restarts reached (5)"), &json!(5)));
    assert_eq!(lines[6]["reason"], "by an administrator");
}
