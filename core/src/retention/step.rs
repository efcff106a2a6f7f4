//! A plan and its steps: everything that `store::ddl` can execute. A step leaves it nothing to choose.

use std::fmt;

use super::approval::{Approval, NeedsApproval};
use super::class::{Class, ClassId, class_table, leaf_table};
use super::duration;
use super::hold::Hold;
use super::routes::Routes;

/// Names one leaf: its class and bounds in microseconds. Its table's name follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafRef {
    pub class: ClassId,
    pub from_us: i64,
    pub to_us: i64,
}

impl LeafRef {
    pub fn table(&self) -> String {
        leaf_table(self.class, self.from_us)
    }
}

/// One idempotent change. Applied again it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Inserts the row of a class, or makes it say this (its table follows by [`Step::CreateClassTable`]).
    PutClass(Class),
    /// Makes and attaches the class's own partitioned table.
    CreateClassTable {
        class: ClassId,
    },
    /// Makes, checks and attaches an empty leaf.
    CreateLeaf(LeafRef),
    /// Attaches a detached leaf again.
    Reattach(LeafRef),
    PutRoutes(Routes),
    /// From now on nothing goes that it matches.
    PutHold(Hold),
    /// The hold of this policy ends; what its class no longer keeps is dropped.
    LiftHold {
        policy: String,
    },
    /// Finishes an interrupted concurrent detach.
    FinalizeDetach(LeafRef),
    Detach(LeafRef),
    /// Starts the grace period of a leaf that was detached without a record of it.
    MarkDetached(LeafRef),
    /// Drops a detached leaf.
    Drop(LeafRef),
    /// Deletes the row of a leaf without a table.
    Forget(LeafRef),
}

impl Step {
    /// Whether it belongs to the loop that makes room (and never waits for the other).
    pub fn creates(&self) -> bool {
        match self {
            Step::PutClass(_)
            | Step::CreateClassTable { .. }
            | Step::CreateLeaf(_)
            | Step::Reattach(_)
            | Step::PutRoutes(_)
            | Step::PutHold(_)
            | Step::LiftHold { .. } => true,
            Step::FinalizeDetach(_)
            | Step::Detach(_)
            | Step::MarkDetached(_)
            | Step::Drop(_)
            | Step::Forget(_) => false,
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Step::PutClass(_) => "put-class",
            Step::CreateClassTable { .. } => "create-class",
            Step::CreateLeaf(_) => "create",
            Step::Reattach(_) => "reattach",
            Step::PutRoutes(_) => "put-routes",
            Step::PutHold(_) => "put-hold",
            Step::LiftHold { .. } => "lift-hold",
            Step::FinalizeDetach(_) => "finalize-detach",
            Step::Detach(_) => "detach",
            Step::MarkDetached(_) => "mark-detached",
            Step::Drop(_) => "drop",
            Step::Forget(_) => "forget",
        }
    }

    pub fn class(&self) -> Option<ClassId> {
        match self {
            Step::PutClass(row) => Some(row.id),
            Step::CreateClassTable { class } => Some(*class),
            Step::PutRoutes(_) | Step::PutHold(_) | Step::LiftHold { .. } => None,
            _ => self.leaf().map(|leaf| leaf.class),
        }
    }

    pub fn leaf(&self) -> Option<LeafRef> {
        match self {
            Step::CreateLeaf(leaf)
            | Step::Reattach(leaf)
            | Step::FinalizeDetach(leaf)
            | Step::Detach(leaf)
            | Step::MarkDetached(leaf)
            | Step::Drop(leaf)
            | Step::Forget(leaf) => Some(*leaf),
            _ => None,
        }
    }

    /// What it is done to: a table's name, `routes`, or whose hold.
    pub fn subject(&self) -> String {
        match (self, self.leaf(), self.class()) {
            (Step::PutHold(Hold { policy, .. }) | Step::LiftHold { policy }, ..) => policy.clone(),
            (_, Some(leaf), _) => leaf.table(),
            (_, None, Some(class)) => class_table(class),
            (_, None, None) => "routes".to_owned(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.subject())?;
        match self {
            Step::PutClass(row) => {
                write!(f, " = {}/{}", row.policy, row.level)?;
                write!(f, " retention {}", duration::print(row.retention_us))?;
                write!(f, " grace {}", duration::print(row.grace_us))?;
                if row.legal_hold {
                    f.write_str(" legal-hold")?;
                }
                match row.wanted {
                    Some(wanted) => write!(
                        f,
                        ", announced retention {} grace {} from {}",
                        duration::print(wanted.retention_us),
                        duration::print(wanted.grace_us),
                        duration::time(wanted.effective_from_us)
                    ),
                    None => Ok(()),
                }
            }
            Step::PutRoutes(routes) => {
                let names: Vec<&str> = routes.routes().iter().map(|route| route.policy.as_str()).collect();
                write!(f, " {}", names.join(" "))
            }
            Step::PutHold(hold) => write!(f, " = {}", hold.what()),
            _ => match self.leaf() {
                Some(leaf) => {
                    write!(f, " [{} .. {})", duration::time(leaf.from_us), duration::time(leaf.to_us))
                }
                None => Ok(()),
            },
        }
    }
}

/// A step with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub step: Step,
    /// Empty for what concerns all policies (routes).
    pub policy: String,
    pub why: String,
    /// Bytes that the step frees or brings back.
    pub bytes: i64,
    /// Records of the leaf, where they are counted.
    pub records: Option<i64>,
    /// Generation of the policy's spec that it follows.
    pub generation: i64,
    /// Without it the step would not be: a shorter retention above the limit, and what goes by it.
    pub approval: Option<Approval>,
}

impl Planned {
    pub fn new(step: Step, policy: impl Into<String>, why: impl Into<String>) -> Planned {
        let (policy, why) = (policy.into(), why.into());
        Planned { step, policy, why, bytes: 0, records: None, generation: 0, approval: None }
    }
}

/// Something that would be done but waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub policy: String,
    pub class: Option<ClassId>,
    /// What would be done.
    pub what: String,
    pub waits: Waits,
    /// Partitions with records, and bytes, that it would take away.
    pub partitions: u32,
    pub bytes: i64,
    /// Records of these, where all are counted.
    pub records: Option<i64>,
}

/// What a held step waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Until there are fewer table partitions, or the server bears more.
    TooManyPartitions {
        limit: usize,
    },
    /// For this moment (a notice, a grace period).
    Until(i64),
    /// It would take away more than `dropLimit` allows: for the approval of this very plan.
    Approval(NeedsApproval),
    Suspended,
    /// Of its own policy.
    LegalHold,
    /// Of the policy of this name, which matches some of its records.
    HoldOf(String),
    /// Until its mode is `Apply`.
    DryRun,
    /// One pass detaches no more of its policy.
    NextPass,
    /// The clock says that it is time, the horizon does not yet: until it has caught up, about then.
    Horizon(i64),
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waits::Until(time_us) => write!(f, "until {}", duration::time(*time_us)),
            Waits::Approval(needs) => {
                write!(
                    f,
                    "for approval of plan {}: more than dropLimit allows ({} partitions, {}); undo the change, or approve it: {}",
                    needs.plan,
                    needs.limit_partitions,
                    duration::bytes(needs.limit_bytes),
                    needs.command()
                )?;
                match &needs.other {
                    Some(other) => write!(f, " ({other}, which was approved, is another plan)"),
                    None => Ok(()),
                }
            }
            Waits::Suspended => f.write_str("while the policy is suspended"),
            Waits::DryRun => f.write_str("while its mode is Plan"),
            Waits::LegalHold => f.write_str("while the legal hold lasts"),
            Waits::HoldOf(policy) => write!(f, "while the legal hold of policy {policy} lasts"),
            Waits::NextPass => f.write_str("for the next pass; detachPerPass says how many one detaches"),
            Waits::Horizon(time_us) => write!(
                f,
                "for the horizon: PostgreSQL's clock jumped, or no pass was made for long, and expiry follows it step by step until about {}; \
                 suspend the policy if the clock is wrong",
                duration::time(*time_us)
            ),
            Waits::TooManyPartitions { limit } => write!(
                f,
                "for room: the server's lock table bears {limit} tables of partitions; use fewer policies, or raise max_locks_per_transaction"
            ),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.policy, self.what)?;
        if self.partitions > 0 {
            write!(f, " ({} partitions, ", self.partitions)?;
            if let Some(records) = self.records {
                write!(f, "{records} records, ")?;
            }
            write!(f, "{})", duration::bytes(self.bytes))?;
        }
        write!(f, " waits {}", self.waits)
    }
}

/// What shall be done now, in this order, and what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Planned>,
    pub held: Vec<Held>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn creating(&self) -> impl Iterator<Item = &Planned> {
        self.steps.iter().filter(|planned| planned.step.creates())
    }

    pub fn dropping(&self) -> impl Iterator<Item = &Planned> {
        self.steps.iter().filter(|planned| !planned.step.creates())
    }

    /// What concerns one policy, what goes first: its status shows this part, and status and ledger name it by its hash.
    pub fn part(&self, policy: &str) -> Plan {
        let of_it = |planned: &&Planned| planned.policy == policy;
        Plan {
            steps: self.dropping().filter(of_it).chain(self.creating().filter(of_it)).cloned().collect(),
            held: self.held.iter().filter(|held| held.policy == policy).cloned().collect(),
        }
    }

    /// 16 hex digits over the steps, which name this very plan.
    pub fn hash(&self) -> String {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for planned in &self.steps {
            hasher.update(planned.step.to_string().as_bytes());
            hasher.update(&[0xff]);
        }
        format!("{:016x}", hasher.digest())
    }
}

impl fmt::Display for Plan {
    /// One step per line: what, whose, why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for planned in &self.steps {
            write!(f, "{}", planned.step)?;
            if planned.bytes > 0 {
                write!(f, " {}", duration::bytes(planned.bytes))?;
            }
            writeln!(f, "  # {}", planned.why)?;
        }
        for held in &self.held {
            writeln!(f, "held {held}")?;
        }
        Ok(())
    }
}
