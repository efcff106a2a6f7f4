//! `/api/platform/logs/completion`: what may follow in an expression that is being typed: fields, operators, values with their counts.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use cordwood_core::filter::Filter;
use cordwood_core::filter::complete::{Completion as Found, complete, value};
use cordwood_core::limits::FILTER_CHARACTERS_MAX;
use serde::Serialize;
use utoipa::ToSchema;

use super::facets::{FIELDS, tally_of};
use super::parameters::{BudgetParameter, RangeParameters};
use super::{json, now_us};
use crate::Gateway;
use crate::answer::Searched;
use crate::problem::Problem;
use crate::question::{self, Parameters, RANGE, Which};
use crate::scope::Caller;
use crate::slots::Length;
use crate::words::CompletionKind;

pub const TYPED: [&str; 4] = ["text", "at", "values", "budgetMs"];
pub const VALUES_DEFAULT: u64 = 20;
pub const VALUES_MAX: u64 = 100;
/// Values are those of the last hour, unless it is said otherwise.
const RANGE_DEFAULT_US: i64 = 3_600_000_000;
const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// What may stand in place of the characters from `from` to `to`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Completion {
    /// Characters of the text before what is replaced.
    from: usize,
    to: usize,
    items: Vec<CompletionItem>,
    /// False when the budget ended the count of values: there may be others, and counts are "at least".
    complete: bool,
    #[serde(flatten)]
    searched: Searched,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CompletionItem {
    #[schema(value_type = CompletionKind)]
    kind: &'static str,
    /// As it is to be written.
    text: String,
    /// Records that have the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// What may follow in an expression that is being typed.
///
/// Values come with the number of records that have them, of those that the caller sees: the last hour's unless `from` and `to` say otherwise.
#[utoipa::path(
    get,
    path = "/api/platform/logs/completion",
    params(
        ("text" = Option<String>, Query, description = "The expression so far"),
        ("at" = Option<u64>, Query, description = "Characters before the place where it is typed, by default all"),
        RangeParameters,
        ("values" = Option<u64>, Query, description = "So many values: 1 to 100, by default 20"),
        BudgetParameter,
    ),
    responses(
        (status = 200, description = "What may follow", body = Completion),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn completion(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&RANGE, &TYPED], None)?;
    let text = parameters.one("text")?.unwrap_or_default();
    let chars = text.chars().count();
    let at =
        question::number(&mut parameters, "at", chars as u64, 0..=FILTER_CHARACTERS_MAX as u64)? as usize;
    let at = at.min(chars);
    let most = question::number(&mut parameters, "values", VALUES_DEFAULT, 1..=VALUES_MAX)? as usize;
    let budget_ms = question::budget_ms(&mut parameters)?;
    let (from, found) = complete(&text, at);
    let named = |kind: &'static str, all: Vec<&'static str>| {
        let item = |text: &str| CompletionItem { kind, text: text.to_owned(), count: None };
        all.into_iter().map(item).collect::<Vec<_>>()
    };
    let (field, prefix) = match found {
        Found::Names(names) => {
            question::range(&mut parameters, now_us())?;
            return json(&Completion {
                from,
                to: at,
                items: named("field", names),
                complete: true,
                searched: Searched::default(),
            });
        }
        Found::Operators(all) => {
            question::range(&mut parameters, now_us())?;
            return json(&Completion {
                from,
                to: at,
                items: named("operator", all),
                complete: true,
                searched: Searched::default(),
            });
        }
        Found::Values { field, prefix } => (field, prefix),
    };
    let mut range = question::range(&mut parameters, now_us())?;
    let begins = |level: &&str| level.starts_with(&prefix.to_lowercase());
    let plain: String = field.chars().filter(|c| *c != '_').collect::<String>();
    let known = FIELDS.into_iter().find(|known| known.eq_ignore_ascii_case(&plain));
    let known = if plain.eq_ignore_ascii_case("tenantSlug") { Some("tenant") } else { known };
    let items = match known {
        Some("level") => Some(named("value", LEVELS.into_iter().filter(begins).collect())),
        None if plain.eq_ignore_ascii_case("severity") => {
            Some(named("value", LEVELS.into_iter().filter(begins).collect()))
        }
        // Values that are not counted: any text.
        None => Some(Vec::new()),
        Some(_) => None,
    };
    if let Some(items) = items {
        return json(&Completion { from, to: at, items, complete: true, searched: Searched::default() });
    }
    let to_us = range.to_us.unwrap_or_else(now_us);
    range.from_us = Some(range.from_us.unwrap_or(to_us.saturating_sub(RANGE_DEFAULT_US)));
    let field = known.unwrap_or_default();
    let _slot = gateway.slot(&caller, Length::Long).await?;
    let which = Which { filter: Filter::all(), range };
    let (facets, walked) = tally_of(&gateway, &caller, &which, vec![field], &prefix, budget_ms, most).await?;
    caller.look.shown(walked.records);
    let item = |counted: crate::answer::ValueCount| CompletionItem {
        kind: "value",
        text: value(&counted.value),
        count: Some(counted.count),
    };
    let values = facets.into_values().flat_map(|facet| facet.values).filter(|counted| !counted.cut);
    json(&Completion {
        from,
        to: at,
        items: values.map(item).collect(),
        complete: walked.searched_back_to_us.is_none(),
        searched: Searched::back_to(walked.searched_back_to_us),
    })
}
