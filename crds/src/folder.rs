//! Resources from YAML, without a cluster: the same objects, with the same rules. Unknown fields and values beyond the limits
//! of the schema are refused here, what the schema's rules say by `to_policy` and `to_rule`.

use std::path::{Path, PathBuf};

use kube::Resource as _;
use serde::Deserialize as _;
use serde_json::Value;

use crate::levels::{ClusterLogLevelConfig, LevelObject, LogLevelConfig};
use crate::manifest::manifests;
use crate::retention::LogRetentionPolicy;

/// RFC 1123, as the API server asks of every object.
const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// What a folder of YAML files holds, and what is wrong in it. A file that is wrong does not hide the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    pub policies: Vec<LogRetentionPolicy>,
    /// Of both kinds.
    pub level_configs: Vec<LevelObject>,
    /// File (and document), and what to do.
    pub problems: Vec<(PathBuf, String)>,
}

impl Resources {
    /// Reads all `*.yaml` and `*.yml` of `folder` (not below it), in the order of their names.
    pub fn read(folder: &Path) -> std::io::Result<Resources> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        paths.retain(|path| {
            path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
        });
        paths.sort();
        let mut resources = Resources::default();
        for path in paths {
            match std::fs::read_to_string(&path) {
                Ok(text) => resources.add(&path, &text),
                Err(error) => resources.problems.push((path, format!("read: {error}"))),
            }
        }
        Ok(resources)
    }

    /// Adds the documents of one file.
    pub fn add(&mut self, path: &Path, text: &str) {
        for (place, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
            let value = Value::deserialize(document).map_err(|error| error.to_string());
            // Behind what is no YAML the parser finds no further document: it would give the same error for ever.
            let readable = value.is_ok();
            if let Err(message) = value.and_then(|value| self.add_document(value)) {
                self.problems.push((path.to_owned(), format!("document {}: {message}", place + 1)));
            }
            if !readable {
                return;
            }
        }
    }

    fn add_document(&mut self, value: Value) -> Result<(), String> {
        if value.is_null() {
            return Ok(());
        }
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        let version = value["apiVersion"].as_str().unwrap_or_default().to_owned();
        let wanted = LogRetentionPolicy::api_version(&());
        if version != wanted {
            return Err(format!("apiVersion {version:?}: must be {wanted}"));
        }
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let is_name = name.len() <= 253 && crate::schema::matches(OBJECT_NAME, name);
        if !name.is_empty() && !is_name {
            return Err(format!("metadata.name {name:?}: must be lower-case letters, digits, '-' and '.'"));
        }
        against_schema(&kind, &value)?;
        let decode = |error: serde_json::Error| error.to_string();
        match kind.as_str() {
            "LogRetentionPolicy" => {
                let policy: LogRetentionPolicy = serde_json::from_value(value).map_err(decode)?;
                policy.to_policy().map_err(|problems| crate::describe(&problems))?;
                let name = policy.metadata.name.clone();
                if self.policies.iter().any(|other| other.metadata.name == name) {
                    return Err(format!("a second LogRetentionPolicy {}", name.unwrap_or_default()));
                }
                self.policies.push(policy);
            }
            "LogLevelConfig" => {
                let config: LogLevelConfig = serde_json::from_value(value).map_err(decode)?;
                self.add_level_config(&kind, config.into())?;
            }
            "ClusterLogLevelConfig" => {
                let config: ClusterLogLevelConfig = serde_json::from_value(value).map_err(decode)?;
                self.add_level_config(&kind, config.into())?;
            }
            other => {
                return Err(format!(
                    "kind {other:?}: must be LogRetentionPolicy, LogLevelConfig or ClusterLogLevelConfig"
                ));
            }
        }
        Ok(())
    }

    fn add_level_config(&mut self, kind: &str, config: LevelObject) -> Result<(), String> {
        config.to_rule(0, i64::MAX).map_err(|problems| crate::describe(&problems))?;
        let id = config.id();
        if self.level_configs.iter().any(|other| other.id() == id) {
            return Err(format!("a second {kind} {id}"));
        }
        self.level_configs.push(config);
        Ok(())
    }
}

/// The first field of `value` that the kind's schema does not have, or whose value is beyond its limits.
fn against_schema(kind: &str, value: &Value) -> Result<(), String> {
    let Some(manifest) = manifests().into_iter().find(|manifest| manifest.crd.spec.names.kind == kind) else {
        return Ok(());
    };
    let crd = serde_json::to_value(&manifest.crd).map_err(|error| error.to_string())?;
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    walk("spec", &value["spec"], &schema["properties"]["spec"])
}

fn walk(path: &str, value: &Value, schema: &Value) -> Result<(), String> {
    limits(value, schema).map_err(|message| format!("{path}: {message}"))?;
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
                    return Err(format!("unknown field {path}.{field}: known are {}", names.join(", ")));
                };
                walk(&format!("{path}.{field}"), value, schema)?;
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| walk(path, item, &schema["items"])),
        _ => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the API server refuses a folder refuses too, and takes what it takes.
    #[test]
    fn the_examples_are_judged_as_the_api_server_judges_them() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let problems = |folder: &str| {
            let mut all = Vec::new();
            for entry in std::fs::read_dir(examples.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let mut resources = Resources::default();
                resources.add(&path, &std::fs::read_to_string(&path).unwrap());
                all.push((path.file_name().unwrap().to_owned(), resources.problems));
            }
            all
        };
        for (name, problems) in problems("good") {
            assert!(problems.is_empty(), "{name:?}: {problems:?}");
        }
        for (name, problems) in problems("bad") {
            assert_eq!(problems.len(), 1, "{name:?} was taken");
        }
    }

    #[test]
    fn limits_and_spellings_of_the_api_server_are_ours() {
        let refused = |kind: &str, spec: &str| {
            let mut resources = Resources::default();
            let text = format!(
                "{{apiVersion: cordwood.dev/v1alpha1, kind: {kind}, metadata: {{name: a}}, spec: {spec}}}"
            );
            resources.add(Path::new("a.yaml"), &text);
            resources.problems.first().map(|(_, message)| message.clone())
        };
        for (kind, spec, said) in [
            ("LogRetentionPolicy", "{priority: 2000000}", "spec.priority: must be at most 1000000"),
            ("LogRetentionPolicy", "{dropLimit: {partitions: 0}}", "partitions: must be at least 1"),
            ("LogRetentionPolicy", "{retention: {info: 60000ms}}", "units y, w, d, h, m, s"),
            ("LogRetentionPolicy", "{gracePeriod: 60000ms}", "0s or a duration"),
            ("LogRetentionPolicy", "{match: {tenants: [a, a]}}", "twice"),
            ("LogLevelConfig", "{level: INFO, duration: 8d}", "at most 7d"),
            ("LogLevelConfig", "{level: INFO, duration: 60000ms}", "units d, h, m, s"),
            ("LogLevelConfig", "{level: INFO, duration: 1h, containers: [A_b]}", "name of a container"),
            (
                "LogLevelConfig",
                "{level: INFO, duration: 1h, selector: {matchLabels: {'a b': c}}}",
                "label names",
            ),
            ("LogLevelConfig", "{level: INFO, duration: 1h, service: ''}", "spec.service: must be at least"),
            (
                "LogLevelConfig",
                "{level: INFO, duration: 1h, push: {zap: {port: 1}, envoy: {port: 2}}}",
                "exactly one",
            ),
            (
                "LogLevelConfig",
                "{level: INFO, duration: 1h, push: {springBoot: {port: 1, logger: a b}}}",
                "must match",
            ),
            ("LogLevelConfig", "{level: INFO, default: true}", "unknown field spec.default"),
            ("LogLevelConfig", "{level: INFO, duration: 1h, unleveled: hide}", "unknown variant `hide`"),
            ("ClusterLogLevelConfig", "{level: INFO}", "give duration"),
            ("ClusterLogLevelConfig", "{level: INFO, default: true, duration: 1h}", "a default has no end"),
            (
                "ClusterLogLevelConfig",
                "{level: INFO, default: true, service: a}",
                "a default is for everything",
            ),
        ] {
            let message = refused(kind, spec).unwrap_or_default();
            assert!(message.contains(said), "{spec}: {message:?}");
        }
        assert_eq!(refused("LogRetentionPolicy", "{gracePeriod: 0s}"), None);
        assert_eq!(refused("LogLevelConfig", "{level: INFO, duration: 7d}"), None);
        assert_eq!(refused("ClusterLogLevelConfig", "{level: INFO, default: true, scope: task}"), None);
    }

    /// The parser gives an error of syntax again and again: it was collected until memory ended.
    #[test]
    fn what_is_no_yaml_is_one_problem() {
        for text in ["spec: [", "a: b: c", "{", "\t- x", "spec: [\n---\nkind: LogLevelConfig\n", "'"] {
            let mut resources = Resources::default();
            resources.add(Path::new("broken.yaml"), text);
            assert_eq!(resources.problems.len(), 1, "{text:?}: {:?}", resources.problems);
            assert!(resources.problems[0].1.starts_with("document 1: "), "{:?}", resources.problems);
        }
    }
}
