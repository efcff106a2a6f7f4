//! Records as they are stored, a frame a line. PostgreSQL is looked at a few times a second, and only as fast as the reader takes what
//! comes: one who is slow is behind, not served from memory. What was sealed before it was seen is told as a gap.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cordwood_core::entry::timestamp;
use cordwood_core::filter::Filter;
use cordwood_core::origin::Origin;
use cordwood_store::follow::{Follow, News};
use cordwood_store::scope::Scope;
use cordwood_store::search::{Cursor, OwnedRecord};
use futures::stream;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Gateway;
use crate::answer::{Record, WhoAmI};
use crate::problem::Problem;
use crate::scope::Caller;
use crate::slots::Slot;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two looks while PostgreSQL is away, at the most.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A line at the least so often, so that whoever stands between knows that somebody is there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// Of one frame, unless one record is longer.
const FRAME_BYTES: usize = 256 << 10;
/// The service restarts (RFC 6455's registry): come back with the last cursor.
const RESTART: u16 = 1012;

/// A line of the stream.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Frame {
    /// The first: who asks and what they see.
    Hello {
        scope: WhoAmI,
        feed: &'static str,
    },
    /// `cursor`: given as `after`, the stream goes on behind these.
    Records {
        items: Vec<Box<RawValue>>,
        cursor: String,
    },
    /// Something was stored between these times and not seen; a search has it.
    Gap {
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        to: String,
        reason: &'static str,
    },
    /// From here on records come as they are stored.
    CaughtUp,
    Heartbeat,
    Error {
        message: String,
    },
    /// The last.
    Bye {
        code: u16,
    },
}

impl Frame {
    fn line(&self) -> Bytes {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        Bytes::from(line)
    }
}

pub struct Live {
    gateway: Arc<Gateway>,
    scope: Scope,
    filter: Filter,
    follow: Follow,
    /// Lines that are due before anything else.
    due: VecDeque<Frame>,
    records: VecDeque<OwnedRecord>,
    /// The newest that was shown.
    last: Option<Cursor>,
    is_caught_up: bool,
    has_ended: bool,
    wait: Duration,
    said: Instant,
    _slot: Slot,
}

impl Live {
    pub async fn begin(
        gateway: Arc<Gateway>,
        caller: Caller,
        slot: Slot,
        filter: Filter,
        after: Option<Cursor>,
    ) -> Result<Response, Problem> {
        let follow = match after {
            Some(cursor) => Follow::after(&gateway.store, cursor).await,
            None => Follow::from_now(&gateway.store).await,
        };
        let live = Live {
            follow: follow.map_err(|error| Problem::store(&error))?,
            filter,
            due: VecDeque::from([Frame::Hello { scope: WhoAmI::of(&caller), feed: "postgresql" }]),
            records: VecDeque::new(),
            last: after,
            is_caught_up: false,
            has_ended: false,
            wait: Duration::ZERO,
            said: Instant::now(),
            scope: caller.scope,
            gateway,
            _slot: slot,
        };
        let lines = stream::unfold(live, async |mut live| {
            let line = live.line().await?;
            Some((Ok::<_, Infallible>(line), live))
        });
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
            // For proxies that gather answers before they hand them on.
            (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ];
        Ok((headers, Body::from_stream(lines)).into_response())
    }

    /// The next line; `None` after the last.
    async fn line(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.due.pop_front() {
                return Some(self.say(&frame));
            }
            if !self.records.is_empty() {
                let frame = self.records();
                return Some(self.say(&frame));
            }
            if self.has_ended {
                return None;
            }
            if self.said.elapsed() >= HEARTBEAT_EVERY {
                return Some(self.say(&Frame::Heartbeat));
            }
            let stopping = self.gateway.stopping.clone();
            if stopping.run_until_cancelled(self.look()).await.is_none() {
                self.due.push_back(Frame::Bye { code: RESTART });
                self.has_ended = true;
            }
        }
    }

    fn say(&mut self, frame: &Frame) -> Bytes {
        self.said = Instant::now();
        frame.line()
    }

    /// After a pause. Given up before its end, it has done nothing.
    async fn look(&mut self) {
        tokio::time::sleep(self.wait).await;
        match self.follow.next(&self.scope, &self.filter).await {
            Ok(news) => self.take(news),
            Err(error) if error.is_transient() => self.wait = (self.wait * 2).clamp(LOOK_EVERY, RETRY_MAX),
            Err(error) => {
                let message = Problem::store(&error).detail().to_owned();
                self.due.push_back(Frame::Error { message });
                self.has_ended = true;
            }
        }
    }

    fn take(&mut self, news: News) {
        if news.gap {
            let from = self.last.map(|cursor| timestamp(cursor.time_us));
            let to = timestamp(jiff::Timestamp::now().as_microsecond());
            self.due.push_back(Frame::Gap { from, to, reason: "feed" });
        }
        self.records.extend(news.records);
        self.wait = if news.more { Duration::ZERO } else { LOOK_EVERY };
        if !news.more && !self.is_caught_up {
            self.is_caught_up = true;
            while !self.records.is_empty() {
                let frame = self.records();
                self.due.push_back(frame);
            }
            self.due.push_back(Frame::CaughtUp);
        }
    }

    fn records(&mut self) -> Frame {
        let nowhere = Origin::default();
        let (mut items, mut bytes) = (Vec::new(), 0);
        while bytes < FRAME_BYTES
            && let Some(record) = self.records.pop_front()
        {
            let origin = self.follow.origin(record.origin).unwrap_or(&nowhere);
            self.last = self.last.max(Some(record.cursor()));
            match Record::json(&record, origin) {
                Ok(json) => {
                    bytes += json.get().len();
                    items.push(json);
                }
                Err(error) => tracing::error!(%error, "a record could not be written"),
            }
        }
        let cursor = self.last.map(|cursor| cursor.to_string()).unwrap_or_default();
        Frame::Records { items, cursor }
    }
}
