//! The conditions of the watches on the Kubernetes API.
//! Promises: a watch that fails says why until it works again; one that goes on says so too.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

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

/// A connection on which nothing came for so long is dead. A watch ends after 290 s at the latest; the watcher itself goes on
/// after 295 s without a word, which would hide that it missed something.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(293);

/// A client that notices dead connections.
///
/// # Errors
/// When the configuration makes no client.
pub fn client(mut config: kube::Config) -> kube::Result<kube::Client> {
    config.read_timeout = Some(config.read_timeout.unwrap_or(SILENCE_MAX));
    // Else the time that a connection lay idle counts.
    config.reset_reader_on_write = true;
    kube::Client::try_from(config)
}

/// What a watch may have missed: after an error it tells later what happened meanwhile, as if it happened now.
pub(crate) struct Gap {
    last_event: Instant,
    began: Option<Instant>,
    failed_at: Instant,
}

impl Gap {
    pub(crate) fn new(now: Instant) -> Gap {
        Gap { last_event: now, began: None, failed_at: now }
    }

    pub(crate) fn failed(&mut self, now: Instant) {
        // (It worked until the last event, and may have been silent, and dead, for as long as that is not noticed.)
        let heard = now.checked_sub(SILENCE_MAX).map_or(self.last_event, |then| then.max(self.last_event));
        self.began = self.began_by(now).or(Some(heard));
        self.failed_at = now;
    }

    /// Since when what an event of now tells may have happened; `None`: it happens now.
    pub(crate) fn event(&mut self, now: Instant) -> Option<Instant> {
        self.began = self.began_by(now);
        self.last_event = now;
        self.began
    }

    /// All there is was listed.
    pub(crate) fn listed(&mut self) {
        self.began = None;
    }

    fn began_by(&self, now: Instant) -> Option<Instant> {
        // Another try would have failed by now.
        self.began.filter(|_| now.duration_since(self.failed_at) < QUIET)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lasts_until_another_try_would_have_failed() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut gap = Gap::new(at(0));
        assert_eq!(gap.event(at(10)), None);
        gap.failed(at(20));
        gap.failed(at(50));
        assert_eq!(gap.event(at(60)), Some(at(10)), "since the last event before the errors");
        assert_eq!(gap.event(at(144)), Some(at(10)));
        assert_eq!(gap.event(at(146)), None, "95 s after the last error");
        gap.failed(at(200));
        assert_eq!(gap.event(at(201)), Some(at(146)));
        gap.listed();
        assert_eq!(gap.event(at(202)), None);
        gap.failed(at(1_000));
        assert_eq!(gap.event(at(1_001)), Some(at(707)), "silence is noticed after 293 s");
        gap.failed(at(2_000));
        assert_eq!(gap.event(at(2_001)), Some(at(1_707)), "another gap");
    }

    /// A server that takes requests and never answers.
    #[tokio::test]
    async fn a_connection_on_which_nothing_comes_is_dead() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config =
            kube::Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                held.push(connection);
            }
        });
        assert_eq!(config.read_timeout, None, "kube waits for ever by itself");
        config.read_timeout = Some(Duration::from_millis(200));
        let api: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::all(client(config).unwrap());
        let all = kube::api::ListParams::default();
        let answered = tokio::time::timeout(Duration::from_secs(20), api.list(&all));
        assert!(answered.await.expect("it is given up").is_err());
    }
}
