//! Compiles all level configs into the level rules of one generation: what the agents get, and when the rules must be compiled again.
//!
//! All rules travel in one object of bounded size, so rules have a budget: each namespace its own, the cluster-wide ones theirs,
//! and all together one. Cluster-wide rules come first. Of a namespace the oldest come first. Where all together are too many, a
//! rule comes before another whose namespace uses more: no namespace takes room from one that uses less.

use std::collections::BTreeMap;
use std::fmt;

use crate::gate::RuleScope;
use crate::levels::{LevelRule, LevelRules};
use crate::limits::{
    LEVEL_RULES_BYTES_MAX, LEVEL_RULES_CLUSTER_BYTES_MAX, LEVEL_RULES_CLUSTER_MAX,
    LEVEL_RULES_NAMESPACE_BYTES_MAX, LEVEL_RULES_NAMESPACE_MAX,
};

/// What a level config asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub rule: LevelRule,
    /// Milliseconds since the Unix epoch: when the config came into being. Of two the older has the better right to room.
    pub since_ms: i64,
}

/// Why a rule is not among those that are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Older rules of its namespace (or of the cluster, without one) use up the budget.
    OwnBudget { namespace: Option<String> },
    /// All namespaces together use up what there is, and its own more than those that came before it.
    Budget,
    /// Its scope has a default already.
    SecondDefault { first: String },
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: usize = 1024;
        match self {
            LeftOut::OwnBudget { namespace: Some(namespace) } => write!(
                f,
                "older level configs of namespace {namespace} use up its budget of {LEVEL_RULES_NAMESPACE_MAX} rules and {} KiB: delete one, or make one wider",
                LEVEL_RULES_NAMESPACE_BYTES_MAX / KIB
            ),
            LeftOut::OwnBudget { namespace: None } => write!(
                f,
                "older ClusterLogLevelConfigs use up their budget of {LEVEL_RULES_CLUSTER_MAX} rules and {} KiB: delete one, or make one wider",
                LEVEL_RULES_CLUSTER_BYTES_MAX / KIB
            ),
            LeftOut::Budget => write!(
                f,
                "the level configs of all namespaces use up their budget of {} KiB, and those that use less come first: delete one, or make one wider",
                LEVEL_RULES_BYTES_MAX / KIB
            ),
            LeftOut::SecondDefault { first } => {
                write!(
                    f,
                    "{first} is the default of this scope, and there is one per scope: delete one of them"
                )
            }
        }
    }
}

/// What follows from all candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    pub rules: LevelRules,
    /// By id.
    pub left_out: BTreeMap<String, LeftOut>,
}

/// The rules to publish, and which have no room. Expired ones are neither; order does not matter to agents, so it is by id. The
/// generation rises only when the rules differ from `previous`: publishing again the same is no change.
pub fn compile(
    candidates: impl IntoIterator<Item = Candidate>,
    previous: &LevelRules,
    now_ms: i64,
) -> Compiled {
    let mut candidates: Vec<Candidate> = candidates
        .into_iter()
        .filter(|candidate| candidate.rule.expires_at_ms.is_none_or(|expires| expires > now_ms))
        .collect();
    candidates.sort_by(|a, b| a.age().cmp(&b.age()));
    let mut left_out = BTreeMap::new();
    let candidates = one_default_per_scope(candidates, &mut left_out);
    let mut rules = within_budget(candidates, &mut left_out);
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    let mut rules = LevelRules::of(previous.generation, rules);
    if rules != *previous {
        rules.generation = previous.generation + 1;
    }
    Compiled { rules, left_out }
}

impl Candidate {
    /// Defaults first: they are few, and what is always in force must not wait for room.
    fn age(&self) -> (bool, i64, &str) {
        (!self.rule.default, self.since_ms, &self.rule.id)
    }
}

/// Leaves the oldest default of each scope.
fn one_default_per_scope(
    candidates: Vec<Candidate>,
    left_out: &mut BTreeMap<String, LeftOut>,
) -> Vec<Candidate> {
    let mut firsts: BTreeMap<RuleScope, String> = BTreeMap::new();
    let mut kept = Vec::with_capacity(candidates.len());
    for mut candidate in candidates {
        let rule = &mut candidate.rule;
        if rule.default {
            if let Some(first) = firsts.get(&rule.scope) {
                left_out.insert(rule.id.clone(), LeftOut::SecondDefault { first: first.clone() });
                continue;
            }
            firsts.insert(rule.scope, rule.id.clone());
            // An agent that knows of no defaults takes it for the oldest of the cluster-wide rules: the last in precedence.
            rule.created_at_ms = 0;
        }
        kept.push(candidate);
    }
    kept
}

/// Room that is used.
#[derive(Clone, Copy, Default)]
struct Used {
    rules: usize,
    bytes: usize,
}

/// `candidates` by age.
fn within_budget(candidates: Vec<Candidate>, left_out: &mut BTreeMap<String, LeftOut>) -> Vec<LevelRule> {
    let mut used: BTreeMap<Option<String>, Used> = BTreeMap::new();
    let mut in_own = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let rule = candidate.rule;
        let (rules_max, bytes_max) = match rule.namespace {
            Some(_) => (LEVEL_RULES_NAMESPACE_MAX, LEVEL_RULES_NAMESPACE_BYTES_MAX),
            None => (LEVEL_RULES_CLUSTER_MAX, LEVEL_RULES_CLUSTER_BYTES_MAX),
        };
        let bytes = bytes_of(&rule);
        let own = used.entry(rule.namespace.clone()).or_default();
        if own.rules + 1 > rules_max || own.bytes + bytes > bytes_max {
            left_out.insert(rule.id.clone(), LeftOut::OwnBudget { namespace: rule.namespace });
            continue;
        }
        (own.rules, own.bytes) = (own.rules + 1, own.bytes + bytes);
        // The order in all: what its namespace uses with it.
        let share = if rule.namespace.is_some() { own.bytes } else { 0 };
        in_own.push((share, bytes, rule));
    }
    // Stable: of equal shares the older.
    in_own.sort_by_key(|(share, _, _)| *share);
    let mut all = 0;
    let mut rules = Vec::with_capacity(in_own.len());
    for (_, bytes, rule) in in_own {
        if all + bytes > LEVEL_RULES_BYTES_MAX {
            left_out.insert(rule.id.clone(), LeftOut::Budget);
            continue;
        }
        all += bytes;
        rules.push(rule);
    }
    rules
}

/// Bytes that a rule takes among the others: its JSON and a comma.
fn bytes_of(rule: &LevelRule) -> usize {
    serde_json::to_string(rule).map_or(usize::MAX / 2, |text| text.len() + 1)
}

/// When the first of the rules expires.
pub fn next_expiry_ms(rules: &LevelRules) -> Option<i64> {
    rules.all().filter_map(|rule| rule.expires_at_ms).min()
}

#[cfg(test)]
mod tests;
