//! Counts and exports the operator's metrics.

use std::time::Instant;

use cordwood_core::retention::class::tables_max;
use cordwood_core::retention::{Horizon, LeafState, Policy, State, holding};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::class_metrics::ClassMetrics;
use crate::condition_metrics::ConditionMetrics;
use crate::hold_metrics::HoldMetrics;
use crate::retention::Report;

#[derive(Clone, Debug)]
pub struct Telemetry {
    classes: ClassMetrics,
    holds: HoldMetrics,
    pub conditions: ConditionMetrics,
    steps: IntCounterVec,
    failed: IntCounterVec,
    tasks_ended: IntCounter,
    task_lines_ended: IntCounter,
    indexes_packed: IntCounter,
    index_bytes_freed: IntCounter,
    pass_seconds: HistogramVec,
    pass_failures: IntCounterVec,
    partitions: IntGaugeVec,
    tables: IntGauge,
    tables_max: IntGauge,
    bytes: IntGauge,
    held: IntGauge,
    horizon_behind: IntGauge,
    drift: IntGauge,
    policies: IntGaugeVec,
    pub leader: IntGauge,
    pub rules_generation: IntGauge,
    pub rules: IntGauge,
    pub rules_left_out: IntGauge,
    pub agents: IntGaugeVec,
    pub pushes: IntCounterVec,
}

impl Telemetry {
    /// # Errors
    /// When `registry` already has metrics of these names.
    pub fn new(registry: &Registry) -> prometheus::Result<Telemetry> {
        let counters = |name: &str, help: &str, label| IntCounterVec::new(Opts::new(name, help), &[label]);
        let gauges = |name: &str, help: &str, label| IntGaugeVec::new(Opts::new(name, help), &[label]);
        let telemetry = Telemetry {
            classes: ClassMetrics::new(registry)?,
            holds: HoldMetrics::new(registry)?,
            conditions: ConditionMetrics::new(registry)?,
            steps: counters("cordwood_operator_steps_total", "Retention steps done.", "step")?,
            failed: counters(
                "cordwood_operator_step_failures_total",
                "Retention steps that failed.",
                "step",
            )?,
            tasks_ended: IntCounter::new("cordwood_operator_tasks_ended_total", "Tasks that ended by age.")?,
            task_lines_ended: IntCounter::new(
                "cordwood_operator_task_lines_ended_total",
                "Lines deleted of tasks that ended by age.",
            )?,
            indexes_packed: IntCounter::new(
                "cordwood_operator_indexes_packed_total",
                "Tables of indexes that were written anew after their table partition's time.",
            )?,
            index_bytes_freed: IntCounter::new(
                "cordwood_operator_index_bytes_freed_total",
                "Bytes that packed tables of indexes take less.",
            )?,
            pass_seconds: HistogramVec::new(
                prometheus::HistogramOpts::new(
                    "cordwood_operator_pass_seconds",
                    "Duration of a retention pass, of those that were finished.",
                ),
                &["loop"],
            )?,
            pass_failures: counters(
                "cordwood_operator_pass_failures_total",
                "Retention passes that failed.",
                "loop",
            )?,
            partitions: gauges("cordwood_operator_partitions", "Table partitions by state.", "state")?,
            tables: IntGauge::new(
                "cordwood_operator_partition_tables",
                "Tables of partitions and classes; this number counts against the limit.",
            )?,
            tables_max: IntGauge::new(
                "cordwood_operator_partition_tables_max",
                "The largest number of tables of partitions and classes for which the server's lock table has room.",
            )?,
            bytes: IntGauge::new(
                "cordwood_operator_sealed_bytes",
                "Bytes of all table partitions, indexes included.",
            )?,
            held: IntGauge::new("cordwood_operator_plan_held", "Steps that wait, grace periods included.")?,
            horizon_behind: IntGauge::new(
                "cordwood_operator_horizon_behind_seconds",
                "How far the horizon, by which records expire, lies behind PostgreSQL's clock.",
            )?,
            policies: gauges(
                "cordwood_operator_policies",
                "Retention policies by what keeps their records.",
                "state",
            )?,
            drift: IntGauge::new(
                "cordwood_operator_drift",
                "Tables that somebody changed; retention does not touch them.",
            )?,
            leader: IntGauge::new("cordwood_operator_leader", "1 while this replica holds the lease.")?,
            rules_generation: IntGauge::new(
                "cordwood_operator_rules_generation",
                "Generation of the level rules.",
            )?,
            rules: IntGauge::new("cordwood_operator_rules", "Level rules in force.")?,
            rules_left_out: IntGauge::new(
                "cordwood_operator_rules_left_out",
                "Valid level configs that are not in force because the rules have reached their limit.",
            )?,
            pushes: counters(
                "cordwood_operator_pushes_total",
                "Levels told to applications, by what became of it.",
                "outcome",
            )?,
            agents: gauges(
                "cordwood_operator_agents",
                "Agents, by whether they have the latest level rules.",
                "state",
            )?,
        };
        registry.register(Box::new(telemetry.steps.clone()))?;
        registry.register(Box::new(telemetry.failed.clone()))?;
        registry.register(Box::new(telemetry.tasks_ended.clone()))?;
        registry.register(Box::new(telemetry.task_lines_ended.clone()))?;
        registry.register(Box::new(telemetry.indexes_packed.clone()))?;
        registry.register(Box::new(telemetry.index_bytes_freed.clone()))?;
        registry.register(Box::new(telemetry.pass_seconds.clone()))?;
        registry.register(Box::new(telemetry.pass_failures.clone()))?;
        registry.register(Box::new(telemetry.partitions.clone()))?;
        registry.register(Box::new(telemetry.tables.clone()))?;
        registry.register(Box::new(telemetry.tables_max.clone()))?;
        registry.register(Box::new(telemetry.bytes.clone()))?;
        registry.register(Box::new(telemetry.held.clone()))?;
        registry.register(Box::new(telemetry.horizon_behind.clone()))?;
        registry.register(Box::new(telemetry.policies.clone()))?;
        registry.register(Box::new(telemetry.drift.clone()))?;
        registry.register(Box::new(telemetry.leader.clone()))?;
        registry.register(Box::new(telemetry.rules_generation.clone()))?;
        registry.register(Box::new(telemetry.rules.clone()))?;
        registry.register(Box::new(telemetry.rules_left_out.clone()))?;
        registry.register(Box::new(telemetry.agents.clone()))?;
        registry.register(Box::new(telemetry.pushes.clone()))?;
        Ok(telemetry)
    }

    pub fn pass(&self, which: &'static str) -> Timer {
        Timer { histogram: self.pass_seconds.with_label_values(&[which]), started: Instant::now() }
    }

    pub fn pass_failed(&self, which: &'static str) {
        self.pass_failures.with_label_values(&[which]).inc();
    }

    pub fn steps(&self, report: &Report) {
        for planned in &report.done {
            self.steps.with_label_values(&[planned.step.kind()]).inc();
        }
        self.tasks_ended.inc_by(report.ended.tasks);
        self.task_lines_ended.inc_by(report.ended.lines);
        self.indexes_packed.inc_by(report.packed.tables.into());
        self.index_bytes_freed.inc_by(report.packed.bytes_before.saturating_sub(report.packed.bytes_after));
        for (planned, _) in &report.failed {
            self.failed.with_label_values(&[planned.step.kind()]).inc();
        }
    }

    /// `now_us`: microseconds since the epoch.
    pub fn catalogue(&self, report: &Report, now_us: i64) {
        self.classes.show(&report.catalogue, now_us);
        self.holds.show(report, now_us);
        let leaves = &report.catalogue.leaves;
        for (name, holds) in STATES {
            let count = leaves.iter().filter(|leaf| holds(&leaf.state)).count();
            self.partitions.with_label_values(&[*name]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.tables.set(gauge(report.catalogue.tables()));
        self.tables_max.set(report.catalogue.lock_slots.map(tables_max).map_or(0, gauge));
        self.bytes.set(leaves.iter().map(|leaf| leaf.bytes).sum());
        for state in State::ALL {
            let is_it = |policy: &&Policy| holding::state(policy, &report.catalogue) == state;
            let count = report.policies.iter().filter(is_it).count();
            self.policies.with_label_values(&[state.as_str()]).set(gauge(count));
        }
        self.drift.set(gauge(report.catalogue.drift.len()));
        let behind_us = report.horizon.map_or(0, Horizon::behind_us);
        self.horizon_behind.set(behind_us / 1_000_000);
        self.held.set(i64::try_from(report.plan.held.len()).unwrap_or(i64::MAX));
    }
}

type Holds = fn(&LeafState) -> bool;
const STATES: &[(&str, Holds)] = &[
    ("attached", |state| matches!(state, LeafState::Attached)),
    ("detaching", |state| matches!(state, LeafState::Detaching)),
    ("detached", |state| matches!(state, LeafState::Detached { .. })),
    ("missing", |state| matches!(state, LeafState::Missing)),
];

/// Measures one pass; a pass that fails is not observed.
pub struct Timer {
    histogram: Histogram,
    started: Instant,
}

impl Timer {
    pub fn stop(self) {
        self.histogram.observe(self.started.elapsed().as_secs_f64());
    }
}
