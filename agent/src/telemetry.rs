//! The agent's metrics (`/metrics`) and its status (`/status`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use cordwood_core::agents::{LossReason, Losses};
use cordwood_core::levels::STATUS_GENERATION;
use cordwood_service::Health;
use prometheus::{IntCounter, IntGauge, Registry};
use serde::Serialize;

/// Counts of one round of the reader; added to the metrics at its end, so that lines touch no shared memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub read_bytes: u64,
    pub records: u64,
    pub gated_records: u64,
    pub audit_over_budget_records: u64,
    pub audit_unmarked_records: u64,
    pub unparsed_records: u64,
    pub acknowledged_records: u64,
    pub cut_bytes: u64,
    pub lost_bytes: u64,
    pub losses: u64,
    pub loss_reasons: Losses,
    pub messages: u64,
    pub message_bytes: u64,
    pub full: u64,
    pub producer_resets: u64,
    pub files_finished: u64,
    pub files_truncated: u64,
    pub nul_bytes: u64,
    pub files_vanished: u64,
    pub file_errors: u64,
    pub overflows: u64,
    pub checkpoints: u64,
    pub checkpoint_errors: u64,
    pub checkpoints_torn: u64,
}

/// The metrics behind it, by name.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    counters: Vec<(IntCounter, Reading)>,
    files: IntGauge,
    lag_bytes: IntGauge,
    held_bytes: IntGauge,
    files_left_out: IntGauge,
    namespaces_refused: IntGauge,
    rules_generation: IntGauge,
    single_acknowledgement: IntGauge,
    status: Mutex<Status>,
    losses: Mutex<Losses>,
    /// Milliseconds since the epoch.
    started_ms: i64,
}

type Reading = fn(&Tally) -> u64;

/// Name without its prefix `cordwood_agent_`, help, where it is counted.
const COUNTERS: &[(&str, &str, Reading)] = &[
    ("read_bytes_total", "Bytes of log files that the agent has read, in whole lines.", |t| t.read_bytes),
    ("records_total", "Records put into batches.", |t| t.records),
    ("records_gated_total", "Records dropped by a level rule.", |t| t.gated_records),
    (
        "records_audit_over_budget_total",
        "Records that call themselves audit records beyond their pod's budget; they are kept as ordinary ones.",
        |t| t.audit_over_budget_records,
    ),
    (
        "records_audit_unmarked_total",
        "Records that call themselves audit records in a namespace that is not marked for it; they are kept as ordinary ones.",
        |t| t.audit_unmarked_records,
    ),
    ("records_unparsed_total", "Lines that are not of their file's format and are kept as they are.", |t| {
        t.unparsed_records
    }),
    ("records_shipped_total", "Records that Kafka has acknowledged.", |t| t.acknowledged_records),
    ("truncated_bytes_total", "Bytes cut off records that were too long.", |t| t.cut_bytes),
    (
        "lost_bytes_total",
        "Bytes that were deleted, rotated away or cut off before the agent had read them, as far as known.",
        |t| t.lost_bytes,
    ),
    ("losses_total", "Loss records written.", |t| t.losses),
    ("messages_total", "Messages handed to the Kafka producer.", |t| t.messages),
    ("message_bytes_total", "Bytes of these messages before compression.", |t| t.message_bytes),
    ("send_stalls_total", "Times that the Kafka producer's queue was full.", |t| t.full),
    ("send_restarts_total", "Times that the Kafka producer was replaced after a fatal error.", |t| {
        t.producer_resets
    }),
    ("files_finished_total", "Files read to their end.", |t| t.files_finished),
    ("files_truncated_total", "Files cut short, emptied or rewritten in place.", |t| t.files_truncated),
    ("nul_bytes_total", "NUL bytes skipped: holes in files that were cut short or preallocated.", |t| {
        t.nul_bytes
    }),
    (
        "files_vanished_total",
        "Files of the checkpoint that were deleted while the agent was not running.",
        |t| t.files_vanished,
    ),
    ("file_errors_total", "Failed attempts to open or read a file.", |t| t.file_errors),
    (
        "inotify_overflows_total",
        "Overflows of inotify's event queue; the agent then lists all folders again.",
        |t| t.overflows,
    ),
    ("checkpoints_total", "Checkpoints written.", |t| t.checkpoints),
    ("checkpoint_errors_total", "Checkpoints that could not be written.", |t| t.checkpoint_errors),
    ("checkpoints_torn_total", "Checkpoints that were damaged and not used at the agent's start.", |t| {
        t.checkpoints_torn
    }),
];

/// The body of `/status`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    pub node: String,
    /// Generation of the level rules in force.
    pub rules_generation: u64,
    /// Container logs that are read.
    pub logs: usize,
    /// The same, by the name that it had in versions before.
    pub runs: usize,
    pub files: usize,
    pub lag_bytes: u64,
    /// How old the oldest unread byte is, as far as this process saw it.
    pub lag_seconds: f64,
    /// Bytes that were read and are not acknowledged.
    pub held_bytes: usize,
    /// Files that patterns name and that are not read, because they are too many.
    pub files_left_out: usize,
    /// Namespaces whose labels name a tenant that is not allowed, or another tenant's id.
    pub namespaces_refused: usize,
    /// Of `held_bytes`: those of records whose ends were not read yet.
    pub unfinished_bytes: usize,
    /// Whether reading stands still because Kafka takes nothing.
    pub stalled: bool,
    /// The soonest that an unread byte may rotate away, if it goes on like now. Of containers' files alone: how long others are kept
    /// is not known.
    pub minutes_until_loss: Option<f64>,
    /// Since the start: loss records written, and the bytes in them.
    pub losses: u64,
    pub lost_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_loss_ms: Option<i64>,
    pub loss_reasons: Vec<LossReason>,
    /// The files that matter most: those that wait, then those that lag.
    pub streams: Vec<StreamStatus>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct StreamStatus {
    /// The log's key: `<pod uid>/<container>/<restart count>`, or `file:<path>`.
    pub log: String,
    /// The same, by the name that it had in versions before.
    pub run: String,
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub tenant: String,
    pub service: String,
    pub files: usize,
    pub read_bytes: u64,
    pub lag_bytes: u64,
    /// What it waits for before its first batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// The level rule in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The one for records of tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_rule: Option<String>,
}

impl Telemetry {
    pub fn new(registry: &Registry) -> Result<Telemetry, prometheus::Error> {
        let mut counters = Vec::with_capacity(COUNTERS.len());
        for (name, help, reading) in COUNTERS {
            let counter = IntCounter::new(format!("cordwood_agent_{name}"), *help)?;
            registry.register(Box::new(counter.clone()))?;
            counters.push((counter, *reading));
        }
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(format!("cordwood_agent_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Telemetry(Arc::new(Inner {
            counters,
            files: gauge("files", "Files being read.")?,
            lag_bytes: gauge("lag_bytes", "Bytes on disk that are not read yet.")?,
            files_left_out: gauge("files_left_out", "Files of patterns that name too many.")?,
            namespaces_refused: gauge(
                "namespaces_refused",
                "Namespaces whose labels name a tenant that is not allowed, or another tenant's id.",
            )?,
            held_bytes: gauge("held_bytes", "Bytes read and not acknowledged yet.")?,
            rules_generation: gauge("rules_generation", "Generation of the level rules in force.")?,
            single_acknowledgement: gauge(
                "single_acknowledgement",
                "1: the topic has several replicas and acknowledges what one of them has.",
            )?,
            status: Mutex::default(),
            losses: Mutex::default(),
            started_ms: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        })))
    }

    /// Adds a round's counts and takes them out of `tally`.
    pub fn add(&self, tally: &mut Tally) {
        if *tally == Tally::default() {
            return;
        }
        for (counter, reading) in &self.0.counters {
            let by = reading(tally);
            if by > 0 {
                counter.inc_by(by);
            }
        }
        if !tally.loss_reasons.reasons.is_empty() {
            self.losses().merge(&tally.loss_reasons);
        }
        *tally = Tally::default();
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.0.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_status(&self, status: Status) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.0.files.set(gauge(status.files as u64));
        self.0.lag_bytes.set(gauge(status.lag_bytes));
        self.0.files_left_out.set(gauge(status.files_left_out as u64));
        self.0.namespaces_refused.set(gauge(status.namespaces_refused as u64));
        self.0.held_bytes.set(gauge(status.held_bytes as u64));
        *self.0.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// The gates follow the rules of this generation from now on: `/status` says so at once.
    pub fn rules_taken(&self, generation: u64) {
        self.0.rules_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    pub fn rules_generation(&self) -> u64 {
        self.0.rules_generation.get().max(0).unsigned_abs()
    }

    /// What the topic said last of its replicas. Returns whether it is news.
    pub fn acknowledged_by_one(&self, is_one: bool) -> bool {
        let before = self.0.single_acknowledgement.get();
        self.0.single_acknowledgement.set(i64::from(is_one));
        before != i64::from(is_one)
    }

    pub fn status(&self) -> Status {
        let status = self.0.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Losses { reasons, last_ms } = self.losses().clone();
        Status {
            losses: reasons.iter().map(|reason| reason.losses).sum(),
            lost_bytes: reasons.iter().map(|reason| reason.bytes).sum(),
            last_loss_ms: last_ms,
            loss_reasons: reasons,
            ..status
        }
    }

    /// The body of `/status`, as [`cordwood_core::agents::AgentStatus`] reads it.
    pub fn status_body(&self, health: &Health) -> serde_json::Value {
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started_ms": self.0.started_ms,
            "reader": self.status(),
            STATUS_GENERATION: self.rules_generation(),
            "conditions": health.conditions(),
        })
    }
}

#[cfg(test)]
mod tests {
    use cordwood_core::agents::AgentStatus;

    use super::*;

    /// The operator asked for a key that no agent ever wrote: every agent counted as behind.
    #[test]
    fn who_reads_the_status_finds_all_that_is_read_of_it() {
        let telemetry = Telemetry::new(&Registry::new()).unwrap();
        let read = || {
            let body = telemetry.status_body(&Health::new(&["kafka"])).to_string();
            AgentStatus::read(body.as_bytes()).unwrap()
        };
        assert_eq!((read().rules_generation, read().losses, read().lost_bytes), (Some(0), Some(0), Some(0)));
        telemetry.rules_taken(7);
        telemetry.set_status(Status {
            node: "n".to_owned(),
            files: 1,
            lag_bytes: 2,
            lag_seconds: 3.5,
            held_bytes: 4,
            stalled: true,
            minutes_until_loss: Some(5.5),
            ..Status::default()
        });
        for number in 1..=2 {
            let mut tally = Tally { losses: 1, lost_bytes: 50, ..Tally::default() };
            tally.loss_reasons.add("gone", 1, 50, Some(number));
            telemetry.add(&mut tally);
        }
        let expected = AgentStatus {
            node: Some("n".to_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            started_ms: Some(telemetry.0.started_ms),
            rules_generation: Some(7),
            files: Some(1),
            lag_bytes: Some(2),
            lag_seconds: Some(3.5),
            held_bytes: Some(4),
            stalled: Some(true),
            minutes_until_loss: Some(5.5),
            losses: Some(2),
            lost_bytes: Some(100),
            last_loss_ms: Some(2),
            loss_reasons: vec![LossReason { reason: "gone".to_owned(), losses: 2, bytes: 100 }],
        };
        assert_eq!(read(), expected);
    }

    /// Scripts of users read them: both stay.
    #[test]
    fn the_names_of_versions_before_are_in_the_status_beside_those_of_now() {
        let telemetry = Telemetry::new(&Registry::new()).unwrap();
        let stream =
            StreamStatus { log: "uid/app/0".to_owned(), run: "uid/app/0".to_owned(), ..Default::default() };
        telemetry.set_status(Status { logs: 1, runs: 1, streams: vec![stream], ..Status::default() });
        let body = telemetry.status_body(&Health::new(&["kafka"]));
        let (reader, stream) = (&body["reader"], &body["reader"]["streams"][0]);
        assert_eq!((&reader["logs"], &stream["log"]), (&1.into(), &"uid/app/0".into()));
        assert_eq!((&reader["runs"], &stream["run"]), (&reader["logs"], &stream["log"]));
    }
}
