//! The objects of one kind as the API server has them: listed, watched, kept; being away is a condition.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use cordwood_service::Health;
use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Key: namespace (empty for cluster-scoped kinds) and name.
type Objects<K> = BTreeMap<(String, String), K>;

/// A shared picture of all objects of a kind. `changed` wakes whoever works on them.
#[derive(Debug)]
pub struct Watched<K> {
    objects: Arc<Mutex<Option<Objects<K>>>>,
    changed: watch::Receiver<u64>,
}

impl<K> Clone for Watched<K> {
    fn clone(&self) -> Watched<K> {
        Watched { objects: Arc::clone(&self.objects), changed: self.changed.clone() }
    }
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Starts watching until `shutdown`. `condition` and `what` (`logretentionpolicies.cordwood.dev`) are for messages.
    pub fn start(
        api: Api<K>,
        condition: &'static str,
        what: &'static str,
        health: Health,
        shutdown: CancellationToken,
    ) -> Watched<K> {
        let objects = Arc::new(Mutex::new(None));
        let (sender, changed) = watch::channel(0);
        let keep = Keep { objects: Arc::clone(&objects), sender, condition, what, health };
        tokio::spawn(async move {
            let stream = watcher(api, watcher::Config::default()).default_backoff();
            let mut stream = std::pin::pin!(stream);
            let mut listing = BTreeMap::new();
            while let Some(Some(event)) = shutdown.run_until_cancelled(stream.next()).await {
                keep.take(event, &mut listing);
            }
        });
        Watched { objects, changed }
    }

    /// All objects; `None` before the first list.
    pub fn all(&self) -> Option<Vec<K>> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.as_ref().map(|objects| objects.values().cloned().collect())
    }

    /// Whether anything changed since [`Watched::changed`] last resolved.
    pub fn has_changed(&self) -> bool {
        self.changed.has_changed().unwrap_or(false)
    }

    /// Resolves when anything changed since the last call.
    pub async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            // The watch has ended: so will everything.
            std::future::pending::<()>().await;
        }
    }
}

struct Keep<K> {
    objects: Arc<Mutex<Option<Objects<K>>>>,
    sender: watch::Sender<u64>,
    condition: &'static str,
    what: &'static str,
    health: Health,
}

impl<K: Resource<DynamicType = ()> + Clone + Debug> Keep<K> {
    fn take(&self, event: Result<Event<K>, watcher::Error>, listing: &mut Objects<K>) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Event::Init) => {
                listing.clear();
                return;
            }
            Ok(Event::InitApply(object)) => {
                listing.insert(key(&object), object);
                return;
            }
            Ok(Event::InitDone) => {
                *objects = Some(std::mem::take(listing));
                self.health.set(self.condition, Ok(()));
            }
            Ok(Event::Apply(object)) => {
                let known = objects.get_or_insert_default();
                // A change of the status alone (mostly our own) is kept, but wakes nobody.
                let before = known.insert(key(&object), object.clone());
                self.health.set(self.condition, Ok(()));
                let generation = object.meta().generation;
                if generation.is_some() && before.is_some_and(|before| before.meta().generation == generation)
                {
                    return;
                }
            }
            Ok(Event::Delete(object)) => {
                objects.get_or_insert_default().remove(&key(&object));
            }
            Err(error) => {
                self.health.set(self.condition, Err(explain(self.what, &error)));
                return;
            }
        }
        drop(objects);
        self.sender.send_modify(|version| *version += 1);
    }
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// One line that says which right is missing, or that the resource is not installed, or what else is wrong.
pub fn explain(what: &str, error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => explain_call("list and watch", what, error),
        watcher::Error::WatchError(status) => format!("watch {what}: {}", status.message),
        other => format!("watch {what}: {other}"),
    }
}

/// The same for a single call.
pub fn explain_call(verb: &str, what: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("missing permission: {verb} {what} ({})", status.message)
        }
        kube::Error::Api(status) if status.code == 401 => {
            format!("the API server does not know this service account: {}", status.message)
        }
        kube::Error::Api(status) if status.code == 404 && what.contains("cordwood.dev") => {
            format!(
                "{what} is not installed: apply the CustomResourceDefinitions (`cordwood crds | kubectl apply -f -`)"
            )
        }
        kube::Error::Api(status) => format!("{verb} {what}: {}", status.message),
        other => format!("{verb} {what}: the API server cannot be reached: {other}"),
    }
}
