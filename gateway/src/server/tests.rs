use cordwood_store::{Settings, Store};
use prometheus::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
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
