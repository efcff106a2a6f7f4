//! Accepts connections, up to a limit. Each connection has a deadline for a request's head, and one for a reader that takes nothing.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Request};
use cordwood_core::limits::HEAD_BYTES_MAX;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection_table::{Connection, ConnectionTable};
use super::write_deadline::WriteDeadline;
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::request_id::RequestId;

/// After a failure that the next connection would meet too (no file descriptor left).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

pub struct Connections {
    table: Arc<ConnectionTable>,
    http: http1::Builder,
    write_idle: Duration,
    metrics: Metrics,
    stopping: CancellationToken,
}

impl Connections {
    pub fn new(limits: &Limits, metrics: &Metrics, stopping: CancellationToken) -> Connections {
        let mut http = http1::Builder::new();
        // This deadline begins again behind each answer: a connection that asks nothing more is closed by it.
        http.max_buf_size(HEAD_BYTES_MAX);
        http.timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(limits.header_ms_max));
        Connections {
            table: ConnectionTable::new(limits.connections_max),
            http,
            write_idle: Duration::from_millis(limits.write_idle_ms_max),
            metrics: metrics.clone(),
            stopping,
        }
    }

    /// Serves until the gateway stops and all connections have ended. Dropping the future ends all connections.
    pub async fn serve(self, listener: TcpListener, router: Router) {
        let mut open = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = open.join_next() => continue,
                () = self.stopping.cancelled() => break,
            };
            match accepted {
                Ok((stream, from)) => match self.table.open(from.ip()) {
                    Some((row, displaces)) => {
                        if displaces {
                            self.metrics.refused("displaced");
                        }
                        // Frames are small and each is meant to be seen at once.
                        stream.set_nodelay(true).ok();
                        let stalled = self.metrics.stalled.clone();
                        let asked_on = row.connection();
                        let stream = WriteDeadline::new(stream, self.write_idle, stalled, Some(row));
                        let (http, router) = (self.http.clone(), router.clone());
                        open.spawn(answer(http, stream, asked_on, router, self.stopping.clone()));
                    }
                    None => {
                        self.metrics.refused("connections");
                        refuse(stream).await;
                    }
                },
                Err(error) if is_of_one(error.kind()) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }
}

fn is_of_one(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

async fn answer(
    http: http1::Builder,
    stream: WriteDeadline,
    asked_on: Connection,
    router: Router,
    stopping: CancellationToken,
) {
    let (asked, router) = (asked_on.clone(), TowerToHyperService::new(router));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(asked.clone());
        router.call(request)
    });
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = asked_on.displaced() => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended before its time");
    }
}

/// Sends the reason without waiting for the client.
async fn refuse(mut stream: TcpStream) {
    let answer = Problem::too_many_connections().as_last_answer(&RequestId::of(&HeaderMap::new()));
    // What has been sent is read, so that the answer is not taken back with the connection.
    stream.try_read(&mut [0; 8 << 10]).ok();
    if stream.write_all(&answer).await.is_ok() {
        stream.shutdown().await.ok();
    }
}
