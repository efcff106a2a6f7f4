//! Identifies callers in a cluster: the API server says who holds a token and what they may do. Its answers are kept for a while; each question
//! to it is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cordwood_core::limits::TOKEN_BYTES_MAX;

use super::oidc::{Oidc, said_end_s};
use super::person::Person;
use super::remembered::{Ages, NoAnswer, Remembered, key};
use super::reviews::{Attributes, Reviews};
use crate::config::KubernetesAccess;
use crate::metrics::Metrics;
use crate::problem::Problem;

/// Of each kind. An answer takes some 200 bytes.
const REMEMBERED_MAX: usize = 20_000;

/// A token that somebody gave.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(Arc<str>);

impl Bearer {
    pub fn new(token: &str) -> Bearer {
        Bearer(token.into())
    }

    pub fn token(&self) -> &str {
        &self.0
    }

    /// Seconds since the epoch, as the token says itself: the gateway asks again at that time about a caller who stays longer.
    pub fn said_end_s(&self) -> Option<i64> {
        said_end_s(&self.0)
    }
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer")
    }
}

/// What the API server is asked about somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// `get` `logs` of this namespace; of all, when it is empty.
    Logs(String),
    AuditLogs(String),
    /// `get` `logs`, or `tasklogs` alone.
    TaskLogs(String),
    /// `delete` `tasklogs`.
    ChangeTasks(String),
    /// `get` `tenants/logs` of the name.
    Tenant(String),
    TenantAudit(String),
}

impl Right {
    /// Each of which is enough.
    fn ways(&self, accepts_pods_log: bool) -> Vec<Attributes<'_>> {
        let of = |resource, namespace| Attributes {
            verb: "get",
            group: "cordwood.dev",
            resource,
            subresource: "",
            namespace,
            name: "",
        };
        let of_tenant = |subresource, name| Attributes { subresource, name, ..of("tenants", "") };
        let logs = |namespace| {
            let pods_log = Attributes { group: "", subresource: "log", ..of("pods", namespace) };
            let pods_log = accepts_pods_log.then_some(pods_log);
            std::iter::once(of("logs", namespace)).chain(pods_log)
        };
        match self {
            Right::Logs(namespace) => logs(namespace).collect(),
            Right::AuditLogs(namespace) => vec![of("auditlogs", namespace)],
            Right::TaskLogs(namespace) => logs(namespace).chain([of("tasklogs", namespace)]).collect(),
            Right::ChangeTasks(namespace) => vec![Attributes { verb: "delete", ..of("tasklogs", namespace) }],
            Right::Tenant(slug) => vec![of_tenant("logs", slug)],
            Right::TenantAudit(slug) => vec![of_tenant("auditlogs", slug)],
        }
    }
}

#[derive(Debug)]
pub struct Cluster {
    reviews: Reviews,
    accepts_pods_log: bool,
    people: Remembered<Option<Arc<Person>>>,
    rights: Remembered<bool>,
    /// When namespaces were made.
    namespaces: Remembered<Option<i64>>,
    oidc: Option<Oidc>,
}

impl Cluster {
    /// # Errors
    /// When there is no way to the API server. That it does not answer is none.
    pub async fn new(config: &KubernetesAccess) -> anyhow::Result<Cluster> {
        let ms = Duration::from_millis;
        let ages = Ages { yes: ms(config.allow_ms), no: ms(config.deny_ms), away: ms(config.away_ms) };
        Ok(Cluster {
            reviews: Reviews::new(config.kubeconfig_file.as_deref(), config.audience.clone()).await?,
            accepts_pods_log: config.accept_pods_log,
            people: Remembered::new(ages, REMEMBERED_MAX),
            rights: Remembered::new(ages, REMEMBERED_MAX),
            namespaces: Remembered::new(ages, REMEMBERED_MAX),
            oidc: None,
        })
    }

    /// The gateway also knows the people whom this identity provider names.
    #[must_use]
    pub fn with_oidc(self, oidc: Oidc) -> Cluster {
        Cluster { oidc: Some(oidc), ..self }
    }

    pub fn oidc(&self) -> Option<&Oidc> {
        self.oidc.as_ref()
    }

    /// Who holds this token; `None`: nobody.
    ///
    /// # Errors
    /// When the API server (or the identity provider) does not say.
    pub async fn person(
        &self,
        bearer: &Bearer,
        age_max: Duration,
        metrics: &Metrics,
    ) -> Result<Option<Arc<Person>>, Problem> {
        let token = &*bearer.0;
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Ok(None);
        }
        // Whatever was said of it before. (A token may say so of itself; that it holds, it may not.)
        if bearer.said_end_s().is_some_and(|end_s| end_s < jiff::Timestamp::now().as_second()) {
            return Ok(None);
        }
        if let Some(oidc) = self.oidc.as_ref().filter(|oidc| oidc.is_of_issuer(token)) {
            let named = oidc.named(token, metrics).await.map_err(|_| Problem::issuer_away())?;
            return Ok(named.map(|named| Arc::new(Person::of_provider(named))));
        }
        let ask = async || Ok(self.reviews.token(token, metrics).await?.map(Arc::new));
        let found = self.people.get(key([token.as_bytes()]), age_max, ask).await;
        found.map(|(person, _)| person).map_err(|why| no_answer(why, metrics))
    }

    /// Whether the API server lets this person do it.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn may(
        &self,
        person: &Person,
        right: &Right,
        age_max: Duration,
        metrics: &Metrics,
    ) -> Result<bool, Problem> {
        Ok(self.granted(person, right, age_max, metrics).await?.is_some())
    }

    /// The same, and when the API server said yes.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn granted(
        &self,
        person: &Person,
        right: &Right,
        age_max: Duration,
        metrics: &Metrics,
    ) -> Result<Option<Instant>, Problem> {
        for attributes in right.ways(self.accepts_pods_log) {
            if let (true, at) = self.asked(person, attributes, age_max, metrics).await? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// When this namespace was made, microseconds, as the API server says it after the right in it was granted: who was granted a right
    /// in a new namespace is not shown what is remembered of an older one of the same name. `None`: it is not there.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn made(
        &self,
        namespace: &str,
        granted: Instant,
        metrics: &Metrics,
    ) -> Result<Option<i64>, Problem> {
        let ask = async || Ok(self.reviews.namespace(namespace, metrics).await?);
        let found = self.namespaces.get(key([namespace.as_bytes()]), granted.elapsed(), ask).await;
        let (made, at) = found.map_err(|why| no_answer(why, metrics))?;
        if at < granted { Err(Problem::cluster_away()) } else { Ok(made) }
    }

    /// Whether the API server lets this person do what these attributes say.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn may_do(
        &self,
        person: &Person,
        attributes: Attributes<'_>,
        age_max: Duration,
        metrics: &Metrics,
    ) -> Result<bool, Problem> {
        Ok(self.asked(person, attributes, age_max, metrics).await?.0)
    }

    /// For the objects of the same cluster.
    pub fn client(&self) -> kube::Client {
        self.reviews.client()
    }

    async fn asked(
        &self,
        person: &Person,
        attributes: Attributes<'_>,
        age_max: Duration,
        metrics: &Metrics,
    ) -> Result<(bool, Instant), Problem> {
        let parts = attributes.parts();
        let parts = std::iter::once(&person.key[..]).chain(parts.iter().map(|part| part.as_bytes()));
        let ask = async || self.reviews.access(person, attributes, metrics).await;
        self.rights.get(key(parts), age_max, ask).await.map_err(|why| no_answer(why, metrics))
    }
}

fn no_answer(why: NoAnswer, metrics: &Metrics) -> Problem {
    match why {
        NoAnswer::Away => Problem::cluster_away(),
        NoAnswer::Crowded => {
            metrics.refused("reviews");
            Problem::too_many_of_one()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::body::Body;
    use axum::http::{Response, header};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// The API server's yes was remembered, or it is away and the last one would hold.
    #[tokio::test]
    async fn a_token_that_says_itself_that_it_is_over_is_nobodys() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let answer = move || {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = r#"{"metadata":{},"spec":{},"status":{"authenticated":true,"audiences":["cordwood"],"user":{"username":"anna"}}}"#;
            let answer =
                Response::builder().header(header::CONTENT_TYPE, "application/json").body(Body::from(answer));
            std::future::ready(answer.unwrap_or_default())
        };
        let client = kube::Client::new(Router::new().fallback(answer), "default");
        let long = Duration::from_secs(3_600);
        let ages = Ages { yes: long, no: long, away: long };
        let cluster = Cluster {
            reviews: Reviews::of(client, "cordwood".to_owned()),
            accepts_pods_log: false,
            people: Remembered::new(ages, 10),
            rights: Remembered::new(ages, 10),
            namespaces: Remembered::new(ages, 10),
            oidc: None,
        };
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let token = |claims: &str| {
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            Bearer::new(&format!("{}.{}.x", part(r#"{"alg":"RS256"}"#), part(claims)))
        };
        let is_known =
            async |bearer: &Bearer| cluster.person(bearer, Duration::MAX, &metrics).await.unwrap().is_some();
        let now_s = jiff::Timestamp::now().as_second();
        let soon = token(&format!(r#"{{"exp":{}}}"#, now_s + 2));
        assert!(is_known(&soon).await);
        assert!(is_known(&token(r#"{"sub":"anna"}"#)).await && is_known(&Bearer::new("opaque")).await);
        let before = asked.load(Ordering::Relaxed);
        assert_eq!(before, 3);
        assert!(!is_known(&token(&format!(r#"{{"exp":{}}}"#, now_s - 1))).await);
        while jiff::Timestamp::now().as_second() <= now_s + 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(!is_known(&soon).await);
        assert_eq!(asked.load(Ordering::Relaxed), before);
    }

    #[test]
    fn a_token_is_not_shown() {
        assert!(!format!("{:?}", Bearer::new("secret")).contains("secret"));
    }

    #[test]
    fn a_right_is_asked_for_by_its_own_name() {
        let ways = |right: &Right, accepts_pods_log: bool| {
            let ways = right.ways(accepts_pods_log).into_iter();
            ways.map(|way| way.parts().map(str::to_owned).join(" ")).collect::<Vec<_>>()
        };
        let shop = || "shop".to_owned();
        let (logs, pods) = ("get cordwood.dev logs  shop ", "get  pods log shop ");
        let tasks = "get cordwood.dev tasklogs  shop ";
        for (right, accepts_pods_log, expected) in [
            (Right::Logs(shop()), false, &[logs][..]),
            (Right::Logs(shop()), true, &[logs, pods]),
            (Right::AuditLogs(shop()), true, &["get cordwood.dev auditlogs  shop "]),
            (Right::TaskLogs(shop()), false, &[logs, tasks]),
            (Right::TaskLogs(shop()), true, &[logs, pods, tasks]),
            (Right::ChangeTasks(shop()), true, &["delete cordwood.dev tasklogs  shop "]),
            (Right::Tenant(shop()), true, &["get cordwood.dev tenants logs  shop"]),
            (Right::TenantAudit(shop()), true, &["get cordwood.dev tenants auditlogs  shop"]),
        ] {
            assert_eq!(ways(&right, accepts_pods_log), expected, "{right:?}");
        }
    }
}
