//! The OpenAPI document: what the handlers say of themselves, what their parameters accept, and the resources of administration.

mod accepted;
mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

use crate::admin::schemas;
use crate::problem::Problem;
use crate::question::Parameters;

pub fn about() -> OpenApi {
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

/// The whole of it.
pub fn document() -> Value {
    let mut document = serde_json::to_value(super::documented().split_for_parts().1).unwrap_or_default();
    accepted::say(&mut document);
    kept::say(&mut document);
    schemas::say(&mut document);
    document
}

/// The operations, each with its method and path.
fn operations(document: &mut Value) -> impl Iterator<Item = (String, String, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.map(move |(method, operation)| (method.clone(), path.clone(), operation))
    })
}

/// The names of all parameters of addresses.
pub fn query_names() -> BTreeSet<String> {
    let mut document = document();
    let mut names = BTreeSet::new();
    for (_, _, operation) in operations(&mut document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let asked = parameters.filter(|parameter| parameter["in"] == "query");
        names.extend(asked.filter_map(|parameter| parameter["name"].as_str()).map(str::to_owned));
    }
    names
}

/// The OpenAPI document, as it is committed.
pub fn openapi_json() -> String {
    let mut text = serde_json::to_string_pretty(&sorted(document())).unwrap_or_default();
    text.push('\n');
    text
}

/// The same with its names in order, whatever the features are with which `serde_json` is compiled.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> =
                fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// The document as it is served, and the name of what it says.
static DOCUMENT: LazyLock<(String, String)> = LazyLock::new(|| {
    let text = openapi_json();
    // Weak: it stands for the text, packed or not.
    let tag = Sha256::digest(text.as_bytes()).into_iter().take(16).map(|byte| format!("{byte:02x}"));
    let tag = format!("W/\"{}\"", tag.collect::<String>());
    (text, tag)
});

pub async fn serve(headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
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

#[cfg(test)]
mod tests;
