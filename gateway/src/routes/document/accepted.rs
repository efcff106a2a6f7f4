//! What each parameter accepts, from the same limits as what reads it.

use cordwood_core::level::Level;
use cordwood_core::limits::{
    FIELD_CHARACTERS_MAX, FILTER_CHARACTERS_MAX, NAME_BYTES_MAX, PARAMETER_CHARACTERS_MAX, TASK_ID_BYTES_MAX,
};
use cordwood_core::signature::is_grouped;
use cordwood_core::task;
use serde_json::{Value, json};

use super::operations;
use crate::admin::schemas::{NAMESPACE, OBJECT};
use crate::question::{
    BUDGET_MS_DEFAULT, BUDGET_MS_MAX, BUDGET_MS_MIN, LIMIT_DEFAULT, LIMIT_MAX, VALUES_MAX,
};
use crate::routes::{aggregates, completion, context, facets, histogram, plugins, tasks};

/// An id of a record, or a place between two.
const PLACE: &str = r"^-?[0-9]{1,18}\.[0-9a-f]{1,8}-[0-9a-f]{1,16}-[0-9a-f]{1,8}$";
const SIGNATURE: &str = "^v1:(?!0{16})[0-9a-f]{16}$";
/// A group's, also of those that were counted together.
const GROUP: &str = "^v1:((?!0{16})[0-9a-f]{16}|other)$";
const GROUPS_PLACE: &str = r"^(count|lastSeen|firstSeen)\.-?[0-9]{1,18}\.v1:((?!0{16})[0-9a-f]{16}|other)$";
/// So long ago.
const AGO: &str =
    "^-([1-9][0-9]?w)?([1-9][0-9]{0,2}d)?([1-9][0-9]{0,3}h)?([1-9][0-9]{0,4}m)?([1-9][0-9]{0,5}s)?$";

/// Completes every parameter of the document; one that nothing is known of stays as its handler has it.
pub fn say(document: &mut Value) {
    for (_, path, operation) in operations(document) {
        for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default().to_owned();
            if let Some(schema) = accepted(&path, &name, parameter["schema"]["type"] == "array") {
                parameter["schema"] = schema;
            }
        }
    }
}

fn accepted(path: &str, name: &str, repeated: bool) -> Option<Value> {
    let one = one(path, name)?;
    // An empty value of a field that may be repeated is no value.
    Some(match repeated {
        true => json!({"type": "array", "maxItems": VALUES_MAX, "items": one}),
        false => one,
    })
}

fn one(path: &str, name: &str) -> Option<Value> {
    let is_of = |begin: &str| path.starts_with(begin);
    let (is_admin, is_tasks) = (is_of("/api/admin/"), is_of("/api/tasks/"));
    let is_groups = is_of("/api/platform/logs/aggregates");
    let levels = || Level::ALL.map(|level| level.as_str().to_lowercase());
    Some(match name {
        "filter" => {
            json!({"type": "string", "format": "cordwood-filter", "maxLength": FILTER_CHARACTERS_MAX})
        }
        "text" if is_of("/api/platform/logs/completion") => up_to(FILTER_CHARACTERS_MAX),
        "text" if is_groups => up_to(PARAMETER_CHARACTERS_MAX),
        // It has a letter or a digit: there is nothing else to search for.
        "text" => {
            json!({"type": "string", "format": "cordwood-text", "minLength": 1, "maxLength": FIELD_CHARACTERS_MAX})
        }
        "prefix" | "search" | "return" => up_to(PARAMETER_CHARACTERS_MAX),
        "namespace" | "service" | "tenant" if is_groups => filled(PARAMETER_CHARACTERS_MAX),
        "level" | "min_level" if is_tasks => {
            json!({"type": "string", "enum": task::LEVELS.into_iter().chain(["WARN"]).collect::<Vec<_>>()})
        }
        "level" if is_groups => {
            let grouped = Level::ALL.into_iter().filter(|level| is_grouped(*level));
            json!({"type": "string", "enum": grouped.map(|level| level.as_str().to_lowercase()).collect::<Vec<_>>()})
        }
        "level" | "minLevel" => json!({"type": "string", "enum": levels()}),
        "category" => json!({"type": "string", "enum": ["system", "audit"]}),
        "stream" => json!({"type": "string", "enum": ["stdout", "stderr"]}),
        "field" => json!({"type": "string", "enum": facets::FIELDS}),
        "sort" => {
            json!({"type": "string", "enum": aggregates::SORTS.map(|sort| sort.0), "default": aggregates::SORTS[0].0})
        }
        "order" => json!({"type": "string", "enum": ["newest", "oldest"], "default": "newest"}),
        "signature" if is_groups => json!({"type": "string", "pattern": GROUP}),
        "signature" => json!({"type": "string", "pattern": SIGNATURE}),
        "from" | "to" | "newSince" => time(),
        "before" | "after" if path.ends_with("/context") => {
            whole(0, context::AROUND_MAX, Some(context::AROUND_DEFAULT))
        }
        "after" if is_groups => json!({"type": "string", "pattern": GROUPS_PLACE}),
        // Of a stream also the cursor of a frame, which holds several places.
        "after" if path.ends_with("/stream") => filled(PARAMETER_CHARACTERS_MAX),
        "before" | "after" => json!({"type": "string", "pattern": PLACE}),
        "id" if is_of("/api/platform/logs/") => json!({"type": "string", "pattern": PLACE}),
        "id" => filled(FIELD_CHARACTERS_MAX),
        "task_id" => filled(TASK_ID_BYTES_MAX),
        "name" => json!({"type": "string", "maxLength": NAME_BYTES_MAX, "pattern": OBJECT}),
        "namespace" if is_admin => json!({"type": "string", "pattern": NAMESPACE}),
        "namespace" | "tenant" if is_tasks => up_to(NAME_BYTES_MAX),
        "limit" => whole(1, LIMIT_MAX as u64, Some(LIMIT_DEFAULT as u64)),
        "page" => whole(0, plugins::PAGE_MAX, Some(0)),
        "page_size" => whole(1, LIMIT_MAX as u64, Some(LIMIT_DEFAULT as u64)),
        "offset" => whole(0, tasks::OFFSET_MAX, Some(0)),
        "budgetMs" => whole(BUDGET_MS_MIN, BUDGET_MS_MAX, Some(BUDGET_MS_DEFAULT)),
        "bins" => whole(1, histogram::BINS_MAX, Some(histogram::BINS_DEFAULT)),
        "values" if path.ends_with("/completion") => {
            whole(1, completion::VALUES_MAX, Some(completion::VALUES_DEFAULT))
        }
        "values" => whole(1, facets::VALUES_MAX, Some(facets::VALUES_DEFAULT)),
        "at" => whole(0, FILTER_CHARACTERS_MAX as u64, None),
        "preview" => json!({"type": "boolean", "default": false}),
        // Fields with a text.
        "container" | "logger" | "namespace" | "node" | "plugin" | "pod" | "requestId" | "service"
        | "source" | "taskId" | "tenant" | "traceId" | "userId" => filled(FIELD_CHARACTERS_MAX),
        _ => return None,
    })
}

fn whole(least: u64, most: u64, default: Option<u64>) -> Value {
    let mut schema = json!({"type": "integer", "minimum": least, "maximum": most});
    if let Some(default) = default {
        schema["default"] = json!(default);
    }
    schema
}

/// A text without NUL, which no field holds.
fn up_to(characters: usize) -> Value {
    json!({"type": "string", "maxLength": characters, "pattern": r"^[^\u0000]*$"})
}

fn filled(characters: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": characters, "pattern": r"^[^\u0000]+$"})
}

fn time() -> Value {
    json!({"anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "string", "const": "now"},
        {"type": "string", "pattern": AGO, "minLength": 3},
    ]})
}
