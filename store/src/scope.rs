//! Whose records a query may see. Nothing that returns records or what is known of a tenant's streams can be asked without
//! one, and there is no default. What has no tenant (sums over the whole store, the catalogue, sizes) needs none.

/// Why somebody sees all tenants; shown in logs of queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminReason {
    /// The command line, with the database's own credentials.
    CommandLine,
    /// The owner of a laptop's own store.
    Standalone,
    /// A check of the whole store (audit, tests' reconciliation).
    Audit,
    /// The cluster said that this person may read every tenant.
    Authorized,
}

/// The tenants (slugs) whose records may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantScope {
    All(AdminReason),
    /// None of them when empty.
    Tenants(Vec<String>),
}

impl TenantScope {
    /// The value of the parameter that every statement of this crate binds: null for all tenants.
    pub(crate) fn parameter(&self) -> Option<&[String]> {
        match self {
            TenantScope::All(_) => None,
            TenantScope::Tenants(tenants) => Some(tenants),
        }
    }
}
