//! `/api/platform/logs/stream`: records as they are stored.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;

use super::now_us;
use super::parameters::FieldParameters;
use crate::Gateway;
use crate::live::{self, ASK_BYTES_MAX, After, PROTOCOL, READ_BUFFER_BYTES};
use crate::problem::Problem;
use crate::question::{DATA, FILTERS, Parameters, Which};
use crate::scope::Caller;
use crate::slots::Length;

pub const FROM: [&str; 1] = ["after"];

/// Records as they are stored, a frame of JSON a line: `hello`, `records`, `gap`, `caughtUp`, `heartbeat`, `error`, `bye`.
///
/// A WebSocket of the subprotocol `cordwood.v1` has the same frames, as its reader gives credit for them; its parameters stand in its first frame.
#[utoipa::path(
    get,
    path = "/api/platform/logs/stream",
    params(
        FieldParameters,
        ("after" = Option<String>, Query, description = "The `cursor` of a frame: the stream goes on with all that it has not shown. Or a record's id: what has a later time comes first"),
    ),
    responses(
        (status = 200, description = "Frames, until the caller leaves", body = String, content_type = "application/x-ndjson"),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn stream(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    if headers.contains_key(header::UPGRADE) {
        let upgrade = upgrade.map_err(|error| Problem::upgrade(error.body_text()))?;
        return socket(gateway, caller, &uri, &headers, upgrade).await;
    }
    let mut parameters = Parameters::read(&uri, &[&FILTERS, &FROM], DATA)?;
    let after = After::read(parameters.one("after")?.as_deref());
    let after = after.map_err(|why| Problem::parameter("after", why))?;
    let slot = gateway.slot(&caller, Length::Stream).await?;
    let (slot, which) = Which::read(slot, parameters, now_us()).await?;
    live::lines(gateway, caller, slot, which.filter, after).await
}

/// What is wanted stands in the reader's first frame: an address is kept in histories and logs.
async fn socket(
    gateway: Arc<Gateway>,
    caller: Caller,
    uri: &Uri,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    Parameters::read(uri, &[], None)?;
    let mut protocols = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(',').map(str::trim));
    if !protocols.any(|protocol| protocol == PROTOCOL) {
        return Err(Problem::upgrade(format!(
            "offer the subprotocol {PROTOCOL}: Sec-WebSocket-Protocol: {PROTOCOL}"
        )));
    }
    let slot = gateway.slot(&caller, Length::Stream).await;
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(ASK_BYTES_MAX)
        .max_frame_size(ASK_BYTES_MAX);
    let sockets = gateway.sockets.clone();
    Ok(upgrade.on_upgrade(move |socket| sockets.track_future(live::serve(socket, gateway, caller, slot))))
}
