//! How many files one pattern may match. An application that creates a file for each request must not take descriptors and memory
//! from all others.
//! Promises: files that are being read stay, also after a restart. Files above the limit are counted, reported, and read when
//! others are gone.

use std::collections::BTreeMap;

use crate::discover::FolderKey;
use crate::source::Source;

/// Files of patterns that are not read, because a pattern names too many: how many, by folder.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    files: BTreeMap<FolderKey, usize>,
}

impl LeftOut {
    /// The sources of a pattern that are read, at most `max`; `is_read` tells which were read before, by key.
    pub fn keep_within(
        &mut self,
        max: usize,
        key: &FolderKey,
        sources: Vec<Source>,
        is_read: impl Fn(&str) -> bool,
    ) -> Vec<Source> {
        let (kept, left_out) = bound(sources, max, |source| is_read(&source.key()));
        let before = match left_out.len() {
            0 => self.files.remove(key).unwrap_or(0),
            count => self.files.insert(key.clone(), count).unwrap_or(0),
        };
        if before == 0
            && let Some(Source::File { path, .. }) = left_out.first()
        {
            tracing::warn!(
                files = left_out.len(),
                for_example = path,
                at_most = max,
                "a pattern matches more files than the agent reads at once: the others wait until some of these are deleted"
            );
        }
        kept
    }

    /// How many files are left out.
    pub fn count(&self) -> usize {
        self.files.values().sum()
    }

    /// Folders in which there are such files.
    pub fn folders(&self) -> impl Iterator<Item = &FolderKey> {
        self.files.keys()
    }
}

/// At most `max` of them, those that `is_known` first, and the others.
fn bound(sources: Vec<Source>, max: usize, is_known: impl Fn(&Source) -> bool) -> (Vec<Source>, Vec<Source>) {
    if sources.len() <= max || !matches!(sources[0], Source::File { .. }) {
        return (sources, Vec::new());
    }
    let (mut kept, mut others): (Vec<Source>, Vec<Source>) = sources.into_iter().partition(is_known);
    let left_out = others.split_off(max.saturating_sub(kept.len()).min(others.len()));
    kept.extend(others);
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use cordwood_core::batch::{Provenance, decode};
    use cordwood_core::identity::StreamKey;
    use cordwood_service::Health;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Ack, Config, ContextSource, Refused, Sink, Static, Telemetry, Waker};

    #[test]
    fn what_is_read_stays_and_the_rest_waits() {
        let file = |n: usize| Source::File { path: format!("/{n}.log"), input: 0 };
        let files = |range: std::ops::Range<usize>| range.map(file).collect::<Vec<_>>();
        let known = [file(3), file(4)];
        let is_known = |source: &Source| known.contains(source);
        assert_eq!(bound(files(0..5), 5, is_known), (files(0..5), vec![]));
        let (kept, left_out) = bound(files(0..5), 3, is_known);
        assert_eq!((kept, left_out), (vec![file(3), file(4), file(0)], files(1..3)));
        let (kept, left_out) = bound(files(0..5), 1, is_known);
        assert_eq!((kept, left_out), (known.to_vec(), files(0..3)), "none that is read is given up");
        assert_eq!(bound(vec![], 0, is_known), (vec![], vec![]));
    }

    /// Takes all; holds the bodies.
    #[derive(Clone, Default)]
    struct Bodies(Arc<Mutex<Vec<String>>>);

    impl Sink for Bodies {
        fn send(&mut self, _: &StreamKey, payload: Vec<u8>, ack: Ack) -> Result<(), Refused> {
            for batch in decode(&payload.into(), Provenance::Agent).unwrap() {
                let bodies =
                    batch.records.iter().map(|record| String::from_utf8_lossy(&record.body).into_owned());
                self.0.lock().unwrap().extend(bodies);
            }
            ack.acknowledge();
            Ok(())
        }

        fn reset(&mut self) {}
    }

    /// One life of an agent that reads one file at the most: until `last` was sent. Gives all that was sent.
    async fn life(folder: &Path, last: &str) -> Vec<String> {
        let yaml = format!(
            "{{node: n, pods_dir: null, files: [{{paths: ['{0}/*.log']}}], state_dir: {0}/state, kubernetes: {{enabled: false}}, \
             batch: {{linger_ms: 5}}, read: {{poll_interval_ms: 3, scan_interval_ms: 50}}}}",
            folder.display()
        );
        let config: Config = cordwood_service::parse_config(Path::new("test"), &yaml).unwrap();
        let mut config = config.resolve(|_| None).unwrap();
        config.read.files_per_pattern_max = 1;
        let telemetry = Telemetry::new(&prometheus::Registry::new()).unwrap();
        let (_rules, rules) = tokio::sync::watch::channel(Arc::default());
        let context = ContextSource::Static(Arc::new(Static::new(&config)));
        let (waker, shutdown) = (Waker::new().unwrap(), CancellationToken::new());
        let (sink, health) = (Bodies::default(), Health::new(&[]));
        let environment = crate::Environment { context, rules, waker, telemetry, health };
        let running = crate::run(config, sink.clone(), environment, shutdown.clone());
        let running = tokio::spawn(running);
        let began = Instant::now();
        while !sink.0.lock().unwrap().iter().any(|body| body == last) {
            assert!(began.elapsed() < Duration::from_secs(20), "{last}: {:?}", sink.0.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shutdown.cancel();
        running.await.unwrap().unwrap();
        sink.0.lock().unwrap().clone()
    }

    /// After a start the first ones by name were read; those of the checkpoint counted as lost, and were sent again when they
    /// had their turn.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_read_before_a_restart_is_read_on_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("b.log"), "one\n").unwrap();
        assert_eq!(life(folder.path(), "one").await, ["one"]);
        std::fs::write(path("a.log"), "of another\n").unwrap();
        std::fs::write(path("b.log"), "one\ntwo\n").unwrap();
        assert_eq!(life(folder.path(), "two").await, ["two"]);
        std::fs::remove_file(path("b.log")).unwrap();
        let sent = life(folder.path(), "of another").await;
        assert!(sent.iter().all(|body| body != "one" && body != "two"), "{sent:?}");
    }
}
