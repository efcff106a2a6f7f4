//! Approvals of held plans: which plan waits for one, and what is remembered of it. `shortening` decides what an approval allows to be dropped.

/// Somebody's word that one held plan may go its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The plan's name.
    pub plan: String,
    /// Who gave it, as far as it is known.
    pub by: String,
}

/// What has to be approved, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeedsApproval {
    pub policy: String,
    /// Names this very shortening.
    pub plan: String,
    pub limit_partitions: u32,
    pub limit_bytes: i64,
    /// Of all its classes together.
    pub partitions: u32,
    pub bytes: i64,
    /// Where all of them are counted.
    pub records: Option<i64>,
    /// What was approved and is not this: another spec, or no longer all of it.
    pub other: Option<String>,
}

/// The annotation of a policy that approves a plan.
pub const APPROVE_ANNOTATION: &str = "cordwood.dev/approve-plan";

impl NeedsApproval {
    /// What a person types to approve it.
    pub fn command(&self) -> String {
        let NeedsApproval { policy, plan, .. } = self;
        format!(
            "kubectl annotate logretentionpolicies.cordwood.dev {policy} {APPROVE_ANNOTATION}={plan} --overwrite"
        )
    }
}
