//! Tenant, namespace, pod and service of a source's lines: from its path, completed by the configuration.
//! Promises: the tenant comes from the configuration or from the namespace, never from the pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use cordwood_core::audit::AuditTrust;
use cordwood_core::origin::Origin;
use cordwood_core::tenancy::{Decided, Labels, Tenancy};
use jiff::tz::TimeZone;

use crate::config::{Config, FileInput};
use crate::source::Source;

/// Everything that is the same for all lines of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub origin: Origin,
    /// The pod's labels, which level rules select by; `None`: not known (it is gone, or not told of yet).
    pub labels: Option<BTreeMap<String, String>>,
    /// Its namespace takes its own level rules alone, or nobody knows whether it does.
    pub is_exempt: bool,
    /// Whether its lines are believed when they call themselves audit records.
    pub audit: AuditTrust,
    /// Its lines may name their tenant themselves.
    pub line_tenants: Option<LineTenants>,
    /// Of times in plain files that name no zone; UTC when absent.
    pub zone: Option<TimeZone>,
}

/// By what a line's own tenant is judged: the agent's one configuration.
#[derive(Clone, Debug)]
pub struct LineTenants(Arc<Tenancy>);

impl PartialEq for LineTenants {
    fn eq(&self, other: &LineTenants) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for LineTenants {}

impl Context {
    /// Tenant and id of a line that names its tenant and may; `None`: it is its namespace's.
    pub fn line_tenant(&self, body: &[u8]) -> Option<(String, String)> {
        let decided = self.line_tenants.as_ref()?.0.of_body(body)?;
        Some((decided.tenant, decided.tenant_id))
    }
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
    tenancy: Arc<Tenancy>,
    /// The release's own.
    namespace: String,
    audit_bytes_per_hour: u64,
}

impl Static {
    /// `config` has been resolved, so that its patterns are valid.
    pub fn new(config: &Config) -> Static {
        Static {
            node: config.node.clone(),
            environment: config.environment.clone(),
            region: config.region.clone(),
            time_zone: config.time_zone.clone(),
            files: config.files.clone(),
            tenancy: Arc::new(Tenancy::new(&config.tenants)),
            namespace: config.kubernetes.namespace.clone(),
            audit_bytes_per_hour: config.audit.pod_bytes_per_hour,
        }
    }

    /// Whose the lines of a namespace with these labels are.
    pub fn tenant_of(&self, namespace: &str, labels: &Labels) -> Decided {
        self.tenancy.decide(namespace, labels)
    }

    /// Whether lines of a namespace with these labels may call themselves audit records. Those of the release's own may: Cordwood
    /// writes there who looked at what.
    pub fn believes_audit(&self, namespace: &str, labels: &Labels) -> bool {
        labels.audit_from_body || namespace == self.namespace
    }

    pub fn audit_bytes_per_hour(&self) -> u64 {
        self.audit_bytes_per_hour
    }

    /// For the lines of a namespace that is marked for it.
    pub fn line_tenants(&self) -> LineTenants {
        LineTenants(Arc::clone(&self.tenancy))
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
                let decided = self.tenant_of(namespace, &Labels::default());
                (origin.tenant, origin.tenant_id) = (decided.tenant, decided.tenant_id);
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
        Context {
            origin,
            labels: Some(BTreeMap::new()),
            audit: AuditTrust::Always,
            zone: self.zone_of(source),
            ..Context::default()
        }
    }
}
