//! `/api/whoami`: who the caller is here, and what they see.

use axum::http::Uri;
use axum::response::Response;

use super::json;
use crate::answer::WhoAmI;
use crate::problem::Problem;
use crate::question::Parameters;
use crate::scope::Caller;

/// Who asks, and whose records they see.
#[utoipa::path(
    get,
    path = "/api/whoami",
    responses(
        (status = 200, description = "The caller", body = WhoAmI),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = [])),
)]
pub async fn whoami(caller: Caller, uri: Uri) -> Result<Response, Problem> {
    Parameters::read(&uri, &[], None)?;
    json(&WhoAmI::of(&caller))
}
