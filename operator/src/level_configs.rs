//! Lists the level configs of both kinds as one.

use cordwood_crds::levels::{LevelObject, Reach};
use cordwood_crds::{ClusterLogLevelConfig, LogLevelConfig, Read};
use cordwood_service::kubernetes::Watches;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::watched::Watched;

/// Both watches.
#[derive(Clone, Debug)]
pub struct LevelConfigs {
    own: Watched<LogLevelConfig>,
    cluster: Watched<ClusterLogLevelConfig>,
}

impl LevelConfigs {
    /// Starts watching until `shutdown`.
    pub fn start(client: Client, watches: &Watches, shutdown: CancellationToken) -> LevelConfigs {
        let own = Watched::start(
            client.clone(),
            "level configs",
            "loglevelconfigs.cordwood.dev",
            watches,
            shutdown.clone(),
        );
        let cluster = Watched::start(
            client,
            "cluster level configs",
            "clusterloglevelconfigs.cordwood.dev",
            watches,
            shutdown,
        );
        LevelConfigs { own, cluster }
    }

    /// All objects, those that cannot be read too; `None` before the first lists. Where the cluster-wide kind is not installed
    /// there are none of it.
    pub fn all(&self) -> Option<Vec<Read<LevelObject>>> {
        let own = self.own.all()?;
        let cluster = match self.cluster.all() {
            None if self.cluster.is_not_installed() => Vec::new(),
            cluster => cluster?,
        };
        let own = own.into_iter().map(|read| read.map(LevelObject::from));
        Some(own.chain(cluster.into_iter().map(|read| read.map(LevelObject::from))).collect())
    }

    /// `object` as the API server has it now, unless it is gone or created again.
    pub fn current(&self, object: &LevelObject) -> Option<LevelObject> {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let current: LevelObject = match object.reach {
            Reach::Namespace => self.own.get(namespace, object.name())?.into(),
            Reach::Cluster => self.cluster.get("", object.name())?.into(),
        };
        (current.uid() == object.uid()).then_some(current)
    }

    /// Resolves when anything changed since the last call.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.own.changed() => {}
            () = self.cluster.changed() => {}
        }
    }
}
