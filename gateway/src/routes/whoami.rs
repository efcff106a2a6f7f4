//! `/api/whoami`: who the caller is here, and what they see.

use axum::response::Response;
use cordwood_core::scope::{Namespaces, Tenants};

use super::json;
use crate::access::Identity;
use crate::answer::WhoAmI;
use crate::problem::Problem;
use crate::scope::Caller;

/// Who asks, and whose records they see.
#[utoipa::path(
    get,
    path = "/api/whoami",
    responses(
        (status = 200, description = "The caller", body = WhoAmI),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn whoami(caller: Caller) -> Result<Response, Problem> {
    let tenants = match &caller.scope.tenants {
        Tenants::All(_) => None,
        Tenants::Only(slugs) => Some(slugs.clone()),
    };
    let namespaces = match &caller.scope.namespaces {
        Namespaces::All => None,
        Namespaces::Only(names) => Some(names.clone()),
    };
    let sees_all = tenants.is_none() && namespaces.is_none() && caller.scope.audit;
    json(&WhoAmI {
        name: caller.identity.name().to_owned(),
        known_by: match caller.identity {
            Identity::Local => "loopback",
            Identity::Token(_) => "token",
        },
        tenants,
        namespaces,
        audit: caller.scope.audit,
        more: (!sees_all)
            .then_some("whoever keeps the gateway's file of tokens can add to what this token sees"),
    })
}
