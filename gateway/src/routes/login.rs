//! `/api/login`, `/api/callback`, `/api/logout`: a browser's session. `/api/ticket`: a WebSocket of a page of another origin.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use cordwood_core::entry::timestamp;
use cordwood_core::limits::TICKET_SECONDS;
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::Gateway;
use crate::access::oidc::Oidc;
use crate::access::oidc::login::Answer;
use crate::access::sessions::seals::Use;
use crate::access::sessions::{cookies, now_s, pages};
use crate::problem::Problem;
use crate::question::Parameters;
use crate::scope::Known;

pub const BACK: [&str; 1] = ["return"];

/// Opens one WebSocket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Offer it as the subprotocol `cordwood.ticket.<ticket>`, beside the one that is wanted.
    ticket: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    ends_at: String,
}

fn oidc(gateway: &Gateway) -> Result<&Oidc, Problem> {
    gateway.access.oidc().filter(|oidc| oidc.browser().is_some()).ok_or_else(Problem::no_login)
}

fn redirect(location: &str, cookies: Vec<HeaderValue>) -> Result<Response, Problem> {
    let location = HeaderValue::from_str(location).map_err(|_| Problem::internal())?;
    let cookies = cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie));
    let headers =
        AppendHeaders([(header::LOCATION, location)].into_iter().chain(cookies).collect::<Vec<_>>());
    // The address that a browser comes from holds a code.
    Ok((StatusCode::SEE_OTHER, headers, [(header::REFERRER_POLICY, "no-referrer")]).into_response())
}

/// Leads a browser to the identity provider, to log in.
#[utoipa::path(
    get,
    path = "/api/login",
    params(("return" = Option<String>, Query, description = "The path to come back to, by default `/`")),
    responses(
        (status = 303, description = "Where to log in"),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security(()),
)]
pub async fn login(State(gateway): State<Arc<Gateway>>, uri: Uri) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &[&BACK], None)?;
    let back = parameters.one("return")?.unwrap_or_else(|| "/".to_owned());
    let leaving = oidc(&gateway)?.leave(&gateway.sessions.seals, &back, &gateway.metrics).await?;
    let cookie = cookies::keep_login(&leaving.sealed, cordwood_core::limits::LOGIN_SECONDS);
    redirect(&leaving.location, cookie.into_iter().collect())
}

/// Where the identity provider sends a browser back to: begins the session.
#[utoipa::path(
    get,
    path = "/api/callback",
    responses(
        (status = 303, description = "The path that `/api/login` was given, with the session's cookies"),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security(()),
)]
pub async fn callback(
    State(gateway): State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (oidc, sessions) = (oidc(&gateway)?, &gateway.sessions);
    let answer = Answer::read(uri.query().unwrap_or_default());
    let arrived = oidc.arrive(&sessions.seals, cookies::login(&headers), answer, &gateway.metrics).await?;
    let sealed = sessions.seals.seal(Use::Session, arrived.token.as_bytes()).map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "a session could not begin");
        Problem::internal()
    })?;
    let kept = cookies::keep_session(&sealed, (arrived.ends_s - now_s()).max(1));
    let mut kept = kept.ok_or_else(|| {
        Problem::login("the identity provider's token is too large for a browser's cookies: ask for fewer scopes or groups")
    })?;
    kept.extend(cookies::end_login());
    redirect(&arrived.location, kept)
}

/// Ends a browser's session: its cookies are taken away.
#[utoipa::path(
    post,
    path = "/api/logout",
    responses(
        (status = 204, description = "There is no session any more"),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
    ),
    security(()),
)]
pub async fn logout(
    State(gateway): State<Arc<Gateway>>,
    method: axum::http::Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let browser = oidc(&gateway)?.browser().ok_or_else(Problem::no_login)?;
    pages::check(&method, &headers, &browser.origin)?;
    let ended = cookies::end_session().into_iter().map(|cookie| (header::SET_COOKIE, cookie));
    Ok((StatusCode::NO_CONTENT, AppendHeaders(ended.collect::<Vec<_>>())).into_response())
}

/// A ticket that opens one WebSocket within 30 seconds, also from a page of another origin.
#[utoipa::path(
    post,
    path = "/api/ticket",
    responses(
        (status = 201, description = "The ticket", body = Ticket),
        (status = "4XX", description = "What is wrong and what to do", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why there is no answer", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = []), ("session" = [])),
)]
pub async fn ticket(
    State(gateway): State<Arc<Gateway>>,
    Known(identity): Known,
    uri: Uri,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[], None)?;
    let token = identity.token().ok_or_else(Problem::needs_no_ticket)?;
    let now_s = now_s();
    let ticket = gateway.sessions.tickets.issue(&gateway.sessions.seals, token, now_s).map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "no ticket could be made");
        Problem::internal()
    })?;
    let ends_at = timestamp((now_s + TICKET_SECONDS) * 1_000_000);
    Ok((StatusCode::CREATED, json(&Ticket { ticket, ends_at })?).into_response())
}
