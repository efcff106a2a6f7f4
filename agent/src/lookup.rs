//! Where the agent looks up the tenant of a source: in its configuration alone, or in the cluster too.
//! Promise: as long as the namespace is not known the source waits, so a tenant is never wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::context::{Asked, Context, Lookup, Static};
use crate::source::Source;

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
                Lookup::Ready(Arc::new(Context {
                    origin,
                    labels: Some(BTreeMap::new()),
                    ..Context::default()
                }))
            }
            (ContextSource::Static(known), source) => Lookup::Ready(Arc::new(known.context(source))),
            (ContextSource::Kubernetes(cluster), Source::Container { .. }) => cluster.lookup(source, asked),
            (ContextSource::Kubernetes(cluster), source) => {
                Lookup::Ready(Arc::new(cluster.known.context(source)))
            }
        }
    }

    /// How many namespaces name a tenant that is not theirs to name.
    pub fn namespaces_refused(&self) -> usize {
        match self {
            ContextSource::Static(_) => 0,
            ContextSource::Kubernetes(cluster) => cluster.namespaces_refused(),
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
