//! Policies that are tried out (`mode: Plan`): what is in force meanwhile, and what they would change.

use super::amount::Amount;
use super::catalogue::Catalogue;
use super::class::ClassId;
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

/// Adds to the plan what the policies that are tried out would do, as something that waits. One that was deleted and is there again, tried
/// out, is not in force; what it had left is held all the same. `lost`: what a class loses at once when it becomes as its policy says.
pub fn show(plan: &mut Plan, tried: Plan, policies: &[Policy], lost: &dyn Fn(&Policy, ClassId) -> Amount) {
    let is_tried = |name: &str| policies.iter().any(|policy| policy.dry_run && policy.name == name);
    let takes_away = |step: &Step| matches!(step, Step::Detach(_) | Step::Drop(_));
    plan.steps.retain(|planned| !(is_tried(&planned.policy) && takes_away(&planned.step)));
    // Room that is missing is missing for what is in force, too.
    let lacks_room = |held: &Held| matches!(held.waits, Waits::TooManyPartitions { .. });
    plan.held.retain(|held| !is_tried(&held.policy) || lacks_room(held));
    for planned in tried.steps.into_iter().filter(|planned| is_tried(&planned.policy)) {
        if plan.steps.iter().any(|step| step.step == planned.step) {
            continue;
        }
        let policy = policies.iter().find(|policy| policy.name == planned.policy);
        let amount = match (&planned.step, policy) {
            (Step::PutClass(class), Some(policy)) => lost(policy, class.id),
            (step, _) if takes_away(step) && planned.bytes > 0 => {
                Amount { partitions: 1, bytes: planned.bytes, records: planned.records }
            }
            _ => Amount { bytes: planned.bytes, ..Amount::default() },
        };
        plan.held.push(Held {
            class: planned.step.class(),
            what: planned.step.to_string(),
            policy: planned.policy,
            waits: Waits::DryRun,
            partitions: amount.partitions,
            bytes: amount.bytes,
            records: amount.records,
        });
    }
    for held in tried.held.into_iter().filter(|held| is_tried(&held.policy)) {
        if !plan.held.contains(&held) {
            plan.held.push(held);
        }
    }
}
