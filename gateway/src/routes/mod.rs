//! The paths. Each handler takes who asks, reads the question, takes a slot, asks the store, and gives the answer its form.

mod agents;
mod aggregates;
mod completion;
mod context;
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

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::problem::Problem;
use crate::question::Parameters;

/// All paths.
pub fn router() -> Router<Arc<Gateway>> {
    let (router, _) = documented().split_for_parts();
    router
        .route("/api/openapi.json", axum::routing::get(document))
        .fallback(async || Problem::no_route())
        .method_not_allowed_fallback(async || Problem::no_method())
}

fn documented() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::with_openapi(about())
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
        .routes(routes!(levels::level_configs, levels::put_level, levels::post_level))
        .routes(routes!(levels::level_config, levels::put_level_named, levels::delete_level))
        .routes(routes!(agents::agents))
}

fn about() -> OpenApi {
    let info = InfoBuilder::new().title("Cordwood").version(env!("CARGO_PKG_VERSION")).description(Some(
        "Logs that Cordwood stored: search, one record, its context, counts, groups of errors, export.",
    ));
    let mut document = OpenApiBuilder::new().info(info.build()).build();
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let session = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("__Host-cordwood-0")));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", token);
    components.add_security_scheme("session", session);
    document
}

/// The names of all parameters of addresses.
pub fn query_names() -> BTreeSet<String> {
    let document = serde_json::to_value(documented().split_for_parts().1).unwrap_or_default();
    let paths = document["paths"].as_object().into_iter().flat_map(serde_json::Map::values);
    let operations = paths.filter_map(serde_json::Value::as_object).flat_map(serde_json::Map::values);
    let parameters = operations.filter_map(|operation| operation["parameters"].as_array()).flatten();
    let asked = parameters.filter(|parameter| parameter["in"] == "query");
    asked.filter_map(|parameter| parameter["name"].as_str()).map(str::to_owned).collect()
}

/// The OpenAPI document, as it is committed.
pub fn openapi_json() -> String {
    let (_, document) = documented().split_for_parts();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The document as it is served, and the name of what it says.
static DOCUMENT: LazyLock<(String, String)> = LazyLock::new(|| {
    let text = openapi_json();
    // Weak: it stands for the text, packed or not.
    let tag = Sha256::digest(text.as_bytes()).into_iter().take(16).map(|byte| format!("{byte:02x}"));
    let tag = format!("W/\"{}\"", tag.collect::<String>());
    (text, tag)
});

async fn document(headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    Parameters::read(&uri, &[], None)?;
    let (text, tag) = &*DOCUMENT;
    let about = [
        (header::CONTENT_TYPE, "application/json"),
        // Kept, and asked about before it is used again.
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, tag.as_str()),
    ];
    let asked = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known =
        |known: &str| known == "*" || known.trim_start_matches("W/") == tag.trim_start_matches("W/");
    if asked.flat_map(|value| value.split(',')).any(|known| is_known(known.trim())) {
        return Ok((StatusCode::NOT_MODIFIED, about, ()).into_response());
    }
    Ok((about, text.as_str()).into_response())
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
    /// The first of `Accept` that is `known` here; JSON for whoever says nothing, or that anything will do.
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
