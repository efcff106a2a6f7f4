//! `/api/platform/logs/facets`: which values fields have, and how often; with a prefix it completes what is being typed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use cordwood_core::entry::{Category, Entry};

use super::parameters::{BudgetParameter, FieldParameters, RangeParameters};
use super::{json, now_us};
use crate::Gateway;
use crate::answer::{Facet, Facets, Searched};
use crate::problem::Problem;
use crate::question::{self, DATA, FILTERS, Parameters, RANGE, Which};
use crate::scope::Caller;
use crate::slots::Length;
use crate::tally::Tally;
use crate::walk::{Walked, walk};

pub const FACETS: [&str; 4] = ["field", "values", "prefix", "budgetMs"];
pub const FIELDS: [&str; 16] = [
    "level",
    "category",
    "tenant",
    "namespace",
    "service",
    "source",
    "pod",
    "container",
    "node",
    "plugin",
    "logger",
    "stream",
    "action",
    "errorType",
    "environment",
    "version",
];
const FIELDS_DEFAULT: [&str; 4] = ["level", "tenant", "namespace", "service"];
pub const VALUES_DEFAULT: u64 = 10;
pub const VALUES_MAX: u64 = 100;

/// Values of fields with their counts.
#[utoipa::path(
    get,
    path = "/api/platform/logs/facets",
    params(
        FieldParameters, RangeParameters,
        ("field" = Option<Vec<String>>, Query, description = "A field to count, may be repeated; by default level, tenant, namespace, service"),
        ("values" = Option<u64>, Query, description = "Of each field so many values: 1 to 100, by default 10"),
        ("prefix" = Option<String>, Query, description = "Only values that begin so, in any case"),
        BudgetParameter,
    ),
    responses(
        (status = 200, description = "The counts", body = Facets),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn facets(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&FILTERS, &RANGE, &FACETS], DATA)?;
    let fields = fields(&parameters.all("field")?)?;
    let most = question::number(&mut parameters, "values", VALUES_DEFAULT, 1..=VALUES_MAX)? as usize;
    let prefix = parameters.one("prefix")?.unwrap_or_default();
    let budget_ms = question::budget_ms(&mut parameters)?;
    let slot = gateway.slot(&caller, Length::Long).await?;
    let (_slot, which) = Which::read(slot, parameters, now_us()).await?;
    let (facets, walked) = tally_of(&gateway, &caller, &which, fields, &prefix, budget_ms, most).await?;
    caller.look.shown(walked.records);
    json(&Facets {
        facets,
        records: walked.records,
        complete: walked.searched_back_to_us.is_none(),
        searched: Searched::back_to(walked.searched_back_to_us),
    })
}

/// Of each field so many of the most frequent values that begin so.
pub async fn tally_of(
    gateway: &Gateway,
    caller: &Caller,
    which: &Which,
    fields: Vec<&'static str>,
    prefix: &str,
    budget_ms: u64,
    most: usize,
) -> Result<(BTreeMap<&'static str, Facet>, Walked), Problem> {
    let mut tally = Tally::new(fields, prefix, gateway.metrics.facet_values_cut.clone());
    let walked = walk(gateway, &caller.scope, which, budget_ms, &mut |record, origin| {
        let borrowed = record.as_record();
        let entry = Entry::new(&borrowed, origin);
        tally.add(|field| value(&entry, field));
    })
    .await?;
    Ok((tally.most_frequent(most).collect(), walked))
}

fn fields(asked: &[String]) -> Result<Vec<&'static str>, Problem> {
    if asked.is_empty() {
        return Ok(FIELDS_DEFAULT.to_vec());
    }
    let mut fields = Vec::new();
    for name in asked {
        let field = FIELDS.into_iter().find(|field| field == name).ok_or_else(|| {
            Problem::parameter("field", format!("{name:?} is not counted; there are: {}", FIELDS.join(", ")))
        })?;
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    Ok(fields)
}

fn value<'e>(entry: &'e Entry<'_>, field: &str) -> Option<Cow<'e, str>> {
    let own = |value: &'e Option<Cow<'_, str>>| value.as_deref().map(Cow::Borrowed);
    match field {
        "level" => Some(Cow::Borrowed(entry.level.as_str())),
        "category" => Some(Cow::Borrowed(match entry.category {
            Category::System => "system",
            Category::Audit => "audit",
        })),
        "tenant" => Some(Cow::Borrowed(entry.tenant_slug)),
        "namespace" => entry.namespace.map(Cow::Borrowed),
        "pod" => entry.pod.map(Cow::Borrowed),
        "container" => entry.container.map(Cow::Borrowed),
        "node" => entry.node.map(Cow::Borrowed),
        "stream" => Some(Cow::Borrowed(entry.stream)),
        "service" => own(&entry.service),
        "source" => own(&entry.source),
        "plugin" => own(&entry.plugin),
        "logger" => own(&entry.logger),
        "action" => own(&entry.action),
        "errorType" => own(&entry.error_type),
        "environment" => own(&entry.environment),
        "version" => own(&entry.version),
        _ => None,
    }
}
