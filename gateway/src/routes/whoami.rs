//! `/api/whoami`: who the caller is here, what they see, and what they administer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use super::json;
use crate::Gateway;
use crate::admin::Administrator;
use crate::answer::WhoAmI;
use crate::problem::Problem;
use crate::question::Parameters;
use crate::scope::Caller;

/// Who asks, whose records they see, and what they may administer.
#[utoipa::path(
    get,
    path = "/api/whoami",
    responses(
        (status = 200, description = "The caller", body = WhoAmI),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn whoami(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[], None)?;
    let who = Administrator { identity: caller.identity.clone(), look: caller.look.clone() };
    let administration = gateway.administers(&who, caller.scope.namespaces_at_most()).await?;
    json(&WhoAmI { administration, ..WhoAmI::of(&caller) })
}
