//! Counts and exports the writer's metrics. Each event has one function.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::feed::FeedCounters;
use crate::intake::Prepared;
use crate::source::SourceStatus;

const COMMIT_BUCKETS: [f64; 14] =
    [0.001, 0.002, 0.003, 0.005, 0.008, 0.012, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

#[derive(Clone)]
pub struct Metrics {
    pub records: IntCounter,
    pub blocks: IntCounter,
    pub raw_bytes: IntCounter,
    pub stored_bytes: IntCounter,
    pub messages: IntCounter,
    pub duplicates: IntCounter,
    pub dead_letters: IntCounter,
    pub lost_bytes: IntCounter,
    pub losses: IntCounter,
    pub recovered_bytes: IntCounter,
    pub missing_messages: IntCounter,
    pub cut_records: IntCounter,
    pub task_lines: IntCounter,
    pub task_lines_refused: IntCounter,
    pub task_cuts: IntCounterVec,
    pub other_errors: IntCounter,
    pub commits: IntCounter,
    pub resets: IntCounterVec,
    pub commit_seconds: Histogram,
    pub commit_seconds_max: Gauge,
    pub lag: IntGaugeVec,
    pub stopped: IntGauge,
    pub single_acknowledgement: IntGauge,
    pub ready: IntGauge,
    pub feed: FeedCounters,
    pub sealed_records: IntCounter,
    pub sealed_blocks: IntCounter,
    pub carried_records: IntGauge,
    pub expired_records: IntCounter,
    pub seal_seconds: Histogram,
    pub seal_errors: IntCounter,
    pub rings_truncated: IntCounter,
    max_us: Arc<AtomicU64>,
}

impl Metrics {
    /// Registers everything; fails only when a name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(format!("cordwood_writer_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(format!("cordwood_writer_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| -> prometheus::Result<Histogram> {
            let options = HistogramOpts::new(format!("cordwood_writer_{name}"), help).buckets(buckets);
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let resets = IntCounterVec::new(
            Opts::new(
                "cordwood_writer_resets_total",
                "Times that the writer went back to the positions in PostgreSQL, by reason.",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(resets.clone()))?;
        let lag = IntGaugeVec::new(
            Opts::new("cordwood_writer_lag_messages", "Messages in Kafka that the writer has not read yet."),
            &["topic_partition"],
        )?;
        registry.register(Box::new(lag.clone()))?;
        let commit_seconds_max = Gauge::new(
            "cordwood_writer_commit_max_seconds",
            "The longest transaction since the writer's start, from its first statement to COMMIT's answer.",
        )?;
        registry.register(Box::new(commit_seconds_max.clone()))?;
        let task_cuts = IntCounterVec::new(
            Opts::new(
                "cordwood_writer_task_lines_cut_total",
                "Lines of tasks that a limit cut, by what was too long: message, metadata (left out), id (the record is in no task's log).",
            ),
            &["what"],
        )?;
        registry.register(Box::new(task_cuts.clone()))?;
        Ok(Metrics {
            records: counter("records_total", "Records stored.")?,
            blocks: counter("blocks_total", "Fresh blocks stored.")?,
            raw_bytes: counter("raw_bytes_total", "Bytes of the stored records' bodies.")?,
            stored_bytes: counter("stored_bytes_total", "Bytes of the fresh blocks, filters included.")?,
            messages: counter("messages_total", "Kafka messages consumed and committed.")?,
            duplicates: counter("duplicates_total", "Records skipped because they were stored already.")?,
            dead_letters: counter("dead_letters_total", "Messages that could not be decoded.")?,
            lost_bytes: counter("lost_bytes_total", "Bytes that never arrived from an agent.")?,
            losses: counter("losses_total", "Ranges of bytes that never arrived from an agent.")?,
            cut_records: counter(
                "records_cut_total",
                "Records whose bodies were longer than a record may be.",
            )?,
            missing_messages: counter("missing_messages_total", "Messages that Kafka did not deliver.")?,
            recovered_bytes: counter(
                "recovered_bytes_total",
                "Bytes that were recorded as lost and arrived later.",
            )?,
            task_lines: counter("task_lines_total", "Lines added to tasks.")?,
            task_lines_refused: counter(
                "task_lines_refused_total",
                "Lines not added because their task was deleted.",
            )?,
            task_cuts,
            other_errors: counter(
                "errors_ungrouped_total",
                "Records of WARN and ERROR counted under v2:other: their tenant had too many groups within a minute.",
            )?,
            commits: counter("commits_total", "Transactions.")?,
            resets,
            commit_seconds: histogram(
                "commit_seconds",
                "From the first statement to COMMIT's answer.",
                COMMIT_BUCKETS.to_vec(),
            )?,
            commit_seconds_max,
            lag,
            stopped: gauge(
                "topic_partitions_stopped",
                "Topic partitions whose position Kafka does not have.",
            )?,
            single_acknowledgement: gauge(
                "single_acknowledgement",
                "1 while one broker alone acknowledges messages although there are several.",
            )?,
            ready: gauge("postgres_up", "1 while the writer has a session in PostgreSQL.")?,
            feed: FeedCounters {
                published: counter("feed_published_total", "Records published to Redis.")?,
                dropped: counter(
                    "feed_dropped_total",
                    "Records not published because Redis was too slow or unavailable.",
                )?,
                errors: counter("feed_errors_total", "Failed writes to Redis.")?,
            },
            sealed_records: counter("sealed_records_total", "Records moved into table partitions.")?,
            sealed_blocks: counter("sealed_blocks_total", "Blocks written into table partitions.")?,
            carried_records: gauge(
                "carried_records",
                "Records that the last round of sealing kept in the rings, because their table partition does not exist yet.",
            )?,
            expired_records: counter(
                "expired_records_total",
                "Records that were older than their retention when they were sealed; they are not kept.",
            )?,
            seal_seconds: histogram(
                "seal_seconds",
                "Duration of one round of sealing.",
                vec![0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0],
            )?,
            seal_errors: counter("seal_errors_total", "Rounds of sealing that failed and were rolled back.")?,
            rings_truncated: counter("rings_truncated_total", "Ring tables emptied.")?,
            max_us: Arc::default(),
        })
    }

    pub fn committed(&self, prepared: &Prepared, task_lines: u64, took: Duration) {
        let commit = &prepared.commit;
        self.commits.inc();
        self.records.inc_by(commit.records);
        self.messages.inc_by(prepared.messages);
        self.duplicates.inc_by(prepared.duplicates);
        self.blocks.inc_by(commit.blocks.len() as u64);
        self.raw_bytes.inc_by(prepared.raw_bytes);
        let stored: usize = commit.blocks.iter().map(|block| block.payload.len() + block.bloom.len()).sum();
        self.stored_bytes.inc_by(stored as u64);
        self.dead_letters.inc_by(commit.dead_letters.iter().map(|letter| letter.messages).sum());
        self.cut_records.inc_by(prepared.cut_records);
        self.task_lines.inc_by(task_lines);
        self.task_lines_refused.inc_by((commit.tasks.len() as u64).saturating_sub(task_lines));
        self.other_errors.inc_by(prepared.other_errors);
        let cuts = prepared.task_cuts;
        for (what, count) in [("message", cuts.messages), ("metadata", cuts.metadata), ("id", cuts.ids)] {
            self.task_cuts.with_label_values(&[what]).inc_by(count);
        }
        for gap in &commit.gaps {
            self.missing_messages.inc_by(gap.to - gap.from);
            tracing::error!(
                gap.topic_partition,
                gap.from,
                gap.to,
                reason = gap.reason(),
                "messages of Kafka are missing; recorded in offset_gaps"
            );
        }
        self.recovered_bytes.inc_by(prepared.filled_bytes);
        self.losses.inc_by(commit.losses.len() as u64);
        self.lost_bytes.inc_by(commit.losses.iter().map(|loss| loss.bytes).sum());
        self.commit_seconds.observe(took.as_secs_f64());
        let us = took.as_micros() as u64;
        if self.max_us.fetch_max(us, Ordering::Relaxed) < us {
            self.commit_seconds_max.set(took.as_secs_f64());
        }
    }

    pub fn source(&self, status: &SourceStatus) {
        self.stopped.set(status.stopped.len() as i64);
        self.lag.reset();
        for (partition, lag) in &status.lag {
            self.lag.with_label_values(&[&partition.to_string()]).set(*lag as i64);
        }
    }

    /// For `/status`.
    pub fn status(&self, source: &SourceStatus) -> serde_json::Value {
        let lag: BTreeMap<String, u64> = source.lag.iter().map(|(p, lag)| (p.to_string(), *lag)).collect();
        serde_json::json!({
            "records": self.records.get(),
            "messages": self.messages.get(),
            "commits": self.commits.get(),
            "commit_seconds_max": self.commit_seconds_max.get(),
            "duplicates_skipped": self.duplicates.get(),
            "dead_letters": self.dead_letters.get(),
            "losses": self.losses.get(),
            "missing_messages": self.missing_messages.get(),
            "lag_messages": lag,
            "single_acknowledgement": self.single_acknowledgement.get() == 1,
            "topic_partitions_stopped": source.stopped.iter().map(|(p, why)| (p.to_string(), why)).collect::<BTreeMap<_, _>>(),
            "sealed_records": self.sealed_records.get(),
            "carried_records": self.carried_records.get(),
            "expired_records": self.expired_records.get(),
            "feed_dropped": self.feed.dropped.get(),
        })
    }
}
