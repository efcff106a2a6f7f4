//! Exports what each retention class keeps, as metrics. The labels are bounded: the classes of the first policies have series of their own, and
//! all others share the series of the policy `(others)`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use cordwood_core::retention::{Catalogue, Proof, proofs};
use prometheus::{IntGaugeVec, Opts, Registry};

/// Policies that have series of their own: those whose classes were made first, so that a new policy moves no other's series.
const POLICIES_MAX: usize = 100;
const OTHERS: &str = "(others)";

/// Policy and level.
type Labels = (String, &'static str);

#[derive(Clone, Debug)]
pub struct ClassMetrics {
    records: IntGaugeVec,
    bytes: IntGaugeVec,
    oldest: IntGaugeVec,
    newest: IntGaugeVec,
    oldest_due: IntGaugeVec,
    overdue: IntGaugeVec,
    shown: Arc<Mutex<BTreeSet<Labels>>>,
}

impl ClassMetrics {
    /// # Errors
    /// When `registry` already has metrics of these names.
    pub fn new(registry: &Registry) -> prometheus::Result<ClassMetrics> {
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["policy", "level"])?;
            registry.register(Box::new(gauges.clone()))?;
            prometheus::Result::Ok(gauges)
        };
        Ok(ClassMetrics {
            records: gauges(
                "cordwood_operator_class_records",
                "Sealed records in attached table partitions; no value until all of them are counted.",
            )?,
            bytes: gauges(
                "cordwood_operator_class_bytes",
                "Bytes of all table partitions of the class, indexes included.",
            )?,
            oldest: gauges(
                "cordwood_operator_class_oldest_timestamp_seconds",
                "Time of the oldest sealed record.",
            )?,
            newest: gauges(
                "cordwood_operator_class_newest_timestamp_seconds",
                "Time of the newest sealed record.",
            )?,
            oldest_due: gauges(
                "cordwood_operator_class_oldest_due_timestamp_seconds",
                "Start of the time of which all stored records must still be there.",
            )?,
            overdue: gauges(
                "cordwood_operator_class_overdue_partitions",
                "Table partitions whose records have all expired and that are not detached yet.",
            )?,
            shown: Arc::default(),
        })
    }

    pub fn show(&self, catalogue: &Catalogue, now_us: i64) {
        let sums = sums(catalogue, now_us);
        for ((policy, level), proof) in &sums {
            let labels = [policy.as_str(), *level];
            let seconds = |time_us: i64| time_us.div_euclid(1_000_000);
            self.bytes.with_label_values(&labels).set(proof.bytes);
            self.oldest_due.with_label_values(&labels).set(seconds(proof.oldest_due_us));
            self.overdue.with_label_values(&labels).set(i64::try_from(proof.overdue).unwrap_or(i64::MAX));
            // What is not known has no series, rather than one that says 0.
            for (gauge, known) in [
                (&self.records, proof.records),
                (&self.oldest, proof.oldest_us.map(seconds)),
                (&self.newest, proof.newest_us.map(seconds)),
            ] {
                match known {
                    Some(value) => gauge.with_label_values(&labels).set(value),
                    None => drop(gauge.remove_label_values(&labels)),
                }
            }
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for (policy, level) in shown.iter().filter(|labels| !sums.contains_key(labels)) {
            let all =
                [&self.records, &self.bytes, &self.oldest, &self.newest, &self.oldest_due, &self.overdue];
            all.iter().for_each(|gauge| drop(gauge.remove_label_values(&[policy.as_str(), *level])));
        }
        *shown = sums.into_keys().collect();
    }
}

fn sums(catalogue: &Catalogue, now_us: i64) -> BTreeMap<Labels, Proof> {
    let mut first: BTreeMap<&str, i32> = BTreeMap::new();
    for class in &catalogue.classes {
        let known = first.entry(class.policy.as_str()).or_insert(class.id.0);
        *known = class.id.0.min(*known);
    }
    let mut by_age: Vec<(i32, &str)> = first.into_iter().map(|(policy, id)| (id, policy)).collect();
    by_age.sort_unstable();
    let own: BTreeSet<&str> = by_age.into_iter().take(POLICIES_MAX).map(|(_, policy)| policy).collect();
    let mut sums: BTreeMap<Labels, Proof> = BTreeMap::new();
    for proof in proofs(catalogue, now_us) {
        let Some(class) = catalogue.class_by_id(proof.class) else { continue };
        let policy = if own.contains(class.policy.as_str()) { class.policy.as_str() } else { OTHERS };
        let labels = (policy.to_owned(), class.level.as_str());
        sums.entry(labels).and_modify(|sum| *sum = together(sum, &proof)).or_insert(proof);
    }
    sums
}

fn together(a: &Proof, b: &Proof) -> Proof {
    Proof {
        class: a.class,
        records: a.records.zip(b.records).map(|(a, b)| a.saturating_add(b)),
        bytes: a.bytes.saturating_add(b.bytes),
        oldest_us: [a.oldest_us, b.oldest_us].into_iter().flatten().min(),
        newest_us: a.newest_us.max(b.newest_us),
        oldest_due_us: a.oldest_due_us.min(b.oldest_due_us),
        overdue: a.overdue + b.overdue,
    }
}

#[cfg(test)]
mod tests {
    use cordwood_core::retention::{Class, ClassId, Leaf, LeafState, PolicyLevel};

    use super::*;

    const HOUR_US: i64 = 3_600_000_000;
    const NOW_US: i64 = 1_795_003_200_000_000;

    fn catalogue(policies: i32) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for id in 1..=policies {
            catalogue.classes.push(Class {
                id: ClassId(id),
                // The names do not say which came first.
                policy: format!("p{}", 1000 - id),
                policy_uid: String::new(),
                level: PolicyLevel::Info,
                retention_us: 8 * HOUR_US,
                grace_us: 0,
                legal_hold: false,
                wanted: None,
                approved: None,
                has_table: true,
            });
            catalogue.leaves.push(Leaf {
                table: String::new(),
                class: ClassId(id),
                from_us: NOW_US - HOUR_US,
                to_us: NOW_US,
                bytes: 100,
                empty: false,
                blocks: 1,
                oldest_us: Some(NOW_US - HOUR_US),
                newest_us: Some(NOW_US - 1),
                records: Some(10),
                state: LeafState::Attached,
            });
        }
        catalogue
    }

    fn value(registry: &Registry, name: &str, policy: &str) -> Option<i64> {
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let series = format!("cordwood_operator_class_{name}{{level=\"info\",policy=\"{policy}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    }

    #[test]
    fn each_of_the_first_policies_has_its_own_series_and_the_rest_share_one() {
        let registry = Registry::new();
        let metrics = ClassMetrics::new(&registry).unwrap();
        metrics.show(&catalogue(103), NOW_US);
        assert_eq!(value(&registry, "records", "p999"), Some(10));
        assert_eq!(value(&registry, "records", "p900"), Some(10));
        assert_eq!(value(&registry, "records", "p899"), None);
        assert_eq!(value(&registry, "records", OTHERS), Some(30));
        assert_eq!(value(&registry, "bytes", OTHERS), Some(300));
        let due = value(&registry, "oldest_due_timestamp_seconds", "p999");
        assert_eq!(due, Some((NOW_US - 8 * HOUR_US) / 1_000_000));
        // A policy that is gone has no series; what is no longer counted has none either.
        let mut fewer = catalogue(1);
        fewer.leaves[0].records = None;
        metrics.show(&fewer, NOW_US);
        assert_eq!(value(&registry, "bytes", OTHERS), None);
        assert_eq!(value(&registry, "bytes", "p999"), Some(100));
        assert_eq!(value(&registry, "records", "p999"), None);
    }
}
