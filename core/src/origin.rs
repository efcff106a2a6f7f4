//! Where a record came from and whose it is: everything that is the same for all lines of one container.

use serde::{Deserialize, Serialize};

use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX};

/// The tenant of records whose tenant is not known.
pub const UNASSIGNED: &str = "unassigned";

/// Pod metadata of a batch; a row of the `origins` dictionary in PostgreSQL. Empty strings mean "absent" and are never
/// shown. `tenant` and `tenant_id` are never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The tenant's slug, from what the cluster's owner controls.
    pub tenant: String,
    /// The tenant's id; the slug where the cluster names no other.
    pub tenant_id: String,
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub container: String,
    pub node: String,
    pub service: String,
    /// `Deployment/checkout`, `StatefulSet/db`, ...
    pub workload: String,
    pub environment: String,
    pub version: String,
    pub region: String,
    /// For files that name a plugin.
    pub plugin: String,
    /// For files outside `/var/log/pods`: the path.
    pub path: String,
}

impl Default for Origin {
    fn default() -> Origin {
        Origin {
            tenant: UNASSIGNED.to_owned(),
            tenant_id: UNASSIGNED.to_owned(),
            namespace: String::new(),
            pod: String::new(),
            pod_uid: String::new(),
            container: String::new(),
            node: String::new(),
            service: String::new(),
            workload: String::new(),
            environment: String::new(),
            version: String::new(),
            region: String::new(),
            plugin: String::new(),
            path: String::new(),
        }
    }
}

/// Key of an origin's row. The store gives it: a tenant chooses some of the names, so two origins can have the same hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OriginId(pub u64);

impl Origin {
    /// The id that the store tries first: XXH3-64 over the fields in declaration order, each closed by a byte that UTF-8 cannot contain.
    pub fn id(&self) -> OriginId {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for field in self.fields() {
            hasher.update(field.as_bytes());
            hasher.update(&[0xff]);
        }
        OriginId(hasher.digest())
    }

    /// Names as PostgreSQL can hold them and a message has room for them; a tenant is never empty.
    #[must_use]
    pub fn cleaned(mut self) -> Origin {
        for field in [
            &mut self.tenant,
            &mut self.tenant_id,
            &mut self.namespace,
            &mut self.pod,
            &mut self.pod_uid,
            &mut self.container,
            &mut self.node,
            &mut self.service,
            &mut self.workload,
            &mut self.environment,
            &mut self.version,
            &mut self.region,
            &mut self.plugin,
        ] {
            clean_name(field, NAME_BYTES_MAX);
        }
        clean_name(&mut self.path, PATH_BYTES_MAX);
        if self.tenant.is_empty() {
            UNASSIGNED.clone_into(&mut self.tenant);
        }
        if self.tenant_id.is_empty() {
            self.tenant_id.clone_from(&self.tenant);
        }
        self
    }

    /// Whether the service is but the container's name, because the cluster said nothing of it: then what a line says of itself
    /// goes before it.
    pub fn service_is_a_guess(&self) -> bool {
        self.workload.is_empty() && !self.service.is_empty() && self.service == self.container
    }

    /// Whether both are of one container of one pod, or one file of one node; of others, whether all is the same.
    pub fn is_same_place(&self, other: &Origin) -> bool {
        let is_same = if !self.pod_uid.is_empty() {
            self.pod_uid == other.pod_uid && self.container == other.container
        } else if !self.path.is_empty() {
            self.path == other.path && self.node == other.node && other.pod_uid.is_empty()
        } else {
            self == other
        };
        is_same && self.tenant == other.tenant
    }

    /// All fields, in declaration order.
    pub fn fields(&self) -> [&String; 14] {
        [
            &self.tenant,
            &self.tenant_id,
            &self.namespace,
            &self.pod,
            &self.pod_uid,
            &self.container,
            &self.node,
            &self.service,
            &self.workload,
            &self.environment,
            &self.version,
            &self.region,
            &self.plugin,
            &self.path,
        ]
    }
}

/// Cuts a name at `bytes_max` (between two characters); PostgreSQL's text has no NUL.
pub fn clean_name(name: &mut String, bytes_max: usize) {
    name.truncate(name.floor_char_boundary(bytes_max));
    if name.contains('\0') {
        *name = name.replace('\0', "\u{fffd}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_database_and_a_message_can_hold() {
        let origin = Origin {
            tenant: String::new(),
            tenant_id: String::new(),
            service: "é".repeat(NAME_BYTES_MAX),
            version: "1\0".to_owned(),
            ..Origin::default()
        };
        let origin = origin.cleaned();
        assert_eq!((origin.tenant.as_str(), origin.tenant_id.as_str()), (UNASSIGNED, UNASSIGNED));
        assert_eq!((origin.service.len(), origin.version.as_str()), (NAME_BYTES_MAX - 1, "1\u{fffd}"));
    }
}
