//! `/api/admin/levels`: the LogLevelConfigs and ClusterLogLevelConfigs, and a level in one request.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::json;
use super::retention::one;
use crate::Gateway;
use crate::admin::schemas::{LevelConfig, LevelConfigBody, LevelConfigList, LevelRequest};
use crate::admin::{
    Administrator, Body, Kind, Options, Place, Resource, ResourceList, delete, named, object, put, quiet,
};
use crate::problem::Problem;
use crate::question::Parameters;

const WHERE: [&str; 1] = ["namespace"];
const KINDS: [Kind; 2] = [Kind::Levels, Kind::ClusterLevels];

/// The level configs that the caller sees, each with its status: whether it is in force, how many agents have it, when it ends.
#[utoipa::path(
    get,
    path = "/api/admin/levels",
    params(("namespace" = Option<String>, Query, description = "Those of this namespace alone")),
    responses(
        (status = 200, description = "Those of the whole cluster, then those of namespaces", body = LevelConfigList),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn level_configs(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    uri: Uri,
) -> Result<Response, Problem> {
    let namespace = Parameters::read(&uri, &[&WHERE], None)?.one("namespace")?;
    if let Some(namespace) = &namespace {
        if namespace.is_empty() {
            return Err(Problem::parameter("namespace", "must be the name of a namespace, or left out"));
        }
        named(Kind::Levels, namespace.clone(), "any".to_owned())?;
    }
    let mut found = match namespace {
        None => gateway.listed(&who, Kind::ClusterLevels, None).await?,
        Some(_) => Vec::new(),
    };
    found.extend(gateway.listed(&who, Kind::Levels, namespace.as_deref()).await?);
    json(&ResourceList { items: found.into_iter().map(Resource::from).collect() })
}

/// Holds a service, a namespace or the whole cluster to a level.
///
/// With `ttlSeconds` or `expiresAt` it ends by itself; without either it is the default of its scope in the whole cluster. The next
/// request for the same target and scope changes the same config. A body with `kind` is a whole LogLevelConfig or
/// ClusterLogLevelConfig instead.
#[utoipa::path(
    put,
    path = "/api/admin/levels",
    request_body(content = LevelRequest),
    responses(
        (status = 200, description = "It was there and is changed", body = LevelConfig),
        (status = 201, description = "It is new", body = LevelConfig),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn put_level(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let options = Options::of(&mut Parameters::read(&uri, &[], None)?, &headers)?;
    let wanted = match body.0.contains_key("kind") {
        true => object(body, &KINDS, None, None)?,
        false => quiet(&gateway, &who, body, super::now_us() / 1000).await?,
    };
    put(&gateway, &who, wanted, &options).await
}

/// Creates a level config that is not there yet.
#[utoipa::path(
    post,
    path = "/api/admin/levels",
    request_body(content = LevelConfigBody, description = "A LogLevelConfig or ClusterLogLevelConfig"),
    responses(
        (status = 201, description = "It is new", body = LevelConfig),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn post_level(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let options = Options::of(&mut Parameters::read(&uri, &[], None)?, &headers)?;
    put(&gateway, &who, object(body, &KINDS, None, None)?, &Options { only_new: true, ..options }).await
}

/// One level config with its status.
#[utoipa::path(
    get,
    path = "/api/admin/levels/{name}",
    params(
        ("name" = String, Path, description = "The config's name"),
        ("namespace" = Option<String>, Query, description = "Of a LogLevelConfig; without it the ClusterLogLevelConfig of this name"),
    ),
    responses(
        (status = 200, description = "The config", body = LevelConfig),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn level_config(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    one(&gateway, &who, place(name, &uri)?).await
}

/// Creates a level config of this name, or changes it.
#[utoipa::path(
    put,
    path = "/api/admin/levels/{name}",
    params(
        ("name" = String, Path, description = "The config's name"),
        ("namespace" = Option<String>, Query, description = "Of a LogLevelConfig; without it the ClusterLogLevelConfig of this name"),
    ),
    request_body(content = LevelConfigBody, description = "A LogLevelConfig or ClusterLogLevelConfig; with `metadata.resourceVersion` it is changed only where it is still this one"),
    responses(
        (status = 200, description = "It was there and is changed", body = LevelConfig),
        (status = 201, description = "It is new", body = LevelConfig),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn put_level_named(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let place = place(name, &uri)?;
    let version = Options::of(&mut Parameters::read(&uri, &[&WHERE], None)?, &headers)?;
    let namespace = (place.kind == Kind::Levels).then_some(place.namespace.as_str());
    let wanted = object(body, &[place.kind], Some(&place.name), namespace)?;
    put(&gateway, &who, wanted, &version).await
}

/// Deletes a level config: what was in force before is in force again.
#[utoipa::path(
    delete,
    path = "/api/admin/levels/{name}",
    params(
        ("name" = String, Path, description = "The config's name"),
        ("namespace" = Option<String>, Query, description = "Of a LogLevelConfig; without it the ClusterLogLevelConfig of this name"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn delete_level(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = place(name, &uri)?;
    let options = Options::of(&mut Parameters::read(&uri, &[&WHERE], None)?, &headers)?;
    delete(&gateway, &who, &place, &options).await
}

/// With a namespace, also one that is empty, it is a LogLevelConfig.
fn place(name: Result<Path<String>, PathRejection>, uri: &Uri) -> Result<Place, Problem> {
    let namespace = Parameters::read(uri, &[&WHERE], None)?.one("namespace")?;
    let Path(name) = name.map_err(|_| Problem::parameter("name", "is not UTF-8"))?;
    let kind = if namespace.is_some() { Kind::Levels } else { Kind::ClusterLevels };
    named(kind, namespace.unwrap_or_default(), name)
}
