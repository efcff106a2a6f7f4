//! Exports how many objects of each kind have which condition, as one metric, so that an alert needs no series per object. The labels are bounded:
//! above a number of combinations per kind, the rest share the condition `(others)`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus::{IntGaugeVec, Opts, Registry};

/// Combinations of condition, status and reason of one kind. (The operator has fewer; a status can also have what others wrote into it.)
const SERIES_MAX: usize = 100;
const OTHERS: &str = "(others)";

/// Condition, status, reason.
type Labels = [String; 3];

#[derive(Clone, Debug)]
pub struct ConditionMetrics {
    objects: IntGaugeVec,
    shown: Arc<Mutex<BTreeMap<&'static str, BTreeSet<Labels>>>>,
}

impl ConditionMetrics {
    /// # Errors
    /// When `registry` already has a metric of this name.
    pub fn new(registry: &Registry) -> prometheus::Result<ConditionMetrics> {
        let help = "Objects by the conditions of their statuses.";
        let opts = Opts::new("cordwood_operator_conditions", help);
        let objects = IntGaugeVec::new(opts, &["kind", "condition", "status", "reason"])?;
        registry.register(Box::new(objects.clone()))?;
        Ok(ConditionMetrics { objects, shown: Arc::default() })
    }

    /// The conditions of all objects of a kind; none of them: the kind has no series.
    pub fn show<'a>(&self, kind: &'static str, conditions: impl IntoIterator<Item = &'a Condition>) {
        let mut counts: BTreeMap<Labels, i64> = BTreeMap::new();
        for condition in conditions {
            let labels = [&condition.type_, &condition.status, &condition.reason].map(Clone::clone);
            let room = counts.len() < SERIES_MAX || counts.contains_key(&labels);
            let labels = if room { labels } else { [OTHERS; 3].map(str::to_owned) };
            *counts.entry(labels).or_default() += 1;
        }
        let all =
            |labels: &Labels| [kind.to_owned(), labels[0].clone(), labels[1].clone(), labels[2].clone()];
        for (labels, count) in &counts {
            self.objects.with_label_values(&all(labels)).set(*count);
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.insert(kind, counts.keys().cloned().collect()).unwrap_or_default();
        for labels in before.iter().filter(|labels| !counts.contains_key(*labels)) {
            drop(self.objects.remove_label_values(&all(labels)));
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;
    use crate::conditions::Conditions;

    #[test]
    fn objects_are_counted_by_condition_and_the_series_are_bounded() {
        let registry = Registry::new();
        let metrics = ConditionMetrics::new(&registry).unwrap();
        let series = || {
            let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
            lines.collect::<Vec<_>>()
        };
        let conditions = Conditions { before: &[], generation: Some(1), now_us: 0 };
        let ready = conditions.of("Ready", (true, "AllAgents", "all have it".to_owned()));
        let stalled = conditions.of("Ready", (false, "Invalid", "no level".to_owned()));
        metrics.show("LogLevelConfig", [&ready, &ready, &stalled]);
        let name = "cordwood_operator_conditions";
        let of = |status: &str, reason: &str| {
            format!(
                "{name}{{condition=\"Ready\",kind=\"LogLevelConfig\",reason=\"{reason}\",status=\"{status}\"}}"
            )
        };
        assert_eq!(
            series(),
            [format!("{} 2", of("True", "AllAgents")), format!("{} 1", of("False", "Invalid"))]
        );
        // Repaired: what nobody has any more has no series.
        metrics.show("LogLevelConfig", [&ready]);
        assert_eq!(series(), [format!("{} 1", of("True", "AllAgents"))]);
        let odd: Vec<Condition> =
            (0..1_000).map(|number| Condition { type_: format!("Odd{number}"), ..ready.clone() }).collect();
        metrics.show("LogLevelConfig", &odd);
        assert_eq!(series().len(), SERIES_MAX + 1);
        metrics.show("LogLevelConfig", []);
        assert_eq!(series(), Vec::<String>::new());
    }
}
