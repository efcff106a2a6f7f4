//! Finds the namespaces whose tenant has changed. Each change is an audit record.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::origin::UNASSIGNED;

/// Whose one namespace is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owned {
    /// The namespace's: one that was created again under the same name has another.
    pub uid: String,
    pub tenant: String,
    pub tenant_id: String,
}

/// By the namespace's name.
pub type Ownership = BTreeMap<String, Owned>;

/// One namespace whose tenant is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantChange {
    pub namespace: String,
    pub before: String,
    pub before_id: String,
    pub after: String,
    pub after_id: String,
    /// The namespace was deleted and created again under the same name.
    pub recreated: bool,
}

impl fmt::Display for TenantChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TenantChange { namespace, before, before_id, after, after_id, .. } = self;
        write!(f, "tenant of namespace {namespace} changed: {before} -> {after}")?;
        if before == after {
            write!(f, " (id {before_id} -> {after_id})")?;
        }
        Ok(())
    }
}

/// All that differ. A namespace that is new was nobody's; one that is gone has changed nothing.
pub fn changes(before: &Ownership, after: &Ownership) -> Vec<TenantChange> {
    after
        .iter()
        .filter_map(|(namespace, now)| {
            let was = before.get(namespace);
            let (tenant, id) =
                was.map_or((UNASSIGNED, UNASSIGNED), |was| (was.tenant.as_str(), was.tenant_id.as_str()));
            (tenant != now.tenant || id != now.tenant_id).then(|| TenantChange {
                namespace: namespace.clone(),
                before: tenant.to_owned(),
                before_id: id.to_owned(),
                after: now.tenant.clone(),
                after_id: now.tenant_id.clone(),
                recreated: was.is_some_and(|was| was.uid != now.uid),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_that_changed_its_tenant_is_told() {
        let ownership = |rows: &[(&str, &str, &str, &str)]| -> Ownership {
            let owned = |&(name, uid, tenant, id): &(&str, &str, &str, &str)| {
                let owned = Owned { uid: uid.into(), tenant: tenant.into(), tenant_id: id.into() };
                (name.to_owned(), owned)
            };
            rows.iter().map(owned).collect()
        };
        let before = ownership(&[
            ("a", "1", "acme", "acme"),
            ("b", "2", "acme", "acme"),
            ("c", "3", "acme", "acme"),
            ("d", "4", "acme", "7"),
            ("e", "5", "acme", "acme"),
            ("gone", "6", "acme", "acme"),
        ]);
        let after = ownership(&[
            ("a", "1", "acme", "acme"),
            ("b", "2", "bank", "bank"),
            ("c", "9", "bank", "bank"),
            ("d", "4", "acme", "8"),
            ("e", "5", UNASSIGNED, UNASSIGNED),
            ("new", "10", "acme", "acme"),
            ("plain", "11", UNASSIGNED, UNASSIGNED),
        ]);
        let found = changes(&before, &after);
        assert_eq!(
            found.iter().map(|change| format!("{change} {}", change.recreated)).collect::<Vec<_>>(),
            [
                "tenant of namespace b changed: acme -> bank false",
                "tenant of namespace c changed: acme -> bank true",
                "tenant of namespace d changed: acme -> acme (id 7 -> 8) false",
                "tenant of namespace e changed: acme -> unassigned false",
                "tenant of namespace new changed: unassigned -> acme false",
            ]
        );
        let metadata = serde_json::to_value(&found[1]).unwrap();
        assert_eq!(metadata["recreated"], true, "{metadata}");
        assert_eq!(changes(&after, &after), []);
    }
}
