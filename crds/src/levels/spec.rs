//! The fields that both kinds of level config share.

use std::collections::BTreeMap;

use cordwood_core::gate::{RuleScope, Unleveled};
use cordwood_core::level::Level;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::push::PushSpec;
use crate::schema;

/// Which pods, which level, how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LevelFields {
    /// Pods by their labels; absent or empty: all pods.
    #[serde(default)]
    pub selector: Selector,
    /// Containers by name; empty: all containers of the pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::container_names")]
    pub containers: Vec<String>,
    /// Only this service (the annotation cordwood.dev/service, the label app.kubernetes.io/name or the workload's name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service: Option<String>,
    /// Lines below this level are dropped.
    pub level: LevelSpec,
    /// Lines whose level is unknown (they are shown as INFO): keep lets them pass, whatever the level; drop counts them
    /// as below it.
    #[serde(default)]
    pub unleveled: UnleveledSpec,
    /// application: lines without a taskId. task: lines with one. The two are apart: neither stands in for the other.
    #[serde(default)]
    pub scope: ScopeSpec,
    /// Whether the application's logger writes the entries and exits of its scopes, at DEBUG. Not done yet: the condition
    /// DebugScopes says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug_scopes: Option<bool>,
    /// Keeps a part of what lies below the level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleSpec>,
    /// How long it lasts, counted from when the resource was made or this field was last changed: 30m, 1h30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::level_duration")]
    pub duration: Option<String>,
    /// When it ends, RFC 3339. In a Git repository this is the safer of the two: a duration starts again when the resource is created again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// How long the resource stays after it has ended: 1h, 7d, or 0s for not at all. The operator deletes it then. Absent: it stays until somebody
    /// deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::grace")]
    pub ttl_after_expiry: Option<String>,
    /// Also changes the level inside the application itself, and back at the end, where the operator is allowed to: the condition Pushed says what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushSpec>,
}

/// The five levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum LevelSpec {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl From<LevelSpec> for Level {
    fn from(level: LevelSpec) -> Level {
        match level {
            LevelSpec::Trace => Level::Trace,
            LevelSpec::Debug => Level::Debug,
            LevelSpec::Info => Level::Info,
            LevelSpec::Warn => Level::Warn,
            LevelSpec::Error => Level::Error,
        }
    }
}

/// What becomes of lines of no known level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnleveledSpec {
    #[default]
    Keep,
    Drop,
}

impl From<UnleveledSpec> for Unleveled {
    fn from(unleveled: UnleveledSpec) -> Unleveled {
        match unleveled {
            UnleveledSpec::Keep => Unleveled::Keep,
            UnleveledSpec::Drop => Unleveled::Drop,
        }
    }
}

/// Which lines a level config is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScopeSpec {
    #[default]
    Application,
    Task,
}

impl From<ScopeSpec> for RuleScope {
    fn from(scope: ScopeSpec) -> RuleScope {
        match scope {
            ScopeSpec::Application => RuleScope::Application,
            ScopeSpec::Task => RuleScope::Task,
        }
    }
}

/// What is kept of the lines below the level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleSpec {
    /// The part that is kept: 0 keeps none, 0.01 one in a hundred, 1 all.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub below: f64,
}

/// A label selector, as in a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Selector {
    /// Labels and their values; all must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63}, "x-kubernetes-validations" = [{
        "rule": format!("self.all(key, key.matches('{}'))", schema::LABEL_KEY),
        "message": schema::LABEL_KEY_MESSAGE
    }, {
        "rule": format!("self.all(key, self[key].matches('{}'))", schema::LABEL_VALUE),
        "message": schema::LABEL_VALUE_MESSAGE
    }]))]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)", "message": "operator In or NotIn needs at least one value in values"},
    {"rule": "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || self.values.size() == 0", "message": "operator Exists or DoesNotExist takes no values: remove them"}
]))]
pub struct Requirement {
    /// Name of the label.
    #[schemars(length(min = 1, max = 317), extend("x-kubernetes-validations" = [{
        "rule": format!("self.matches('{}')", schema::LABEL_KEY),
        "message": schema::LABEL_KEY_MESSAGE
    }]))]
    pub key: String,
    /// How the label's value is compared.
    pub operator: OperatorSpec,
    /// For In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic", "items" = {"type": "string", "maxLength": 63}, "x-kubernetes-validations" = [{
        "rule": format!("self.all(value, value.matches('{}'))", schema::LABEL_VALUE),
        "message": schema::LABEL_VALUE_MESSAGE
    }]))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OperatorSpec {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}
