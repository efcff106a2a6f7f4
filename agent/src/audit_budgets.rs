//! The budgets of audit records of this node's pods.
//! Promise: all containers of a pod take from one budget, as long as a log of the pod is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cordwood_core::audit::{AuditBudget, AuditTrust};

pub struct AuditBudgets {
    bytes_per_hour: u64,
    /// By the pod's folder, which holds its UID.
    pods: Mutex<HashMap<String, Weak<AuditBudget>>>,
}

impl AuditBudgets {
    pub fn new(bytes_per_hour: u64) -> AuditBudgets {
        AuditBudgets { bytes_per_hour, pods: Mutex::default() }
    }

    /// What the lines of a pod are worth whose namespace `is_marked`, or is not.
    pub fn trust(&self, folder: &str, is_marked: bool) -> AuditTrust {
        if !is_marked {
            return AuditTrust::Shown;
        }
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = pods.get(folder).and_then(Weak::upgrade) {
            return AuditTrust::Within(budget);
        }
        pods.retain(|_, budget| budget.strong_count() > 0);
        let budget = Arc::new(AuditBudget::new(self.bytes_per_hour));
        pods.insert(folder.to_owned(), Arc::downgrade(&budget));
        AuditTrust::Within(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containers_of_a_pod_share_its_budget_and_no_others() {
        let budgets = AuditBudgets::new(10);
        let (one, same, other) =
            (budgets.trust("a", true), budgets.trust("a", true), budgets.trust("b", true));
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(budgets.trust("a", false), AuditTrust::Shown);
        assert!(one.accepts(10, 0) && !same.accepts(1, 0) && other.accepts(10, 0));
        drop((one, same));
        // Nobody reads pod `a` any more: nothing is kept of it.
        budgets.trust("c", true);
        assert_eq!(budgets.pods.lock().unwrap().len(), 2);
    }
}
