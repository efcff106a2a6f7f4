//! A stream over a WebSocket, `cordwood.v1`: the reader says which records it wants and how many it can take.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;

use super::ask::{Ask, after};
use super::frame::{End, Frame};
use super::session::Session;
use super::wire::{self, Over, Pulse, send, text};
use crate::Gateway;
use crate::answer::{Record, WhoAmI};
use crate::problem::Problem;
use crate::scope::Caller;
use crate::slots::Slot;

pub const PROTOCOL: &str = "cordwood.v1";
const START_TIMEOUT: Duration = Duration::from_secs(10);

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
        wire::close(&mut socket, end).await;
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
    let started = tokio::time::timeout(START_TIMEOUT, Box::pin(start(socket, gateway, caller))).await;
    let mut session = started.map_err(|_| Over::Ended(End::NoStart, None))??;
    let hello = Frame::Hello { scope: WhoAmI::of(session.caller()), feed: gateway.hub.feed() };
    send(socket, &hello).await?;
    let mut pulse = Pulse::new();
    loop {
        tokio::select! {
            biased;
            message = socket.recv() => {
                pulse.heard();
                if let Some(text) = text(message)?
                    && let Err(problem) = Box::pin(hear(&mut session, &text)).await
                {
                    send(socket, &Frame::from(&problem)).await?;
                }
            }
            () = pulse.is_due() => pulse.ask(socket).await?,
            frame = session.frame() => {
                send(socket, &frame?).await?;
                pulse.took();
            }
        }
    }
}

/// Waits for a good `start`.
async fn start(socket: &mut WebSocket, gateway: &Arc<Gateway>, mut caller: Caller) -> Result<Session, Over> {
    loop {
        let Some(text) = text(socket.recv().await)? else { continue };
        let asked = match Ask::read(&text) {
            Ok(Ask::Start { filter, after: from, credit }) => {
                let filter = filter.filter().await;
                let read = filter.and_then(|filter| Ok((filter, after(from.as_deref())?, credit)));
                match read {
                    Ok(asked) => gateway.see_named(&mut caller, &asked.0).await.map(|()| asked),
                    Err(problem) => Err(problem),
                }
            }
            Ok(_) => Err(Problem::parameter("frame", "the first frame is start {filter, after, credit}")),
            Err(problem) => Err(problem),
        };
        match asked {
            Ok((filter, after, credit)) => {
                caller.look.about("frame", text.as_str());
                let gateway = Arc::clone(gateway);
                let session =
                    Session::begin(gateway, caller, filter, after, credit.into(), Record::json).await;
                return session.map_err(Over::from);
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
        Ask::Filter { filter } => session.change(filter.filter().await?, text).await?,
        Ask::Pause => session.pause(),
    }
    Ok(())
}
