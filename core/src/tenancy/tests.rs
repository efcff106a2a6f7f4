//! A table of configurations and labels, and a law over all of them.

use proptest::prelude::*;

use super::*;

fn tenants(authority: Authority, allowed: Option<&[&str]>, from_namespace_name: bool) -> Tenants {
    let rule = |namespace: &str, tenant: &str, id: Option<&str>| NamespaceTenant {
        namespace: namespace.to_owned(),
        tenant: tenant.to_owned(),
        tenant_id: id.map(str::to_owned),
    };
    Tenants {
        authority,
        allowed: allowed.map(|globs| globs.iter().map(|&glob| glob.to_owned()).collect()),
        namespaces: vec![rule("bank-*", "bank", Some("7")), rule("shop-?", "shop", None)],
        from_namespace_name,
    }
}

fn labels(tenant: &str, id: &str) -> Labels {
    let all = BTreeMap::from([(TENANT.to_owned(), tenant.to_owned()), (TENANT_ID.to_owned(), id.to_owned())]);
    Labels::of(Some(&all))
}

#[test]
fn the_authority_decides_within_the_allowed_tenants() {
    use Authority::{Configuration, Namespace};
    const NOBODY: (&str, &str) = (UNASSIGNED, UNASSIGNED);
    let any: Option<&[&str]> = None;
    let some: Option<&[&str]> = Some(&["bank", "shop", "acme-*"]);
    for (authority, allowed, from_name, namespace, tenant, id, expected) in [
        // Nothing is said.
        (Configuration, any, false, "other", "", "", NOBODY),
        (Namespace, any, false, "other", "", "", NOBODY),
        (Configuration, any, false, "other", "", "7", NOBODY),
        (Configuration, any, true, "other", "", "", ("other", "other")),
        (Configuration, any, true, "", "", "", NOBODY),
        // The order.
        (Configuration, any, false, "bank-eu", "acme", "17", ("bank", "7")),
        (Namespace, any, false, "bank-eu", "acme", "17", ("acme", "17")),
        (Namespace, any, false, "bank-eu", "", "", ("bank", "7")),
        (Configuration, any, false, "other", "acme", "", ("acme", "acme")),
        (Configuration, any, true, "other", "acme", "17", ("acme", "17")),
        (Configuration, any, false, "shop-1", "", "", ("shop", "shop")),
        (Configuration, any, false, "shop-12", "", "", NOBODY),
        // The allow-list, no matter who names a tenant.
        (Namespace, some, false, "other", "acme-1", "", ("acme-1", "acme-1")),
        (Namespace, some, false, "other", "evil", "", NOBODY),
        (Namespace, some, false, "bank-eu", "evil", "", NOBODY),
        (Configuration, some, false, "bank-eu", "evil", "", ("bank", "7")),
        (Configuration, some, true, "other", "", "", NOBODY),
        (Configuration, some, true, "acme-2", "", "", ("acme-2", "acme-2")),
        (Configuration, some, true, "acme-2", "evil", "", NOBODY),
        (Namespace, some, false, "other", "unassigned", "", NOBODY),
        // An id is its tenant's alone.
        (Namespace, any, false, "other", "evil", "7", NOBODY),
        (Namespace, any, false, "other", "evil", "bank", NOBODY),
        (Namespace, any, false, "other", "bank", "", ("bank", "7")),
        (Namespace, any, false, "other", "bank", "8", ("bank", "7")),
        (Namespace, any, false, "other", "bank", "7", ("bank", "7")),
    ] {
        let tenancy = Tenancy::new(&tenants(authority, allowed, from_name));
        let decided = tenancy.decide(namespace, &labels(tenant, id));
        let what = format!("{authority:?} {allowed:?} {namespace} {tenant}/{id}");
        assert_eq!((decided.tenant.as_str(), decided.tenant_id.as_str()), expected, "{what}");
    }
}

#[test]
fn what_is_refused_says_why() {
    let tenancy = Tenancy::new(&tenants(Authority::Namespace, Some(&["bank"]), false));
    let why = |tenant, id| tenancy.decide("other", &labels(tenant, id)).refused.map(|why| why.to_string());
    assert_eq!(why("evil", "").unwrap(), r#"the tenant "evil" is none of tenants.allowed"#);
    assert_eq!(why("evil", "7").unwrap(), r#"the tenant id "7" is that of the tenant "bank""#);
    assert_eq!((why("bank", ""), why("", "")), (None, None));
}

#[test]
fn a_configuration_that_cannot_be_followed_is_refused() {
    let check = |tenants: &Tenants| tenants.check().map_err(|(key, why)| format!("{key}: {why}"));
    let good = tenants(Authority::Configuration, Some(&["bank", "sh*"]), true);
    assert_eq!(check(&good), Ok(()));
    assert!(good.allows("shop") && good.allows(UNASSIGNED) && !good.allows("evil"));
    let allowed = |globs: &[&str]| check(&tenants(Authority::Configuration, Some(globs), true)).unwrap_err();
    assert!(allowed(&[]).starts_with("tenants.allowed: is empty"));
    assert!(allowed(&["bank", "[x"]).starts_with("tenants.allowed: \"[x\" is not a pattern"));
    assert_eq!(allowed(&["bank"]), "tenants.namespaces: \"shop\" is none of tenants.allowed");
}

proptest! {
    /// Whatever the labels say: a record is of an allowed tenant or of nobody, and under `configuration` the labels move no
    /// namespace that a rule names.
    #[test]
    fn labels_reach_no_tenant_that_is_not_theirs(
        namespace in "(bank-|shop-|other)[a-z]?", tenant in "(bank|shop|evil|acme)?", id in "(7|8|bank|shop)?",
        first in any::<bool>(), listed in any::<bool>(), from_name in any::<bool>(),
    ) {
        let authority = if first { Authority::Namespace } else { Authority::Configuration };
        let allowed: Option<&[&str]> = listed.then_some(&["bank", "shop"]);
        let tenants = tenants(authority, allowed, from_name);
        let tenancy = Tenancy::new(&tenants);
        let decided = tenancy.decide(&namespace, &labels(&tenant, &id));
        prop_assert!(tenants.allows(&decided.tenant));
        prop_assert_eq!(decided.tenant_id == "7", decided.tenant == "bank");
        let plain = tenancy.decide(&namespace, &Labels::default());
        if !first && (namespace.starts_with("bank-") || plain.tenant == "shop") {
            prop_assert_eq!(&decided, &plain);
        }
        if decided.refused.is_some() {
            prop_assert_eq!(decided.tenant, UNASSIGNED);
        }
    }
}
