//! `/api/admin/retention`: the LogRetentionPolicies, and what a change of one would do.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::Gateway;
use crate::admin::schemas::{LogRetentionPolicy, LogRetentionPolicyBody, LogRetentionPolicyList};
use crate::admin::{
    Administrator, Approve, Body, Kind, Options, Place, PreviewAnswer, Resource, ResourceList, Verb, approve,
    delete, named, object, put,
};
use crate::problem::Problem;
use crate::question::Parameters;

/// The policies that the caller sees, each with its status: what is kept, the oldest record, the next drop, what is held.
#[utoipa::path(
    get,
    path = "/api/admin/retention",
    responses(
        (status = 200, description = "The policies; none where the caller may see none", body = LogRetentionPolicyList),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn policies(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    uri: Uri,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[], None)?;
    let found = gateway.listed(&who, Kind::Retention, None).await?;
    json(&ResourceList { items: found.into_iter().map(Resource::from).collect() })
}

/// Creates a policy, or changes the one of its name.
#[utoipa::path(
    put,
    path = "/api/admin/retention",
    params(("preview" = Option<bool>, Query, description = "`true`: nothing is written, the answer says what would follow")),
    request_body(content = LogRetentionPolicyBody, description = "A LogRetentionPolicy; with `metadata.resourceVersion` it is changed only where it is still this one"),
    responses(
        (status = 200, description = "It was there; or what would follow", body = inline(AfterPut)),
        (status = 201, description = "It is new", body = LogRetentionPolicy),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn put_policy(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let options = options(&uri, &headers)?;
    put(&gateway, &who, object(body, &[Kind::Retention], None, None)?, &options).await
}

/// Creates a policy that is not there yet.
#[utoipa::path(
    post,
    path = "/api/admin/retention",
    params(("preview" = Option<bool>, Query, description = "`true`: nothing is written, the answer says what would follow")),
    request_body(content = LogRetentionPolicyBody, description = "A LogRetentionPolicy"),
    responses(
        (status = 200, description = "What would follow", body = PreviewAnswer),
        (status = 201, description = "It is new", body = LogRetentionPolicy),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn post_policy(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let options = Options { only_new: true, ..options(&uri, &headers)? };
    put(&gateway, &who, object(body, &[Kind::Retention], None, None)?, &options).await
}

/// One policy with its status.
#[utoipa::path(
    get,
    path = "/api/admin/retention/{name}",
    params(("name" = String, Path, description = "The policy's name")),
    responses(
        (status = 200, description = "The policy", body = LogRetentionPolicy),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn policy(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[], None)?;
    one(&gateway, &who, place(name)?).await
}

/// Creates a policy of this name, or changes it.
#[utoipa::path(
    put,
    path = "/api/admin/retention/{name}",
    params(
        ("name" = String, Path, description = "The policy's name"),
        ("preview" = Option<bool>, Query, description = "`true`: nothing is written, the answer says what would follow"),
    ),
    request_body(content = LogRetentionPolicyBody, description = "A LogRetentionPolicy; with `metadata.resourceVersion` it is changed only where it is still this one"),
    responses(
        (status = 200, description = "It was there; or what would follow", body = inline(AfterPut)),
        (status = 201, description = "It is new", body = LogRetentionPolicy),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn put_policy_named(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let options = options(&uri, &headers)?;
    let place = place(name)?;
    put(&gateway, &who, object(body, &[Kind::Retention], Some(&place.name), None)?, &options).await
}

/// Deletes a policy. Its records are kept as long as before; new ones fall under another policy.
#[utoipa::path(
    delete,
    path = "/api/admin/retention/{name}",
    params(
        ("name" = String, Path, description = "The policy's name"),
        ("preview" = Option<bool>, Query, description = "`true`: nothing is written, the answer says what would follow"),
    ),
    responses(
        (status = 200, description = "What would follow", body = PreviewAnswer),
        (status = 204, description = "It is gone"),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn delete_policy(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let options = options(&uri, &headers)?;
    delete(&gateway, &who, &place(name)?, &options).await
}

/// Approves the plan of a policy that waits for it: what it names is dropped, and nothing else.
#[utoipa::path(
    post,
    path = "/api/admin/retention/{name}/approval",
    params(("name" = String, Path, description = "The policy's name")),
    request_body(content = Approve, description = "The plan that `status.approval.plan` names"),
    responses(
        (status = 200, description = "The policy; the operator reads the approval at its next pass", body = LogRetentionPolicy),
        (status = "4XX", description = "What is wrong and what to do; 409 where nothing waits, or another plan does", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn approve_plan(
    State(gateway): State<Arc<Gateway>>,
    who: Administrator,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[], None)?;
    approve(&gateway, &who, &place(name)?, body).await
}

/// What is there now, or what would follow.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "for the document")]
enum AfterPut {
    Policy(LogRetentionPolicy),
    Preview(Box<PreviewAnswer>),
}

fn options(uri: &Uri, headers: &HeaderMap) -> Result<Options, Problem> {
    Options::of(&mut Parameters::read(uri, &[&Options::NAMES], None)?, headers)
}

fn place(name: Result<Path<String>, PathRejection>) -> Result<Place, Problem> {
    let Path(name) = name.map_err(|_| Problem::parameter("name", "is not UTF-8"))?;
    named(Kind::Retention, String::new(), name)
}

/// A resource that the caller sees.
pub async fn one(gateway: &Gateway, who: &Administrator, place: Place) -> Result<Response, Problem> {
    let administration = gateway.administration()?;
    if !gateway.may(who, Verb::Get, &place).await? {
        return Err(Problem::no_resource());
    }
    let object = administration.get(&place).await?.ok_or_else(Problem::no_resource)?;
    json(&Resource::from(object))
}
