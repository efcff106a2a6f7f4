//! Rebuilds policies from what the database remembers of them (classes and routes), for policies that cannot be read now.

use super::catalogue::Catalogue;
use super::policy::{DEFAULT, DropLimit, PerLevel, Policy};
use super::written_by::WrittenBy;

/// The policies and, unless one is called `default`, the built-in default. Of two with one name the first counts.
pub fn in_force(policies: &[Policy]) -> Vec<Policy> {
    let mut all: Vec<Policy> = Vec::with_capacity(policies.len() + 1);
    for policy in policies {
        if !all.iter().any(|other| other.name == policy.name) {
            all.push(policy.clone());
        }
    }
    if !all.iter().any(|policy| policy.name == DEFAULT) {
        all.push(Policy::builtin());
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The policies and, for each one that is known by name alone ([`by_name`]), the last good one as the database remembers it,
/// suspended. See [`last_good`].
pub fn complete(policies: &[Policy], catalogue: &Catalogue) -> Vec<Policy> {
    let mut all = in_force(policies);
    for policy in &mut all {
        // A policy that is known by name alone: an invalid resource after a restart.
        if policy.retention_us.error == 0
            && let Some(known) = last_good(&policy.name, catalogue)
        {
            *policy = known;
        }
    }
    all.retain(|policy| policy.retention_us.error > 0);
    in_force(&all)
}

/// A policy of which only the name is known: [`complete`] takes what the database remembers of it.
pub fn by_name(name: &str, uid: &str) -> Policy {
    Policy {
        name: name.to_owned(),
        uid: uid.to_owned(),
        retention_us: PerLevel::default(),
        suspend: true,
        ..Policy::builtin()
    }
}

/// A policy as classes and routes remember it. Suspended: what is not known for sure takes nothing away.
pub fn last_good(name: &str, catalogue: &Catalogue) -> Option<Policy> {
    let route = catalogue.routes.as_ref()?.routes().iter().find(|route| route.policy == name)?;
    let class = catalogue.classes.iter().find(|class| class.policy == name)?;
    Some(Policy {
        name: name.to_owned(),
        uid: class.policy_uid.clone(),
        generation: 0,
        priority: route.priority,
        matches: route.matches.clone(),
        retention_us: route.retention_us,
        grace_us: class.grace_us,
        drop_limit: DropLimit::default(),
        detach_per_pass: None,
        suspend: true,
        legal_hold: class.legal_hold,
        dry_run: false,
        approval: None,
        written_by: WrittenBy::default(),
    })
}
