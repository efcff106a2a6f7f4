//! The HTTP server: listens, counts requests, and shuts down. A shutdown ends all streams and gives open answers a moment to finish.

mod caller_share;
mod connection_table;
mod connections;
mod encoding;
mod refusal;
mod write_deadline;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use self::caller_share::CallerShare;
pub use self::connection_table::Connection;
use self::connections::Connections;
use self::encoding::{Coding, packed};

use crate::access::Access;
use crate::audit::Look;
use crate::request_id::{self, RequestId};
use crate::{Gateway, live, routes};

/// For answers that are under way when the gateway ends.
const ENDING_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("listen on {address}: {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error(
        "listen on {0}: others reach this address, and no file of tokens says who may ask; name one, or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
}

/// A gateway that answers.
#[derive(Debug)]
pub struct Running {
    /// With the port that was taken when 0 was asked for.
    pub address: SocketAddr,
    task: JoinHandle<()>,
    stopping: CancellationToken,
}

impl Running {
    /// Takes no more questions, and returns when the open ones have ended or their patience is over.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        if tokio::time::timeout(ENDING_PATIENCE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// Returns once it listens.
///
/// # Errors
/// When the address cannot be had, or would let in anybody.
pub async fn start(gateway: Gateway, address: SocketAddr) -> Result<Running, ListenError> {
    start_beside(gateway, address, Router::new()).await
}

/// [`start`] with routes that are not the gateway's own, for any caller whom the gateway knows.
///
/// # Errors
/// Those of [`start`].
pub async fn start_beside(
    gateway: Gateway,
    address: SocketAddr,
    others: Router,
) -> Result<Running, ListenError> {
    if matches!(gateway.access, Access::Loopback) && !address.ip().is_loopback() {
        return Err(ListenError::Open(address));
    }
    let bind = |source| ListenError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let stopping = gateway.stopping.clone();
    let connections = Connections::new(&gateway.limits, &gateway.metrics, stopping.clone());
    let sockets = gateway.sockets.clone();
    if let Access::Tokens(tokens) = &gateway.access {
        let (tokens, metrics, stopping) = (tokens.clone(), gateway.metrics.clone(), stopping.clone());
        tokio::spawn(async move { stopping.run_until_cancelled(tokens.follow(metrics)).await });
    }
    let gateway = Arc::new(gateway);
    let others = others.layer(middleware::from_fn_with_state(Arc::clone(&gateway), known));
    let (watching, ending) = (Arc::clone(&gateway), stopping.clone());
    tokio::spawn(async move {
        let woken = async {
            match &watching.redis {
                Some(client) => live::wake_by_redis(client, &watching.hub).await,
                None => std::future::pending().await,
            }
        };
        let looks = watching.hub.run(&watching.store, &watching.stored_names);
        ending.run_until_cancelled(futures::future::join(looks, woken)).await
    });
    let router = routes::router()
        .merge(others.with_state(()))
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), counted))
        .with_state(gateway);
    let task = tokio::spawn(async move {
        connections.serve(listener, router).await;
        // Those are no requests any more.
        sockets.close();
        sockets.wait().await;
    });
    Ok(Running { address, task, stopping })
}

/// Lets nobody through who may not ask at all.
async fn known(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match gateway.access.identify(&parts, &gateway.sessions, &gateway.metrics).await {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// Given back when the answer begins, or the caller is gone before.
struct Asked(Arc<Gateway>, Look);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.metrics.running.dec();
        self.1.left();
    }
}

async fn counted(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let id = RequestId::of(request.headers());
    let coding = Coding::asked(request.headers());
    let lost = gateway.metrics.audit_lost.clone();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let look = Look::new(&gateway.audit, lost, id.clone(), method, route.clone(), uri);
    request.extensions_mut().insert(look.clone());
    let share = CallerShare::default();
    request.extensions_mut().insert(share.clone());
    let began = Instant::now();
    gateway.metrics.running.inc();
    let asked = Asked(Arc::clone(&gateway), look.clone());
    // On whatever level something is logged, it is known of which request.
    let span = tracing::error_span!("request", id = id.as_str());
    let response = id.clone().scope(next.run(request)).instrument(span).await;
    look.answered(response.status());
    let mut response = share.until_read(packed(coding, response));
    drop(asked);
    gateway.metrics.requests.with_label_values(&[route.as_str(), response.status().as_str()]).inc();
    gateway.metrics.seconds.with_label_values(&[route.as_str()]).observe(began.elapsed().as_secs_f64());
    let headers = response.headers_mut();
    headers.extend(id.header().map(|value| (request_id::HEADER, value)));
    let mut add =
        |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    // Log lines are anybody's text: no browser takes them for a page, no page of another origin holds them, no cache keeps them.
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    add(header::X_FRAME_OPTIONS, "DENY");
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
