//! Whose records a query may see. Nothing that returns records or what is known of a tenant's streams can be asked without
//! a [`Scope`], and there is no default. What has no tenant (sums over the whole store, the catalogue, sizes) needs none.
//!
//! Where records are looked at, the scope itself decides on each; the statements leave out what it cannot see where that is cheap
//! ([`Scope::tenants_at_most`]). Where a statement alone decides, it asks for [`Parts`].

pub use cordwood_core::scope::{AdminReason, Grant, Namespaces, Scope, Tenants};

/// A scope as parameters of a statement, arrays of equal length: what is of a tenant and a namespace is seen when one of their rows lets
/// it through.
#[derive(Debug)]
pub(crate) struct Parts<'s> {
    /// Null: any.
    pub tenants: Vec<Option<&'s str>>,
    /// Null: any, also none.
    pub namespaces: Vec<Option<&'s str>>,
    /// A third parameter, where audit records are asked for: whether they are let through too.
    pub audit: Vec<bool>,
    /// A fourth, where times are asked for: what is older is not let through.
    pub since_us: Vec<Option<i64>>,
}

impl<'s> Parts<'s> {
    pub fn of(scope: &'s Scope) -> Parts<'s> {
        Parts::of_grants(scope.grants())
    }

    fn of_grants(grants: impl Iterator<Item = &'s Grant>) -> Parts<'s> {
        let mut parts =
            Parts { tenants: Vec::new(), namespaces: Vec::new(), audit: Vec::new(), since_us: Vec::new() };
        for grant in grants {
            let tenants: Vec<Option<&str>> = match &grant.tenants {
                Tenants::All(_) => vec![None],
                Tenants::Only(slugs) => slugs.iter().map(|slug| Some(slug.as_str())).collect(),
            };
            let namespaces: Vec<Option<&str>> = match &grant.namespaces {
                Namespaces::All => vec![None],
                // An empty name is none.
                Namespaces::Only(names) => {
                    names.iter().map(String::as_str).filter(|name| !name.is_empty()).map(Some).collect()
                }
            };
            for tenant in tenants {
                parts.tenants.extend(namespaces.iter().map(|_| tenant));
                parts.namespaces.extend(&namespaces);
                parts.audit.extend(namespaces.iter().map(|_| grant.audit));
                parts.since_us.extend(namespaces.iter().map(|_| grant.since_us));
            }
        }
        parts
    }

    /// The condition, of a row's tenant and namespace and the two parameters.
    pub fn condition(tenant: &str, namespace: &str, [tenants, namespaces]: [&str; 2]) -> String {
        format!(
            "exists (select from unnest({tenants}::text[], {namespaces}::text[]) as seen (tenant, namespace) \
             where (seen.tenant is null or seen.tenant = {tenant}) \
               and (seen.namespace is null or seen.namespace = {namespace}))"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_rows_that_let_through_what_the_scope_reaches() {
        let anyones = Scope::all(AdminReason::Authorized);
        let scopes = [
            anyones.clone(),
            Scope::of_tenants(["a", "b"]),
            Scope::of_tenants(["a", "b"]).in_namespaces(["x", "", "y"]),
            anyones.clone().in_namespaces(["x"]).or(Scope::of_tenants(["a"])),
            Scope::of_tenants(["b"]).in_namespaces(["y"]).or(anyones.in_namespaces(["z"]).without_audit()),
            Scope::any_of([]),
        ];
        for scope in scopes {
            let parts = Parts::of(&scope);
            assert_eq!(parts.tenants.len(), parts.namespaces.len());
            for (tenant, namespace) in
                ["", "a", "b"].iter().flat_map(|t| ["", "x", "y", "z"].map(|n| (*t, n)))
            {
                let rows = parts.tenants.iter().zip(&parts.namespaces);
                let is_seen = rows
                    .into_iter()
                    .any(|(a, b)| a.is_none_or(|a| a == tenant) && b.is_none_or(|b| b == namespace));
                assert_eq!(is_seen, scope.reaches(tenant, namespace), "{scope:?} {tenant} {namespace}");
            }
        }
    }
}
