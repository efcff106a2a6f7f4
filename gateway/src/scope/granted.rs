//! Makes a scope of what the cluster grants a person: everything, or certain tenants and namespaces. It asks about those that the question
//! names, else about those that have records.

use std::collections::HashMap;
use std::time::Duration;

use cordwood_core::limits::ACCESS_NAMES_MAX;
use cordwood_core::scope::{AdminReason, Grant, Namespaces, Scope, Tenants};
use cordwood_store::Store;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::named::Named;
use super::stored::{Heard, StoredNames};
use crate::access::cluster::{Cluster, Right};
use crate::access::person::Person;
use crate::metrics::Metrics;
use crate::problem::Problem;

/// Questions at once for one caller.
const AT_ONCE: usize = 16;
/// Who is asked about whom, and how old an answer may be.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub cluster: &'a Cluster,
    pub person: &'a Person,
    pub metrics: &'a Metrics,
    pub age_max: Duration,
    /// About lines of tasks, and nothing else.
    pub of_tasks: bool,
}

impl<'a> Asking<'a> {
    /// About all records; an answer may be as old as its kind allows.
    pub fn of(cluster: &'a Cluster, person: &'a Person, metrics: &'a Metrics) -> Asking<'a> {
        Asking { cluster, person, metrics, age_max: Duration::MAX, of_tasks: false }
    }
}

impl Asking<'_> {
    /// With the names that were known by then.
    ///
    /// # Errors
    /// When the API server or the store does not answer, or the namespaces are too many to ask for each.
    pub async fn scope(
        &self,
        store: &Store,
        stored_names: &StoredNames,
        named: &Named,
    ) -> Result<(Scope, Heard), Problem> {
        let everywhere = String::new;
        let mut heard = stored_names.heard();
        let logs = self.logs();
        if self.may(logs(everywhere())).await? {
            let all = Scope::all(AdminReason::Authorized);
            if self.may(Right::AuditLogs(everywhere())).await? {
                return Ok((all, heard));
            }
            // Audit records of those namespaces alone that are named.
            let names = checked(named.namespaces.as_deref().unwrap_or_default(), is_namespace)?;
            let audited = self.made(names, Right::AuditLogs).await?;
            let audited = Scope::any_of(audited.into_iter().map(|(name, since_us)| own(name, since_us)));
            return Ok((all.without_audit().or(audited).slim(), heard));
        }
        let known = match (&named.tenants, &named.namespaces) {
            (Some(_), Some(_)) => None,
            _ => Some(stored_names.names(store).await?),
        };
        heard = known.as_ref().map_or(heard, |known| known.heard);
        let tenants = match &named.tenants {
            Some(slugs) => Some(slugs),
            None => known.as_ref().and_then(|known| known.tenants.as_ref()),
        };
        let by_tenants = self.of_tenants(tenants.map_or(&[][..], |slugs| slugs)).await?;
        let namespaces = match &named.namespaces {
            Some(names) => Some(names),
            None => known.as_ref().and_then(|known| known.namespaces.as_ref()),
        };
        let of_namespaces = match namespaces {
            Some(names) => self.of_namespaces(checked(names, is_namespace)?).await?,
            // Too many to ask for each: who may see tenants sees these.
            None if by_tenants.sees_something() => return Ok((by_tenants.slim(), heard)),
            None => return Err(Problem::name_a_namespace()),
        };
        Ok((by_tenants.or(of_namespaces).slim(), heard))
    }

    /// What of these names is granted.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn of_names(&self, tenants: &[String], namespaces: &[String]) -> Result<Scope, Problem> {
        let by_tenants = self.of_tenants(tenants).await?;
        Ok(by_tenants.or(self.of_namespaces(checked(namespaces, is_namespace)?).await?).slim())
    }

    async fn of_tenants(&self, slugs: &[String]) -> Result<Scope, Problem> {
        let slugs = self.those(checked(slugs, is_slug)?, Right::Tenant).await?;
        self.parted(slugs, Right::TenantAudit, Scope::of_tenants).await
    }

    /// Of each namespace its own records: those that are not older than it is.
    async fn of_namespaces(&self, names: Vec<String>) -> Result<Scope, Problem> {
        let seen = self.made(names, self.logs()).await?;
        let names = seen.iter().map(|(name, _)| name.clone()).collect();
        let audited: HashMap<String, i64> = self.made(names, Right::AuditLogs).await?.into_iter().collect();
        let of_one = |(name, since_us): (String, i64)| match audited.get(&name) {
            Some(later_us) => own(name, since_us.max(*later_us)),
            None => own(name, since_us).without_audit(),
        };
        Ok(Scope::any_of(seen.into_iter().map(of_one)))
    }

    /// Those of these namespaces in which the person has the right, each with when it was made.
    async fn made(
        &self,
        names: Vec<String>,
        right: fn(String) -> Right,
    ) -> Result<Vec<(String, i64)>, Problem> {
        let asked = stream::iter(names).map(async |name: String| {
            let right = right(name.clone());
            let granted = self.cluster.granted(self.person, &right, self.age_max, self.metrics).await?;
            let Some(granted) = granted else { return Ok(None) };
            let made = self.cluster.made(&name, granted, self.metrics).await?;
            Ok(made.map(|made_us| (name, made_us)))
        });
        let asked: Vec<Option<(String, i64)>> = asked.buffered(AT_ONCE).try_collect().await?;
        Ok(asked.into_iter().flatten().collect())
    }

    /// Of those whose audit records may be seen too, and of the others.
    async fn parted(
        &self,
        names: Vec<String>,
        audit: fn(String) -> Right,
        scope: impl Fn(Vec<String>) -> Scope,
    ) -> Result<Scope, Problem> {
        let audited = self.those(names.clone(), audit).await?;
        let others = names.into_iter().filter(|name| !audited.contains(name)).collect();
        Ok(scope(others).without_audit().or(scope(audited)))
    }

    /// Whether all of a scope that was made above would be given.
    pub async fn may_all_of(&self, scope: &Scope) -> Result<bool, Problem> {
        for grant in scope.grants() {
            if !self.may_all_of_grant(grant).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn may_all_of_grant(&self, grant: &Grant) -> Result<bool, Problem> {
        let (names, [logs, audit]) = match (&grant.tenants, &grant.namespaces) {
            (Tenants::All(_), Namespaces::All) => {
                (vec![String::new()], [self.logs(), Right::AuditLogs as fn(String) -> Right])
            }
            (Tenants::All(_), Namespaces::Only(names)) => {
                let of_now = self.of_namespaces(names.clone()).await?;
                let same = |name: &String| {
                    let since_us = grant.since_us.unwrap_or(i64::MIN);
                    of_now.grants().any(|now| {
                        matches!(&now.namespaces, Namespaces::Only(names) if names.contains(name))
                            && now.since_us.is_none_or(|now_us| now_us <= since_us)
                            && (now.audit || !grant.audit)
                    })
                };
                return Ok(names.iter().all(same));
            }
            (Tenants::Only(slugs), _) => {
                (slugs.clone(), [Right::Tenant as fn(String) -> Right, Right::TenantAudit])
            }
        };
        Ok(self.may_each(&names, logs).await? && (!grant.audit || self.may_each(&names, audit).await?))
    }

    fn logs(&self) -> fn(String) -> Right {
        if self.of_tasks { Right::TaskLogs } else { Right::Logs }
    }

    async fn may(&self, right: Right) -> Result<bool, Problem> {
        self.cluster.may(self.person, &right, self.age_max, self.metrics).await
    }

    async fn may_each(&self, names: &[String], right: fn(String) -> Right) -> Result<bool, Problem> {
        Ok(self.those(names.to_vec(), right).await?.len() == names.len())
    }

    /// Those of the names of which the person has the right.
    async fn those(&self, names: Vec<String>, right: fn(String) -> Right) -> Result<Vec<String>, Problem> {
        let asked = stream::iter(names)
            .map(async |name: String| Ok((self.may(right(name.clone())).await?, name)))
            .buffered(AT_ONCE);
        let asked: Vec<(bool, String)> = asked.try_collect().await?;
        Ok(asked.into_iter().filter_map(|(may, name)| may.then_some(name)).collect())
    }
}

/// All records of a namespace since it was made.
fn own(name: String, since_us: i64) -> Scope {
    Scope::all(AdminReason::Authorized).in_namespaces([name]).since(since_us)
}

/// Those that can be asked for; nobody sees what others name. An empty name would ask for all.
fn checked(names: &[String], is_name: fn(&str) -> bool) -> Result<Vec<String>, Problem> {
    let names: Vec<String> = names.iter().filter(|name| is_name(name)).cloned().collect();
    if names.len() > ACCESS_NAMES_MAX { Err(Problem::name_a_namespace()) } else { Ok(names) }
}

/// A DNS label, as the API server has it.
fn is_namespace(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| is_inner(byte) || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_slug(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        for (name, expected) in [
            ("shop", true),
            ("shop-1", true),
            ("", false),
            ("*", false),
            ("Shop", false),
            ("-shop", false),
            ("shop-", false),
            ("shop/bank", false),
            ("shop.bank", false),
        ] {
            assert_eq!(is_namespace(name), expected, "{name:?}");
        }
        assert!(!is_namespace(&"a".repeat(64)));
        for (name, expected) in
            [("acme", true), ("Acme.eu_1-2", true), ("", false), ("*", false), ("a b", false)]
        {
            assert_eq!(is_slug(name), expected, "{name:?}");
        }
        let many: Vec<String> = (0..=ACCESS_NAMES_MAX).map(|number| format!("n{number}")).collect();
        assert!(checked(&many, is_namespace).is_err());
        assert_eq!(checked(&many[1..], is_namespace).unwrap().len(), ACCESS_NAMES_MAX);
    }
}
