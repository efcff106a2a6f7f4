//! The routes. Each handler identifies the caller, reads the question, takes a slot, asks the store, and writes the answer.

mod agents;
mod aggregates;
mod completion;
mod context;
mod document;
mod facets;
mod histogram;
mod levels;
mod login;
mod logs;
mod parameters;
mod plugins;
mod record;
mod retention;
mod stream;
mod tasks;
mod watch;
mod whoami;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::problem::Problem;

pub use document::{openapi_json, query_names};

/// All paths.
pub fn router() -> Router<Arc<Gateway>> {
    let (router, _) = documented().split_for_parts();
    router
        .route("/api/openapi.json", axum::routing::get(document::serve))
        .fallback(crate::ui::page)
        .method_not_allowed_fallback(async || Problem::no_method())
}

fn documented() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::with_openapi(document::about())
        .routes(routes!(logs::logs))
        .routes(routes!(record::record))
        .routes(routes!(context::context))
        .routes(routes!(histogram::histogram))
        .routes(routes!(facets::facets))
        .routes(routes!(completion::completion))
        .routes(routes!(aggregates::aggregates))
        .routes(routes!(aggregates::aggregate))
        .routes(routes!(stream::stream))
        .routes(routes!(plugins::plugin_logs))
        .routes(routes!(tasks::task_logs))
        .routes(routes!(tasks::task_stats))
        .routes(routes!(tasks::task_sources))
        .routes(routes!(watch::task_stream))
        .routes(routes!(watch::monitor))
        .routes(routes!(tasks::announce_task, tasks::delete_task))
        .routes(routes!(whoami::whoami))
        .routes(routes!(login::login))
        .routes(routes!(login::callback))
        .routes(routes!(login::logout))
        .routes(routes!(login::ticket))
        .routes(routes!(retention::policies, retention::put_policy, retention::post_policy))
        .routes(routes!(retention::policy, retention::put_policy_named, retention::delete_policy))
        .routes(routes!(retention::approve_plan))
        .routes(routes!(levels::level_configs, levels::put_level, levels::post_level))
        .routes(routes!(levels::level_config, levels::put_level_named, levels::delete_level))
        .routes(routes!(agents::agents))
}

pub fn json(answer: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(answer).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        Problem::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    NdJson,
    Csv,
    Text,
}

impl Form {
    /// The first of `Accept` that is `known` here; JSON for a caller who says nothing, or that anything will do.
    fn asked(headers: &HeaderMap, known: &[Form]) -> Result<Form, Problem> {
        let mut is_asked = false;
        for value in headers.get_all(header::ACCEPT) {
            for range in value.to_str().unwrap_or_default().split(',') {
                let name = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                let form = match name.as_str() {
                    "" => continue,
                    "application/json" | "*/*" | "application/*" => Form::Json,
                    "application/x-ndjson" => Form::NdJson,
                    "text/csv" => Form::Csv,
                    "text/plain" => Form::Text,
                    _ => {
                        is_asked = true;
                        continue;
                    }
                };
                if known.contains(&form) {
                    return Ok(form);
                }
                is_asked = true;
            }
        }
        if is_asked { Err(Problem::not_acceptable()) } else { Ok(Form::Json) }
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests;
