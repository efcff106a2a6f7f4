//! Whose records somebody may see: decided on each record's origin, wherever records are shown. There is no default.

use crate::origin::Origin;
use crate::record::Flags;

/// Why somebody sees all tenants; shown in logs of queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminReason {
    /// The command line, with the database's own credentials.
    CommandLine,
    /// The owner of a laptop's own store.
    Standalone,
    /// The file of tokens says so of whoever holds this one.
    Token,
    /// A check of the whole store (audit, tests' reconciliation).
    Audit,
    /// The cluster said that this person may read every tenant, or that the namespaces of the scope may be read whoever's they are.
    Authorized,
}

/// The tenants (slugs) whose records may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenants {
    All(AdminReason),
    /// None of them when empty.
    Only(Vec<String>),
}

/// The namespaces whose records may be seen. A record without a namespace is seen by those alone who may see all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    All,
    /// None of them when empty.
    Only(Vec<String>),
}

/// A record is seen when all three let it through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub tenants: Tenants,
    pub namespaces: Namespaces,
    /// Audit records too, not the application's own alone.
    pub audit: bool,
}

impl Scope {
    /// Everything.
    pub const fn all(reason: AdminReason) -> Scope {
        Scope { tenants: Tenants::All(reason), namespaces: Namespaces::All, audit: true }
    }

    /// Everything of these tenants.
    pub fn of_tenants(slugs: impl IntoIterator<Item = impl Into<String>>) -> Scope {
        Scope {
            tenants: Tenants::Only(slugs.into_iter().map(Into::into).collect()),
            namespaces: Namespaces::All,
            audit: true,
        }
    }

    /// The same, of these namespaces alone.
    #[must_use]
    pub fn in_namespaces(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Scope {
        self.namespaces = Namespaces::Only(names.into_iter().map(Into::into).collect());
        self
    }

    /// The same without audit records.
    #[must_use]
    pub fn without_audit(mut self) -> Scope {
        self.audit = false;
        self
    }

    /// Whether a record with these flags and this origin may be shown.
    pub fn sees(&self, flags: Flags, origin: &Origin) -> bool {
        let named = |names: &[String], name: &str| names.iter().any(|known| known == name);
        let tenant = match &self.tenants {
            Tenants::All(_) => true,
            Tenants::Only(slugs) => named(slugs, &origin.tenant),
        };
        let namespace = match &self.namespaces {
            Namespaces::All => true,
            Namespaces::Only(names) => !origin.namespace.is_empty() && named(names, &origin.namespace),
        };
        tenant && namespace && (self.audit || !flags.has(Flags::AUDIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_have_to_let_a_record_through() {
        let origin = |tenant: &str, namespace: &str| Origin {
            tenant: tenant.into(),
            namespace: namespace.into(),
            ..Origin::default()
        };
        let admin = Scope::all(AdminReason::Audit);
        let shop = Scope::of_tenants(["acme"]).in_namespaces(["shop", ""]);
        let anyones = Scope::all(AdminReason::Authorized).in_namespaces(["shop"]).without_audit();
        let system = Flags::default();
        let cases = [
            (&admin, system, origin("", ""), true),
            (&admin, Flags::AUDIT, origin("acme", "shop"), true),
            (&shop, Flags::AUDIT, origin("acme", "shop"), true),
            (&shop, system, origin("acme", "bank"), false),
            (&shop, system, origin("other", "shop"), false),
            // No namespace is nobody's namespace, also where somebody names it.
            (&shop, system, origin("acme", ""), false),
            (&anyones, system, origin("other", "shop"), true),
            (&anyones, Flags::AUDIT, origin("other", "shop"), false),
            (&anyones, system, origin("other", "shop2"), false),
            (&Scope::of_tenants([""; 0]), system, origin("", ""), false),
        ];
        for (scope, flags, origin, expected) in cases {
            assert_eq!(scope.sees(flags, &origin), expected, "{scope:?} {origin:?}");
        }
    }
}
