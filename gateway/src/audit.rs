//! Audit: an audit record for every question of a known caller, which says who looked at what or who changed what. It is one line of JSON on
//! stdout. The agent reads that line like any other, so it becomes a record of the gateway's own service.
//!
//! The server writes the record when the answer begins; routes need not do anything. A route may add how many records it shows
//! ([`Look::shown`]), or what the question is if it is not in the address ([`Look::about`]). An export or a stream lasts longer, so it has two
//! records, one at its start and one at its end ([`Look::lasts`]). A record that a stream shows causes no audit record; otherwise a stream
//! of audit records would feed itself. A caller who leaves before the answer begins gets a record too ([`Look::left`]), because the change
//! that they asked for may have been made.

mod line;

use std::io::Write as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::http::{Method, StatusCode, Uri};
use cordwood_core::scope::Scope;
use prometheus::IntCounter;
use serde_json::Value;

use crate::access::Identity;
use crate::request_id::RequestId;

/// They show nobody's records.
const NO_LOOK: [&str; 2] = ["/api/whoami", "/api/admin/agents"];

/// Takes a line with its end.
type Out = dyn Fn(&[u8]) -> std::io::Result<()> + Send + Sync;

/// Where the records go, and which there are.
#[derive(Clone)]
pub struct Audit {
    /// Questions that change nothing too.
    reads: bool,
    out: Option<Arc<Out>>,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Audit({}, {})", self.reads, self.out.is_some())
    }
}

impl Audit {
    pub fn none() -> Audit {
        Audit { reads: false, out: None }
    }

    /// Changes are always told.
    pub fn to(reads: bool, out: impl Fn(&[u8]) -> std::io::Result<()> + Send + Sync + 'static) -> Audit {
        Audit { reads, out: Some(Arc::new(out)) }
    }

    pub fn to_stdout(reads: bool) -> Audit {
        Audit::to(reads, |line| {
            let mut out = std::io::stdout().lock();
            out.write_all(line)?;
            out.flush()
        })
    }
}

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    Export,
    Stream,
}

/// One request, as its record tells of it.
#[derive(Clone, Debug)]
pub struct Look(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    audit: Audit,
    lost: IntCounter,
    id: RequestId,
    method: Method,
    /// As the document has it.
    route: String,
    uri: Uri,
    who: OnceLock<Who>,
    scope: OnceLock<Scope>,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Who {
    name: String,
    known_by: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Told {
    shown: Option<u64>,
    about: Vec<(&'static str, String)>,
    changed: Option<Changed>,
    /// It is asked as a change, and changes nothing.
    only_looks: bool,
    lasts: bool,
    is_answered: bool,
}

/// What somebody changed.
#[derive(Clone, Debug)]
struct Changed {
    before: Option<Value>,
    after: Option<Value>,
}

impl Look {
    pub fn new(
        audit: &Audit,
        lost: IntCounter,
        id: RequestId,
        method: Method,
        route: String,
        uri: Uri,
    ) -> Look {
        let audit = audit.clone();
        // A stream lasts: it does not keep what the connection read, of which the address is a piece.
        let uri = uri.to_string().parse().unwrap_or(uri);
        let (who, scope, told) = (OnceLock::new(), OnceLock::new(), Mutex::default());
        Look(Arc::new(Inner { audit, lost, id, method, route, uri, who, scope, told }))
    }

    pub fn is_by(&self, identity: &Identity) {
        self.0.who.get_or_init(|| Who { name: identity.name().to_owned(), known_by: identity.known_by() });
    }

    pub fn is_under(&self, scope: &Scope) {
        self.0.scope.get_or_init(|| scope.clone());
    }

    /// So many records (or lines) were shown, or counted, more.
    pub fn shown(&self, records: u64) {
        *self.told().shown.get_or_insert_default() += records;
    }

    /// What the question is, where its address does not say it; the last that is said of a name holds. Never a secret.
    pub fn about(&self, what: &'static str, text: impl Into<String>) {
        let mut told = self.told();
        told.about.retain(|(known, _)| *known != what);
        told.about.push((what, text.into()));
    }

    /// What was changed, as it was and as it is.
    pub fn changed(&self, before: Option<Value>, after: Option<Value>) {
        self.told().changed = Some(Changed { before, after });
    }

    pub fn only_looks(&self) {
        self.told().only_looks = true;
    }

    /// It starts. Its end is told when what is returned is dropped.
    pub fn lasts(&self, what: Lasting) -> Ongoing {
        self.told().lasts = true;
        self.write(
            match what {
                Lasting::Export => "export_started",
                Lasting::Stream => "stream_started",
            },
            "ok",
        );
        Ongoing { look: self.clone(), what, outcome: "left" }
    }

    /// The answer begins.
    pub fn answered(&self, status: StatusCode) {
        self.told().is_answered = true;
        // A WebSocket's question comes after its answer.
        if !status.is_informational() {
            self.tell(outcome(status));
        }
    }

    /// Nobody waits for the answer any more. Nothing is told where it began before.
    pub fn left(&self) {
        if !self.told().is_answered {
            self.tell("left");
        }
    }

    fn tell(&self, outcome: &'static str) {
        if !self.told().lasts && !NO_LOOK.contains(&self.0.route.as_str()) {
            self.write(if self.is_change() { "changed" } else { "looked" }, outcome);
        }
    }

    fn is_change(&self) -> bool {
        self.0.method != Method::GET && self.0.method != Method::HEAD && !self.told().only_looks
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, action: &'static str, outcome: &'static str) {
        let (Some(out), Some(who)) = (&self.0.audit.out, self.0.who.get()) else { return };
        if !self.0.audit.reads && !self.is_change() {
            return;
        }
        let told = self.told().clone();
        let line = line::of(&self.0, who, &told, action, outcome);
        if let Err(error) = out(line.as_bytes()) {
            self.0.lost.inc();
            tracing::error!(%error, "an audit record could not be written");
        }
    }
}

fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..400 => "ok",
        400..500 => "refused",
        _ => "failed",
    }
}

/// An export or a stream under way.
#[derive(Debug)]
pub struct Ongoing {
    look: Look,
    what: Lasting,
    outcome: &'static str,
}

impl Ongoing {
    /// It came to its own end; else its reader left.
    pub fn ended(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let action = match self.what {
            Lasting::Export => "export_ended",
            Lasting::Stream => "stream_ended",
        };
        self.look.write(action, self.outcome);
    }
}

#[cfg(test)]
mod tests;
