//! Whose lines these are: what a source's path says, and what the configuration adds to it.
//! Promises: the tenant comes from the namespace or from the configuration, never from the pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use cordwood_core::origin::{Origin, UNASSIGNED};
use jiff::tz::TimeZone;

use crate::config::{Config, FileInput, Tenants};
use crate::source::Source;

/// Everything that is the same for all lines of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub origin: Origin,
    /// The pod's labels, which level rules select by; `None`: not known (it is gone, or not told of yet).
    pub labels: Option<BTreeMap<String, String>>,
    /// Of times in plain files that name no zone; UTC when absent.
    pub zone: Option<TimeZone>,
}

/// What is known beside the cluster.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    pub waited_ms: i64,
    pub remembered: Option<&'a Origin>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    Ready(Arc<Context>),
    /// Ask again when the generation has changed or some time has passed; the words are for people.
    Waiting(&'static str),
}

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Static {
    node: String,
    environment: String,
    region: String,
    time_zone: String,
    files: Vec<FileInput>,
    tenants: Vec<(globset::GlobMatcher, String, String)>,
    from_namespace_name: bool,
}

impl Static {
    /// `config` has been resolved, so that its patterns are valid.
    pub fn new(config: &Config) -> Static {
        let Tenants { namespaces, from_namespace_name } = &config.tenants;
        let tenants = namespaces.iter().filter_map(|rule| {
            let glob = globset::Glob::new(&rule.namespace).ok()?.compile_matcher();
            let id = rule.tenant_id.clone().unwrap_or_else(|| rule.tenant.clone());
            Some((glob, rule.tenant.clone(), id))
        });
        Static {
            node: config.node.clone(),
            environment: config.environment.clone(),
            region: config.region.clone(),
            time_zone: config.time_zone.clone(),
            files: config.files.clone(),
            tenants: tenants.collect(),
            from_namespace_name: *from_namespace_name,
        }
    }

    /// (slug, id) of a namespace that does not say it itself.
    pub fn tenant_of(&self, namespace: &str) -> (String, String) {
        if let Some((_, slug, id)) = self.tenants.iter().find(|(glob, ..)| glob.is_match(namespace)) {
            return (slug.clone(), id.clone());
        }
        if self.from_namespace_name && !namespace.is_empty() {
            return (namespace.to_owned(), namespace.to_owned());
        }
        (UNASSIGNED.to_owned(), UNASSIGNED.to_owned())
    }

    /// The zone of a plain file's times; a container's lines name theirs.
    fn zone_of(&self, source: &Source) -> Option<TimeZone> {
        let Source::File { input, .. } = source else { return None };
        let input = self.files.get(*input).map(|input| input.time_zone.as_str());
        let name = input.filter(|name| !name.is_empty()).unwrap_or(&self.time_zone);
        crate::config::time_zone(name).ok().filter(|zone| *zone != TimeZone::UTC)
    }

    /// What is known without asking anybody.
    pub fn context(&self, source: &Source) -> Context {
        let mut origin = Origin {
            node: self.node.clone(),
            environment: self.environment.clone(),
            region: self.region.clone(),
            ..Origin::default()
        };
        match source {
            Source::Container { namespace, pod, uid, container, .. } => {
                (origin.tenant, origin.tenant_id) = self.tenant_of(namespace);
                origin.namespace.clone_from(namespace);
                origin.pod.clone_from(pod);
                origin.pod_uid.clone_from(uid);
                origin.container.clone_from(container);
                origin.service.clone_from(container);
            }
            Source::File { path, input } => {
                origin.path.clone_from(path);
                let stem = path.rsplit('/').next().unwrap_or(path);
                let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
                if let Some(input) = self.files.get(*input) {
                    // Not a guess from the file's name: it would hide the service that a line itself names.
                    origin.service.clone_from(&input.service);
                    if !input.tenant.is_empty() {
                        origin.tenant.clone_from(&input.tenant);
                        origin.tenant_id.clone_from(&input.tenant);
                    }
                    if input.plugin {
                        stem.clone_into(&mut origin.plugin);
                    }
                }
            }
        }
        Context { origin, labels: Some(BTreeMap::new()), zone: self.zone_of(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_by_configuration() {
        let config: Config = cordwood_service::parse_config(
            std::path::Path::new("x"),
            "tenants: {namespaces: [{namespace: 'shop-*', tenant: shop, tenant_id: '7'}]}",
        )
        .unwrap();
        let known = Static::new(&config);
        assert_eq!(known.tenant_of("shop-eu"), ("shop".into(), "7".into()));
        assert_eq!(known.tenant_of("other"), ("unassigned".into(), "unassigned".into()));
    }
}
