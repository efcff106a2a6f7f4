//! Whose lines these are: what a source's path says, and what the cluster or the configuration adds to it.
//! Promises: the tenant comes from the namespace or from the configuration, never from the pod; as long as the
//! namespace is not known the source waits, so a tenant is never wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use cordwood_core::checkpoint::RunCheckpoint;
use cordwood_core::identity::{Io, NodeIdentity, StreamKey};
use cordwood_core::origin::{Origin, UNASSIGNED};
use cordwood_core::pipeline::Format;
use jiff::tz::TimeZone;

use crate::cluster::Cluster;
use crate::config::{Config, FileInput, Tenants};

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Container {
        namespace: String,
        pod: String,
        uid: String,
        container: String,
        restart: u32,
    },
    /// A path outside of the pods' folder; `input` is its place in the configuration.
    File {
        path: String,
        input: usize,
    },
}

impl Source {
    /// `node`: whose plain files these are; absent in the keys of before.
    pub fn stream_key(&self, node: Option<&NodeIdentity>, io: Io) -> StreamKey {
        match self {
            Source::Container { uid, container, restart, .. } => {
                StreamKey::of_container(uid, container, *restart, io)
            }
            Source::File { path, .. } => StreamKey::of_file(node, path, io),
        }
    }

    /// The run's key in the checkpoint.
    pub fn key(&self) -> String {
        match self {
            Source::Container { uid, container, restart, .. } => format!("{uid}/{container}/{restart}"),
            Source::File { path, .. } => format!("file:{path}"),
        }
    }

    /// Namespace and name of a container's pod.
    pub fn pod(&self) -> (&str, &str) {
        match self {
            Source::Container { namespace, pod, .. } => (namespace, pod),
            Source::File { .. } => ("", ""),
        }
    }

    /// The source of a run that is only in the checkpoint any more. (Version 1 knew the pod's name only together with whose
    /// it was.)
    pub fn of_checkpoint(run: &RunCheckpoint) -> Option<Source> {
        let key = &run.key;
        if let Some(path) = key.strip_prefix("file:") {
            return Some(Source::File { path: path.to_owned(), input: usize::MAX });
        }
        let mut parts = key.rsplitn(3, '/');
        let (restart, container, uid) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        let (namespace, pod) = match &run.origin {
            _ if !run.namespace.is_empty() => (&run.namespace, &run.pod),
            Some(origin) => (&origin.namespace, &origin.pod),
            None => return None,
        };
        Some(Source::Container {
            namespace: namespace.clone(),
            pod: pod.clone(),
            uid: uid.to_owned(),
            container: container.to_owned(),
            restart,
        })
    }

    /// The name of the file that is written to now.
    pub fn live_name(&self) -> String {
        match self {
            Source::Container { restart, .. } => format!("{restart}.log"),
            Source::File { path, .. } => path.rsplit('/').next().unwrap_or(path).to_owned(),
        }
    }

    pub fn restart(&self) -> u32 {
        match self {
            Source::Container { restart, .. } => *restart,
            Source::File { .. } => 0,
        }
    }

    pub fn is_plain(&self) -> bool {
        matches!(self, Source::File { .. })
    }

    pub fn format(&self, head: &[u8]) -> Format {
        match self {
            Source::Container { .. } => Format::of_container_file(head.first().copied().unwrap_or(b' ')),
            Source::File { .. } => Format::Plain,
        }
    }
}

/// `<namespace>_<pod>_<uid>`, the kubelet's name for a pod's folder (kubernetes `pkg/kubelet/kuberuntime/helpers.go`,
/// `BuildPodLogsDirectory`); none of the three contains an underscore.
pub fn parse_pod_folder(name: &str) -> Option<(&str, &str, &str)> {
    let mut parts = name.split('_');
    let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
    (parts.next().is_none() && !namespace.is_empty() && !pod.is_empty() && !uid.is_empty())
        .then_some((namespace, pod, uid))
}

/// What [`parse_pod_folder`] takes apart.
pub fn pod_folder(namespace: &str, pod: &str, uid: &str) -> String {
    format!("{namespace}_{pod}_{uid}")
}

/// Everything that is the same for all lines of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub origin: Origin,
    /// The pod's labels, which level rules select by; `None`: not known (it is gone, or not told of yet).
    pub labels: Option<BTreeMap<String, String>>,
    /// Of times in plain files that name no zone; UTC when absent.
    pub zone: Option<TimeZone>,
}

/// What is known beside the cluster.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    pub waited_ms: i64,
    pub remembered: Option<&'a Origin>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    Ready(Arc<Context>),
    /// Ask again when the generation has changed or some time has passed; the words are for people.
    Waiting(&'static str),
}

/// Who is asked.
#[derive(Clone)]
pub enum ContextSource {
    /// Only paths and configuration.
    Static(Arc<Static>),
    Kubernetes(Arc<Cluster>),
}

impl ContextSource {
    pub fn lookup(&self, source: &Source, asked: &Asked<'_>) -> Lookup {
        match (self, source) {
            // A path that no setting names any more keeps what the checkpoint remembers.
            (_, Source::File { input: usize::MAX, .. }) if asked.remembered.is_some() => {
                let origin = asked.remembered.cloned().unwrap_or_default();
                Lookup::Ready(Arc::new(Context { origin, labels: Some(BTreeMap::new()), zone: None }))
            }
            (ContextSource::Static(known), source) => Lookup::Ready(Arc::new(known.context(source))),
            (ContextSource::Kubernetes(cluster), Source::Container { .. }) => cluster.lookup(source, asked),
            (ContextSource::Kubernetes(cluster), source) => {
                Lookup::Ready(Arc::new(cluster.known.context(source)))
            }
        }
    }

    /// Rises when an answer may have changed.
    pub fn generation(&self) -> u64 {
        match self {
            ContextSource::Static(_) => 0,
            ContextSource::Kubernetes(cluster) => cluster.generation(),
        }
    }
}

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Static {
    node: String,
    environment: String,
    region: String,
    time_zone: String,
    files: Vec<FileInput>,
    tenants: Vec<(globset::GlobMatcher, String, String)>,
    from_namespace_name: bool,
}

impl Static {
    /// `config` has been resolved, so that its patterns are valid.
    pub fn new(config: &Config) -> Static {
        let Tenants { namespaces, from_namespace_name } = &config.tenants;
        let tenants = namespaces.iter().filter_map(|rule| {
            let glob = globset::Glob::new(&rule.namespace).ok()?.compile_matcher();
            let id = rule.tenant_id.clone().unwrap_or_else(|| rule.tenant.clone());
            Some((glob, rule.tenant.clone(), id))
        });
        Static {
            node: config.node.clone(),
            environment: config.environment.clone(),
            region: config.region.clone(),
            time_zone: config.time_zone.clone(),
            files: config.files.clone(),
            tenants: tenants.collect(),
            from_namespace_name: *from_namespace_name,
        }
    }

    /// (slug, id) of a namespace that does not say it itself.
    pub fn tenant_of(&self, namespace: &str) -> (String, String) {
        if let Some((_, slug, id)) = self.tenants.iter().find(|(glob, ..)| glob.is_match(namespace)) {
            return (slug.clone(), id.clone());
        }
        if self.from_namespace_name && !namespace.is_empty() {
            return (namespace.to_owned(), namespace.to_owned());
        }
        (UNASSIGNED.to_owned(), UNASSIGNED.to_owned())
    }

    /// The zone of a plain file's times; a container's lines name theirs.
    fn zone_of(&self, source: &Source) -> Option<TimeZone> {
        let Source::File { input, .. } = source else { return None };
        let input = self.files.get(*input).map(|input| input.time_zone.as_str());
        let name = input.filter(|name| !name.is_empty()).unwrap_or(&self.time_zone);
        crate::config::time_zone(name).ok().filter(|zone| *zone != TimeZone::UTC)
    }

    /// What is known without asking anybody.
    pub fn context(&self, source: &Source) -> Context {
        let mut origin = Origin {
            node: self.node.clone(),
            environment: self.environment.clone(),
            region: self.region.clone(),
            ..Origin::default()
        };
        match source {
            Source::Container { namespace, pod, uid, container, .. } => {
                (origin.tenant, origin.tenant_id) = self.tenant_of(namespace);
                origin.namespace.clone_from(namespace);
                origin.pod.clone_from(pod);
                origin.pod_uid.clone_from(uid);
                origin.container.clone_from(container);
                origin.service.clone_from(container);
            }
            Source::File { path, input } => {
                origin.path.clone_from(path);
                let stem = path.rsplit('/').next().unwrap_or(path);
                let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
                if let Some(input) = self.files.get(*input) {
                    // Not a guess from the file's name: it would hide the service that a line itself names.
                    origin.service.clone_from(&input.service);
                    if !input.tenant.is_empty() {
                        origin.tenant.clone_from(&input.tenant);
                        origin.tenant_id.clone_from(&input.tenant);
                    }
                    if input.plugin {
                        stem.clone_into(&mut origin.plugin);
                    }
                }
            }
        }
        Context { origin, labels: Some(BTreeMap::new()), zone: self.zone_of(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_folders() {
        let cases = [
            ("shop_checkout-1_0b8e", Some(("shop", "checkout-1", "0b8e"))),
            ("shop_checkout", None),
            ("a_b_c_d", None),
            ("_b_c", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(parse_pod_folder(name), expected, "{name}");
        }
    }

    #[test]
    fn a_key_gives_its_source_back() {
        let origin = Origin { namespace: "shop".into(), pod: "p".into(), ..Origin::default() };
        let source = Source::Container {
            namespace: "shop".into(),
            pod: "p".into(),
            uid: "u".into(),
            container: "c".into(),
            restart: 3,
        };
        let of = |key: &str, origin: Option<&Origin>, namespace: &str, pod: &str| {
            let (namespace, pod, origin) = (namespace.to_owned(), pod.to_owned(), origin.cloned());
            let (files, generations) = (Vec::new(), Vec::new());
            let key = key.to_owned();
            Source::of_checkpoint(&RunCheckpoint {
                key,
                origin,
                namespace,
                pod,
                files,
                generations,
                since_ns: None,
            })
        };
        assert_eq!(of(&source.key(), Some(&origin), "", ""), Some(source.clone()), "version 1");
        assert_eq!(of(&source.key(), None, "shop", "p"), Some(source.clone()), "nobody said whose it is");
        assert_eq!(of(&source.key(), None, "", ""), None);
        assert_eq!(of("nonsense", Some(&origin), "", ""), None);
    }

    #[test]
    fn tenants_by_configuration() {
        let config: Config = cordwood_service::parse_config(
            std::path::Path::new("x"),
            "tenants: {namespaces: [{namespace: 'shop-*', tenant: shop, tenant_id: '7'}]}",
        )
        .unwrap();
        let known = Static::new(&config);
        assert_eq!(known.tenant_of("shop-eu"), ("shop".into(), "7".into()));
        assert_eq!(known.tenant_of("other"), ("unassigned".into(), "unassigned".into()));
    }
}
