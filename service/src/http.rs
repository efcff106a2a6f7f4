//! Serves the endpoints of every part: `/metrics /healthz /readyz /status`; `/cordwood/level` where the part enables it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Health, logging};

/// Makes the body of `/status` at the moment it is asked for.
pub type StatusFn = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[error("listen on {address} (setting `listen`): {source}")]
pub struct HttpError {
    pub address: SocketAddr,
    pub source: std::io::Error,
}

/// Listens and serves until `shutdown`; returns once listening, with the address (port 0 picks a free one).
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    health: Health,
    registry: Registry,
    status: StatusFn,
    shutdown: CancellationToken,
) -> Result<SocketAddr, HttpError> {
    serve_beside(address, health, registry, status, Router::new(), shutdown).await
}

/// [`serve`] with routes of the part's own.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve_beside(
    address: SocketAddr,
    health: Health,
    registry: Registry,
    status: StatusFn,
    others: Router,
    shutdown: CancellationToken,
) -> Result<SocketAddr, HttpError> {
    let listener = TcpListener::bind(address).await.map_err(|source| HttpError { address, source })?;
    let bound = listener.local_addr().map_err(|source| HttpError { address, source })?;
    let router = probes(health, registry)
        .route("/status", get(move || async move { axum::Json(status()).into_response() }))
        .merge(logging::level_route())
        .merge(others);
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the health endpoints stopped");
        }
    });
    Ok(bound)
}

/// The first three, for a program that has a listener already.
pub fn probes(health: Health, registry: Registry) -> Router {
    let (live, ready) = (health.clone(), health);
    Router::new()
        .route("/metrics", get(move || async move { metrics(&registry) }))
        .route("/healthz", get(move || async move { probe(live.alive()) }))
        .route("/readyz", get(move || async move { probe(ready.ready()) }))
}

fn metrics(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn probe(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()).into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
