//! Collects what `/status` and the gauges show, once a second while something is read.

use cordwood_core::gate::RuleScope;

use super::folders::Folders;
use super::logs::Logs;
use super::shared::Shared;
use crate::container_log::ContainerLog;
use crate::source::Source;
use crate::telemetry::{Status, StreamStatus};

/// The most logs that `/status` names: those that wait for their owner first, then those with the largest lag.
const STREAMS_MAX: usize = 200;
/// How old the status may become while nothing is read, milliseconds. (Level rules end by the clock.)
const QUIET_REPORT_MS: i64 = 10_000;

#[derive(Debug, Default)]
pub(super) struct Report {
    /// When the last status was collected, milliseconds on the monotonic clock; `None` if something has happened since.
    quiet_since_ms: Option<i64>,
}

impl Report {
    /// Collects the status at the next call, because something has happened.
    pub fn is_outdated(&mut self) {
        self.quiet_since_ms = None;
    }

    /// Collects the status. While nothing happens it does so seldom, because the status of many idle files costs more than everything else
    /// that is done for them.
    pub fn make_if_due(&mut self, logs: &mut Logs, folders: &Folders, shared: &Shared) -> Option<Status> {
        let now_ms = shared.clock().mono_ms;
        let is_quiet = logs.active().is_empty()
            && logs.waiting().is_empty()
            && folders.waiting_for_descriptors() == 0
            && shared.ship().held_bytes() == 0;
        if is_quiet && self.quiet_since_ms.is_some_and(|at_ms| now_ms - at_ms < QUIET_REPORT_MS) {
            return None;
        }
        self.quiet_since_ms = is_quiet.then_some(now_ms);
        Some(make(logs, folders, shared))
    }
}

fn make(logs: &mut Logs, folders: &Folders, shared: &Shared) -> Status {
    let (clock, config) = (shared.clock(), shared.config());
    let capacity = config.read.rotation_file_bytes * config.read.rotation_files;
    let mut status = Status {
        node: config.node.clone(),
        logs: logs.len(),
        runs: logs.len(),
        held_bytes: shared.held_bytes(logs),
        files_left_out: folders.left_out(),
        namespaces_refused: shared.namespaces_refused(),
        unfinished_bytes: logs.unfinished().bytes(),
        stalled: shared.ship().is_stalled(),
        ..Status::default()
    };
    let stalled = status.stalled || !logs.waiting().is_empty();
    let measured = if stalled { logs.numbers() } else { logs.active().iter().copied().collect() };
    for id in measured {
        if let Some(log) = logs.get_mut(id) {
            log.measure(clock);
        }
    }
    let mut worst: Vec<_> = Vec::with_capacity(logs.len());
    for log in logs.iter() {
        let lag = log.files().lag_bytes();
        status.files += log.files().len();
        status.lag_bytes += lag;
        if let Some(since) = log.meter.lagging_since_ms() {
            status.lag_seconds = status.lag_seconds.max((clock.mono_ms - since) as f64 / 1_000.0);
        }
        let rotates = matches!(log.source(), Source::Container { .. });
        if rotates && lag > 0 && log.meter.growth_bytes_per_s() > 1.0 {
            let left = capacity.saturating_sub(lag) as f64 / log.meter.growth_bytes_per_s() / 60.0;
            status.minutes_until_loss = Some(status.minutes_until_loss.map_or(left, |other| left.min(other)));
        }
        worst.push(((log.owner.waiting_for().is_none(), std::cmp::Reverse(lag), log.number()), log));
    }
    let now_ms = clock.wall_ns / 1_000_000;
    if worst.len() > STREAMS_MAX {
        worst.select_nth_unstable_by_key(STREAMS_MAX, |(key, _)| *key);
        worst.truncate(STREAMS_MAX);
    }
    worst.sort_unstable_by_key(|(key, _)| *key);
    status.streams = worst.into_iter().map(|(_, log)| stream(log, now_ms)).collect();
    status
}

fn stream(log: &ContainerLog, now_ms: i64) -> StreamStatus {
    let rule = |scope| log.owner.gate().in_force(scope, now_ms).map(|rule| rule.id.clone());
    let origin = log.owner.context().map(|context| context.origin.clone()).unwrap_or_default();
    StreamStatus {
        log: log.id().key().to_owned(),
        run: log.id().key().to_owned(),
        namespace: origin.namespace,
        pod: origin.pod,
        container: origin.container,
        tenant: origin.tenant,
        service: origin.service,
        files: log.files().len(),
        read_bytes: log.meter.bytes_read(),
        lag_bytes: log.files().lag_bytes(),
        waiting: log.owner.waiting_for().map(str::to_owned),
        rule: rule(RuleScope::Application),
        task_rule: rule(RuleScope::Task),
    }
}
