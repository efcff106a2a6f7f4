//! Streams that are open while a namespace is deleted and made again by another tenant: a caller with a grant for the old one is shown nothing of
//! the new one, and a caller with a grant for both goes on with the new one alone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cordwood_core::level::Level;
use cordwood_gateway::{Access, Cluster, Limits};
use cordwood_tests::env::wait_for;
use cordwood_tests::http::open;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio_tungstenite::tungstenite::Message;

use super::cluster::Kubernetes;
use super::renewed::delete;
use super::web_socket::Socket;
use super::world::{Line, World, container, line, now_us, put};

const PATIENCE: Duration = Duration::from_secs(30);

/// A task's line that others read too.
fn told(at_us: i64, word: &str) -> Vec<Line> {
    let body = format!(r#"{{"level":"error","taskId":"job","message":"{word}"}}"#);
    vec![line(at_us, Level::Error, body)]
}

/// All that a WebSocket says until it is closed, and the code.
async fn rest_of(socket: &mut Socket) -> Result<(String, u16)> {
    let mut all = String::new();
    loop {
        match socket.message().await? {
            Message::Text(text) => all.push_str(&text),
            Message::Close(Some(close)) => return Ok((all, close.code.into())),
            other => anyhow::bail!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_does_not_go_on_in_a_namespace_that_is_made_again() -> Result<()> {
    let cluster = Kubernetes::start().await?;
    let at = now_us();
    let mut config = cluster.gateway().await?;
    (config.allow_ms, config.deny_ms) = (100, 100);
    let access = Access::Cluster(Arc::new(Cluster::new(&config).await?));
    let limits = Limits { stream_rights_ms: 200, ..Limits::default() };
    let world =
        World::start(15, &[(container("acme", "shop", 0), told(at, "first of acme"))], access, limits)
            .await?;
    let bindings: Api<RoleBinding> = Api::namespaced(cluster.client.clone(), "shop");
    let mut streams = Vec::new();
    for name in ["before", "both"] {
        let bearer = format!("Bearer {}", cluster.token(name, "cordwood").await?);
        cluster.bind(name, "logs", "shop").await?;
        let headers = [("authorization", bearer.as_str()), ("sec-websocket-protocol", "cordwood.v1")];
        let mut socket = Socket::connect(&world.address, &headers).await??;
        socket.say(json!({"type": "start", "credit": 100})).await?;
        socket.expect("hello").await?;
        socket.expect("caughtUp").await?;
        let monitor = Socket::connect_to(&world.address, "/ws/monitor", &headers[..1]).await??;
        let task = Socket::connect_to(&world.address, "/api/tasks/job/logs/stream", &headers[..1]).await??;
        let path = "/api/platform/logs/stream";
        let plain = open(&world.address, "GET", path, &[("Authorization", &bearer)]).await?;
        let mut plain = BufReader::new(plain).lines();
        loop {
            let said = tokio::time::timeout(PATIENCE, plain.next_line()).await??.context("it ended")?;
            if said.contains("caughtUp") {
                break;
            }
        }
        streams.push((bearer.clone(), socket, monitor, task, plain));
    }
    // All of them show what is stored now.
    put(&world.store, &[(container("acme", "shop", 1), told(at + 1, "second of acme"))]).await?;
    let mut cursors = Vec::new();
    for (_, socket, monitor, task, plain) in &mut streams {
        let (seen, cursor) = socket.records(1).await?;
        ensure!(seen == ["second of acme"], "{seen:?}");
        cursors.push(cursor);
        for plain in [monitor, task] {
            let said = plain.message().await?.into_text()?;
            ensure!(said.contains("second of acme"), "{said}");
        }
        let said = tokio::time::timeout(PATIENCE, plain.next_line()).await??.context("it ended")?;
        ensure!(said.contains("second of acme"), "{said}");
    }
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    delete(&namespaces, "shop").await?;
    // (A cluster's controllers do that.)
    for name in ["before-logs", "both-logs"] {
        bindings.delete(name, &DeleteParams::default()).await?;
    }
    wait_for("another second", PATIENCE, || async {
        ensure!(now_us() > at + 1_000_000);
        Ok(())
    })
    .await?;
    let shop = serde_json::from_value(json!({"metadata": {"name": "shop"}}))?;
    namespaces.create(&PostParams::default(), &shop).await?;
    cluster.bind("both", "logs", "shop").await?;
    for (_, socket, monitor, task, plain) in &mut streams {
        for stream in [socket, monitor, task] {
            let (said, code) = rest_of(stream).await?;
            ensure!(code == 4403 && !said.contains("rival"), "{code}: {said}");
        }
        let mut said = String::new();
        while let Some(line) = tokio::time::timeout(PATIENCE, plain.next_line()).await?? {
            said.push_str(&line);
        }
        ensure!(said.contains("4403"), "{said}");
    }
    // What the old one's agent brings late, and the new one's own.
    let now = now_us();
    let late = (container("acme", "shop", 2), told(at + 2, "late of acme"));
    put(&world.store, &[late, (container("rival", "shop", 3), told(now, "first of rival"))]).await?;
    for ((bearer, ..), cursor) in streams.iter().zip(cursors) {
        let headers = [("authorization", bearer.as_str()), ("sec-websocket-protocol", "cordwood.v1")];
        let mut socket = Socket::connect(&world.address, &headers).await??;
        socket.say(json!({"type": "start", "credit": 100, "after": cursor})).await?;
        let hello = socket.expect("hello").await?;
        let is_of_both = hello["scope"]["namespaces"] == json!(["shop"]);
        if !is_of_both {
            ensure!(hello["scope"]["tenants"] == json!([]) && hello["scope"]["audit"] == false, "{hello}");
            let said = socket.expect("caughtUp").await?;
            ensure!(!said.to_string().contains("of "), "{said}");
            continue;
        }
        ensure!(socket.records(1).await?.0 == ["first of rival"]);
        put(&world.store, &[(container("rival", "shop", 4), told(now + 1, "second of rival"))]).await?;
        loop {
            let frame = socket.next().await?.to_string();
            ensure!(!frame.contains("of acme"), "{frame}");
            if frame.contains("second of rival") {
                break;
            }
        }
    }
    Ok(())
}
