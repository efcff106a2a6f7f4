//! Speaks as existing clients do: the lines that their applications print, and the pages and frames that are read of them, to the letter.
//! A test that runs Cordwood (standalone, a node) prints these lines there and asks its gateway.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::env::wait_for;
use crate::http::ask;

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a prompt is waited for, and how many are printed.
const PROMPT_TIME: Duration = Duration::from_secs(10);
const PROMPTS_MAX: usize = 6;
/// A line that says nothing: a client that listens shows it by that line.
const PROMPT: &str =
    r#"{"level":"info","logger":"madrox.server","message":"is anybody there?","taskId":"42"}"#;

/// In the order in which they are printed.
const LINES: [&str; 10] = [
    r#"{"level":"Warn","message":"late","plugin":"hello-plugin","error":"timeout","pid":12345}"#,
    r#"{"level":"Info","message":"Plugin spawned: hello-plugin (PID: Some(12345))","plugin":"hello-plugin","error":null,"pid":null}"#,
    r#"{"level":"INFO","logger":"madrox.server","message":"Instance spawned successfully","module":"server","function":"spawn_instance","line":142}"#,
    r#"{"level":"INFO","logger":"audit.instance","message":"Instance main-orchestrator spawned","action":"instance_spawn","metadata":{"instance_id":"abc123","role":"orchestrator"}}"#,
    r#"{"level":"debug","taskId":"4711","message":"begin"}"#,
    r#"{"level":"info","taskId":"4711","message":"Half done","source":"plugin","metadata":{"progress":50}}"#,
    r#"{"level":"warning","task_id":4711,"message":"slow","source":"superset_api","metadata":{"progress":50}}"#,
    r#"{"level":"error","taskId":"4711","message":"done","metadata":{"progress":100}}"#,
    r#"{"level":"info","taskId":"4712","message":"another's"}"#,
    r#"{"level":"error","msg":"payment failed","orderId":4711,"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","requestId":"r-1","userId":"u-1"}"#,
];

/// A gateway, and as whom it is asked.
pub struct Clients<'a> {
    pub address: &'a str,
    pub token: Option<&'a str>,
    /// What the platform entries of these lines say of where they come from.
    pub origin: Value,
}

/// Lets an application print its lines (`print`, with a name for the run of it), and holds every answer against what clients read.
///
/// # Errors
/// The first answer that differs.
pub async fn hold(
    clients: &Clients<'_>,
    mut print: impl AsyncFnMut(&str, &[&str]) -> Result<()>,
) -> Result<()> {
    let (mut monitor, mut task) = listening(clients, &mut print).await?;
    print("lines", &LINES).await?;

    let system = r#"{"type":"system_log","data":{"timestamp":"T","level":"INFO","logger":"madrox.server","message":"Instance spawned successfully","module":"server","function":"spawn_instance","line":142}}"#;
    let audit = r#"{"type":"audit_log","data":{"timestamp":"T","level":"INFO","logger":"audit.instance","message":"Instance main-orchestrator spawned","action":"instance_spawn","metadata":{"instance_id":"abc123","role":"orchestrator"}}}"#;
    for expected in [system, audit] {
        let frame = monitor.frame_with(&["Instance "]).await?;
        ensure!(without_times(&frame)? == expected, "{frame}\nexpected\n{expected}");
    }

    let items = [
        task_line("DEBUG", "system", "begin", None),
        task_line("INFO", "plugin", "Half done", Some(50)),
        task_line("WARNING", "superset_api", "slow", Some(50)),
        task_line("ERROR", "system", "done", Some(100)),
    ];
    for expected in &items {
        let frame = task.frame().await?;
        ensure!(known(&without_times(&frame)?)? == *expected, "{frame}\nexpected\n{expected}");
    }
    tasks(clients, &items).await?;
    plugin(clients).await?;
    entries(clients).await
}

/// The monitor and the task's stream, once both show what comes. They are opened once, before the namespace has any records.
async fn listening(
    clients: &Clients<'_>,
    print: &mut impl AsyncFnMut(&str, &[&str]) -> Result<()>,
) -> Result<(Listener, Listener)> {
    let mut monitor = clients.listen("/ws/monitor").await?;
    let task = clients.listen("/api/tasks/4711/logs/stream?min_level=debug").await?;
    // A stream shows what comes from now on; a prompt that both of these show says that now was before it.
    let mut prompted = clients.listen("/api/tasks/42/logs/stream").await?;
    let mut shown = Box::pin(async move {
        prompted.frame().await?;
        monitor.frame().await?;
        anyhow::Ok(monitor)
    });
    for number in 1..=PROMPTS_MAX {
        print(&format!("prompt-{number}"), &[PROMPT]).await?;
        if let Ok(shown) = tokio::time::timeout(PROMPT_TIME, &mut shown).await {
            return Ok((shown?, task));
        }
    }
    bail!("no stream shows anything")
}

async fn tasks(clients: &Clients<'_>, items: &[Value]) -> Result<()> {
    let path = "/api/tasks/4711/logs";
    for (query, items) in [
        ("", &items[1..]),
        ("?min_level=debug", items),
        ("?level=WARN&level=error", &items[2..]),
        ("?source=superset_api", &items[2..3]),
        ("?search=HALF", &items[1..2]),
        ("?metadata.progress=50", &items[1..3]),
    ] {
        let text = clients.get(&format!("{path}{query}")).await?;
        let page = known(&without_times(&text)?)?;
        let expected = json!({"items": items, "total": items.len(), "offset": 0, "limit": 100});
        ensure!(page == expected, "{query}: {text}\nexpected\n{expected}");
        let names = ["items", "id", "task_id", "timestamp", "level", "source", "message", "metadata"];
        let places: Vec<_> = names.iter().map(|name| text.find(&format!("\"{name}\":"))).collect();
        ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "the order of names: {text}");
    }
    let stats = clients.json(&format!("{path}/stats")).await?;
    let expected = json!({
        "total": 4, "by_level": {"DEBUG": 1, "INFO": 1, "WARNING": 1, "ERROR": 1},
        "by_source": {"system": 2, "plugin": 1, "superset_api": 1},
    });
    ensure!(stats == expected, "{stats}");
    let sources = clients.json(&format!("{path}/sources")).await?;
    ensure!(sources == json!(["plugin", "superset_api", "system"]), "{sources}");
    Ok(())
}

async fn plugin(clients: &Clients<'_>) -> Result<()> {
    let spawned = r#"{"timestamp":"T","level":"Info","message":"Plugin spawned: hello-plugin (PID: Some(12345))","plugin":"hello-plugin","error":null,"pid":null}"#;
    let late = r#"{"timestamp":"T","level":"Warn","message":"late","plugin":"hello-plugin","error":"timeout","pid":12345}"#;
    for (path, expected) in [
        (
            "/api/plugins/hello-plugin/logs",
            format!(r#"{{"logs":[{spawned},{late}],"page":0,"page_size":100}}"#),
        ),
        (
            "/api/plugins/hello-plugin/logs?page=1&page_size=1",
            format!(r#"{{"logs":[{late}],"page":1,"page_size":1}}"#),
        ),
        (
            "/api/plugins/hello-plugin/logs?level=WARN",
            format!(r#"{{"logs":[{late}],"page":0,"page_size":100}}"#),
        ),
        ("/api/plugins/nobody/logs", r#"{"logs":[],"page":0,"page_size":100}"#.to_owned()),
    ] {
        let text = clients.get(path).await?;
        ensure!(without_times(&text)? == expected, "{path}: {text}\nexpected\n{expected}");
    }
    Ok(())
}

async fn entries(clients: &Clients<'_>) -> Result<()> {
    let page = wait_for("the error's group", PATIENCE, || async {
        let page = clients.json("/api/platform/logs/aggregates?level=error").await?;
        let groups = page["items"].as_array().cloned().unwrap_or_default();
        groups.into_iter().find(|group| group["sample"]["message"] == "payment failed").context("no group")
    })
    .await?;
    let signature = page["signature"].as_str().context("no signature")?;
    let found = clients.json(&format!("/api/platform/logs?signature={signature}")).await?;
    let mut entry = found["items"][0].clone();
    let (id, time) = (take(&mut entry, "id")?, take(&mut entry, "timestamp")?);
    let node = take(&mut entry, "node")?;
    ensure!(node.as_str().is_some_and(|node| !node.is_empty()), "{node} is no node");
    let mut expected = json!({
        "level": "ERROR", "category": "system", "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "requestId": "r-1",
        "userId": "u-1", "message": "payment failed", "data": {"orderId": 4711}, "signature": signature,
    });
    for (name, value) in clients.origin.as_object().into_iter().flatten() {
        expected[name] = value.clone();
    }
    ensure!(entry == expected, "{entry:#}\nexpected\n{expected:#}");
    let mut group = page.clone();
    let trend = take(&mut group, "trend")?;
    let expected = json!({
        "signature": signature, "level": "ERROR", "count": 1, "firstSeen": time, "lastSeen": time,
        "tenants": [clients.origin["tenantId"]], "services": [clients.origin["service"]],
        "sample": {"id": id, "timestamp": time, "message": "payment failed"},
    });
    ensure!(group == expected, "{group:#}\nexpected\n{expected:#}");
    let counts: Vec<_> = trend.as_array().into_iter().flatten().map(|bin| &bin["count"]).collect();
    ensure!(counts == [&json!(1)], "{trend}");
    Ok(())
}

/// A line of the task as its clients read it, without its number.
fn task_line(level: &str, source: &str, message: &str, progress: Option<u32>) -> Value {
    let mut item =
        json!({"task_id": "4711", "timestamp": "T", "level": level, "source": source, "message": message});
    if let Some(progress) = progress {
        item["metadata"] = json!({"progress": progress});
    }
    item
}

/// Task lines without their numbers, which the store gives.
fn known(text: &str) -> Result<Value> {
    let mut value: Value = serde_json::from_str(text)?;
    let forget = |item: &mut Value| -> Result<()> {
        let id = take(item, "id")?;
        ensure!(id.as_i64().is_some_and(|id| id > 0), "{id} is no number of a line");
        Ok(())
    };
    match value.get_mut("items").and_then(Value::as_array_mut) {
        Some(items) => items.iter_mut().try_for_each(forget)?,
        None => forget(&mut value)?,
    }
    Ok(value)
}

fn take(value: &mut Value, name: &str) -> Result<Value> {
    let fields = value.as_object_mut().context("no object")?;
    fields.remove(name).with_context(|| format!("{name} is missing"))
}

/// The text with `T` for each time, which is RFC 3339 in UTC with milliseconds or microseconds.
fn without_times(text: &str) -> Result<String> {
    const NAME: &str = r#""timestamp":""#;
    let (mut rest, mut out) = (text, String::new());
    while let Some(at) = rest.find(NAME) {
        let (before, after) = rest.split_at(at + NAME.len());
        let end = after.find('"').context("a time without an end")?;
        let (time, after) = after.split_at(end);
        let is_time =
            time.ends_with('Z') && matches!(time.len(), 24 | 27) && time.parse::<jiff::Timestamp>().is_ok();
        ensure!(is_time, "{time} is no time that clients read");
        out.push_str(before);
        out.push('T');
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

impl Clients<'_> {
    async fn get(&self, path: &str) -> Result<String> {
        let bearer = self.token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> =
            bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let answer = ask(self.address, "GET", path, &headers).await?;
        ensure!(answer.code == 200, "{path}: {} {}", answer.code, answer.text());
        Ok(answer.text())
    }

    async fn json(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.get(path).await?)?)
    }

    async fn listen(&self, path: &str) -> Result<Listener> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        if let Some(token) = self.token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        }
        let stream =
            TcpStream::connect(self.address).await.with_context(|| format!("connect {}", self.address))?;
        let (socket, _) =
            tokio_tungstenite::client_async(request, stream).await.with_context(|| path.to_owned())?;
        Ok(Listener(socket))
    }
}

struct Listener(WebSocketStream<TcpStream>);

impl Listener {
    async fn frame(&mut self) -> Result<String> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await.context("no frame came")?;
            match message.context("the stream ended")?? {
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Close(close) => bail!("closed: {close:?}"),
                _ => {}
            }
        }
    }

    /// The next frame in which one of these words stands.
    async fn frame_with(&mut self, words: &[&str]) -> Result<String> {
        loop {
            let frame = self.frame().await?;
            if words.iter().any(|word| frame.contains(word)) {
                return Ok(frame);
            }
        }
    }
}
