//! Watches objects of the Kubernetes API for every part, and explains why the API refused a request.
//! Promises: a watch that fails continues by itself after growing pauses; meanwhile its condition says why it fails. If the API server has
//! forgotten the version (410), that is not a failure: all objects are listed again.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use prometheus::{IntCounterVec, Opts, Registry};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::Health;
use crate::pauses::Pauses;

/// The API server has forgotten the version from which a watch was to go on.
const GONE: u16 = 410;

/// Behind the part's prefix, by `watch`.
const FAILURES: &str = "watch_failures_total";

/// How soon a watch is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub retry_min: Duration,
    pub retry_max: Duration,
    /// A watch that worked for so long begins with the shortest pause again.
    pub settled: Duration,
    /// Longer than two tries are apart: the longest pause and a connection attempt of 30 s. A watch that goes on from where an
    /// error interrupted it tells nothing about that; when it was quiet for so long, it works again.
    pub quiet: Duration,
}

impl Pace {
    /// For what must be in force within a second.
    pub const QUICK: Pace = Pace {
        retry_min: Duration::from_millis(100),
        retry_max: Duration::from_secs(2),
        settled: Duration::from_secs(10),
        quiet: Duration::from_secs(35),
    };
    /// For what every node watches.
    pub const GENTLE: Pace = Pace {
        retry_min: Duration::from_millis(800),
        retry_max: Duration::from_secs(30),
        settled: Duration::from_secs(120),
        quiet: Duration::from_secs(95),
    };

    fn backoff(self) -> ResetTimerBackoff<Pauses> {
        ResetTimerBackoff::new(Pauses::new(self.retry_min, self.retry_max), self.settled)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        Pauses::reset(self);
    }
}

/// Where the watches of a process tell how they fare: conditions, and a counter of failures.
#[derive(Clone, Debug)]
pub struct Watches {
    health: Health,
    failures: IntCounterVec,
}

impl Watches {
    /// `prefix`: `cordwood_agent`.
    ///
    /// # Errors
    /// When `registry` already has a metric of this name.
    pub fn new(prefix: &str, registry: &Registry, health: Health) -> prometheus::Result<Watches> {
        let name = format!("{prefix}_{FAILURES}");
        let help = "Failed attempts to list or watch objects of the Kubernetes API.";
        let failures = IntCounterVec::new(Opts::new(name, help), &["watch"])?;
        registry.register(Box::new(failures.clone()))?;
        Ok(Watches { health, failures })
    }

    /// Watches until the [`Watch`] is dropped. `condition` is its name in `/readyz` and in the metric; `what` are the objects
    /// that messages name (`pods`).
    pub fn start<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
        pace: Pace,
        condition: &'static str,
        what: impl Into<String>,
    ) -> Watch<K>
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let stream = watcher(api, config).backoff(pace.backoff());
        self.over(Box::pin(stream), pace, condition, what)
    }

    fn over<K>(
        &self,
        stream: Events<K>,
        pace: Pace,
        condition: &'static str,
        what: impl Into<String>,
    ) -> Watch<K> {
        Watch { stream, watches: self.clone(), pace, condition, what: what.into(), quiet_at: None }
    }
}

type Events<K> = Pin<Box<dyn Stream<Item = Result<Event<K>, watcher::Error>> + Send>>;

/// One watch.
pub struct Watch<K> {
    stream: Events<K>,
    watches: Watches,
    pace: Pace,
    condition: &'static str,
    what: String,
    /// The last try failed: when it is certain that another one did not.
    quiet_at: Option<Instant>,
}

impl<K> Watch<K> {
    /// The next event; what failed is told already. It can be dropped and called again.
    pub async fn next(&mut self) -> Option<Result<Event<K>, watcher::Error>> {
        loop {
            let event = match self.quiet_at {
                Some(at) => tokio::time::timeout_at(at, self.stream.next()).await,
                None => Ok(self.stream.next().await),
            };
            match event {
                Ok(event) => {
                    self.note(event.as_ref());
                    return event;
                }
                Err(_) => {
                    self.quiet_at = None;
                    self.watches.health.set(self.condition, Ok(()));
                }
            }
        }
    }

    fn note(&mut self, event: Option<&Result<Event<K>, watcher::Error>>) {
        self.quiet_at = None;
        match event {
            Some(Err(error)) if is_gone(error) => {}
            Some(Err(error)) => {
                self.quiet_at = Some(Instant::now() + self.pace.quiet);
                self.watches.failures.with_label_values(&[self.condition]).inc();
                self.watches.health.set(self.condition, Err(explain(&self.what, error)));
            }
            Some(Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone)) => {
                self.watches.health.set(self.condition, Ok(()));
            }
            // (`Init` is told before the API is asked.)
            Some(Ok(Event::Init | Event::InitApply(_))) | None => {}
        }
    }
}

fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code == GONE,
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == GONE,
        _ => false,
    }
}

/// One line that says which right is missing, or that the resource is not installed, or what else is wrong.
fn explain(what: &str, error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => explain_call("list and watch", what, error),
        watcher::Error::WatchError(status) if status.code == 403 => {
            format!("missing permission: list and watch {what} ({})", status.message)
        }
        watcher::Error::WatchError(status) => format!("watch {what}: {}", status.message),
        other => format!("watch {what}: {other}"),
    }
}

/// The same for a single call.
#[must_use]
pub fn explain_call(verb: &str, what: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("missing permission: {verb} {what} ({})", status.message)
        }
        kube::Error::Api(status) if status.code == 401 => {
            format!("the API server does not know this service account: {}", status.message)
        }
        kube::Error::Api(status) if status.code == 404 && what.contains("cordwood.dev") => {
            format!(
                "{what} is not installed: apply the CustomResourceDefinitions (`cordwood crds | kubectl apply -f -`)"
            )
        }
        kube::Error::Api(status) => format!("{verb} {what}: {}", status.message),
        kube::Error::SerdeError(error) => format!("{verb} {what}: the answer cannot be read: {error}"),
        other => format!("{verb} {what}: the API server cannot be reached: {}", with_causes(other)),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn failed(code: u16, message: &str) -> watcher::Error {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        watcher::Error::WatchError(status.boxed())
    }

    struct Told {
        health: Health,
        watches: Watches,
    }

    impl Told {
        fn new() -> Told {
            let health = Health::new(&["pods"]);
            let watches = Watches::new("cordwood_test", &Registry::new(), health.clone()).unwrap();
            Told { health, watches }
        }

        fn watch(&self, events: Vec<Result<Event<u8>, watcher::Error>>) -> Watch<u8> {
            let stream = futures::stream::iter(events).chain(futures::stream::pending());
            self.watches.over(Box::pin(stream), Pace::QUICK, "pods", "pods")
        }

        fn says(&self) -> String {
            self.health.ready().err().unwrap_or_default()
        }

        fn failures(&self) -> u64 {
            self.watches.failures.with_label_values(&["pods"]).get()
        }
    }

    #[tokio::test]
    async fn a_watch_says_why_it_fails_until_it_works_again() {
        let told = Told::new();
        let mut watch = told.watch(vec![
            Ok(Event::Init),
            Ok(Event::InitApply(1)),
            Ok(Event::InitDone),
            Err(failed(403, "who are you")),
            Ok(Event::Init),
            Ok(Event::Apply(2)),
        ]);
        for (says, failures) in [
            ("pods: starting", 0),
            ("pods: starting", 0),
            ("", 0),
            ("pods: missing permission: list and watch pods (who are you)", 1),
            ("pods: missing permission: list and watch pods (who are you)", 1),
            ("", 1),
        ] {
            watch.next().await.unwrap().ok();
            assert_eq!((told.says().as_str(), told.failures()), (says, failures));
        }
    }

    #[tokio::test]
    async fn a_version_that_the_server_has_forgotten_is_no_failure() {
        let told = Told::new();
        let mut watch = told.watch(vec![Ok(Event::InitDone), Err(failed(GONE, "too old resource version"))]);
        assert!(watch.next().await.unwrap().is_ok());
        assert!(
            watch.next().await.unwrap().is_err(),
            "the part that keeps objects learns that some may be missing"
        );
        assert_eq!((told.says().as_str(), told.failures()), ("", 0));
    }

    /// A watch that goes on from where it was interrupted has no event to tell.
    #[tokio::test]
    async fn a_watch_that_is_quiet_for_longer_than_its_tries_are_apart_works_again() {
        let told = Told::new();
        let mut watch = told.watch(vec![Ok(Event::InitDone), Err(failed(500, "overloaded"))]);
        watch.pace.quiet = Duration::from_millis(50);
        watch.next().await.unwrap().ok();
        watch.next().await.unwrap().unwrap_err();
        assert_eq!(told.says(), "pods: watch pods: overloaded");
        // A loop that waits for other things too drops the future and calls again: the time counts on.
        while !told.says().is_empty() {
            let moment = tokio::time::timeout(Duration::from_millis(5), watch.next());
            assert!(moment.await.is_err(), "it has nothing to tell");
        }
    }

    #[test]
    fn each_pace_has_bounds_and_one_that_is_quiet_has_no_try_within() {
        for pace in [Pace::QUICK, Pace::GENTLE] {
            let mut pauses = pace.backoff();
            let pauses: Vec<Duration> = pauses.by_ref().take(50).collect();
            assert!((pace.retry_min..pace.retry_min * 3 / 2).contains(&pauses[0]), "{pauses:?}");
            let longest = pace.retry_max..pace.retry_max * 3 / 2;
            assert!(pauses[10..].iter().all(|pause| longest.contains(pause)), "{pauses:?}");
            assert!(pace.quiet > longest.end + Duration::from_secs(30), "{pace:?}");
        }
    }

    #[tokio::test]
    async fn a_watch_that_worked_for_long_begins_with_the_shortest_pause() {
        let is_shortest = |pause: Duration| pause < Pace::QUICK.retry_min * 3 / 2;
        let mut pauses = Pace { settled: Duration::from_secs(3_600), ..Pace::QUICK }.backoff();
        let grown = pauses.by_ref().take(9).last().unwrap();
        assert!(grown >= Pace::QUICK.retry_max && !is_shortest(pauses.next().unwrap()), "{grown:?}");
        // (What the stream does when an event has come.)
        pauses.reset();
        assert!(is_shortest(pauses.next().unwrap()));
        let mut pauses = Pace { settled: Duration::ZERO, ..Pace::QUICK }.backoff();
        for _ in 0..9 {
            assert!(is_shortest(pauses.next().unwrap()), "it worked since the last failure");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
