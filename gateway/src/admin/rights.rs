//! Decides who may read and change resources. In a cluster: anyone who may do the same with `kubectl`. Elsewhere: anyone who may see everything that
//! the resource is about and holds a token that may administer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use cordwood_core::limits::ACCESS_NAMES_MAX;
use serde_json::Value;

use super::{Administration, Kind, Place};
use crate::Gateway;
use crate::access::reviews::Attributes;
use crate::access::tokens::{Names, Token};
use crate::access::{Access, Identity};
use crate::audit::Look;
use crate::problem::Problem;
use crate::scope::Known;

/// A right that was taken away changes nothing after that.
const FRESH: Duration = Duration::from_secs(1);

/// Somebody who asks for what is no record; what they may is asked for each resource.
#[derive(Clone, Debug)]
pub struct Administrator {
    pub identity: Identity,
    pub look: Look,
}

impl FromRequestParts<Arc<Gateway>> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Administrator, Problem> {
        let Known(identity) = Known::from_request_parts(parts, gateway).await?;
        // A known caller learns that administration is off before the gateway reads anything of the question.
        gateway.administration()?;
        let look = parts.extensions.get::<Look>().cloned().ok_or_else(Problem::internal)?;
        Ok(Administrator { identity, look })
    }
}

/// As the API server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Create,
    Update,
    Delete,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }
}

impl Gateway {
    /// # Errors
    /// When this gateway administers nothing.
    pub fn administration(&self) -> Result<&Administration, Problem> {
        self.administration.as_ref().ok_or_else(Problem::no_administration)
    }

    /// Whether somebody may do this to a resource; without a name: to any of its kind in its namespace, which is all when it is empty.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn may(&self, who: &Administrator, verb: Verb, place: &Place) -> Result<bool, Problem> {
        let age_max = if matches!(verb, Verb::Get | Verb::List) { Duration::MAX } else { FRESH };
        self.may_within(who, verb, place, age_max).await
    }

    /// The same, by an answer of the API server of this age at the most.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn may_within(
        &self,
        who: &Administrator,
        verb: Verb,
        place: &Place,
        age_max: Duration,
    ) -> Result<bool, Problem> {
        match (&who.identity, &self.access) {
            (Identity::Local, Access::Loopback) => Ok(true),
            (Identity::Token(token), Access::Tokens(_)) => Ok(token_may(token, place)),
            (Identity::Person(person, ..), Access::Cluster(cluster)) => {
                // Who creates is asked without the name, as the API server asks.
                let name = if verb == Verb::Create { "" } else { place.name.as_str() };
                let attributes = Attributes {
                    verb: verb.as_str(),
                    group: "cordwood.dev",
                    resource: place.kind.plural(),
                    subresource: "",
                    namespace: &place.namespace,
                    name,
                };
                cluster.may_do(person, attributes, age_max, &self.metrics).await
            }
            _ => Ok(false),
        }
    }

    /// Those that somebody sees.
    ///
    /// # Errors
    /// When the API server does not say, or there are too many namespaces to ask for each.
    pub async fn listed(
        &self,
        who: &Administrator,
        kind: Kind,
        namespace: Option<&str>,
    ) -> Result<Vec<Value>, Problem> {
        let administration = self.administration()?;
        let of = |namespace: &str| Place { kind, namespace: namespace.to_owned(), name: String::new() };
        if self.sees(who, &of("")).await? {
            return administration.list(kind, namespace).await;
        }
        if kind != Kind::Levels {
            return Ok(Vec::new());
        }
        if let Some(namespace) = namespace {
            let may = self.sees(who, &of(namespace)).await?;
            return if may { administration.list(kind, Some(namespace)).await } else { Ok(Vec::new()) };
        }
        let mut namespaces: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for object in administration.list(kind, None).await? {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            namespaces.entry(namespace).or_default().push(object);
        }
        if namespaces.len() > ACCESS_NAMES_MAX {
            return Err(Problem::name_a_namespace());
        }
        let mut seen = Vec::new();
        for (namespace, objects) in namespaces {
            if self.sees(who, &of(&namespace)).await? {
                seen.extend(objects);
            }
        }
        Ok(seen)
    }

    async fn sees(&self, who: &Administrator, place: &Place) -> Result<bool, Problem> {
        Ok(self.may(who, Verb::List, place).await? || self.may(who, Verb::Get, place).await?)
    }
}

/// What is about all records needs a token that sees all of them.
fn token_may(token: &Token, place: &Place) -> bool {
    if !token.administer || matches!(token.tenants, Names::Only(_)) {
        return false;
    }
    match &token.namespaces {
        Names::All(_) => true,
        Names::Only(names) => place.kind == Kind::Levels && names.contains(&place.namespace),
    }
}
