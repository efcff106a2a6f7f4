//! Decides which tenant each namespace belongs to, as the agents do, and writes an audit record for each change. Also decides which namespaces
//! take only their own level rules. A ConfigMap keeps what was known, so that a change while no operator ran is recorded by the next one.
//! Promises: a change is recorded before it is remembered, so that a crash records it twice rather than never; nothing waits for this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cordwood_core::limits::TENANTS_KNOWN_BYTES_MAX;
use cordwood_core::tenancy::changes::{Owned, Ownership, changes};
use cordwood_core::tenancy::{Labels, Tenancy};
use cordwood_service::kubernetes::{Pace, Watches};
use cordwood_service::{Health, audit};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ObjectMeta, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::leader::Standing;
use crate::watched::explain_call;

/// The logger of the operator's audit records.
pub const AUDIT: &str = "audit.operator";
const CONFIG_MAP: &str = "cordwood-tenants";
const KEY: &str = "tenants.json";
const VERSION: u32 = 1;
/// After a write that failed, and while another replica leads.
const RETRY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(3600);
const CONDITION: &str = "tenants";

/// Names of namespaces.
pub type Exempt = Arc<BTreeSet<String>>;

pub struct Owners {
    api: Api<ConfigMap>,
    tenancy: Tenancy,
    health: Health,
    standing: watch::Receiver<Standing>,
    exempt: watch::Sender<Exempt>,
    /// UID and labels by name.
    namespaces: BTreeMap<String, (String, Labels)>,
    is_listed: bool,
    known: Option<Known>,
}

/// What is told already.
#[derive(Debug, Default)]
struct Known {
    /// `None`: nobody has looked before.
    ownership: Option<Ownership>,
    version: Option<String>,
    is_written: bool,
}

/// What the ConfigMap holds.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    namespaces: Ownership,
}

impl Owners {
    pub fn new(
        client: Client,
        config: &Config,
        health: Health,
        standing: watch::Receiver<Standing>,
        exempt: watch::Sender<Exempt>,
    ) -> Owners {
        Owners {
            api: Api::namespaced(client, &config.namespace()),
            tenancy: Tenancy::new(&config.tenants),
            health,
            standing,
            exempt,
            namespaces: BTreeMap::new(),
            is_listed: false,
            known: None,
        }
    }

    pub async fn run(mut self, watching: Client, watches: Watches, shutdown: CancellationToken) {
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(watching);
        let config = watcher::Config::default();
        let mut watch = watches.start(api, config, Pace::GENTLE, "namespaces", "namespaces");
        let mut listing = BTreeMap::new();
        let mut standing = self.standing.clone();
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = watch.next() => match event {
                    Some(Ok(event)) => self.take(event, &mut listing),
                    Some(Err(_)) => continue,
                    None => break,
                },
                _ = standing.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = if self.is_listed { self.settle().await } else { IDLE };
        }
    }

    fn take(
        &mut self,
        event: Event<PartialObjectMeta<Namespace>>,
        listing: &mut BTreeMap<String, (String, Labels)>,
    ) {
        let row = |object: PartialObjectMeta<Namespace>| {
            let meta = object.metadata;
            let labels = Labels::of(meta.labels.as_ref());
            (meta.name.unwrap_or_default(), (meta.uid.unwrap_or_default(), labels))
        };
        match event {
            Event::Init => listing.clear(),
            Event::InitApply(object) => listing.extend([row(object)]),
            Event::InitDone => {
                self.namespaces = std::mem::take(listing);
                self.is_listed = true;
            }
            Event::Apply(object) => self.namespaces.extend([row(object)]),
            Event::Delete(object) => {
                self.namespaces.remove(&row(object).0);
            }
        }
        let exempt: BTreeSet<String> = self
            .namespaces
            .iter()
            .filter(|(_, (_, labels))| labels.denies_level_rules)
            .map(|(name, _)| name.clone())
            .collect();
        if self.is_listed {
            self.exempt.send_if_modified(|current| {
                let changed = **current != exempt;
                *current = Arc::new(exempt);
                changed
            });
        }
    }

    /// Tells what has changed and writes down what was told; when to try again.
    async fn settle(&mut self) -> Duration {
        match *self.standing.borrow() {
            Standing::Leader => {}
            Standing::Unknown => return RETRY,
            Standing::Follower => {
                // Another tells it.
                self.known = None;
                self.health.set(CONDITION, Ok(()));
                return IDLE;
            }
        }
        match self.write().await {
            Ok(()) => {
                self.health.set(CONDITION, Ok(()));
                IDLE
            }
            Err(error) => {
                // What is there is read before the next try; what was told in this process is not told again.
                if let Some(known) = &mut self.known {
                    known.version = None;
                }
                let what = format!("configmaps {CONFIG_MAP}");
                self.health.set(CONDITION, Err(explain_call("create and update", &what, &error)));
                RETRY
            }
        }
    }

    async fn write(&mut self) -> Result<(), kube::Error> {
        let now = self.ownership();
        let mut known = match self.known.take() {
            Some(known) if known.version.is_some() => known,
            told => {
                let map = match self.api.get_opt(CONFIG_MAP).await {
                    Ok(map) => map,
                    Err(error) => {
                        self.known = told;
                        return Err(error);
                    }
                };
                let version = map.as_ref().and_then(|map| map.metadata.resource_version.clone());
                let stored = map.as_ref().and_then(stored);
                let ownership = told.and_then(|told| told.ownership).or(stored);
                Known { ownership, version, is_written: false }
            }
        };
        let before = known.ownership.replace(now.clone());
        let is_news = before.as_ref() != Some(&now);
        for change in before.iter().flat_map(|before| changes(before, &now)) {
            audit(AUDIT, &change, "tenant-changed", &change);
        }
        let is_written = known.is_written && !is_news;
        let version = known.version.clone();
        self.known = Some(Known { is_written: true, ..known });
        if is_written {
            return Ok(());
        }
        let written = self.put(&now, version).await?;
        if let Some(known) = &mut self.known {
            known.version = written;
        }
        Ok(())
    }

    /// Of each namespace that is somebody's.
    fn ownership(&self) -> Ownership {
        let mut bytes = 0;
        let mut ownership = Ownership::new();
        for (name, (uid, labels)) in &self.namespaces {
            let decided = self.tenancy.decide(name, labels);
            bytes += name.len() + uid.len() + decided.tenant.len() + decided.tenant_id.len() + 64;
            if bytes > TENANTS_KNOWN_BYTES_MAX {
                break;
            }
            let owned = Owned { uid: uid.clone(), tenant: decided.tenant, tenant_id: decided.tenant_id };
            ownership.insert(name.clone(), owned);
        }
        ownership
    }

    async fn put(
        &self,
        ownership: &Ownership,
        version: Option<String>,
    ) -> Result<Option<String>, kube::Error> {
        let stored = Stored { version: VERSION, namespaces: ownership.clone() };
        let text = serde_json::to_string(&stored).map_err(kube::Error::SerdeError)?;
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(CONFIG_MAP.to_owned()),
                labels: Some(BTreeMap::from([
                    ("app.kubernetes.io/name".to_owned(), "cordwood".to_owned()),
                    ("app.kubernetes.io/managed-by".to_owned(), "cordwood-operator".to_owned()),
                ])),
                resource_version: version.clone(),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(KEY.to_owned(), text)])),
            ..ConfigMap::default()
        };
        let written = match version {
            Some(_) => self.api.replace(CONFIG_MAP, &PostParams::default(), &map).await?,
            None => self.api.create(&PostParams::default(), &map).await?,
        };
        Ok(written.metadata.resource_version)
    }
}

/// What cannot be read is as if nobody had looked before.
fn stored(map: &ConfigMap) -> Option<Ownership> {
    let stored: Stored = serde_json::from_str(map.data.as_ref()?.get(KEY)?).ok()?;
    (stored.version == VERSION).then_some(stored.namespaces)
}
