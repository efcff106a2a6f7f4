//! The parameters as the OpenAPI document describes them. What reads them is [`crate::question`]; a test compares the two lists.

#![allow(dead_code, reason = "these types are read by the document alone")]

use utoipa::IntoParams;

/// Which records.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct FieldParameters {
    /// An expression: `level>=warn source:api data.taskId=42 "connection reset"`. Everything else narrows it.
    filter: Option<String>,
    /// Words that follow each other in the record, with a letter or a digit; may be repeated.
    text: Option<Vec<String>>,
    /// `trace`, `debug`, `info`, `warn`, `error`; repeated: any of these.
    level: Option<Vec<String>>,
    /// This level and above.
    min_level: Option<String>,
    /// `system` or `audit`. This field and those below: the exact value; repeated, any of these. `data.<key>` is such a field too.
    category: Option<Vec<String>>,
    container: Option<Vec<String>>,
    logger: Option<Vec<String>>,
    namespace: Option<Vec<String>>,
    node: Option<Vec<String>>,
    plugin: Option<Vec<String>>,
    pod: Option<Vec<String>>,
    request_id: Option<Vec<String>>,
    service: Option<Vec<String>>,
    /// A group of errors: `v2:` (older ones: `v1:`) and 16 digits.
    signature: Option<Vec<String>>,
    source: Option<Vec<String>>,
    /// `stdout` or `stderr`.
    stream: Option<Vec<String>>,
    task_id: Option<Vec<String>>,
    tenant: Option<Vec<String>>,
    trace_id: Option<Vec<String>>,
    user_id: Option<Vec<String>>,
}

/// Of which time.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct RangeParameters {
    /// RFC 3339, `now`, or `-15m` for so long ago; inclusive.
    from: Option<String>,
    /// The same; exclusive.
    to: Option<String>,
}

/// Which page of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct PageParameters {
    /// `newest` (the default) or `oldest` first.
    order: Option<String>,
    /// What follows this in the order: a `next`, or the id of a record.
    after: Option<String>,
    /// What leads up to this in the order: a `previous`, or the id of a record. Not in an export.
    before: Option<String>,
    /// 1 to 1000, by default 100. In an export any number, by default all.
    limit: Option<u64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct BudgetParameter {
    /// Milliseconds after which a search ends with what it has found: 10 to 60000, by default 5000.
    budget_ms: Option<u64>,
}
