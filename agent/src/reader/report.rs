//! The reader's picture of itself, once a second while something is read: what `/status` and the gauges show.

use cordwood_core::gate::RuleScope;

use super::Reader;
use crate::container_log::ContainerLog;
use crate::source::Source;
use crate::telemetry::{Status, StreamStatus};
use crate::turn::Clock;

/// Streams named in `/status`; the worst first.
const STREAMS_MAX: usize = 200;
/// How old the picture may become while nothing is read. (Level rules end by the clock.)
const QUIET_REPORT_MS: i64 = 10_000;

impl Reader {
    /// Makes the picture anew, unless nothing has happened since the last one: then seldom, because a picture of many idle files
    /// takes longer than all else that is done for them.
    pub(crate) fn report_if_due(&mut self, clock: Clock) {
        let is_quiet = self.active.is_empty()
            && self.waiting.is_empty()
            && self.descriptors.waiting() == 0
            && self.ship.held_bytes() == 0;
        if is_quiet && self.quiet_since_ms.is_some_and(|at_ms| clock.mono_ms - at_ms < QUIET_REPORT_MS) {
            return;
        }
        self.quiet_since_ms = is_quiet.then_some(clock.mono_ms);
        self.report(clock);
    }

    fn report(&mut self, clock: Clock) {
        let capacity = self.config.read.rotation_file_bytes * self.config.read.rotation_files;
        let mut status = Status {
            node: self.config.node.clone(),
            rules_generation: self.telemetry.rules_generation(),
            runs: self.runs.len(),
            held_bytes: self.held_bytes(),
            files_left_out: self.left_out.count(),
            namespaces_refused: self.context.namespaces_refused(),
            unfinished_bytes: self.unfinished.bytes(),
            stalled: self.ship.is_stalled(),
            ..Status::default()
        };
        let stalled = status.stalled || !self.waiting.is_empty();
        let mut runs: Vec<_> = Vec::with_capacity(self.runs.len());
        for run in self.runs.values_mut() {
            if stalled || self.active.contains(&run.number()) {
                run.measure(clock);
            }
            let lag = run.files().lag_bytes();
            status.files += run.files().len();
            status.lag_bytes += lag;
            if let Some(since) = run.meter.lagging_since_ms() {
                status.lag_seconds = status.lag_seconds.max((clock.mono_ms - since) as f64 / 1_000.0);
            }
            let rotates = matches!(run.source(), Source::Container { .. });
            if rotates && lag > 0 && run.meter.growth_bytes_per_s() > 1.0 {
                let left = capacity.saturating_sub(lag) as f64 / run.meter.growth_bytes_per_s() / 60.0;
                status.minutes_until_loss =
                    Some(status.minutes_until_loss.map_or(left, |other| left.min(other)));
            }
            runs.push(((run.owner.waiting_for().is_none(), std::cmp::Reverse(lag), run.number()), &*run));
        }
        let now_ms = clock.wall_ns / 1_000_000;
        if runs.len() > STREAMS_MAX {
            runs.select_nth_unstable_by_key(STREAMS_MAX, |(key, _)| *key);
            runs.truncate(STREAMS_MAX);
        }
        runs.sort_unstable_by_key(|(key, _)| *key);
        status.streams = runs.into_iter().map(|(_, run)| stream(run, now_ms)).collect();
        self.telemetry.set_status(status);
    }
}

fn stream(run: &ContainerLog, now_ms: i64) -> StreamStatus {
    let rule = |scope| run.owner.gate().in_force(scope, now_ms).map(|rule| rule.id.clone());
    let origin = run.owner.context().map(|context| context.origin.clone()).unwrap_or_default();
    StreamStatus {
        run: run.id().key().to_owned(),
        namespace: origin.namespace,
        pod: origin.pod,
        container: origin.container,
        tenant: origin.tenant,
        service: origin.service,
        files: run.files().len(),
        read_bytes: run.meter.bytes_read(),
        lag_bytes: run.files().lag_bytes(),
        waiting: run.owner.waiting_for().map(str::to_owned),
        rule: rule(RuleScope::Application),
        task_rule: rule(RuleScope::Task),
    }
}
