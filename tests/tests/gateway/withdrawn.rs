//! What is taken away from somebody while a stream is open: it ends, and says why.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use cordwood_core::level::Level;
use cordwood_gateway::{Access, Cluster, Limits};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::cluster::{HOME, Kubernetes};
use super::web_socket::Socket;
use super::world::{World, container, line, now_us, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_withdrawn_and_a_token_that_is_over_end_a_stream() -> Result<()> {
    let cluster = Kubernetes::start().await?;
    // Not older than the namespace is.
    let at = now_us();
    let mut config = cluster.gateway().await?;
    (config.allow_ms, config.deny_ms) = (100, 100);
    let access = Access::Cluster(Arc::new(Cluster::new(&config).await?));
    let limits = Limits { stream_rights_ms: 200, ..Limits::default() };
    // Namespaces that have data are asked for.
    let stored = [(container("acme", "shop", 0), vec![line(at, Level::Info, "old")])];
    let world = World::start(15, &stored, access, limits).await?;
    let mut streams = Vec::new();
    for name in ["role", "account", "stays"] {
        let bearer = format!("Bearer {}", cluster.token(name, "cordwood").await?);
        cluster.bind(name, "logs", "shop").await?;
        let headers = [("authorization", bearer.as_str()), ("sec-websocket-protocol", "cordwood.v1")];
        let mut socket = Socket::connect(&world.address, &headers).await??;
        socket.say(json!({"type": "start", "credit": 100})).await?;
        let hello = socket.expect("hello").await?;
        ensure!(hello["scope"]["namespaces"] == json!(["shop"]), "{hello}");
        socket.expect("caughtUp").await?;
        let monitor = Socket::connect_to(&world.address, "/ws/monitor", &headers[..1]).await??;
        streams.push((socket, monitor));
    }
    put(&world.store, &[(container("acme", "shop", 1), vec![line(at + 1, Level::Info, "seen")])]).await?;
    for (socket, _) in &mut streams {
        ensure!(socket.records(1).await?.0 == ["seen"]);
    }
    let bindings: Api<RoleBinding> = Api::namespaced(cluster.client.clone(), "shop");
    bindings.delete("role-logs", &DeleteParams::default()).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), HOME);
    accounts.delete("account", &DeleteParams::default()).await?;
    for ((socket, monitor), code) in streams.iter_mut().zip([4403_u16, 4401]) {
        ensure!(socket.ends().await? == (json!(code), code));
        let end = loop {
            match monitor.message().await? {
                Message::Text(text) => ensure!(text.contains("seen"), "{text}"),
                other => break other,
            }
        };
        let ended = matches!(&end, Message::Close(Some(close)) if u16::from(close.code) == code);
        ensure!(ended, "{end:?}");
    }
    // Many times asked again meanwhile, and nothing was taken from this one.
    put(&world.store, &[(container("acme", "shop", 2), vec![line(at + 2, Level::Info, "later")])]).await?;
    ensure!(streams[2].0.records(1).await?.0 == ["later"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    put(&world.store, &[(container("acme", "shop", 3), vec![line(at + 3, Level::Info, "last")])]).await?;
    ensure!(streams[2].0.records(1).await?.0 == ["last"]);
    Ok(())
}
