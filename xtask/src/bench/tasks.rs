//! Measures pages of a task's log through `cordwood standalone`, with the requests that an interface sends. The task has 100,000 lines and
//! shares the store with nine others; nothing stands beside it. Prints the time until all lines are stored, and the median and the first
//! time of each kind of page.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cordwood_tests::env::home::Home;
use cordwood_tests::env::ports::Port;
use cordwood_tests::env::{Program, wait_for};
use cordwood_tests::http::ask;

use super::{Figure, figure};

const LINES: usize = 100_000;
const OTHERS: usize = 9;
const SOURCES: [&str; 4] = ["plugin", "superset_api", "system", "storage"];

/// # Errors
/// `cordwood standalone` does not start, or answers wrongly.
pub async fn measure() -> Result<Vec<Figure>> {
    let home = Home::new("bench-tasks")?;
    let lines = home.join("tasks.log");
    std::fs::write(&lines, tasks()?)?;
    let port = Port::free()?;
    let address = format!("127.0.0.1:{}", port.number());
    let began = Instant::now();
    let _running = Program::new("standalone", cordwood_tests::bin("cordwood")?, home.path())
        .args(["standalone", "--service", "runner", "--listen", &address, "--data-dir"])
        .arg(home.join("data"))
        .arg(&lines)
        .start()?;
    let stats = "/api/tasks/task-0/logs/stats";
    wait_for("the task's lines", Duration::from_secs(300), || async {
        let total = ask(&address, "GET", stats, &[]).await?.json()?["total"].clone();
        ensure!(total == LINES, "{total} lines");
        Ok(())
    })
    .await?;
    let how = format!("{LINES} lines of it beside {} of {OTHERS} others", LINES * OTHERS / 10);
    let mut figures = vec![figure(
        "a task's lines: from nothing to all stored",
        format!("{:.1} s", began.elapsed().as_secs_f64()),
        format!("{how}; PostgreSQL is made and started in it"),
    )];
    let pages = [
        ("the first 1,000", "?limit=1000", Some(1000)),
        ("1,000 in the middle", "?limit=1000&offset=50000", Some(1000)),
        ("the last 1,000", "?limit=1000&offset=99000", Some(1000)),
        ("1,000 of one source", "?limit=1000&source=plugin", Some(1000)),
        ("1,000 of one source, WARN and above", "?limit=1000&source=system&min_level=WARN", Some(1000)),
        ("text that one line has", "?limit=1000&search=needle", Some(1)),
        ("metadata", "?limit=1000&metadata.step=7", Some(1000)),
        ("stats", "/stats", None),
        ("sources", "/sources", None),
    ];
    for (name, question, wanted) in pages {
        let path = format!("/api/tasks/task-0/logs{question}");
        let mut times = Vec::new();
        for _ in 0..11 {
            let began = Instant::now();
            let answer = ask(&address, "GET", &path, &[]).await?;
            times.push(began.elapsed().as_secs_f64() * 1_000.0);
            ensure!(answer.code == 200, "{path}: {} {}", answer.code, answer.text());
            if let Some(wanted) = wanted {
                let items = answer.json()?["items"].as_array().map_or(0, Vec::len);
                ensure!(items == wanted, "{path}: {items} items instead of {wanted}");
            }
        }
        let first = times.remove(0);
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).context("a time")?;
        figures.push(figure(
            format!("a task's log: {name}"),
            format!("{median:.1} ms"),
            format!("{how}; over HTTP; the first time {first:.1} ms"),
        ));
    }
    Ok(figures)
}

/// The lines of all tasks, mixed.
fn tasks() -> Result<String> {
    let mut text = String::new();
    for line in 0..LINES {
        let mut push = |task: usize| {
            let level = ["info", "info", "warn", "error"][line / SOURCES.len() % 4];
            let source = SOURCES[line % SOURCES.len()];
            let needle = if line == 77_777 { " needle" } else { "" };
            let step = line % 50;
            writeln!(
                text,
                r#"{{"level":"{level}","taskId":"task-{task}","source":"{source}","message":"line {line} of the task{needle}: wrote 4096 rows of the dataset to the warehouse","metadata":{{"step":{step}}}}}"#
            )
        };
        push(0)?;
        if line % 10 == 0 {
            (1..=OTHERS).try_for_each(&mut push)?;
        }
    }
    Ok(text)
}
