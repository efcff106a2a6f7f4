//! Asks the API server who holds a token (TokenReview), whether somebody may do something (SubjectAccessReview), and when a namespace was
//! created.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use tokio::sync::Semaphore;

use super::person::Person;
use super::remembered::{Away, Key, NoAnswer};
use crate::metrics::Metrics;

/// A question that takes longer has no answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Questions at once, of all callers.
const AT_ONCE_MAX: usize = 64;
/// Of these, about one person: a caller who asks about many names leaves room for the others.
pub const AT_ONCE_OF_ONE_MAX: usize = 16;
/// So long a question about a person waits for others about the same one.
const SHARE_PATIENCE: Duration = Duration::from_secs(2);
/// Questions at once about who holds a token: strangers' tokens take no room from people's rights.
const TOKENS_AT_ONCE_MAX: usize = 32;
const _: () = assert!(2 * AT_ONCE_OF_ONE_MAX <= AT_ONCE_MAX);

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub verb: &'static str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl<'a> Attributes<'a> {
    pub fn parts(self) -> [&'a str; 6] {
        [self.verb, self.group, self.resource, self.subresource, self.namespace, self.name]
    }
}

pub struct Reviews {
    client: Client,
    audience: String,
    at_once: Semaphore,
    tokens_at_once: Semaphore,
    /// Of those about whom something is asked.
    own: Mutex<HashMap<Key, Weak<Semaphore>>>,
}

impl std::fmt::Debug for Reviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reviews({})", self.audience)
    }
}

impl Reviews {
    /// # Errors
    /// When there is no way to the API server.
    pub async fn new(kubeconfig_file: Option<&Path>, audience: String) -> anyhow::Result<Reviews> {
        let key = "access.kubernetes.kubeconfig_file";
        let mut config = match kubeconfig_file {
            Some(path) => {
                let what = || format!("read {key} {}", path.display());
                let file = Kubeconfig::read_from(path).with_context(what)?;
                let options = KubeConfigOptions::default();
                kube::Config::from_custom_kubeconfig(file, &options).await.with_context(what)?
            }
            None => kube::Config::infer().await.with_context(|| {
                format!("find the API server: neither a service account nor a kubeconfig; set {key}")
            })?,
        };
        config.read_timeout = Some(ANSWER_MAX);
        config.connect_timeout = Some(ANSWER_MAX);
        // Else the time that a connection lay idle counts.
        config.reset_reader_on_write = true;
        let client = Client::try_from(config).context("make a client of the API server")?;
        Ok(Reviews::of(client, audience))
    }

    pub(super) fn of(client: Client, audience: String) -> Reviews {
        Reviews {
            client,
            audience,
            at_once: Semaphore::new(AT_ONCE_MAX),
            tokens_at_once: Semaphore::new(TOKENS_AT_ONCE_MAX),
            own: Mutex::default(),
        }
    }

    /// For other questions to the same API server, as the same account.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Who holds this token, if it is for this audience.
    pub async fn token(&self, token: &str, metrics: &Metrics) -> Result<Option<Person>, Away> {
        let spec =
            TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![self.audience.clone()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let parameters = PostParams::default();
        let question = reviews.create(&parameters, &review);
        let answer = self.ask("token", &self.tokens_at_once, question, metrics).await?;
        let status = answer.status.unwrap_or_default();
        // An API server that knows nothing of audiences names none: its yes may be to a token for somebody else.
        let is_for_us = status.audiences.unwrap_or_default().contains(&self.audience);
        let user = status.user.filter(|_| status.authenticated == Some(true) && is_for_us);
        let person = user.and_then(|user| {
            let name = user.username.filter(|name| !name.is_empty())?;
            let (groups, extra) = (user.groups.unwrap_or_default(), user.extra.unwrap_or_default());
            Some(Person::new(name, user.uid, groups, extra))
        });
        metrics.reviewed("token", if person.is_some() { "yes" } else { "no" });
        Ok(person)
    }

    /// Whether somebody may do this.
    pub async fn access(
        &self,
        person: &Person,
        wanted: Attributes<'_>,
        metrics: &Metrics,
    ) -> Result<bool, NoAnswer> {
        let own = self.own(person.key);
        let Ok(Ok(_share)) = tokio::time::timeout(SHARE_PATIENCE, own.acquire()).await else {
            return Err(NoAnswer::Crowded);
        };
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let attributes = ResourceAttributes {
            group: text(wanted.group),
            resource: text(wanted.resource),
            subresource: text(wanted.subresource),
            namespace: text(wanted.namespace),
            name: text(wanted.name),
            verb: text(wanted.verb),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(person.name.clone()),
            uid: person.uid.clone(),
            groups: Some(person.groups.clone()),
            extra: Some(person.extra.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let parameters = PostParams::default();
        let question = reviews.create(&parameters, &review);
        let answer = self.ask("access", &self.at_once, question, metrics).await?;
        let status = answer.status.unwrap_or_default();
        let may = status.allowed && status.denied != Some(true);
        metrics.reviewed("access", if may { "yes" } else { "no" });
        Ok(may)
    }

    /// When this namespace was made, microseconds; `None`: it is not there.
    pub async fn namespace(&self, name: &str, metrics: &Metrics) -> Result<Option<i64>, Away> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let question = namespaces.get_metadata_opt(name);
        let found = self.ask("namespace", &self.at_once, question, metrics).await?;
        metrics.reviewed("namespace", if found.is_some() { "yes" } else { "no" });
        Ok(found.and_then(|namespace| Some(namespace.metadata.creation_timestamp?.0.as_microsecond())))
    }

    fn own(&self, person: Key) -> Arc<Semaphore> {
        let mut all = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get(&person).and_then(Weak::upgrade) {
            return own;
        }
        // Only about whom something is asked, or is about to be, is remembered.
        all.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(AT_ONCE_OF_ONE_MAX));
        all.insert(person, Arc::downgrade(&own));
        own
    }

    async fn ask<T>(
        &self,
        kind: &'static str,
        at_once: &Semaphore,
        question: impl Future<Output = kube::Result<T>>,
        metrics: &Metrics,
    ) -> Result<T, Away> {
        let waited = async {
            let _one = at_once.acquire().await.map_err(|_| "the gateway ends".to_owned())?;
            question.await.map_err(|error| error.to_string())
        };
        let answer = tokio::time::timeout(ANSWER_MAX, waited).await;
        answer.unwrap_or_else(|_| Err("no answer in time".to_owned())).map_err(|error| {
            metrics.reviewed(kind, "none");
            tracing::warn!(%error, review = kind, "the API server does not say who may ask");
            Away
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::body::Body;
    use axum::http::{Response, header};
    use futures::future::join_all;
    use prometheus::Registry;

    use super::*;

    /// An API server that takes a moment for each answer, and how many questions it had at once at the most.
    fn slow() -> (Reviews, Arc<AtomicUsize>) {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let answer = move || {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
                running.fetch_sub(1, Ordering::Relaxed);
                let answer = r#"{"metadata":{},"spec":{},"status":{"allowed":true}}"#;
                Response::builder()
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(Body::from(answer))
                    .unwrap_or_default()
            }
        };
        let client = Client::new(Router::new().fallback(answer), "default");
        (Reviews::of(client, "cordwood".to_owned()), seen)
    }

    fn person(name: &str) -> Person {
        Person::new(name.to_owned(), None, Vec::new(), BTreeMap::new())
    }

    #[tokio::test]
    async fn who_is_asked_about_much_leaves_room_for_the_others() {
        let (reviews, most) = slow();
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let wanted = Attributes {
            verb: "get",
            group: "cordwood.dev",
            resource: "logs",
            subresource: "",
            namespace: "shop",
            name: "",
        };
        let (one, other) = (person("one"), person("other"));
        let flood = join_all((0..1_000).map(|_| reviews.access(&one, wanted, &metrics)));
        let beside = async {
            // All of the flood stands in line.
            tokio::time::sleep(Duration::from_millis(10)).await;
            reviews.access(&other, wanted, &metrics).await
        };
        let (flood, beside) = futures::future::join(flood, beside).await;
        assert_eq!(beside, Ok(true));
        let (answered, refused): (Vec<_>, Vec<_>) = flood.into_iter().partition(Result::is_ok);
        assert!(!answered.is_empty() && !refused.is_empty());
        assert!(refused.iter().all(|answer| *answer == Err(NoAnswer::Crowded)), "{refused:?}");
        assert!(most.load(Ordering::Relaxed) <= AT_ONCE_OF_ONE_MAX + 1);
        assert!(reviews.own.lock().unwrap().len() <= 2);
    }

    #[tokio::test]
    async fn strangers_tokens_leave_room_for_peoples_rights() {
        let (reviews, most) = slow();
        let metrics = Metrics::register(&Registry::new()).unwrap();
        join_all((0..200).map(|number| {
            let (reviews, metrics) = (&reviews, &metrics);
            async move { reviews.token(&format!("token {number}"), metrics).await }
        }))
        .await;
        assert!(most.load(Ordering::Relaxed) <= TOKENS_AT_ONCE_MAX);
    }
}
