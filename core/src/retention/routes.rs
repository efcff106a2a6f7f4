//! Routes decide which retention class a record falls into. Compiled from policies and classes, stored in PostgreSQL as JSON,
//! read by the sealer in its own snapshot.

use std::sync::OnceLock;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use super::class::{Class, ClassId, PolicyLevel};
use super::policy::{Category, DEFAULT, Match, PerLevel, Policy};
use crate::level::Level;

/// What of a record decides about its policy; the same for all records of one origin and category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteKey<'a> {
    pub tenant: &'a str,
    pub namespace: &'a str,
    pub service: &'a str,
    pub audit: bool,
}

/// One policy's part of the routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub policy: String,
    pub priority: i32,
    #[serde(rename = "match", default)]
    pub matches: Match,
    pub classes: PerLevel<ClassId>,
    /// In force per class: a record older than this is expired.
    pub retention_us: PerLevel<i64>,
}

/// All routes. Serializes to JSON; the matchers are built when first asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Routes {
    routes: Vec<Route>,
    #[serde(skip)]
    compiled: OnceLock<Compiled>,
}

impl PartialEq for Routes {
    fn eq(&self, other: &Routes) -> bool {
        self.routes == other.routes
    }
}

impl Eq for Routes {}

/// Where the records of one origin go, per level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub class: ClassId,
    /// A record whose time lies before now minus this is expired.
    pub retention_us: i64,
}

impl Routes {
    /// Of `policies` (those in force, the default included) whose classes exist. A policy without all its classes has
    /// no route yet. `retention_us` is what the class has in force, which may still be longer than what the policy says.
    pub fn compile<'a>(policies: &[Policy], classes: impl IntoIterator<Item = &'a Class> + Clone) -> Routes {
        let class_of = |policy: &Policy, level: PolicyLevel| {
            classes.clone().into_iter().find(|class| class.policy == policy.name && class.level == level)
        };
        let mut routes: Vec<Route> = policies
            .iter()
            .filter_map(|policy| {
                let found = PerLevel::of(|level| class_of(policy, level));
                let (debug, info, warn, error) = (found.debug?, found.info?, found.warn?, found.error?);
                Some(Route {
                    policy: policy.name.clone(),
                    priority: policy.priority,
                    matches: policy.matches.clone(),
                    classes: PerLevel { debug: debug.id, info: info.id, warn: warn.id, error: error.id },
                    retention_us: PerLevel {
                        debug: debug.retention_us,
                        info: info.retention_us,
                        warn: warn.retention_us,
                        error: error.retention_us,
                    },
                })
            })
            .collect();
        routes.sort_by(|a, b| a.policy.cmp(&b.policy));
        Routes { routes, compiled: OnceLock::new() }
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The class of one record. `None` only while no policy at all has its classes.
    pub fn class_of(&self, key: &RouteKey<'_>, level: Level) -> Option<ClassId> {
        self.target(key, PolicyLevel::of(level)).map(|target| target.class)
    }

    /// The classes of all levels of one origin and category: what a sealer keeps per origin.
    pub fn targets(&self, key: &RouteKey<'_>) -> PerLevel<Option<Target>> {
        PerLevel::of(|level| self.target(key, level))
    }

    fn target(&self, key: &RouteKey<'_>, level: PolicyLevel) -> Option<Target> {
        let compiled = self.compiled.get_or_init(|| Compiled::of(&self.routes));
        let place =
            compiled.order.get(level).iter().copied().find(|place| compiled.matchers[*place].matches(key))?;
        let route = &self.routes[place];
        Some(Target { class: *route.classes.get(level), retention_us: *route.retention_us.get(level) })
    }
}

/// Matchers in the order of `routes`, and per level the order in which they are asked.
#[derive(Clone, Debug)]
struct Compiled {
    matchers: Vec<Matcher>,
    order: PerLevel<Vec<usize>>,
}

impl Compiled {
    fn of(routes: &[Route]) -> Compiled {
        let matchers = routes.iter().map(Matcher::of).collect();
        let order = PerLevel::of(|level| {
            let mut order: Vec<usize> = (0..routes.len()).collect();
            order.sort_by(|a, b| compare(&routes[*a], &routes[*b], level));
            order
        });
        Compiled { matchers, order }
    }
}

/// Which of two routes is asked first: not the default, the higher priority, the longer retention, the name.
fn compare(a: &Route, b: &Route, level: PolicyLevel) -> std::cmp::Ordering {
    (a.policy == DEFAULT)
        .cmp(&(b.policy == DEFAULT))
        .then(b.priority.cmp(&a.priority))
        .then(b.retention_us.get(level).cmp(a.retention_us.get(level)))
        .then(a.policy.cmp(&b.policy))
}

#[derive(Clone, Debug)]
struct Matcher {
    tenants: Option<GlobSet>,
    namespaces: Option<GlobSet>,
    services: Option<GlobSet>,
    categories: Vec<Category>,
}

impl Matcher {
    fn of(route: &Route) -> Matcher {
        // The default policy takes what is left over, whatever its match says: no record is without a class.
        let matches = if route.policy == DEFAULT { &Match::default() } else { &route.matches };
        Matcher {
            tenants: glob_set(&matches.tenants),
            namespaces: glob_set(&matches.namespaces),
            services: glob_set(&matches.services),
            categories: matches.categories.clone(),
        }
    }

    fn matches(&self, key: &RouteKey<'_>) -> bool {
        let category = if key.audit { Category::Audit } else { Category::System };
        let has = |set: &Option<GlobSet>, value: &str| set.as_ref().is_none_or(|set| set.is_match(value));
        (self.categories.is_empty() || self.categories.contains(&category))
            && has(&self.tenants, key.tenant)
            && has(&self.namespaces, key.namespace)
            && has(&self.services, key.service)
    }
}

/// `None` for an empty list (matches all). A glob that does not parse matches nothing; [`check_glob`] refuses it first.
pub(super) fn glob_set(globs: &[String]) -> Option<GlobSet> {
    if globs.is_empty() {
        return None;
    }
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        if let Ok(glob) = build_glob(glob) {
            set.add(glob);
        }
    }
    Some(set.build().unwrap_or_else(|_| GlobSet::empty()))
}

fn build_glob(glob: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(glob).literal_separator(false).backslash_escape(false).build()
}

/// Whether a glob of a policy is one: letters, digits, `-_.:/@` and the wildcards `*` and `?`.
pub fn check_glob(glob: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:/@*?".contains(c);
    if glob.is_empty() || glob.len() > crate::limits::NAME_BYTES_MAX || !glob.chars().all(allowed) {
        return Err(format!(
            "{glob:?} is not a pattern: use 1 to {} letters, digits, '-', '_', '.', ':', '/', '@' and the wildcards '*' and '?'",
            crate::limits::NAME_BYTES_MAX
        ));
    }
    build_glob(glob).map(|_| ()).map_err(|error| error.to_string())
}

/// Pairs of policies that can match the same record with the same priority: who wins is then by retention or name, and
/// both should say so. Judged by their globs: two lists overlap when one is empty, or a literal of one matches a glob of
/// the other, or both have wildcards (which may overlap).
pub fn conflicts(policies: &[Policy]) -> Vec<(&Policy, &Policy)> {
    let mut found = Vec::new();
    for (place, a) in policies.iter().enumerate() {
        for b in &policies[place + 1..] {
            let apart = a.name == DEFAULT || b.name == DEFAULT || a.priority != b.priority;
            if !apart && overlap(&a.matches, &b.matches) {
                found.push((a, b));
            }
        }
    }
    found
}

fn overlap(a: &Match, b: &Match) -> bool {
    let categories = a.categories.is_empty()
        || b.categories.is_empty()
        || a.categories.iter().any(|category| b.categories.contains(category));
    categories
        && lists_overlap(&a.tenants, &b.tenants)
        && lists_overlap(&a.namespaces, &b.namespaces)
        && lists_overlap(&a.services, &b.services)
}

fn lists_overlap(a: &[String], b: &[String]) -> bool {
    a.is_empty()
        || b.is_empty()
        || a.iter().any(|a| b.iter().any(|b| globs_overlap(a.as_bytes(), b.as_bytes())))
}

/// Whether some text matches both globs.
fn globs_overlap(a: &[u8], b: &[u8]) -> bool {
    // reachable[j]: a[..i] and b[..j] can have consumed the same text.
    let mut reachable = vec![false; b.len() + 1];
    reachable[0] = true;
    let skip_stars = |row: &mut Vec<bool>| {
        for j in 0..b.len() {
            if row[j] && b[j] == b'*' {
                row[j + 1] = true;
            }
        }
    };
    skip_stars(&mut reachable);
    for &x in a {
        let mut next = vec![false; b.len() + 1];
        for j in 0..=b.len() {
            if !reachable[j] {
                continue;
            }
            if x == b'*' {
                // `*` of a takes nothing, or any run of what b asks for.
                next[j..].fill(true);
                break;
            }
            if j < b.len() && (b[j] == b'*' || b[j] == b'?' || x == b'?' || b[j] == x) {
                next[j + usize::from(b[j] != b'*')] = true;
            }
        }
        skip_stars(&mut next);
        reachable = next;
    }
    reachable[b.len()]
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
