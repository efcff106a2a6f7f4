//! Looks at the folders of logs: finds the logs in them, the files of each log, and idle files that were written to.
//! Promises: a folder that could not be read completely is looked at again; a lost event of inotify delays a file by some scans and loses
//! none; no more files are open than the limit allows.

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
    /// Folders that could not be read completely: the next scan looks at them again.
    again: BTreeSet<FolderKey>,
    /// Files that are not read because their pattern names too many.
    left_out: LeftOut,
    /// Number of scans since the start.
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

    /// The inotify descriptor, for `poll`.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.discover.fd()
    }

    /// Whether the pods' folder is open, or no pods are read at all. Otherwise nobody knows what is in it.
    pub fn has_root(&self) -> bool {
        self.discover.has_root()
    }

    pub fn open(&self, key: &FolderKey) -> io::Result<Folder> {
        self.discover.open(key)
    }

    /// Asks inotify for one event when the file is written to.
    pub fn watch_file(&mut self, file: &std::fs::File, log: u64) {
        let _ = self.discover.watch_file(file, log);
    }

    /// How many files are not read because their pattern names too many.
    pub fn left_out(&self) -> usize {
        self.left_out.count()
    }

    /// Looks again at folders with files that were left out, because other files have gone.
    pub fn try_left_out(&mut self) {
        self.again.extend(self.left_out.folders().cloned());
    }

    /// How many logs wait for a descriptor.
    pub fn waiting_for_descriptors(&self) -> usize {
        self.parking.waiting()
    }

    /// Looks at all folders; with `force` also at those that seem unchanged. Returns whether every folder was read completely, and the
    /// error that ended the walk early.
    pub fn scan(&mut self, force: bool, logs: &mut Logs, shared: &mut Shared) -> (bool, io::Result<()>) {
        let mut changes = Changes { folders: std::mem::take(&mut self.again), ..Changes::default() };
        let scanned = self.discover.scan(&mut changes, force);
        let complete = scanned.is_ok() && !changes.incomplete;
        self.take_changes(&changes, logs, shared);
        // Finds idle files that were written to although no event came: a lost event delays a file by some scans.
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

    /// Handles the events of inotify.
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

    /// Opens logs that wait for descriptors, the longest waiting first, as many as the limit allows.
    pub fn open_waiting(&mut self, logs: &mut Logs, shared: &mut Shared) {
        let ids = self.parking.take_first(logs, &mut self.discover, shared.clock());
        self.open_closed(&ids, logs, shared);
    }

    /// Takes logs from the end of `closed`, as many as the limit allows, opens them and returns them.
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

    /// Looks at a folder again: adds new logs and updates the files of each. `only`: the logs to update; `None`: all.
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

    /// Adds the logs that a folder names. Returns the keys of all logs that have a live file in it.
    fn add_logs(
        &mut self,
        key: &FolderKey,
        folder: Option<&Folder>,
        look: &Look,
        logs: &mut Logs,
        shared: &mut Shared,
    ) -> HashSet<String> {
        // A live file may be renamed while its successor is not created yet: then only the agent knows of the log.
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

    /// Updates the files of one log. `spare`: how many more files may be open; returns how many after this log.
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
        // (A plain file may have become an older file of another log: then this log only reads it to its end.)
        let is_older =
            log.source().is_plain() && at.look.has(log.id().live_name()) && !at.live.contains(log.id().key());
        // (If it was closed with unread bytes, it is opened once more.)
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

    /// Notes a folder that exists and cannot be read, for lack of descriptors or of permission.
    fn look_again(&mut self, key: &FolderKey, error: &io::Error, shared: &mut Shared) {
        shared.count_file_error();
        tracing::warn!(folder = ?key, %error, "open log folder");
        self.again.insert(key.clone());
    }
}

/// What one look at a folder has found.
struct LookedAt<'a> {
    key: &'a FolderKey,
    /// `None`: the folder is gone.
    folder: Option<&'a Folder>,
    look: &'a Look,
    looks: Looks<'a>,
    /// Keys of the logs that have a live file in it.
    live: HashSet<String>,
}

/// Remembers a file that could not be opened for lack of descriptors. If it is deleted before it was opened, that is a loss.
fn note_unopened(id: u64, folder: &Folder, logs: &mut Logs) {
    if let Some(log) = logs.get_mut(id)
        && let Ok(stat) = folder.stat(log.id().live_name())
        && stat.regular
        && let Some(closed) = log.closed_mut()
    {
        closed.note_live(stat);
    }
}

/// The number of a source's log. Adds the log if it is new, and asks for its owner at once.
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
