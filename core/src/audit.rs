//! Decides whether a line that calls itself an audit record is believed.
//! Promise: a line alone gives itself no rights. Only in a namespace that is marked for it do level rules spare audit records and does
//! retention treat them as such, and only within the pod's budget. Beyond it they are ordinary records that show the category.

use std::sync::{Arc, Mutex, PoisonError};

const HOUR_MS: i64 = 3_600_000;

/// Whether the lines of one log are believed when they call themselves audit records.
#[derive(Clone, Debug, Default)]
pub enum AuditTrust {
    /// The category is shown, and nothing follows from it.
    #[default]
    Shown,
    /// Within what the pod's containers may write together.
    Within(Arc<AuditBudget>),
    /// The administrator named the file, or no cluster says whose it is.
    Always,
}

impl AuditTrust {
    /// Whether an audit record of `bytes` that is read at `now_ms` (since the Unix epoch) is treated as one. Each call takes from the budget.
    pub fn accepts(&self, bytes: u64, now_ms: i64) -> bool {
        match self {
            AuditTrust::Shown => false,
            AuditTrust::Within(budget) => budget.take(bytes, now_ms),
            AuditTrust::Always => true,
        }
    }
}

/// Budgets are equal when they are the same one.
impl PartialEq for AuditTrust {
    fn eq(&self, other: &AuditTrust) -> bool {
        match (self, other) {
            (AuditTrust::Shown, AuditTrust::Shown) | (AuditTrust::Always, AuditTrust::Always) => true,
            (AuditTrust::Within(one), AuditTrust::Within(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for AuditTrust {}

/// What one pod may write of audit records: so many bytes at once, and the same again over each hour.
#[derive(Debug)]
pub struct AuditBudget {
    bytes_per_hour: u64,
    left: Mutex<Left>,
}

#[derive(Debug)]
struct Left {
    bytes: f64,
    /// `None`: nothing was taken yet.
    at_ms: Option<i64>,
    /// When it was last told that nothing is left.
    told_ms: Option<i64>,
}

impl AuditBudget {
    pub fn new(bytes_per_hour: u64) -> AuditBudget {
        let left = Left { bytes: bytes_per_hour as f64, at_ms: None, told_ms: None };
        AuditBudget { bytes_per_hour, left: Mutex::new(left) }
    }

    pub fn bytes_per_hour(&self) -> u64 {
        self.bytes_per_hour
    }

    /// Takes `bytes`, or nothing where so much is not left. A clock that goes back gives nothing.
    fn take(&self, bytes: u64, now_ms: i64) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let full = self.bytes_per_hour as f64;
        let passed_ms = left.at_ms.map_or(0, |at| now_ms.saturating_sub(at).max(0));
        left.at_ms = Some(now_ms);
        left.bytes = (left.bytes + full * passed_ms as f64 / HOUR_MS as f64).min(full);
        let is_within = bytes as f64 <= left.bytes;
        if is_within {
            left.bytes -= bytes as f64;
        }
        is_within
    }

    /// Whether people are to be told that records go beyond it: once an hour.
    pub fn is_to_be_told(&self, now_ms: i64) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = left.told_ms.is_none_or(|told| now_ms.saturating_sub(told) >= HOUR_MS);
        if is_due {
            left.told_ms = Some(now_ms);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pod_has_its_budget_at_once_and_again_over_each_hour() {
        const HOUR: i64 = HOUR_MS;
        let budget = Arc::new(AuditBudget::new(1_000));
        let trust = AuditTrust::Within(budget.clone());
        for (bytes, now_ms, expected) in [
            (600, 0, true),
            (600, 0, false),
            (400, 0, true),
            (1, 0, false),
            // A quarter of an hour gives a quarter.
            (251, HOUR / 4, false),
            (250, HOUR / 4, true),
            // It does not grow beyond an hour's.
            (1_001, 30 * HOUR, false),
            (1_000, 30 * HOUR, true),
            // The clock goes back, and comes again to where it was: that hour was given.
            (1, 29 * HOUR, false),
            (1_000, 30 * HOUR, true),
        ] {
            assert_eq!(trust.accepts(bytes, now_ms), expected, "{bytes} at {now_ms}");
        }
        let told = [0, 1, HOUR - 1, HOUR, HOUR + 1].map(|now_ms| budget.is_to_be_told(now_ms));
        assert_eq!(told, [true, false, false, true, false]);
    }

    #[test]
    fn nobody_is_believed_unasked_and_the_administrator_always() {
        assert!(!AuditTrust::default().accepts(0, 0));
        assert!(AuditTrust::Always.accepts(u64::MAX, i64::MIN));
        let within = || AuditTrust::Within(Arc::new(AuditBudget::new(1)));
        let one = within();
        assert_eq!(one, one.clone());
        assert_ne!(one, within());
        assert_ne!(one, AuditTrust::Always);
    }

    proptest! {
        /// With a clock that goes on, never more than two hours' worth within an hour.
        #[test]
        fn an_hour_has_its_limit(takes in prop::collection::vec((0_u64..500, 0_i64..600_000), 1..200)) {
            let (budget, mut now_ms) = (AuditBudget::new(1_000), 0);
            let mut taken: Vec<(i64, u64)> = Vec::new();
            for (bytes, passed_ms) in takes {
                now_ms += passed_ms;
                if budget.take(bytes, now_ms) {
                    taken.push((now_ms, bytes));
                }
            }
            for (from_ms, _) in &taken {
                let within = taken.iter().filter(|(at, _)| (*from_ms..from_ms + 3_600_000).contains(at));
                prop_assert!(within.map(|(_, bytes)| bytes).sum::<u64>() <= 2_001);
            }
        }
    }
}
