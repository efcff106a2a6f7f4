//! What one reader does to the others: who takes nothing holds up nobody, and what was deleted meanwhile is shown to nobody.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cordwood_core::level::Level;
use cordwood_gateway::{Access, Limits, Tokens};
use cordwood_tests::env::wait_for;
use cordwood_tests::http::ask;
use futures::SinkExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::live::Frames;
use super::web_socket::Socket;
use super::world::{World, container, line, put, recent_us, tokens};

const TOKENS: &str = "tokens:
- {name: anna, token: anna-0123456789abcdef, tenants: all}
- {name: bert, token: bert-0123456789abcdef, tenants: all}
";

/// A reader of whom little is on the way.
async fn narrow(world: &World) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    Ok(socket.connect(world.address.parse()?).await?)
}

async fn narrow_socket(world: &World, token: &str) -> Result<Socket> {
    let mut request = format!("ws://{}/api/platform/logs/stream", world.address).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "cordwood.v1".parse()?);
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let (socket, _) = tokio_tungstenite::client_async(request, narrow(world).await?).await?;
    Ok(Socket(socket))
}

/// Sends what is answered at length and takes no answer, until nothing more is taken.
async fn stuff(socket: &mut Socket) -> Result<()> {
    let nonsense = json!({"type": "x".repeat(60_000)}).to_string();
    while let Ok(sent) =
        tokio::time::timeout(Duration::from_secs(1), socket.0.send(Message::text(nonsense.clone()))).await
    {
        sent?;
    }
    Ok(())
}

#[tokio::test]
async fn readers_who_take_nothing_keep_no_turn_from_the_others() -> Result<()> {
    let lines = vec![line(recent_us(), Level::Info, "one")];
    let stored = [(container("acme", "shop", 0), lines)];
    let world = World::start(15, &stored, tokens(TOKENS)?, Limits::default()).await?;
    let start = json!({"type": "start", "after": "1.0-0-0", "credit": 10});
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let mut socket = narrow_socket(&world, "anna-0123456789abcdef").await?;
        socket.say(start.clone()).await?;
        socket.expect("hello").await?;
        ensure!(socket.records(1).await?.0 == ["one"]);
        socket.expect("caughtUp").await?;
        stuck.push(socket);
    }
    // Each looks for itself when its reader stops to take anything.
    let mut holds = world.store.client("holds").await?;
    let held = holds.transaction().await?;
    held.batch_execute("lock table seals in access exclusive mode").await?;
    for socket in &mut stuck {
        socket.say(json!({"type": "filter", "filter": "level=info"})).await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for stuffed in futures::future::join_all(stuck.iter_mut().map(stuff)).await {
        stuffed?;
    }
    held.rollback().await?;

    let mut other = narrow_socket(&world, "bert-0123456789abcdef").await?;
    other.say(start).await?;
    other.expect("hello").await?;
    // (Less than a reader who takes nothing is waited for.)
    let records = tokio::time::timeout(Duration::from_secs(30), other.records(1)).await;
    ensure!(records.context("the others have all turns")??.0 == ["one"]);
    other.expect("caughtUp").await?;
    Ok(())
}

#[tokio::test]
async fn what_streams_keep_shows_no_task_that_was_deleted_since() -> Result<()> {
    let at = recent_us();
    let world = World::with(15, &[]).await?;
    let mut first = Frames::open(&world, "", &[]).await?;
    first.expect("hello").await?;
    let begin = first.expect("caughtUp").await?;
    let lines = vec![
        line(at, Level::Info, r#"{"taskId":"t1","message":"of the task"}"#),
        line(at + 1, Level::Info, r#"{"message":"of none"}"#),
    ];
    put(&world.store, &[(container("acme", "shop", 1), lines)]).await?;
    ensure!(first.records(2).await?.0 == ["of the task", "of none"]);
    let deleted = ask(&world.address, "DELETE", "/api/tasks/t1", &[]).await?;
    ensure!(deleted.code == 204, "{}", deleted.text());
    let after = begin["cursor"].as_str().unwrap_or_default();
    let mut second = Frames::open(&world, &format!("after={after}"), &[]).await?;
    second.expect("hello").await?;
    ensure!(second.records(1).await?.0 == ["of none"]);
    Ok(())
}

#[tokio::test]
async fn an_export_ends_with_the_right_that_it_began_with() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tokens.yaml");
    std::fs::write(&file, TOKENS)?;
    let (at, body) = (recent_us(), "x".repeat(4 << 10));
    let lines = |number: u32| -> Vec<_> {
        let at = at + 1_000 * i64::from(number);
        (0..1_000).map(|n| line(at + n, Level::Info, body.clone())).collect()
    };
    let stored: Vec<_> = (0..6).map(|number| (container("acme", "shop", number), lines(number))).collect();
    let limits = Limits { stream_rights_ms: 1, ..Limits::default() };
    let world = World::start(15, &stored, Access::Tokens(Tokens::read(&file)?), limits).await?;
    let mut export = narrow(&world).await?;
    let request = "GET /api/platform/logs HTTP/1.0\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\
                   Authorization: Bearer anna-0123456789abcdef\r\n\r\n";
    export.write_all(request.as_bytes()).await?;
    let mut read = vec![0; 1_024];
    export.read_exact(&mut read).await?;
    ensure!(read.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&read));
    std::fs::write(&file, "tokens: [{name: bert, token: bert-0123456789abcdef, tenants: all}]")?;
    wait_for("anna's token to be over", Duration::from_secs(30), async || {
        ensure!(world.get_as("anna-0123456789abcdef", "/api/whoami").await?.code == 401);
        Ok(())
    })
    .await?;
    export.read_to_end(&mut read).await?;
    let text = String::from_utf8_lossy(&read);
    let end = text.lines().last().unwrap_or_default();
    ensure!(end.contains("\"complete\":false") && end.contains("withdrawn"), "{end}");
    ensure!(text.lines().count() < 6_000, "all of it");
    Ok(())
}
