//! Generates the CustomResourceDefinitions as YAML: the files that are committed under `crds/yaml` and in the chart, byte for byte.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, ValidationRule,
};
use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::levels::{ClusterLogLevelConfig, LogLevelConfig};
use crate::retention::{DEFAULT_MATCHES_ALL, LogRetentionPolicy, NAME_TOO_LONG};

/// One file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// `logretentionpolicies.yaml`
    pub file: String,
    pub yaml: String,
    pub crd: CustomResourceDefinition,
}

/// All resources.
pub fn manifests() -> Vec<Manifest> {
    let mut retention = LogRetentionPolicy::crd();
    root_rules(
        &mut retention,
        &[
            (
                "self.metadata.name != 'default' || ((!has(self.spec.match) || (\
                 (!has(self.spec.match.tenants) || self.spec.match.tenants.size() == 0) && \
                 (!has(self.spec.match.namespaces) || self.spec.match.namespaces.size() == 0) && \
                 (!has(self.spec.match.services) || self.spec.match.services.size() == 0) && \
                 (!has(self.spec.match.categories) || self.spec.match.categories.size() == 0))) && \
                 self.spec.priority == 0)",
                DEFAULT_MATCHES_ALL,
            ),
            ("self.metadata.name.size() <= 200", NAME_TOO_LONG),
        ],
    );
    [retention, LogLevelConfig::crd(), ClusterLogLevelConfig::crd()].into_iter().map(manifest).collect()
}

/// Rules on the whole object, where the name can be seen.
fn root_rules(crd: &mut CustomResourceDefinition, rules: &[(&str, &str)]) {
    for version in &mut crd.spec.versions {
        let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        let rules = rules.iter().map(|(rule, message)| ValidationRule {
            rule: (*rule).to_owned(),
            message: Some((*message).to_owned()),
            ..ValidationRule::default()
        });
        schema.x_kubernetes_validations.get_or_insert_default().extend(rules);
    }
}

/// Without `nullable` the API server takes a null for an absent field, prunes it and fills in the default; with it a null
/// would come to us.
fn no_nulls(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if fields.get("nullable") == Some(&Value::Bool(true)) {
                    fields.remove("nullable");
                }
                fields.values_mut().for_each(walk);
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::to_value(&crd) else { return crd };
    walk(&mut value);
    serde_json::from_value(value).unwrap_or(crd)
}

/// Numbers without a fraction are written so: the types of Kubernetes have every bound as a floating-point number, and `65535.0` reads oddly.
fn whole(crd: &CustomResourceDefinition) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(walk),
            Value::Array(items) => items.iter_mut().for_each(walk),
            Value::Number(number) => {
                let text = number.to_string();
                if let Some(whole) = text.strip_suffix(".0").and_then(|whole| whole.parse::<i64>().ok()) {
                    *number = whole.into();
                }
            }
            _ => {}
        }
    }
    let mut value = serde_json::to_value(crd).unwrap_or_default();
    walk(&mut value);
    value
}

fn manifest(crd: CustomResourceDefinition) -> Manifest {
    let crd = no_nulls(crd);
    let file = format!("{}.yaml", crd.spec.names.plural);
    let body =
        serde_yaml::to_string(&whole(&crd)).unwrap_or_else(|error| format!("# not to be written: {error}\n"));
    let head = "# Generated from crds/src by `cargo xtask generate`. Do not edit.\n";
    Manifest { file, yaml: format!("{head}{body}"), crd }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `look` with the path and the schema of each field of each kind.
    fn each_field(look: &mut impl FnMut(&str, &Value)) {
        fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                look(&path, field);
                walk(&path, field, look);
            }
            if schema["items"].is_object() {
                walk(&format!("{path}[]"), &schema["items"], look);
            }
        }
        for manifest in manifests() {
            let crd = serde_json::to_value(&manifest.crd).unwrap();
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
            for version in crd["spec"]["versions"].as_array().unwrap() {
                walk(kind, &version["schema"]["openAPIV3Schema"], look);
            }
        }
    }

    fn wrong(judge: impl Fn(&Value) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        each_field(&mut |path, field| {
            if !judge(field) {
                found.push(path.to_owned());
            }
        });
        found
    }

    /// `kubectl explain` says something of each field, and not what the type of a library is.
    #[test]
    fn each_field_is_explained() {
        let explained = |field: &Value| {
            let text = field["description"].as_str().unwrap_or_default();
            !text.is_empty() && !text.contains("wrapper around time.Time")
        };
        assert_eq!(wrong(explained), Vec::<String>::new());
        let mut fields = 0;
        each_field(&mut |_, _| fields += 1);
        assert!(fields > 150, "{fields}");
    }

    /// Server-side apply merges each list as its type says; one without a type would be replaced as a whole by the client that comes last.
    #[test]
    fn each_list_says_how_it_is_merged() {
        let typed = |field: &Value| {
            let kind = field["x-kubernetes-list-type"].as_str();
            field["type"] != "array" || kind.is_some_and(|kind| ["map", "set", "atomic"].contains(&kind))
        };
        assert_eq!(wrong(typed), Vec::<String>::new());
        let mut kinds = std::collections::BTreeMap::new();
        each_field(&mut |path, field| {
            let list = field["x-kubernetes-list-type"].as_str().or(field["x-kubernetes-map-type"].as_str());
            list.and_then(|kind| kinds.insert(path.to_owned(), kind.to_owned()));
        });
        for (path, kind) in [
            ("LogRetentionPolicy.spec.match.categories", "set"),
            ("LogRetentionPolicy.status.conditions", "map"),
            ("LogRetentionPolicy.status.classes", "map"),
            ("LogRetentionPolicy.status.plan.steps", "atomic"),
            ("LogLevelConfig.spec.selector", "atomic"),
            ("ClusterLogLevelConfig.spec.selector.matchExpressions", "atomic"),
        ] {
            assert_eq!(kinds.get(path).map(String::as_str), Some(kind), "{path}");
        }
    }

    /// The API server warns of a definition with a format that it does not know.
    #[test]
    fn formats_are_known_and_whole_numbers_are_written_so() {
        let known = |field: &Value| {
            field["format"]
                .as_str()
                .is_none_or(|format| ["int32", "int64", "double", "date-time"].contains(&format))
        };
        assert_eq!(wrong(known), Vec::<String>::new());
        for manifest in manifests() {
            let odd = manifest.yaml.lines().find(|line| line.contains("imum:") && line.ends_with(".0"));
            assert_eq!(odd, None, "{}", manifest.file);
        }
    }
}
