//! Reads policies and level configs: from a folder of the cluster's own YAML, or from the cluster.
//! Promise: a folder with a mistake in it changes nothing. What was read last without a mistake stays in force.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use cordwood_core::retention::Policy;
use cordwood_crds::LogRetentionPolicy;
pub use cordwood_crds::in_force::Loaded;
use cordwood_crds::in_force::{in_force, is_resource, sources};
use cordwood_operator::retention::by_name;
use cordwood_service::Failure;
use kube::api::{ApiResource, DynamicObject};

/// Which files there are and when they changed: the same fingerprint, the same content.
pub type Fingerprint = BTreeMap<PathBuf, (u64, u64, i64, i64)>;

/// # Errors
/// When the folder cannot be read.
pub fn fingerprint(dir: &Path) -> std::io::Result<Fingerprint> {
    let mut found = Fingerprint::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if is_resource(&path) {
            // A file that goes while we look is seen gone next time.
            if let Ok(metadata) = path.metadata() {
                let seen = (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
                found.insert(path, seen);
            }
        }
    }
    Ok(found)
}

/// Reads the folder. A level config's duration counts from the moment its file was changed.
///
/// # Errors
/// Everything that is wrong, a line each: `<file>: <document>: <what to do>`.
pub fn load(dir: &Path, now_us: i64) -> Result<Loaded, Vec<String>> {
    let sources = sources(dir).map_err(|error| vec![format!("read {}: {error}", dir.display())])?;
    in_force(&sources, now_us / 1000)
}

/// For a command that plans once: any mistake ends it.
///
/// # Errors
/// The first mistake, and how many more there are.
pub fn strict(dir: &Path, now_us: i64) -> Result<Loaded, Failure> {
    load(dir, now_us).map_err(|problems| {
        let more = match problems.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        Failure::Config(anyhow!("{}{more}", problems.first().map_or("--resources", String::as_str)))
    })
}

/// The cluster's policies, by the kubeconfig or the service account, and what is wrong with those that cannot be followed:
/// like the operator's they then count as the database remembers them.
///
/// # Errors
/// No kubeconfig is a wrong configuration; a cluster that does not answer or refuses is not.
pub async fn of_cluster() -> Result<(Vec<Policy>, Vec<String>), Failure> {
    const HINT: &str = "read the cluster's LogRetentionPolicies (give --resources DIR to plan without one)";
    let client = kube::Client::try_default().await.context("no kubeconfig that works").context(HINT);
    let kind = ApiResource::erase::<LogRetentionPolicy>(&());
    let api: kube::Api<DynamicObject> = kube::Api::all_with(client.map_err(Failure::Config)?, &kind);
    let list = api.list(&kube::api::ListParams::default()).await.context("list logretentionpolicies");
    let list = list.context(HINT).map_err(Failure::Run)?;
    let mut problems = Vec::new();
    let policies = list.items.into_iter().map(|object| {
        let read = cordwood_crds::read::<LogRetentionPolicy>(object);
        read.follow(LogRetentionPolicy::to_policy).unwrap_or_else(|found| {
            let resource = &read.object;
            let name = resource.metadata.name.clone().unwrap_or_default();
            problems.push(format!("LogRetentionPolicy {name}: {}", cordwood_crds::describe(&found)));
            by_name(&name, resource.metadata.uid.as_deref().unwrap_or_default())
        })
    });
    Ok((policies.collect(), problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "apiVersion: cordwood.dev/v1alpha1\nkind: LogRetentionPolicy\nmetadata: {name: short}\n\
                          spec: {retention: {info: 5m}}\n";
    const LEVELS: &str = "apiVersion: cordwood.dev/v1alpha1\nkind: LogLevelConfig\nmetadata: {name: quiet}\n\
                          spec: {level: ERROR, duration: 30m}\n";

    #[test]
    fn a_folder_is_taken_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let now_us = jiff::Timestamp::now().as_microsecond();
        std::fs::write(dir.path().join("a.yaml"), POLICY).unwrap();
        std::fs::write(dir.path().join("b.yml"), LEVELS).unwrap();
        std::fs::write(dir.path().join("notes.txt"), "not read").unwrap();
        let loaded = load(dir.path(), now_us).unwrap();
        assert_eq!(loaded.policies[0].name, "short");
        let expires_ms = loaded.rules[0].expires_at_ms.unwrap();
        assert!((expires_ms - now_us / 1000 - 1_800_000).abs() < 60_000, "{expires_ms}");
        assert_eq!(loaded.rules[0].namespace, None);

        let before = fingerprint(dir.path()).unwrap();
        std::fs::write(dir.path().join("c.yaml"), POLICY.replace("5m", "-5m").replace("short", "other"))
            .unwrap();
        assert_ne!(fingerprint(dir.path()).unwrap(), before);
        let problems = load(dir.path(), now_us).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("c.yaml") && problems[0].contains("retention.info"), "{problems:?}");
    }

    #[test]
    fn cluster_wide_configs_and_one_default_a_scope() {
        const DEFAULT: &str = "apiVersion: cordwood.dev/v1alpha1\nkind: ClusterLogLevelConfig\nmetadata: {name: NAME}\n\
                               spec: {level: INFO, default: true, scope: SCOPE}\n";
        let default = |name: &str, scope: &str| DEFAULT.replace("NAME", name).replace("SCOPE", scope);
        let dir = tempfile::tempdir().unwrap();
        let now_us = jiff::Timestamp::now().as_microsecond();
        std::fs::write(dir.path().join("a.yaml"), default("app", "application")).unwrap();
        std::fs::write(dir.path().join("b.yaml"), default("task", "task")).unwrap();
        let rules = load(dir.path(), now_us).unwrap().rules;
        let seen: Vec<_> =
            rules.iter().map(|rule| (rule.id.as_str(), rule.default, rule.expires_at_ms)).collect();
        assert_eq!(seen, [("app", true, None), ("task", true, None)]);
        std::fs::write(dir.path().join("c.yaml"), default("other", "task")).unwrap();
        let problems = load(dir.path(), now_us).unwrap_err();
        assert!(problems[0].contains("one per scope"), "{problems:?}");
    }
}
