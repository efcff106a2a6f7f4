//! Explains an empty answer: the service that was asked for is in another place, or is spelled otherwise.

use cordwood_core::entry::Entry;
use cordwood_core::filter::{self, Filter, quoted};
use cordwood_store::connect::Store;
use cordwood_store::scope::Scope;
use cordwood_store::search::{Page, TimeRange, search};

use crate::output::escape;

/// The keys under which a line says its service and a search by `service` does not look.
const KEYS: [&str; 4] = ["data.service", "data.service_name", "data.svc", "data.service.name"];
/// An empty answer is not held up by its explanation.
const BUDGET_MS: u64 = 500;
const SERVICES_MAX: usize = 3;

/// One line for each service that was asked for and is found otherwise.
pub async fn of_empty(store: &Store, scope: &Scope, filter: &Filter, range: TimeRange) -> Vec<String> {
    let mut hints = Vec::new();
    for asked in filter.services_asked().into_iter().take(SERVICES_MAX) {
        let value = quoted(asked);
        let shown = escape::one_line(asked);
        let in_lines: Vec<String> = KEYS.iter().map(|key| format!("{key}:{value}")).collect();
        if let Some((_, service)) = first(store, scope, range, &[format!("service:{value}")]).await
            && service != asked
        {
            hints.push(format!(
                "the service is spelled {:?}: search service:{shown}",
                escape::one_line(&service)
            ));
        } else if let Some((key, service)) = first(store, scope, range, &in_lines).await {
            let service = escape::one_line(&service);
            hints.push(format!(
                "lines say {key}, and the cluster calls their service {service:?}: search {key}"
            ));
        }
    }
    hints
}

/// The first of the expressions that some record matches, and whose service that is shown with.
async fn first(
    store: &Store,
    scope: &Scope,
    range: TimeRange,
    expressions: &[String],
) -> Option<(String, String)> {
    let any = filter::parse(&expressions.join(" OR ")).ok()?;
    let page = Page::first(1);
    let found = search(store, scope, &any, range, page, BUDGET_MS).await.ok()?;
    let record = found.records.first()?;
    let (record, origin) = (record.as_record(), found.origins.get(&record.origin)?);
    let which = expressions
        .iter()
        .find(|expression| filter::parse(expression).is_ok_and(|filter| filter.matches(&record, origin)))?;
    let service = Entry::new(&record, origin).service.unwrap_or_default().into_owned();
    Some((which.clone(), service))
}
