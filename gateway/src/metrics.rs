//! Counts and exports the gateway's metrics.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::live::Out;

const SECONDS: [f64; 8] = [0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0];

#[derive(Clone, Debug)]
pub struct Metrics {
    pub requests: IntCounterVec,
    pub seconds: HistogramVec,
    pub running: IntGauge,
    pub exported: IntCounter,
    pub exports_cut: IntCounter,
    pub stalled: IntCounter,
    pub facet_values_cut: IntCounter,
    pub unwritable: IntCounter,
    pub audit_lost: IntCounter,
    pub replica_reads: IntCounter,
    passed_over: IntCounterVec,
    refused: IntCounterVec,
    reviews: IntCounterVec,
    issuer: IntCounterVec,
    tokens_changes: IntCounter,
    tokens_broken: IntGauge,
    streams_open: IntGaugeVec,
    streamed: IntCounter,
    stream_gaps: IntCounterVec,
    stream_gap_records: IntCounter,
}

/// Counts a stream as long as it is held.
#[derive(Debug)]
pub struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let name = |name: &str| format!("cordwood_gateway_{name}");
        let metrics = Metrics {
            requests: IntCounterVec::new(
                Opts::new(name("requests_total"), "Requests answered, by route and status"),
                &["route", "code"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    name("request_seconds"),
                    "Time from a request to the begin of its answer, by route",
                )
                .buckets(SECONDS.to_vec()),
                &["route"],
            )?,
            running: IntGauge::new(name("requests_running"), "Requests whose answer has not begun")?,
            exported: IntCounter::new(name("exported_records_total"), "Records written by exports")?,
            exports_cut: IntCounter::new(
                name("exports_cut_total"),
                "Exports that were not completed: the caller left, the store failed, or the gateway stopped",
            )?,
            stalled: IntCounter::new(
                name("stalled_total"),
                "Answers that the gateway ended because the client read nothing for too long",
            )?,
            facet_values_cut: IntCounter::new(
                name("facet_values_cut_total"),
                "Values that facets counted by their beginning, or among the others for want of room",
            )?,
            unwritable: IntCounter::new(
                name("unwritable_records_total"),
                "Records that an export left out because they could not be written",
            )?,
            replica_reads: IntCounter::new(
                name("replica_searches_total"),
                "Searches (pages of exports and counts too) that the replica answered",
            )?,
            passed_over: IntCounterVec::new(
                Opts::new(
                    name("replica_passed_over_total"),
                    "Searches that the database itself answered although there is a replica, by reason: away, behind",
                ),
                &["reason"],
            )?,
            audit_lost: IntCounter::new(name("audit_lost_total"), "Audit records that could not be written")?,
            refused: IntCounterVec::new(
                Opts::new(
                    name("refused_total"),
                    "Requests turned away, by reason: caller, away, busy, identity, reviews, connections",
                ),
                &["reason"],
            )?,
            reviews: IntCounterVec::new(
                Opts::new(
                    name("reviews_total"),
                    "Checks of identities and rights, by kind (token, access, namespace: the API server was asked; oidc: a token of the identity provider was checked) and answer (yes, no, none)",
                ),
                &["kind", "answer"],
            )?,
            issuer: IntCounterVec::new(
                Opts::new(
                    name("issuer_requests_total"),
                    "What the identity provider was asked, by kind (keys, code) and answer (yes, no, none)",
                ),
                &["kind", "answer"],
            )?,
            tokens_changes: IntCounter::new(
                name("tokens_file_changes_total"),
                "Times that a changed file of tokens was loaded",
            )?,
            tokens_broken: IntGauge::new(
                name("tokens_file_broken"),
                "1 while the changed file of tokens is invalid; the tokens before stay valid",
            )?,
            streams_open: IntGaugeVec::new(
                Opts::new(name("streams_open"), "Live streams, by form: websocket, lines, task, monitor"),
                &["form"],
            )?,
            streamed: IntCounter::new(name("streamed_records_total"), "Records that live streams sent")?,
            stream_gaps: IntCounterVec::new(
                Opts::new(name("stream_gaps_total"), "Gaps that live streams reported, by reason"),
                &["reason"],
            )?,
            stream_gap_records: IntCounter::new(
                name("stream_gap_records_total"),
                "Records that live streams left out because their reader gave no credit",
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.running.clone()))?;
        registry.register(Box::new(metrics.exported.clone()))?;
        registry.register(Box::new(metrics.exports_cut.clone()))?;
        registry.register(Box::new(metrics.stalled.clone()))?;
        registry.register(Box::new(metrics.facet_values_cut.clone()))?;
        registry.register(Box::new(metrics.unwritable.clone()))?;
        registry.register(Box::new(metrics.audit_lost.clone()))?;
        registry.register(Box::new(metrics.replica_reads.clone()))?;
        registry.register(Box::new(metrics.passed_over.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.reviews.clone()))?;
        registry.register(Box::new(metrics.issuer.clone()))?;
        registry.register(Box::new(metrics.tokens_changes.clone()))?;
        registry.register(Box::new(metrics.tokens_broken.clone()))?;
        registry.register(Box::new(metrics.streams_open.clone()))?;
        registry.register(Box::new(metrics.streamed.clone()))?;
        registry.register(Box::new(metrics.stream_gaps.clone()))?;
        registry.register(Box::new(metrics.stream_gap_records.clone()))?;
        Ok(metrics)
    }

    /// The API server was asked.
    pub fn reviewed(&self, kind: &str, answer: &str) {
        self.reviews.with_label_values(&[kind, answer]).inc();
    }

    /// The identity provider was asked.
    pub fn issuer_asked(&self, kind: &str, answer: &str) {
        self.issuer.with_label_values(&[kind, answer]).inc();
    }

    /// The file of tokens was looked at.
    pub fn tokens_read(&self, is_usable: bool, is_new: bool) {
        self.tokens_changes.inc_by(u64::from(is_new));
        self.tokens_broken.set(i64::from(!is_usable));
    }

    pub fn open(&self, form: &str) -> Open {
        let open = self.streams_open.with_label_values(&[form]);
        open.inc();
        Open(open)
    }

    pub fn streamed(&self, out: &Out) {
        match out {
            Out::Records { items, .. } => self.streamed.inc_by(items.len() as u64),
            Out::Gap { gap, .. } => {
                self.stream_gaps.with_label_values(&[gap.why.as_str()]).inc();
                self.stream_gap_records.inc_by(gap.count.unwrap_or_default());
            }
            Out::CaughtUp { .. } => {}
        }
    }

    pub fn passed_over(&self, reason: &str) {
        self.passed_over.with_label_values(&[reason]).inc();
    }

    pub fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }
}
