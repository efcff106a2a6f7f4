//! Policies that are tried out (`mode: Plan`): what is in force meanwhile, and what they would do.

use super::catalogue::Catalogue;
use super::known::last_good;
use super::policy::Policy;
use super::step::{Held, Plan, Step, Waits};

/// What is in force while some policies are tried out: each of these as the database remembers it, with nothing of it going; one that was
/// never in force is not.
pub fn in_force_meanwhile(policies: &[Policy], catalogue: &Catalogue) -> Vec<Policy> {
    let meanwhile = |policy: &Policy| {
        if !policy.dry_run {
            return Some(policy.clone());
        }
        let known = last_good(&policy.name, catalogue)?;
        let legal_hold = known.legal_hold || policy.legal_hold;
        Some(Policy {
            suspend: policy.suspend,
            legal_hold,
            dry_run: true,
            generation: policy.generation,
            ..known
        })
    };
    policies.iter().filter_map(meanwhile).collect()
}

/// Adds to the plan what the policies that are tried out would do, as something that waits.
pub fn show(plan: &mut Plan, tried: Plan, policies: &[Policy]) {
    let is_tried = |name: &str| policies.iter().any(|policy| policy.dry_run && policy.name == name);
    plan.held.retain(|held| !is_tried(&held.policy));
    for planned in tried.steps.into_iter().filter(|planned| is_tried(&planned.policy)) {
        if plan.steps.iter().any(|step| step.step == planned.step) {
            continue;
        }
        let takes = matches!(planned.step, Step::Detach(_) | Step::Drop(_)) && planned.bytes > 0;
        plan.held.push(Held {
            class: planned.step.class(),
            what: planned.step.to_string(),
            policy: planned.policy,
            waits: Waits::DryRun,
            partitions: u32::from(takes),
            bytes: planned.bytes,
        });
    }
    plan.held.extend(tried.held.into_iter().filter(|held| is_tried(&held.policy)));
}
