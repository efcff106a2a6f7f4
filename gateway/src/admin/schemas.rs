//! Adds the resources to the OpenAPI document, with the specs and statuses of the CustomResourceDefinitions.

use cordwood_core::limits::NAME_BYTES_MAX;
use cordwood_crds::manifests;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{Kind, Quiet};

/// An object of the cluster.
pub const OBJECT: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
pub const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/// Names of the document, for handlers; [`say`] puts in what they are.
macro_rules! named {
    ($(#[doc = $about:literal] $name:ident;)*) => {$(
        #[doc = $about]
        #[derive(Debug, Serialize)]
        pub struct $name;

        impl ToSchema for $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T(ObjectBuilder::new().description(Some($about.trim())).into())
            }
        }
    )*};
}

named! {
    /// A policy with its status.
    LogRetentionPolicy;
    /// A policy as it is to be; a field that is null is one that is left out.
    LogRetentionPolicyBody;
    /// The policies that the caller sees.
    LogRetentionPolicyList;
    /// A LogLevelConfig or ClusterLogLevelConfig with its status.
    LevelConfig;
    /// A LogLevelConfig or ClusterLogLevelConfig as it is to be; a field that is null is one that is left out.
    LevelConfigBody;
    /// The level configs that the caller sees.
    LevelConfigList;
}

/// A level in one request, or a whole config.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "for the document")]
pub enum LevelRequest {
    Quiet(Box<Quiet>),
    Config(LevelConfigBody),
}

const LEVEL_KINDS: [Kind; 2] = [Kind::Levels, Kind::ClusterLevels];

/// Puts in the resources.
pub fn say(document: &mut Value) {
    let Some(all) = document["components"]["schemas"].as_object_mut() else { return };
    for manifest in manifests() {
        let kind = manifest.crd.spec.names.kind.as_str();
        let is_namespaced = manifest.crd.spec.scope == "Namespaced";
        let crd = serde_json::to_value(&manifest.crd).unwrap_or_default();
        let mut fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].clone();
        for part in ["spec", "status"] {
            of_json_schema(&mut fields[part]);
            all.insert(format!("{kind}{}", capital(part)), fields[part].take());
        }
        let version = format!("{}/{}", manifest.crd.spec.group, manifest.crd.spec.versions[0].name);
        let object = |metadata: Value, more: &[&str]| {
            let mut properties = json!({
                "apiVersion": {"type": "string", "enum": [version]}, "kind": {"type": "string", "enum": [kind]},
                "metadata": metadata, "spec": the(&format!("{kind}Spec")),
            });
            let mut required = vec!["apiVersion", "kind", "spec"];
            required.extend(more);
            if more.contains(&"metadata") {
                properties["status"] = the(&format!("{kind}Status"));
            }
            json!({"type": "object", "properties": properties, "required": required})
        };
        describe(all, kind, object(shown(is_namespaced), &["metadata"]));
        describe(all, &format!("{kind}Body"), object(given(is_namespaced), &[]));
    }
    let list = |item: &str| json!({"type": "object", "properties": {"items": {"type": "array", "items": the(item)}}, "required": ["items"]});
    let one_of =
        |suffix: &str| json!({"oneOf": LEVEL_KINDS.map(|kind| the(&format!("{}{suffix}", kind.name())))});
    describe(all, "LogRetentionPolicyList", list("LogRetentionPolicy"));
    describe(all, "LevelConfigList", list("LevelConfig"));
    describe(all, "LevelConfig", one_of(""));
    describe(all, "LevelConfigBody", one_of("Body"));
}

fn the(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Instead of what stands there, with its description.
fn describe(all: &mut Map<String, Value>, name: &str, mut schema: Value) {
    if let Some(about) = all.get(name).and_then(|known| known.get("description")) {
        schema["description"] = about.clone();
    }
    all.insert(name.to_owned(), schema);
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// The metadata of an answer.
fn shown(is_namespaced: bool) -> Value {
    let text = || json!({"type": "string"});
    let time = || json!({"type": "string", "format": "date-time"});
    let mut required = vec!["name"];
    if is_namespaced {
        required.push("namespace");
    }
    json!({"type": "object", "required": required, "properties": {
        "name": text(), "namespace": text(), "uid": text(), "resourceVersion": text(),
        "generation": {"type": "integer"}, "creationTimestamp": time(), "deletionTimestamp": time(),
        "labels": {"type": "object", "additionalProperties": text()},
    }})
}

/// The metadata of a request: what else stands there is not read.
fn given(is_namespaced: bool) -> Value {
    let name = json!({"type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX, "pattern": OBJECT});
    let version = "It is changed only where it is still this one";
    let mut properties = json!({
        "name": name, "resourceVersion": {"type": "string", "description": version},
    });
    if is_namespaced {
        properties["namespace"] = json!({"type": "string", "pattern": NAMESPACE});
    }
    json!({"type": "object", "properties": properties, "additionalProperties": true})
}

/// From the API server's form of a schema to the plain one. What CEL rules say is in their messages.
fn of_json_schema(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.remove("x-kubernetes-int-or-string") == Some(json!(true)) {
                fields.remove("anyOf");
                fields.insert("type".to_owned(), json!(["integer", "string"]));
            }
            if let Some(Value::Array(rules)) = fields.remove("x-kubernetes-validations") {
                let rules = rules.iter().filter_map(|rule| rule["message"].as_str());
                let about = fields.get("description").and_then(Value::as_str).map(|about| about.trim_end());
                let all: Vec<&str> = about.into_iter().chain(rules).collect();
                let all = all.join("; ");
                fields.insert("description".to_owned(), json!(all));
            }
            fields.retain(|name, _| !name.starts_with("x-kubernetes-"));
            let is_closed = fields.contains_key("properties") && !fields.contains_key("additionalProperties");
            fields.values_mut().for_each(of_json_schema);
            if is_closed {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(of_json_schema),
        _ => {}
    }
}
