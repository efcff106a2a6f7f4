//! Whose records a query may see. Nothing that returns records or what is known of a tenant's streams can be asked without
//! a [`Scope`], and there is no default. What has no tenant (sums over the whole store, the catalogue, sizes) needs none.
//!
//! The statements of this crate leave out what a scope cannot see where that is cheap; the scope itself decides on every record.

pub use cordwood_core::scope::{AdminReason, Namespaces, Scope, Tenants};

/// The value of the parameter that a statement binds: null for all tenants.
pub(crate) fn tenants(scope: &Scope) -> Option<&[String]> {
    match &scope.tenants {
        Tenants::All(_) => None,
        Tenants::Only(slugs) => Some(slugs),
    }
}

/// The same of namespaces. An empty name is none.
pub(crate) fn namespaces(scope: &Scope) -> Option<Vec<&str>> {
    match &scope.namespaces {
        Namespaces::All => None,
        Namespaces::Only(names) => {
            Some(names.iter().map(String::as_str).filter(|name| !name.is_empty()).collect())
        }
    }
}
