//! What no good reader sends over a WebSocket: each is answered with the code that names it, and the others go on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cordwood_core::level::Level;
use cordwood_gateway::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::web_socket::Socket;
use super::world::{World, container, line, put, recent_us, tokens};

const BEARER: &str = "Bearer acme-0123456789abcdef";
const TEXT: u8 = 0x1;
const CONTINUED: u8 = 0x0;
const FIN: u8 = 0x80;

/// A frame with a mask of zeros.
fn frame(head: u8, payload: &[u8], told_bytes: usize) -> Vec<u8> {
    let mut frame = vec![head, 0x80 | 127];
    frame.extend((told_bytes as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn whole(head: u8, payload: &[u8]) -> Vec<u8> {
    frame(head, payload, payload.len())
}

/// Below any library that would not send this.
struct Raw(TcpStream);

impl Raw {
    async fn open(address: &str, path: &str) -> Result<Raw> {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {BEARER}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: cordwood.v1\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await?);
        }
        ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Ok(Raw(stream))
    }

    /// The code of the close frame that comes after all others.
    async fn code(&mut self) -> Result<u16> {
        loop {
            let (head, length) = (self.0.read_u8().await?, self.0.read_u8().await?);
            let length = match length {
                126 => u64::from(self.0.read_u16().await?),
                127 => self.0.read_u64().await?,
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length)?];
            self.0.read_exact(&mut payload).await?;
            if head & 0xf == 0x8 {
                let code = payload.first_chunk().context("no code")?;
                return Ok(u16::from_be_bytes(*code));
            }
        }
    }
}

#[tokio::test]
async fn each_bad_frame_has_its_code() -> Result<()> {
    let at = recent_us();
    let file = "tokens: [{name: acme, token: acme-0123456789abcdef, tenants: [acme]}]";
    let world = World::start(15, &[], tokens(file)?, Limits::default()).await?;
    let headers = [("authorization", BEARER), ("sec-websocket-protocol", "cordwood.v1")];
    // Asks for what is another's.
    let mut good = Socket::connect(&world.address, &headers).await??;
    good.say(json!({"type": "start", "filter": "tenant=umbrella OR tenant=acme", "credit": 100})).await?;
    good.expect("hello").await?;
    good.expect("caughtUp").await?;

    let start = whole(FIN | TEXT, br#"{"type":"start","credit":1}"#);
    let fragment = whole(CONTINUED, &[b'x'; 10_000]);
    let endless = [whole(TEXT, b"{"), fragment.repeat(10)].concat();
    let bad: [(&str, Vec<u8>, u16); 6] = [
        ("a frame of a gigabyte", frame(FIN | TEXT, b"{", 1 << 30), 1009),
        ("a fragment without an end", endless, 1009),
        ("what is no UTF-8", whole(FIN | TEXT, &[b'{', 0xff, 0xfe]), 1007),
        ("the end of what never began", whole(FIN | CONTINUED, b"x"), 1002),
        ("a frame of a kind that is none", whole(FIN | 0x5, b"x"), 1002),
        ("a frame without a mask", vec![FIN | TEXT, 1, b'x'], 1002),
    ];
    for path in ["/api/platform/logs/stream", "/ws/monitor", "/api/tasks/42/logs/stream"] {
        for (what, bytes, code) in &bad {
            for first in [&[][..], &start] {
                let mut raw = Raw::open(&world.address, path).await?;
                raw.0.write_all(first).await?;
                raw.0.write_all(bytes).await?;
                let answered = tokio::time::timeout(Duration::from_secs(20), raw.code()).await;
                let answered = answered.with_context(|| format!("{path}: {what}: no answer"))?;
                let answered = answered.with_context(|| format!("{path}: {what}"))?;
                ensure!(answered == *code, "{path}: {what}: {answered}");
            }
        }
    }
    let stored = [
        (container("umbrella", "shop", 0), vec![line(at, Level::Info, "another's")]),
        (container("acme", "shop", 1), vec![line(at + 1, Level::Info, "own")]),
    ];
    put(&world.store, &stored).await?;
    ensure!(good.records(1).await?.0 == ["own"]);
    Ok(())
}
