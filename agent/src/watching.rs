//! Tracks what a watch on the Kubernetes API may have missed, and makes a client that notices dead connections.

use std::time::{Duration, Instant};

use cordwood_service::kubernetes::Pace;

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
        self.began.filter(|_| now.duration_since(self.failed_at) < Pace::GENTLE.quiet)
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
