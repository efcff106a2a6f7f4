//! Limits how many components of a service the rollup counts apart (and, of errors, how many services of a container). An application that
//! writes a new one with every record must not add a row per record, however its lines are cut into batches.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Of one service within a minute; what is above counts under none.
pub const SOURCES_MAX: usize = 64;

#[derive(Debug, Default)]
pub struct Sources {
    /// Of storing.
    minute: i64,
    seen: HashMap<(Arc<str>, Arc<str>), HashSet<String>>,
}

impl Sources {
    pub fn counts_apart(&mut self, minute: i64, tenant: &Arc<str>, service: &Arc<str>, source: &str) -> bool {
        if source.is_empty() {
            return true;
        }
        if self.minute != minute {
            self.minute = minute;
            self.seen.clear();
        }
        let seen = self.seen.entry((tenant.clone(), service.clone())).or_default();
        if seen.contains(source) {
            return true;
        }
        seen.len() < SOURCES_MAX && seen.insert(source.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_source_in_every_batch_counts_under_none() {
        let mut sources = Sources::default();
        let (tenant, service, other): (Arc<str>, Arc<str>, Arc<str>) = ("t".into(), "s".into(), "o".into());
        assert!(sources.counts_apart(7, &tenant, &service, "steady"));
        let apart = (0..1000)
            .filter(|batch| sources.counts_apart(7, &tenant, &service, &format!("request-{batch}")))
            .count();
        assert_eq!(apart, SOURCES_MAX - 1);
        assert!(sources.counts_apart(7, &tenant, &service, "steady"));
        assert!(sources.counts_apart(7, &tenant, &other, "request-999"), "another service has its own");
        assert!(sources.counts_apart(8, &tenant, &service, "request-999"), "and another minute");
    }
}
