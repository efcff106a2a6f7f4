//! Reads one object from JSON without a cluster, by the rules of the API server. Each problem names its field.
//!
//! Two steps refuse what the API server would refuse. This file checks the schema: unknown fields, types, limits. Then the conversions
//! check what the schema's CEL rules say: [`LogRetentionPolicy::to_policy`] makes of a policy what the planner takes, and
//! [`LevelObject::to_rule`] makes of a level config what the agents take.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde_json::Value;

use crate::levels::{ClusterLogLevelConfig, LevelObject, LogLevelConfig};
use crate::manifest::{Manifest, manifests};
use crate::retention::LogRetentionPolicy;
use crate::{Problem, problem};

/// RFC 1123, as the API server asks of every object.
const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const NAME_CHARS_MAX: usize = 253;

/// An object of one of our kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    Policy(Box<LogRetentionPolicy>),
    Levels(Box<LevelObject>),
}

/// # Errors
/// What is wrong with it, each with its field.
pub fn document(mut value: Value) -> Result<Document, Vec<Problem>> {
    let one = |field: &str, message: String| vec![problem(field, message)];
    let version = value["apiVersion"].as_str().unwrap_or_default();
    let wanted = LogRetentionPolicy::api_version(&());
    if version != wanted {
        return Err(one("apiVersion", format!("{version:?}: must be {wanted}")));
    }
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    if !name.is_empty() && !is_name(name) {
        return Err(one(
            "metadata.name",
            format!("{name:?}: must be lower-case letters, digits, '-' and '.'"),
        ));
    }
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    without_nulls(&mut value["spec"]);
    if value["spec"].is_null() {
        return Err(one("spec", "missing".to_owned()));
    }
    if let Err(error) = serde_json::from_value::<ObjectMeta>(value["metadata"].clone()) {
        return Err(one("metadata", error.to_string()));
    }
    against_schema(&kind, &value["spec"]).map_err(|problem| vec![problem])?;
    let decode = |error: serde_json::Error| one("spec", error.to_string());
    match kind.as_str() {
        "LogRetentionPolicy" => {
            let policy: Box<LogRetentionPolicy> = serde_json::from_value(value).map_err(decode)?;
            policy.to_policy()?;
            Ok(Document::Policy(policy))
        }
        "LogLevelConfig" => {
            let config: LogLevelConfig = serde_json::from_value(value).map_err(decode)?;
            levels(config.into())
        }
        "ClusterLogLevelConfig" => {
            let config: ClusterLogLevelConfig = serde_json::from_value(value).map_err(decode)?;
            levels(config.into())
        }
        other => Err(one(
            "kind",
            format!("{other:?}: must be LogRetentionPolicy, LogLevelConfig or ClusterLogLevelConfig"),
        )),
    }
}

fn levels(config: LevelObject) -> Result<Document, Vec<Problem>> {
    config.to_rule(0, i64::MAX)?;
    Ok(Document::Levels(Box::new(config)))
}

/// Whether an object can have this name.
pub fn is_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX && crate::schema::matches(OBJECT_NAME, name)
}

/// The API server takes a null for a field that is not there.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// The first field of `spec` that the kind's schema does not have, that it needs, or whose value is beyond its limits.
fn against_schema(kind: &str, spec: &Value) -> Result<(), Problem> {
    static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
        let schema = |manifest: Manifest| {
            let crd = serde_json::to_value(&manifest.crd).unwrap_or_default();
            let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
            (manifest.crd.spec.names.kind.clone(), spec.clone())
        };
        manifests().into_iter().map(schema).collect()
    });
    SCHEMAS.get(kind).map_or(Ok(()), |schema| walk("spec", spec, schema))
}

fn walk(path: &str, value: &Value, schema: &Value) -> Result<(), Problem> {
    kind_of_value(value, schema).map_err(|message| problem(path, message))?;
    limits(value, schema).map_err(|message| problem(path, message))?;
    match value {
        Value::Object(fields) => {
            let Some(known) = schema["properties"].as_object() else {
                let each = &schema["additionalProperties"];
                return fields
                    .iter()
                    .try_for_each(|(field, value)| walk(&format!("{path}.{field}"), value, each));
            };
            for (field, value) in fields {
                let Some(schema) = known.get(field) else {
                    let names: Vec<&str> = known.keys().map(String::as_str).collect();
                    return Err(problem(
                        format!("{path}.{field}"),
                        format!("unknown field; known are {}", names.join(", ")),
                    ));
                };
                walk(&format!("{path}.{field}"), value, schema)?;
            }
            let needed = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            match needed.into_iter().find(|field| !fields.contains_key(*field)) {
                Some(field) => Err(problem(format!("{path}.{field}"), "missing")),
                None => Ok(()),
            }
        }
        Value::Array(items) => items.iter().try_for_each(|item| walk(path, item, &schema["items"])),
        _ => Ok(()),
    }
}

/// Whether it is of the type that the schema says, and one of the values that it lists.
fn kind_of_value(value: &Value, schema: &Value) -> Result<(), String> {
    let (is_it, name) = match schema["type"].as_str() {
        Some("object") => (value.is_object(), "an object"),
        Some("array") => (value.is_array(), "a list"),
        Some("string") => (value.is_string(), "a text"),
        Some("boolean") => (value.is_boolean(), "true or false"),
        Some("integer") => (value.is_i64() || value.is_u64(), "a whole number"),
        Some("number") => (value.is_number(), "a number"),
        _ if schema["x-kubernetes-int-or-string"] == true => {
            (value.is_i64() || value.is_u64() || value.is_string(), "a whole number or a text")
        }
        _ => (true, ""),
    };
    if !is_it {
        return Err(format!("must be {name}"));
    }
    if let Some(values) = schema["enum"].as_array().filter(|values| !values.contains(value)) {
        let names: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        // What was written is shown as far as one line bears it.
        let written: String = value.to_string().chars().take(64).collect();
        return Err(format!("is {written}, must be one of {}", names.join(", ")));
    }
    Ok(())
}

/// The schema's numbers: ranges, lengths, counts; and that a set has each item once.
fn limits(value: &Value, schema: &Value) -> Result<(), String> {
    let (size, least, most) = match value {
        Value::Number(number) => (number.as_f64(), "minimum", "maximum"),
        Value::String(text) => (Some(text.chars().count() as f64), "minLength", "maxLength"),
        Value::Array(items) => (Some(items.len() as f64), "minItems", "maxItems"),
        Value::Object(fields) => (Some(fields.len() as f64), "minProperties", "maxProperties"),
        Value::Null | Value::Bool(_) => return Ok(()),
    };
    let what = match value {
        Value::Number(_) => "",
        Value::String(_) => " characters",
        _ => " entries",
    };
    let size = size.unwrap_or_default();
    if let Some(least) = schema[least].as_f64().filter(|least| size < *least) {
        return Err(format!("must be at least {least}{what}"));
    }
    if let Some(most) = schema[most].as_f64().filter(|most| size > *most) {
        return Err(format!("must be at most {most}{what}"));
    }
    if let (Value::String(text), Some(pattern)) = (value, schema["pattern"].as_str())
        && !crate::schema::matches(pattern, text)
    {
        return Err(format!("{text:?} must match {pattern}"));
    }
    if let Value::Array(items) = value
        && schema["x-kubernetes-list-type"] == "set"
        && let Some((_, twice)) =
            items.iter().enumerate().find(|(place, item)| items[..*place].contains(item))
    {
        return Err(format!("{twice} is there twice"));
    }
    Ok(())
}
