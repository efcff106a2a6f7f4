//! The level rules in force: one ConfigMap that the operator compiles and every agent watches.
//! Promises: rules that cannot be decoded leave the last good ones in force. Rules expire by themselves (the gate knows when),
//! also while the API server is unavailable.

use std::sync::Arc;

use cordwood_core::levels::{LevelRules, RULES_KEY};
use cordwood_service::kubernetes::{Pace, Watches};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::wake::Waker;

/// Watches the object until `shutdown` and passes on what it says. Being away is a condition, not an end.
pub async fn watch_rules(
    client: Client,
    namespace: String,
    name: String,
    rules: watch::Sender<Arc<LevelRules>>,
    waker: Waker,
    watches: Watches,
    shutdown: CancellationToken,
) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut watch = watches.start(api, config, Pace::QUICK, "rules", format!("configmaps {name}"));
    let mut listed = false;
    while let Some(Some(event)) = shutdown.run_until_cancelled(watch.next()).await {
        let next = match event {
            Ok(Event::Apply(map) | Event::InitApply(map)) => {
                listed = true;
                parse(&map)
            }
            Ok(Event::Delete(_)) => Ok(LevelRules::default()),
            Ok(Event::Init) => {
                listed = false;
                continue;
            }
            Ok(Event::InitDone) => {
                if listed {
                    continue;
                }
                // There is none (yet): everything passes.
                Ok(LevelRules::default())
            }
            Err(_) => continue,
        };
        match next {
            Ok(next) => {
                let changed = rules.send_if_modified(|current| {
                    let changed = **current != next;
                    if changed {
                        tracing::info!(
                            generation = next.generation,
                            rules = next.len(),
                            "level rules changed"
                        );
                        *current = Arc::new(next);
                    }
                    changed
                });
                if changed {
                    waker.wake();
                }
            }
            Err(error) => {
                tracing::error!(object = name, %error, "level rules cannot be read; the last good ones stay in force");
            }
        }
    }
}

fn parse(map: &ConfigMap) -> Result<LevelRules, String> {
    let text = map.data.as_ref().and_then(|data| data.get(RULES_KEY));
    let text = text.ok_or_else(|| format!("it has no key {RULES_KEY}"))?;
    LevelRules::from_json(text).map_err(|error| format!("{RULES_KEY}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: Option<&str>) -> ConfigMap {
        let data = text.map(|text| [(RULES_KEY.to_owned(), text.to_owned())].into());
        ConfigMap { data, ..ConfigMap::default() }
    }

    #[test]
    fn what_is_not_rules_is_an_error() {
        assert_eq!(parse(&map(Some(r#"{"generation": 3}"#))).unwrap().generation, 3);
        assert!(parse(&map(None)).unwrap_err().contains("has no key rules.json"));
        assert!(parse(&map(Some("{"))).unwrap_err().starts_with("rules.json: "));
        let later = parse(&map(Some(r#"{"version": 99, "generation": 3}"#))).unwrap_err();
        assert!(later.contains("upgrade it"), "{later}");
    }
}
