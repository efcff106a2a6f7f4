//! The gate drops records below the level that a level rule sets for their container.
//! Promises: audit records that are believed pass. A record of unknown level passes unless the rule says otherwise. A rule ends at an absolute
//! time that is checked here, so it ends even when the operator is unavailable. The same record at the same position gets the same answer
//! again, so a replay drops the same records.

use serde::{Deserialize, Serialize};

use crate::level::Level;

/// Which records a rule is about. The two are apart: neither stands in for the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleScope {
    /// Records without a `taskId`.
    #[default]
    Application,
    /// Records with a `taskId`.
    Task,
}

/// What becomes of a line whose level nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unleveled {
    /// It passes: it may be an error in words that no one taught us.
    #[default]
    Keep,
    /// It counts as below the rule's level, whatever that is.
    Drop,
}

/// One rule as it applies to one container.
#[derive(Clone, Debug, PartialEq)]
pub struct GateRule {
    pub id: String,
    pub level: Level,
    pub unleveled: Unleveled,
    /// Part (0 to 1) of what lies below the level that is kept all the same.
    pub sample_below: f64,
    /// Milliseconds since the Unix epoch, UTC.
    pub expires_at_ms: Option<i64>,
}

impl GateRule {
    fn in_force(&self, now_ms: i64) -> bool {
        self.expires_at_ms.is_none_or(|expires| now_ms < expires)
    }

    fn is_below(&self, level: Option<Level>) -> bool {
        match level {
            Some(level) => level < self.level,
            None => self.unleveled == Unleveled::Drop,
        }
    }
}

/// What a gate looks at of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// `None`: nobody knows it.
    pub level: Option<Level>,
    /// An audit record that is believed to be one.
    pub audit: bool,
    /// It has a `taskId`.
    pub task: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Keep,
    /// Dropped by a level rule; the batch counts it.
    Gated,
}

/// The rules of one container by scope, in each the one in force first. The default gate keeps everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gate {
    application: Vec<GateRule>,
    task: Vec<GateRule>,
}

impl Gate {
    /// Rules in order of precedence ([`crate::levels::LevelRules::gate_for`] orders them).
    pub fn new(application: Vec<GateRule>, task: Vec<GateRule>) -> Gate {
        Gate { application, task }
    }

    /// The rule that decides about records of `scope` at `now_ms`.
    pub fn in_force(&self, scope: RuleScope, now_ms: i64) -> Option<&GateRule> {
        self.rules(scope).iter().find(|rule| rule.in_force(now_ms))
    }

    /// `position` is the line's end position in its file: what sampling draws its lot from. A LOSS record never comes
    /// here: it is not a line.
    #[inline]
    pub fn decide(&self, look: Look, now_ms: i64, position: u64) -> Decision {
        let scope = if look.task { RuleScope::Task } else { RuleScope::Application };
        if look.audit || self.rules(scope).is_empty() {
            return Decision::Keep;
        }
        match self.in_force(scope, now_ms) {
            Some(rule) if rule.is_below(look.level) && !sampled(rule.sample_below, position) => {
                Decision::Gated
            }
            _ => Decision::Keep,
        }
    }

    fn rules(&self, scope: RuleScope) -> &[GateRule] {
        match scope {
            RuleScope::Application => &self.application,
            RuleScope::Task => &self.task,
        }
    }
}

/// Whether the line at `position` is among the `part` that is kept. A NaN keeps nothing; 1 and above keeps all.
fn sampled(part: f64, position: u64) -> bool {
    // 53 bits of a well-mixed hash (splitmix64's finalizer) as a number in [0, 1).
    let mut hash = position.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    ((hash >> 11) as f64) / ((1u64 << 53) as f64) < part
}

#[cfg(test)]
mod tests;
