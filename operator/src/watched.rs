//! A local copy of all objects of one kind: listed, then watched. While the API server is unavailable, a condition says so.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cordwood_crds::{Kind, Read, read};
pub use cordwood_service::kubernetes::explain_call;
use cordwood_service::kubernetes::{Pace, Watches};
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Key: namespace (empty for cluster-scoped kinds) and name.
type Objects<K> = BTreeMap<(String, String), Read<K>>;

/// A shared picture of all objects of a kind. `changed` wakes the loops that work on them.
#[derive(Debug)]
pub struct Watched<K> {
    objects: Arc<Mutex<Option<Objects<K>>>>,
    /// The API server knows of no such kind.
    not_installed: Arc<AtomicBool>,
    changed: watch::Receiver<u64>,
}

impl<K> Clone for Watched<K> {
    fn clone(&self) -> Watched<K> {
        Watched {
            objects: Arc::clone(&self.objects),
            not_installed: Arc::clone(&self.not_installed),
            changed: self.changed.clone(),
        }
    }
}

impl<K: Kind> Watched<K> {
    /// Starts watching until `shutdown`. `condition` and `what` (`logretentionpolicies.cordwood.dev`) are for messages.
    pub fn start(
        client: Client,
        condition: &'static str,
        what: &'static str,
        watches: &Watches,
        shutdown: CancellationToken,
    ) -> Watched<K> {
        let objects = Arc::new(Mutex::new(None));
        let not_installed = Arc::new(AtomicBool::new(false));
        let (sender, changed) = watch::channel(0);
        let api: Api<DynamicObject> = Api::all_with(client, &ApiResource::erase::<K>(&()));
        // A level must be in force within a second.
        let mut watch = watches.start(api, watcher::Config::default(), Pace::QUICK, condition, what);
        let keep =
            Keep { objects: Arc::clone(&objects), not_installed: Arc::clone(&not_installed), sender, what };
        tokio::spawn(async move {
            let mut listing = BTreeMap::new();
            while let Some(Some(event)) = shutdown.run_until_cancelled(watch.next()).await {
                keep.take(event, &mut listing);
            }
        });
        Watched { objects, not_installed, changed }
    }

    /// All objects, those that cannot be read too; `None` before the first list.
    pub fn all(&self) -> Option<Vec<Read<K>>> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.as_ref().map(|objects| objects.values().cloned().collect())
    }

    /// One object; the namespace is empty for cluster-scoped kinds.
    pub fn get(&self, namespace: &str, name: &str) -> Option<K> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.as_ref()?.get(&(namespace.to_owned(), name.to_owned())).map(|read| read.object.clone())
    }

    /// Whether the API server said, asked last, that it knows of no such kind: then there are no objects of it.
    pub fn is_not_installed(&self) -> bool {
        self.not_installed.load(Ordering::Relaxed)
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
    not_installed: Arc<AtomicBool>,
    sender: watch::Sender<u64>,
    what: &'static str,
}

impl<K: Kind> Keep<K> {
    fn take(&self, event: Result<Event<DynamicObject>, watcher::Error>, listing: &mut Objects<K>) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Event::Init) => {
                listing.clear();
                return;
            }
            Ok(Event::InitApply(object)) => {
                listing.insert(key(&object), self.read(object));
                return;
            }
            Ok(Event::InitDone) => {
                *objects = Some(std::mem::take(listing));
                self.not_installed.store(false, Ordering::Relaxed);
            }
            Ok(Event::Apply(object)) => {
                let known = objects.get_or_insert_default();
                // A change of the status alone (mostly our own) is kept, but wakes nobody.
                let meta = object.metadata.clone();
                let before = known.insert(key(&object), self.read(object));
                if before.is_some_and(|before| says_the_same(before.object.meta(), &meta)) {
                    return;
                }
            }
            Ok(Event::Delete(object)) => {
                objects.get_or_insert_default().remove(&key(&object));
            }
            Err(error) => {
                let missing = matches!(&error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404);
                // A loop that waits for the first list learns that there is none.
                if !missing || self.not_installed.swap(true, Ordering::Relaxed) {
                    return;
                }
            }
        }
        drop(objects);
        self.sender.send_modify(|version| *version += 1);
    }

    fn read(&self, object: DynamicObject) -> Read<K> {
        let read = read(object);
        if let Some(problem) = &read.problem {
            let (namespace, name) = key(&read.object);
            tracing::warn!(what = self.what, namespace, name, %problem, "one object cannot be read");
        }
        read
    }
}

/// Whether two metadata are of one object whose spec did not change between them.
pub fn is_same_spec(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    a.uid == b.uid && a.generation.is_some() && a.generation == b.generation
}

/// As [`is_same_spec`], and nobody changed an annotation: an approval is one.
fn says_the_same(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    is_same_spec(a, b) && a.annotations == b.annotations
}

fn key(object: &impl Resource) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}
