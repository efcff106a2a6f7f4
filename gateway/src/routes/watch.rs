//! `/api/tasks/{task_id}/logs/stream` and `/ws/monitor`: WebSockets of clients that only listen, to the letter of what they already speak.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use cordwood_store::tasks::{self, Named};

use super::now_us;
use super::parameters::FieldParameters;
use super::tasks::{METADATA, named, namespace, wanted};
use crate::Gateway;
use crate::live::{ASK_BYTES_MAX, PROTOCOL, Plain, READ_BUFFER_BYTES, TaskLines, serve_plain};
use crate::problem::Problem;
use crate::question::{DATA, FILTERS, Parameters, Which};
use crate::scope::Caller;
use crate::slots::Length;

pub const WATCHED: [&str; 5] = ["level", "min_level", "source", "search", "namespace"];

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// A task's lines as they are stored, over a WebSocket: a line a frame, from now on.
///
/// The task need not be there yet.
#[utoipa::path(
    get,
    path = "/api/tasks/{task_id}/logs/stream",
    params(
        ("task_id" = String, Path, description = "The task's id"),
        ("level" = Option<Vec<String>>, Query, description = "`DEBUG`, `INFO`, `WARNING` (or `WARN`), `ERROR`; repeated: any of these"),
        ("min_level" = Option<String>, Query, description = "This level and above; with neither this nor `level`: INFO and above"),
        ("source" = Option<Vec<String>>, Query, description = "The exact source; repeated: any of these"),
        ("search" = Option<String>, Query, description = "A text in the message, in any case"),
        ("namespace" = Option<String>, Query, description = "The task's namespace, where several have a task of this id"),
    ),
    responses(
        (status = 101, description = "A WebSocket; each of its text frames is an item of the task's log"),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn task_stream(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    task_id: Result<Path<String>, PathRejection>,
    uri: Uri,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&WATCHED], Some(METADATA))?;
    let (wanted, task_id) = (wanted(&mut parameters)?, named(task_id)?);
    let mut task = TaskLines { task_id, namespace: namespace(&mut parameters)?, wanted };
    task.filter()?;
    let upgrade = upgrade.map_err(|error| Problem::upgrade(error.body_text()))?;
    let slot = gateway.slot(&caller, Length::Stream).await;
    if slot.is_ok() {
        let known = tasks::find(&gateway.store, &caller.scope, &task.task_id, task.namespace.as_deref());
        match known.await.map_err(|error| Problem::store(&error))? {
            Named::None => {}
            // It stays this one, should another namespace have one of this id later.
            Named::One(known) => task.namespace = Some(known.namespace),
            Named::Several(namespaces) => return Err(Problem::several_tasks(&namespaces)),
        }
    }
    Ok(answer(gateway, caller, slot, upgrade, Plain::Task(task)))
}

/// Records as they are stored, over a WebSocket: `system_log` and `audit_log` frames, from now on.
///
/// Audit records are shown to those alone who may see them.
#[utoipa::path(
    get,
    path = "/ws/monitor",
    params(FieldParameters),
    responses(
        (status = 101, description = "A WebSocket; each of its text frames is a record"),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn monitor(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(&uri, &[&FILTERS], DATA)?;
    let slot = gateway.slot(&caller, Length::Stream).await;
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(error) => {
            slot?;
            return Err(Problem::upgrade(error.body_text()));
        }
    };
    let (slot, filter) = match slot {
        Ok(slot) => {
            let (slot, which) = Which::read(slot, parameters, now_us()).await?;
            (Ok(slot), which.filter)
        }
        // A browser does not see an answer's status; it sees the code with which a WebSocket is closed.
        Err(problem) => (Err(problem), cordwood_core::filter::Filter::all()),
    };
    Ok(answer(gateway, caller, slot, upgrade, Plain::Monitor(filter)))
}

fn answer(
    gateway: Arc<Gateway>,
    caller: Caller,
    slot: Result<crate::slots::Slot, Problem>,
    upgrade: WebSocketUpgrade,
    plain: Plain,
) -> Response {
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(ASK_BYTES_MAX)
        .max_frame_size(ASK_BYTES_MAX);
    let sockets = gateway.sockets.clone();
    upgrade.on_upgrade(move |socket| sockets.track_future(serve_plain(socket, gateway, caller, slot, plain)))
}
