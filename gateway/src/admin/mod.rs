//! Administration: the custom resources that say how long records are kept and which levels are in force, read and changed under the
//! caller's rights. In a cluster they are the API server's objects, in standalone the files of a folder.

mod administers;
mod agents;
mod approve;
mod change;
mod cluster;
mod folder;
mod preview;
mod quiet;
mod resource;
mod rights;
pub mod schemas;

use std::path::PathBuf;
use std::sync::Arc;

use cordwood_core::retention::Tuning;
use serde_json::Value;

use crate::access::Access;
use crate::config::AdministrationConfig;
use crate::problem::Problem;

pub use administers::Administers;
pub use agents::AgentsSource;
pub use approve::{Approve, approve};
pub use change::{Options, delete, put};
pub use preview::PreviewAnswer;
pub use quiet::{Quiet, quiet};
pub use resource::{Body, Resource, ResourceList, named, object};
pub use rights::{Administrator, Verb};

/// Of resources of one kind, and of one namespace where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Retention,
    Levels,
    ClusterLevels,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Retention => "LogRetentionPolicy",
            Kind::Levels => "LogLevelConfig",
            Kind::ClusterLevels => "ClusterLogLevelConfig",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Kind::Retention => "logretentionpolicies",
            Kind::Levels => "loglevelconfigs",
            Kind::ClusterLevels => "clusterloglevelconfigs",
        }
    }
}

/// Where a resource is; the namespace is empty for kinds of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

/// What says how a resource of the folder fares: its kind's name, its id (`<namespace>/<name>` or `<name>`).
pub type StatusOf = Arc<dyn Fn(&str, &str) -> Option<Value> + Send + Sync>;

/// What the routes of administration act on.
pub struct Administration {
    resources: Resources,
    /// Until the one who carries out the plans has noted its own.
    tuning: Tuning,
}

impl std::fmt::Debug for Administration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Administration")
    }
}

enum Resources {
    Cluster(cluster::Objects),
    Folder(folder::Folder),
}

impl Administration {
    /// The resources of the cluster that knows the callers. `None`: it is switched off, or no cluster knows them.
    pub fn of_cluster(config: &AdministrationConfig, access: &Access) -> Option<Administration> {
        let Access::Cluster(cluster) = access else { return None };
        let notice_us = i64::try_from(config.notice_ms).unwrap_or(i64::MAX / 1000) * 1000;
        config.enabled.then(|| Administration {
            resources: Resources::Cluster(cluster::Objects::new(cluster.client())),
            tuning: Tuning::with_notice(notice_us),
        })
    }

    /// The files of a folder, which somebody follows.
    pub fn of_folder(dir: PathBuf, tuning: Tuning, status: StatusOf) -> Administration {
        Administration { resources: Resources::Folder(folder::Folder::new(dir, status)), tuning }
    }

    /// All of a kind; of level configs those of one namespace where it is given.
    async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<Vec<Value>, Problem> {
        match &self.resources {
            Resources::Cluster(objects) => objects.list(kind, namespace).await,
            Resources::Folder(folder) => folder.list(kind, namespace).await,
        }
    }

    pub(crate) async fn get(&self, place: &Place) -> Result<Option<Value>, Problem> {
        match &self.resources {
            Resources::Cluster(objects) => objects.get(place).await,
            Resources::Folder(folder) => folder.get(place).await,
        }
    }

    /// `before`: as it was read; another has not changed it since.
    async fn put(&self, place: &Place, spec: &Value, before: Option<&Value>) -> Result<Value, Problem> {
        match &self.resources {
            Resources::Cluster(objects) => objects.put(place, spec, before).await,
            Resources::Folder(folder) => folder.put(place, spec, before).await,
        }
    }

    /// Annotations beside those that there are; `before`: as it was read.
    async fn annotate(&self, place: &Place, annotations: &Value, before: &Value) -> Result<Value, Problem> {
        match &self.resources {
            Resources::Cluster(objects) => objects.annotate(place, annotations, before).await,
            Resources::Folder(folder) => folder.annotate(place, annotations, before).await,
        }
    }

    async fn delete(&self, place: &Place, before: &Value) -> Result<(), Problem> {
        match &self.resources {
            Resources::Cluster(objects) => objects.delete(place, before).await,
            Resources::Folder(folder) => folder.delete(place, before).await,
        }
    }
}

/// What names a state of a resource.
fn version(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str()
}
