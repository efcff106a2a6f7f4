//! Makes scopes: what a caller may see. This is the only place that makes one, and a route gets one only by taking a [`Caller`]. Without a scope
//! the store answers nothing.

mod granted;
mod named;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::header;
use axum::http::request::Parts;
use cordwood_core::filter::Filter;
use cordwood_core::scope::{AdminReason, Grant, Namespaces, Scope, Tenants};
use tokio::time::Instant;

use crate::Gateway;
use crate::access::cluster::Right;
use crate::access::tokens::{Names, Token};
use crate::access::{Access, Identity};
use crate::audit::Look;
use crate::problem::Problem;
use crate::server::{CallerShare, Connection};
use granted::Asking;
use named::Named;
use stored::Heard;

pub use stored::StoredNames;

/// An answer of the API server that open streams may share.
const FRESH: Duration = Duration::from_secs(1);

/// Who asks, and whose records they may see.
#[derive(Clone, Debug)]
pub struct Caller {
    pub identity: Identity,
    pub scope: Scope,
    /// What is told of this question.
    pub look: Look,
    /// The scope is for lines of tasks, and for nothing else.
    of_tasks: bool,
    /// The names that the API server was asked about one by one; `None`: what the scope sees is not a matter of names that have records.
    asked: Option<Asked>,
}

/// Which names somebody's scope was made of.
#[derive(Clone, Debug)]
struct Asked {
    named: Named,
    first: Heard,
    heard: Heard,
    version: usize,
    /// There are too many names to ask for each: nothing is seen before some are named.
    is_to_name: bool,
}

/// Routes that show lines of tasks alone.
const OF_TASKS: [&str; 2] = ["/api/tasks/", "/ws/tasks/"];

/// Who asks, where it does not matter whose records they may see.
pub struct Known(pub Identity);

impl FromRequestParts<Arc<Gateway>> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Known, Problem> {
        let identity = gateway.access.identify(parts, &gateway.sessions, &gateway.metrics).await;
        let identity = identity.inspect_err(|problem| {
            gateway.metrics.refused(if problem.is_for_now() { "away" } else { "caller" });
        });
        let identity = identity?;
        look(parts)?.is_by(&identity);
        let share = parts.extensions.get::<CallerShare>().ok_or_else(Problem::internal)?;
        share.hold(gateway.share_of(identity.name())?, parts.extensions.get::<Connection>());
        Ok(Known(identity))
    }
}

/// What is told of this question.
fn look(parts: &Parts) -> Result<Look, Problem> {
    parts.extensions.get::<Look>().cloned().ok_or_else(Problem::internal)
}

impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Caller, Problem> {
        let Known(identity) = Known::from_request_parts(parts, gateway).await?;
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let of_tasks = OF_TASKS.iter().any(|begin| route.starts_with(begin));
        let look = look(parts)?;
        let (scope, asked) = match (&identity, &gateway.access) {
            (Identity::Local, _) => (Scope::all(AdminReason::Standalone), None),
            (Identity::Token(token), _) => (of_token(token), None),
            (Identity::Person(person, _), Access::Cluster(cluster)) => {
                let asking = Asking { of_tasks, ..Asking::of(cluster, person, &gateway.metrics) };
                let (names, named) = (&gateway.stored_names, Named::of(&parts.uri));
                let version = names.version();
                let asked = asking.scope(&gateway.store, names, &named).await;
                let (scope, heard, is_to_name) = match asked {
                    // What it names stands in its first frame.
                    Err(problem) if names_later(parts, route) && problem.is_to_name_a_namespace() => {
                        (Scope::any_of([]), names.heard(), true)
                    }
                    asked => asked.map(|(scope, heard)| (scope, heard, false))?,
                };
                let asked = Asked { named, first: heard, heard, version, is_to_name };
                let is_by_name = !scope.grants().any(|grant| grant.is_of_all());
                (scope, is_by_name.then_some(asked))
            }
            // Nobody else makes a person.
            (Identity::Person(..), _) => return Err(Problem::unknown_caller()),
        };
        if !asked.as_ref().is_some_and(|asked| asked.is_to_name) {
            look.is_under(&scope);
        }
        Ok(Caller { identity, scope, look, of_tasks, asked })
    }
}

impl Caller {
    /// The [version of the stored names](StoredNames::version) that the scope knows; `None`: it needs none.
    pub fn names_version(&self) -> Option<usize> {
        self.asked.as_ref().map(|asked| asked.version)
    }
}

impl Gateway {
    /// Whether there is a name that a scope which lasts was not made with; `again`: whether it is made of names at all.
    pub fn has_later_names(&self, caller: &Caller, again: bool) -> bool {
        let is_later = |asked: &Asked| again || self.stored_names.version() != asked.version;
        caller.asked.as_ref().is_some_and(is_later)
    }

    /// Adds to a scope that lasts what is granted of names that have records since it was made, each asked for once; `again`: those too
    /// that were refused before. Says whether it sees more.
    ///
    /// # Errors
    /// When the API server does not say: the scope is as before, and is asked for again.
    pub async fn see_later_names(&self, caller: &mut Caller, again: bool) -> Result<bool, Problem> {
        let Some(asked) = &caller.asked else { return Ok(false) };
        let version = self.stored_names.version();
        let (Identity::Person(person, _), Access::Cluster(cluster)) = (&caller.identity, &self.access) else {
            return Ok(false);
        };
        let later = self.stored_names.later(if again { asked.first } else { asked.heard });
        let asking = Asking::of(cluster, person, &self.metrics);
        let age_max = if again { Duration::MAX } else { FRESH.min(later.age) };
        let asking = Asking { age_max, of_tasks: caller.of_tasks, ..asking };
        let (tenants, namespaces) = asked.named.of_later(later.tenants, later.namespaces, again);
        let is_new = |name: &String, names: fn(&Grant) -> &[String]| {
            !caller.scope.grants().any(|grant| names(grant).contains(name))
        };
        let tenants: Vec<String> = tenants.into_iter().filter(|name| is_new(name, tenants_of)).collect();
        let namespaces: Vec<String> =
            namespaces.into_iter().filter(|name| is_new(name, namespaces_of)).collect();
        let more = asking.of_names(&tenants, &namespaces).await?;
        let Some(asked) = &caller.asked else { return Ok(false) };
        caller.asked = Some(Asked { heard: later.heard, version, ..asked.clone() });
        let sees_more = more.sees_something();
        if sees_more {
            caller.scope = caller.scope.clone().or(more).slim();
        }
        Ok(sees_more)
    }

    /// Adds what a filter names that comes after the question: of a stream over a WebSocket, it stands in a frame.
    ///
    /// # Errors
    /// When the API server does not say, or something has to be named and is not.
    pub async fn see_named(&self, caller: &mut Caller, filter: &Filter) -> Result<(), Problem> {
        let Some(asked) = &caller.asked else { return Ok(()) };
        let (Identity::Person(person, _), Access::Cluster(cluster)) = (&caller.identity, &self.access) else {
            return Ok(());
        };
        let (namespaces, tenants) = (filter.namespaces_asked(), filter.plan().tenants);
        if asked.is_to_name && namespaces.is_none() && tenants.is_none() {
            return Err(Problem::name_a_namespace());
        }
        let new = |names: Option<Vec<String>>, of: fn(&Grant) -> &[String]| -> Vec<String> {
            let is_new = |name: &String| !caller.scope.grants().any(|grant| of(grant).contains(name));
            names.unwrap_or_default().into_iter().filter(is_new).collect()
        };
        let (tenants, namespaces) = (new(tenants, tenants_of), new(namespaces, namespaces_of));
        let asking = Asking::of(cluster, person, &self.metrics);
        let asking = Asking { of_tasks: caller.of_tasks, ..asking };
        let more = asking.of_names(&tenants, &namespaces).await?;
        if more.sees_something() {
            caller.scope = caller.scope.clone().or(more).slim();
        }
        caller.look.is_under(&caller.scope);
        Ok(())
    }

    /// When the rights of a caller are asked for again whose answer lasts: now and then, and when their token ends.
    pub fn rights_due(&self, caller: &Caller) -> Instant {
        let every = Duration::from_millis(self.limits.stream_rights_ms);
        Instant::now() + caller.identity.ends_in().map_or(every, |ends_in| ends_in.min(every))
    }

    /// Whether a caller who may not go on is still known, and only may less.
    pub async fn still_knows(&self, identity: &Identity) -> bool {
        match (identity, &self.access) {
            (Identity::Local, Access::Loopback) => true,
            (Identity::Token(token), Access::Tokens(tokens)) => tokens.holds(token),
            (Identity::Person(person, bearer), Access::Cluster(cluster)) => {
                let now = cluster.person(bearer, FRESH, &self.metrics).await;
                now.is_ok_and(|now| now.is_some_and(|now| now.name == person.name))
            }
            _ => false,
        }
    }

    /// Whether somebody announces and deletes tasks of this namespace, among those that they see.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn may_change_tasks(&self, identity: &Identity, namespace: &str) -> Result<bool, Problem> {
        match (identity, &self.access) {
            (Identity::Local, _) => Ok(true),
            (Identity::Token(token), _) => Ok(token.change_tasks),
            (Identity::Person(person, _), Access::Cluster(cluster)) => {
                let right = Right::ChangeTasks(namespace.to_owned());
                cluster.may(person, &right, Duration::MAX, &self.metrics).await
            }
            (Identity::Person(..), _) => Ok(false),
        }
    }

    /// Whether this caller, who was given this scope, would be given all of it now. For what lasts longer than one answer.
    ///
    /// # Errors
    /// When nobody says: what was given then ends too.
    pub async fn still_allowed(&self, caller: &Caller) -> Result<bool, Problem> {
        let Caller { identity, scope, of_tasks, .. } = caller;
        match (identity, &self.access) {
            (Identity::Local, Access::Loopback) => Ok(true),
            (Identity::Token(token), Access::Tokens(tokens)) => {
                Ok(tokens.holds(token) && of_token(token) == *scope)
            }
            (Identity::Person(person, bearer), Access::Cluster(cluster)) => {
                let now = cluster.person(bearer, FRESH, &self.metrics).await?;
                let Some(now) = now.filter(|now| now.name == person.name) else { return Ok(false) };
                let asking = Asking::of(cluster, &now, &self.metrics);
                Asking { age_max: FRESH, of_tasks: *of_tasks, ..asking }.may_all_of(scope).await
            }
            _ => Ok(false),
        }
    }
}

/// Whether it is a WebSocket whose reader says which records it wants once it is open.
fn names_later(parts: &Parts, route: &str) -> bool {
    route == "/api/platform/logs/stream" && parts.headers.contains_key(header::UPGRADE)
}

fn tenants_of(grant: &Grant) -> &[String] {
    match &grant.tenants {
        Tenants::All(_) => &[],
        Tenants::Only(slugs) => slugs,
    }
}

fn namespaces_of(grant: &Grant) -> &[String] {
    match &grant.namespaces {
        Namespaces::All => &[],
        Namespaces::Only(names) => names,
    }
}

fn of_token(token: &Token) -> Scope {
    let grant = Grant {
        tenants: match &token.tenants {
            Names::All(_) => Tenants::All(AdminReason::Token),
            Names::Only(slugs) => Tenants::Only(slugs.clone()),
        },
        namespaces: match &token.namespaces {
            Names::All(_) => Namespaces::All,
            Names::Only(names) => Namespaces::Only(names.clone()),
        },
        audit: token.audit,
        since_us: None,
    };
    grant.into()
}
