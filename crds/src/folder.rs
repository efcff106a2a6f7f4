//! Resources from YAML, without a cluster: the same objects, with the same rules, unknown fields refused as the API server
//! refuses them.

use std::path::{Path, PathBuf};

use kube::Resource as _;
use serde::Deserialize as _;
use serde_json::Value;

use crate::levels::LogLevelConfig;
use crate::manifest::manifests;
use crate::retention::LogRetentionPolicy;

/// What a folder of YAML files holds, and what is wrong in it. A file that is wrong does not hide the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    pub policies: Vec<LogRetentionPolicy>,
    pub level_configs: Vec<LogLevelConfig>,
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
        unknown_fields(&kind, &value)?;
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
                config.to_rule(true, 0, i64::MAX).map_err(|problems| crate::describe(&problems))?;
                if self.level_configs.iter().any(|other| other.id() == config.id()) {
                    return Err(format!("a second LogLevelConfig {}", config.id()));
                }
                self.level_configs.push(config);
            }
            other => return Err(format!("kind {other:?}: must be LogRetentionPolicy or LogLevelConfig")),
        }
        Ok(())
    }
}

/// The first field of `value` that the kind's schema does not have.
fn unknown_fields(kind: &str, value: &Value) -> Result<(), String> {
    let Some(manifest) = manifests().into_iter().find(|manifest| manifest.crd.spec.names.kind == kind) else {
        return Ok(());
    };
    let crd = serde_json::to_value(&manifest.crd).map_err(|error| error.to_string())?;
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    walk("spec", &value["spec"], &schema["properties"]["spec"])
}

fn walk(path: &str, value: &Value, schema: &Value) -> Result<(), String> {
    match value {
        Value::Object(fields) => {
            let Some(known) = schema["properties"].as_object() else { return Ok(()) };
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

#[cfg(test)]
mod tests {
    use super::*;

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
