//! `LogLevelConfig` and `ClusterLogLevelConfig`: which pods are held to which level, for how long. The one is for its own
//! namespace, the other for the whole cluster.

pub mod push;
mod rule;
mod spec;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::{CustomResource, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Kind;
use crate::schema;

pub use push::{HttpPush, MethodSpec, PathPush, PortPush, PushSpec, SpringBootPush};
use rule::{BOTH_ENDS, DEFAULT_ENDS, DEFAULT_SELECTS};
pub use spec::{
    LevelFields, LevelSpec, OperatorSpec, Requirement, SampleSpec, ScopeSpec, Selector, UnleveledSpec,
};

/// The longest that a level config lasts, unless the operator's configuration says otherwise: a week.
pub const DURATION_MS_MAX: i64 = 7 * 86_400_000;

/// Drops lines below a level at the source, for a while, in its own namespace. Audit records always pass.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cordwood.dev",
    version = "v1alpha1",
    kind = "LogLevelConfig",
    plural = "loglevelconfigs",
    shortname = "llc",
    category = "cordwood",
    namespaced,
    status = "LogLevelConfigStatus",
    derive = "PartialEq",
    doc = "LogLevelConfig holds the log lines of some pods of its own namespace to a level until it expires: lines below it are dropped on the node. For the whole cluster there is ClusterLogLevelConfig.",
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.level"),
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Active\")].status"
    ),
    printcolumn(name = "Agents", type_ = "string", json_path = ".status.agents"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Scope", type_ = "string", json_path = ".spec.scope", priority = 1),
    printcolumn(
        name = "Workloads-Matched",
        type_ = "integer",
        json_path = ".status.workloadsMatched",
        priority = 1
    ),
    printcolumn(name = "Generation", type_ = "integer", json_path = ".status.rulesGeneration", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.duration) && has(self.expiresAt))", "message": BOTH_ENDS},
    {"rule": "has(self.duration) || has(self.expiresAt)", "message": "give duration (such as 30m) or expiresAt: a level config must end by itself"}
]))]
pub struct LogLevelConfigSpec {
    #[serde(flatten)]
    pub fields: LevelFields,
}

/// Drops lines below a level at the source, in the whole cluster, for a while or by default. Audit records always pass.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cordwood.dev",
    version = "v1alpha1",
    kind = "ClusterLogLevelConfig",
    plural = "clusterloglevelconfigs",
    shortname = "cllc",
    category = "cordwood",
    status = "LogLevelConfigStatus",
    derive = "PartialEq",
    doc = "ClusterLogLevelConfig holds the log lines of pods of all namespaces to a level: until it expires, or as the default of its scope until it is deleted. Lines below the level are dropped on the node. A LogLevelConfig goes before it in its own namespace.",
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.level"),
    printcolumn(name = "Scope", type_ = "string", json_path = ".spec.scope"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".spec.default"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Active\")].status",
        priority = 1
    ),
    printcolumn(name = "Agents", type_ = "string", json_path = ".status.agents", priority = 1),
    printcolumn(
        name = "Workloads-Matched",
        type_ = "integer",
        json_path = ".status.workloadsMatched",
        priority = 1
    ),
    printcolumn(name = "Generation", type_ = "integer", json_path = ".status.rulesGeneration", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.duration) && has(self.expiresAt))", "message": BOTH_ENDS},
    {"rule": "self.default || has(self.duration) || has(self.expiresAt)", "message": "give duration (such as 30m) or expiresAt, or default: true for one that stays"},
    {"rule": "!self.default || !(has(self.duration) || has(self.expiresAt) || has(self.ttlAfterExpiry))", "message": DEFAULT_ENDS},
    {"rule": "!self.default || (!has(self.service) && (!has(self.containers) || self.containers.size() == 0) && (!has(self.selector) || ((!has(self.selector.matchLabels) || self.selector.matchLabels.size() == 0) && (!has(self.selector.matchExpressions) || self.selector.matchExpressions.size() == 0))))", "message": DEFAULT_SELECTS}
]))]
pub struct ClusterLogLevelConfigSpec {
    #[serde(flatten)]
    pub fields: LevelFields,
    /// In force wherever no other level config of its scope is, without an end. One per scope: the oldest.
    #[serde(default)]
    pub default: bool,
}

/// What the operator and the agents made of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLevelConfigStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: all agents have it, or it has ended. Reconciling: agents lag. Stalled: not in force before somebody does what the message
    /// says. Active: in force now. Accepted: the spec can be followed and has room. Applied: all agents have it. Conflict: another can match the
    /// same lines. Pushed, DebugScopes: applications have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Generation of the compiled rules that contain it; once it has ended, of the last that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_generation: Option<i64>,
    /// Agents that have these rules, and all: 3/3. Only while it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<String>,
    /// Agents that have these rules. Only while it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_applied: Option<i64>,
    /// Agents that run, whether or not they have these rules. Only while it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_total: Option<i64>,
    /// Workloads with a pod that it matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads_matched: Option<i64>,
    /// Of these: workloads whose pods all lie on nodes with agents that have the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads_applied: Option<i64>,
    /// Of these: workloads with a pod on a node whose agent does not have the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads_failed: Option<i64>,
    /// From when the duration is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// The value of spec.duration when startedAt was set. When spec.duration changes, counting starts again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_duration: Option<String>,
    /// When it ends, on every agent by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// What is said of an object whose spec cannot be read.
fn nothing_said() -> LevelFields {
    LevelFields {
        selector: Selector::default(),
        containers: Vec::new(),
        service: None,
        level: LevelSpec::Trace,
        unleveled: UnleveledSpec::Keep,
        scope: ScopeSpec::Application,
        debug_scopes: None,
        sample: None,
        duration: None,
        expires_at: None,
        ttl_after_expiry: None,
        push: None,
    }
}

impl Kind for LogLevelConfig {
    fn without_spec(metadata: ObjectMeta, status: Value) -> LogLevelConfig {
        let spec = LogLevelConfigSpec { fields: nothing_said() };
        LogLevelConfig { metadata, spec, status: serde_json::from_value(status).ok() }
    }
}

impl Kind for ClusterLogLevelConfig {
    fn without_spec(metadata: ObjectMeta, status: Value) -> ClusterLogLevelConfig {
        let spec = ClusterLogLevelConfigSpec { fields: nothing_said(), default: false };
        ClusterLogLevelConfig { metadata, spec, status: serde_json::from_value(status).ok() }
    }
}

/// Where a level config is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A LogLevelConfig.
    Namespace,
    /// A ClusterLogLevelConfig.
    Cluster,
}

/// A level config of either kind.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelObject {
    pub reach: Reach,
    pub metadata: ObjectMeta,
    pub fields: LevelFields,
    pub default: bool,
    pub status: Option<LogLevelConfigStatus>,
}

impl From<LogLevelConfig> for LevelObject {
    fn from(config: LogLevelConfig) -> LevelObject {
        let LogLevelConfig { metadata, spec, status } = config;
        LevelObject { reach: Reach::Namespace, metadata, fields: spec.fields, default: false, status }
    }
}

impl From<ClusterLogLevelConfig> for LevelObject {
    fn from(config: ClusterLogLevelConfig) -> LevelObject {
        let ClusterLogLevelConfig { metadata, spec, status } = config;
        let (fields, default) = (spec.fields, spec.default);
        LevelObject { reach: Reach::Cluster, metadata, fields, default, status }
    }
}

impl LevelObject {
    /// `<namespace>/<name>`; `<name>` of a cluster-wide one.
    pub fn id(&self) -> String {
        match self.namespace() {
            Some(namespace) => format!("{namespace}/{}", self.name()),
            None => self.name().to_owned(),
        }
    }

    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The only namespace that it is for; `None`: the whole cluster.
    pub fn namespace(&self) -> Option<&str> {
        match self.reach {
            Reach::Namespace => Some(self.metadata.namespace.as_deref().unwrap_or("default")),
            Reach::Cluster => None,
        }
    }

    pub fn kind(&self) -> &'static str {
        match self.reach {
            Reach::Namespace => "LogLevelConfig",
            Reach::Cluster => "ClusterLogLevelConfig",
        }
    }

    /// An object that is created again under the same name has another uid.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// As events name it.
    pub fn reference(&self) -> ObjectReference {
        let (kind, api_version) = match self.reach {
            Reach::Namespace => (LogLevelConfig::kind(&()), LogLevelConfig::api_version(&())),
            Reach::Cluster => (ClusterLogLevelConfig::kind(&()), ClusterLogLevelConfig::api_version(&())),
        };
        ObjectReference {
            kind: Some(kind.into_owned()),
            api_version: Some(api_version.into_owned()),
            name: self.metadata.name.clone(),
            namespace: self.metadata.namespace.clone(),
            uid: self.metadata.uid.clone(),
            resource_version: self.metadata.resource_version.clone(),
            field_path: None,
        }
    }

    /// When its duration began: what the status says, as long as the duration is the same; else `fallback_ms`.
    pub fn started_at_ms(&self, fallback_ms: i64) -> i64 {
        let status = self.status.as_ref();
        let same = status.is_some_and(|status| status.started_duration == self.fields.duration);
        let started = status.and_then(|status| status.started_at.as_ref()).filter(|_| same);
        started.map_or(fallback_ms, |time| time.0.as_millisecond())
    }
}
