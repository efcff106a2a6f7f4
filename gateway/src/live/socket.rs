//! A stream over a WebSocket, `cordwood.v1`: the reader says which records it wants and how many it can take.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use tokio::time::{Instant, MissedTickBehavior};

use super::ask::{Ask, after};
use super::frame::{End, Frame};
use super::session::Session;
use crate::Gateway;
use crate::answer::WhoAmI;
use crate::problem::Problem;
use crate::scope::Caller;
use crate::slots::Slot;

pub const PROTOCOL: &str = "cordwood.v1";
/// Of a reader's frame.
pub const ASK_BYTES_MAX: usize = 64 << 10;
const START_TIMEOUT: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(20);
/// A reader that says nothing so long, not even that it is there, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(65);
/// A frame that is not taken within it ends the stream: its reader comes back with a cursor.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The reader is gone: there is nobody to tell.
struct Gone;

/// Why a stream comes to its end.
enum Over {
    Gone,
    Ended(End, Option<Problem>),
}

impl From<Gone> for Over {
    fn from(_: Gone) -> Over {
        Over::Gone
    }
}

/// Until the reader leaves, or there is nothing more to tell.
pub async fn serve(
    mut socket: WebSocket,
    gateway: Arc<Gateway>,
    caller: Caller,
    slot: Result<Slot, Problem>,
) {
    let over = match slot {
        Ok(_slot) => {
            let _open = gateway.metrics.open("websocket");
            let stopping = gateway.stopping.clone();
            let run = stopping.run_until_cancelled(run(&mut socket, &gateway, caller)).await;
            run.unwrap_or(Over::Ended(End::Restart, None))
        }
        Err(problem) => Over::Ended(End::TooMany, Some(problem)),
    };
    if let Over::Ended(end, problem) = over {
        let frames = problem.as_ref().map(Frame::from).into_iter().chain([Frame::bye(end)]);
        for frame in frames {
            if send(&mut socket, &frame).await.is_err() {
                return;
            }
        }
        let close = Message::Close(Some(CloseFrame { code: end as u16, reason: "".into() }));
        // Until the reader says that it has read this.
        let _gone = tokio::time::timeout(CLOSE_TIMEOUT, async {
            if socket.send(close).await.is_ok() {
                while let Some(Ok(_)) = socket.recv().await {}
            }
        })
        .await;
    }
}

async fn run(socket: &mut WebSocket, gateway: &Arc<Gateway>, caller: Caller) -> Over {
    match stream(socket, gateway, caller).await {
        Ok(never) => match never {},
        Err(over) => over,
    }
}

async fn stream(
    socket: &mut WebSocket,
    gateway: &Arc<Gateway>,
    caller: Caller,
) -> Result<std::convert::Infallible, Over> {
    let hello = Frame::Hello { scope: WhoAmI::of(&caller), feed: "postgresql" };
    let started = tokio::time::timeout(START_TIMEOUT, start(socket, gateway, caller)).await;
    let mut session = started.map_err(|_| Over::Ended(End::NoStart, None))??;
    send(socket, &hello).await?;
    let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            biased;
            message = socket.recv() => {
                heard = Instant::now();
                if let Some(text) = text(message)?
                    && let Err(problem) = hear(&mut session, &text).await
                {
                    send(socket, &Frame::from(&problem)).await?;
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE_MAX {
                    return Err(Over::Gone);
                }
                deliver(socket, Message::Ping(Default::default())).await?;
            }
            frame = session.frame() => {
                let frame = frame.map_err(|(end, problem)| Over::Ended(end, problem))?;
                send(socket, &frame).await?;
                // A slow way is no silence.
                heard = heard.max(Instant::now() - Duration::from_secs(1));
            }
        }
    }
}

/// Waits for a good `start`.
async fn start(socket: &mut WebSocket, gateway: &Arc<Gateway>, caller: Caller) -> Result<Session, Over> {
    loop {
        let Some(text) = text(socket.recv().await)? else { continue };
        let asked = match Ask::read(&text) {
            Ok(Ask::Start { filter, after: from, credit }) => {
                let filter = filter.filter().await;
                filter.and_then(|filter| Ok((filter, after(from.as_deref())?, credit)))
            }
            Ok(_) => Err(Problem::parameter("frame", "the first frame is start {filter, after, credit}")),
            Err(problem) => Err(problem),
        };
        match asked {
            Ok((filter, after, credit)) => {
                caller.look.about("frame", text.as_str());
                let session = Session::begin(Arc::clone(gateway), caller, filter, after, credit.into()).await;
                return session.map_err(|error| {
                    let end = if error.is_transient() { End::Restart } else { End::Failed };
                    Over::Ended(end, Some(Problem::store(&error)))
                });
            }
            Err(problem) => send(socket, &Frame::from(&problem)).await?,
        }
    }
}

async fn hear(session: &mut Session, text: &str) -> Result<(), Problem> {
    match Ask::read(text)? {
        Ask::Start { .. } => {
            return Err(Problem::parameter("frame", "the stream has started; filter {filter} changes it"));
        }
        Ask::Credit { n } => session.credit(n.into()),
        Ask::Filter { filter } => session.change(filter.filter().await?, text),
        Ask::Pause => session.pause(),
    }
    Ok(())
}

/// What a message says; nothing where it only shows that somebody is there.
fn text(message: Option<Result<Message, axum::Error>>) -> Result<Option<String>, Gone> {
    match message {
        Some(Ok(Message::Text(text))) => Ok(Some(text.as_str().to_owned())),
        // Is no frame of this protocol, and is told so.
        Some(Ok(Message::Binary(_))) => Ok(Some(String::new())),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Gone),
    }
}

async fn send(socket: &mut WebSocket, frame: &Frame) -> Result<(), Gone> {
    deliver(socket, Message::Text(frame.text().into())).await
}

async fn deliver(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match tokio::time::timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}
