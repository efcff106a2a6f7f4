//! A retention policy as the planner sees it: whose records, how long per level, and how carefully they go.

use serde::{Deserialize, Serialize};

use super::approval::Approval;
use super::class::PolicyLevel;
use super::written_by::WrittenBy;

const DAY_US: i64 = 86_400_000_000;

/// Name of the policy that holds what no other policy matches. It always exists: the built-in one, or a resource of
/// that name. Whatever its priority says, it comes last.
pub const DEFAULT: &str = "default";

/// One `LogRetentionPolicy`, checked. Durations are microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Unique; the key of its classes.
    pub name: String,
    /// The resource's UID; empty for the built-in policy.
    pub uid: String,
    /// Of its spec: another spec has another one. 0 for the built-in policy, and where it is not known.
    pub generation: i64,
    /// The higher wins; among equals the longer retention, then the name.
    pub priority: i32,
    pub matches: Match,
    pub retention_us: PerLevel<i64>,
    /// How long a detached partition can still be attached again.
    pub grace_us: i64,
    pub drop_limit: DropLimit,
    /// Table partitions that one pass detaches at the most; `None`: [`Policy::detach_max`] says how many.
    pub detach_per_pass: Option<u32>,
    /// Partitions are made, none is detached or dropped, no retention is shortened.
    pub suspend: bool,
    /// As `suspend`, and it outlives the policy: its classes stay held when the policy is deleted.
    pub legal_hold: bool,
    /// Nothing of what it says is done: see [`super::plan()`].
    pub dry_run: bool,
    /// What somebody approved: see [`super::shortening`].
    pub approval: Option<Approval>,
    /// Who wrote what its state comes from.
    pub written_by: WrittenBy,
}

impl Policy {
    /// ERROR 30d, WARN 14d, INFO 7d, DEBUG 1d, for everything that no other policy matches.
    pub fn builtin() -> Policy {
        Policy {
            name: DEFAULT.to_owned(),
            uid: String::new(),
            generation: 0,
            priority: 0,
            matches: Match::default(),
            retention_us: PerLevel { debug: DAY_US, info: 7 * DAY_US, warn: 14 * DAY_US, error: 30 * DAY_US },
            grace_us: DAY_US,
            drop_limit: DropLimit::default(),
            detach_per_pass: None,
            suspend: false,
            legal_hold: false,
            dry_run: false,
            approval: None,
            written_by: WrittenBy::default(),
        }
    }

    /// How many table partitions one pass detaches at the most: never none, so that what has expired goes in the end. A policy that does not
    /// say detaches as many as a shortening may take away.
    pub fn detach_max(&self) -> u32 {
        self.detach_per_pass.unwrap_or(self.drop_limit.partitions).max(1)
    }

    /// The strongest of what keeps its records.
    pub fn state(&self) -> State {
        match self {
            Policy { legal_hold: true, .. } => State::LegalHold,
            Policy { suspend: true, .. } => State::Suspended,
            Policy { dry_run: true, .. } => State::DryRun,
            _ => State::Active,
        }
    }
}

/// Whether a policy takes records away: what keeps them more strongly comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Active,
    DryRun,
    Suspended,
    LegalHold,
}

impl State {
    pub const ALL: [State; 4] = [State::Active, State::DryRun, State::Suspended, State::LegalHold];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Active => "Active",
            State::DryRun => "DryRun",
            State::Suspended => "Suspended",
            State::LegalHold => "LegalHold",
        }
    }
}

/// Which records: every list that is not empty must have a glob (`*`, `?`) that matches the whole value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Category>,
}

/// What a policy is told whose match [`Match::is_chosen_by_pods`].
pub const CHOSEN_BY_PODS: &str = "match names services alone, and a pod names its own service: any pod of the cluster can choose this retention; name tenants or namespaces in match too";

impl Match {
    /// Whether services alone say which records it takes. A pod names its own service (a label, an annotation), so that anyone who may create
    /// pods anywhere can have records kept by it for long, or for short.
    pub fn is_chosen_by_pods(&self) -> bool {
        let is_any =
            |glob: &String| glob.contains('*') && glob.bytes().all(|byte| matches!(byte, b'*' | b'?'));
        let all = |globs: &[String]| globs.is_empty() || globs.iter().any(is_any);
        !all(&self.services) && all(&self.tenants) && all(&self.namespaces)
    }
}

/// `audit` records call themselves so and are believed ([`crate::audit`]); all others are `system`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    System,
    Audit,
}

/// One value per [`PolicyLevel`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerLevel<T> {
    pub debug: T,
    pub info: T,
    pub warn: T,
    pub error: T,
}

impl<T> PerLevel<T> {
    pub fn get(&self, level: PolicyLevel) -> &T {
        match level {
            PolicyLevel::Debug => &self.debug,
            PolicyLevel::Info => &self.info,
            PolicyLevel::Warn => &self.warn,
            PolicyLevel::Error => &self.error,
        }
    }

    pub fn get_mut(&mut self, level: PolicyLevel) -> &mut T {
        match level {
            PolicyLevel::Debug => &mut self.debug,
            PolicyLevel::Info => &mut self.info,
            PolicyLevel::Warn => &mut self.warn,
            PolicyLevel::Error => &mut self.error,
        }
    }

    /// `f` of each level, in the order of [`PolicyLevel::ALL`].
    pub fn of(mut f: impl FnMut(PolicyLevel) -> T) -> PerLevel<T> {
        PerLevel {
            debug: f(PolicyLevel::Debug),
            info: f(PolicyLevel::Info),
            warn: f(PolicyLevel::Warn),
            error: f(PolicyLevel::Error),
        }
    }
}

/// What one change of a policy may take away without approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropLimit {
    /// Partitions that hold records.
    pub partitions: u32,
    pub bytes: i64,
}

impl Default for DropLimit {
    fn default() -> DropLimit {
        DropLimit { partitions: 10, bytes: 50 << 30 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_alone_leave_the_choice_to_pods() {
        for (tenants, namespaces, services, expected) in [
            (&[][..], &[][..], &["payments"][..], true),
            (&[], &[], &["pay*", "checkout"], true),
            (&["*"], &[], &["payments"], true),
            (&[], &["?*", "shop"], &["payments"], true),
            (&["*"], &["**"], &["p?"], true),
            (&["shop-*"], &[], &["payments"], false),
            (&[], &["shop"], &["payments"], false),
            (&["*"], &["shop"], &["payments"], false),
            // Whatever a pod says, it is matched.
            (&[], &[], &[], false),
            (&[], &[], &["payments", "*"], false),
            (&["shop"], &[], &[], false),
        ] {
            let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
            let matches = Match {
                tenants: globs(tenants),
                namespaces: globs(namespaces),
                services: globs(services),
                categories: vec![Category::Audit],
            };
            assert_eq!(matches.is_chosen_by_pods(), expected, "{matches:?}");
        }
    }
}
