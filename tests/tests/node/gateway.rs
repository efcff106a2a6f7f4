//! The gateway as people meet it in a cluster: two replicas behind a Service, a caller with `view` in a namespace sees that namespace and
//! nothing else, and neither a replica that goes nor an upgrade costs anybody an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cordwood_core::filter;
use cordwood_generator::Stream;
use cordwood_store::Store;
use cordwood_store::scope::{AdminReason, Scope};
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_tests::clients::{Clients, hold};
use cordwood_tests::env::identity_provider::CLIENT_ID;
use cordwood_tests::env::{IdentityProvider, image, wait_for};
use cordwood_tests::http::{Answer, ask};
use cordwood_tests::release::{NAMESPACE, Part, Release};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const PATIENCE: Duration = Duration::from_secs(60);
const LOGS: &str = "/api/platform/logs";
/// Callers that ask one question after the other.
const CALLERS: usize = 2;
/// Lines whose way is measured.
const DELAYS: usize = 300;

/// The chart's values that this needs: the Service has a port on the node too.
pub fn values() -> Value {
    json!({"service": {"type": "NodePort"}})
}

/// `seen` and `hidden` are namespaces whose pods write all the time.
pub async fn serves(release: &Release, store: &Store, seen: &str, hidden: &str) -> Result<()> {
    let port = release.node.kubectl(&[
        "--namespace",
        NAMESPACE,
        "get",
        "service",
        "cordwood-gateway",
        "-o",
        "jsonpath={.spec.ports[0].nodePort}",
    ])?;
    let service = format!("{}:{port}", release.node.address());
    let both: BTreeSet<String> = ready(release).await?.into_keys().collect();
    ensure!(both.len() == 2, "two replicas are ready: {both:?}");

    let token = |name: &str| account(release, name);
    let (reader, nobody) = (token("reader")?, token("nobody")?);
    release.node.kubectl(&[
        "--namespace",
        seen,
        "create",
        "rolebinding",
        "reader",
        "--clusterrole=view",
        "--serviceaccount=default:reader",
    ])?;
    sees_one_namespace(&service, store, &reader, seen, hidden).await?;
    sees_nothing(&service, store, &nobody, seen).await?;
    clients_read_pods(release, &service).await?;

    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (over, service, token) = (Arc::clone(&over), service.clone(), reader.clone());
            tokio::spawn(async move { call(&service, &token, &over).await })
        })
        .collect();
    let delays = delays_ms(&service, &reader, seen).await?;
    let lines = a_replica_goes(release, &service, &reader, seen).await?;
    people_log_in(release, &service, store, seen, hidden).await?;
    over.store(true, Ordering::SeqCst);
    let mut asked = Asked::default();
    for caller in callers {
        let one = caller.await.context("a caller")??;
        asked = Asked { answered: asked.answered + one.answered, reset: asked.reset + one.reset };
    }
    println!(
        "gateway: {} requests answered while one replica was deleted and both were upgraded, {} connections reset; {lines} lines \
         streamed over the cut; {} ms (p50), {} ms (p99) from a container's write to who watches",
        asked.answered,
        asked.reset,
        delays[delays.len() / 2],
        delays[delays.len() * 99 / 100],
    );
    ensure!(asked.answered > 0);
    Ok(())
}

/// A token of a new service account, for the gateway alone.
fn account(release: &Release, name: &str) -> Result<String> {
    release.node.kubectl(&["create", "serviceaccount", name])?;
    let token = release.node.kubectl(&["create", "token", name, "--audience", "cordwood"])?;
    Ok(token.trim().to_owned())
}

/// What pods print is read by existing clients as they know it.
async fn clients_read_pods(release: &Release, service: &str) -> Result<()> {
    const OWN: &str = "clients";
    let token = account(release, OWN)?;
    release.node.kubectl(&["create", "namespace", OWN])?;
    release.node.kubectl(&["label", "namespace", OWN, "cordwood.dev/tenant=acme"])?;
    let binding = ["create", "rolebinding", OWN, "--clusterrole=admin", "--serviceaccount=default:clients"];
    release.node.kubectl(&[&["--namespace", OWN], &binding[..]].concat())?;
    let print = async |name: &str, lines: &[&str]| {
        let pod = ["--namespace", OWN, "run", name, "--image-pull-policy=Never", "--image", image::GENERATOR];
        let labels = ["--labels", "app.kubernetes.io/name=checkout", "--", "print"];
        wait_for("the pod to be admitted", PATIENCE, || async {
            release.node.kubectl(&[&pod[..], &labels, lines].concat()).map(drop)
        })
        .await
    };
    let origin = json!({
        "tenantId": "acme", "tenantSlug": "acme", "service": "checkout", "stream": "stdout", "namespace": OWN,
        "pod": "lines", "container": "lines",
    });
    hold(&Clients { address: service, token: Some(&token), origin }, print).await
}

/// Name and address of the replicas that are ready.
async fn ready(release: &Release) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for pod in release.pods(Part::Gateway).await? {
        let (name, status) = (pod.metadata.name.context("a name")?, pod.status.unwrap_or_default());
        let is_ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        if let (true, None, Some(ip)) = (is_ready, pod.metadata.deletion_timestamp, status.pod_ip) {
            found.insert(name, format!("{ip}:9600"));
        }
    }
    Ok(found)
}

async fn get(address: &str, token: &str, path: &str) -> Result<Answer> {
    ask(address, "GET", path, &[("Authorization", &format!("Bearer {token}"))]).await
}

async fn items(address: &str, token: &str, query: &str) -> Result<Vec<Value>> {
    let answer = get(address, token, &format!("{LOGS}?{query}")).await?;
    ensure!(answer.code == 200, "{query}: {} {}", answer.code, answer.text());
    Ok(answer.json()?["items"].as_array().context("no items")?.clone())
}

/// The id of a record that is stored in this namespace.
async fn stored(store: &Store, namespace: &str) -> Result<String> {
    let filter = filter::parse(&format!("namespace={namespace}")).map_err(|e| anyhow::anyhow!("{e}"))?;
    let scope = Scope::all(AdminReason::Audit);
    let found = search(store, &scope, &filter, TimeRange::default(), Page::first(1), 30_000).await?;
    Ok(found.records.first().with_context(|| format!("no record of {namespace}"))?.cursor().to_string())
}

/// The holder of this token.
async fn sees_one_namespace(
    service: &str,
    store: &Store,
    token: &str,
    seen: &str,
    hidden: &str,
) -> Result<()> {
    // The controller manager adds the chart's role to `view` in a moment.
    let found = wait_for("what the role binding grants", PATIENCE, || async {
        let found = items(service, token, "limit=500").await?;
        ensure!(!found.is_empty(), "nothing yet");
        Ok(found)
    })
    .await?;
    let namespaces: BTreeSet<&str> =
        found.iter().map(|item| item["namespace"].as_str().unwrap_or_default()).collect();
    ensure!(namespaces.iter().eq([&seen]), "{namespaces:?}");
    let id = stored(store, seen).await?;
    ensure!(get(service, token, &format!("{LOGS}/{id}")).await?.code == 200, "{id} of {seen}");
    is_absent(service, store, token, hidden).await
}

async fn sees_nothing(service: &str, store: &Store, token: &str, other: &str) -> Result<()> {
    ensure!(items(service, token, "limit=500").await?.is_empty());
    is_absent(service, store, token, other).await
}

/// A namespace that is there, and its records, read as one that is not.
async fn is_absent(service: &str, store: &Store, token: &str, namespace: &str) -> Result<()> {
    let of = async |namespace: &str| items(service, token, &format!("namespace={namespace}")).await;
    ensure!(of(namespace).await? == of("not-there").await?, "{namespace} is shown");
    let refusal = async |id: &str| {
        let answer = get(service, token, &format!("{LOGS}/{id}")).await?;
        let mut problem = answer.json()?;
        // Its name is the request's own.
        problem.as_object_mut().and_then(|problem| problem.remove("requestId")).context("no requestId")?;
        anyhow::Ok((answer.code, problem))
    };
    let (record, nowhere) = (refusal(&stored(store, namespace).await?).await?, refusal("1.0-0-0").await?);
    ensure!(record.0 == 404 && record == nowhere, "{record:?}, {nowhere:?}");
    Ok(())
}

/// The gateways are upgraded to know the people of an identity provider, and one of them sees what RBAC grants to the same name.
async fn people_log_in(
    release: &Release,
    service: &str,
    store: &Store,
    seen: &str,
    hidden: &str,
) -> Result<()> {
    let provider = IdentityProvider::start_at(release.node.address(), &[]).await?;
    let anna = provider.sign(&json!({"sub": "anna"})).await?;
    ensure!(get(service, &anna, LOGS).await?.code == 401, "known before anybody said so");
    let ca = format!("--from-file=ca.crt={}", provider.ca_file().display());
    release.node.kubectl(&["--namespace", NAMESPACE, "create", "secret", "generic", "oidc-ca", &ca])?;
    let person = ["create", "rolebinding", "anna", "--clusterrole=view", "--user=oidc:anna"];
    release.node.kubectl(&[&["--namespace", seen], &person[..]].concat())?;
    let oidc = json!({"issuer": provider.issuer(), "client_id": CLIENT_ID, "username_prefix": "oidc:"});
    release.upgrade(
        &json!({"gateway": {"config": {"access": {"oidc": oidc}}, "oidc": {"caSecretName": "oidc-ca"}}}),
    )?;
    wait_for("the old replicas to be gone", PATIENCE, || async {
        let pods = release.pods(Part::Gateway).await?.len();
        ensure!(pods == 2, "{pods} pods");
        Ok(())
    })
    .await?;
    sees_one_namespace(service, store, &anna, seen, hidden).await?;
    let other = provider.sign(&json!({"sub": "berta"})).await?;
    sees_nothing(service, store, &other, seen).await
}

/// How long lines need from their container's write to who watches: sorted milliseconds. (To be looked at, never asserted.)
async fn delays_ms(service: &str, token: &str, namespace: &str) -> Result<Vec<i64>> {
    let mut read = Read::default();
    let mut stream = open(service, token, namespace, Value::Null).await?;
    while read.delays_ms.len() < DELAYS {
        ensure!(read.frame(&mut stream).await?.is_none(), "the stream ended");
    }
    read.delays_ms.sort_unstable();
    Ok(read.delays_ms)
}

/// A stream goes on while its replica is deleted; the lines that it showed.
async fn a_replica_goes(release: &Release, service: &str, token: &str, namespace: &str) -> Result<usize> {
    let before = ready(release).await?;
    let (pod, address) = before.first_key_value().context("no replica")?;
    let mut read = Read::default();
    let mut stream = open(address, token, namespace, Value::Null).await?;
    while read.lines() == 0 {
        ensure!(read.frame(&mut stream).await?.is_none(), "the stream ended");
    }

    release.node.kubectl(&["--namespace", NAMESPACE, "delete", "pod", pod, "--wait=false"])?;
    let code = loop {
        if let Some(code) = read.frame(&mut stream).await? {
            break code;
        }
    };
    ensure!(code == 1012, "the stream ended with {code}");

    // It goes on, at another replica.
    let shown = read.lines();
    let mut stream = open(service, token, namespace, json!(read.cursor)).await?;
    while read.lines() < shown + 100 {
        ensure!(read.frame(&mut stream).await?.is_none(), "the stream ended again");
    }
    wait_for("two replicas without the old one", PATIENCE, || async {
        let now = ready(release).await?;
        ensure!(now.len() == 2 && !now.contains_key(pod), "{now:?}");
        Ok(())
    })
    .await?;
    let lines = read.lines();
    read.check()?;
    Ok(lines)
}

#[derive(Debug, Default)]
struct Asked {
    answered: u64,
    reset: u64,
}

/// One question after the other, each on a connection of its own. What fails otherwise than by a reset connection is an error.
async fn call(service: &str, token: &str, over: &AtomicBool) -> Result<Asked> {
    let mut asked = Asked::default();
    while !over.load(Ordering::SeqCst) {
        match get(service, token, &format!("{LOGS}?limit=1")).await {
            Ok(answer) if answer.code == 200 => asked.answered += 1,
            Ok(answer) => bail!("{} {}", answer.code, answer.text()),
            Err(error) => {
                let io = error.root_cause().downcast_ref::<std::io::Error>();
                let is_reset = io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset);
                ensure!(is_reset, "after {asked:?}: {error:#}");
                asked.reset += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(asked)
}

type Socket = WebSocketStream<TcpStream>;

async fn open(address: &str, token: &str, namespace: &str, after: Value) -> Result<Socket> {
    let mut request = format!("ws://{address}{LOGS}/stream").into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    request.headers_mut().insert("sec-websocket-protocol", "cordwood.v1".parse()?);
    let stream = TcpStream::connect(address).await.with_context(|| format!("connect {address}"))?;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    let start = json!({
        "type": "start", "filter": {"namespace": namespace}, "after": after, "credit": 1_000_000,
    });
    socket.send(Message::text(start.to_string())).await?;
    Ok(socket)
}

/// What a stream showed, over its cuts.
#[derive(Default)]
struct Read {
    /// The lines' numbers, by who wrote them.
    seen: BTreeMap<String, Vec<u64>>,
    /// Between a line's time and its frame.
    delays_ms: Vec<i64>,
    cursor: String,
}

impl Read {
    fn lines(&self) -> usize {
        self.seen.values().map(Vec::len).sum()
    }

    /// Reads a frame; the close code when it was the last.
    async fn frame(&mut self, socket: &mut Socket) -> Result<Option<u16>> {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.context("no frame came")?;
        let frame: Value = match message.context("the stream ended without a close")?? {
            Message::Text(text) => serde_json::from_str(&text)?,
            Message::Close(close) => return Ok(Some(close.context("a close code")?.code.into())),
            _ => return Ok(None),
        };
        ensure!(frame["type"] != "gap" && frame["type"] != "error", "{frame}");
        if let Some(cursor) = frame["cursor"].as_str() {
            self.cursor = cursor.to_owned();
        }
        for item in frame["items"].as_array().into_iter().flatten() {
            let message = item["message"].as_str().unwrap_or_default();
            let time: jiff::Timestamp =
                item["timestamp"].as_str().context("a line without a time")?.parse()?;
            self.delays_ms.push(jiff::Timestamp::now().duration_since(time).as_millis().try_into()?);
            if let Some(claim) = cordwood_generator::claim(message.as_bytes()) {
                self.seen.entry(claim.stream.to_owned()).or_default().push(claim.seq);
            }
        }
        Ok(None)
    }

    /// Of each stream all lines from the first to the last, each once.
    fn check(self) -> Result<()> {
        for (name, mut seen) in self.seen {
            seen.sort_unstable();
            for pair in seen.windows(2) {
                let missing = (pair[0] + 1..pair[1]).find(|seq| !Stream::is_bare(*seq));
                ensure!(pair[0] < pair[1], "line {} of {name} came twice", pair[0]);
                ensure!(missing.is_none(), "line {missing:?} of {name} did not come");
            }
        }
        Ok(())
    }
}
