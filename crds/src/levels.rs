//! `LogLevelConfig`: which pods are held to which level, for how long.

use std::collections::BTreeMap;

use cordwood_core::level::Level;
use cordwood_core::levels::{LabelExpression, LabelOperator, LevelRule};
use cordwood_core::retention::duration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;
use crate::{Kind, Problem, problem};

/// Drops lines below a level at the source, for a while. In the namespace of the Cordwood release it is for the whole cluster,
/// elsewhere for its own namespace. Audit records always pass.
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
    doc = "LogLevelConfig holds the log lines of some pods to a level until it expires: lines below it are dropped on the node. In the namespace of the Cordwood release it is for the whole cluster, elsewhere for its own namespace.",
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.level"),
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Active\")].status"
    ),
    printcolumn(name = "Agents", type_ = "string", json_path = ".status.agents"),
    printcolumn(name = "Workloads", type_ = "integer", json_path = ".status.workloadsMatched"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Generation", type_ = "integer", json_path = ".status.rulesGeneration", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.duration) && has(self.expiresAt))", "message": "give either duration or expiresAt, not both"},
    {"rule": "has(self.duration) || has(self.expiresAt)", "message": "give duration (such as 30m) or expiresAt: a level config must end by itself"}
]))]
pub struct LogLevelConfigSpec {
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
    /// Keeps a part of what lies below the level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleSpec>,
    /// How long it lasts, counted from when the resource was made or this field was last changed: 30m, 1h30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::level_duration")]
    pub duration: Option<String>,
    /// When it ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Also changes the level inside the application itself, and back at the end. Not done yet: the condition Pushed says so.
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
    #[schemars(length(max = 16))]
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
    #[schemars(length(max = 64), extend("items" = {"type": "string", "maxLength": 63}, "x-kubernetes-validations" = [{
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

/// The longest that a level config lasts, unless the operator's configuration says otherwise: a week.
pub const DURATION_MS_MAX: i64 = 7 * 86_400_000;

const ONE_PUSH: &str = "give exactly one of springBoot, zap, envoy, cordwood, http";

/// How the level is changed inside the application. Exactly one way; only pods that the selector matches are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.springBoot), has(self.zap), has(self.envoy), has(self.cordwood), has(self.http)].filter(x, x).size() == 1",
    "message": ONE_PUSH
}]))]
pub struct PushSpec {
    /// Spring Boot's actuator: POST /actuator/loggers/<logger>.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spring_boot: Option<SpringBootPush>,
    /// Zap's AtomicLevel as an HTTP handler: PUT of {"level": ...}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zap: Option<PathPush>,
    /// Envoy's admin interface: POST /logging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy: Option<PortPush>,
    /// The Cordwood logger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordwood: Option<PortPush>,
    /// Any other HTTP endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpPush>,
}

/// Spring Boot's actuator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpringBootPush {
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// Name of the logger.
    #[serde(default = "root_logger")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9_.$-]+$"))]
    pub logger: String,
}

/// An endpoint of which only the port is to be known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PortPush {
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
}

/// An endpoint with a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PathPush {
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// Path on the pod itself.
    #[serde(default = "zap_path")]
    #[schemars(schema_with = "schema::http_path")]
    pub path: String,
}

/// Any HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpPush {
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// Path on the pod itself.
    #[schemars(schema_with = "schema::http_path")]
    pub path: String,
    /// PUT or POST.
    #[serde(default)]
    pub method: MethodSpec,
    /// The request's body; ${LEVEL} and ${level} stand for the level in upper and lower case.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub body: String,
}

/// HTTP methods that change something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum MethodSpec {
    Put,
    #[default]
    Post,
}

fn root_logger() -> String {
    "ROOT".to_owned()
}
fn zap_path() -> String {
    "/log/level".to_owned()
}

/// What the operator and the agents made of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLevelConfigStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Active: in force now. Valid: the spec can be followed. Applied: all agents have it. Pushed: applications have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Generation of the compiled rules that contain it; once it has ended, of the last that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_generation: Option<i64>,
    /// Agents that have these rules, and all: 3/3. Only while it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_applied: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_total: Option<i64>,
    /// Workloads with a pod that it matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads_matched: Option<i64>,
    /// Workloads in which push changed the level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads_applied: Option<i64>,
    /// Workloads in which push failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads_failed: Option<i64>,
    /// From when the duration is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// The duration that started_at belongs to: a changed one is counted anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_duration: Option<String>,
    /// When it ends, on every agent by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

impl Kind for LogLevelConfig {
    fn without_spec(metadata: ObjectMeta, status: Value) -> LogLevelConfig {
        let spec = LogLevelConfigSpec {
            selector: Selector::default(),
            containers: Vec::new(),
            service: None,
            level: LevelSpec::Trace,
            sample: None,
            duration: None,
            expires_at: None,
            push: None,
        };
        LogLevelConfig { metadata, spec, status: serde_json::from_value(status).ok() }
    }
}

impl LogLevelConfig {
    /// `<namespace>/<name>`.
    pub fn id(&self) -> String {
        let meta = &self.metadata;
        format!(
            "{}/{}",
            meta.namespace.as_deref().unwrap_or("default"),
            meta.name.as_deref().unwrap_or_default()
        )
    }

    /// When its duration began: what the status says, as long as the duration is the same; else `fallback_ms`.
    pub fn started_at_ms(&self, fallback_ms: i64) -> i64 {
        let status = self.status.as_ref();
        let same = status.is_some_and(|status| status.started_duration == self.spec.duration);
        let started = status.and_then(|status| status.started_at.as_ref()).filter(|_| same);
        started.map_or(fallback_ms, |time| time.0.as_millisecond())
    }

    /// The rule as agents take it, or everything that is wrong with it. `cluster_wide`: it is in the release's own
    /// namespace. `started_at_ms`: see [`LogLevelConfig::started_at_ms`]. `cap_ms`: the longest that a rule may last.
    pub fn to_rule(
        &self,
        cluster_wide: bool,
        started_at_ms: i64,
        cap_ms: i64,
    ) -> Result<LevelRule, Vec<Problem>> {
        let spec = &self.spec;
        let mut problems = Vec::new();
        let expires_at_ms = match (&spec.duration, &spec.expires_at) {
            (Some(_), Some(_)) => {
                Err(problem("spec.duration", "give either duration or expiresAt, not both"))
            }
            (None, None) => Err(problem("spec.duration", "give duration (such as 30m) or expiresAt")),
            (None, Some(time)) => Ok(time.0.as_millisecond()),
            (Some(text), None) => match duration::parse(text) {
                Ok(us) if us > 0 && schema::matches(schema::LEVEL_DURATION, text) => {
                    Ok(started_at_ms.saturating_add(us / 1000))
                }
                Ok(_) => Err(problem("spec.duration", schema::LEVEL_DURATION_MESSAGE)),
                Err(error) => Err(problem("spec.duration", error.to_string())),
            },
        };
        let below = spec.sample.map_or(0.0, |sample| sample.below);
        if !(0.0..=1.0).contains(&below) {
            problems.push(problem("spec.sample.below", "must be from 0 (keep none) to 1 (keep all)"));
        }
        for requirement in &spec.selector.match_expressions {
            let needs = matches!(requirement.operator, OperatorSpec::In | OperatorSpec::NotIn);
            if needs == requirement.values.is_empty() {
                let message =
                    if needs { "In and NotIn need values" } else { "Exists and DoesNotExist take no values" };
                problems.push(problem("spec.selector.matchExpressions", message));
            }
        }
        problems.extend(self.spelling());
        let expires_at_ms = match expires_at_ms {
            Ok(at) => at.min(started_at_ms.saturating_add(cap_ms)),
            Err(found) => {
                problems.push(found);
                0
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(LevelRule {
            id: self.id(),
            namespace: (!cluster_wide)
                .then(|| self.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            match_labels: spec.selector.match_labels.clone(),
            match_expressions: spec.selector.match_expressions.iter().map(expression).collect(),
            containers: spec.containers.clone(),
            service: spec.service.clone(),
            level: spec.level.into(),
            sample_below: below,
            expires_at_ms: Some(expires_at_ms),
            created_at_ms: started_at_ms,
        })
    }
}

impl LogLevelConfig {
    /// What is wrong with names, labels, paths, by the patterns of the API server's rules.
    fn spelling(&self) -> Vec<Problem> {
        let spec = &self.spec;
        let mut problems = Vec::new();
        let mut check = |is_good: bool, field: &str, message: &str| {
            if !is_good {
                problems.push(problem(field, message));
            }
        };
        for (key, value) in &spec.selector.match_labels {
            let field = "spec.selector.matchLabels";
            check(schema::matches(schema::LABEL_KEY, key), field, schema::LABEL_KEY_MESSAGE);
            check(schema::matches(schema::LABEL_VALUE, value), field, schema::LABEL_VALUE_MESSAGE);
        }
        for requirement in &spec.selector.match_expressions {
            let field = "spec.selector.matchExpressions";
            check(schema::matches(schema::LABEL_KEY, &requirement.key), field, schema::LABEL_KEY_MESSAGE);
            for value in &requirement.values {
                check(schema::matches(schema::LABEL_VALUE, value), field, schema::LABEL_VALUE_MESSAGE);
            }
        }
        for name in &spec.containers {
            let is_name = schema::matches(schema::CONTAINER_NAME, name);
            check(is_name, "spec.containers", schema::CONTAINER_NAME_MESSAGE);
        }
        let Some(push) = &spec.push else { return problems };
        let ways = [
            push.spring_boot.is_some(),
            push.zap.is_some(),
            push.envoy.is_some(),
            push.cordwood.is_some(),
            push.http.is_some(),
        ];
        check(ways.iter().filter(|way| **way).count() == 1, "spec.push", ONE_PUSH);
        let paths = [push.zap.as_ref().map(|zap| &zap.path), push.http.as_ref().map(|http| &http.path)];
        for path in paths.into_iter().flatten() {
            let is_path =
                schema::matches(schema::HTTP_PATH, path) && !path.contains("..") && !path.contains("//");
            check(is_path, "spec.push", schema::HTTP_PATH_MESSAGE);
        }
        problems
    }
}

fn expression(requirement: &Requirement) -> LabelExpression {
    LabelExpression {
        key: requirement.key.clone(),
        operator: match requirement.operator {
            OperatorSpec::In => LabelOperator::In,
            OperatorSpec::NotIn => LabelOperator::NotIn,
            OperatorSpec::Exists => LabelOperator::Exists,
            OperatorSpec::DoesNotExist => LabelOperator::DoesNotExist,
        },
        values: requirement.values.clone(),
    }
}
