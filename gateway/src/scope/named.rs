//! Finds which namespaces and tenants a question names, so that only their rights are asked for. A question that is wrong names none; its route
//! refuses it.

use axum::extract::Query;
use axum::http::Uri;
use cordwood_core::filter;

const FILTER_BYTES_MAX: usize = 1 << 10;

/// `None`: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub namespaces: Option<Vec<String>>,
    pub tenants: Option<Vec<String>>,
}

impl Named {
    pub fn of(uri: &Uri) -> Named {
        let pairs =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map(|pairs| pairs.0).unwrap_or_default();
        let values = |wanted: &str| {
            let values: Vec<String> =
                pairs.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect();
            (!values.is_empty()).then_some(values)
        };
        let filter = values("filter").filter(|all| all.len() == 1 && is_cheap(&all[0]));
        let filter = filter.and_then(|all| filter::parse(&all[0]).ok());
        let asked = filter.as_ref().map(|filter| (filter.namespaces_asked(), filter.plan().tenants));
        let (namespaces, tenants) = asked.unwrap_or_default();
        Named { namespaces: both(values("namespace"), namespaces), tenants: both(values("tenant"), tenants) }
    }

    /// Those of these that have records since, that the question does not leave out; `again`: what it names is asked for whether or not it has any.
    pub fn of_later(
        &self,
        tenants: Vec<String>,
        namespaces: Vec<String>,
        again: bool,
    ) -> (Vec<String>, Vec<String>) {
        let of = |named: &Option<Vec<String>>, later: Vec<String>| match named {
            Some(named) if again => named.clone(),
            Some(named) => later.into_iter().filter(|name| named.contains(name)).collect(),
            None => later,
        };
        (of(&self.tenants, tenants), of(&self.namespaces, namespaces))
    }
}

/// No slot is taken yet: a filter that costs more to read than a word names nothing here.
fn is_cheap(expression: &str) -> bool {
    let lower = expression.to_ascii_lowercase();
    let has_name = lower.contains("namespace") || lower.contains("tenant");
    has_name
        && expression.len() <= FILTER_BYTES_MAX
        && !["regexp", "like", "*", "contains"].iter().any(|costly| lower.contains(costly))
}

/// What both let through.
fn both(a: Option<Vec<String>>, b: Option<Vec<String>>) -> Option<Vec<String>> {
    let mut names = match (a, b) {
        (Some(a), Some(b)) => a.into_iter().filter(|name| b.contains(name)).collect(),
        (a, b) => a.or(b)?,
    };
    names.sort_unstable();
    names.dedup();
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_parameters_and_from_the_filter() {
        for (query, namespaces, tenants) in [
            ("", None, None),
            ("namespace=shop", Some(vec!["shop"]), None),
            ("namespace=shop&namespace=bank&tenant=acme", Some(vec!["bank", "shop"]), Some(vec!["acme"])),
            ("filter=namespace%3Dshop+error", Some(vec!["shop"]), None),
            ("filter=namespace%3Dshop+OR+namespace%3Abank", Some(vec!["bank", "shop"]), None),
            ("filter=namespace%3Dshop+OR+error", None, None),
            ("filter=NOT+namespace%3Dshop", None, None),
            ("namespace=shop&filter=namespace%3Dbank", Some(vec![]), None),
            ("filter=tenant%3Dacme", None, Some(vec!["acme"])),
            ("filter=namespace%3Dshop+message+REGEXP+%22a%22", None, None),
            // Refused by the route.
            ("filter=%28&namespace=shop", Some(vec!["shop"]), None),
            ("filter=namespace%3Da&filter=namespace%3Db", None, None),
        ] {
            let found = Named::of(&format!("/api/platform/logs?{query}").parse().unwrap());
            let names = |names: Option<Vec<&str>>| {
                names.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>())
            };
            let expected = Named { namespaces: names(namespaces), tenants: names(tenants) };
            assert_eq!(found, expected, "{query}");
        }
    }
}
