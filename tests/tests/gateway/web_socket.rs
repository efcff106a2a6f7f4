//! The other end of a WebSocket of the gateway.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

use super::world::World;

pub struct Socket(pub WebSocketStream<TcpStream>);

impl Socket {
    pub async fn connect(
        address: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Result<Socket, tungstenite::Error>> {
        Socket::connect_to(address, "/api/platform/logs/stream", headers).await
    }

    pub async fn connect_to(
        address: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Result<Socket, tungstenite::Error>> {
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse()?);
        }
        let stream = TcpStream::connect(address).await?;
        let connected = tokio_tungstenite::client_async(request, stream).await;
        Ok(connected.map(|(socket, _)| Socket(socket)))
    }

    pub async fn open(address: &str) -> Result<Socket> {
        Ok(Socket::connect(address, &[("sec-websocket-protocol", "cordwood.v1")]).await??)
    }

    /// Opened, started and greeted.
    pub async fn start(world: &World, start: Value) -> Result<Socket> {
        let mut socket = Socket::open(&world.address).await?;
        socket.say(start).await?;
        socket.expect("hello").await?;
        Ok(socket)
    }

    pub async fn say(&mut self, frame: Value) -> Result<()> {
        Ok(self.0.send(Message::text(frame.to_string())).await?)
    }

    pub async fn message(&mut self) -> Result<Message> {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(30), self.0.next()).await;
            let message = message.context("nothing within 30 s")?.context("it ended")??;
            if !message.is_ping() {
                return Ok(message);
            }
        }
    }

    pub async fn next(&mut self) -> Result<Value> {
        match self.message().await? {
            Message::Text(text) => {
                ensure!(text.len() <= 256 << 10, "{} bytes", text.len());
                Ok(serde_json::from_str(&text)?)
            }
            other => bail!("no frame: {other:?}"),
        }
    }

    pub async fn expect(&mut self, kind: &str) -> Result<Value> {
        let frame = self.next().await?;
        ensure!(frame["type"] == kind, "{kind} expected: {frame}");
        Ok(frame)
    }

    /// The messages of so many records, and the last cursor.
    pub async fn records(&mut self, count: usize) -> Result<(Vec<String>, String)> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        while all.len() < count {
            let frame = self.expect("records").await?;
            all.extend(messages(&frame));
            cursor = text(&frame["cursor"]);
        }
        Ok((all, cursor))
    }

    /// `bye` and the close frame's code.
    pub async fn ends(&mut self) -> Result<(Value, u16)> {
        let bye = self.expect("bye").await?;
        match self.message().await? {
            Message::Close(Some(close)) => Ok((bye["code"].clone(), close.code.into())),
            other => bail!("no close: {other:?}"),
        }
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub fn messages(frame: &Value) -> Vec<String> {
    let items = frame["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| text(&item["message"])).collect()
}
