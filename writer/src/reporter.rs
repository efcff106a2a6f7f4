//! Reports the loop's state: probes, `/status`, metrics.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cordwood_core::recovery::{Cause, Recovery};
use cordwood_service::{Health, Heartbeat};

use crate::committing::Stored;
use crate::intake::Prepared;
use crate::metrics::Metrics;
use crate::source::SourceStatus;

pub struct Reporter {
    health: Health,
    heartbeat: Heartbeat,
    metrics: Metrics,
    status: Arc<Mutex<SourceStatus>>,
}

impl Reporter {
    pub fn new(health: Health, metrics: Metrics, status: Arc<Mutex<SourceStatus>>) -> Reporter {
        let heartbeat = health.heartbeat("writer", Duration::from_secs(120));
        Reporter { health, heartbeat, metrics, status }
    }

    /// The loop turns.
    pub fn beat(&self) {
        self.heartbeat.beat();
    }

    /// The writer goes back to PostgreSQL's positions.
    pub fn reset(&self, cause: Cause) {
        self.metrics.resets.with_label_values(&[cause.name()]).inc();
    }

    pub fn committed(&self, prepared: &Prepared, stored: &Stored) {
        self.metrics.committed(prepared, stored.task_lines, stored.took);
    }

    /// Whether there is a session.
    pub fn session(&self, is_up: bool) {
        self.metrics.ready.set(i64::from(is_up));
    }

    /// How PostgreSQL is; nothing is well before the first beginning.
    pub fn postgres(&self, recovery: &Recovery) {
        match recovery.trouble() {
            Some(why) => self.health.set("postgres", Err(why.to_owned())),
            None if recovery.due().is_none() => self.health.set("postgres", Ok(())),
            None => {}
        }
    }

    /// The source has ended and should not have.
    pub fn broken(&self, why: &str) {
        self.health.set("source", Err(why.to_owned()));
    }

    pub fn source(&self, status: SourceStatus) {
        self.metrics.source(&status);
        let stopped = || {
            let partitions = status.stopped.iter().map(|(p, why)| format!("topic partition {p}: {why}"));
            format!("stopped: {}", partitions.collect::<Vec<_>>().join("; "))
        };
        let kafka = match &status.trouble {
            Some(trouble) => Err(trouble.clone()),
            None if status.stopped.is_empty() => Ok(()),
            None => Err(stopped()),
        };
        self.health.set("source", kafka);
        if let Ok(mut shared) = self.status.lock() {
            *shared = status;
        }
    }
}
