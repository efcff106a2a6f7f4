//! Makes every refusal one form, `application/problem+json`: what is wrong and what to do. A forbidden thing and a missing thing read the same.

mod access;
mod agents;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cordwood_core::filter::FilterError;
use cordwood_core::limits::HEAD_BYTES_MAX;
use cordwood_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::request_id::RequestId;

/// Seconds after which it is worth asking again.
const BUSY_RETRY_SECONDS: u32 = 1;
const AWAY_RETRY_SECONDS: u32 = 5;

/// A refusal (RFC 9457). Every fallible step of an answer returns it, so its texts are boxed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind: `urn:cordwood:problem:<kind>`.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong here, and what to do.
    #[schema(value_type = String)]
    detail: Box<str>,
    /// The parameter that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    parameter: Option<Box<str>>,
    /// Characters of `filter` before the mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<usize>)]
    position: Option<u32>,
    /// The request's `X-Request-Id`, for anyone who asks what became of it.
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    request_id: Option<Box<str>>,
    /// Of a resource: each field that is wrong, and why.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<FieldError>)]
    errors: Box<[FieldError]>,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    field: String,
    message: String,
}

impl Problem {
    fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        let (detail, status) = (detail.into().into_boxed_str(), status.as_u16());
        Problem {
            kind,
            title,
            status,
            detail,
            parameter: None,
            position: None,
            request_id: None,
            errors: Box::default(),
            retry_after_seconds: None,
        }
    }

    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "urn:cordwood:problem:parameter",
            "A parameter is wrong",
            detail,
        );
        Problem { parameter: Some(name.into().into_boxed_str()), ..problem }
    }

    pub fn filter(error: &FilterError) -> Problem {
        let problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "urn:cordwood:problem:filter",
            "The filter is wrong",
            error.message.clone(),
        );
        Problem { parameter: Some("filter".into()), position: u32::try_from(error.at).ok(), ..problem }
    }

    /// The parameter that is at fault.
    pub fn at(&self) -> Option<&str> {
        self.parameter.as_deref()
    }

    /// Characters before the mistake.
    pub fn position(&self) -> Option<usize> {
        self.position.and_then(|position| usize::try_from(position).ok())
    }

    /// For a record that is not there, and for one that may not be seen.
    pub fn no_record() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "urn:cordwood:problem:not-found",
            "No such record",
            "there is no record of this id that you may see: it may have expired, or be another's",
        )
    }

    /// For a group of errors that is not there, and for one of which nothing may be seen.
    pub fn no_group() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "urn:cordwood:problem:no-group",
            "No such group",
            "there is no record of this group that you may see, in this time: it may have expired, or be another's",
        )
    }

    /// For a task that is not there, and for one that may not be seen (or not be changed).
    pub fn no_task() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "urn:cordwood:problem:no-task",
            "No such task",
            "there is no task of this id that you may see, or change: it may be deleted, or be another's",
        )
    }

    /// For a resource that is not there, and for one that may not be seen (or not be changed).
    pub fn no_resource() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "urn:cordwood:problem:no-resource",
            "No such resource",
            "there is no resource of this name that you may see, or change",
        )
    }

    pub fn no_administration() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "urn:cordwood:problem:no-administration",
            "Nothing is administered here",
            "this gateway reads and changes no policies and level configs: in a cluster set administration.enabled and install the \
             custom resources, standalone needs --resources DIR",
        )
    }

    /// Each field that is wrong, and why.
    pub fn invalid(errors: impl IntoIterator<Item = (String, String)>) -> Problem {
        let errors: Box<[FieldError]> =
            errors.into_iter().map(|(field, message)| FieldError { field, message }).collect();
        let said = errors.iter().map(|error| format!("{}: {}", error.field, error.message));
        let problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "urn:cordwood:problem:invalid",
            "The resource is wrong",
            said.collect::<Vec<_>>().join("; "),
        );
        Problem { errors, ..problem }
    }

    /// The same, in the words of another form of the request.
    #[must_use]
    pub fn with_fields(mut self, own: impl Fn(&str) -> String) -> Problem {
        if self.errors.is_empty() {
            return self;
        }
        let errors = std::mem::take(&mut self.errors);
        Problem::invalid(errors.into_iter().map(|error| (own(&error.field), error.message)))
    }

    pub fn body(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "urn:cordwood:problem:body",
            "The request's body is wrong",
            detail,
        )
    }

    pub fn not_json() -> Problem {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "urn:cordwood:problem:media-type",
            "Not JSON",
            "send the resource as JSON, with Content-Type: application/json",
        )
    }

    pub fn too_large(bytes_max: usize) -> Problem {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "urn:cordwood:problem:too-large",
            "Too large",
            format!("a resource has at most {} KiB", bytes_max >> 10),
        )
    }

    pub fn is_there() -> Problem {
        Problem::new(
            StatusCode::CONFLICT,
            "urn:cordwood:problem:exists",
            "It is there",
            "there is a resource of this name: change it with PUT",
        )
    }

    pub fn changed_meanwhile() -> Problem {
        Problem::new(
            StatusCode::CONFLICT,
            "urn:cordwood:problem:conflict",
            "It was changed",
            "the resource is not the one of this resourceVersion any more: read it again, and change what is there now",
        )
    }

    pub fn no_plan() -> Problem {
        Problem::new(
            StatusCode::CONFLICT,
            "urn:cordwood:problem:no-plan",
            "Nothing waits",
            "no plan of this policy waits for an approval",
        )
    }

    pub fn another_plan(waits: &str) -> Problem {
        Problem::new(
            StatusCode::CONFLICT,
            "urn:cordwood:problem:another-plan",
            "Another plan waits",
            format!(
                "it is the plan {waits} that waits for an approval: look at what it would drop, and approve that one"
            ),
        )
    }

    pub fn kept_by_hand(path: &std::path::Path) -> Problem {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Problem::new(
            StatusCode::CONFLICT,
            "urn:cordwood:problem:by-hand",
            "A person keeps it",
            format!(
                "it stands in the file {name} of the folder of resources, which a person keeps: change it there"
            ),
        )
    }

    /// Good by itself, and not together with the others.
    pub fn does_not_fit(why: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::CONFLICT,
            "urn:cordwood:problem:does-not-fit",
            "It does not go with the others",
            why,
        )
    }

    pub fn broken_folder(why: impl std::fmt::Display) -> Problem {
        Problem::new(
            StatusCode::CONFLICT,
            "urn:cordwood:problem:broken-folder",
            "The folder of resources has mistakes",
            format!("a change would have no effect before these are repaired: {why}"),
        )
    }

    pub fn no_folder() -> Problem {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:cordwood:problem:folder",
            "The folder of resources cannot be used",
            "reading or writing it failed; the log says why",
        );
        Problem { retry_after_seconds: Some(AWAY_RETRY_SECONDS), ..problem }
    }

    pub fn gateway_may_not() -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:cordwood:problem:gateway-may-not",
            "The gateway may not do it",
            "you may, but the gateway's own service account may not: its log says which right it lacks",
        )
    }

    pub fn several_tasks(namespaces: &[String]) -> Problem {
        let detail = format!(
            "several namespaces have a task of this id: say which with namespace=, of {}",
            namespaces.join(", ")
        );
        let problem =
            Problem::new(StatusCode::CONFLICT, "urn:cordwood:problem:several-tasks", "Which task?", detail);
        Problem { parameter: Some("namespace".into()), ..problem }
    }

    pub fn deleted_task() -> Problem {
        Problem::new(
            StatusCode::CONFLICT,
            "urn:cordwood:problem:deleted-task",
            "The task was deleted",
            "its id is free again when the last of its records has expired: take another id",
        )
    }

    pub fn no_route() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "urn:cordwood:problem:no-route",
            "No such route",
            "there is nothing at this path; /api/openapi.json lists what there is",
        )
    }

    pub fn no_method() -> Problem {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "urn:cordwood:problem:method",
            "The method is wrong",
            "this path does not answer to this method: /api/openapi.json says which it answers to",
        )
    }

    /// A page before or at the one that is wanted was not read to its end.
    pub fn too_slow(budget: std::time::Duration) -> Problem {
        let detail = format!(
            "{} s were not enough to read up to this page: ask again, what was read is remembered",
            budget.as_secs()
        );
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:cordwood:problem:slow",
            "Not read yet",
            detail,
        );
        Problem { retry_after_seconds: Some(BUSY_RETRY_SECONDS), ..problem }
    }

    pub fn upgrade(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "urn:cordwood:problem:websocket", "No WebSocket", detail)
    }

    pub fn not_acceptable() -> Problem {
        Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "urn:cordwood:problem:accept",
            "No such form",
            "ask with Accept: application/json, application/x-ndjson, text/csv or text/plain, as the route's description says",
        )
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether another answer may come in a moment.
    pub fn is_for_now(&self) -> bool {
        self.retry_after_seconds.is_some()
    }

    pub fn busy() -> Problem {
        let problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "urn:cordwood:problem:busy",
            "Too many at once",
            "as many questions as the gateway takes at once are under way: ask again in a moment",
        );
        Problem { retry_after_seconds: Some(BUSY_RETRY_SECONDS), ..problem }
    }

    pub fn too_many_of_one() -> Problem {
        let problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "urn:cordwood:problem:identity-busy",
            "Too many of yours at once",
            "as many of your own questions, exports or streams as one caller may have are under way: wait for one of them, or end it",
        );
        Problem { retry_after_seconds: Some(BUSY_RETRY_SECONDS), ..problem }
    }

    pub fn too_many_connections() -> Problem {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:cordwood:problem:connections",
            "Too many connections",
            "as many connections as the gateway takes are open: close those that are not used, and ask again in a moment",
        );
        Problem { retry_after_seconds: Some(BUSY_RETRY_SECONDS), ..problem }
    }

    /// The budget ended the search for one record before it was found, or all was looked at.
    pub fn not_looked_at_all() -> Problem {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:cordwood:problem:too-slow",
            "PostgreSQL was too slow",
            "the search for this record took longer than it may: whether it is there is not known; ask again",
        );
        Problem { retry_after_seconds: Some(AWAY_RETRY_SECONDS), ..problem }
    }

    /// Why PostgreSQL gave no answer. What it said goes to the log, not to the caller.
    pub fn store(error: &StoreError) -> Problem {
        if error.code() == Some(&StoreError::STATEMENT_TIMEOUT) {
            return Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:cordwood:problem:too-slow",
                "PostgreSQL was too slow",
                "a statement took much longer than the budget: narrow the time or the filter, or give a larger budgetMs",
            );
        }
        tracing::warn!(%error, "a question could not be answered");
        if error.is_transient() {
            let problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:cordwood:problem:store-away",
                "PostgreSQL does not answer",
                "the store is unavailable for the moment: try again",
            );
            return Problem { retry_after_seconds: Some(AWAY_RETRY_SECONDS), ..problem };
        }
        Problem::internal()
    }

    pub fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "urn:cordwood:problem:internal",
            "The gateway failed",
            "the gateway's log says why",
        )
    }

    /// More than a connection holds of a request's head.
    pub fn large_head() -> Problem {
        Problem::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "urn:cordwood:problem:head",
            "The head is too large",
            format!(
                "the request's address and headers take more than {} KiB, or are more than 100",
                HEAD_BYTES_MAX >> 10
            ),
        )
    }

    pub fn long_address() -> Problem {
        Problem::new(
            StatusCode::URI_TOO_LONG,
            "urn:cordwood:problem:address",
            "The address is too long",
            "more than 64 KiB of it: ask for less in one question",
        )
    }

    pub fn no_http() -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "urn:cordwood:problem:http",
            "No HTTP request",
            "what was sent is no request of HTTP/1.1: in an address a blank is %20, and every other character but plain ones has its %-form",
        )
    }

    /// As it is written where there is no request to answer; the connection ends with it.
    pub fn as_last_answer(&self, id: &RequestId) -> Vec<u8> {
        let problem = Problem { request_id: Some(id.as_str().into()), ..self.clone() };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let status = self.status();
        let retry =
            self.retry_after_seconds.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n{retry}x-request-id: {}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            id.as_str(),
            body.len()
        );
        (head + &body).into_bytes()
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let request_id = RequestId::current().map(|id| id.as_str().into());
        let body = serde_json::to_vec(&Problem { request_id, ..self.clone() }).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        let mut add = |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
        if let Some(seconds) = self.retry_after_seconds {
            add(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            add(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cordwood\""));
        }
        response
    }
}
