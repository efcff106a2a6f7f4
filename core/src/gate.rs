//! Drops what lies below the level in force for its container.
//! Promises: audit records pass; expiry is absolute and decided here, so that a rule ends even when nobody is left to
//! remove it; the same line at the same place gets the same answer again, so that a replay gates the same lines.

use crate::level::Level;

/// One rule as it applies to one container.
#[derive(Clone, Debug, PartialEq)]
pub struct GateRule {
    pub id: String,
    pub level: Level,
    /// Part (0 to 1) of what lies below the level that is kept all the same.
    pub sample_below: f64,
    /// Milliseconds since the Unix epoch, UTC.
    pub expires_at_ms: Option<i64>,
}

impl GateRule {
    fn in_force(&self, now_ms: i64) -> bool {
        self.expires_at_ms.is_none_or(|expires| now_ms < expires)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Keep,
    /// Dropped by a level rule; the batch counts it.
    Gated,
}

/// The rules of one container, the one in force first. The default gate keeps everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gate {
    rules: Vec<GateRule>,
}

impl Gate {
    /// `rules` in order of precedence ([`crate::levels::LevelRules::gate_for`] orders them).
    pub fn new(rules: Vec<GateRule>) -> Gate {
        Gate { rules }
    }

    /// The rule that decides at `now_ms`.
    pub fn in_force(&self, now_ms: i64) -> Option<&GateRule> {
        self.rules.iter().find(|rule| rule.in_force(now_ms))
    }

    /// `position` is the line's end position in its file: what sampling draws its lot from. A LOSS record never comes
    /// here: it is not a line.
    #[inline]
    pub fn decide(&self, level: Level, audit: bool, now_ms: i64, position: u64) -> Decision {
        if self.rules.is_empty() || audit {
            return Decision::Keep;
        }
        match self.in_force(now_ms) {
            Some(rule) if level < rule.level && !sampled(rule.sample_below, position) => Decision::Gated,
            _ => Decision::Keep,
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
