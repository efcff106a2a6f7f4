//! Decides which tenant a namespace's lines are of: the administrator's configuration and the namespace's labels, in the order that the
//! administrator chose, within the tenants that the administrator allows.
//! Promises: a tenant that is not allowed is nobody's (`unassigned`), never another's; annotations say nothing; an id that the
//! configuration gives to one tenant is no other tenant's.

pub mod body;
pub mod changes;

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use crate::origin::UNASSIGNED;
use crate::retention::routes::check_glob;

/// Labels of a namespace. Who may set them is the admission policy's affair.
pub const TENANT: &str = "cordwood.dev/tenant";
pub const TENANT_ID: &str = "cordwood.dev/tenant-id";
pub const ENVIRONMENT: &str = "cordwood.dev/environment";
/// `deny`: no level rule but the namespace's own drops its lines.
pub const LEVEL_RULES: &str = "cordwood.dev/level-rules";
const DENY: &str = "deny";
/// `body`: a line that names a tenant is that tenant's.
pub const TENANT_FROM: &str = "cordwood.dev/tenant-from";
/// `body`: a line that calls itself an audit record is one.
pub const AUDIT_FROM: &str = "cordwood.dev/audit-from";
const BODY: &str = "body";

/// Who is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authority {
    /// A namespace's label counts only where no rule of the configuration matches.
    #[default]
    Configuration,
    /// A rule of the configuration counts only where the namespace has no label.
    Namespace,
}

/// What decides a namespace's tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenants {
    pub authority: Authority,
    /// Tenants that there may be, with `*` and `?`; absent: any.
    pub allowed: Option<Vec<String>>,
    /// First match wins; `namespace` may contain `*` and `?`.
    pub namespaces: Vec<NamespaceTenant>,
    /// The namespace's name is its tenant, where nothing else says.
    pub from_namespace_name: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceTenant {
    pub namespace: String,
    pub tenant: String,
    #[serde(default)]
    pub tenant_id: Option<String>,
}

impl Tenants {
    /// What cannot be followed: the key, and what is wrong.
    ///
    /// # Errors
    /// The first such key.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        const ALLOWED: &str = "tenants.allowed";
        const NAMESPACES: &str = "tenants.namespaces";
        if self.allowed.as_ref().is_some_and(Vec::is_empty) {
            let message = "is empty: name the tenants that there may be, or leave it out for any";
            return Err((ALLOWED, message.to_owned()));
        }
        for glob in self.allowed.iter().flatten() {
            check_glob(glob).map_err(|why| (ALLOWED, why))?;
        }
        let allowed = self.allowed_set();
        for rule in &self.namespaces {
            let wrong = |message: &str| Err((NAMESPACES, message.to_owned()));
            if let Err(error) = globset::Glob::new(&rule.namespace) {
                return Err((NAMESPACES, format!("{:?}: {error}", rule.namespace)));
            }
            if rule.tenant.is_empty() {
                return wrong("a tenant is empty");
            }
            if rule.tenant_id.as_deref() == Some("") {
                return wrong("a tenant_id is empty: leave it out, and it is the tenant");
            }
            if !is_allowed(allowed.as_ref(), &rule.tenant) {
                return Err((NAMESPACES, format!("{:?} is none of tenants.allowed", rule.tenant)));
            }
        }
        Ok(())
    }

    /// Whether the administrator allows this tenant.
    pub fn allows(&self, tenant: &str) -> bool {
        is_allowed(self.allowed_set().as_ref(), tenant)
    }

    fn allowed_set(&self) -> Option<GlobSet> {
        let mut set = GlobSetBuilder::new();
        for glob in self.allowed.as_ref()? {
            if let Ok(glob) = GlobBuilder::new(glob).literal_separator(false).backslash_escape(false).build()
            {
                set.add(glob);
            }
        }
        // What cannot be built allows nothing.
        Some(set.build().unwrap_or_else(|_| GlobSet::empty()))
    }
}

/// `unassigned` is always there.
fn is_allowed(allowed: Option<&GlobSet>, tenant: &str) -> bool {
    tenant == UNASSIGNED || allowed.is_none_or(|allowed| allowed.is_match(tenant))
}

/// What a namespace's labels say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub tenant: Option<String>,
    pub tenant_id: Option<String>,
    pub environment: Option<String>,
    /// Only its own level rules drop its lines.
    pub denies_level_rules: bool,
    /// Its lines may name their tenant themselves.
    pub tenant_from_body: bool,
    /// Its lines may call themselves audit records.
    pub audit_from_body: bool,
}

impl Labels {
    /// An empty value says nothing.
    pub fn of(labels: Option<&BTreeMap<String, String>>) -> Labels {
        let get = |key: &str| labels?.get(key).filter(|value| !value.is_empty()).cloned();
        Labels {
            tenant: get(TENANT),
            tenant_id: get(TENANT_ID),
            environment: get(ENVIRONMENT),
            denies_level_rules: get(LEVEL_RULES).as_deref() == Some(DENY),
            tenant_from_body: get(TENANT_FROM).as_deref() == Some(BODY),
            audit_from_body: get(AUDIT_FROM).as_deref() == Some(BODY),
        }
    }
}

/// Whose a namespace's lines are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    pub tenant: String,
    pub tenant_id: String,
    /// Why it is `unassigned` although something was said.
    pub refused: Option<Refused>,
}

/// What a namespace said and what is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the tenant {0:?} is none of tenants.allowed")]
    Tenant(String),
    #[error("the tenant id {id:?} is that of the tenant {of:?}")]
    Id { id: String, of: String },
}

impl Decided {
    fn nobody(refused: Option<Refused>) -> Decided {
        Decided { tenant: UNASSIGNED.to_owned(), tenant_id: UNASSIGNED.to_owned(), refused }
    }
}

/// The configuration, ready to decide.
#[derive(Clone, Debug)]
pub struct Tenancy {
    authority: Authority,
    allowed: Option<GlobSet>,
    /// Namespaces, tenant, id.
    rules: Vec<(GlobMatcher, String, String)>,
    from_namespace_name: bool,
}

impl Tenancy {
    /// Of a configuration that [`Tenants::check`] took: a pattern that is none matches nothing.
    pub fn new(tenants: &Tenants) -> Tenancy {
        let rules = tenants.namespaces.iter().filter_map(|rule| {
            let glob = globset::Glob::new(&rule.namespace).ok()?.compile_matcher();
            let id = rule.tenant_id.clone().unwrap_or_else(|| rule.tenant.clone());
            Some((glob, rule.tenant.clone(), id))
        });
        Tenancy {
            authority: tenants.authority,
            allowed: tenants.allowed_set(),
            rules: rules.collect(),
            from_namespace_name: tenants.from_namespace_name,
        }
    }

    /// Whose the lines of `namespace` are.
    pub fn decide(&self, namespace: &str, labels: &Labels) -> Decided {
        let rule = self.rules.iter().find(|(glob, ..)| glob.is_match(namespace));
        let configured = rule.map(|(_, tenant, id)| self.within(tenant, Some(id)));
        let labelled = || labels.tenant.as_ref().map(|tenant| self.labelled(tenant, labels));
        let said = match self.authority {
            Authority::Configuration => configured.or_else(labelled),
            Authority::Namespace => labelled().or(configured),
        };
        said.unwrap_or_else(|| match self.from_namespace_name && !namespace.is_empty() {
            true => self.within(namespace, None),
            false => Decided::nobody(None),
        })
    }

    /// By the namespace's own labels.
    fn labelled(&self, tenant: &str, labels: &Labels) -> Decided {
        let Some(id) = labels.tenant_id.as_deref() else { return self.within(tenant, None) };
        let other = self.rules.iter().find(|(_, of, known)| of != tenant && (known == id || of == id));
        match other {
            Some((_, of, _)) => Decided::nobody(Some(Refused::Id { id: id.to_owned(), of: of.clone() })),
            None => self.within(tenant, Some(id)),
        }
    }

    /// `tenant`, if it is allowed. Its id is the one that the configuration gives it, no matter who named the tenant.
    fn within(&self, tenant: &str, id: Option<&str>) -> Decided {
        if !is_allowed(self.allowed.as_ref(), tenant) {
            return Decided::nobody(Some(Refused::Tenant(tenant.to_owned())));
        }
        let known = self.rules.iter().find(|(_, of, _)| of == tenant).map(|(_, _, id)| id.as_str());
        let tenant_id = known.or(id).unwrap_or(tenant).to_owned();
        Decided { tenant: tenant.to_owned(), tenant_id, refused: None }
    }
}

#[cfg(test)]
mod tests;
