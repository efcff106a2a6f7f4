//! Sends a stream as lines of JSON, for `curl`. It looks at the store only as fast as the reader takes the lines.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cordwood_core::filter::Filter;
use futures::stream;

use super::frame::{End, Frame};
use super::session::{After, Session};
use crate::Gateway;
use crate::answer::{Record, WhoAmI};
use crate::metrics::Open;
use crate::problem::Problem;
use crate::scope::Caller;
use crate::slots::Slot;

/// A line at the least so often, so that a proxy between the two knows that somebody is there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

struct Lines {
    gateway: Arc<Gateway>,
    session: Session,
    /// Before anything else.
    due: VecDeque<Frame>,
    has_ended: bool,
    _slot: Slot,
    _open: Open,
}

pub async fn lines(
    gateway: Arc<Gateway>,
    caller: Caller,
    slot: Slot,
    filter: Filter,
    after: After,
) -> Result<Response, Problem> {
    let hello = Frame::Hello { scope: WhoAmI::of(&caller), feed: gateway.hub.feed() };
    let session = Session::begin(Arc::clone(&gateway), caller, filter, after, u64::MAX, Record::json).await;
    let lines = Lines {
        session: session.map_err(|(_, problem)| problem.unwrap_or_else(Problem::internal))?,
        due: VecDeque::from([hello]),
        has_ended: false,
        _slot: slot,
        _open: gateway.metrics.open("lines"),
        gateway,
    };
    let lines = stream::unfold(lines, async |mut lines| {
        let line = lines.next().await?;
        Some((Ok::<_, Infallible>(line), lines))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        // For proxies that gather answers before they hand them on.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

impl Lines {
    /// `None` after the last.
    async fn next(&mut self) -> Option<Bytes> {
        if self.due.is_empty() && !self.has_ended {
            let stopping = self.gateway.stopping.clone();
            let next = tokio::time::timeout(HEARTBEAT_EVERY, self.session.frame());
            match stopping.run_until_cancelled(next).await {
                None => self.end(End::Restart),
                Some(Err(_)) => self.due.push_back(Frame::Heartbeat { cursor: self.session.cursor() }),
                Some(Ok(Ok(frame))) => self.due.push_back(frame),
                Some(Ok(Err((end, problem)))) => {
                    self.due.extend(problem.as_ref().map(Frame::from));
                    self.end(end);
                }
            }
        }
        let mut line = self.due.pop_front()?.text();
        line.push('\n');
        Some(Bytes::from(line))
    }

    fn end(&mut self, end: End) {
        self.has_ended = true;
        self.due.push_back(Frame::bye(end));
    }
}
