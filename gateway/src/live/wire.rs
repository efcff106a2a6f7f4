//! What all WebSockets here share: sending a message with a deadline, and closing with a code.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_tungstenite::tungstenite;

use super::frame::{End, Frame};
use crate::problem::Problem;

/// Of a reader's frame, or of all parts of one.
pub const ASK_BYTES_MAX: usize = 64 << 10;
/// Each connection has a buffer of it from its begin; readers say little, and a longer frame makes room for itself.
pub const READ_BUFFER_BYTES: usize = 1 << 10;
const PING_EVERY: Duration = Duration::from_secs(20);
/// A reader that says nothing so long, not even that it is there, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(65);
/// A message that is not taken within it ends the stream: its reader comes back.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The reader is gone: there is nobody to tell.
pub struct Gone;

/// Why a stream comes to its end.
pub enum Over {
    Gone,
    Ended(End, Option<Problem>),
}

impl From<Gone> for Over {
    fn from(_: Gone) -> Over {
        Over::Gone
    }
}

impl From<(End, Option<Problem>)> for Over {
    fn from((end, problem): (End, Option<Problem>)) -> Over {
        Over::Ended(end, problem)
    }
}

/// Whether a reader is still there.
pub struct Pulse {
    ping: Interval,
    heard: Instant,
}

impl Pulse {
    pub fn new() -> Pulse {
        let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Pulse { ping, heard: Instant::now() }
    }

    /// When the reader is to be asked whether it is there.
    pub async fn is_due(&mut self) {
        self.ping.tick().await;
    }

    pub async fn ask(&self, socket: &mut WebSocket) -> Result<(), Gone> {
        if self.heard.elapsed() > SILENCE_MAX {
            return Err(Gone);
        }
        deliver(socket, Message::Ping(Default::default())).await
    }

    pub fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// A slow way is no silence.
    pub fn took(&mut self) {
        self.heard = self.heard.max(Instant::now() - Duration::from_secs(1));
    }
}

/// What a message says; nothing where it only shows that somebody is there.
pub fn text(message: Option<Result<Message, axum::Error>>) -> Result<Option<String>, Over> {
    match message {
        Some(Ok(Message::Text(text))) => Ok(Some(text.as_str().to_owned())),
        // Is no frame of any protocol here, and is told so.
        Some(Ok(Message::Binary(_))) => Ok(Some(String::new())),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(Over::Gone),
        Some(Err(error)) => Err(match error.into_inner().downcast_ref() {
            Some(tungstenite::Error::Capacity(_)) => Over::Ended(End::TooLong, None),
            Some(tungstenite::Error::Utf8(_)) => Over::Ended(End::NotText, None),
            Some(tungstenite::Error::Protocol(_)) => Over::Ended(End::Protocol, None),
            _ => Over::Gone,
        }),
    }
}

pub async fn send(socket: &mut WebSocket, frame: &Frame) -> Result<(), Gone> {
    deliver(socket, Message::Text(frame.text().into())).await
}

pub async fn deliver(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match tokio::time::timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

/// Says why, and waits a moment until the reader says that it has read this.
pub async fn close(socket: &mut WebSocket, end: End) {
    let close = Message::Close(Some(CloseFrame { code: end as u16, reason: "".into() }));
    let _gone = tokio::time::timeout(CLOSE_TIMEOUT, async {
        if socket.send(close).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    })
    .await;
}
