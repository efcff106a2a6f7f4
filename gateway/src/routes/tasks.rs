//! `/api/tasks/{task_id}` and its logs, to the letter of what clients already speak. A task that may not be seen is not there.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use cordwood_core::filter::{self, quoted};
use cordwood_core::limits::{NAME_BYTES_MAX, TASK_ID_BYTES_MAX};
use cordwood_core::origin::Origin;
use cordwood_core::scope::{Grant, Namespaces, Tenants};
use cordwood_core::task::{LEVELS, level_named};
use cordwood_store::search::{Page, TimeRange, search};
use cordwood_store::tasks::{self, Announced, Named, Task};
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::Gateway;
use crate::access::Identity;
use crate::answer::TaskItem;
use crate::problem::Problem;
use crate::question::{self, LIMIT_DEFAULT, LIMIT_MAX, Parameters};
use crate::scope::Caller;
use crate::slots::Length;

/// Besides `metadata.<key>`.
pub const LINES: [&str; 7] = ["level", "min_level", "source", "search", "offset", "limit", "namespace"];
pub const WHERE: [&str; 1] = ["namespace"];
pub const WHOSE: [&str; 2] = ["namespace", "tenant"];
pub(super) const METADATA: &str = "metadata.";
pub const OFFSET_MAX: u64 = 1 << 40;
/// Of records of which nobody knows the tenant.
const TENANT_DEFAULT: &str = "unassigned";
/// To look whether a tenant has records in a namespace.
const BUDGET_MS: u64 = 10_000;

/// A page of a task's lines, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskLogs {
    items: Vec<TaskItem>,
    /// Of all lines that were asked for.
    total: u64,
    offset: u64,
    limit: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TaskStats {
    total: u64,
    #[schema(value_type = TaskLevelCounts)]
    by_level: BTreeMap<String, u64>,
    by_source: BTreeMap<String, u64>,
}

/// How many lines of each level; absent: none.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "UPPERCASE")]
#[allow(dead_code, reason = "for the document")]
pub struct TaskLevelCounts {
    debug: Option<u64>,
    info: Option<u64>,
    warning: Option<u64>,
    error: Option<u64>,
}

/// A task that was announced.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskName {
    task_id: String,
    namespace: String,
    tenant: String,
}

/// A task's lines, oldest first.
#[utoipa::path(
    get,
    path = "/api/tasks/{task_id}/logs",
    params(
        ("task_id" = String, Path, description = "The task's id"),
        ("level" = Option<Vec<String>>, Query, description = "`DEBUG`, `INFO`, `WARNING` (or `WARN`), `ERROR`; repeated: any of these"),
        ("min_level" = Option<String>, Query, description = "This level and above; with neither this nor `level`: INFO and above"),
        ("source" = Option<Vec<String>>, Query, description = "The exact source; repeated: any of these"),
        ("search" = Option<String>, Query, description = "A text in the message, in any case"),
        ("offset" = Option<u64>, Query, description = "Lines to pass over, by default 0"),
        ("limit" = Option<u64>, Query, description = "1 to 1000, by default 100"),
        ("namespace" = Option<String>, Query, description = "The task's namespace, where several have a task of this id"),
    ),
    responses(
        (status = 200, description = "The page", body = TaskLogs),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn task_logs(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    task_id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&LINES], Some(METADATA))?;
    let offset = question::number(&mut parameters, "offset", 0, 0..=OFFSET_MAX)?;
    let limit = question::number(&mut parameters, "limit", LIMIT_DEFAULT as u64, 1..=LIMIT_MAX as u64)?;
    let wanted = wanted(&mut parameters)?;
    let task_id = named(task_id)?;
    let namespace = namespace(&mut parameters)?;
    let _slot = gateway.slot(&caller, Length::Long).await?;
    let task = find(&gateway, &caller, &task_id, namespace.as_deref()).await?;
    let logged = task.lines(&gateway.store, &wanted, offset, limit).await;
    let logged = logged.map_err(|error| Problem::store(&error))?;
    caller.look.shown(logged.lines.len() as u64);
    json(&TaskLogs {
        items: logged.lines.into_iter().map(|line| TaskItem::of(&task_id, line)).collect(),
        total: logged.total,
        offset,
        limit,
    })
}

/// How many lines a task has, of all levels.
#[utoipa::path(
    get,
    path = "/api/tasks/{task_id}/logs/stats",
    params(
        ("task_id" = String, Path, description = "The task's id"),
        ("namespace" = Option<String>, Query, description = "The task's namespace, where several have a task of this id"),
    ),
    responses(
        (status = 200, description = "The counts", body = TaskStats),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn task_stats(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    task_id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let stats = stats(&gateway, &caller, task_id, &uri).await?;
    json(&TaskStats {
        total: stats.by_level.iter().map(|level| level.1).sum(),
        by_level: stats.by_level.into_iter().collect(),
        by_source: stats.by_source.into_iter().collect(),
    })
}

/// The sources of a task's lines.
#[utoipa::path(
    get,
    path = "/api/tasks/{task_id}/logs/sources",
    params(
        ("task_id" = String, Path, description = "The task's id"),
        ("namespace" = Option<String>, Query, description = "The task's namespace, where several have a task of this id"),
    ),
    responses(
        (status = 200, description = "The sources, in order", body = Vec<String>),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn task_sources(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    task_id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let stats = stats(&gateway, &caller, task_id, &uri).await?;
    let mut sources: Vec<String> = stats.by_source.into_iter().map(|source| source.0).collect();
    sources.sort();
    json(&sources)
}

/// Announces a task, so that it is there before its first line.
#[utoipa::path(
    put,
    path = "/api/tasks/{task_id}",
    params(
        ("task_id" = String, Path, description = "The task's id"),
        ("namespace" = Option<String>, Query, description = "Needed if the caller may see several; by default none"),
        ("tenant" = Option<String>, Query, description = "Needed if the caller may see several; by default `unassigned`"),
    ),
    responses(
        (status = 201, description = "It is new", body = TaskName),
        (status = 200, description = "It was there", body = TaskName),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn announce_task(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    task_id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&WHOSE], None)?;
    let task_id = named(task_id)?;
    let (given_namespace, given_tenant) = (namespace(&mut parameters)?, parameters.one("tenant")?);
    let scope = &caller.scope;
    let namespace = own("namespace", given_namespace, scope.namespaces_at_most(), "")?;
    let tenant = own("tenant", given_tenant, scope.tenants_at_most(), TENANT_DEFAULT)?;
    if !scope.reaches(&tenant, &namespace) {
        return Err(Problem::no_task());
    }
    if !gateway.may_change_tasks(&caller.identity, &namespace).await? {
        return Err(Problem::no_task());
    }
    let _slot = gateway.slot(&caller, Length::Short).await?;
    if !may_name(&gateway, &caller, &tenant, &namespace).await? {
        return Err(Problem::no_task());
    }
    let announced = tasks::announce(&gateway.store, &task_id, &namespace, &tenant).await;
    let status = match announced.map_err(|error| Problem::store(&error))? {
        Announced::New => StatusCode::CREATED,
        Announced::Known => StatusCode::OK,
        Announced::Deleted => return Err(Problem::deleted_task()),
    };
    // Anyone who may see the task finds it at once, also where it has no record yet.
    let place = Origin { namespace: namespace.clone(), tenant: tenant.clone(), ..Origin::default() };
    gateway.stored_names.hear(std::iter::once(&place));
    Ok((status, json(&TaskName { task_id, namespace, tenant })?).into_response())
}

/// Deletes a task with its lines.
///
/// Its records are shown nowhere from then on, also those that come later; audit records stay.
#[utoipa::path(
    delete,
    path = "/api/tasks/{task_id}",
    params(
        ("task_id" = String, Path, description = "The task's id"),
        ("namespace" = Option<String>, Query, description = "The task's namespace, where several have a task of this id"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn delete_task(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    task_id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&WHERE], None)?;
    let task_id = named(task_id)?;
    let namespace = namespace(&mut parameters)?;
    let _slot = gateway.slot(&caller, Length::Long).await?;
    let task = find(&gateway, &caller, &task_id, namespace.as_deref()).await?;
    if !gateway.may_change_tasks(&caller.identity, &task.namespace).await? {
        return Err(Problem::no_task());
    }
    let named = tasks::delete(&gateway.store, &caller.scope, &task_id, Some(&task.namespace)).await;
    let task = the_one(named.map_err(|error| Problem::store(&error))?)?;
    tracing::info!(caller = caller.identity.name(), task = task.task_id, task.namespace, "task deleted");
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn stats(
    gateway: &Gateway,
    caller: &Caller,
    task_id: Result<Path<String>, PathRejection>,
    uri: &Uri,
) -> Result<tasks::Stats, Problem> {
    let mut parameters = Parameters::read(uri, &[&WHERE], None)?;
    let task_id = named(task_id)?;
    let namespace = namespace(&mut parameters)?;
    let _slot = gateway.slot(caller, Length::Long).await?;
    let task = find(gateway, caller, &task_id, namespace.as_deref()).await?;
    task.stats(&gateway.store).await.map_err(|error| Problem::store(&error))
}

pub(super) async fn find(
    gateway: &Gateway,
    caller: &Caller,
    task_id: &str,
    namespace: Option<&str>,
) -> Result<Task, Problem> {
    let named = tasks::find(&gateway.store, &caller.scope, task_id, namespace).await;
    the_one(named.map_err(|error| Problem::store(&error))?)
}

/// # Errors
/// The same when it is not there and when it may not be seen.
fn the_one(named: Named) -> Result<Task, Problem> {
    match named {
        Named::One(task) => Ok(task),
        Named::None => Err(Problem::no_task()),
        Named::Several(namespaces) => Err(Problem::several_tasks(&namespaces)),
    }
}

pub(super) fn named(task_id: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let Path(task_id) = task_id.map_err(|_| Problem::parameter("task_id", "is not UTF-8"))?;
    if task_id.contains('\0') || task_id.len() > TASK_ID_BYTES_MAX {
        return Err(Problem::parameter(
            "task_id",
            format!("no task has an id with NUL, or above {TASK_ID_BYTES_MAX} bytes"),
        ));
    }
    Ok(task_id)
}

/// No namespace is a name too: of records that no cluster placed.
pub(super) fn namespace(parameters: &mut Parameters) -> Result<Option<String>, Problem> {
    parameters.one("namespace")
}

/// A caller who sees a namespace of a cluster, and not all of the tenant, names a tenant of which they see records there: else its readers would
/// find a task of this id in two namespaces, and the answer would tell of tenants whose records are hidden from them.
async fn may_name(
    gateway: &Gateway,
    caller: &Caller,
    tenant: &str,
    namespace: &str,
) -> Result<bool, Problem> {
    let sees_tenant = |grant: &Grant| {
        grant.reaches(tenant, namespace)
            && (matches!(grant.tenants, Tenants::Only(_)) || matches!(grant.namespaces, Namespaces::All))
    };
    let is_free = !matches!(caller.identity, Identity::Person(..)) || caller.scope.grants().any(sees_tenant);
    if is_free || tenant == TENANT_DEFAULT {
        return Ok(true);
    }
    let filter = format!("tenant={} namespace={}", quoted(tenant), quoted(namespace));
    let filter = filter::parse(&filter).map_err(|error| Problem::parameter("tenant", error.message))?;
    let (range, page) = (TimeRange::default(), Page::first(1));
    let found = search(&gateway.store, &caller.scope, &filter, range, page, BUDGET_MS).await;
    let found = found.map_err(|error| Problem::store(&error))?;
    if found.records.is_empty() && !found.complete {
        return Err(Problem::not_looked_at_all());
    }
    Ok(!found.records.is_empty())
}

/// The one that is given, or the only one that may be seen.
fn own(name: &str, given: Option<String>, seen: Option<Vec<&str>>, default: &str) -> Result<String, Problem> {
    if given.as_ref().is_some_and(|given| given.len() > NAME_BYTES_MAX) {
        return Err(Problem::parameter(name, format!("longer than {NAME_BYTES_MAX} bytes")));
    }
    match (given, seen.as_deref()) {
        (Some(given), _) => Ok(given),
        (None, None) => Ok(default.to_owned()),
        (None, Some([only])) => Ok((*only).to_owned()),
        (None, Some(_)) => Err(Problem::parameter(name, "several may be seen: say which one the task is of")),
    }
}

pub(super) fn wanted(parameters: &mut Parameters) -> Result<tasks::Lines, Problem> {
    let level = |name: &str, text: &str| {
        level_named(text).ok_or_else(|| {
            Problem::parameter(name, format!("{text:?} is none of DEBUG, INFO, WARNING, ERROR"))
        })
    };
    let mut levels =
        parameters.all("level")?.iter().map(|text| level("level", text)).collect::<Result<Vec<_>, _>>()?;
    let least = parameters.one("min_level")?.map(|text| level("min_level", &text)).transpose()?;
    match least {
        Some(least) if levels.is_empty() => levels = and_above(least),
        Some(least) => {
            let seen = and_above(least);
            levels.retain(|word| seen.contains(word));
            if levels.is_empty() {
                return Err(Problem::parameter(
                    "min_level",
                    "above every level that is asked for: nothing can match",
                ));
            }
        }
        None if levels.is_empty() => levels = and_above("INFO"),
        None => {}
    }
    let metadata = parameters.begin_with(METADATA);
    let metadata = metadata.into_iter().map(|name| {
        let values = parameters.one_or_more(&name);
        (name[METADATA.len()..].to_owned(), values)
    });
    Ok(tasks::Lines {
        levels,
        metadata: metadata.collect(),
        sources: parameters.all("source")?,
        search: parameters.one("search")?.filter(|text| !text.is_empty()),
    })
}

fn and_above(least: &str) -> Vec<&'static str> {
    LEVELS.into_iter().skip_while(|word| *word != least).collect()
}
