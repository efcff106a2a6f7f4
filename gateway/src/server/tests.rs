use cordwood_store::{Settings, Store};
use prometheus::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::audit::Audit;
use crate::config::Limits;

/// A gateway before a store that is not there.
async fn gateway(limits: Limits) -> (Running, Registry) {
    let store = Store::new(&Settings::url("postgres://nobody@127.0.0.1:1/nothing")).unwrap();
    let registry = Registry::new();
    let gateway = Gateway::new(store, Access::Loopback, &limits, &registry).unwrap();
    (start(gateway, "127.0.0.1:0".parse().unwrap()).await.unwrap(), registry)
}

async fn send(running: &Running, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn get(running: &Running, path: &str) -> String {
    let mut stream = send(running, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")).await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_filter_is_read_by_those_alone_who_have_a_slot() {
    let none = Limits {
        queries_max: 0,
        queries_kept_for_short: 0,
        exports_max: 0,
        streams_max: 0,
        ..Limits::default()
    };
    let (running, _) = gateway(none).await;
    let document: serde_json::Value = serde_json::from_str(&routes::openapi_json()).unwrap();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array().cloned().unwrap_or_default();
        if parameters.iter().any(|parameter| parameter["name"] == "filter") {
            let answer = get(&running, &format!("{path}?filter=(")).await;
            assert!(answer.starts_with("HTTP/1.0 429 "), "{path}: {answer}");
            asked += 1;
        }
    }
    assert!(asked >= 4, "{asked} routes");
    running.stop().await;
}

/// What comes until the connection ends; it must end by itself.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut told = Vec::new();
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut told));
    read.await.expect("the connection stays open").ok();
    String::from_utf8_lossy(&told).into_owned()
}

#[tokio::test]
async fn who_does_not_ask_to_the_end_is_not_waited_for() {
    let (running, _) = gateway(Limits { header_ms_max: 200, ..Limits::default() }).await;
    for begun in ["", "G", "GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nX: "] {
        assert_eq!(until_closed(&mut send(&running, begun).await).await, "", "{begun}");
    }
    let whole = "GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let told = until_closed(&mut send(&running, whole).await).await;
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    running.stop().await;
}

#[tokio::test]
async fn a_change_is_told_also_when_its_caller_leaves_before_the_answer() {
    // A store that takes a question and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let store = Store::new(&Settings::url(format!("postgres://nobody@{address}/nothing"))).unwrap();
    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
    let audit = Audit::to(false, move |line| {
        told.send(serde_json::from_slice::<serde_json::Value>(line)?).map_err(std::io::Error::other)
    });
    let gateway = Gateway::new(store, Access::Loopback, &Limits::default(), &Registry::new()).unwrap();
    let running = start(gateway.audited(audit), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let asking = send(&running, "DELETE /api/tasks/t1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    // The question is with the store.
    let _asked = silent.accept().await.unwrap();
    drop(asking);
    let line = tokio::time::timeout(Duration::from_secs(20), tells.recv()).await.unwrap().unwrap();
    assert_eq!((&line["action"], &line["metadata"]["path"]), (&"changed".into(), &"/api/tasks/t1".into()));
    assert_eq!(line["metadata"]["outcome"], "left");
    running.stop().await;
}

#[tokio::test]
async fn connections_are_bounded_and_a_place_comes_free() {
    // A store that takes a question and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let store = Store::new(&Settings::url(format!("postgres://nobody@{address}/nothing"))).unwrap();
    let registry = Registry::new();
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let gateway = Gateway::new(store, Access::Loopback, &limits, &registry).unwrap();
    let running = start(gateway, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (mut held, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        held.push(send(&running, "GET /api/platform/logs HTTP/1.1\r\nHost: localhost\r\n\r\n").await);
        asked.push(silent.accept().await.unwrap());
    }
    let told = until_closed(&mut send(&running, "").await).await;
    assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("urn:cordwood:problem:connections"), "{told}");
    let metrics = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(metrics.contains(r#"cordwood_gateway_refused_total{reason="connections"} 1"#), "{metrics}");
    held.pop();
    let mut is_free = false;
    for _ in 0..200 {
        let closing = "GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        is_free = until_closed(&mut send(&running, closing).await).await.starts_with("HTTP/1.1 200 ");
        if is_free {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(is_free);
    drop((held, asked));
    // One that waits for its next question does not hold up the end.
    let _idle = send(&running, "GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    running.stop().await;
}

#[tokio::test]
async fn what_hyper_refuses_by_itself_has_the_shape_of_all_refusals() {
    let (running, _) = gateway(Limits::default()).await;
    let header = format!("X: {}\r\n", "a".repeat(60_000));
    let rows = [
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", header.repeat(10)), 431),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: 1\r\n".repeat(200)), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(70_000)), 414),
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(300_000)), 414),
        ("GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ];
    for (request, code) in rows {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        // It may be refused before all of it is taken.
        stream.write_all(request.as_bytes()).await.ok();
        let told = until_closed(&mut stream).await;
        let begin = &request[..20.min(request.len())];
        assert!(told.starts_with(&format!("HTTP/1.1 {code} ")), "{begin:?}: {told}");
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("application/problem+json") && head.contains("x-request-id"), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], code, "{problem}");
    }
    // One good request behind another keeps its own answer.
    let mut stream = send(&running, &"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2)).await;
    stream.write_all(b"GET /none HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(until_closed(&mut stream).await.matches("urn:cordwood:problem:no-route").count(), 3);
    running.stop().await;
}

#[tokio::test]
async fn the_document_is_sent_once_and_packed_for_who_can_unpack() {
    let (running, _) = gateway(Limits::default()).await;
    let ask = async |more: &str| {
        let request = format!("GET /api/openapi.json HTTP/1.0\r\nHost: localhost\r\n{more}\r\n");
        until_closed(&mut send(&running, &request).await).await
    };
    let plain = ask("").await;
    let tag = plain.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().trim().to_owned();
    assert!(plain.contains("cache-control: no-cache") && plain.ends_with("}\n"), "{}", &plain[..500]);
    let packed = ask("Accept-Encoding: gzip\r\n").await;
    assert!(packed.contains("content-encoding: gzip") && packed.contains(&tag), "{}", &packed[..300]);
    assert!(packed.len() < plain.len() / 3);
    for known in [tag.clone(), format!("\"x\", {tag}"), "*".to_owned(), tag.replace("W/", "")] {
        let told = ask(&format!("If-None-Match: {known}\r\n")).await;
        assert!(told.starts_with("HTTP/1.0 304 ") && told.ends_with("\r\n\r\n"), "{told}");
    }
    assert!(ask("If-None-Match: \"x\"\r\n").await.starts_with("HTTP/1.0 200 "));
    assert!(get(&running, "/api/openapi.json?x=1").await.starts_with("HTTP/1.0 400 "));
    running.stop().await;
}

#[tokio::test]
async fn one_callers_requests_leave_connections_to_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.yaml");
    let tokens = "tokens:\n- {name: one, token: one-0123456789abcdef, tenants: all}\n\
                  - {name: other, token: other-0123456789abcdef, tenants: all}\n";
    std::fs::write(&file, tokens).unwrap();
    // A store that takes a question and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let store = Store::new(&Settings::url(format!("postgres://nobody@{address}/nothing"))).unwrap();
    let per_identity = crate::config::IdentityLimits { requests_max: 3, ..Default::default() };
    let limits = Limits { connections_max: 6, per_identity, ..Limits::default() };
    let registry = Registry::new();
    let access = Access::Tokens(crate::Tokens::read(&file).unwrap());
    let gateway = Gateway::new(store, access, &limits, &registry).unwrap();
    let running = start(gateway, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let request = |path: &str, name: &str| {
        format!(
            "GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {name}-0123456789abcdef\r\n\r\n"
        )
    };
    let mut asking = Vec::new();
    for _ in 0..3 {
        asking.push(send(&running, &request("/api/platform/logs", "one")).await);
    }
    let mut refused = String::new();
    for _ in 0..500 {
        refused = until_closed(&mut send(&running, &request("/api/whoami", "one")).await).await;
        if refused.starts_with("HTTP/1.0 429 ") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(refused.starts_with("HTTP/1.0 429 ") && refused.contains("retry-after: "), "{refused}");
    let other = until_closed(&mut send(&running, &request("/api/whoami", "other")).await).await;
    assert!(other.starts_with("HTTP/1.0 200 "), "{other}");
    let metrics = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(metrics.contains(r#"cordwood_gateway_refused_total{reason="identity"}"#), "{metrics}");
    // Who leaves gives them back.
    asking.clear();
    let mut free = String::new();
    for _ in 0..500 {
        free = until_closed(&mut send(&running, &request("/api/whoami", "one")).await).await;
        if free.starts_with("HTTP/1.0 200 ") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(free.starts_with("HTTP/1.0 200 "), "{free}");
    running.stop().await;
}

#[tokio::test]
async fn a_flood_of_strangers_takes_no_place_from_who_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.yaml");
    std::fs::write(&file, "tokens:\n- {name: one, token: one-0123456789abcdef, tenants: all}\n").unwrap();
    // A store that takes a question and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let store = Store::new(&Settings::url(format!("postgres://nobody@{address}/nothing"))).unwrap();
    let limits = Limits { connections_max: 4, header_ms_max: 600_000, ..Limits::default() };
    let registry = Registry::new();
    let access = Access::Tokens(crate::Tokens::read(&file).unwrap());
    let gateway = Gateway::new(store, access, &limits, &registry).unwrap();
    let running = start(gateway, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let request = |path: &str, name: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {name}-0123456789abcdef\r\n\r\n"
        )
    };
    let mut asking = send(&running, &request("/api/platform/logs", "one")).await;
    // The question is with the store.
    let _asked = silent.accept().await.unwrap();
    let begun = request("/api/whoami", "x");
    let strangers =
        [String::new(), begun[..begun.len() - 2].to_owned(), begun, "GET / HTTP/1.1\r\n".to_owned()];
    let mut flood = Vec::new();
    for round in 0..10 {
        for stranger in &strangers {
            flood.push(send(&running, stranger).await);
        }
        let mut known = send(&running, &request("/api/whoami", "one")).await;
        let mut told = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(20), known.read_exact(&mut told)).await;
        read.expect("no answer").unwrap();
        assert_eq!(&told, b"HTTP/1.1 200", "round {round}");
        // A known caller who asks nothing more leaves their place too.
        flood.push(known);
    }
    for stranger in &mut flood[..40] {
        until_closed(stranger).await;
    }
    // The question that was under way all the time is.
    let waits = tokio::time::timeout(Duration::from_millis(100), asking.read(&mut [0; 1])).await;
    assert!(waits.is_err(), "{waits:?}");
    let metrics = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(metrics.contains(r#"cordwood_gateway_refused_total{reason="displaced"}"#), "{metrics}");
    drop(asking);
    running.stop().await;
}
