//! Retention and levels while standalone runs: the folder re-read when it changes, passes made on time, troubles told once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cordwood_core::levels::LevelRules;
use cordwood_core::retention::{Step, Tuning, Waits};
use cordwood_operator::retention::{Report, Standalone};
use cordwood_store::Store;

use crate::logging;
use crate::resources::{self, Fingerprint, Loaded};

/// Between announcing a shorter retention and its taking effect.
const NOTICE_US: i64 = 5_000_000;

pub struct Policies {
    retention: Standalone,
    dir: Option<PathBuf>,
    loaded: Loaded,
    seen: Fingerprint,
    generation: u64,
    /// The last trouble, so that it is told once.
    trouble: Option<String>,
    /// What was last told to wait for approval.
    waits: Vec<String>,
    first: bool,
    /// Short retentions need passes that keep up.
    shortest_us: Option<i64>,
}

impl Policies {
    pub fn new(store: &Store, dir: Option<PathBuf>, loaded: Loaded) -> Policies {
        let seen = dir.as_ref().and_then(|dir| resources::fingerprint(dir).ok()).unwrap_or_default();
        // A person who shortens a retention here looks at the result here: no long notice.
        let retention = Standalone::new(store, Tuning { notice_us: NOTICE_US });
        let mut policies = Policies {
            retention,
            dir,
            loaded,
            seen,
            generation: 1,
            trouble: None,
            waits: Vec::new(),
            first: true,
            shortest_us: None,
        };
        policies.shortest_us = policies.shortest();
        policies
    }

    fn shortest(&self) -> Option<i64> {
        self.loaded
            .policies
            .iter()
            .flat_map(|policy| {
                let retention = policy.retention_us;
                [
                    retention.debug,
                    retention.info,
                    retention.warn,
                    retention.error,
                    policy.grace_us.max(1_000_000),
                ]
            })
            .min()
    }

    /// Looks at the folder. True when something else is in force than before.
    pub fn reload(&mut self, now_us: i64) -> bool {
        let Some(dir) = &self.dir else { return false };
        let seen = match resources::fingerprint(dir) {
            Ok(seen) if seen == self.seen => return false,
            Ok(seen) => seen,
            Err(error) => {
                let trouble =
                    format!("--resources {}: {error}; what was read before stays in force", dir.display());
                self.tell(trouble);
                return false;
            }
        };
        self.seen = seen;
        match resources::load(dir, now_us) {
            Ok(loaded) => {
                self.trouble = None;
                if loaded == self.loaded {
                    return false;
                }
                logging::say(&format!(
                    "resources read: {} retention policies, {} level configs",
                    loaded.policies.len(),
                    loaded.rules.len()
                ));
                self.loaded = loaded;
                self.generation += 1;
                self.shortest_us = self.shortest();
                true
            }
            Err(problems) => {
                self.tell(format!("{}; what was read before stays in force", problems.join("; ")));
                false
            }
        }
    }

    pub fn rules(&self) -> Arc<LevelRules> {
        Arc::new(LevelRules { generation: self.generation, rules: self.loaded.rules.clone() })
    }

    /// The time between two passes: `wanted`, or shorter when the retentions are.
    pub fn interval(&self, wanted: Duration) -> Duration {
        let tenth = self.shortest_us.map(|us| Duration::from_micros(us.max(0).unsigned_abs() / 10));
        tenth.map_or(wanted, |tenth| wanted.min(tenth.max(Duration::from_secs(1))))
    }

    /// One pass of what the operator does in a cluster. A trouble is told once and tried again at the next one.
    pub async fn pass(&mut self) {
        match self.retention.pass(&self.loaded.policies).await {
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
                    self.trouble = None;
                } else {
                    self.tell(format!("retention: {}; it is tried again", troubles.join("; ")));
                }
                self.say_done(&report);
            }
            Err(error) => self.tell(format!("retention: {error:#}; it is tried again")),
        }
    }

    /// What a person wants to know of: that room was made, and each thing that went or came back.
    fn say_done(&mut self, report: &Report) {
        let made = report.done.iter().filter(|planned| matches!(planned.step, Step::CreateLeaf(_))).count();
        if made > 0 && std::mem::take(&mut self.first) {
            logging::say(&format!("retention: {made} table partitions made"));
        }
        for planned in &report.done {
            if matches!(planned.step, Step::Detach(_) | Step::Drop(_) | Step::Reattach(_)) {
                logging::say(&format!("retention: {}: {} ({})", planned.policy, planned.step, planned.why));
            }
        }
        let waits: Vec<String> = report
            .plan
            .held
            .iter()
            .filter(|held| matches!(held.waits, Waits::Approval { .. }))
            .map(ToString::to_string)
            .collect();
        if waits != self.waits {
            waits.iter().for_each(|held| logging::say(&format!("retention: held: {held}")));
            self.waits = waits;
        }
    }

    fn tell(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            logging::say(&trouble);
            self.trouble = Some(trouble);
        }
    }
}
