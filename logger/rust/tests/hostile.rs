//! Applications that log where nobody would, such as in the destructors of a thread that ends: the process goes on, and its records are there.

mod support;

use support::{json_lines, part, program as run};
use tracing::info;

/// Says something when its thread ends, by every way there is. (A span cannot be opened there: the registry of tracing-subscriber panics.)
struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        info!(n = 1, "late by tracing");
        log::info!("late by log");
        cordwood_logger::logger().info("late by value");
    }
}

thread_local! {
    static LATE: Late = const { Late };
}

/// Not a test of its own: the program that the tests run.
#[test]
fn program() {
    let Some(part) = part() else { return };
    cordwood_logger::init("shop");
    match part.as_str() {
        "thread" => {
            let ended = std::thread::spawn(|| {
                // It comes before what the logger keeps in its threads, and goes after it.
                LATE.with(|_| {});
                let span = tracing::info_span!("request", request_id = "r-1");
                span.in_scope(|| info!("early"));
            });
            ended.join().expect("a thread that ends well");
            info!("after it");
        }
        other => panic!("no part {other}"),
    }
}

#[test]
fn a_thread_that_ends_may_log() {
    let output = run("thread").output().expect("the program");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let lines = json_lines(&output.stdout);
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap_or_default()).collect();
    let late = ["late by tracing", "late by log", "late by value"];
    assert_eq!(messages, [&["early"][..], &late, &["after it"]].concat());
}
