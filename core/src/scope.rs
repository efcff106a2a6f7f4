//! A scope says whose records a caller may see. It decides on each record's origin, wherever records are shown. There is no default.
//!
//! A scope is a union of grants: a record is seen when one of them lets it through. What is known of a scope as a whole (which tenants it
//! names at the most) may leave records out early; it never shows one.

use crate::origin::Origin;
use crate::record::Flags;

/// Why somebody sees all tenants; shown in logs of queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminReason {
    /// The command line, with the database's own credentials.
    CommandLine,
    /// The owner of a laptop's own store.
    Standalone,
    /// The file of tokens says so of anyone who holds this token.
    Token,
    /// A check of the whole store (audit, tests' reconciliation).
    Audit,
    /// The cluster said that this person may read every tenant, or that the namespaces of the scope may be read no matter which tenant they belong to.
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

/// A part of what may be seen: it lets a record through when all of it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub tenants: Tenants,
    pub namespaces: Namespaces,
    /// Audit records too, not the application's own alone.
    pub audit: bool,
    /// Records of this time or later, microseconds; `None`: of any.
    pub since_us: Option<i64>,
}

/// A record is seen when one of the grants lets it through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    first: Grant,
    more: Vec<Grant>,
}

fn named(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == name)
}

impl Grant {
    /// Whether it is about this tenant and this namespace at all.
    pub fn reaches(&self, tenant: &str, namespace: &str) -> bool {
        let has_tenant = match &self.tenants {
            Tenants::All(_) => true,
            Tenants::Only(slugs) => named(slugs, tenant),
        };
        has_tenant
            && match &self.namespaces {
                Namespaces::All => true,
                Namespaces::Only(names) => !namespace.is_empty() && named(names, namespace),
            }
    }

    /// Whether it is about every tenant and every namespace.
    pub fn is_of_all(&self) -> bool {
        matches!(self.tenants, Tenants::All(_)) && self.namespaces == Namespaces::All
    }

    fn lets_something_through(&self) -> bool {
        let has_tenant = !matches!(&self.tenants, Tenants::Only(slugs) if slugs.is_empty());
        has_tenant
            && !matches!(&self.namespaces, Namespaces::Only(names) if names.iter().all(String::is_empty))
    }

    fn sees(&self, flags: Flags, origin: &Origin, time_us: i64) -> bool {
        (self.audit || !flags.has(Flags::AUDIT))
            && self.since_us.is_none_or(|since_us| time_us >= since_us)
            && self.reaches(&origin.tenant, &origin.namespace)
    }
}

impl From<Grant> for Scope {
    fn from(first: Grant) -> Scope {
        Scope { first, more: Vec::new() }
    }
}

impl Scope {
    /// Everything.
    pub const fn all(reason: AdminReason) -> Scope {
        let (tenants, namespaces) = (Tenants::All(reason), Namespaces::All);
        Scope { first: Grant { tenants, namespaces, audit: true, since_us: None }, more: Vec::new() }
    }

    /// Everything of these tenants.
    pub fn of_tenants(slugs: impl IntoIterator<Item = impl Into<String>>) -> Scope {
        let tenants = Tenants::Only(slugs.into_iter().map(Into::into).collect());
        Grant { tenants, namespaces: Namespaces::All, audit: true, since_us: None }.into()
    }

    /// The union of these; nothing at all when there are none.
    pub fn any_of(scopes: impl IntoIterator<Item = Scope>) -> Scope {
        let mut scopes = scopes.into_iter();
        let first = scopes.next().unwrap_or_else(|| Scope::of_tenants([""; 0]));
        scopes.fold(first, Scope::or)
    }

    /// What either of them sees.
    #[must_use]
    pub fn or(mut self, other: Scope) -> Scope {
        for grant in other.into_grants() {
            if !self.grants().any(|known| *known == grant) {
                self.more.push(grant);
            }
        }
        self
    }

    /// The same without grants that let nothing through.
    #[must_use]
    pub fn slim(self) -> Scope {
        Scope::any_of(self.into_grants().filter(Grant::lets_something_through).map(Scope::from))
    }

    /// Whether there can be a record that is seen.
    pub fn sees_something(&self) -> bool {
        self.grants().any(Grant::lets_something_through)
    }

    /// The same, of these namespaces alone. Instead of those that were named before.
    #[must_use]
    pub fn in_namespaces(self, names: impl IntoIterator<Item = impl Into<String>>) -> Scope {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.each(|grant| grant.namespaces = Namespaces::Only(names.clone()))
    }

    /// The same without audit records.
    #[must_use]
    pub fn without_audit(self) -> Scope {
        self.each(|grant| grant.audit = false)
    }

    /// The same, of records of this time or later.
    #[must_use]
    pub fn since(self, time_us: i64) -> Scope {
        self.each(|grant| grant.since_us = Some(grant.since_us.map_or(time_us, |since| since.max(time_us))))
    }

    fn each(mut self, change: impl Fn(&mut Grant)) -> Scope {
        change(&mut self.first);
        self.more.iter_mut().for_each(change);
        self
    }

    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        std::iter::once(&self.first).chain(&self.more)
    }

    pub fn into_grants(self) -> impl Iterator<Item = Grant> {
        std::iter::once(self.first).chain(self.more)
    }

    /// Whether a record with these flags, this origin and this time may be shown.
    pub fn sees(&self, flags: Flags, origin: &Origin, time_us: i64) -> bool {
        self.grants().any(|grant| grant.sees(flags, origin, time_us))
    }

    /// Whether something of this tenant in this namespace may be seen.
    pub fn reaches(&self, tenant: &str, namespace: &str) -> bool {
        self.grants().any(|grant| grant.reaches(tenant, namespace))
    }

    /// Whether every record of this tenant may be seen, wherever and whatever it is.
    pub fn sees_all_of(&self, tenant: &str) -> bool {
        self.grants().any(|grant| {
            grant.audit
                && grant.since_us.is_none()
                && grant.namespaces == Namespaces::All
                && grant.reaches(tenant, "")
        })
    }

    /// Whether everything may be seen.
    pub fn is_everything(&self) -> bool {
        self.grants().any(|grant| grant.is_of_all() && grant.audit && grant.since_us.is_none())
    }

    /// Of other tenants nothing is seen; `None`: of any something may be. (Of these tenants not everything is seen.)
    pub fn tenants_at_most(&self) -> Option<Vec<&str>> {
        at_most(self.grants().map(|grant| match &grant.tenants {
            Tenants::All(_) => None,
            Tenants::Only(slugs) => Some(slugs.as_slice()),
        }))
    }

    /// The same of namespaces. An empty name is none.
    pub fn namespaces_at_most(&self) -> Option<Vec<&str>> {
        let mut names = at_most(self.grants().map(|grant| match &grant.namespaces {
            Namespaces::All => None,
            Namespaces::Only(names) => Some(names.as_slice()),
        }))?;
        names.retain(|name| !name.is_empty());
        Some(names)
    }
}

/// Ascending, each once.
fn at_most<'a>(parts: impl Iterator<Item = Option<&'a [String]>>) -> Option<Vec<&'a str>> {
    let all: Option<Vec<&[String]>> = parts.collect();
    let mut names: Vec<&str> = all?.into_iter().flatten().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    Some(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(tenant: &str, namespace: &str) -> Origin {
        Origin { tenant: tenant.into(), namespace: namespace.into(), ..Origin::default() }
    }

    #[test]
    fn all_of_a_grant_has_to_let_a_record_through() {
        let admin = Scope::all(AdminReason::Audit);
        let shop = Scope::of_tenants(["acme"]).in_namespaces(["shop", ""]);
        let anyones = Scope::all(AdminReason::Authorized).in_namespaces(["shop"]).without_audit();
        let both = shop.clone().or(anyones.clone());
        let younger = anyones.clone().since(8);
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
            (&Scope::any_of([]), system, origin("", ""), false),
            // Either is seen, and not what only their parts together would let through.
            (&both, Flags::AUDIT, origin("acme", "shop"), true),
            (&both, system, origin("other", "shop"), true),
            (&both, Flags::AUDIT, origin("other", "shop"), false),
            (&younger, system, origin("other", "shop"), false),
        ];
        for (scope, flags, origin, expected) in cases {
            assert_eq!(scope.sees(flags, &origin, 7), expected, "{scope:?} {origin:?}");
        }
        assert!(younger.sees(system, &origin("other", "shop"), 8));
        assert!(admin.is_everything() && !both.is_everything() && !admin.clone().since(0).is_everything());
        assert!(both.clone().or(admin).is_everything());
    }

    const NAMES: [&str; 4] = ["", "a", "b", "c"];

    fn some_names() -> impl Strategy<Value = Option<Vec<String>>> {
        let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
        prop::option::of(prop::collection::vec(name, 0..3))
    }

    fn grants() -> impl Strategy<Value = Vec<Grant>> {
        let grant = (some_names(), some_names(), any::<bool>(), prop::option::of(0..4i64));
        let grant = grant.prop_map(|(tenants, namespaces, audit, since_us)| Grant {
            tenants: tenants.map_or(Tenants::All(AdminReason::Authorized), Tenants::Only),
            namespaces: namespaces.map_or(Namespaces::All, Namespaces::Only),
            audit,
            since_us,
        });
        prop::collection::vec(grant, 0..4)
    }

    proptest! {
        /// A union sees what one of its grants alone sees, and what is said of it as a whole leaves none of that out.
        #[test]
        fn a_union_is_what_its_grants_see(grants in grants()) {
            let scope = Scope::any_of(grants.iter().cloned().map(Scope::from));
            let (tenants, namespaces) = (scope.tenants_at_most(), scope.namespaces_at_most());
            for (tenant, namespace) in NAMES.iter().flat_map(|tenant| NAMES.map(|namespace| (*tenant, namespace))) {
                let has = |names: &[String], name: &str| names.contains(&name.to_owned());
                for (flags, time_us) in [Flags::default(), Flags::AUDIT].into_iter().flat_map(|flags| (0..5).map(move |at| (flags, at))) {
                    let expected = grants.iter().any(|grant| {
                        let tenant = match &grant.tenants { Tenants::All(_) => true, Tenants::Only(slugs) => has(slugs, tenant) };
                        let namespace = match &grant.namespaces {
                            Namespaces::All => true,
                            Namespaces::Only(names) => !namespace.is_empty() && has(names, namespace),
                        };
                        tenant && namespace && (grant.audit || flags == Flags::default()) && time_us >= grant.since_us.unwrap_or(0)
                    });
                    prop_assert_eq!(scope.sees(flags, &origin(tenant, namespace), time_us), expected);
                    if expected {
                        prop_assert!(scope.reaches(tenant, namespace));
                        prop_assert!(tenants.as_ref().is_none_or(|names| names.contains(&tenant)));
                        prop_assert!(namespaces.as_ref().is_none_or(|names| names.contains(&namespace)));
                    }
                    prop_assert!(!scope.is_everything() || expected);
                    prop_assert!(scope.sees_something() || !expected);
                    prop_assert_eq!(scope.clone().slim().sees(flags, &origin(tenant, namespace), time_us), expected);
                }
            }
        }
    }
}
