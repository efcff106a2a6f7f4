//! Compares what keeps a policy's records now with what kept them before, and says who changed it. The ledger gets a row for the change before
//! any of these records is dropped.

use std::collections::BTreeMap;
use std::fmt;

use super::catalogue::Catalogue;
use super::holding;
use super::policy::{Policy, State};

/// A policy keeps its records by something else than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    pub policy: String,
    pub before: State,
    pub after: State,
    /// The policy's resource is gone, and nothing outlives it.
    pub is_gone: bool,
    pub generation: Option<i64>,
    pub by: Option<String>,
}

impl fmt::Display for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.before.as_str(), self.after.as_str())?;
        f.write_str(if self.is_gone { ", the policy was deleted" } else { "" })
    }
}

/// `known`: what the database remembers, by the policy's name. A policy that is itself as the database remembers it (it has no generation)
/// changes nothing. A legal hold outlives its policy.
pub fn state_changes(
    policies: &[Policy],
    catalogue: &Catalogue,
    known: &BTreeMap<String, State>,
) -> Vec<StateChange> {
    let mut changes = Vec::new();
    for policy in policies.iter().filter(|policy| policy.generation != 0) {
        let before = known.get(&policy.name).copied().unwrap_or(State::Active);
        let after = holding::state(policy, catalogue);
        if before != after {
            changes.push(StateChange {
                policy: policy.name.clone(),
                before,
                after,
                is_gone: false,
                generation: Some(policy.generation),
                by: policy.written_by.of_change(after < before),
            });
        }
    }
    let builtin = Policy::builtin();
    let is_there = |name: &String| policies.iter().any(|policy| policy.name == *name && *policy != builtin);
    for (policy, before) in known.iter().filter(|(name, _)| !is_there(name)) {
        if !matches!(before, State::Active | State::LegalHold) {
            changes.push(StateChange {
                policy: policy.clone(),
                before: *before,
                after: State::Active,
                is_gone: true,
                generation: None,
                by: None,
            });
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::policy::DEFAULT;
    use crate::retention::written_by::WrittenBy;

    fn policy(name: &str, state: State) -> Policy {
        Policy {
            name: name.to_owned(),
            generation: 7,
            dry_run: state == State::DryRun,
            suspend: state == State::Suspended,
            legal_hold: state == State::LegalHold,
            written_by: WrittenBy {
                manager: Some("kubectl-edit, noon".to_owned()),
                releaser: Some("anna".to_owned()),
            },
            ..Policy::builtin()
        }
    }

    fn told(policies: &[Policy], known: &[(&str, State)]) -> Vec<StateChange> {
        let known = known.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect();
        state_changes(policies, &Catalogue::default(), &known)
    }

    #[test]
    fn each_change_is_told_once_and_a_release_names_who_let_go() {
        use State::{Active, DryRun, LegalHold, Suspended};
        const WROTE: &str = "kubectl-edit, noon";
        const LET_GO: &str = "anna (written by kubectl-edit, noon)";
        for (before, after, expected) in [
            (None, Active, None),
            (None, LegalHold, Some(("Active -> LegalHold", WROTE))),
            (None, DryRun, Some(("Active -> DryRun", WROTE))),
            (Some(Active), Active, None),
            (Some(Active), Suspended, Some(("Active -> Suspended", WROTE))),
            (Some(LegalHold), LegalHold, None),
            (Some(Suspended), LegalHold, Some(("Suspended -> LegalHold", WROTE))),
            (Some(LegalHold), Suspended, Some(("LegalHold -> Suspended", LET_GO))),
            (Some(LegalHold), Active, Some(("LegalHold -> Active", LET_GO))),
            (Some(Suspended), Active, Some(("Suspended -> Active", LET_GO))),
        ] {
            let known: Vec<(&str, State)> = before.map(|before| ("shop", before)).into_iter().collect();
            let found = told(&[policy("shop", after)], &known);
            let found: Vec<(String, Option<String>)> =
                found.iter().map(|change| (change.to_string(), change.by.clone())).collect();
            let expected: Vec<(String, Option<String>)> =
                expected.map(|(what, by)| (what.to_owned(), Some(by.to_owned()))).into_iter().collect();
            assert_eq!(found, expected, "{before:?} {after:?}");
        }
        let nobody = Policy { written_by: WrittenBy::default(), ..policy("shop", Suspended) };
        assert_eq!(told(&[nobody], &[])[0].by, None);
    }

    #[test]
    fn what_a_policy_suspended_is_let_go_when_it_is_deleted_and_what_it_held_is_not() {
        let known = [("till", State::Active), ("shop", State::Suspended), ("bank", State::LegalHold)];
        let gone: Vec<String> = told(&[], &known).iter().map(ToString::to_string).collect();
        assert_eq!(gone, ["Suspended -> Active, the policy was deleted"]);
        // Who makes one of its name again ends the hold.
        let again = told(&[policy("bank", State::Active)], &known[2..]);
        assert_eq!(again[0].to_string(), "LegalHold -> Active");
        // The built-in policy takes the place of a resource of its name.
        assert_eq!(told(&[Policy::builtin()], &[(DEFAULT, State::Suspended)]).len(), 1);
    }

    /// An invalid resource after a restart is as the database remembers it, suspended: nobody suspended it.
    #[test]
    fn a_policy_that_cannot_be_read_changes_nothing() {
        let remembered = Policy { generation: 0, uid: "u".to_owned(), ..policy("shop", State::Suspended) };
        assert_eq!(told(std::slice::from_ref(&remembered), &[]), []);
        assert_eq!(told(&[remembered], &[("shop", State::DryRun)]), []);
    }
}
