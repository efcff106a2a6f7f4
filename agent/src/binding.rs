//! Which namespace a pod lies in, decided by UIDs alone.
//! Promises: no clock is compared with another one; a pod gets the tenant of the very namespace it was made in, or none; as
//! long as the API answers, that is decided at once.
//!
//! A namespace goes only after all of its pods have gone. So the namespace that the API names when it is asked is the pod's own
//! in two cases: the same namespace was known before the pod was seen, or the pod is still there after the answer. (A watch that
//! makes up for a gap tells of pods that may have gone meanwhile: there the namespace must have been known before the gap.)

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use cordwood_core::tenancy::Labels;
use cordwood_core::workload::{service_of, workload_of};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::source::pod_folder;

/// How long deleted pods are remembered, for their last lines.
const DELETED_SECONDS_MAX: u64 = 900;

/// What is known of this node's pods and of all namespaces.
#[derive(Default)]
pub(crate) struct Index {
    /// By the name of the pod's folder: a pod that claims another's UID (by an annotation) has a folder of its own here.
    pub pods: HashMap<String, PodFacts>,
    namespaces: HashMap<String, Known>,
    /// Pods that have files and that no watch has reported, by their folders.
    unknown: HashMap<String, Unknown>,
}

#[derive(Clone, Debug)]
pub(crate) struct PodFacts {
    name: String,
    namespace: String,
    pub service: Option<String>,
    pub workload: String,
    pub version: String,
    pub labels: BTreeMap<String, String>,
    pub deleted_at: Option<Instant>,
    /// The namespace of this name that was known when the pod was seen first; after a gap of the watch, before the gap.
    known_then: Option<String>,
    owner: Owner,
}

/// In which namespace a pod lies.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    /// The namespace must be asked of the API server.
    Unasked,
    /// The API server named the namespace. It must now be asked whether the pod is still there.
    Perhaps(NamespaceFacts),
    /// The namespace is certain.
    Is(NamespaceFacts),
    /// Nobody can know the namespace any more.
    Nobody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceFacts {
    uid: String,
    /// What it says of its tenant.
    pub labels: Labels,
}

struct Known {
    facts: NamespaceFacts,
    /// Of this very namespace.
    since: Instant,
}

struct Unknown {
    namespace: String,
    pod: String,
    asked_at: Instant,
    /// The API server does not have the object.
    gone: bool,
}

/// What is known of whose a pod's lines are.
pub(crate) enum Found<'a> {
    Owner(&'a PodFacts, &'a NamespaceFacts),
    /// The API server will be asked.
    Waiting(&'static str),
    /// The pod is gone, and nobody can tell its namespace any more.
    Nobody,
}

/// A question to the API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Question {
    /// `folders`: of the pods that were seen before it is asked.
    Namespace {
        name: String,
        folders: Vec<String>,
    },
    Pod {
        namespace: String,
        name: String,
        folder: String,
    },
}

impl NamespaceFacts {
    fn of(meta: &ObjectMeta) -> NamespaceFacts {
        NamespaceFacts { uid: meta.uid.clone().unwrap_or_default(), labels: Labels::of(meta.labels.as_ref()) }
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
            name: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            service,
            workload,
            version: labels.get("app.kubernetes.io/version").cloned().unwrap_or_default(),
            labels,
            deleted_at: None,
            known_then: None,
            owner: Owner::Unasked,
        }
    }
}

/// The name of a pod's folder. The UID in it is the hash of its manifest for a static pod, while its mirror in the API has
/// another.
pub(crate) fn folder_of(meta: &ObjectMeta) -> Option<String> {
    let hash = meta.annotations.as_ref().and_then(|all| all.get("kubernetes.io/config.mirror"));
    let uid = hash.or(meta.uid.as_ref())?;
    Some(pod_folder(meta.namespace.as_ref()?, meta.name.as_ref()?, uid))
}

/// The part of a request's path that such a name is may have no other meaning there.
fn is_name(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    name.as_bytes().iter().all(plain) && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

impl Index {
    /// Whose the lines of a pod's folder are, by what the watches told.
    pub fn find(&self, folder: &str) -> Option<Found<'_>> {
        let facts = self.pods.get(folder)?;
        Some(match &facts.owner {
            // Its namespace may say something else by now, as long as it is the same.
            Owner::Is(owner) => Found::Owner(facts, self.now(facts, owner)),
            Owner::Unasked | Owner::Perhaps(_) => Found::Waiting("the metadata of its namespace"),
            Owner::Nobody => Found::Nobody,
        })
    }

    fn now<'a>(&'a self, facts: &PodFacts, owner: &'a NamespaceFacts) -> &'a NamespaceFacts {
        let current = self.namespaces.get(&facts.namespace).map(|known| &known.facts);
        current.filter(|current| current.uid == owner.uid && facts.deleted_at.is_none()).unwrap_or(owner)
    }

    /// Whose they are of a pod that no watch told of: the API is asked for it.
    pub fn find_unknown(&mut self, namespace: &str, pod: &str, folder: &str) -> Found<'static> {
        let unknown = self.unknown.entry(folder.to_owned()).or_insert_with(|| Unknown {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            asked_at: Instant::now(),
            gone: !is_name(namespace) || !is_name(pod),
        });
        if unknown.gone { Found::Nobody } else { Found::Waiting("the metadata of its pod") }
    }

    pub fn is_alive(&self, folder: &str) -> bool {
        self.pods.get(folder).is_some_and(|facts| facts.deleted_at.is_none())
    }

    /// A watch has reported the pod as it exists now.
    pub fn pod_applied(&mut self, meta: &ObjectMeta) {
        self.pod_seen(meta, None);
    }

    /// Told by a watch that missed what happened since `gap_began` and makes up for it: it may be gone for long, and its
    /// namespace with it. A namespace that was known before is its own, if it is still there.
    pub fn pod_made_up_for(&mut self, meta: &ObjectMeta, gap_began: Instant) {
        self.pod_seen(meta, Some(gap_began));
    }

    fn pod_seen(&mut self, meta: &ObjectMeta, gap_began: Option<Instant>) {
        let Some(folder) = folder_of(meta) else { return };
        let mut facts = PodFacts::of(meta);
        match self.pods.remove(&folder) {
            Some(before) => {
                facts.known_then = before.known_then;
                // (It is there: the answer that nobody can know it was wrong.)
                facts.owner = if before.owner == Owner::Nobody { Owner::Unasked } else { before.owner };
            }
            None => {
                let known = self.namespaces.get(&facts.namespace);
                let known = known.filter(|known| gap_began.is_none_or(|began| known.since < began));
                facts.known_then = known.map(|known| known.facts.uid.clone());
            }
        }
        self.unknown.remove(&folder);
        self.pods.insert(folder, facts);
    }

    pub fn pod_deleted(&mut self, folder: &str) {
        if let Some(mut facts) = self.pods.remove(folder) {
            if facts.deleted_at.is_none() {
                if let Owner::Is(owner) = &facts.owner {
                    facts.owner = Owner::Is(self.now(&facts, owner).clone());
                }
                facts.deleted_at = Some(Instant::now());
            }
            self.pods.insert(folder.to_owned(), facts);
        }
        let recent = |at: &Instant| at.elapsed().as_secs() < DELETED_SECONDS_MAX;
        self.pods.retain(|_, facts| facts.deleted_at.as_ref().is_none_or(recent));
        self.unknown.retain(|_, unknown| recent(&unknown.asked_at));
    }

    pub fn namespace_applied(&mut self, meta: &ObjectMeta) {
        if let Some(name) = meta.name.clone() {
            self.put_namespace(name, NamespaceFacts::of(meta));
        }
    }

    fn put_namespace(&mut self, name: String, facts: NamespaceFacts) {
        if self.namespaces.get(&name).is_some_and(|before| before.facts.uid != facts.uid) {
            self.namespace_deleted(&name);
        }
        let since = self.namespaces.get(&name).map_or_else(Instant::now, |before| before.since);
        self.namespaces.insert(name, Known { facts, since });
    }

    /// Notes that a namespace was deleted. Its pods keep what it said last.
    pub fn namespace_deleted(&mut self, name: &str) {
        let Some(Known { facts: last, .. }) = self.namespaces.remove(name) else { return };
        for facts in self.pods.values_mut().filter(|facts| facts.namespace == name) {
            if matches!(&facts.owner, Owner::Is(owner) if owner.uid == last.uid) && facts.deleted_at.is_none()
            {
                facts.owner = Owner::Is(last.clone());
            }
        }
    }

    pub fn namespaces(&self) -> impl Iterator<Item = (&String, &NamespaceFacts)> {
        self.namespaces.iter().map(|(name, known)| (name, &known.facts))
    }

    pub fn namespace(&self, name: &str) -> Option<&NamespaceFacts> {
        self.namespaces.get(name).map(|known| &known.facts)
    }

    /// The next questions to the API server.
    pub fn questions(&self) -> Vec<Question> {
        let mut namespaces: BTreeMap<&String, Vec<String>> = BTreeMap::new();
        let mut questions = Vec::new();
        for (folder, facts) in &self.pods {
            let folder = folder.clone();
            match &facts.owner {
                Owner::Unasked => namespaces.entry(&facts.namespace).or_default().push(folder),
                Owner::Perhaps(_) => {
                    let (namespace, name) = (facts.namespace.clone(), facts.name.clone());
                    questions.push(Question::Pod { namespace, name, folder });
                }
                Owner::Is(_) | Owner::Nobody => {}
            }
        }
        for (folder, unknown) in self.unknown.iter().filter(|(_, unknown)| !unknown.gone) {
            let (namespace, name) = (unknown.namespace.clone(), unknown.pod.clone());
            questions.push(Question::Pod { namespace, name, folder: folder.clone() });
        }
        let name = |(name, folders): (&String, _)| Question::Namespace { name: name.clone(), folders };
        questions.extend(namespaces.into_iter().map(name));
        questions
    }

    /// Takes the API server's answer; `None`: there is no such object.
    pub fn answer(&mut self, question: &Question, meta: Option<&ObjectMeta>) {
        match question {
            Question::Namespace { name, folders } => {
                let facts = meta.map(NamespaceFacts::of);
                if let Some(facts) = &facts {
                    self.put_namespace(name.clone(), facts.clone());
                }
                for folder in folders {
                    let Some(pod) = self.pods.get_mut(folder) else { continue };
                    if pod.owner != Owner::Unasked {
                        continue;
                    }
                    pod.owner = match &facts {
                        Some(facts) if pod.known_then.as_ref() == Some(&facts.uid) => {
                            Owner::Is(facts.clone())
                        }
                        Some(facts) if pod.deleted_at.is_none() => Owner::Perhaps(facts.clone()),
                        _ => Owner::Nobody,
                    };
                }
            }
            Question::Pod { folder, .. } => {
                let is_there = meta.is_some_and(|meta| folder_of(meta).as_ref() == Some(folder));
                if let Some(pod) = self.pods.get_mut(folder) {
                    if let Owner::Perhaps(owner) = &pod.owner {
                        pod.owner = if is_there { Owner::Is(owner.clone()) } else { Owner::Nobody };
                    }
                } else if let Some(meta) = meta.filter(|_| is_there) {
                    self.pod_applied(meta);
                } else if let Some(unknown) = self.unknown.get_mut(folder) {
                    unknown.gone = true;
                }
            }
        }
    }
}
