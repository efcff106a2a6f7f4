//! The conditions of the watches on the Kubernetes API.
//! Promises: a watch that fails says why until it works again; one that goes on says so too.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use cordwood_service::Health;
use futures::{Stream, StreamExt};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};

/// Longer than the longest pause between two tries of a watch (30 s, and as much again at random) and a connection attempt of
/// 30 s: else an outage would seem to be over in the middle of it.
pub(crate) const QUIET: Duration = Duration::from_secs(95);

/// Pauses between tries: each twice as long as the one before, up to a longest, and up to half longer by chance: agents do not
/// come all at once.
pub(crate) struct Pauses {
    next: Duration,
    min: Duration,
    max: Duration,
}

impl Pauses {
    pub(crate) fn new(min: Duration, max: Duration) -> Pauses {
        Pauses { next: min, min, max }
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        let chance = RandomState::new().hash_one(0) % 500;
        pause + pause * u32::try_from(chance).unwrap_or(0) / 1000
    }

    /// It went well.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause())
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        Pauses::reset(self);
    }
}

/// Keeps the condition of one watch.
pub(crate) struct WatchState {
    condition: &'static str,
    what: String,
    health: Health,
    /// The last that came was an error.
    failed: bool,
    /// Longer than two tries are apart.
    quiet: Duration,
}

impl WatchState {
    /// `what`: the kind and name that messages tell.
    pub(crate) fn new(
        condition: &'static str,
        what: impl Into<String>,
        health: Health,
        quiet: Duration,
    ) -> WatchState {
        WatchState { condition, what: what.into(), health, failed: false, quiet }
    }

    /// The next event. A watch that goes on from where an error interrupted it says nothing about that: when it has been
    /// quiet for longer than its tries are apart, it works again.
    pub(crate) async fn next<K, S>(&mut self, stream: &mut S) -> Option<Result<Event<K>, watcher::Error>>
    where
        S: Stream<Item = Result<Event<K>, watcher::Error>> + Unpin,
    {
        loop {
            let wait = if self.failed { self.quiet } else { Duration::MAX };
            match tokio::time::timeout(wait, stream.next()).await {
                Ok(event) => {
                    self.failed = matches!(event, Some(Err(_)));
                    match &event {
                        Some(Err(error)) => {
                            self.health.set(self.condition, Err(watch_problem(&self.what, error)));
                        }
                        Some(Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone)) => {
                            self.health.set(self.condition, Ok(()));
                        }
                        _ => {}
                    }
                    return event;
                }
                Err(_) => {
                    self.failed = false;
                    self.health.set(self.condition, Ok(()));
                }
            }
        }
    }
}

/// What is wrong with a watch, for the person who can mend it.
pub fn watch_problem(what: &str, error: &watcher::Error) -> String {
    let forbidden = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 403);
    let is_forbidden = match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            forbidden(error)
        }
        watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    };
    if is_forbidden {
        format!("not allowed: give the agent's service account the rights list and watch on {what}")
    } else {
        let mut text = format!("watch {what}: {error}");
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        text
    }
}
