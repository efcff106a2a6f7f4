//! What a caller may see: the one place where a scope is made, and the only way of a route to one. A route takes a [`Caller`]; without
//! its scope the store answers nothing.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use cordwood_core::scope::{AdminReason, Namespaces, Scope, Tenants};

use crate::Gateway;
use crate::access::{Identity, Names};
use crate::problem::Problem;

/// Who asks, and whose records they may see.
#[derive(Clone, Debug)]
pub struct Caller {
    pub identity: Identity,
    pub scope: Scope,
}

impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Caller, Problem> {
        let identity =
            gateway.access.identify(&parts.headers).inspect_err(|_| gateway.metrics.refused("caller"))?;
        let scope = scope_of(&identity);
        Ok(Caller { identity, scope })
    }
}

fn scope_of(identity: &Identity) -> Scope {
    match identity {
        Identity::Local => Scope::all(AdminReason::Standalone),
        Identity::Token(token) => Scope {
            tenants: match &token.tenants {
                Names::All(_) => Tenants::All(AdminReason::Token),
                Names::Only(slugs) => Tenants::Only(slugs.clone()),
            },
            namespaces: match &token.namespaces {
                Names::All(_) => Namespaces::All,
                Names::Only(names) => Namespaces::Only(names.clone()),
            },
            audit: token.audit,
        },
    }
}
