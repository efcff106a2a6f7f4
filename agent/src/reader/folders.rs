//! The folders of logs: which logs lie in them, which files these have, and what was written to files at rest.
//! Promises: a folder that could not be looked at in whole is looked at again; an event of inotify that was lost costs some scans
//! and no file; no more files are open than may be.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::fd::BorrowedFd;

use super::logs::Logs;
use super::parked::Parking;
use super::shared::Shared;
use crate::bound::LeftOut;
use crate::config::Config;
use crate::discover::{Changes, Discover, FolderKey};
use crate::folder::{Folder, Look, Looks};
use crate::look;
use crate::source::Source;
use crate::sources::sources;

pub(super) struct Folders {
    discover: Discover,
    parking: Parking,
    /// Folders that could not be looked at in whole: looked at again at the next scan.
    again: BTreeSet<FolderKey>,
    left_out: LeftOut,
    /// How many scans there were.
    scans: u64,
}

impl Folders {
    pub fn new(config: &Config) -> Folders {
        Folders {
            discover: Discover::new(config.pods_dir.clone(), config.docker_dir.clone(), &config.files),
            parking: Parking::new(config.read.open_files_max),
            again: BTreeSet::new(),
            left_out: LeftOut::default(),
            scans: 0,
        }
    }

    /// For `poll`.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.discover.fd()
    }

    /// The pods' folder is open, so that it is known what is in it; or none is read.
    pub fn has_root(&self) -> bool {
        self.discover.has_root()
    }

    pub fn open(&self, key: &FolderKey) -> io::Result<Folder> {
        self.discover.open(key)
    }

    /// Asks to be told once when the file is written to.
    pub fn watch_file(&mut self, file: &std::fs::File, log: u64) {
        let _ = self.discover.watch_file(file, log);
    }

    /// Files that are not read, because their pattern names too many.
    pub fn left_out(&self) -> usize {
        self.left_out.count()
    }

    /// Files that are left out may have their turn: others have gone.
    pub fn try_left_out(&mut self) {
        self.again.extend(self.left_out.folders().cloned());
    }

    /// How many logs wait for a descriptor.
    pub fn waiting_for_descriptors(&self) -> usize {
        self.parking.waiting()
    }

    /// Looks at all folders. Whether everything that there is was looked at, and what kept the walk from it. `force`: also at
    /// folders that seem to be as they were.
    pub fn scan(&mut self, force: bool, logs: &mut Logs, shared: &mut Shared) -> (bool, io::Result<()>) {
        let mut changes = Changes { folders: std::mem::take(&mut self.again), ..Changes::default() };
        let scanned = self.discover.scan(&mut changes, force);
        let complete = scanned.is_ok() && !changes.incomplete;
        self.take_changes(&changes, logs, shared);
        // A resting file that was written to without our being told: a lost event costs some scan intervals, not the file.
        self.scans += 1;
        let (clock, scans) = (shared.clock(), self.scans);
        let mut grown = Vec::new();
        for log in logs.iter().filter(|log| !logs.is_active(log.number())) {
            let idle_ms = clock.mono_ms - log.meter.last_data_ms();
            if look::is_log_due(log.number(), idle_ms, scans) && log.files().grew_meanwhile() {
                grown.push(log.number());
            }
        }
        grown.into_iter().for_each(|id| logs.data_came(id, clock));
        self.parking.scan(logs, &self.discover);
        (complete && self.again.is_empty(), scanned)
    }

    /// Takes what inotify tells.
    pub fn take_events(&mut self, logs: &mut Logs, shared: &mut Shared) {
        let mut changes = Changes::default();
        self.discover.events(&mut changes);
        if changes.overflowed {
            shared.count_overflow();
            logs.activate_all();
            self.parking.all_may_be_written(logs);
        }
        for id in &changes.unwatched {
            if let Some(log) = logs.get_mut(*id) {
                log.doubt_closed_file();
            }
        }
        for id in &changes.logs {
            self.parking.was_written_to(*id, logs);
            logs.data_came(*id, shared.clock());
        }
        self.take_changes(&changes, logs, shared);
    }

    fn take_changes(&mut self, changes: &Changes, logs: &mut Logs, shared: &mut Shared) {
        for key in &changes.folders {
            self.refresh(key, None, logs, shared);
        }
    }

    /// Opens what waits for descriptors, in the order of waiting, as far as there are some.
    pub fn open_waiting(&mut self, logs: &mut Logs, shared: &mut Shared) {
        let ids = self.parking.take_first(logs, &mut self.discover, shared.clock());
        self.open_closed(&ids, logs, shared);
    }

    /// Opens the last of these, as many as may be open, and gives those.
    pub fn open_some_of(&mut self, closed: &mut Vec<u64>, logs: &mut Logs, shared: &mut Shared) -> Vec<u64> {
        let ids = self.parking.take_some_of(closed, logs, &mut self.discover, shared.clock());
        self.open_closed(&ids, logs, shared);
        ids.into_iter().collect()
    }

    fn open_closed(&mut self, ids: &BTreeSet<u64>, logs: &mut Logs, shared: &mut Shared) {
        for id in ids {
            if let Some(log) = logs.get_mut(*id) {
                log.set_mark(None);
            }
        }
        for key in logs.folders_of(ids) {
            self.refresh(&key, Some(ids), logs, shared);
        }
    }

    /// Looks at a folder anew: which logs it has, which files they have. `only`: some of its logs alone.
    pub fn refresh(
        &mut self,
        key: &FolderKey,
        only: Option<&BTreeSet<u64>>,
        logs: &mut Logs,
        shared: &mut Shared,
    ) {
        let folder = match self.discover.open(key) {
            Ok(folder) => Some(folder).filter(|folder| !folder.is_removed()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return self.look_again(key, &error, shared),
        };
        // Listed once for all of its logs.
        let look = match folder.as_ref().map(Folder::look).transpose() {
            Ok(look) => look.unwrap_or_default(),
            Err(error) => return self.look_again(key, &error, shared),
        };
        let live = self.add_logs(key, folder.as_ref(), &look, logs, shared);
        let ids = logs.in_folder(key);
        let last = ids.iter().filter_map(|id| Some(logs.get(*id)?.source().restart_count())).max();
        let looked_at =
            LookedAt { key, folder: folder.as_ref(), looks: Looks::new(&look), look: &look, live };
        let mut spare = self.parking.spare(logs);
        for id in ids {
            if only.is_some_and(|only| !only.contains(&id)) {
                continue;
            }
            let Some(log) = logs.get_mut(id) else { continue };
            let is_succeeded = last.is_some_and(|last| log.source().restart_count() < last);
            log.set_succeeded(is_succeeded);
            spare = self.refresh_log(id, &looked_at, spare, logs, shared);
        }
    }

    /// Adds the logs that a folder names; the keys of all that have a live file in it.
    fn add_logs(
        &mut self,
        key: &FolderKey,
        folder: Option<&Folder>,
        look: &Look,
        logs: &mut Logs,
        shared: &mut Shared,
    ) -> HashSet<String> {
        // A live file may just be renamed, its successor not made yet: then only we know of it.
        let sources = sources(key, &look.names(), folder, &self.discover.patterns, logs.known_keys());
        let live = sources.iter().map(Source::key).collect();
        let max = shared.config().read.files_per_pattern_max;
        // (After a start the checkpoint says which were read.)
        for source in self.left_out.keep_within(max, key, sources, |key| logs.is_known(key)) {
            let id = log_of(source, logs, shared);
            logs.put_into_folder(key, id);
        }
        live
    }

    /// Looks at one log's files. `spare`: how many files more may be open, before and after.
    fn refresh_log(
        &mut self,
        id: u64,
        at: &LookedAt<'_>,
        spare: usize,
        logs: &mut Logs,
        shared: &mut Shared,
    ) -> usize {
        let clock = shared.clock();
        let Some(log) = logs.get_mut(id) else { return spare };
        // (What another file stands for now is an older file of that one: it is only read to its end.)
        let is_older =
            log.source().is_plain() && at.look.has(log.id().live_name()) && !at.live.contains(log.id().key());
        // (Where it was closed with something unread it is opened once more.)
        let is_read_on = !is_older || log.files().is_closed_with_unread();
        let mark = at.look.mark_of(log.id().live_name());
        if at.folder.is_some() && !is_older && log.is_as_marked(mark) {
            return spare;
        }
        let folder = at.folder.filter(|_| is_read_on);
        if let Some(folder) = folder
            && spare == 0
            && !self.parking.has_descriptor_for(id, logs, &mut self.discover, clock)
        {
            note_unopened(id, folder, logs);
            return spare;
        }
        let Some(log) = logs.get_mut(id) else { return spare };
        let mut turn = shared.turn();
        if log.files().descriptors() == 0 {
            log.begin_share(clock);
        }
        let mut refreshed = log.refresh(folder.map(|folder| (folder, &at.looks)), &mut turn);
        if is_older && folder.is_some() && matches!(refreshed, Ok(true)) {
            refreshed = log.refresh(None, &mut turn);
        }
        let complete = refreshed.unwrap_or_else(|error| {
            turn.tally.file_errors += 1;
            tracing::warn!(log = log.id().key(), %error, "list log folder");
            false
        });
        log.set_mark(Some(mark).filter(|_| complete));
        let spare = spare.saturating_sub(log.files().descriptors());
        if !complete {
            self.again.insert(at.key.clone());
        }
        logs.data_came(id, clock);
        logs.set_changed();
        spare
    }

    /// A folder that is there and cannot be read: no descriptors left, no permission.
    fn look_again(&mut self, key: &FolderKey, error: &io::Error, shared: &mut Shared) {
        shared.count_file_error();
        tracing::warn!(folder = ?key, %error, "open log folder");
        self.again.insert(key.clone());
    }
}

/// A folder as it was at one look.
struct LookedAt<'a> {
    key: &'a FolderKey,
    /// `None`: it is gone.
    folder: Option<&'a Folder>,
    look: &'a Look,
    looks: Looks<'a>,
    /// Keys of the logs that have a live file in it.
    live: HashSet<String>,
}

/// What could not be opened is remembered, in case it goes before it can be.
fn note_unopened(id: u64, folder: &Folder, logs: &mut Logs) {
    if let Some(log) = logs.get_mut(id)
        && let Ok(stat) = folder.stat(log.id().live_name())
        && stat.regular
        && let Some(closed) = log.closed_mut()
    {
        closed.note_live(stat);
    }
}

/// The number of a source's log, which is added if there is none; its owner is asked for at once.
pub(super) fn log_of(source: Source, logs: &mut Logs, shared: &mut Shared) -> u64 {
    let known = logs.number_of(&source.key());
    let id = known.unwrap_or_else(|| logs.add(source.clone(), shared.clock()));
    let Some(log) = logs.get_mut(id) else { return id };
    if known.is_none() {
        shared.ask_owner(id, logs);
    } else if log.source().is_plain() && *log.source() != source {
        // It was only in the checkpoint, and its path is back: now it is known which setting names it.
        log.set_source(source);
        shared.ask_owner(id, logs);
    }
    id
}
