//! `/api/plugins/{id}/logs`: what a plugin and its supervisor wrote, by pages with numbers.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use cordwood_core::entry::{Entry, timestamp_ms};
use cordwood_core::filter::{self, quoted};
use cordwood_core::origin::Origin;
use cordwood_store::search::OwnedRecord;
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::Gateway;
use crate::numbered::Listing;
use crate::problem::Problem;
use crate::question::{self, LIMIT_DEFAULT, LIMIT_MAX, Parameters};
use crate::scope::Caller;
use crate::slots::Length;
use crate::words::{PluginLevel, spelled};

pub const PAGE: [&str; 3] = ["page", "page_size", "level"];
pub const PAGE_MAX: u64 = 1_000_000;

/// A page of a plugin's lines, newest first. Fields that a line lacks are null.
#[derive(Debug, Serialize, ToSchema)]
pub struct PluginLogs {
    logs: Vec<PluginLine>,
    page: u64,
    page_size: usize,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PluginLine {
    /// RFC 3339, milliseconds, UTC.
    #[schema(format = DateTime)]
    timestamp: String,
    #[schema(value_type = PluginLevel)]
    level: &'static str,
    message: String,
    plugin: Option<String>,
    /// The line's own `error`; an object as its JSON.
    error: Option<String>,
    pid: Option<u64>,
}

/// What a plugin wrote, newest first.
///
/// Pages keep their records while they are read one after the other: what is stored later is on none of them until page 0 is asked for
/// again. A plugin that nobody knows has an empty list.
#[utoipa::path(
    get,
    path = "/api/plugins/{id}/logs",
    params(
        ("id" = String, Path, description = "The plugin's id"),
        ("page" = Option<u64>, Query, description = "0 (the newest, the default) to 1000000"),
        ("page_size" = Option<u64>, Query, description = "1 to 1000, by default 100"),
        ("level" = Option<String>, Query, description = "This level and above, in any case"),
    ),
    responses(
        (status = 200, description = "The page", body = PluginLogs),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn plugin_logs(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&PAGE], None)?;
    let page = question::number(&mut parameters, "page", 0, 0..=PAGE_MAX)?;
    let page_size =
        question::number(&mut parameters, "page_size", LIMIT_DEFAULT as u64, 1..=LIMIT_MAX as u64)? as usize;
    let level = parameters.one("level")?.map(|text| question::level("level", &text)).transpose()?;
    let level = level.map(|level| format!(" level>={level}")).unwrap_or_default();
    let question = format!("plugin={}{level}", quoted(question::within("id", &id)?));
    let _slot = gateway.slot(&caller, Length::Long).await?;
    let filter = filter::parse(&question).map_err(|error| Problem::parameter("id", error.message))?;
    let listing = Listing { caller: caller.identity.name().to_owned(), question, page_records: page_size };
    let found = gateway.numbered.page(&gateway.store, &caller.scope, &filter, listing, page).await?;
    caller.look.shown(found.records.len() as u64);
    let nowhere = Origin::default();
    let line =
        |record: &OwnedRecord| PluginLine::of(record, found.origins.get(&record.origin).unwrap_or(&nowhere));
    json(&PluginLogs { logs: found.records.iter().map(line).collect(), page, page_size })
}

impl PluginLine {
    fn of(record: &OwnedRecord, origin: &Origin) -> PluginLine {
        let borrowed = record.as_record();
        let entry = Entry::new(&borrowed, origin);
        PluginLine {
            timestamp: timestamp_ms(record.time_us),
            level: spelled(entry.level),
            error: entry.data.as_ref().and_then(|data| error(data.get())),
            message: entry.message.unwrap_or_default().into_owned(),
            plugin: entry.plugin.map(std::borrow::Cow::into_owned),
            pid: entry.pid,
        }
    }
}

fn error(data: &str) -> Option<String> {
    let data: serde_json::Value = serde_json::from_str(data).ok()?;
    match data.get("error")? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_text() {
        for (data, expected) in [
            (r#"{"error":null}"#, None),
            (r#"{"other":1}"#, None),
            (r#"{"error":"boom"}"#, Some("boom")),
            (r#"{"error":{"code":7}}"#, Some(r#"{"code":7}"#)),
            ("[]", None),
        ] {
            assert_eq!(error(data).as_deref(), expected, "{data}");
        }
    }
}
