//! `LogRetentionPolicy`: which records, how long per level, how carefully they go.

use cordwood_core::retention::policy::{Category, DEFAULT, Match};
use cordwood_core::retention::shortening::number_of;
use cordwood_core::retention::{DropLimit, PerLevel, Policy, duration, routes};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::approval::approval;
use crate::schema::{self, Bytes};
use crate::written_by::written_by;
use crate::{Kind, Problem, problem};

/// How long log records are kept in PostgreSQL. A record falls under the policy that matches it with the highest
/// priority (equal: the longer retention); what no policy matches falls under the policy named `default`.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cordwood.dev",
    version = "v1alpha1",
    kind = "LogRetentionPolicy",
    plural = "logretentionpolicies",
    shortname = "lrp",
    category = "cordwood",
    status = "LogRetentionPolicyStatus",
    derive = "PartialEq",
    doc = "LogRetentionPolicy says how long the log records that it matches are kept, per level. Retention is always the drop of whole table partitions; none goes before its time.",
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "Error", type_ = "string", json_path = ".spec.retention.error"),
    printcolumn(name = "Warn", type_ = "string", json_path = ".spec.retention.warn"),
    printcolumn(name = "Info", type_ = "string", json_path = ".spec.retention.info"),
    printcolumn(name = "Debug", type_ = "string", json_path = ".spec.retention.debug"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Next-Drop", type_ = "string", json_path = ".status.nextDrop", priority = 1),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions", priority = 1),
    printcolumn(name = "Oldest", type_ = "date", json_path = ".status.oldestRecord", priority = 1),
    printcolumn(
        name = "Pods-Choose",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"ChosenByPods\")].status",
        priority = 1
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", priority = 1),
    printcolumn(
        name = "Held-Partitions",
        type_ = "integer",
        json_path = ".status.approval.partitions",
        priority = 1
    ),
    printcolumn(
        name = "Held-Records",
        type_ = "integer",
        json_path = ".status.approval.records",
        priority = 1
    ),
    printcolumn(name = "Held-Bytes", type_ = "integer", json_path = ".status.approval.bytes", priority = 1),
    printcolumn(name = "Waits", type_ = "string", json_path = ".status.waits", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct LogRetentionPolicySpec {
    /// Of several policies that match a record the one with the highest priority counts; equal: the longer retention of
    /// the record's level.
    #[serde(default)]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: i32,
    /// Which records. Every list that is not empty must match; an empty list matches all.
    #[serde(default, rename = "match")]
    pub matches: MatchSpec,
    /// How long records are kept, by level.
    #[serde(default)]
    pub retention: RetentionSpec,
    /// How long a partition that was detached can still come back (by raising the retention) before it is dropped.
    #[serde(default = "grace_default")]
    #[schemars(schema_with = "schema::grace")]
    pub grace_period: String,
    /// How much a shortened retention or grace period may drop. What would drop more waits for approval
    /// (status.approval).
    #[serde(default)]
    pub drop_limit: DropLimitSpec,
    /// How many table partitions of this policy one pass of the operator detaches at the most; what has expired beyond that waits for the next
    /// pass. If it is left out, one pass detaches as many as dropLimit.partitions. It needs no approval, and bounds no shortening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::detach_per_pass")]
    pub detach_per_pass: Option<i64>,
    /// Nothing is detached or dropped and no retention is shortened while this is true. Partitions are still made. The chart's admission policy
    /// lets it be ended only by whom RBAC grants the verb resume.
    #[serde(default)]
    pub suspend: bool,
    /// Stops all detaching and dropping for this policy's records, even after the policy is deleted. To end it, set legalHold: false, or create a
    /// policy with the same name and legalHold: false. A policy that names tenants or namespaces also holds the table partitions of other policies that have
    /// records of these; services and categories do not narrow that. The chart's admission policy lets it be ended only by whom RBAC grants the verb release-hold.
    #[serde(default)]
    pub legal_hold: bool,
    /// Apply: what the policy says is done. Plan: a dry run. The status shows what would be done; nothing is detached or dropped, no
    /// retention changes, and what was in force before stays so. A new policy has no effect at all.
    #[serde(default)]
    pub mode: Mode,
}

/// Whether a policy is in force or tried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    #[default]
    Apply,
    Plan,
}

/// Which records a policy is for. Values may contain the wildcards `*` and `?`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MatchSpec {
    /// Slugs of tenants, such as shop-*; records whose tenant is not known have the tenant unassigned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::globs")]
    pub tenants: Vec<String>,
    /// Kubernetes namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::globs")]
    pub namespaces: Vec<String>,
    /// Services: the annotation cordwood.dev/service, the label app.kubernetes.io/name or the workload's name. A pod names its own service:
    /// name tenants or namespaces beside services, else any pod can choose this retention.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::globs")]
    pub services: Vec<String>,
    /// Categories of records: audit for those that call themselves so in a namespace with the label cordwood.dev/audit-from=body, system for all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub categories: Vec<CategorySpec>,
}

/// A category of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CategorySpec {
    System,
    Audit,
}

/// How long records are kept, by level: durations such as 30d, 12h or 1h30m, at least 1m.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetentionSpec {
    /// For ERROR.
    #[serde(default = "error_default")]
    #[schemars(schema_with = "schema::retention")]
    pub error: String,
    /// For WARN.
    #[serde(default = "warn_default")]
    #[schemars(schema_with = "schema::retention")]
    pub warn: String,
    /// For INFO, and for lines without a level.
    #[serde(default = "info_default")]
    #[schemars(schema_with = "schema::retention")]
    pub info: String,
    /// For DEBUG and TRACE.
    #[serde(default = "debug_default")]
    #[schemars(schema_with = "schema::retention")]
    pub debug: String,
}

/// Limits on what a shortening takes away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DropLimitSpec {
    /// Table partitions with records that a shortening may drop without approval.
    #[serde(default = "partitions_default")]
    #[schemars(schema_with = "schema::partitions")]
    pub partitions: u32,
    /// Bytes in PostgreSQL that a shortening may drop without approval, as a quantity such as 50Gi.
    #[serde(default = "bytes_default")]
    pub bytes: Bytes,
}

fn error_default() -> String {
    "30d".to_owned()
}
fn warn_default() -> String {
    "14d".to_owned()
}
fn info_default() -> String {
    "7d".to_owned()
}
fn debug_default() -> String {
    "1d".to_owned()
}
fn grace_default() -> String {
    "24h".to_owned()
}
fn partitions_default() -> u32 {
    DropLimit::default().partitions
}
fn bytes_default() -> Bytes {
    Bytes("50Gi".to_owned())
}

impl Default for RetentionSpec {
    fn default() -> RetentionSpec {
        RetentionSpec {
            error: error_default(),
            warn: warn_default(),
            info: info_default(),
            debug: debug_default(),
        }
    }
}

impl Default for DropLimitSpec {
    fn default() -> DropLimitSpec {
        DropLimitSpec { partitions: partitions_default(), bytes: bytes_default() }
    }
}

/// What the operator found and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogRetentionPolicyStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: what the spec says is in force. Reconciling: it will be, by itself. Stalled: not before somebody does what the message says.
    /// Accepted: the spec can be followed. Held: something waits, see plan.held. Conflict: another policy with the same priority can match the
    /// same records. ChosenByPods: its match names services alone, which pods name themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Active: records go when they have expired. DryRun, Suspended, LegalHold: none goes, because of spec.mode, spec.suspend or
    /// spec.legalHold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// From when the retention in the spec is in force; in the future while a shorter retention or grace period is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<Time>,
    /// Table partitions of all classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i64>,
    /// Bytes of all classes in PostgreSQL, indexes included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Bytes of all partitions, human readable, for example 8.6 MiB. To sort by size use .status.bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Sealed records that queries see, of all classes; absent until all of them are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
    /// Time of the oldest sealed record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_record: Option<Time>,
    /// Time of the newest sealed record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_record: Option<Time>,
    /// What the legal hold keeps; in mode Plan, what it would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldStatus>,
    /// When the next partition with records is dropped permanently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_drop: Option<Time>,
    /// The first thing that waits, and for what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// One entry per level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["level"]))]
    pub classes: Vec<ClassStatus>,
    /// What is about to be done; written before it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// What waits for somebody's approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalStatus>,
    /// The last approval that was followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<ApprovedStatus>,
}

/// A shorter retention or grace period that would drop more than dropLimit allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// Names this very plan: the spec's generation and what it drops. Approve it by the annotation cordwood.dev/approve-plan.
    pub plan: String,
    /// Partitions with records that it drops, of all levels.
    pub partitions: i64,
    /// Bytes of these partitions in PostgreSQL, indexes included.
    pub bytes: i64,
    /// Records of these partitions; absent until all of them are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
    /// The command that approves it.
    pub command: String,
}

/// What a legal hold keeps: of the policy's own classes, and of other policies' what its tenants and namespaces match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HoldStatus {
    /// Table partitions with such records. Each is kept as a whole.
    pub partitions: i64,
    /// Records that are held; absent while an older version's partitions do not tell whose they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
    /// Bytes of these partitions, indexes included.
    pub bytes: i64,
    /// Of the partitions those that have expired: they would go without a hold.
    #[serde(default)]
    pub expired: i64,
}

/// An approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovedStatus {
    /// The plan that was approved, as the ledger names it.
    pub plan: String,
    /// Who approved it, as far as the API server tells.
    pub by: String,
}

/// One retention class: this policy and one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassStatus {
    /// Level of its records: error, warn, info or debug.
    pub level: String,
    /// The class's number; its table is blocks_c<class>.
    pub class: i32,
    /// In force now; it differs from the spec while a shorter retention is announced or held.
    pub retention: String,
    /// Table partitions that queries see.
    pub partitions: i64,
    /// Detached ones in their grace period.
    #[serde(default)]
    pub detached: i64,
    /// Of all its table partitions, the detached ones and indexes included.
    pub bytes: i64,
    /// Sealed records that queries see; absent until all of them are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
    /// Time of the oldest sealed record that queries see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_record: Option<Time>,
    /// Time of the newest sealed record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_record: Option<Time>,
    /// Whatever was stored for a time since then must be there: now less the retention, up to the bound of a table partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_due: Option<Time>,
    /// Table partitions whose records have all expired and that queries still see: a hold, a limit or a failure keeps them.
    #[serde(default)]
    pub overdue: i64,
    /// When the next of its partitions with records is dropped permanently, unless something holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_drop: Option<Time>,
}

/// The plan of one pass, this policy's part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanStatus {
    /// Names this very plan, also in the ledger.
    pub hash: String,
    /// The first steps, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub steps: Vec<StepStatus>,
    /// How many more steps there are, to do and held.
    #[serde(default)]
    pub more: i64,
    /// What would be done but waits, and for what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub held: Vec<HeldStatus>,
}

/// One step that is about to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepStatus {
    /// create, reattach, detach, drop, ...
    pub action: String,
    /// The table, and what it becomes.
    pub what: String,
    /// Why: since when its records have expired, or for what it is needed.
    pub why: String,
    /// Bytes of the table partition in PostgreSQL, indexes included.
    #[serde(default)]
    pub bytes: i64,
    /// Records in the table partition; absent where they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
}

/// Something that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeldStatus {
    /// What would be done, and to which table partitions or level.
    pub what: String,
    /// For what it waits, and what to do about it.
    pub waits: String,
    /// Partitions with records that it drops.
    #[serde(default)]
    pub partitions: i64,
    /// Bytes of these partitions in PostgreSQL, indexes included.
    #[serde(default)]
    pub bytes: i64,
    /// Records of these partitions; absent until all of them are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
}

impl Kind for LogRetentionPolicy {
    fn without_spec(metadata: ObjectMeta, status: Value) -> LogRetentionPolicy {
        let spec = LogRetentionPolicySpec {
            priority: 0,
            matches: MatchSpec::default(),
            retention: RetentionSpec::default(),
            grace_period: grace_default(),
            drop_limit: DropLimitSpec::default(),
            detach_per_pass: None,
            suspend: true,
            legal_hold: false,
            mode: Mode::Apply,
        };
        LogRetentionPolicy { metadata, spec, status: serde_json::from_value(status).ok() }
    }
}

impl LogRetentionPolicy {
    /// The policy as the planner takes it, or everything that is wrong with it. What the API server's rules refuse is
    /// refused here too: resources from a folder never saw them.
    pub fn to_policy(&self) -> Result<Policy, Vec<Problem>> {
        let spec = &self.spec;
        let mut problems = Vec::new();
        let name = self.metadata.name.clone().unwrap_or_default();
        if name.is_empty() {
            problems.push(problem("metadata.name", "must be given"));
        }
        if name.chars().count() > NAME_CHARS_MAX {
            problems.push(problem("metadata.name", NAME_TOO_LONG));
        }
        if name == DEFAULT && (spec.matches != MatchSpec::default() || spec.priority != 0) {
            problems.push(problem("spec.match", DEFAULT_MATCHES_ALL));
        }
        for (field, globs) in [
            ("tenants", &spec.matches.tenants),
            ("namespaces", &spec.matches.namespaces),
            ("services", &spec.matches.services),
        ] {
            for glob in globs {
                if let Err(message) = routes::check_glob(glob) {
                    problems.push(problem(format!("spec.match.{field}"), message));
                }
            }
        }
        let mut retention_us = PerLevel::<i64>::default();
        for level in cordwood_core::retention::PolicyLevel::ALL {
            let text = match level.as_str() {
                "debug" => &spec.retention.debug,
                "info" => &spec.retention.info,
                "warn" => &spec.retention.warn,
                _ => &spec.retention.error,
            };
            let field = format!("spec.retention.{level}");
            match duration::parse(text) {
                Ok(us) if us < RETENTION_US_MIN => problems.push(problem(field, "must be at least 1m")),
                Ok(_) if !schema::matches(schema::DURATION, text) => {
                    problems.push(problem(field, schema::DURATION_MESSAGE));
                }
                Ok(us) => *retention_us.get_mut(level) = us,
                Err(error) => problems.push(problem(field, error.to_string())),
            }
        }
        let grace = &spec.grace_period;
        let grace_us = duration::parse(grace).unwrap_or_else(|error| {
            problems.push(problem("spec.gracePeriod", error.to_string()));
            0
        });
        if grace != "0s" && !schema::matches(schema::DURATION, grace) {
            problems.push(problem("spec.gracePeriod", schema::GRACE_MESSAGE));
        }
        let bytes = spec.drop_limit.bytes.count().unwrap_or_else(|| {
            let message =
                format!("{:?} is no number of bytes: write 50Gi, 500Mi or 1000000", spec.drop_limit.bytes.0);
            problems.push(problem("spec.dropLimit.bytes", message));
            0
        });
        if spec.detach_per_pass.is_some_and(|count| !schema::DETACH_PER_PASS.contains(&count)) {
            problems.push(problem("spec.detachPerPass", schema::DETACH_PER_PASS_MESSAGE));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Policy {
            name,
            uid: self.metadata.uid.clone().unwrap_or_default(),
            generation: self.metadata.generation.unwrap_or_else(|| self.spec_number()),
            priority: spec.priority,
            matches: Match {
                tenants: spec.matches.tenants.clone(),
                namespaces: spec.matches.namespaces.clone(),
                services: spec.matches.services.clone(),
                categories: spec
                    .matches
                    .categories
                    .iter()
                    .map(|category| match category {
                        CategorySpec::System => Category::System,
                        CategorySpec::Audit => Category::Audit,
                    })
                    .collect(),
            },
            retention_us,
            grace_us,
            drop_limit: DropLimit { partitions: spec.drop_limit.partitions.max(1), bytes },
            detach_per_pass: spec.detach_per_pass.and_then(|count| u32::try_from(count).ok()),
            suspend: spec.suspend,
            legal_hold: spec.legal_hold,
            dry_run: spec.mode == Mode::Plan,
            approval: approval(&self.metadata),
            written_by: written_by(&self.metadata),
        })
    }

    /// A resource from a folder has no generation: a number that another spec has another of.
    fn spec_number(&self) -> i64 {
        number_of(&serde_json::to_vec(&self.spec).unwrap_or_default())
    }
}

/// One minute: the smallest interval of a table partition.
const RETENTION_US_MIN: i64 = 60_000_000;

const NAME_CHARS_MAX: usize = 200;
pub(crate) const NAME_TOO_LONG: &str = "the name is too long: at most 200 characters";

pub(crate) const DEFAULT_MATCHES_ALL: &str = "the policy named default takes what no other policy matches: leave match and priority out, or give the policy another name";
