//! Sets a level by one request: which service, which level, for how long. It writes an ordinary level config whose name follows from service and
//! scope, so the next request for the same changes that config.

use cordwood_core::retention::duration;
use cordwood_crds::levels::DURATION_MS_MAX;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::resource::{Body, Wanted, object};
use super::{Administrator, Kind};
use crate::Gateway;
use crate::problem::Problem;
use crate::words::{LevelName, ScopeName, UnleveledName};

/// Characters of a name that come from the service.
const SERVICE_CHARS_MAX: usize = 63;

/// A level for one service, one namespace or the whole cluster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(
    dead_code,
    reason = "for the document; it is read field by field, so that each mistake names its field"
)]
pub struct Quiet {
    /// Absent: the whole cluster.
    pub namespace: Option<String>,
    /// The service; or an object with `service`, `containers`, `matchLabels`. Absent: all.
    #[schema(value_type = Option<QuietTarget>)]
    pub target: Option<Value>,
    /// Lines below it are dropped.
    #[schema(value_type = LevelName)]
    pub level: String,
    /// Absent, as `expiresAt` is: the default of its scope in the whole cluster, without an end.
    #[schema(minimum = 1, maximum = 604800)]
    pub ttl_seconds: Option<u64>,
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// By default `application`.
    #[schema(value_type = Option<ScopeName>)]
    pub scope: Option<String>,
    pub debug_scopes: Option<bool>,
    /// Lines whose level is unknown; by default they are kept.
    #[schema(value_type = Option<UnleveledName>)]
    pub unleveled: Option<String>,
    /// What part of the lines below the level is kept.
    #[schema(minimum = 0, maximum = 1)]
    pub sample: Option<f64>,
    /// What the config must be now.
    pub resource_version: Option<String>,
}

/// A service; or what an object names.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "for the document")]
pub enum QuietTarget {
    Service(String),
    Named(QuietTargetFields),
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "for the document")]
pub struct QuietTargetFields {
    service: Option<String>,
    containers: Option<Vec<String>>,
    match_labels: Option<std::collections::BTreeMap<String, String>>,
}

const FIELDS: [&str; 10] = [
    "namespace",
    "target",
    "level",
    "ttlSeconds",
    "expiresAt",
    "scope",
    "debugScopes",
    "unleveled",
    "sample",
    "resourceVersion",
];

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Target {
    service: Option<String>,
    containers: Vec<String>,
    match_labels: std::collections::BTreeMap<String, String>,
}

fn wrong(field: &str, message: impl Into<String>) -> Problem {
    Problem::invalid([(field.to_owned(), message.into())])
}

/// The level config that a request asks for.
///
/// # Errors
/// What is wrong, by the request's own fields.
pub async fn quiet(
    gateway: &Gateway,
    who: &Administrator,
    Body(fields): Body,
    now_ms: i64,
) -> Result<Wanted, Problem> {
    let mut fields = fields;
    fields.retain(|_, value| !value.is_null());
    if let Some(other) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(wrong(other, format!("unknown field; known are {}", FIELDS.join(", "))));
    }
    let target = target(fields.remove("target"))?;
    let namespace = match fields.remove("namespace") {
        None => None,
        Some(Value::String(namespace)) if !namespace.is_empty() => Some(namespace),
        Some(_) => return Err(wrong("namespace", "must be the name of a namespace, or left out")),
    };
    let expires_at = expires_at(&mut fields, now_ms)?;
    let is_default = expires_at.is_none();
    let is_for_all = namespace.is_none()
        && target.service.is_none()
        && target.containers.is_empty()
        && target.match_labels.is_empty();
    if is_default && !is_for_all {
        return Err(wrong(
            "ttlSeconds",
            "missing: give ttlSeconds or expiresAt; only a level of the whole cluster stays",
        ));
    }
    let scope = match fields.get("scope") {
        None => "application".to_owned(),
        Some(Value::String(scope)) if ["application", "task"].contains(&scope.as_str()) => scope.clone(),
        Some(_) => return Err(wrong("scope", "must be one of application, task")),
    };
    let kind = if namespace.is_some() { Kind::Levels } else { Kind::ClusterLevels };
    let name = match is_default {
        true => default_of(gateway, who, &scope).await?.unwrap_or_else(|| format!("api-default-{scope}")),
        false => name_of(&target, &scope),
    };
    let mut spec = Map::new();
    for (from, to) in
        [("level", "level"), ("scope", "scope"), ("debugScopes", "debugScopes"), ("unleveled", "unleveled")]
    {
        if let Some(value) = fields.remove(from) {
            spec.insert(to.to_owned(), value);
        }
    }
    if let Some(below) = fields.remove("sample") {
        spec.insert("sample".to_owned(), json!({"below": below}));
    }
    if let Some(service) = target.service {
        spec.insert("service".to_owned(), json!(service));
    }
    if !target.containers.is_empty() {
        spec.insert("containers".to_owned(), json!(target.containers));
    }
    if !target.match_labels.is_empty() {
        spec.insert("selector".to_owned(), json!({"matchLabels": target.match_labels}));
    }
    match expires_at {
        Some(time) => spec.insert("expiresAt".to_owned(), json!(time)),
        None => spec.insert("default".to_owned(), json!(true)),
    };
    let mut metadata = json!({"name": name});
    if let Some(namespace) = &namespace {
        metadata["namespace"] = json!(namespace);
    }
    if let Some(version) = fields.remove("resourceVersion") {
        metadata["resourceVersion"] = version;
    }
    let whole = json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": kind.name(), "metadata": metadata, "spec": spec,
    });
    let Value::Object(whole) = whole else { return Err(Problem::internal()) };
    object(Body(whole), &[kind], None, None).map_err(|problem| problem.with_fields(own_field))
}

/// What the resource calls it, and what the request does.
fn own_field(field: &str) -> String {
    let own = match field {
        "spec.sample.below" | "spec.sample" => "sample",
        "spec.service" => "target.service",
        "spec.containers" => "target.containers",
        "metadata.namespace" => "namespace",
        "metadata.resourceVersion" => "resourceVersion",
        field if field.starts_with("spec.selector") => "target.matchLabels",
        field => field.strip_prefix("spec.").unwrap_or(field),
    };
    own.to_owned()
}

fn target(value: Option<Value>) -> Result<Target, Problem> {
    match value {
        None => Ok(Target::default()),
        Some(Value::String(service)) if !service.is_empty() => {
            Ok(Target { service: Some(service), ..Target::default() })
        }
        Some(value @ Value::Object(_)) => {
            serde_json::from_value(value).map_err(|error| wrong("target", error.to_string()))
        }
        Some(_) => Err(wrong(
            "target",
            "must be the name of a service, or an object with service, containers, matchLabels",
        )),
    }
}

/// When it ends, in whole seconds.
fn expires_at(fields: &mut Map<String, Value>, now_ms: i64) -> Result<Option<String>, Problem> {
    let (ttl, at) = (fields.remove("ttlSeconds"), fields.remove("expiresAt"));
    let most_s = DURATION_MS_MAX / 1000;
    let time = match (ttl, at) {
        (Some(_), Some(_)) => {
            return Err(wrong("ttlSeconds", "give either ttlSeconds or expiresAt, not both"));
        }
        (None, None) => return Ok(None),
        (Some(ttl), None) => {
            let ttl_s = ttl.as_i64().filter(|ttl| (1..=most_s).contains(ttl));
            let ttl_s = ttl_s
                .ok_or_else(|| wrong("ttlSeconds", format!("must be a whole number from 1 to {most_s}")))?;
            jiff::Timestamp::from_second(now_ms.div_euclid(1000) + ttl_s).ok()
        }
        (None, Some(at)) => {
            let at: Option<jiff::Timestamp> = at.as_str().and_then(|at| at.parse().ok());
            let at = at.ok_or_else(|| wrong("expiresAt", "must be a time such as 2026-01-31T12:00:00Z"))?;
            let left_ms = at.as_millisecond() - now_ms;
            if !(1..=DURATION_MS_MAX).contains(&left_ms) {
                let most = duration::print(DURATION_MS_MAX * 1000);
                return Err(wrong("expiresAt", format!("must be in the future, by at most {most}")));
            }
            jiff::Timestamp::from_second(at.as_second()).ok()
        }
    };
    let time = time.ok_or_else(|| wrong("expiresAt", "must be a time such as 2026-01-31T12:00:00Z"))?;
    Ok(Some(time.to_string()))
}

/// The default that the scope has: there is one.
async fn default_of(gateway: &Gateway, who: &Administrator, scope: &str) -> Result<Option<String>, Problem> {
    let all = gateway.listed(who, Kind::ClusterLevels, None).await?;
    let is_it = |object: &&Value| {
        object["spec"]["default"] == true
            && object["spec"]["scope"].as_str().unwrap_or("application") == scope
    };
    let made = |object: &&Value| object["metadata"]["creationTimestamp"].as_str().map(str::to_owned);
    let first = all.iter().filter(is_it).min_by_key(made);
    Ok(first.and_then(|object| object["metadata"]["name"].as_str()).map(str::to_owned))
}

/// `api-checkout-application`; what is more than a plain name is told apart by a hash.
fn name_of(target: &Target, scope: &str) -> String {
    let service = target.service.as_deref().unwrap_or("all");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut slug: String =
        service.to_ascii_lowercase().chars().map(|c| if plain(c) { c } else { '-' }).collect();
    slug.truncate(SERVICE_CHARS_MAX);
    let slug = slug.trim_matches('-');
    let slug = if slug.is_empty() { "service" } else { slug };
    let is_whole = (slug == service && target.service.as_deref() != Some("all")) || target.service.is_none();
    if is_whole && target.containers.is_empty() && target.match_labels.is_empty() {
        return format!("api-{slug}-{scope}");
    }
    let all = json!([target.service, target.containers, target.match_labels]).to_string();
    let hash: String =
        Sha256::digest(all.as_bytes()).iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("api-{slug}-{hash}-{scope}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_what_it_is_about_and_two_are_never_one() {
        let of = |service: Option<&str>, containers: &[&str]| Target {
            service: service.map(str::to_owned),
            containers: containers.iter().map(|name| (*name).to_owned()).collect(),
            ..Target::default()
        };
        assert_eq!(name_of(&of(Some("checkout"), &[]), "task"), "api-checkout-task");
        let long = "a".repeat(253);
        let all = [
            of(None, &[]),
            of(Some("all"), &[]),
            of(Some("checkout"), &[]),
            of(Some("Checkout"), &[]),
            of(Some("checkout-"), &[]),
            of(Some("check_out"), &[]),
            of(Some("check-out"), &[]),
            of(Some("checkout"), &["app"]),
            of(Some("___"), &[]),
            of(Some("日本"), &[]),
            of(Some(&long), &[]),
            of(Some(&long[1..]), &[]),
        ];
        let names: std::collections::BTreeSet<String> =
            all.iter().map(|target| name_of(target, "application")).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
        assert!(names.iter().all(|name| cordwood_crds::is_name(name)), "{names:?}");
    }

    #[test]
    fn an_end_is_within_what_a_level_may_last() {
        const NOW_MS: i64 = 1_795_003_200_000;
        let end = |text: &str| {
            let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else { panic!("{text}") };
            expires_at(&mut fields, NOW_MS)
        };
        assert_eq!(end("{}").unwrap(), None);
        assert_eq!(end(r#"{"ttlSeconds": 1800}"#).unwrap().as_deref(), Some("2026-11-18T12:30:00Z"));
        assert!(end(r#"{"expiresAt": "2026-11-18T13:00:00+00:00"}"#).unwrap().is_some());
        for wrong in [
            r#"{"ttlSeconds": 0}"#,
            r#"{"ttlSeconds": -1}"#,
            r#"{"ttlSeconds": 604801}"#,
            r#"{"ttlSeconds": 1e300}"#,
            r#"{"ttlSeconds": 9223372036854775807}"#,
            r#"{"ttlSeconds": "30m"}"#,
            r#"{"ttlSeconds": 5, "expiresAt": "2026-11-18T13:00:00Z"}"#,
            r#"{"expiresAt": "2026-11-18T11:00:00Z"}"#,
            r#"{"expiresAt": "2027-11-18T11:00:00Z"}"#,
            r#"{"expiresAt": "tomorrow"}"#,
            r#"{"expiresAt": 5}"#,
        ] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
    }
}
