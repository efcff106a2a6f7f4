//! Takes policies and level rules from a folder of YAML files, for standalone. A folder with a mistake in it changes nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cordwood_core::levels::{LevelRule, LevelRules};
use cordwood_core::levels_compile::{Candidate, compile};
use cordwood_core::retention::Policy;

use crate::folder::Resources;
use crate::levels::DURATION_MS_MAX;

/// What a folder says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    pub policies: Vec<Policy>,
    pub rules: Vec<LevelRule>,
}

/// A file of it.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    /// Or why it cannot be read.
    pub text: Result<String, String>,
    /// A level config's duration counts from then.
    pub changed_ms: i64,
}

/// Whether a file of this name holds resources.
pub fn is_resource(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The files of a folder (not below it), by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn sources(dir: &Path) -> std::io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if !is_resource(&path) {
            continue;
        }
        // A file that goes while we look is seen gone next time.
        let Ok(metadata) = path.metadata() else { continue };
        let changed_ms = metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000;
        let text = std::fs::read_to_string(&path).map_err(|error| format!("read: {error}"));
        sources.push(Source { path, text, changed_ms });
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// # Errors
/// Everything that is wrong, a line each: `<file>: <document>: <what to do>`.
pub fn in_force(sources: &[Source], now_ms: i64) -> Result<Loaded, Vec<String>> {
    let mut resources = Resources::default();
    let mut started_ms = Vec::new();
    for source in sources {
        match &source.text {
            Ok(text) => resources.add(&source.path, text),
            Err(error) => resources.problems.push((source.path.clone(), error.clone())),
        }
        // A clock that was set back must not make a rule last longer.
        started_ms.resize(resources.level_configs.len(), source.changed_ms.min(now_ms));
    }
    let mut problems: Vec<String> =
        resources.problems.iter().map(|(path, message)| format!("{}: {message}", path.display())).collect();
    let mut loaded = Loaded::default();
    for policy in &resources.policies {
        match policy.to_policy() {
            Ok(policy) => loaded.policies.push(policy),
            Err(found) => problems.push(crate::describe(&found)),
        }
    }
    for (config, started_ms) in resources.level_configs.iter().zip(started_ms) {
        match config.to_rule(config.started_at_ms(started_ms), DURATION_MS_MAX) {
            // Without a namespace it is for everything that is read here.
            Ok(rule) if config.metadata.namespace.as_deref().unwrap_or_default().is_empty() => {
                loaded.rules.push(LevelRule { namespace: None, ..rule });
            }
            Ok(rule) => loaded.rules.push(rule),
            Err(found) => problems.push(crate::describe(&found)),
        }
    }
    let candidates =
        loaded.rules.iter().map(|rule| Candidate { rule: rule.clone(), since_ms: rule.created_at_ms });
    let left_out = compile(candidates, &LevelRules::default(), now_ms).left_out;
    problems.extend(left_out.iter().map(|(id, why)| format!("level config {id}: {why}")));
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}
