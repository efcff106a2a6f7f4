//! Checkpoints of logs that are not on the disk: those that were not found yet since the start, and plain paths whose files are
//! all deleted.

use std::collections::{HashMap, VecDeque};

use cordwood_core::checkpoint::LogCheckpoint;
use cordwood_core::identity::FileId;

/// How many paths whose files are all deleted are remembered, with the first lines of these files.
const GONE_PATHS_MAX: usize = 1_000;

/// The remembered logs.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    unseen: HashMap<String, LogCheckpoint>,
    /// The last one last. A file that comes back may begin with the line of the one before: without this it would be taken for
    /// that one, and its lines for ones that are stored.
    gone: VecDeque<LogCheckpoint>,
}

impl Remembered {
    /// The logs of the checkpoint.
    pub fn new(logs: Vec<LogCheckpoint>) -> Remembered {
        let unseen = logs.into_iter().map(|log| (log.key.clone(), log)).collect();
        Remembered { unseen, gone: VecDeque::new() }
    }

    /// Keys of the logs that the agent has not found since its start.
    pub fn unseen(&self) -> impl Iterator<Item = &str> {
        self.unseen.keys().map(String::as_str)
    }

    pub fn is_unseen(&self, key: &str) -> bool {
        self.unseen.contains_key(key)
    }

    pub fn get(&self, key: &str) -> Option<&LogCheckpoint> {
        self.unseen.get(key)
    }

    pub fn remove(&mut self, key: &str) -> Option<LogCheckpoint> {
        self.unseen.remove(key)
    }

    /// Takes what is known of a log that was found.
    pub fn take(&mut self, key: &str) -> Option<LogCheckpoint> {
        let gone = self.gone.iter().position(|gone| gone.key == key).and_then(|at| self.gone.remove(at));
        self.unseen.remove(key).or(gone)
    }

    /// Remembers a log whose files are all deleted. `generations`: their first lines.
    pub fn gone(&mut self, key: String, generations: Vec<(FileId, FileId)>) {
        if !generations.is_empty() && key.starts_with("file:") {
            self.gone.push_back(LogCheckpoint {
                key,
                origin: None,
                namespace: String::new(),
                pod: String::new(),
                files: Vec::new(),
                generations,
                since_ns: None,
            });
            self.gone.drain(..self.gone.len().saturating_sub(GONE_PATHS_MAX));
        }
    }

    /// The remembered logs, for the checkpoint.
    pub fn all(&self) -> impl Iterator<Item = &LogCheckpoint> {
        self.unseen.values().chain(&self.gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_was_gone_is_known_when_it_is_back() {
        let mut remembered = Remembered::default();
        let line = |number| vec![(FileId(number), FileId(number))];
        remembered.gone("uid/app/0".to_owned(), line(1));
        remembered.gone("file:/none.log".to_owned(), Vec::new());
        assert_eq!(remembered.all().count(), 0, "a container's log does not come back");
        for number in 0..=GONE_PATHS_MAX {
            remembered.gone(format!("file:/{number}.log"), line(number as u64));
        }
        assert!(remembered.take("file:/0.log").is_none(), "the oldest is forgotten");
        assert_eq!(remembered.take("file:/1.log").unwrap().generations, line(1));
        assert!(remembered.take("file:/1.log").is_none());
    }
}
