//! Level rules: which container is held to which level, and until when.
//! One generation of rules is one JSON object that the operator compiles and every agent watches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gate::{Gate, GateRule};
use crate::level::Level;

/// Name of the ConfigMap that the operator writes and every agent watches, unless the configuration says another.
pub const RULES_CONFIG_MAP: &str = "cordwood-level-rules";
/// Its only key: [`LevelRules`] as JSON.
pub const RULES_KEY: &str = "rules.json";
/// Top-level key of an agent's `/status`: the generation of the rules that its gates follow.
pub const STATUS_GENERATION: &str = "rules_generation";

/// What an agent's `/status` says under [`STATUS_GENERATION`]; `None` when it is no such body.
pub fn generation_in_status(body: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(body).ok()?.get(STATUS_GENERATION)?.as_u64()
}

/// All rules in force, of one generation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelRules {
    /// Rises with each change; agents report which one they have.
    pub generation: u64,
    #[serde(default)]
    pub rules: Vec<LevelRule>,
}

/// One rule. A condition that is absent or empty holds for every container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelRule {
    /// `<namespace>/<name>` of the resource that it was compiled from.
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
    /// Lines below it are dropped...
    pub level: Level,
    /// ...but for this part of them (0 to 1).
    #[serde(default)]
    pub sample_below: f64,
    /// Milliseconds since the Unix epoch at which it ends, by itself and for good; `None`: when it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
    /// When it came into being; the newest of equals is in force.
    #[serde(default)]
    pub created_at_ms: i64,
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
}

impl LevelRule {
    /// Whether it applies to `target`, expired or not.
    pub fn matches(&self, target: &GateTarget<'_>) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == target.namespace)
            && self.service.as_deref().is_none_or(|service| service == target.service)
            && (self.containers.is_empty() || self.containers.iter().any(|name| name == target.container))
            && match target.labels {
                Some(labels) => self.selects(labels),
                None => self.match_labels.is_empty() && self.match_expressions.is_empty(),
            }
    }

    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.matches(labels))
    }
}

impl LevelRules {
    /// The gate of one container: its rules, the one in force first. A rule of the container's own namespace goes before
    /// a cluster-wide one, then the newest, then the greater id. When the first expires the next takes over.
    pub fn gate_for(&self, target: &GateTarget<'_>) -> Gate {
        let mut matching: Vec<&LevelRule> = self.rules.iter().filter(|rule| rule.matches(target)).collect();
        matching.sort_by(|a, b| {
            let rank = |rule: &LevelRule| (rule.namespace.is_some(), rule.created_at_ms);
            rank(b).cmp(&rank(a)).then_with(|| b.id.cmp(&a.id))
        });
        Gate::new(
            matching
                .into_iter()
                .map(|rule| GateRule {
                    id: rule.id.clone(),
                    level: rule.level,
                    sample_below: rule.sample_below,
                    expires_at_ms: rule.expires_at_ms,
                })
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests;
