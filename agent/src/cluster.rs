//! What the cluster says about this node's pods and all namespaces, kept up by two watches of metadata.
//! Promises: a pod is matched by its UID, and its namespace must be the one it was made in (a namespace that was deleted
//! and made anew by somebody else is another one); while the API is away what was known stays.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cordwood_core::origin::{Origin, UNASSIGNED};
use cordwood_core::workload::{service_of, workload_of};
use cordwood_service::Health;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use crate::context::{Asked, Context, Lookup, Source, Static, pod_folder};
use crate::wake::Waker;

/// Deleted pods are remembered for their last lines.
const DELETED_SECONDS_MAX: u64 = 900;
/// Longer than the longest pause between two tries of a watch (30 s, and as much again at random) and a connection attempt of
/// 30 s: else an outage would seem to be over in the middle of it.
const QUIET: Duration = Duration::from_secs(95);
pub const TENANT: &str = "cordwood.dev/tenant";
pub const TENANT_ID: &str = "cordwood.dev/tenant-id";
pub const ENVIRONMENT: &str = "cordwood.dev/environment";

pub struct Cluster {
    pub known: Static,
    metadata_wait_ms: i64,
    index: Mutex<Index>,
    generation: AtomicU64,
    pods_synced: AtomicBool,
    namespaces_synced: AtomicBool,
    waker: Waker,
}

#[derive(Default)]
struct Index {
    /// By the name of the pod's folder: a pod that claims another's UID (by an annotation) has a folder of its own here.
    pods: HashMap<String, PodFacts>,
    namespaces: HashMap<String, NamespaceFacts>,
}

#[derive(Clone, Debug)]
struct PodFacts {
    namespace: String,
    service: Option<String>,
    workload: String,
    version: String,
    labels: BTreeMap<String, String>,
    created_us: Option<i64>,
    /// When it was deleted, and whose it was then.
    deleted: Option<(Instant, Option<NamespaceFacts>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NamespaceFacts {
    /// `None`: the namespace does not say it.
    tenant: Option<(String, String)>,
    environment: Option<String>,
    created_us: Option<i64>,
    deleted_us: Option<i64>,
}

impl NamespaceFacts {
    fn of(meta: &ObjectMeta) -> NamespaceFacts {
        let get = |key: &str| {
            let label = meta.labels.as_ref().and_then(|labels| labels.get(key));
            let value = label.or_else(|| meta.annotations.as_ref().and_then(|all| all.get(key)));
            value.filter(|value| !value.is_empty()).cloned()
        };
        NamespaceFacts {
            tenant: get(TENANT).map(|slug| (slug.clone(), get(TENANT_ID).unwrap_or(slug))),
            environment: get(ENVIRONMENT),
            created_us: meta.creation_timestamp.as_ref().map(micros),
            deleted_us: meta.deletion_timestamp.as_ref().map(micros),
        }
    }

    /// Whether something that began then can lie in this namespace, and not in one of the same name before or after it.
    /// (Times of the API are whole seconds.)
    fn held_at(&self, time_us: i64) -> bool {
        self.created_us.is_none_or(|created| created <= time_us)
            && self.deleted_us.is_none_or(|deleted| time_us < deleted + 1_000_000)
    }
}

impl PodFacts {
    fn of(meta: &ObjectMeta) -> PodFacts {
        let labels = meta.labels.clone().unwrap_or_default();
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let owner = owners.iter().find(|owner| owner.controller == Some(true));
        let workload = workload_of(&labels, owner.map(|owner| (owner.kind.as_str(), owner.name.as_str())));
        let none = BTreeMap::new();
        let service = service_of(meta.annotations.as_ref().unwrap_or(&none), &labels, &workload);
        PodFacts {
            namespace: meta.namespace.clone().unwrap_or_default(),
            service,
            workload,
            version: labels.get("app.kubernetes.io/version").cloned().unwrap_or_default(),
            labels,
            created_us: meta.creation_timestamp.as_ref().map(micros),
            deleted: None,
        }
    }
}

fn micros(time: &Time) -> i64 {
    time.0.as_microsecond()
}

/// The name of a pod's folder. The UID in it is the hash of its manifest for a static pod, while its mirror in the API has
/// another.
fn folder_of(meta: &ObjectMeta) -> Option<String> {
    let hash = meta.annotations.as_ref().and_then(|all| all.get("kubernetes.io/config.mirror"));
    let uid = hash.or(meta.uid.as_ref())?;
    Some(pod_folder(meta.namespace.as_ref()?, meta.name.as_ref()?, uid))
}

impl Cluster {
    pub fn new(known: Static, metadata_wait_ms: u64, waker: Waker) -> Arc<Cluster> {
        Arc::new(Cluster {
            known,
            metadata_wait_ms: i64::try_from(metadata_wait_ms).unwrap_or(i64::MAX),
            index: Mutex::default(),
            generation: AtomicU64::new(0),
            pods_synced: AtomicBool::new(false),
            namespaces_synced: AtomicBool::new(false),
            waker,
        })
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.waker.wake();
    }

    pub fn lookup(&self, source: &Source, asked: &Asked<'_>) -> Lookup {
        let Source::Container { namespace, pod, uid, container, .. } = source else {
            return Lookup::Ready(Arc::new(self.known.context(source)));
        };
        let index = self.index();
        // All of the folder's name must be what the API says: another pod's UID would be a forgery.
        let facts = index.pods.get(&pod_folder(namespace, pod, uid));
        // Of a pod that is gone, and whose namespace was not known while it lived, no more can be learnt here.
        let facts = facts.filter(|facts| !matches!(facts.deleted, Some((_, None))));
        if let Some(facts) = facts {
            let of_namespace = match &facts.deleted {
                Some((_, of_namespace)) => of_namespace.as_ref(),
                None => index.namespaces.get(namespace),
            };
            return match of_namespace {
                Some(of_namespace) if facts.created_us.is_none_or(|time| of_namespace.held_at(time)) => {
                    Lookup::Ready(Arc::new(self.context(source, Some(facts), of_namespace)))
                }
                _ => Lookup::Waiting("the metadata of its namespace"),
            };
        }
        if let Some(origin) = asked.remembered {
            return Lookup::Ready(Arc::new(Context { origin: origin.clone(), labels: None }));
        }
        if asked.waited_ms < self.metadata_wait_ms {
            return Lookup::Waiting("the metadata of its pod");
        }
        if !self.namespaces_synced.load(Ordering::Acquire) {
            return Lookup::Waiting("the metadata of its namespace");
        }
        // The pod is gone, or the API does not tell about it. Its namespace counts only if it is surely the same.
        let Some(first_line_us) = asked.first_line_us else { return Lookup::Waiting("its first line") };
        match index.namespaces.get(namespace).filter(|facts| facts.held_at(first_line_us)) {
            Some(of_namespace) => Lookup::Ready(Arc::new(self.context(source, None, of_namespace))),
            None => {
                let mut context = Context { labels: None, ..self.known.context(source) };
                UNASSIGNED.clone_into(&mut context.origin.tenant);
                UNASSIGNED.clone_into(&mut context.origin.tenant_id);
                tracing::warn!(%namespace, %pod, %container, "the namespace of this pod is gone or was made anew: its lines are unassigned");
                Lookup::Ready(Arc::new(context))
            }
        }
    }

    /// Whether the API knows the source's very pod as alive.
    pub fn is_alive(&self, source: &Source) -> bool {
        let Source::Container { namespace, pod, uid, .. } = source else { return false };
        let index = self.index();
        index.pods.get(&pod_folder(namespace, pod, uid)).is_some_and(|facts| facts.deleted.is_none())
    }

    fn context(&self, source: &Source, pod: Option<&PodFacts>, of_namespace: &NamespaceFacts) -> Context {
        let mut context = self.known.context(source);
        let origin: &mut Origin = &mut context.origin;
        if let Some((slug, id)) = &of_namespace.tenant {
            origin.tenant.clone_from(slug);
            origin.tenant_id.clone_from(id);
        }
        if let Some(environment) = &of_namespace.environment {
            origin.environment.clone_from(environment);
        }
        if let Some(pod) = pod {
            if let Some(service) = &pod.service {
                origin.service.clone_from(service);
            }
            origin.workload.clone_from(&pod.workload);
            origin.version.clone_from(&pod.version);
        }
        context.labels = pod.map(|pod| pod.labels.clone());
        // An annotation may be as long as its writer likes, and is in every batch.
        context.origin = context.origin.cleaned();
        context
    }

    fn pod_applied(&self, meta: &ObjectMeta) {
        if let Some(folder) = folder_of(meta) {
            self.index().pods.insert(folder, PodFacts::of(meta));
        }
    }

    fn pod_deleted(&self, folder: &str) {
        let mut index = self.index();
        let of_namespace = index.pods.get(folder).and_then(|facts| {
            let namespace = index.namespaces.get(&facts.namespace)?;
            facts.created_us.is_none_or(|time| namespace.held_at(time)).then(|| namespace.clone())
        });
        if let Some(facts) = index.pods.get_mut(folder)
            && facts.deleted.is_none()
        {
            facts.deleted = Some((Instant::now(), of_namespace));
        }
        index.pods.retain(|_, facts| {
            facts.deleted.as_ref().is_none_or(|(at, _)| at.elapsed().as_secs() < DELETED_SECONDS_MAX)
        });
    }

    fn namespace_applied(&self, meta: &ObjectMeta) {
        if let Some(name) = meta.name.clone() {
            self.index().namespaces.insert(name, NamespaceFacts::of(meta));
        }
    }

    /// Watches this node's pods until `shutdown`. Errors are conditions; the watch goes on by itself.
    pub async fn watch_pods(
        self: Arc<Self>,
        client: Client,
        node: String,
        health: Health,
        shutdown: CancellationToken,
    ) {
        let api: Api<PartialObjectMeta<Pod>> = Api::all(client);
        let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let stream = watcher(api, config).default_backoff();
        let mut stream = std::pin::pin!(stream);
        let mut state = WatchState::new("pods", "pods", health, QUIET);
        let mut listed: Vec<String> = Vec::new();
        while let Some(Some(event)) = shutdown.run_until_cancelled(state.next(&mut stream)).await {
            match event {
                Ok(Event::Apply(pod)) => self.pod_applied(&pod.metadata),
                Ok(Event::Delete(pod)) => {
                    if let Some(folder) = folder_of(&pod.metadata) {
                        self.pod_deleted(&folder);
                    }
                }
                Ok(Event::Init) => {
                    listed.clear();
                    continue;
                }
                Ok(Event::InitApply(pod)) => {
                    listed.extend(folder_of(&pod.metadata));
                    self.pod_applied(&pod.metadata);
                }
                Ok(Event::InitDone) => {
                    let gone: Vec<String> =
                        self.index().pods.keys().filter(|folder| !listed.contains(folder)).cloned().collect();
                    gone.iter().for_each(|folder| self.pod_deleted(folder));
                    self.pods_synced.store(true, Ordering::Release);
                }
                Err(_) => continue,
            }
            self.changed();
        }
    }

    /// Watches all namespaces until `shutdown`.
    pub async fn watch_namespaces(
        self: Arc<Self>,
        client: Client,
        health: Health,
        shutdown: CancellationToken,
    ) {
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
        let stream = watcher(api, watcher::Config::default()).default_backoff();
        let mut stream = std::pin::pin!(stream);
        let mut state = WatchState::new("namespaces", "namespaces", health, QUIET);
        let mut listed: Vec<String> = Vec::new();
        while let Some(Some(event)) = shutdown.run_until_cancelled(state.next(&mut stream)).await {
            match event {
                Ok(Event::Apply(namespace)) => self.namespace_applied(&namespace.metadata),
                Ok(Event::Delete(namespace)) => {
                    if let Some(name) = &namespace.metadata.name {
                        self.index().namespaces.remove(name);
                    }
                }
                Ok(Event::Init) => {
                    listed.clear();
                    continue;
                }
                Ok(Event::InitApply(namespace)) => {
                    listed.extend(namespace.metadata.name.clone());
                    self.namespace_applied(&namespace.metadata);
                }
                Ok(Event::InitDone) => {
                    self.index().namespaces.retain(|name, _| listed.contains(name));
                    self.namespaces_synced.store(true, Ordering::Release);
                }
                Err(_) => continue,
            }
            self.changed();
        }
    }
}

/// Keeps the condition of one watch.
pub(crate) struct WatchState {
    condition: &'static str,
    what: String,
    health: Health,
    /// The last that came was an error.
    failed: bool,
    /// Longer than two tries are apart.
    quiet: Duration,
}

impl WatchState {
    /// `what`: the kind and name that messages tell.
    pub(crate) fn new(
        condition: &'static str,
        what: impl Into<String>,
        health: Health,
        quiet: Duration,
    ) -> WatchState {
        WatchState { condition, what: what.into(), health, failed: false, quiet }
    }

    /// The next event. A watch that goes on from where an error interrupted it says nothing about that: when it has been
    /// quiet for longer than its tries are apart, it works again.
    pub(crate) async fn next<K, S>(&mut self, stream: &mut S) -> Option<Result<Event<K>, watcher::Error>>
    where
        S: Stream<Item = Result<Event<K>, watcher::Error>> + Unpin,
    {
        loop {
            let wait = if self.failed { self.quiet } else { Duration::MAX };
            match tokio::time::timeout(wait, stream.next()).await {
                Ok(event) => {
                    self.failed = matches!(event, Some(Err(_)));
                    match &event {
                        Some(Err(error)) => {
                            self.health.set(self.condition, Err(watch_problem(&self.what, error)));
                        }
                        Some(Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone)) => {
                            self.health.set(self.condition, Ok(()));
                        }
                        _ => {}
                    }
                    return event;
                }
                Err(_) => {
                    self.failed = false;
                    self.health.set(self.condition, Ok(()));
                }
            }
        }
    }
}

/// What is wrong with a watch, for the person who can mend it.
pub fn watch_problem(what: &str, error: &watcher::Error) -> String {
    let forbidden = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 403);
    let is_forbidden = match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            forbidden(error)
        }
        watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    };
    if is_forbidden {
        format!("not allowed: give the agent's service account the rights list and watch on {what}")
    } else {
        let mut text = format!("watch {what}: {error}");
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        text
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
