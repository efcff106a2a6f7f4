//! `/api/platform/logs/{id}/context`: what stands around a record in the same container or file, whatever its words and levels.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use cordwood_core::filter::Filter;
use cordwood_store::search::{Direction, Found, OwnedRecord, Page, TimeRange, search};
use futures::future::join;

use super::json;
use super::record::find;
use crate::Gateway;
use crate::answer::{Context, items};
use crate::problem::Problem;
use crate::question::{self, Parameters, id};
use crate::scope::Caller;
use crate::slots::Length;

pub const AROUND: [&str; 3] = ["before", "after", "budgetMs"];
pub const AROUND_DEFAULT: u64 = 50;
pub const AROUND_MAX: u64 = 500;

/// The records around one, of the same container or file, oldest first.
#[utoipa::path(
    get,
    path = "/api/platform/logs/{id}/context",
    params(
        ("id" = String, Path, description = "A record's `id`"),
        ("before" = Option<u64>, Query, description = "How many older ones: 0 to 500, by default 50"),
        ("after" = Option<u64>, Query, description = "How many newer ones: 0 to 500, by default 50"),
        super::parameters::BudgetParameter,
    ),
    responses(
        (status = 200, description = "The records", body = Context),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn context(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&AROUND], None)?;
    let before = question::number(&mut parameters, "before", AROUND_DEFAULT, 0..=AROUND_MAX)?;
    let after = question::number(&mut parameters, "after", AROUND_DEFAULT, 0..=AROUND_MAX)?;
    let budget_ms = question::budget_ms(&mut parameters)?;
    let Path(name) = name.map_err(|_| Problem::parameter("id", "is not UTF-8"))?;
    let cursor = id(&name).map_err(|why| Problem::parameter("id", why))?;
    let slot = gateway.slot(&caller, Length::Short).await?;
    let (record, origin) = find(&gateway, &caller.scope, cursor).await?;
    let filter = Filter::same_place(&origin);
    let side = async |count: u64, direction: Direction| -> Result<Found, Problem> {
        if count == 0 {
            return Ok(Found { complete: true, ..Found::default() });
        }
        let page = Page { limit: count as usize, after: Some(cursor), direction };
        let found =
            search(&gateway.store, &caller.scope, &filter, TimeRange::default(), page, budget_ms).await;
        found.map_err(|error| Problem::store(&error))
    };
    let (older, newer) =
        join(side(before, Direction::NewestFirst), side(after, Direction::OldestFirst)).await;
    let (mut older, mut newer) = (older?, newer?);
    let complete = older.complete && newer.complete;
    let mut records: Vec<OwnedRecord> = older.records.drain(..).rev().collect();
    older.origins.insert(record.origin, origin);
    records.push(record);
    records.append(&mut newer.records);
    older.origins.extend(newer.origins);
    caller.look.shown(records.len() as u64);
    let answer = slot.work(move || {
        let items = items(&records, &older).map_err(|_| Problem::internal())?;
        json(&Context { items, id: cursor.to_string(), complete })
    });
    Ok(answer.await?.1)
}
