//! What the API server says about this node's pods and all namespaces: two watches of metadata. If they leave open in which
//! namespace object a pod lies, the agent asks the API server.
//! Promises: a pod is matched by its UID, and its namespace by its own (see [`crate::binding`]); while the API server is
//! unavailable, the last known answer stays in force.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cordwood_core::audit::AuditTrust;
use cordwood_core::origin::{Origin, UNASSIGNED};
use cordwood_core::tenancy::Refused;
use cordwood_service::kubernetes::{Pace, Watches, explain_call};
use cordwood_service::{Health, Pauses};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::{Notify, SetOnce};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::audit_budgets::AuditBudgets;
use crate::binding::{Found, Index, NamespaceFacts, PodFacts, Question, folder_of};
use crate::context::{Asked, Context, Lookup, Static};
use crate::source::{Source, pod_folder};
use crate::wake::Waker;
use crate::watching::Gap;

/// Pods are looked for after the namespaces, or after so long: what is known of a namespace before its pods are seen need not
/// be asked for each of them.
const NAMESPACES_FIRST: Duration = Duration::from_secs(5);
/// Between two tries of a question that the API did not answer.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(500);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(30);
/// A question that the API did not answer within this time is given up and asked again later.
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub struct Cluster {
    pub known: Static,
    audit_budgets: AuditBudgets,
    metadata_wait_ms: i64,
    index: Mutex<Index>,
    generation: AtomicU64,
    namespaces_listed: SetOnce<()>,
    pods_listed: SetOnce<()>,
    /// There is something to ask.
    to_ask: Notify,
    waker: Waker,
}

impl Cluster {
    pub fn new(known: Static, metadata_wait_ms: u64, waker: Waker) -> Arc<Cluster> {
        Arc::new(Cluster {
            audit_budgets: AuditBudgets::new(known.audit_bytes_per_hour()),
            known,
            metadata_wait_ms: i64::try_from(metadata_wait_ms).unwrap_or(i64::MAX),
            index: Mutex::default(),
            generation: AtomicU64::new(0),
            namespaces_listed: SetOnce::new(),
            pods_listed: SetOnce::new(),
            to_ask: Notify::new(),
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
        // All of the folder's name must be what the API says: another pod's UID would be a forgery.
        let folder = pod_folder(namespace, pod, uid);
        let mut index = self.index();
        // (What its namespace is marked for now. Where nobody says it the lines are believed within the budget: records that are
        // kept too long can be dropped, and those that were kept too short are gone.)
        let is_marked = index
            .namespace(namespace)
            .is_none_or(|facts| self.known.believes_audit(namespace, &facts.labels));
        let remembered = |origin: &Origin| {
            Lookup::Ready(Arc::new(Context {
                origin: origin.clone(),
                labels: None,
                is_exempt: true,
                audit: self.audit_budgets.trust(&folder, is_marked),
                ..Context::default()
            }))
        };
        let found = match index.find(&folder) {
            Some(Found::Owner(facts, owner)) => {
                return Lookup::Ready(Arc::new(self.context(source, &folder, facts, owner)));
            }
            Some(found) => found,
            None => {
                // (Before the first list nothing is known of any pod, of a remembered one neither: what its namespace is marked for.)
                let is_early = asked.waited_ms < self.metadata_wait_ms;
                match asked.remembered {
                    Some(origin) if !is_early || self.pods_listed.initialized() => return remembered(origin),
                    _ if is_early => return Lookup::Waiting("the metadata of its pod"),
                    _ => {}
                }
                self.to_ask.notify_one();
                index.find_unknown(namespace, pod, &folder)
            }
        };
        match (found, asked.remembered) {
            (Found::Waiting(what), Some(_)) if asked.waited_ms < self.metadata_wait_ms => {
                Lookup::Waiting(what)
            }
            // (Of the very same pod: its UID is in the key.)
            (_, Some(origin)) => remembered(origin),
            (Found::Waiting(what), None) => Lookup::Waiting(what),
            (_, None) => {
                let mut context = Context {
                    labels: None,
                    is_exempt: true,
                    audit: AuditTrust::Shown,
                    ..self.known.context(source)
                };
                UNASSIGNED.clone_into(&mut context.origin.tenant);
                UNASSIGNED.clone_into(&mut context.origin.tenant_id);
                tracing::warn!(%namespace, %pod, %container, "this pod is gone, and nobody can say whose namespace it was in: its lines are unassigned");
                Lookup::Ready(Arc::new(context))
            }
        }
    }

    /// How many namespaces name a tenant that is not theirs to name.
    pub fn namespaces_refused(&self) -> usize {
        let index = self.index();
        index.namespaces().filter(|(name, facts)| self.refused(name, facts).is_some()).count()
    }

    fn refused(&self, namespace: &str, facts: &NamespaceFacts) -> Option<Refused> {
        self.known.tenant_of(namespace, &facts.labels).refused
    }

    fn namespace_applied(&self, meta: &ObjectMeta) {
        let mut index = self.index();
        let name = meta.name.clone().unwrap_or_default();
        let before = index.namespace(&name).and_then(|facts| self.refused(&name, facts));
        index.namespace_applied(meta);
        let now = index.namespace(&name).and_then(|facts| self.refused(&name, facts));
        if let Some(why) = now.filter(|now| before.as_ref() != Some(now)) {
            tracing::warn!(namespace = name, %why, "the lines of this namespace are unassigned");
        }
    }

    /// Whether the API knows the source's very pod as alive.
    pub fn is_alive(&self, source: &Source) -> bool {
        let Source::Container { namespace, pod, uid, .. } = source else { return false };
        self.index().is_alive(&pod_folder(namespace, pod, uid))
    }

    fn context(
        &self,
        source: &Source,
        folder: &str,
        pod: &PodFacts,
        of_namespace: &NamespaceFacts,
    ) -> Context {
        let mut context = self.known.context(source);
        let origin: &mut Origin = &mut context.origin;
        let decided = self.known.tenant_of(&origin.namespace, &of_namespace.labels);
        (origin.tenant, origin.tenant_id) = (decided.tenant, decided.tenant_id);
        if let Some(environment) = &of_namespace.labels.environment {
            origin.environment.clone_from(environment);
        }
        if let Some(service) = &pod.service {
            origin.service.clone_from(service);
        }
        origin.workload.clone_from(&pod.workload);
        origin.version.clone_from(&pod.version);
        context.labels = Some(pod.labels.clone());
        context.is_exempt = of_namespace.labels.denies_level_rules;
        let is_marked = self.known.believes_audit(&context.origin.namespace, &of_namespace.labels);
        context.audit = self.audit_budgets.trust(folder, is_marked);
        context.line_tenants = of_namespace.labels.tenant_from_body.then(|| self.known.line_tenants());
        // An annotation may be as long as its writer likes, and is in every batch.
        context.origin = context.origin.cleaned();
        context
    }

    /// Watches this node's pods until `shutdown`. Errors are conditions; the watch goes on by itself.
    pub async fn watch_pods(
        self: Arc<Self>,
        client: Client,
        node: String,
        watches: Watches,
        shutdown: CancellationToken,
    ) {
        let listed = tokio::time::timeout(NAMESPACES_FIRST, self.namespaces_listed.wait());
        let _ = shutdown.run_until_cancelled(listed).await;
        let api: Api<PartialObjectMeta<Pod>> = Api::all(client);
        let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let mut watch = watches.start(api, config, Pace::GENTLE, "pods", "pods");
        let mut listed: Vec<String> = Vec::new();
        let mut gap = Gap::new(std::time::Instant::now());
        while let Some(Some(event)) = shutdown.run_until_cancelled(watch.next()).await {
            let now = std::time::Instant::now();
            // (`Init` is told before the API is asked.)
            let is_heard = !matches!(event, Err(_) | Ok(Event::Init));
            let gap_began = if is_heard { gap.event(now) } else { None };
            match event {
                Ok(Event::Apply(pod)) => match gap_began {
                    Some(began) => self.index().pod_made_up_for(&pod.metadata, began),
                    None => self.index().pod_applied(&pod.metadata),
                },
                Ok(Event::Delete(pod)) => {
                    if let Some(folder) = folder_of(&pod.metadata) {
                        self.index().pod_deleted(&folder);
                    }
                }
                Ok(Event::Init) => {
                    listed.clear();
                    continue;
                }
                Ok(Event::InitApply(pod)) => {
                    listed.extend(folder_of(&pod.metadata));
                    self.index().pod_applied(&pod.metadata);
                }
                Ok(Event::InitDone) => {
                    let gone: Vec<String> =
                        self.index().pods.keys().filter(|folder| !listed.contains(folder)).cloned().collect();
                    gone.iter().for_each(|folder| self.index().pod_deleted(folder));
                    let _ = self.pods_listed.set(());
                    gap.listed();
                }
                Err(_) => {
                    gap.failed(now);
                    continue;
                }
            }
            self.to_ask.notify_one();
            self.changed();
        }
    }

    /// Watches all namespaces until `shutdown`.
    pub async fn watch_namespaces(
        self: Arc<Self>,
        client: Client,
        watches: Watches,
        shutdown: CancellationToken,
    ) {
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
        let config = watcher::Config::default();
        let mut watch = watches.start(api, config, Pace::GENTLE, "namespaces", "namespaces");
        let mut listed: Vec<String> = Vec::new();
        while let Some(Some(event)) = shutdown.run_until_cancelled(watch.next()).await {
            match event {
                Ok(Event::Apply(namespace)) => self.namespace_applied(&namespace.metadata),
                Ok(Event::Delete(namespace)) => {
                    if let Some(name) = &namespace.metadata.name {
                        self.index().namespace_deleted(name);
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
                    let mut index = self.index();
                    let gone: Vec<String> = index
                        .namespaces()
                        .map(|(name, _)| name)
                        .filter(|name| !listed.contains(name))
                        .cloned()
                        .collect();
                    gone.iter().for_each(|name| index.namespace_deleted(name));
                    let _ = self.namespaces_listed.set(());
                }
                Err(_) => continue,
            }
            self.changed();
        }
    }

    /// Asks the API which namespaces the pods lie in that were not seen before, until `shutdown`. What is not answered is
    /// asked again.
    pub async fn ask_owners(self: Arc<Self>, client: Client, health: Health, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.ask_each(&client, &health, ANSWER_MAX)).await;
    }

    /// A question that is not answered waits for its next turn; the others are asked meanwhile.
    async fn ask_each(&self, client: &Client, health: &Health, answer_max: Duration) {
        let mut pauses = Pauses::new(ASK_AGAIN_MIN, ASK_AGAIN_MAX);
        let mut failed: BTreeSet<Question> = BTreeSet::new();
        let mut again_at = Instant::now();
        health.set("owners", Ok(()));
        loop {
            let mut questions = self.index().questions();
            questions.retain(|question| !failed.contains(question));
            if questions.is_empty() {
                if failed.is_empty() {
                    pauses.reset();
                    health.set("owners", Ok(()));
                    self.to_ask.notified().await;
                } else if tokio::time::timeout_at(again_at, self.to_ask.notified()).await.is_err() {
                    failed.clear();
                }
                continue;
            }
            for question in questions {
                let Err(why) = self.ask(client, &question, answer_max).await else { continue };
                tracing::warn!(why, "ask the Kubernetes API whose a pod is");
                health.set("owners", Err(why));
                if failed.is_empty() {
                    again_at = Instant::now() + pauses.pause();
                }
                failed.insert(question);
            }
        }
    }

    async fn ask(&self, client: &Client, question: &Question, answer_max: Duration) -> Result<(), String> {
        let answer = async {
            match question {
                Question::Namespace { name, .. } => {
                    let api: Api<Namespace> = Api::all(client.clone());
                    api.get_metadata_opt(name).await.map(|found| found.map(|found| found.metadata))
                }
                Question::Pod { namespace, name, .. } => {
                    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
                    api.get_metadata_opt(name).await.map(|found| found.map(|found| found.metadata))
                }
            }
        };
        let kind = match question {
            Question::Namespace { .. } => "namespaces",
            Question::Pod { .. } => "pods",
        };
        let answered = tokio::time::timeout(answer_max, answer)
            .await
            .map_err(|_| format!("get {kind}: no answer within {answer_max:?}"))?;
        let meta = answered.map_err(|error| explain_call("get", kind, &error))?;
        self.index().answer(question, meta.as_ref());
        self.changed();
        Ok(())
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
pub(crate) mod tests;
