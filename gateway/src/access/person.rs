//! A person whose rights the API server knows, whichever way identified them.

use std::collections::BTreeMap;

use super::oidc::Named;
use super::remembered::{Key, key};

/// Who says who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    ApiServer,
    IdentityProvider,
}

/// One of them. Equal to the API server are those with equal keys.
#[derive(Debug)]
pub struct Person {
    pub known_by: KnownBy,
    pub name: String,
    pub uid: Option<String>,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
    pub(super) key: Key,
}

impl Person {
    pub fn new(
        name: String,
        uid: Option<String>,
        groups: Vec<String>,
        extra: BTreeMap<String, Vec<String>>,
    ) -> Person {
        let count = |number: usize| (number as u64).to_le_bytes().to_vec();
        let bytes = |text: &String| text.as_bytes().to_vec();
        let mut parts = vec![bytes(&name), uid.as_ref().map(bytes).unwrap_or_default(), count(groups.len())];
        parts.extend(groups.iter().map(bytes));
        for (name, values) in &extra {
            parts.extend([bytes(name), count(values.len())]);
            parts.extend(values.iter().map(bytes));
        }
        let key = key(parts.iter().map(Vec::as_slice));
        Person { known_by: KnownBy::ApiServer, name, uid, groups, extra, key }
    }

    /// The same to the API server as one of this name and these groups whom it knows itself.
    pub(super) fn of_provider(named: Named) -> Person {
        let person = Person::new(named.name, None, named.groups, BTreeMap::new());
        Person { known_by: KnownBy::IdentityProvider, ..person }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_people_are_never_one() {
        let person = |name: &str, uid: Option<&str>, groups: &[&str], extra: &[(&str, &[&str])]| {
            let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let extra = extra.iter().map(|(name, values)| ((*name).to_owned(), texts(values)));
            Person::new(name.to_owned(), uid.map(str::to_owned), texts(groups), extra.collect()).key
        };
        let all = [
            person("anna", None, &[], &[]),
            person("ann", Some("a"), &[], &[]),
            person("anna", Some("a"), &[], &[]),
            person("anna", None, &["a"], &[]),
            person("anna", None, &["a", "b"], &[]),
            person("anna", None, &["ab"], &[]),
            person("anna", None, &["a"], &[("b", &[])]),
            person("anna", None, &[], &[("a", &["b"])]),
            person("anna", None, &[], &[("a", &[]), ("b", &[])]),
            person("anna", None, &[], &[("b", &["a"])]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(one), "{place}");
        }
        assert_eq!(all[0], person("anna", None, &[], &[]));
    }
}
