//! Exports what each legal hold keeps, as metrics. The labels are bounded: the first holds by name have series of their own, and all others share
//! the series of the policy `(others)`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use cordwood_core::retention::holding::{Kept, kept};
use prometheus::{IntGaugeVec, Opts, Registry};

use crate::retention::Report;

/// Holds that have series of their own.
const HOLDS_MAX: usize = 100;
const OTHERS: &str = "(others)";

#[derive(Clone, Debug)]
pub struct HoldMetrics {
    partitions: IntGaugeVec,
    expired: IntGaugeVec,
    records: IntGaugeVec,
    bytes: IntGaugeVec,
    shown: Arc<Mutex<BTreeSet<String>>>,
}

impl HoldMetrics {
    /// # Errors
    /// When `registry` already has metrics of these names.
    pub fn new(registry: &Registry) -> prometheus::Result<HoldMetrics> {
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["policy"])?;
            registry.register(Box::new(gauges.clone()))?;
            prometheus::Result::Ok(gauges)
        };
        Ok(HoldMetrics {
            partitions: gauges(
                "cordwood_operator_hold_partitions",
                "Table partitions with records that the legal hold keeps.",
            )?,
            expired: gauges(
                "cordwood_operator_hold_expired_partitions",
                "Of these, table partitions that would go without a hold.",
            )?,
            records: gauges(
                "cordwood_operator_hold_records",
                "Records that the legal hold keeps; no value while an older version's partitions do not tell whose they are.",
            )?,
            bytes: gauges(
                "cordwood_operator_hold_bytes",
                "Bytes of the table partitions that the legal hold keeps, indexes included.",
            )?,
            shown: Arc::default(),
        })
    }

    /// `now_us`: microseconds since the epoch.
    pub fn show(&self, report: &Report, now_us: i64) {
        let sums = sums(report, now_us);
        for (policy, kept) in &sums {
            let labels = [policy.as_str()];
            self.partitions.with_label_values(&labels).set(i64::from(kept.all.partitions));
            self.expired.with_label_values(&labels).set(i64::from(kept.expired));
            self.bytes.with_label_values(&labels).set(kept.all.bytes);
            match kept.all.records {
                Some(records) => self.records.with_label_values(&labels).set(records),
                None => drop(self.records.remove_label_values(&labels)),
            }
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for policy in shown.iter().filter(|policy| !sums.contains_key(*policy)) {
            let all = [&self.partitions, &self.expired, &self.records, &self.bytes];
            all.iter().for_each(|gauge| drop(gauge.remove_label_values(&[policy.as_str()])));
        }
        *shown = sums.into_keys().collect();
    }
}

/// Of the holds in force, those included whose policy is gone.
fn sums(report: &Report, now_us: i64) -> BTreeMap<String, Kept> {
    let said = report.policies.iter().filter(|policy| policy.legal_hold && !policy.dry_run);
    let said = said.map(|policy| policy.name.as_str());
    let known = report.catalogue.holds.iter().map(|hold| hold.policy.as_str());
    let names: BTreeSet<&str> = said.chain(known).collect();
    let mut sums: BTreeMap<String, Kept> = BTreeMap::new();
    for (place, name) in names.into_iter().enumerate() {
        let label = if place < HOLDS_MAX { name } else { OTHERS };
        let more = kept(name, &report.catalogue, now_us);
        let sum = sums.entry(label.to_owned()).or_default();
        sum.expired = sum.expired.saturating_add(more.expired);
        sum.all.partitions = sum.all.partitions.saturating_add(more.all.partitions);
        sum.all.bytes = sum.all.bytes.saturating_add(more.all.bytes);
        sum.all.records = sum.all.records.zip(more.all.records).map(|(a, b)| a.saturating_add(b));
    }
    sums
}

#[cfg(test)]
mod tests {
    use cordwood_core::retention::{Catalogue, Hold, Policy};
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn a_hold_has_series_while_it_lasts_and_there_are_never_more_than_so_many() {
        let registry = Registry::new();
        let metrics = HoldMetrics::new(&registry).unwrap();
        let series = || {
            let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            text.lines().filter(|line| line.starts_with("cordwood_operator_hold_partitions{")).count()
        };
        let hold = |number: usize| Hold {
            policy: format!("case-{number}"),
            policy_uid: String::new(),
            tenants: vec!["shop".to_owned()],
            namespaces: Vec::new(),
        };
        let held = Policy { name: "own".to_owned(), legal_hold: true, ..Policy::builtin() };
        let tried = Policy { name: "tried".to_owned(), dry_run: true, ..held.clone() };
        let mut report = Report {
            policies: vec![held, tried],
            catalogue: Catalogue { holds: (0..3).map(hold).collect(), ..Catalogue::default() },
            ..Report::default()
        };
        metrics.show(&report, 0);
        assert_eq!(series(), 4);
        report.catalogue.holds = (0..500).map(hold).collect();
        metrics.show(&report, 0);
        assert_eq!(series(), HOLDS_MAX + 1);
        report.catalogue.holds.clear();
        metrics.show(&report, 0);
        assert_eq!(series(), 1);
    }
}
