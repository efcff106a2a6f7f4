//! Fewer file descriptors than files: a run that has nothing to read is parked, its files closed, and another has its turn.
//! Promises: what is closed is known as after a restart (inode, first line, acknowledged position, the bytes before it) and is
//! opened again when something is written to it; whoever waits for a descriptor has one after those that waited before; a file
//! without a name is not closed while something of it is unread; what was written to a closed file and went is a loss.

use std::fs::File;

use cordwood_core::limits::DESCRIPTORS_RESERVED_MAX;
use cordwood_core::pipeline::Pipeline;
use rustix::process::{Resource, getrlimit};

use crate::discover::FolderKey;
use crate::folder::{Stat, is_unlinked, stat_of};
use crate::reader::Reader;
use crate::run::{Clock, Run};
use crate::tail::{Bytes, LogFile};

/// How long a run that has more to read keeps its files while others wait for descriptors.
const SHARE_MS: i64 = 500;

/// A run whose files are closed.
#[derive(Clone, Copy, Debug)]
pub struct Parked {
    /// The live file as it was then.
    live: Option<Stat>,
    /// It may hold what was not read.
    pub has_unread: bool,
    /// It waits for a descriptor.
    wants: bool,
}

/// Files that may be open: what the process may have, without a reserve for sockets, folders and the checkpoint.
pub(crate) fn open_files_max(configured: Option<usize>) -> usize {
    let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    configured.unwrap_or(limit - DESCRIPTORS_RESERVED_MAX.min(limit / 2)).max(1)
}

impl LogFile {
    fn handle(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::File(file) => Some(file),
            Bytes::Gzip { reader, .. } => Some(reader.get_ref().get_ref()),
            Bytes::Gone => None,
        }
    }
}

impl Run {
    pub fn open_files(&self) -> usize {
        self.files.iter().filter(|file| file.handle().is_some()).count() + usize::from(self.unnamed.is_some())
    }

    pub fn is_parked(&self) -> bool {
        self.parked.is_some() && self.open_files() == 0
    }

    /// What is missing although it was read to its end and not written to since.
    pub fn is_missing_without_loss(&self) -> bool {
        self.parked.is_some_and(|parked| !parked.has_unread)
    }

    /// Whether there is something that only reading on can bring to its end: it may not be asked to wait.
    pub fn must_read_on(&self) -> bool {
        let must = |file: &LogFile| {
            let nameless = file.is_removed() || file.handle().is_some_and(is_unlinked);
            let is_over = file.finished_at_ms.is_some() && self.is_settled(file);
            file.is_changed() || (nameless && !is_over)
        };
        self.gone_at_ms.is_some()
            || !self.losses.is_empty()
            || self.files.iter().any(must)
            || self.unnamed.as_ref().is_some_and(|(_, handle)| is_unlinked(handle))
    }

    /// Whether nothing is lost when its files are closed now.
    fn may_park(&self) -> bool {
        self.open_files() > 0
            && !self.has_open_batch()
            && self.files.iter().all(LogFile::is_all_acknowledged)
            && !self.must_read_on()
    }

    /// Closes its files. They are found again as those of the life before are.
    fn park(&mut self, has_unread: bool) {
        let live = self.resting_handle().and_then(|handle| stat_of(handle).ok());
        let here = self.files.iter().filter(|file| file.handle().is_some() && !file.is_removed());
        let closed: Vec<_> = here.map(|file| self.checkpoint_of(file)).collect();
        for file in &closed {
            self.known.remove(&(file.dev, file.ino));
        }
        self.resume.extend(closed);
        let has_unread = has_unread || self.parked.is_some_and(|parked| parked.has_unread);
        self.files.clear();
        self.unnamed = None;
        self.pins.clear();
        for stream in &mut self.streams {
            stream.carry.clear();
            stream.last_part = None;
        }
        self.pipeline = Pipeline::new();
        self.current = None;
        self.at_end = false;
        self.yields = false;
        self.parked = Some(Parked { live, has_unread, wants: false });
    }
}

impl Reader {
    pub(crate) fn open_files(&self) -> usize {
        self.runs.values().map(Run::open_files).sum()
    }

    /// A descriptor for one run more; where there is none, it waits for one.
    pub(crate) fn has_descriptor_for(&mut self, id: u64, clock: Clock) -> bool {
        if self.runs.get(&id).is_some_and(|run| run.open_files() > 0) {
            return true;
        }
        if self.make_room(clock) {
            return true;
        }
        self.want(id);
        false
    }

    fn want(&mut self, id: u64) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let parked = run.parked.get_or_insert(Parked { live: None, has_unread: true, wants: false });
        if !std::mem::replace(&mut parked.wants, true) {
            self.wanting.push_back(id);
        }
    }

    /// A closed file was written to, or may have been.
    pub(crate) fn written_while_parked(&mut self, id: u64) {
        if let Some(run) = self.runs.get_mut(&id)
            && run.is_parked()
        {
            if let Some(parked) = &mut run.parked {
                parked.has_unread = true;
            }
            self.want(id);
        }
    }

    pub(crate) fn all_may_be_written(&mut self) {
        let parked: Vec<u64> = self.runs.values().filter(|run| run.is_parked()).map(|run| run.id).collect();
        parked.into_iter().for_each(|id| self.written_while_parked(id));
    }

    /// Looks at the names of closed files, in case an event was lost.
    pub(crate) fn scan_parked(&mut self) {
        let mut written = Vec::new();
        for (key, runs) in &self.folders {
            let parked = runs.iter().filter_map(|id| self.runs.get(id)).filter(|run| run.is_parked());
            let parked: Vec<_> = parked.collect();
            if parked.is_empty() {
                continue;
            }
            let Ok(folder) = self.discover.open(key) else { continue };
            for run in parked {
                let Some(before) = run.parked.and_then(|parked| parked.live) else { continue };
                let same = |now: Stat| (now.dev, now.ino, now.size) == (before.dev, before.ino, before.size);
                if !folder.stat(&run.live_name).is_ok_and(same) {
                    written.push(run.id);
                }
            }
        }
        written.into_iter().for_each(|id| self.written_while_parked(id));
    }

    /// Opens what waits for descriptors, in the order of waiting, as far as there are some.
    pub(crate) fn open_wanting(&mut self, clock: Clock) {
        // (Those that are parked for the others go to the end; whoever waits now has one turn in this call.)
        for _ in 0..self.wanting.len() {
            let Some(id) = self.wanting.front().copied() else { break };
            if self.runs.get(&id).is_some_and(Run::is_parked) {
                if !self.make_room(clock) {
                    return;
                }
                let key =
                    self.folders.iter().find(|(_, runs)| runs.contains(&id)).map(|(key, _)| key.clone());
                self.wanting.pop_front();
                if let Some(parked) = self.runs.get_mut(&id).and_then(|run| run.parked.as_mut()) {
                    parked.wants = false;
                }
                if let Some(key) = key {
                    self.open_parked(&key, id, clock);
                }
            } else {
                self.wanting.pop_front();
            }
        }
        if self.wanting.is_empty() {
            self.runs.values_mut().for_each(|run| run.yields = false);
        }
    }

    fn open_parked(&mut self, key: &FolderKey, id: u64, clock: Clock) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.mark = None;
        }
        self.refresh_runs_of(key, Some(id), clock);
    }

    /// Whether one file more may be open, after another run was parked where that is needed.
    fn make_room(&mut self, clock: Clock) -> bool {
        while self.open_files() >= self.open_files_max {
            let resting = |run: &Run| !self.active.contains(&run.id);
            let gives = |run: &&Run| (resting(run) || run.at_end || run.yields) && run.may_park();
            let first = self.runs.values().filter(gives);
            let first = first.min_by_key(|run| (!resting(run), !run.yields, run.last_data_ms));
            let Some(id) = first.map(|run| run.id) else {
                self.ask_to_yield(clock);
                return false;
            };
            self.park(id);
        }
        true
    }

    /// As many as there are waiting give up their descriptors as soon as what they read is acknowledged.
    fn ask_to_yield(&mut self, clock: Clock) {
        let asked = self.runs.values().filter(|run| run.yields).count();
        let due = |run: &&mut Run| {
            let is_due = !run.yields && clock.mono_ms - run.opened_at_ms >= SHARE_MS;
            is_due && run.open_files() > 0 && !run.must_read_on()
        };
        let mut due: Vec<&mut Run> = self.runs.values_mut().filter(due).collect();
        due.sort_unstable_by_key(|run| run.opened_at_ms);
        for run in due.into_iter().take(self.wanting.len().max(1).saturating_sub(asked)) {
            run.yields = true;
        }
    }

    fn park(&mut self, id: u64) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        // The watch comes before the look: what is written in between is seen by one of them.
        let is_watched = run.resting_handle().is_some_and(|handle| self.discover.watch_file(handle, id));
        let is_at_end = run.at_end && run.may_rest() && !run.grew_meanwhile();
        let is_read = run.files.back().is_none_or(|file| file.position >= file.size);
        run.park(!(is_watched && is_at_end && is_read));
        self.unfinished.note(id, &run.pipeline);
        self.active.remove(&id);
        if !is_at_end {
            self.want(id);
        }
    }
}
