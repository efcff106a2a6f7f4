//! Decides when the status of a policy is written: at once when its statements change, seldom when only sizes change. Otherwise many policies
//! would be a steady load on the API server and etcd.

use std::time::Duration;

use cordwood_crds::retention::LogRetentionPolicyStatus;

/// How often a status is written whose sizes alone changed a lot; and how long what was written counts for more than what the
/// watch has brought back.
pub const REFRESH: Duration = Duration::from_secs(30);
/// How often one is written whose sizes changed a little, or whose times moved.
pub const SIZES_REFRESH: Duration = Duration::from_secs(600);
/// A size that changed by more than one part in so many changed a lot: 5 %.
const PARTS: i64 = 20;

/// Whether `now` is to be written in the place of `before`. `since`: since the last write; `None` when this process wrote none.
pub fn is_due(
    before: &LogRetentionPolicyStatus,
    now: &LogRetentionPolicyStatus,
    since: Option<Duration>,
) -> bool {
    if lasting(before) != lasting(now) {
        return true;
    }
    match since {
        Some(since) if since < REFRESH => false,
        Some(since) if since < SIZES_REFRESH => is_far(before, now),
        Some(_) | None => before != now,
    }
}

/// A status without what changes all the time.
fn lasting(status: &LogRetentionPolicyStatus) -> LogRetentionPolicyStatus {
    let mut status = status.clone();
    (status.bytes, status.size, status.records) = (None, None, None);
    (status.oldest_record, status.newest_record) = (None, None);
    for class in &mut status.classes {
        (class.bytes, class.records) = (0, None);
        (class.oldest_record, class.newest_record) = (None, None);
        // It moves with time alone.
        class.oldest_due = None;
    }
    if let Some(plan) = &mut status.plan {
        plan.steps.iter_mut().for_each(|step| (step.bytes, step.records) = (0, None));
        plan.held.iter_mut().for_each(|held| (held.bytes, held.records) = (0, None));
    }
    if let Some(approval) = &mut status.approval {
        (approval.bytes, approval.records) = (0, None);
    }
    if let Some(hold) = &mut status.hold {
        (hold.bytes, hold.records) = (0, None);
    }
    status
}

/// Whether a size changed by more than 5 %, or became known or unknown. Both say the same but for sizes and times.
fn is_far(before: &LogRetentionPolicyStatus, now: &LogRetentionPolicyStatus) -> bool {
    let (before, now) = (sizes(before), sizes(now));
    before.len() != now.len() || before.iter().zip(&now).any(|(before, now)| differ(*before, *now))
}

fn differ(before: Option<i64>, now: Option<i64>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => {
            before.saturating_sub(now).saturating_abs().saturating_mul(PARTS) > before.max(now)
        }
        (before, now) => before.is_some() != now.is_some(),
    }
}

fn sizes(status: &LogRetentionPolicyStatus) -> Vec<Option<i64>> {
    let mut sizes = vec![status.bytes, status.records];
    sizes.extend(status.classes.iter().flat_map(|class| [Some(class.bytes), class.records]));
    sizes.extend(status.hold.iter().flat_map(|hold| [Some(hold.bytes), hold.records]));
    sizes.extend(status.approval.iter().flat_map(|approval| [Some(approval.bytes), approval.records]));
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(bytes: i64, records: Option<i64>) -> LogRetentionPolicyStatus {
        LogRetentionPolicyStatus {
            bytes: Some(bytes),
            size: Some(format!("{bytes} B")),
            records,
            partitions: Some(4),
            ..LogRetentionPolicyStatus::default()
        }
    }

    #[test]
    fn sizes_alone_are_written_when_they_changed_a_lot_or_every_ten_minutes() {
        let before = status(1_000, Some(100));
        let (soon, later, late) =
            (Some(Duration::from_secs(29)), Some(Duration::from_secs(30)), Some(Duration::from_secs(600)));
        let little = status(1_050, Some(104));
        let much = status(1_060, Some(104));
        let unknown = status(1_000, None);
        let other = LogRetentionPolicyStatus { partitions: Some(5), ..before.clone() };
        for (now, since, due) in [
            (&before, soon, false),
            (&before, late, false),
            (&before, None, false),
            (&little, soon, false),
            (&little, later, false),
            (&little, late, true),
            (&little, None, true),
            (&much, soon, false),
            (&much, later, true),
            (&unknown, later, true),
            // Whatever else it says is told at once.
            (&other, soon, true),
        ] {
            assert_eq!(is_due(&before, now, since), due, "{now:?} after {since:?}");
        }
        assert!(is_far(&status(0, None), &status(1, None)));
        assert!(!is_far(&status(0, None), &status(0, None)));
    }
}
