//! Legal holds by match: a policy under `legalHold` that names tenants or namespaces keeps what matches them, whatever class it lies in.
//!
//! What is kept is a whole table partition: one that has a record of such a tenant and namespace. Services and categories of the match
//! do not narrow it. A policy that names neither tenants nor namespaces holds its own classes alone.

use globset::GlobSet;

use super::class::ClassId;
use super::policy::{DEFAULT, Policy};
use super::routes::glob_set;

/// A row of `holds`: what is held, also when the policy is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub policy: String,
    pub policy_uid: String,
    /// Globs; none matches all. One of the two lists has an entry.
    pub tenants: Vec<String>,
    pub namespaces: Vec<String>,
}

impl Hold {
    /// What a policy holds by match, if anything.
    pub fn of(policy: &Policy) -> Option<Hold> {
        let (tenants, namespaces) = (&policy.matches.tenants, &policy.matches.namespaces);
        let names_some = !tenants.is_empty() || !namespaces.is_empty();
        (policy.legal_hold && policy.name != DEFAULT && names_some).then(|| Hold {
            policy: policy.name.clone(),
            policy_uid: policy.uid.clone(),
            tenants: tenants.clone(),
            namespaces: namespaces.clone(),
        })
    }

    /// `tenants a, b; namespaces c`
    pub fn what(&self) -> String {
        let lists = [("tenants", &self.tenants), ("namespaces", &self.namespaces)];
        let named = lists.iter().filter(|(_, globs)| !globs.is_empty());
        let named: Vec<String> = named.map(|(name, globs)| format!("{name} {}", globs.join(", "))).collect();
        named.join("; ")
    }
}

/// A table partition in which a hold has found records: of the policy of this name, in force or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLeaf {
    pub policy: String,
    pub class: ClassId,
    pub from_us: i64,
    /// Records that match. `None`: not known, an older version sealed some of its records.
    pub records: Option<i64>,
}

/// Whether holds take a record.
#[derive(Clone, Debug, Default)]
pub struct Takes(Vec<(Option<GlobSet>, Option<GlobSet>)>);

impl Takes {
    pub fn of(holds: &[Hold]) -> Takes {
        Takes(holds.iter().map(|hold| (glob_set(&hold.tenants), glob_set(&hold.namespaces))).collect())
    }

    pub fn takes(&self, tenant: &str, namespace: &str) -> bool {
        let has = |set: &Option<GlobSet>, value: &str| set.as_ref().is_none_or(|set| set.is_match(value));
        self.0.iter().any(|(tenants, namespaces)| has(tenants, tenant) && has(namespaces, namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::policy::{Category, Match};

    fn policy(tenants: &[&str], namespaces: &[&str]) -> Policy {
        let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        let matches = Match { tenants: globs(tenants), namespaces: globs(namespaces), ..Match::default() };
        Policy { name: "case-7".to_owned(), matches, legal_hold: true, ..Policy::builtin() }
    }

    #[test]
    fn a_hold_takes_what_its_tenants_and_namespaces_match() {
        /// Tenants, namespaces, a record's tenant and namespace, whether it is taken.
        type Row = (&'static [&'static str], &'static [&'static str], (&'static str, &'static str), bool);
        let rows: [Row; 8] = [
            (&["shop-*"], &[], ("shop-eu", "pay"), true),
            (&["shop-*"], &[], ("shop", "pay"), false),
            (&["shop-?u"], &[], ("shop-eu", ""), true),
            (&[], &["pay"], ("anyone", "pay"), true),
            (&[], &["pay"], ("anyone", "payroll"), false),
            (&["a", "b"], &["x", "y*"], ("b", "yz"), true),
            (&["a", "b"], &["x", "y*"], ("c", "yz"), false),
            (&["a", "b"], &["x", "y*"], ("a", "z"), false),
        ];
        for (tenants, namespaces, (tenant, namespace), taken) in rows {
            let hold = Hold::of(&policy(tenants, namespaces)).unwrap();
            let found = Takes::of(&[hold]).takes(tenant, namespace);
            assert_eq!(found, taken, "{tenants:?} {namespaces:?} of {tenant}/{namespace}");
        }
        assert!(!Takes::default().takes("shop", "pay"));
    }

    #[test]
    fn what_names_no_tenant_and_no_namespace_holds_its_own_classes_alone() {
        assert_eq!(Hold::of(&policy(&[], &[])), None);
        let mut audit = policy(&[], &[]);
        audit.matches.categories = vec![Category::Audit];
        assert_eq!(Hold::of(&audit), None);
        assert_eq!(Hold::of(&Policy { legal_hold: false, ..policy(&["a"], &[]) }), None);
        assert_eq!(Hold::of(&Policy { name: DEFAULT.to_owned(), ..policy(&["a"], &[]) }), None);
        let hold = Hold::of(&policy(&["a", "b*"], &["x"])).unwrap();
        assert_eq!(hold.what(), "tenants a, b*; namespaces x");
    }
}
