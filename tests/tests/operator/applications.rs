//! Applications as a push finds them: small HTTP servers that have a level, at addresses of their own, the pods that the API server has for
//! them, and a way to the API server on which one question can be held up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How an application has its level changed.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `GET`, `POST /actuator/loggers/ROOT`.
    Spring,
    /// `GET`, `PUT /log/level`.
    Zap,
    /// `POST /logging`.
    Envoy,
    /// `GET`, `POST /lvl`, plain text.
    Text,
    /// Sends everybody elsewhere.
    Redirect(String),
}

/// A running application.
pub struct App {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    /// `METHOD /path body`.
    requests: Vec<String>,
    /// By the logger's name.
    levels: BTreeMap<String, String>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl App {
    pub async fn start(kind: Kind, address: &str, levels: &[(&str, &str)]) -> Result<App> {
        let listener = TcpListener::bind(address).await.with_context(|| address.to_owned())?;
        let levels = levels.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect();
        let seen = Arc::new(Mutex::new(Seen { levels, ..Seen::default() }));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().expect("no panic while it is held").connections += 1;
                let (kind, seen) = (kind.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    // (Who asks may go before the answer.)
                    let _ = answer(stream, &kind, &seen).await;
                });
            }
        });
        Ok(App { seen, task })
    }

    pub fn connections(&self) -> usize {
        self.seen.lock().expect("no panic while it is held").connections
    }

    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().expect("no panic while it is held").requests.clone()
    }

    pub fn levels(&self) -> BTreeMap<String, String> {
        self.seen.lock().expect("no panic while it is held").levels.clone()
    }

    /// Somebody else changes the level.
    pub fn set(&self, logger: &str, level: &str) {
        let mut seen = self.seen.lock().expect("no panic while it is held");
        seen.levels.insert(logger.to_owned(), level.to_owned());
    }

    /// The level of this logger is this one.
    pub async fn has(&self, logger: &str, level: &str) -> Result<()> {
        let levels = self.levels();
        ensure!(levels.get(logger).is_some_and(|found| found == level), "{levels:?}, {:?}", self.requests());
        Ok(())
    }
}

async fn answer(mut stream: TcpStream, kind: &Kind, seen: &Mutex<Seen>) -> Result<()> {
    let mut request = Vec::new();
    let (head, body) = loop {
        let mut part = [0; 1024];
        let count = stream.read(&mut part).await?;
        ensure!(count > 0, "the request ends early");
        request.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().context("a method")?, words.next().context("a path")?);
    let (status, more, text) = {
        let mut seen = seen.lock().expect("no panic while it is held");
        seen.requests.push(format!("{method} {path} {body}").trim_end().to_owned());
        respond(kind, &mut seen.levels, method, path, &body)
    };
    let text = format!(
        "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n{text}",
        text.len()
    );
    stream.write_all(text.as_bytes()).await?;
    Ok(())
}

/// Status, more headers and the body.
fn respond(
    kind: &Kind,
    levels: &mut BTreeMap<String, String>,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String, String) {
    let said = |text: String| (200, String::new(), text);
    let refused = |status: u16| (status, String::new(), String::new());
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    match (kind, method, path) {
        (Kind::Spring, "GET", "/actuator/loggers/ROOT") => {
            let configured = levels.get("ROOT");
            said(json!({"configuredLevel": configured, "effectiveLevel": "INFO"}).to_string())
        }
        (Kind::Spring, "POST", "/actuator/loggers/ROOT") => {
            match value.get("configuredLevel") {
                Some(Value::String(level)) => levels.insert("ROOT".to_owned(), level.clone()),
                Some(Value::Null) => levels.remove("ROOT"),
                _ => return refused(400),
            };
            refused(204)
        }
        (Kind::Zap, "GET", "/log/level") => said(json!({"level": levels.get("")}).to_string()),
        (Kind::Zap, "PUT", "/log/level") => {
            let known = ["debug", "info", "warn", "error"];
            match value["level"].as_str().filter(|level| known.contains(level)) {
                Some(level) => levels.insert(String::new(), level.to_owned()),
                None => return refused(400),
            };
            said(json!({"level": levels.get("")}).to_string())
        }
        (Kind::Envoy, "POST", path) if path == "/logging" || path.starts_with("/logging?") => {
            match path.split_once('?').and_then(|(_, query)| query.split_once('=')) {
                Some(("level", level)) => levels.values_mut().for_each(|known| *known = level.to_owned()),
                Some((name, level)) if levels.contains_key(name) => {
                    levels.insert(name.to_owned(), level.to_owned());
                }
                Some(_) => return refused(400),
                None => {}
            }
            let each: String = levels.iter().map(|(name, level)| format!("  {name}: {level}\n")).collect();
            said(format!("active loggers:\n{each}"))
        }
        (Kind::Text, "GET", "/lvl") => said(levels.get("").cloned().unwrap_or_default()),
        (Kind::Text, "POST", "/lvl") => match body.strip_prefix("level=") {
            Some(level) => {
                levels.insert(String::new(), level.to_owned());
                refused(204)
            }
            None => refused(400),
        },
        (Kind::Redirect(to), ..) => (307, format!("location: {to}\r\n"), String::new()),
        _ => refused(405),
    }
}

/// A namespace with the account of its pods.
pub async fn namespace(client: &Client, name: &str) -> Result<()> {
    let object: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    Api::all(client.clone()).create(&PostParams::default(), &object).await?;
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "app"}}))?;
    Api::namespaced(client.clone(), name).create(&PostParams::default(), &account).await?;
    Ok(())
}

/// A running pod at this address, as the kubelet of its node would tell of it; its label `app` is `app`. Its UID.
pub async fn pod(
    client: &Client,
    namespace: &str,
    (name, app): (&str, &str),
    ip: &str,
    spec: Value,
) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut object = json!({
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "app"}], "serviceAccountName": "app",
                 "automountServiceAccountToken": false},
    });
    cordwood_tests::merge(&mut object["spec"], &spec);
    let made = pods.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    made.metadata.uid.context("a UID")
}

/// Deletes a pod and returns when it is gone.
pub async fn delete(client: &Client, namespace: &str, name: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
    ensure!(pods.get_opt(name).await?.is_none(), "pod {name} is still there");
    Ok(())
}

/// A way to the API server on which one question can be held up.
pub struct Gate {
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    client: Client,
    /// Path of the question, and how often it may still be asked before it is held up.
    hold: Mutex<Option<(String, usize)>>,
    /// Answers that were passed on: the path and the text.
    lists: Mutex<Vec<(String, String)>>,
    held: Notify,
    go: Notify,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    pub async fn start(client: Client) -> Result<Gate> {
        let shared = Arc::new(Shared {
            client,
            hold: Mutex::default(),
            lists: Mutex::default(),
            held: Notify::new(),
            go: Notify::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // (It ends with the test.)
            let _ = axum::serve(listener, router).await;
        });
        Ok(Gate { address, shared, task })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Holds up the next question for this path after so many others.
    pub fn hold(&self, path: &str, after: usize) {
        *self.shared.hold.lock().expect("no panic while it is held") = Some((path.to_owned(), after));
    }

    /// When the question is held up.
    pub async fn held(&self) {
        self.shared.held.notified().await;
    }

    /// Lets it go on.
    pub fn let_go(&self) {
        self.shared.go.notify_one();
    }

    /// Whether a list of this path that was passed on had all of these words.
    pub fn listed(&self, path: &str, words: &[&str]) -> bool {
        let lists = self.shared.lists.lock().expect("no panic while it is held");
        lists.iter().any(|(listed, text)| listed == path && words.iter().all(|word| text.contains(word)))
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match passed_on(&shared, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn passed_on(shared: &Shared, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let is_held = {
        let mut hold = shared.hold.lock().expect("no panic while it is held");
        match hold.as_mut().filter(|(held, _)| parts.method == Method::GET && *held == path) {
            Some((_, after)) if *after > 0 => {
                *after -= 1;
                false
            }
            Some(_) => hold.take().is_some(),
            None => false,
        }
    };
    if is_held {
        shared.held.notify_one();
        shared.go.notified().await;
    }
    let query = parts.uri.path_and_query().context("a path")?.as_str();
    let mut forward = axum::http::Request::builder().method(parts.method).uri(query);
    for name in [header::ACCEPT, header::CONTENT_TYPE] {
        if let Some(value) = parts.headers.get(&name) {
            forward = forward.header(name, value);
        }
    }
    let body = to_bytes(body, 4 << 20).await?;
    let answer = shared.client.send(forward.body(kube::client::Body::from(body))?).await?;
    let (mut parts, body) = answer.into_parts();
    for name in [header::TRANSFER_ENCODING, header::CONNECTION] {
        parts.headers.remove(name);
    }
    if path.ends_with("/pods") && !query.contains("watch=") {
        let bytes = body.collect_bytes().await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        shared.lists.lock().expect("no panic while it is held").push((path, text));
        return Ok(Response::from_parts(parts, Body::from(bytes)));
    }
    Ok(Response::from_parts(parts, Body::new(body)))
}
