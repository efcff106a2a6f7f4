//! Level rules: which container is held to which level, and until when.
//! One generation of rules is one JSON object that the operator compiles and every agent watches.

pub mod changes;
pub mod rivals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gate::{Gate, GateRule, RuleScope, Unleveled};
use crate::level::Level;

/// Name of the ConfigMap that the operator writes and every agent watches, unless the configuration says another.
pub const RULES_CONFIG_MAP: &str = "cordwood-level-rules";
/// Its only key: [`LevelRules`] as JSON.
pub const RULES_KEY: &str = "rules.json";
/// Top-level key of an agent's `/status`: the generation of the rules that its gates follow.
pub const STATUS_GENERATION: &str = "rules_generation";

/// The format of [`LevelRules`] as JSON. A new field that an older reader can leave out needs no new one: it is raised only
/// when an older reader would drop what it must not. 1 had neither scopes nor defaults.
pub const RULES_VERSION: u32 = 2;

/// All rules in force, of one generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelRules {
    /// [`RULES_VERSION`] of the program that wrote them; absent: 1.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Rises with each change; agents report which one they have.
    pub generation: u64,
    /// Of scope application.
    #[serde(default)]
    pub rules: Vec<LevelRule>,
    /// Of scope task. Apart, so that a reader of version 1, which knows of no scope, does not hold all records to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub task_rules: Vec<LevelRule>,
}

fn first_version() -> u32 {
    1
}

impl Default for LevelRules {
    fn default() -> LevelRules {
        LevelRules::of(0, [])
    }
}

/// One rule. A condition that is absent or empty holds for every container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelRule {
    /// `<namespace>/<name>` of the LogLevelConfig that it was compiled from, `<name>` of a ClusterLogLevelConfig.
    pub id: String,
    /// The only namespace that it applies to; `None`: the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelExpression>,
    /// Names of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub scope: RuleScope,
    /// In force only where no other rule of its scope is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub default: bool,
    /// Lines below it are dropped...
    pub level: Level,
    /// ...and lines of no known level, if this says so...
    #[serde(default, skip_serializing_if = "is_default")]
    pub unleveled: Unleveled,
    /// ...but for this part of them (0 to 1).
    #[serde(default)]
    pub sample_below: f64,
    /// Whether the logger inside the application is to write the entries and exits of scopes; `None`: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug_scopes: Option<bool>,
    /// Milliseconds since the Unix epoch at which it ends, by itself and for good; `None`: when it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
    /// When it came into being; the newest of equals is in force.
    #[serde(default)]
    pub created_at_ms: i64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A Kubernetes `LabelSelectorRequirement`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelExpression {
    pub key: String,
    pub operator: LabelOperator,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelExpression {
    /// As Kubernetes does it: `NotIn` also holds when the label is absent.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            LabelOperator::In => value.is_some_and(|value| self.values.contains(value)),
            LabelOperator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// A container, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct GateTarget<'a> {
    pub namespace: &'a str,
    /// The pod's; `None`: nobody knows them, and a rule that selects by labels does not apply (a label that is absent is
    /// something else than one that is not known).
    pub labels: Option<&'a BTreeMap<String, String>>,
    pub container: &'a str,
    pub service: &'a str,
    /// Its namespace takes its own rules alone, or nobody knows whether it does.
    pub is_exempt: bool,
}

impl LevelRule {
    /// Whether it applies to `target`, expired or not.
    pub fn matches(&self, target: &GateTarget<'_>) -> bool {
        self.namespace.as_deref().map_or(!target.is_exempt, |namespace| namespace == target.namespace)
            && self.service.as_deref().is_none_or(|service| service == target.service)
            && (self.containers.is_empty() || self.containers.iter().any(|name| name == target.container))
            && match target.labels {
                Some(labels) => self.selects(labels),
                None => self.match_labels.is_empty() && self.match_expressions.is_empty(),
            }
    }

    /// The greatest of those that match is in force: a rule goes before a default, a rule of the container's own namespace before
    /// a cluster-wide one, then the newest, then the greater id.
    pub fn precedence(&self) -> impl Ord + use<'_> {
        (!self.default, self.namespace.is_some(), self.created_at_ms, &self.id)
    }

    fn for_gate(&self) -> GateRule {
        GateRule {
            id: self.id.clone(),
            level: self.level,
            unleveled: self.unleveled,
            sample_below: self.sample_below,
            expires_at_ms: self.expires_at_ms,
        }
    }

    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.matches(labels))
    }
}

impl LevelRules {
    /// Puts each rule where its scope has it.
    pub fn of(generation: u64, rules: impl IntoIterator<Item = LevelRule>) -> LevelRules {
        let (task_rules, rules) = rules.into_iter().partition(|rule| rule.scope == RuleScope::Task);
        LevelRules { version: RULES_VERSION, generation, rules, task_rules }
    }

    /// Reads what an operator of any version wrote.
    ///
    /// # Errors
    /// What is no such JSON; and a version above [`RULES_VERSION`], of which nobody knows what it would drop here.
    pub fn from_json(text: &str) -> Result<LevelRules, String> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default = "first_version")]
            version: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if head.version > RULES_VERSION {
            return Err(format!(
                "they are of version {}, this program knows up to {RULES_VERSION}: upgrade it",
                head.version
            ));
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Those of both scopes.
    pub fn all(&self) -> impl Iterator<Item = &LevelRule> {
        self.rules.iter().chain(&self.task_rules)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len() + self.task_rules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, id: &str) -> Option<&LevelRule> {
        self.all().find(|rule| rule.id == id)
    }

    /// The gate of one container: its rules of each scope, the one in force first. When the first expires the next takes over.
    pub fn gate_for(&self, target: &GateTarget<'_>) -> Gate {
        let gate_rules = |rules: &[LevelRule]| {
            let mut matching: Vec<&LevelRule> = rules.iter().filter(|rule| rule.matches(target)).collect();
            matching.sort_by(|a, b| b.precedence().cmp(&a.precedence()));
            matching.into_iter().map(LevelRule::for_gate).collect()
        };
        Gate::new(gate_rules(&self.rules), gate_rules(&self.task_rules))
    }
}

#[cfg(test)]
mod tests;
