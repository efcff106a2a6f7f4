//! Shares file descriptors when there are fewer than files: closes the files of a log that has nothing to read (parks it), so that another
//! log can open its own.
//! Promises:
//! - A closed file is found again as after a restart of the agent: by inode, first line, acknowledged position and the bytes before it. It
//!   is opened again when something is written to it.
//! - Logs get descriptors in the order in which they began to wait.
//! - A file without a name is not closed while it has unread bytes.
//! - Bytes that were written to a closed file that was then deleted are a loss; so is a file that was deleted before it was opened.

use std::collections::BTreeSet;

use super::logs::Logs;
use crate::clock::Clock;
use crate::container_log::ContainerLog;
use crate::descriptors::Descriptors;
use crate::discover::Discover;

/// How long a log that has more to read keeps its files while others wait for descriptors.
const SHARE_MS: i64 = 500;
/// The same while a record is unfinished: if its file were closed, the record would be read from its beginning again.
const SHARE_OF_A_RECORD_MS: i64 = 20 * SHARE_MS;

pub(super) struct Parking {
    descriptors: Descriptors,
}

impl Parking {
    pub fn new(open_files_max: Option<usize>) -> Parking {
        Parking { descriptors: Descriptors::new(open_files_max) }
    }

    pub fn waiting(&self) -> usize {
        self.descriptors.waiting()
    }

    /// How many files more may be open.
    pub fn spare(&self, logs: &Logs) -> usize {
        self.descriptors.free(logs.iter().map(|log| log.files().descriptors()).sum())
    }

    /// Whether the log has a descriptor or may open one. If not, it waits for one.
    pub fn has_descriptor_for(
        &mut self,
        id: u64,
        logs: &mut Logs,
        discover: &mut Discover,
        clock: Clock,
    ) -> bool {
        if logs.get(id).is_some_and(|log| log.files().descriptors() > 0) {
            return true;
        }
        if self.make_room(1, logs, discover, clock) > 0 {
            return true;
        }
        self.want(id, logs);
        false
    }

    fn want(&mut self, id: u64, logs: &mut Logs) {
        let Some(log) = logs.get_mut(id) else { return };
        if log.want_descriptor() {
            self.descriptors.wait(id);
        }
        self.descriptors.warn();
    }

    /// Notes that a closed file was written to, or may have been.
    pub fn was_written_to(&mut self, id: u64, logs: &mut Logs) {
        if let Some(log) = logs.get_mut(id)
            && log.files().is_closed()
        {
            if let Some(closed) = log.closed_mut() {
                closed.was_written_to();
            }
            self.want(id, logs);
        }
    }

    pub fn all_may_be_written(&mut self, logs: &mut Logs) {
        let parked: Vec<u64> =
            logs.iter().filter(|log| log.files().is_closed()).map(ContainerLog::number).collect();
        parked.into_iter().for_each(|id| self.was_written_to(id, logs));
    }

    /// Compares closed files with what their names stand for now, in case an event was lost.
    pub fn scan(&mut self, logs: &mut Logs, discover: &Discover) {
        let mut written = Vec::new();
        for (key, ids) in logs.folders() {
            let parked: Vec<_> = ids
                .iter()
                .filter_map(|id| logs.get(*id))
                .filter_map(|log| Some((log, log.files().closed().filter(|_| log.files().is_closed())?)))
                .collect();
            if parked.is_empty() {
                continue;
            }
            let Ok(folder) = discover.open(key) else { continue };
            for (log, closed) in parked {
                if closed.is_other(folder.stat(log.id().live_name()).ok()) {
                    written.push(log.number());
                }
            }
        }
        written.into_iter().for_each(|id| self.was_written_to(id, logs));
    }

    /// Takes the logs that have waited longest off the list, as many as may be open.
    pub fn take_first(&mut self, logs: &mut Logs, discover: &mut Discover, clock: Clock) -> BTreeSet<u64> {
        self.descriptors.keep_waiting(|id| {
            let Some(log) = logs.get_mut(*id) else { return false };
            let waits = log.files().is_closed();
            if let Some(closed) = log.closed_mut() {
                closed.set_wants(waits);
            }
            waits
        });
        if self.descriptors.waiting() == 0 {
            if self.descriptors.were_short() {
                logs.iter_mut().for_each(|log| log.set_yields(false));
            }
            return BTreeSet::new();
        }
        self.descriptors.try_again();
        let free = self.make_room(self.descriptors.waiting(), logs, discover, clock);
        let ids = self.descriptors.take(free);
        for id in &ids {
            if let Some(closed) = logs.get_mut(*id).and_then(ContainerLog::closed_mut) {
                closed.set_wants(false);
            }
        }
        ids
    }

    /// Takes logs from the end of `closed`, as many as may be open.
    pub fn take_some_of(
        &mut self,
        closed: &mut Vec<u64>,
        logs: &mut Logs,
        discover: &mut Discover,
        clock: Clock,
    ) -> BTreeSet<u64> {
        self.descriptors.try_again();
        let free = self.make_room(closed.len(), logs, discover, clock);
        closed.drain(closed.len().saturating_sub(free)..).collect()
    }

    /// Parks other logs if fewer than `wanted` more files may be open. Returns how many may be open then.
    fn make_room(&mut self, wanted: usize, logs: &mut Logs, discover: &mut Discover, clock: Clock) -> usize {
        if self.descriptors.is_full(clock.mono_ms) {
            // (Nothing has changed since.)
            return 0;
        }
        let wanted = wanted.min(self.descriptors.max());
        let mut free = self.spare(logs);
        if free < wanted {
            for (id, files) in givers(logs) {
                if free >= wanted {
                    break;
                }
                self.park(id, logs, discover);
                free += files;
            }
        }
        if free == 0 {
            self.descriptors.set_full(clock.mono_ms);
        }
        if free < wanted {
            ask_to_yield(wanted - free, logs, clock);
        }
        free
    }

    fn park(&mut self, id: u64, logs: &mut Logs, discover: &mut Discover) {
        let Some(log) = logs.get_mut(id) else { return };
        // The watch comes before the look: what is written in between is seen by one of them.
        let is_watched = log.files().resting_handle().is_some_and(|handle| discover.watch_file(handle, id));
        let is_at_end = log.is_at_end() && log.may_rest() && !log.files().grew_meanwhile();
        let is_read = log.is_newest_read();
        log.close(!(is_watched && is_at_end && is_read));
        logs.note_unfinished(id);
        logs.rest(id);
        if !is_at_end {
            self.want(id, logs);
        }
    }
}

/// Who can give descriptors, and how many, in the order of giving: logs that rest, logs that were asked to, logs that are quiet longest.
fn givers(logs: &Logs) -> Vec<(u64, usize)> {
    let rests = |log: &ContainerLog| !logs.is_active(log.number());
    let gives = |log: &&ContainerLog| (rests(log) || log.is_at_end() || log.yields()) && log.may_close();
    let order = |log: &ContainerLog| (!rests(log), !log.yields(), log.meter.last_data_ms());
    let mut givers: Vec<_> =
        logs.iter().filter(gives).map(|log| (order(log), log.number(), log.files().descriptors())).collect();
    givers.sort_unstable();
    givers.into_iter().map(|(_, id, files)| (id, files)).collect()
}

/// That many give up their descriptors as soon as what they read is acknowledged: those that have had their share, and
/// those that have nothing more to read now.
fn ask_to_yield(wanted: usize, logs: &mut Logs, clock: Clock) {
    let asked = logs.iter().filter(|log| log.yields()).count();
    let due = |log: &&mut ContainerLog| {
        let share_ms = if log.has_unfinished() { SHARE_OF_A_RECORD_MS } else { SHARE_MS };
        let is_due = log.is_at_end() || clock.mono_ms - log.opened_at_ms() >= share_ms;
        is_due && !log.yields() && log.files().descriptors() > 0 && !log.must_read_on()
    };
    let mut due: Vec<&mut ContainerLog> = logs.iter_mut().filter(due).collect();
    due.sort_unstable_by_key(|log| (!log.is_at_end(), log.opened_at_ms()));
    for log in due.into_iter().take(wanted.saturating_sub(asked)) {
        log.set_yields(true);
    }
}
