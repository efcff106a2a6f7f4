//! Follows the folder of resources while standalone runs: reads it again when it changes, and reports a problem once.

use std::path::PathBuf;
use std::sync::Arc;

use cordwood_core::levels::LevelRules;
use cordwood_core::retention::Policy;
use cordwood_service::Failure;

use super::report_once::ReportOnce;
use crate::logging;
use crate::resources::{self, Fingerprint, Loaded};

pub struct Policies {
    dir: Option<PathBuf>,
    loaded: Loaded,
    seen: Fingerprint,
    generation: u64,
    reports: ReportOnce,
}

impl Policies {
    /// Reads the folder. What changes from now on is found by [`Policies::reload`], however long the start takes.
    ///
    /// # Errors
    /// The first mistake in it, and how many more there are.
    pub fn read(dir: Option<PathBuf>, now_us: i64) -> Result<Policies, Failure> {
        let seen = dir.as_ref().and_then(|dir| resources::fingerprint(dir).ok()).unwrap_or_default();
        let loaded = dir.as_ref().map(|dir| resources::strict(dir, now_us)).transpose()?.unwrap_or_default();
        Ok(Policies { dir, loaded, seen, generation: 1, reports: ReportOnce::default() })
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
                self.reports.report(trouble);
                return false;
            }
        };
        self.seen = seen;
        match resources::load(dir, now_us) {
            Ok(loaded) => {
                self.reports.clear();
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
                true
            }
            Err(problems) => {
                self.reports.report(format!("{}; what was read before stays in force", problems.join("; ")));
                false
            }
        }
    }

    pub fn rules(&self) -> Arc<LevelRules> {
        Arc::new(LevelRules::of(self.generation, self.loaded.rules.iter().cloned()))
    }

    pub fn policies(&self) -> Vec<Policy> {
        self.loaded.policies.clone()
    }
}
