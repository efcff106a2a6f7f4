//! `/api/platform/logs/{id}`: one record by its permanent name.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use cordwood_core::filter;
use cordwood_core::origin::Origin;
use cordwood_store::scope::Scope;
use cordwood_store::search::{Cursor, Found, OwnedRecord, Page, TimeRange, search};

use super::{Form, json};
use crate::Gateway;
use crate::answer::Record;
use crate::problem::Problem;
use crate::question::{Parameters, id};
use crate::scope::Caller;
use crate::slots::Length;

const BUDGET_MS: u64 = 10_000;

/// One record. With `Accept: text/plain` the application's own bytes.
#[utoipa::path(
    get,
    path = "/api/platform/logs/{id}",
    params(("id" = String, Path, description = "A record's `id`: `<time in microseconds>.<record id>`")),
    responses(
        (status = 200, description = "The record", content((Record = "application/json"), (String = "text/plain"))),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn record(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let form = Form::asked(&headers, &[Form::Json, Form::Text])?;
    Parameters::read(&uri, &[], None)?;
    let Path(name) = name.map_err(|_| Problem::parameter("id", "is not UTF-8"))?;
    let cursor = id(&name).map_err(|why| Problem::parameter("id", why))?;
    let _slot = gateway.slot(&caller, Length::Short).await?;
    let (record, origin) = find(&gateway, &caller.scope, cursor).await?;
    caller.look.shown(1);
    if form == Form::Text {
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        return Ok(([(header::CONTENT_TYPE, kind)], record.body).into_response());
    }
    json(&Record::json(&record, &origin).map_err(|_| Problem::internal())?)
}

/// # Errors
/// The same when it is not there and when it may not be seen.
pub async fn find(
    gateway: &Gateway,
    scope: &Scope,
    cursor: Cursor,
) -> Result<(OwnedRecord, Origin), Problem> {
    let filter =
        filter::parse(&format!("id={cursor}")).map_err(|error| Problem::parameter("id", error.message))?;
    let found = search(&gateway.store, scope, &filter, TimeRange::default(), Page::first(1), BUDGET_MS).await;
    the_one(found.map_err(|error| Problem::store(&error))?)
}

/// What the search for one record found; it says nothing about what it did not look at.
fn the_one(mut found: Found) -> Result<(OwnedRecord, Origin), Problem> {
    let not_there = if found.complete { Problem::no_record } else { Problem::not_looked_at_all };
    let record = found.records.pop().ok_or_else(not_there)?;
    let origin = found.origins.remove(&record.origin).unwrap_or_default();
    Ok((record, origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_looked_at_is_not_said_to_be_missing() {
        let told = |found: Found| serde_json::to_value(the_one(found).unwrap_err()).unwrap();
        let ended = told(Found { complete: false, ..Found::default() });
        assert_eq!(ended["status"], 503, "{ended}");
        assert!(ended["detail"].as_str().unwrap().contains("ask again"), "{ended}");
        assert_eq!(told(Found { complete: true, ..Found::default() })["status"], 404);
    }
}
