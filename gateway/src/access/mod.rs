//! Who asks. An identity is made here alone, from a request's headers; what it may see, [`crate::scope`] says.
//!
//! Three ways in exist, a gateway has one of them: on a loopback address everybody on the machine, with a file of tokens whoever holds
//! one, in a cluster whomever the API server knows.

pub mod cluster;
pub mod loopback;
pub mod oidc;
pub mod remembered;
pub mod reviews;
pub mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};

use crate::metrics::Metrics;
use crate::problem::Problem;
use cluster::{Bearer, Cluster, KnownBy, Person};
use tokens::{Token, Tokens};

/// How callers are known.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever reaches the loopback address owns the store.
    Loopback,
    Tokens(Tokens),
    Cluster(Arc<Cluster>),
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Somebody on this machine.
    Local,
    Token(Arc<Token>),
    /// Somebody whom the API server knows by this token.
    Person(Arc<Person>, Bearer),
}

impl Access {
    /// # Errors
    /// The answer to whoever may not ask at all, or that nobody knows now who asks.
    pub async fn identify(&self, headers: &HeaderMap, metrics: &Metrics) -> Result<Identity, Problem> {
        match self {
            Access::Loopback => loopback::check(headers).map(|()| Identity::Local),
            Access::Tokens(tokens) => bearer(headers)
                .and_then(|token| tokens.holder(token))
                .map(Identity::Token)
                .ok_or_else(Problem::unknown_caller),
            Access::Cluster(cluster) => {
                let bearer = bearer(headers).map(Bearer::new).ok_or_else(Problem::unknown_in_cluster)?;
                let person = cluster.person(&bearer, Duration::MAX, metrics).await?;
                let person = person.ok_or_else(Problem::unknown_in_cluster)?;
                Ok(Identity::Person(person, bearer))
            }
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Identity {
    pub fn name(&self) -> &str {
        match self {
            Identity::Local => "local",
            Identity::Token(token) => &token.name,
            Identity::Person(person, _) => &person.name,
        }
    }

    /// How: `loopback`, `token`, `kubernetes` or `oidc`.
    pub fn known_by(&self) -> &'static str {
        match self {
            Identity::Local => "loopback",
            Identity::Token(_) => "token",
            Identity::Person(person, _) => match person.known_by {
                KnownBy::ApiServer => "kubernetes",
                KnownBy::IdentityProvider => "oidc",
            },
        }
    }

    /// Announces and deletes tasks among those that it sees. (Of people the cluster is not asked for this right yet.)
    pub fn may_change_tasks(&self) -> bool {
        match self {
            Identity::Local => true,
            Identity::Token(token) => token.change_tasks,
            Identity::Person(..) => false,
        }
    }

    /// Whom to ask for more, or the command that grants it.
    pub fn how_to_see_more(&self) -> String {
        let Identity::Person(person, _) = self else {
            return "whoever keeps the gateway's file of tokens can add to what this token sees".to_owned();
        };
        let service_account = person.name.strip_prefix("system:serviceaccount:");
        let (kind, name) =
            service_account.map_or(("user", person.name.as_str()), |name| ("serviceaccount", name));
        // For a shell: what is in single quotes is taken as it is.
        let subject = format!("--{kind}='{}'", name.replace('\'', r"'\''"));
        format!(
            "whoever administers a namespace can grant its logs: kubectl create rolebinding cordwood-logs --namespace NAMESPACE \
             --clusterrole cordwood-logs {subject}"
        )
    }
}
