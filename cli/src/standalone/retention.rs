//! Does for standalone what the operator does in a cluster. It is a task of its own, so that storing lines and level rules never wait for table
//! partitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cordwood_core::retention::{Policy, Step, Tuning, Waits};
use cordwood_operator::retention::{Report, Standalone};
use cordwood_store::Store;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::NOTICE_US;
use super::administration::Fares;
use super::report_once::ReportOnce;
use crate::logging;

pub struct Retention {
    policies: watch::Sender<Vec<Policy>>,
    stop: CancellationToken,
    last_pass: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Retention {
    /// A pass at once, after every change of the policies, and `every` so often.
    pub fn start(store: &Store, policies: Vec<Policy>, every: Duration, fares: Fares) -> Retention {
        let (sender, mut policies) = watch::channel(policies);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let last_pass = Arc::<AtomicBool>::default();
        let once_more = Arc::clone(&last_pass);
        let mut passes = Passes {
            retention: Standalone::new(store, Tuning::with_notice(NOTICE_US)),
            reports: ReportOnce::default(),
            waits: Vec::new(),
            fares,
        };
        let task = tokio::spawn(async move {
            loop {
                let now = policies.borrow_and_update().clone();
                passes.pass(&now).await;
                let pause = tokio::time::timeout(interval(&now, every), policies.changed());
                match stopped.run_until_cancelled(pause).await {
                    None => {
                        if once_more.load(Ordering::SeqCst) {
                            passes.pass(&now).await;
                        }
                        return;
                    }
                    Some(Ok(Err(_))) => return,
                    Some(Ok(Ok(())) | Err(_)) => {}
                }
            }
        });
        Retention { policies: sender, stop, last_pass, task }
    }

    pub fn set(&self, policies: Vec<Policy>) {
        self.policies.send_replace(policies);
    }

    /// Makes one more pass and ends.
    pub async fn finish(self) {
        self.last_pass.store(true, Ordering::SeqCst);
        self.stop().await;
    }

    /// Ends when the pass that is under way has.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// The time between two passes: `wanted`, or shorter where retentions are short.
fn interval(policies: &[Policy], wanted: Duration) -> Duration {
    let shortest = policies.iter().flat_map(|policy| {
        let retention = policy.retention_us;
        [retention.debug, retention.info, retention.warn, retention.error, policy.grace_us.max(1_000_000)]
    });
    let tenth = shortest.min().map(|us| Duration::from_micros(us.max(0).unsigned_abs() / 10));
    tenth.map_or(wanted, |tenth| wanted.min(tenth.max(Duration::from_secs(1))))
}

struct Passes {
    retention: Standalone,
    reports: ReportOnce,
    /// What was last told to wait for approval or room.
    waits: Vec<String>,
    fares: Fares,
}

impl Passes {
    /// A trouble is told once and tried again at the next one.
    async fn pass(&mut self, policies: &[Policy]) {
        match self.retention.pass(policies).await {
            Ok(report) => {
                let troubles: Vec<String> = report
                    .failed
                    .iter()
                    .map(|(planned, why)| format!("{}: {why}", planned.step))
                    .chain(
                        report.refused().map(|finding| format!("{}: {}", finding.subject, finding.message)),
                    )
                    .collect();
                if troubles.is_empty() {
                    self.reports.clear();
                } else {
                    self.reports.report(format!("retention: {}; it is tried again", troubles.join("; ")));
                }
                self.fares.passed(&report);
                self.say_done(&report);
            }
            Err(error) => self.reports.report(format!("retention: {error:#}; it is tried again")),
        }
    }

    /// What a person wants to know of: each thing with records that went or came back.
    fn say_done(&mut self, report: &Report) {
        for planned in report.done.iter().filter(|planned| planned.bytes > 0) {
            if matches!(planned.step, Step::Detach(_) | Step::Drop(_) | Step::Reattach(_)) {
                logging::say(&format!("retention: {}: {} ({})", planned.policy, planned.step, planned.why));
            }
        }
        let waits: Vec<String> = report
            .plan
            .held
            .iter()
            .filter(|held| {
                matches!(held.waits, Waits::Approval(_) | Waits::TooManyPartitions { .. } | Waits::Horizon(_))
            })
            .map(ToString::to_string)
            .collect();
        if waits != self.waits {
            waits.iter().for_each(|held| logging::say(&format!("retention: held: {held}")));
            self.waits = waits;
        }
    }
}
