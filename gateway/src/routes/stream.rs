//! `/api/platform/logs/stream`: records as they are stored.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use super::now_us;
use super::parameters::FieldParameters;
use crate::Gateway;
use crate::live::Live;
use crate::problem::Problem;
use crate::question::{self, FILTERS, Parameters, Which};
use crate::scope::Caller;
use crate::slots::Length;

pub const FROM: [&str; 1] = ["after"];

/// Records as they are stored, a frame of JSON a line: `hello`, `records`, `gap`, `caughtUp`, `heartbeat`, `error`, `bye`.
#[utoipa::path(
    get,
    path = "/api/platform/logs/stream",
    params(
        FieldParameters,
        ("after" = Option<String>, Query, description = "A record's id or the `cursor` of a frame: what was stored since comes first"),
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
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&FILTERS, &FROM], true)?;
    let after = parameters.one("after")?;
    let after = after.map(|text| question::id(&text)).transpose();
    let after = after.map_err(|why| Problem::parameter("after", why))?;
    let slot = gateway.slot(&caller, Length::Stream).await?;
    let (slot, which) = Which::read(slot, parameters, now_us()).await?;
    Live::begin(gateway, caller, slot, which.filter, after).await
}
