//! `/api/platform/logs`: a page of records in either direction, or all of them as an export.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::parameters::{BudgetParameter, FieldParameters, PageParameters, RangeParameters};
use super::{Form, json, now_us};
use crate::Gateway;
use crate::answer::LogsPage;
use crate::export::{self, Export};
use crate::problem::Problem;
use crate::question::{self, DATA, FILTERS, From, Parameters, RANGE, Which};
use crate::scope::Caller;
use crate::slots::Length;

pub const PAGE: [&str; 5] = ["order", "after", "before", "limit", "budgetMs"];
/// A question of this budget or less is a short one.
const SHORT_BUDGET_MS: u64 = 1_000;

/// Records, newest first.
///
/// With `Accept: application/x-ndjson`, `text/csv` or `text/plain` (the application's own bytes) the whole result is streamed; its last line
/// says whether it is whole.
#[utoipa::path(
    get,
    path = "/api/platform/logs",
    params(FieldParameters, RangeParameters, PageParameters, BudgetParameter),
    responses(
        (status = 200, description = "A page, or the export", content(
            (LogsPage = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"), (String = "text/plain"))),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn logs(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let form = Form::asked(&headers, &[Form::Json, Form::NdJson, Form::Csv, Form::Text])?;
    let mut parameters = Parameters::read(&uri, &[&FILTERS, &RANGE, &PAGE], DATA)?;
    let place = question::place(&mut parameters)?;
    let kind = match form {
        Form::Json => None,
        Form::NdJson => Some(export::Kind::NdJson),
        Form::Csv => Some(export::Kind::Csv),
        Form::Text => Some(export::Kind::Text),
    };
    if let Some(kind) = kind {
        if matches!(place.from, From::Before(_)) {
            return Err(Problem::parameter(
                "before",
                "an export goes on from a place by after; before is for pages",
            ));
        }
        let limit = question::number(&mut parameters, "limit", u64::MAX, 1..=u64::MAX)?;
        // An export has as long as it needs.
        question::budget_ms(&mut parameters)?;
        let slot = gateway.slot(&caller, Length::Export).await?;
        let (slot, which) = Which::read(slot, parameters, now_us()).await?;
        return Export::begin(gateway, caller, slot, which, place, limit, kind).await;
    }
    let limit = question::limit(&mut parameters)?;
    let budget_ms = question::budget_ms(&mut parameters)?;
    let length = if budget_ms <= SHORT_BUDGET_MS { Length::Short } else { Length::Long };
    let slot = gateway.slot(&caller, length).await?;
    let (slot, which) = Which::read(slot, parameters, now_us()).await?;
    let found = gateway.search(&caller.scope, &which.filter, which.range, place.page(limit), budget_ms).await;
    let found = found.map_err(|error| Problem::store(&error))?;
    caller.look.shown(found.records.len() as u64);
    let page = slot.work(move || json(&LogsPage::of(place, found).map_err(|_| Problem::internal())?));
    Ok(page.await?.1)
}
