//! The CustomResourceDefinitions as YAML: what is committed under `crds/yaml` and in the chart, byte for byte.

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

fn manifest(crd: CustomResourceDefinition) -> Manifest {
    let crd = no_nulls(crd);
    let file = format!("{}.yaml", crd.spec.names.plural);
    let body = serde_yaml::to_string(&crd).unwrap_or_else(|error| format!("# not to be written: {error}\n"));
    let head = "# Generated from crds/src by `cargo xtask generate`. Do not edit.\n";
    Manifest { file, yaml: format!("{head}{body}"), crd }
}
