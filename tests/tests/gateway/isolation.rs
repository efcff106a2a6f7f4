//! Fifty tasks at once, some deleted while all of them write: no line under another, and nothing of a deleted one anywhere.
//!
//! `CORDWOOD_TASK_LINES` writes more lines of each task.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cordwood_core::level::Level;
use cordwood_tests::http::ask;
use serde_json::{Value, json};

use super::web_socket::Socket;
use super::world::{Line, World, container, counted, encoded, line, put, recent_us};

const TASKS: usize = 50;
const DELETED: usize = 10;
const LINES: usize = 100;
const ROUNDS: usize = 5;
/// Of one message.
const MESSAGE_LINES: usize = 5_000;

/// The lines `from` to `to` of every task, mixed.
fn lines(at: i64, from: usize, to: usize) -> Vec<Line> {
    let of = |seq: usize, task: usize| {
        let level = if seq.is_multiple_of(2) { Level::Info } else { Level::Warn };
        let body = format!(
            r#"{{"level":"{}","taskId":"task-{task}","source":"s{}","message":"line {seq} of task {task}"}}"#,
            level.as_str().to_lowercase(),
            seq % 3
        );
        line(at + seq as i64, level, body)
    };
    (from..to).flat_map(|seq| (0..TASKS).map(move |task| of(seq, task))).collect()
}

/// Of these messages, how many each task has.
fn by_task<'a>(messages: impl Iterator<Item = (&'a str, &'a str)>) -> Result<BTreeMap<usize, usize>> {
    let mut found = BTreeMap::new();
    for (id, message) in messages {
        let (_, task) = message.split_once(" of task ").with_context(|| message.to_owned())?;
        ensure!(id == format!("task-{task}"), "{message} is under {id}");
        *found.entry(task.parse()?).or_default() += 1;
    }
    Ok(found)
}

/// The records of a frame.
fn shown(frame: &Value) -> Result<Vec<Value>> {
    match frame["type"].as_str() {
        Some("records") => Ok(frame["items"].as_array().cloned().unwrap_or_default()),
        Some("gap" | "caughtUp" | "heartbeat") => Ok(Vec::new()),
        _ => bail!("{frame}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_is_under_another_task_and_none_is_left_of_a_deleted_one() -> Result<()> {
    let each = std::env::var("CORDWOOD_TASK_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(LINES);
    let at = recent_us();
    let world = World::with(18, &[]).await?;
    let mut files = 0;
    let mut put_lines = async |from: usize, to: usize| -> Result<()> {
        for lines in lines(at, from, to).chunks(MESSAGE_LINES) {
            files += 1;
            put(&world.store, &[(container("acme", "shop", files), lines.to_vec())]).await?;
        }
        Ok(())
    };
    // A reader who takes one record, and has credit for no other: lines of a task that is deleted wait for it.
    let start = json!({"type": "start", "filter": "taskId=task-0 OR taskId=task-49", "credit": 1});
    let mut socket = Socket::start(&world, start).await?;
    socket.expect("caughtUp").await?;
    put_lines(0, each / ROUNDS).await?;
    socket.expect("records").await?;
    {
        let deleting = async {
            for task in 0..DELETED {
                let path = format!("/api/tasks/task-{task}");
                while ask(&world.address, "DELETE", &path, &[]).await?.code != 204 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        let writing = async {
            for round in 1..ROUNDS {
                put_lines(each * round / ROUNDS, each * (round + 1) / ROUNDS).await?;
            }
            anyhow::Ok(())
        };
        // It is read meanwhile: a connection that answers no ping for a minute is closed.
        let both = async { tokio::try_join!(deleting, writing) };
        tokio::pin!(both);
        loop {
            tokio::select! {
                done = &mut both => break done.map(drop)?,
                frame = socket.next() => ensure!(shown(&frame?)?.is_empty(), "shown without credit"),
            }
        }
    }
    // What waited is shown now, and what came late: nothing of the deleted task.
    socket.say(json!({"type": "credit", "n": 10_000_000})).await?;
    put_lines(each, each + 1).await?;
    let last = format!("line {each} of task 49");
    loop {
        let frame = socket.next().await?;
        let items = shown(&frame)?;
        let wrong = items.iter().find(|item| item["taskId"] != "task-49");
        ensure!(wrong.is_none(), "{wrong:?}");
        if items.iter().any(|item| item["message"] == last.as_str()) {
            break;
        }
    }

    let each = each + 1;
    for task in 0..TASKS {
        let path = format!("/api/tasks/task-{task}/logs");
        if task < DELETED {
            for path in [path.clone(), format!("{path}/stats"), format!("{path}/sources")] {
                ensure!(world.get(&path).await?.code == 404, "{path}");
            }
            continue;
        }
        let mut seq = 0;
        while seq < each {
            let page = world.json(&format!("{path}?limit=1000&offset={seq}&min_level=debug")).await?;
            let items = page["items"].as_array().context("no items")?;
            ensure!(page["total"] == each && !items.is_empty(), "{path}: {} from {seq}", page["total"]);
            for item in items {
                ensure!(item["message"] == format!("line {seq} of task {task}"), "{path}: {item} at {seq}");
                seq += 1;
            }
        }
        let stats = world.json(&format!("{path}/stats")).await?;
        ensure!(stats["total"] == each && stats["by_level"]["WARNING"] == each / 2, "{path}: {stats}");
    }
    let expected: BTreeMap<usize, usize> = (DELETED..TASKS).map(|task| (task, each)).collect();
    let ndjson = [("Accept", "application/x-ndjson")];
    let export = ask(&world.address, "GET", "/api/platform/logs", &ndjson).await?.text();
    let rows = export.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let said = rows.iter().filter_map(|row| Some((row["taskId"].as_str()?, row["message"].as_str()?)));
    ensure!(by_task(said)? == expected, "exported");
    for (query, count) in [("taskId=task-3", 0), ("taskId=task-30", each.min(1000))] {
        let page = world.json(&format!("/api/platform/logs?limit=1000&filter={}", encoded(query))).await?;
        let items = page["items"].as_array().map_or(0, Vec::len);
        ensure!(items == count, "{query}: {items}");
    }
    let all = (TASKS - DELETED) * each;
    for path in ["histogram?from=-1h&to=now", "facets"] {
        let counts = world.json(&format!("/api/platform/logs/{path}")).await?;
        ensure!(counts["records"] == all || counts["complete"] == false, "{path}: {counts}");
    }
    let groups = world.json("/api/platform/logs/aggregates").await?;
    ensure!(counted(&groups) == ((TASKS - DELETED) * (each / 2)) as u64, "{groups}");
    let left = "select count(*) from task_logs where task_id in (select task_id from task_tombstones)";
    let client = world.postgres.client_of(super::world::DATABASE).await?;
    ensure!(client.query_one(left, &[]).await?.get::<_, i64>(0) == 0);
    Ok(())
}
