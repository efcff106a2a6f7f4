//! Exports the whole result of a question page by page. One page is in memory; the next is read when the caller has taken this one. The last
//! line says whether the export is complete. When the caller leaves, the search ends, also in the middle of a statement.

mod form;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cordwood_core::origin::Origin;
use cordwood_store::search::{Found, Page};
use futures::stream;
use tokio::time::Instant;

pub use form::Kind;

use crate::Gateway;
use crate::audit::{Lasting, Ongoing};
use crate::problem::Problem;
use crate::question::{Place, Which};
use crate::scope::Caller;
use crate::slots::Slot;

const PAGE_RECORDS: u64 = 1_000;
/// Of one page; a page that its budget ends goes on with the next.
const PAGE_BUDGET_MS: u64 = 5_000;
/// Handed on at once, unless one record is longer.
const CHUNK_BYTES: usize = 64 << 10;

pub struct Export {
    gateway: Arc<Gateway>,
    caller: Caller,
    which: Which,
    kind: Kind,
    /// The next page; `None` after the last.
    page: Option<Page>,
    found: Found,
    /// Records of `found` that are written.
    taken: usize,
    left: u64,
    written: u64,
    left_out: u64,
    state: State,
    rights_due: Instant,
    told: Option<Ongoing>,
    _slot: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Records,
    Ended,
}

impl Export {
    /// The first page is found before the answer begins, so that what is wrong is a refusal.
    pub async fn begin(
        gateway: Arc<Gateway>,
        caller: Caller,
        slot: Slot,
        which: Which,
        place: Place,
        limit: u64,
        kind: Kind,
    ) -> Result<Response, Problem> {
        let mut export = Export {
            rights_due: gateway.rights_due(&caller),
            gateway,
            caller,
            which,
            kind,
            page: Some(place.page(0)),
            found: Found::default(),
            taken: 0,
            left: limit,
            written: 0,
            left_out: 0,
            state: State::Head,
            told: None,
            _slot: slot,
        };
        export.next_page().await?;
        export.told = Some(export.caller.look.lasts(Lasting::Export));
        let chunks = stream::unfold(export, async |mut export| {
            let chunk = export.chunk().await?;
            Some((Ok::<_, Infallible>(chunk), export))
        });
        let content_type = HeaderValue::from_static(kind.content_type());
        Ok(([(header::CONTENT_TYPE, content_type)], Body::from_stream(chunks)).into_response())
    }

    async fn next_page(&mut self) -> Result<(), Problem> {
        let Some(mut page) = self.page else { return Ok(()) };
        // A slow reader reads for a long time, and may lose their rights meanwhile.
        if Instant::now() >= self.rights_due {
            if !self.gateway.still_allowed(&self.caller).await? {
                return Err(Problem::withdrawn());
            }
            self.rights_due = self.gateway.rights_due(&self.caller);
        }
        page.limit = usize::try_from(self.left.min(PAGE_RECORDS)).unwrap_or(usize::MAX);
        let found = self.gateway.search(
            &self.caller.scope,
            &self.which.filter,
            self.which.range,
            page,
            PAGE_BUDGET_MS,
        );
        let found = found.await.map_err(|error| Problem::store(&error))?;
        self.left -= (found.records.len() as u64).min(self.left);
        page.after = found.cursor;
        self.page = (found.cursor.is_some() && self.left > 0).then_some(page);
        (self.found, self.taken) = (found, 0);
        Ok(())
    }

    /// The next bytes; `None` after the last line.
    async fn chunk(&mut self) -> Option<Bytes> {
        let mut out = Vec::with_capacity(CHUNK_BYTES + 4096);
        if self.state == State::Head {
            self.kind.head(&mut out);
            self.state = State::Records;
        }
        while self.state == State::Records && out.len() < CHUNK_BYTES {
            if self.taken < self.found.records.len() {
                self.write_one(&mut out);
                continue;
            }
            if self.page.is_none() {
                // Where a limit ended it, the place says from where the rest follows.
                let next = self.found.cursor.map(|cursor| cursor.to_string());
                let why = (self.left_out > 0).then(|| {
                    format!("{} records could not be written: the gateway's log names them", self.left_out)
                });
                self.end(&mut out, why.is_none(), next, why.as_deref());
                break;
            }
            // What is written goes first: the next page may take its time.
            if !out.is_empty() {
                break;
            }
            let stopping = self.gateway.stopping.clone();
            let page = self.page.and_then(|page| page.after).map(|cursor| cursor.to_string());
            match stopping.run_until_cancelled(self.next_page()).await {
                Some(Ok(())) => {}
                Some(Err(problem)) => self.end(&mut out, false, page, Some(problem.detail())),
                None => self.end(&mut out, false, page, Some("the gateway stops: go on at another")),
            }
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }

    fn write_one(&mut self, out: &mut Vec<u8>) {
        let record = &self.found.records[self.taken];
        let nowhere = Origin::default();
        let origin = self.found.origins.get(&record.origin).unwrap_or(&nowhere);
        match self.kind.record(out, record, origin) {
            Ok(()) => {
                self.written += 1;
                self.caller.look.shown(1);
            }
            Err(error) => {
                tracing::error!(%error, id = %record.id, "a record could not be written");
                self.gateway.metrics.unwritable.inc();
                self.left_out += 1;
            }
        }
        self.taken += 1;
    }

    fn end(&mut self, out: &mut Vec<u8>, complete: bool, next: Option<String>, why: Option<&str>) {
        self.kind.end(out, complete, self.written, next.as_deref(), why);
        self.state = State::Ended;
        if let Some(told) = &mut self.told {
            told.ended(if complete { "ok" } else { "failed" });
        }
        if !complete {
            self.gateway.metrics.exports_cut.inc();
        }
        self.gateway.metrics.exported.inc_by(self.written);
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if self.state != State::Ended {
            self.gateway.metrics.exports_cut.inc();
            self.gateway.metrics.exported.inc_by(self.written);
        }
    }
}
