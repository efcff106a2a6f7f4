//! How many files may be open, and which logs wait for a descriptor, longest first.

use std::collections::{BTreeSet, VecDeque};

use cordwood_core::limits::DESCRIPTORS_RESERVED_MAX;
use rustix::process::{Resource, getrlimit, setrlimit};

/// An open file is a descriptor: as many as the process may have.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "raise the limit of open files");
    }
}

/// Files that may be open: what the process may have, without a reserve for sockets, folders and the checkpoint.
fn open_files_max(configured: Option<usize>) -> usize {
    let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    configured.unwrap_or(limit - DESCRIPTORS_RESERVED_MAX.min(limit / 2)).max(1)
}

/// The descriptors of one reader.
#[derive(Debug)]
pub(crate) struct Descriptors {
    max: usize,
    /// When no file more could be opened (monotonic).
    full_at_ms: Option<i64>,
    /// It was said that there are more files than may be open.
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

    /// How many files more may be open.
    pub fn free(&self, open: usize) -> usize {
        self.max.saturating_sub(open)
    }

    /// At this moment nothing could be opened, and nothing has changed since.
    pub fn is_full(&self, now_ms: i64) -> bool {
        self.full_at_ms == Some(now_ms)
    }

    pub fn set_full(&mut self, now_ms: i64) {
        self.full_at_ms = Some(now_ms);
    }

    /// Something may have changed: it is tried again.
    pub fn try_again(&mut self) {
        self.full_at_ms = None;
    }

    /// A log waits from now on, behind those that waited before.
    pub fn wait(&mut self, log: u64) {
        self.wanting.push_back(log);
    }

    /// Says once that there are too few.
    pub fn warn(&mut self) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                open_files_max = self.max,
                "more log files than may be open at once: they take turns (the limit of open files: ulimit -n, LimitNOFILE; the setting read.open_files_max)"
            );
        }
    }

    /// There were too few at some time.
    pub fn were_short(&self) -> bool {
        self.warned
    }

    pub fn waiting(&self) -> usize {
        self.wanting.len()
    }

    /// Only those wait on of which `waits` says so.
    pub fn keep_waiting(&mut self, waits: impl FnMut(&u64) -> bool) {
        self.wanting.retain(waits);
    }

    /// The first that wait, at most so many: they wait no longer.
    pub fn take(&mut self, count: usize) -> BTreeSet<u64> {
        self.wanting.drain(..count.min(self.wanting.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_longest_is_first() {
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
