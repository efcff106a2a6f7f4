//! WebSockets of clients that only listen: a task's lines and the monitor, to the letter of what clients already speak.

use anyhow::{Context, Result, bail, ensure};
use cordwood_core::entry::{timestamp, timestamp_ms};
use cordwood_core::fields;
use cordwood_core::record::Flags;
use cordwood_gateway::Limits;
use cordwood_store::tasks::{self, Announced};
use serde_json::Value;
use tokio_tungstenite::tungstenite::{self, Message};

use super::web_socket::Socket;
use super::world::{Line, World, container, encoded, line, put, recent_us, tokens};

const MONITOR: &str = "/ws/monitor";

/// As the agent takes it.
fn read(time_us: i64, body: &str) -> Line {
    let quick = fields::quick(body.as_bytes());
    let flags = if quick.audit { Flags::AUDIT } else { Flags::default() };
    Line { flags, ..line(time_us, quick.level, body) }
}

async fn open(world: &World, path: &str) -> Result<Socket> {
    Ok(Socket::connect_to(&world.address, path, &[]).await??)
}

async fn frames(socket: &mut Socket, count: usize) -> Result<Vec<String>> {
    let mut all = Vec::new();
    while all.len() < count {
        match socket.message().await? {
            Message::Text(text) => all.push(text.as_str().to_owned()),
            other => bail!("no frame: {other:?}"),
        }
    }
    Ok(all)
}

#[tokio::test]
async fn a_monitor_shows_each_record_as_clients_know_it() -> Result<()> {
    let at = recent_us() + 123_000;
    let file = "tokens:\n- {name: all, token: all-0123456789abcdef, tenants: all, audit: true}\n\
                - {name: reads, token: reads-0123456789abcdef, tenants: all}\n\
                - {name: acme, token: acme-0123456789abcdef, tenants: [acme], audit: true}\n";
    let world = World::start(15, &[], tokens(file)?, Limits::default()).await?;
    let open = async |name: &str| {
        let bearer = format!("Bearer {name}-0123456789abcdef");
        anyhow::Ok(Socket::connect_to(&world.address, MONITOR, &[("authorization", &bearer)]).await??)
    };
    let (mut all, mut reads, mut acme, gone) =
        (open("all").await?, open("reads").await?, open("acme").await?, open("all").await?);
    // Nobody says goodbye for it.
    drop(gone);
    // From now on: each of them has begun once it is counted.
    cordwood_tests::env::wait_for("the streams", std::time::Duration::from_secs(20), async || {
        ensure!(world.metrics()?.contains("cordwood_gateway_streams_open{form=\"monitor\"} 3"));
        Ok(())
    })
    .await?;
    let lines = [
        r#"{"level":"INFO","logger":"madrox.server","message":"Instance spawned successfully","module":"server","function":"spawn_instance","line":142}"#,
        r#"{"level":"INFO","logger":"audit.instance","message":"Instance main-orchestrator spawned","action":"instance_spawn","metadata":{"instance_id":"abc123","role":"orchestrator"}}"#,
        r#"{"level":"WARNING","logger":"madrox.pool","message":"slow","file":"/app/madrox/pool.py"}"#,
        r#"{"level":"INFO","message":"[AUDIT] settings changed"}"#,
        r#"{"level":"INFO","message":"said","is_audit":true,"action":"login"}"#,
        "plain text",
    ];
    let lines: Vec<Line> = (0..).zip(lines).map(|(n, body)| read(at + n * 1_000, body)).collect();
    put(&world.store, &[(container("acme", "shop", 0), lines[..3].to_vec())]).await?;
    put(&world.store, &[(container("umbrella", "shop", 1), lines[3..].to_vec())]).await?;
    let time = |n: i64| timestamp_ms(at + n * 1_000);
    let expected = [
        format!(
            r#"{{"type":"system_log","data":{{"timestamp":"{}","level":"INFO","logger":"madrox.server","message":"Instance spawned successfully","module":"server","function":"spawn_instance","line":142}}}}"#,
            time(0)
        ),
        format!(
            r#"{{"type":"audit_log","data":{{"timestamp":"{}","level":"INFO","logger":"audit.instance","message":"Instance main-orchestrator spawned","action":"instance_spawn","metadata":{{"instance_id":"abc123","role":"orchestrator"}}}}}}"#,
            time(1)
        ),
        format!(
            r#"{{"type":"system_log","data":{{"timestamp":"{}","level":"WARN","logger":"madrox.pool","message":"slow","module":"pool"}}}}"#,
            time(2)
        ),
        format!(
            r#"{{"type":"audit_log","data":{{"timestamp":"{}","level":"INFO","message":"[AUDIT] settings changed"}}}}"#,
            time(3)
        ),
        format!(
            r#"{{"type":"audit_log","data":{{"timestamp":"{}","level":"INFO","message":"said","action":"login"}}}}"#,
            time(4)
        ),
        format!(
            r#"{{"type":"system_log","data":{{"timestamp":"{}","level":"INFO","message":"plain text"}}}}"#,
            time(5)
        ),
    ];
    let told = frames(&mut all, 6).await?;
    ensure!(told == expected, "{told:#?}\nexpected\n{expected:#?}");
    let told = frames(&mut reads, 3).await?;
    ensure!(told == [0, 2, 5].map(|n: usize| expected[n].clone()), "{told:#?}");
    let told = frames(&mut acme, 3).await?;
    ensure!(told == expected[..3], "{told:#?}");
    // What the others did not get does not come later either.
    put(&world.store, &[(container("acme", "shop", 2), vec![read(at + 9_000, "last")])]).await?;
    for socket in [&mut reads, &mut acme] {
        ensure!(frames(socket, 1).await?[0].contains("last"));
    }
    Ok(())
}

#[tokio::test]
async fn a_tasks_lines_come_as_its_pages_show_them() -> Result<()> {
    let at = recent_us();
    let body = |n: i64, level: &str, source: &str, progress: i64| {
        format!(
            r#"{{"level":"{level}","taskId":"a b/42","message":"Half done {n}","source":"{source}","metadata":{{"progress":{progress}}}}}"#
        )
    };
    let task = [
        (0, "debug", "plugin", 1),
        (1, "info", "plugin", 50),
        (2, "warning", "superset_api", 50),
        (3, "error", "plugin", 100),
    ]
    .map(|(n, level, source, progress)| read(at + n, &body(n, level, source, progress)));
    let other = read(at + 4, r#"{"taskId":"a b/43","message":"another's"}"#);
    let mut world = World::with(18, &[(container("acme", "shop", 0), vec![task[1].clone()])]).await?;
    let path = format!("/api/tasks/{}/logs", encoded("a b/42"));
    let queries = [
        ("", vec![1, 2, 3]),
        ("?min_level=debug", vec![0, 1, 2, 3]),
        ("?level=WARN&level=error", vec![2, 3]),
        ("?source=superset_api", vec![2]),
        ("?search=DONE%203", vec![3]),
        ("?metadata.progress=50&namespace=shop", vec![1, 2]),
    ];
    let mut sockets = Vec::new();
    for (query, _) in &queries {
        sockets.push(open(&world, &format!("{path}/stream{query}")).await?);
    }
    // Nobody knows this one yet.
    let mut early = open(&world, "/api/tasks/early/logs/stream").await?;
    cordwood_tests::env::wait_for("the streams", std::time::Duration::from_secs(20), async || {
        ensure!(world.metrics()?.contains("cordwood_gateway_streams_open{form=\"task\"} 7"));
        Ok(())
    })
    .await?;
    put(&world.store, &[(container("acme", "shop", 1), [&task[..], &[other]].concat())]).await?;
    put(
        &world.store,
        &[(container("acme", "shop", 2), vec![read(at, r#"{"taskId":"early","message":"first"}"#)])],
    )
    .await?;
    for ((query, expected), socket) in queries.iter().zip(&mut sockets) {
        let told = frames(socket, expected.len()).await?;
        let told: Vec<Value> =
            told.iter().map(|text| serde_json::from_str(text)).collect::<Result<_, _>>()?;
        let times: Vec<&str> = told.iter().filter_map(|item| item["timestamp"].as_str()).collect();
        ensure!(
            times == expected.iter().map(|n| timestamp(at + n)).collect::<Vec<_>>(),
            "{query}: {told:#?}"
        );
        let page = world.json(&format!("{path}{query}")).await?;
        let page = page["items"].as_array().context("no items")?;
        ensure!(told.iter().all(|item| page.contains(item)), "{query}: {told:#?}\n{page:#?}");
    }
    let first: Value = serde_json::from_str(&frames(&mut early, 1).await?[0])?;
    ensure!(first["message"] == "first" && first["task_id"] == "early", "{first}");
    // What stands in the address is looked at before the WebSocket is.
    for (query, code) in
        [("?level=loud", 400), ("?min_level=error&level=info", 400), ("?offset=1", 400), ("?after=x", 400)]
    {
        match Socket::connect_to(&world.address, &format!("{path}/stream{query}"), &[]).await? {
            Err(tungstenite::Error::Http(answer)) => {
                ensure!(answer.status() == code, "{query}: {}", answer.status())
            }
            _ => bail!("{query} is let in"),
        }
        let answer = world.get(&format!("{path}/stream{query}")).await?;
        ensure!(answer.code == code, "{query}: {}", answer.text());
    }
    ensure!(world.get(&format!("{path}/stream")).await?.code == 400, "no WebSocket");
    // A deleted task says nothing any more; the others go on.
    ensure!(
        cordwood_tests::http::ask(&world.address, "DELETE", &path.replace("/logs", ""), &[]).await?.code
            == 204
    );
    put(
        &world.store,
        &[(container("acme", "shop", 3), vec![read(at + 7, &body(7, "error", "plugin", 100))])],
    )
    .await?;
    put(
        &world.store,
        &[(container("acme", "shop", 4), vec![read(at + 8, r#"{"taskId":"early","message":"second"}"#)])],
    )
    .await?;
    let second: Value = serde_json::from_str(&frames(&mut early, 1).await?[0])?;
    ensure!(second["message"] == "second", "{second}");
    world.stop().await;
    match sockets[0].message().await? {
        Message::Close(Some(close)) => ensure!(u16::from(close.code) == 1012, "{close:?}"),
        other => bail!("no end: {other:?}"),
    }
    Ok(())
}

/// A task is that of one namespace, also where another gets one of this id while the stream is open.
#[tokio::test]
async fn a_task_of_an_id_that_two_namespaces_use_is_that_of_one() -> Result<()> {
    let world = World::with(15, &[]).await?;
    let announce = async |task: &str, namespace: &str| -> Result<()> {
        ensure!(tasks::announce(&world.store, task, namespace, "acme").await? == Announced::New);
        Ok(())
    };
    announce("known", "shop").await?;
    let mut known = open(&world, "/api/tasks/known/logs/stream").await?;
    let mut early = open(&world, "/api/tasks/early/logs/stream").await?;
    cordwood_tests::env::wait_for("the streams", std::time::Duration::from_secs(20), async || {
        ensure!(world.metrics()?.contains("cordwood_gateway_streams_open{form=\"task\"} 2"));
        Ok(())
    })
    .await?;
    announce("known", "bank").await?;
    // Before either has a line.
    announce("early", "bank").await?;
    announce("early", "shop").await?;
    for (n, namespace) in (0..).zip(["bank", "shop", "bank", "shop"]) {
        let told =
            |task: &str| read(recent_us(), &format!(r#"{{"taskId":"{task}","message":"{namespace}"}}"#));
        put(&world.store, &[(container("acme", namespace, n), vec![told("known"), told("early")])]).await?;
    }
    for (socket, namespace) in [(&mut known, "shop"), (&mut early, "bank")] {
        for frame in frames(socket, 2).await? {
            let line: Value = serde_json::from_str(&frame)?;
            ensure!(line["message"] == namespace, "{namespace}: {line}");
        }
    }
    Ok(())
}
