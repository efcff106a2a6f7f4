//! Reads resources from YAML files, without a cluster: the same objects, with the same rules.

use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::Value;

use crate::document::{Document, document};
use crate::levels::LevelObject;
use crate::retention::LogRetentionPolicy;

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
        match document(value).map_err(|problems| crate::describe(&problems))? {
            Document::Policy(policy) => {
                let name = policy.metadata.name.clone();
                if self.policies.iter().any(|other| other.metadata.name == name) {
                    return Err(format!("a second LogRetentionPolicy {}", name.unwrap_or_default()));
                }
                self.policies.push(*policy);
            }
            Document::Levels(config) => {
                let id = config.id();
                if self.level_configs.iter().any(|other| other.id() == id) {
                    return Err(format!("a second {} {id}", config.kind()));
                }
                self.level_configs.push(*config);
            }
        }
        Ok(())
    }
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
            ("LogRetentionPolicy", "{detachPerPass: 0}", "spec.detachPerPass: must be"),
            ("LogRetentionPolicy", "{detachPerPass: 5000000000}", "from 1 to 100000"),
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
            ("LogLevelConfig", "{level: INFO, default: true}", "spec.default: unknown field"),
            (
                "LogLevelConfig",
                "{level: INFO, duration: 1h, unleveled: hide}",
                "spec.unleveled: is \"hide\", must be one of keep, drop",
            ),
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
        assert_eq!(refused("LogRetentionPolicy", "{detachPerPass: 100000}"), None);
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
