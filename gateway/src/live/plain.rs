//! Streams for clients that know neither credit nor cursors: each new record is one frame. A slow reader lags behind and delays nobody; a
//! reader that is gone is dropped.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use cordwood_core::filter::{self, Filter, quoted};
use cordwood_store::StoreError;
use cordwood_store::search::Cursor;
use cordwood_store::tasks::{self, Lines, Named};
use serde_json::value::RawValue;

use super::engine::{Item, Out};
use super::frame::End;
use super::monitor;
use super::session::{After, Form, Over as Ended, Session};
use super::wire::{self, Over, Pulse, deliver, text};
use crate::Gateway;
use crate::answer::TaskItem;
use crate::problem::Problem;
use crate::scope::Caller;
use crate::slots::Slot;

/// Lines that are asked for at once.
const LINES_MAX: usize = 1_000;
/// Between two attempts while PostgreSQL is away.
const RETRY: Duration = Duration::from_secs(1);

/// What a stream shows.
pub enum Plain {
    /// Records, as a monitor knows them.
    Monitor(Filter),
    Task(TaskLines),
}

/// Which lines of which task. It need not have any yet.
pub struct TaskLines {
    pub task_id: String,
    pub namespace: Option<String>,
    pub wanted: Lines,
}

impl TaskLines {
    /// The records that can be lines of it.
    pub fn filter(&self) -> Result<Filter, Problem> {
        filter::parse(&format!("taskId={}", quoted(&self.task_id)))
            .map_err(|error| Problem::parameter("task_id", error.message))
    }
}

/// Until the reader leaves, or there is nothing more to tell.
pub async fn serve_plain(
    mut socket: WebSocket,
    gateway: Arc<Gateway>,
    caller: Caller,
    slot: Result<Slot, Problem>,
    plain: Plain,
) {
    let over = match slot {
        Ok(_slot) => {
            let stopping = gateway.stopping.clone();
            let run = async {
                match stream(&mut socket, &gateway, caller, plain).await {
                    Ok(never) => match never {},
                    Err(over) => over,
                }
            };
            stopping.run_until_cancelled(run).await.unwrap_or(Over::Ended(End::Restart, None))
        }
        Err(problem) => Over::Ended(End::TooMany, Some(problem)),
    };
    if let Over::Ended(end, problem) = over {
        if let Some(problem) = problem {
            tracing::info!(code = end as u16, reason = problem.detail(), "a stream ended");
        }
        wire::close(&mut socket, end).await;
    }
}

async fn stream(
    socket: &mut WebSocket,
    gateway: &Arc<Gateway>,
    caller: Caller,
    plain: Plain,
) -> Result<Infallible, Over> {
    let nothing: Form = |_, _| RawValue::from_string("null".to_owned());
    let (filter, form, mut task) = match plain {
        Plain::Monitor(filter) => (filter, monitor::frame as Form, None),
        Plain::Task(task) => {
            let filter = task.filter().map_err(|problem| Over::Ended(End::Failed, Some(problem)))?;
            (filter, nothing, Some(task))
        }
    };
    let session = Session::begin(Arc::clone(gateway), caller, filter, After::Now, u64::MAX, form).await;
    let mut session = session.map_err(Over::from)?;
    // What is stored from here on is shown.
    let _open = gateway.metrics.open(if task.is_some() { "task" } else { "monitor" });
    let mut pulse = Pulse::new();
    loop {
        let items = tokio::select! {
            biased;
            // Whatever it says: it is there.
            message = socket.recv() => {
                text(message)?;
                pulse.heard();
                continue;
            }
            () = pulse.is_due() => {
                pulse.ask(socket).await?;
                continue;
            }
            out = session.next() => match out? {
                Out::Records { items, .. } => items,
                Out::Gap { .. } | Out::CaughtUp { .. } => continue,
            },
        };
        let frames = match &mut task {
            None => items.into_iter().map(|item| item.json.get().to_owned()).collect(),
            Some(task) => Box::pin(lines(gateway, session.caller(), task, &items)).await?,
        };
        for frame in frames {
            deliver(socket, Message::Text(frame.into())).await?;
            pulse.took();
        }
    }
}

/// Of these records, those that are lines of the task, as frames.
async fn lines(
    gateway: &Gateway,
    caller: &Caller,
    task: &mut TaskLines,
    items: &[Item],
) -> Result<Vec<String>, Ended> {
    let records: Vec<Cursor> = items.iter().map(|item| item.at).collect();
    let mut frames = Vec::new();
    for records in records.chunks(LINES_MAX) {
        let lines = loop {
            let _turn = gateway.hub.own_look().await;
            match stored(gateway, caller, task, records).await {
                Ok(lines) => break lines,
                Err(error) if error.is_transient() => tokio::time::sleep(RETRY).await,
                Err(error) => return Err((End::Failed, Some(Problem::store(&error)))),
            }
        };
        for line in lines {
            match serde_json::to_string(&TaskItem::of(&task.task_id, line)) {
                Ok(frame) => frames.push(frame),
                Err(error) => tracing::error!(%error, "a task's line could not be written"),
            }
        }
    }
    Ok(frames)
}

async fn stored(
    gateway: &Gateway,
    caller: &Caller,
    task: &mut TaskLines,
    records: &[Cursor],
) -> Result<Vec<tasks::LoggedLine>, StoreError> {
    let found = loop {
        let (id, namespace) = (&task.task_id, task.namespace.as_deref());
        match tasks::find(&gateway.store, &caller.scope, id, namespace).await? {
            Named::One(found) => break found,
            // Deleted, or never there: these are other records of the same id.
            Named::None => return Ok(Vec::new()),
            Named::Several(namespaces) => {
                // None had one when the stream began, and several have one before it has shown a line.
                tracing::info!(
                    task = id,
                    "several namespaces have a task of this id; the stream shows the first one's"
                );
                task.namespace = namespaces.into_iter().next();
            }
        }
    };
    // It stays this one, should another namespace have one of this id later.
    task.namespace = Some(found.namespace.clone());
    found.lines_of(&gateway.store, &task.wanted, records).await
}
