//! Deletes level configs whose `spec.ttlAfterExpiry` is over. It never deletes one that is in force, is a default, or is invalid, nor one that
//! somebody has changed since it was read.

use std::fmt;

use cordwood_crds::levels::{LevelObject, Reach};
use cordwood_crds::{ClusterLogLevelConfig, LogLevelConfig};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use serde::Serialize;

/// A level config that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    pub kind: &'static str,
    /// `<namespace>/<name>`, or `<name>`.
    pub id: String,
    pub uid: String,
    /// Milliseconds since the epoch.
    pub ended_at_ms: i64,
    /// As the spec has it.
    pub ttl: String,
    /// Milliseconds since the epoch: not before.
    #[serde(skip)]
    pub goes_at_ms: i64,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = Timestamp::from_millisecond(self.ended_at_ms).unwrap_or_default();
        write!(
            f,
            "deleted {} {}: it ended at {ended}, and spec.ttlAfterExpiry is {}",
            self.kind, self.id, self.ttl
        )
    }
}

/// When a config whose rule ends at `ends_at_ms` is deleted; `None`: never.
pub fn ended(config: &LevelObject, ends_at_ms: Option<i64>) -> Option<Ended> {
    let (ended_at_ms, ttl_ms) = (ends_at_ms?, config.fields.ttl_ms()?);
    (!config.default).then(|| Ended {
        kind: config.kind(),
        id: config.id(),
        uid: config.uid().to_owned(),
        ended_at_ms,
        ttl: config.fields.ttl_after_expiry.clone().unwrap_or_default(),
        goes_at_ms: ended_at_ms.saturating_add(ttl_ms),
    })
}

/// Deletes the very object that has this UID and resource version. Whether it did; not, when the object is gone or is another by now.
///
/// # Errors
/// Of the API server, but for these two.
pub async fn delete(client: &Client, reach: Reach, meta: &ObjectMeta) -> Result<bool, kube::Error> {
    let name = meta.name.as_deref().unwrap_or_default();
    let preconditions =
        Preconditions { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let outcome = match reach {
        Reach::Namespace => {
            let namespace = meta.namespace.as_deref().unwrap_or("default");
            let api: Api<LogLevelConfig> = Api::namespaced(client.clone(), namespace);
            api.delete(name, &parameters).await.map(drop)
        }
        Reach::Cluster => {
            let api: Api<ClusterLogLevelConfig> = Api::all(client.clone());
            api.delete(name, &parameters).await.map(drop)
        }
    };
    match outcome {
        Ok(()) => Ok(true),
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(ttl: Option<&str>) -> LevelObject {
        let mut config: LogLevelConfig = serde_json::from_value(json!({
            "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig",
            "metadata": {"name": "quiet", "namespace": "shop", "uid": "u"},
            "spec": {"level": "ERROR", "duration": "5m"},
        }))
        .unwrap();
        config.spec.fields.ttl_after_expiry = ttl.map(str::to_owned);
        config.into()
    }

    #[test]
    fn a_config_goes_so_long_after_its_end_and_never_without_being_told_to() {
        let at = |config: &LevelObject, end| ended(config, end).map(|ended| ended.goes_at_ms);
        assert_eq!(at(&config(Some("1h")), Some(1_000)), Some(3_601_000));
        assert_eq!(at(&config(Some("0s")), Some(1_000)), Some(1_000));
        assert_eq!(at(&config(None), Some(1_000)), None);
        assert_eq!(at(&config(Some("1h")), None), None);
        let mut default = config(Some("1h"));
        default.default = true;
        assert_eq!(at(&default, Some(1_000)), None);
        let told = ended(&config(Some("1h")), Some(1_795_003_200_000)).unwrap().to_string();
        assert_eq!(
            told,
            "deleted LogLevelConfig shop/quiet: it ended at 2026-11-18T12:00:00Z, and spec.ttlAfterExpiry is 1h"
        );
    }
}
