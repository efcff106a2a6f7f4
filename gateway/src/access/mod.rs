//! Identifies the caller. Only this module makes an identity, from the headers of a request; [`crate::scope`] says what the identity may see.
//!
//! A gateway has one of three kinds of access: on a loopback address everybody on the machine, with a file of tokens everybody who holds one
//! of them, in a cluster everybody whom the API server knows.

pub mod cluster;
pub mod loopback;
pub mod oidc;
pub mod person;
pub mod remembered;
pub mod reviews;
pub mod sessions;
pub mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::metrics::Metrics;
use crate::problem::Problem;
use cluster::{Bearer, Cluster};
use oidc::Oidc;
use person::{KnownBy, Person};
use sessions::{Sessions, now_s};
use tokens::{Token, Tokens};

/// How callers are known.
#[derive(Clone, Debug)]
pub enum Access {
    /// Anyone who reaches the loopback address owns the store.
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
    /// The answer to a caller who may not ask at all, or that nobody knows now who asks.
    pub async fn identify(
        &self,
        parts: &Parts,
        sessions: &Sessions,
        metrics: &Metrics,
    ) -> Result<Identity, Problem> {
        match self {
            Access::Loopback => loopback::check(&parts.headers).map(|()| Identity::Local),
            Access::Tokens(tokens) => sessions
                .token(parts, None)?
                .and_then(|bearer| tokens.holder(bearer.token()))
                .map(Identity::Token)
                .ok_or_else(Problem::unknown_caller),
            Access::Cluster(cluster) => {
                let browser = cluster.oidc().and_then(Oidc::browser);
                let unknown = || Problem::unknown_in_cluster(browser.is_some());
                let origin = browser.map(|browser| browser.origin.as_str());
                let bearer = sessions.token(parts, origin)?.ok_or_else(unknown)?;
                let person = cluster.person(&bearer, Duration::MAX, metrics).await?;
                Ok(Identity::Person(person.ok_or_else(unknown)?, bearer))
            }
        }
    }

    pub fn oidc(&self) -> Option<&Oidc> {
        match self {
            Access::Cluster(cluster) => cluster.oidc(),
            Access::Loopback | Access::Tokens(_) => None,
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    // A program that reads on to the first blank would take a part of it.
    let is_one = !token.contains(|letter: char| letter.is_whitespace() || letter == ',');
    (scheme.eq_ignore_ascii_case("bearer") && is_one).then_some(token)
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

    /// What the caller is known by; a caller on this machine needs none.
    pub fn token(&self) -> Option<&str> {
        match self {
            Identity::Local => None,
            Identity::Token(token) => Some(token.secret()),
            Identity::Person(_, bearer) => Some(bearer.token()),
        }
    }

    /// When the caller's token is over, as it says itself: seconds since the epoch.
    pub fn ends_s(&self) -> Option<i64> {
        let Identity::Person(_, bearer) = self else { return None };
        bearer.said_end_s()
    }

    /// In how long the caller's token is over, as it says itself: what lasts longer asks again then.
    pub fn ends_in(&self) -> Option<Duration> {
        // In that second it still holds.
        let left_s = u64::try_from(self.ends_s()?.checked_sub(now_s())?).ok()?;
        Some(Duration::from_secs(left_s + 1))
    }

    /// Whom to ask for more, or the command that grants it.
    pub fn how_to_see_more(&self) -> String {
        let Identity::Person(person, _) = self else {
            return "the person who keeps the gateway's file of tokens can add to what this token sees"
                .to_owned();
        };
        let service_account = person.name.strip_prefix("system:serviceaccount:");
        let (kind, name) =
            service_account.map_or(("user", person.name.as_str()), |name| ("serviceaccount", name));
        // For a shell: what is in single quotes is taken as it is.
        let subject = format!("--{kind}='{}'", name.replace('\'', r"'\''"));
        format!(
            "an administrator of a namespace can grant its logs: kubectl create rolebinding cordwood-logs --namespace NAMESPACE \
             --clusterrole cordwood-logs {subject}"
        )
    }
}
