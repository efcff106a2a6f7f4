//! How many files may be open, and which logs wait for a descriptor, longest first.

use std::collections::{BTreeSet, VecDeque};

use cordwood_core::limits::DESCRIPTORS_RESERVED_MAX;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of descriptors to the hard limit: each open file takes one.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "raise the limit of open files");
    }
}

/// How many files may be open: the process's limit without a reserve for sockets, folders and the checkpoint.
fn open_files_max(configured: Option<usize>) -> usize {
    let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    configured.unwrap_or(limit - DESCRIPTORS_RESERVED_MAX.min(limit / 2)).max(1)
}

/// The descriptors of one reader.
#[derive(Debug)]
pub(crate) struct Descriptors {
    max: usize,
    /// When the last attempt to open a file found no descriptor (monotonic).
    full_at_ms: Option<i64>,
    /// The agent has logged that there are more files than descriptors.
    warned: bool,
    wanting: VecDeque<u64>,
}

impl Descriptors {
    pub fn new(configured: Option<usize>) -> Descriptors {
        let max = open_files_max(configured);
        Descriptors { max, full_at_ms: None, warned: false, wanting: VecDeque::new() }
    }

    /// How many files may be open.
    pub fn max(&self) -> usize {
        self.max
    }

    /// How many more files may be open.
    pub fn free(&self, open: usize) -> usize {
        self.max.saturating_sub(open)
    }

    /// Whether no file could be opened at this moment, and nothing has changed since.
    pub fn is_full(&self, now_ms: i64) -> bool {
        self.full_at_ms == Some(now_ms)
    }

    pub fn set_full(&mut self, now_ms: i64) {
        self.full_at_ms = Some(now_ms);
    }

    /// Notes that descriptors may be free, so that opening is tried again.
    pub fn try_again(&mut self) {
        self.full_at_ms = None;
    }

    /// Adds a log to the end of the queue.
    pub fn wait(&mut self, log: u64) {
        self.wanting.push_back(log);
    }

    /// Logs once that there are too few descriptors.
    pub fn warn(&mut self) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                open_files_max = self.max,
                "more log files than may be open at once: they take turns (the limit of open files: ulimit -n, LimitNOFILE; the setting read.open_files_max)"
            );
        }
    }

    /// Whether there were too few descriptors at some time.
    pub fn were_short(&self) -> bool {
        self.warned
    }

    pub fn waiting(&self) -> usize {
        self.wanting.len()
    }

    /// Keeps only the logs in the queue for which `waits` is true.
    pub fn keep_waiting(&mut self, waits: impl FnMut(&u64) -> bool) {
        self.wanting.retain(waits);
    }

    /// Takes the first logs of the queue, at most `count`.
    pub fn take(&mut self, count: usize) -> BTreeSet<u64> {
        self.wanting.drain(..count.min(self.wanting.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_that_waits_longest_is_first() {
        let mut descriptors = Descriptors::new(Some(3));
        assert_eq!((descriptors.max(), descriptors.free(1), descriptors.free(9)), (3, 2, 0));
        [5, 2, 9].into_iter().for_each(|log| descriptors.wait(log));
        descriptors.keep_waiting(|log| *log != 2);
        assert_eq!(descriptors.take(1), BTreeSet::from([5]));
        assert_eq!((descriptors.take(7), descriptors.waiting()), (BTreeSet::from([9]), 0));
        descriptors.set_full(40);
        assert!(descriptors.is_full(40) && !descriptors.is_full(41));
        descriptors.try_again();
        assert!(!descriptors.is_full(40));
    }
}
