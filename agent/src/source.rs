//! Where lines come from: a container of a pod, or another program's file.

use cordwood_core::checkpoint::LogCheckpoint;
use cordwood_core::identity::{NodeIdentity, OutputStream, StreamKey};
use cordwood_core::pipeline::Format;

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Container {
        namespace: String,
        pod: String,
        uid: String,
        container: String,
        restart_count: u32,
    },
    /// A path outside of the pods' folder; `input` is its place in the configuration.
    File {
        path: String,
        input: usize,
    },
}

impl Source {
    /// `node`: whose plain files these are; absent in the keys of before.
    pub fn stream_key(&self, node: Option<&NodeIdentity>, io: OutputStream) -> StreamKey {
        match self {
            Source::Container { uid, container, restart_count, .. } => {
                StreamKey::of_container(uid, container, *restart_count, io)
            }
            Source::File { path, .. } => StreamKey::of_file(node, path, io),
        }
    }

    /// The log's key in the checkpoint.
    pub fn key(&self) -> String {
        match self {
            Source::Container { uid, container, restart_count, .. } => {
                format!("{uid}/{container}/{restart_count}")
            }
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

    /// The source of a log that only the checkpoint still knows. (Version 1 knew the pod's name only together with whose
    /// it was.)
    pub fn of_checkpoint(log: &LogCheckpoint) -> Option<Source> {
        let key = &log.key;
        if let Some(path) = key.strip_prefix("file:") {
            return Some(Source::File { path: path.to_owned(), input: usize::MAX });
        }
        let mut parts = key.rsplitn(3, '/');
        let (restart_count, container, uid) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        let (namespace, pod) = match &log.origin {
            _ if !log.namespace.is_empty() => (&log.namespace, &log.pod),
            Some(origin) => (&origin.namespace, &origin.pod),
            None => return None,
        };
        Some(Source::Container {
            namespace: namespace.clone(),
            pod: pod.clone(),
            uid: uid.to_owned(),
            container: container.to_owned(),
            restart_count,
        })
    }

    /// The name of the file that is written to now.
    pub fn live_name(&self) -> String {
        match self {
            Source::Container { restart_count, .. } => format!("{restart_count}.log"),
            Source::File { path, .. } => path.rsplit('/').next().unwrap_or(path).to_owned(),
        }
    }

    pub fn restart_count(&self) -> u32 {
        match self {
            Source::Container { restart_count, .. } => *restart_count,
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

#[cfg(test)]
mod tests {
    use cordwood_core::origin::Origin;

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
            restart_count: 3,
        };
        let of = |key: &str, origin: Option<&Origin>, namespace: &str, pod: &str| {
            let (namespace, pod, origin) = (namespace.to_owned(), pod.to_owned(), origin.cloned());
            let (files, generations) = (Vec::new(), Vec::new());
            let key = key.to_owned();
            Source::of_checkpoint(&LogCheckpoint {
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
}
