//! The two questions to the API server: who holds a token (TokenReview), and whether somebody may do something (SubjectAccessReview).

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use tokio::sync::Semaphore;

use super::person::Person;
use super::remembered::Away;
use crate::metrics::Metrics;

/// A question that takes longer has no answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Questions at once, of all callers.
const AT_ONCE_MAX: usize = 64;

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
        Ok(Reviews { client, audience, at_once: Semaphore::new(AT_ONCE_MAX) })
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
        let answer = self.ask("token", reviews.create(&PostParams::default(), &review), metrics).await?;
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
    ) -> Result<bool, Away> {
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
        let answer = self.ask("access", reviews.create(&PostParams::default(), &review), metrics).await?;
        let status = answer.status.unwrap_or_default();
        let may = status.allowed && status.denied != Some(true);
        metrics.reviewed("access", if may { "yes" } else { "no" });
        Ok(may)
    }

    async fn ask<T>(
        &self,
        kind: &'static str,
        question: impl Future<Output = kube::Result<T>>,
        metrics: &Metrics,
    ) -> Result<T, Away> {
        let waited = async {
            let _one = self.at_once.acquire().await.map_err(|_| "the gateway ends".to_owned())?;
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
