//! Fewer file descriptors than files: a run that has nothing to read is parked, its files closed, and another has its turn.
//! Promises: what is closed is known as after a restart (inode, first line, acknowledged position, the bytes before it) and is
//! opened again when something is written to it; whoever waits for a descriptor has one after those that waited before; a file
//! without a name is not closed while something of it is unread; what was written to a closed file and went is a loss, and
//! so is a file that went before it was opened.

use std::collections::BTreeSet;

use super::Reader;
use crate::container_log::ContainerLog;
use crate::folder::Folder;
use crate::turn::Clock;

/// How long a run that has more to read keeps its files while others wait for descriptors.
const SHARE_MS: i64 = 500;
/// The same where a record has begun: closed in the middle of it, it would be read from its beginning again.
const SHARE_OF_A_RECORD_MS: i64 = 20 * SHARE_MS;

impl Reader {
    pub(crate) fn open_files(&self) -> usize {
        self.runs.values().map(|run| run.files().descriptors()).sum()
    }

    /// A descriptor for one run more; where there is none, it waits for one.
    pub(crate) fn has_descriptor_for(&mut self, id: u64, clock: Clock) -> bool {
        if self.runs.get(&id).is_some_and(|run| run.files().descriptors() > 0) {
            return true;
        }
        if self.make_room(1, clock) > 0 {
            return true;
        }
        self.want(id);
        false
    }

    fn want(&mut self, id: u64) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.want_descriptor() {
            self.descriptors.wait(id);
        }
        self.descriptors.warn();
    }

    /// What could not be opened is remembered, in case it goes before it can be.
    pub(crate) fn note_unopened(&mut self, id: u64, folder: &Folder) {
        if let Some(run) = self.runs.get_mut(&id)
            && let Ok(stat) = folder.stat(run.id().live_name())
            && stat.regular
            && let Some(closed) = run.closed_mut()
        {
            closed.note_live(stat);
        }
    }

    pub(crate) fn parked_with_unread(&self) -> Vec<u64> {
        self.runs.values().filter(|run| run.files().is_closed_with_unread()).map(|run| run.number()).collect()
    }

    /// Opens the last of these, as many as may be open, and gives those.
    pub(crate) fn open_some_of(&mut self, closed: &mut Vec<u64>) -> Vec<u64> {
        let clock = self.clock();
        self.descriptors.try_again();
        let free = self.make_room(closed.len(), clock);
        let ids: BTreeSet<u64> = closed.drain(closed.len().saturating_sub(free)..).collect();
        self.open_parked(&ids, clock);
        ids.into_iter().collect()
    }

    /// A closed file was written to, or may have been.
    pub(crate) fn written_while_parked(&mut self, id: u64) {
        if let Some(run) = self.runs.get_mut(&id)
            && run.files().is_closed()
        {
            if let Some(closed) = run.closed_mut() {
                closed.was_written_to();
            }
            self.want(id);
        }
    }

    pub(crate) fn all_may_be_written(&mut self) {
        let parked: Vec<u64> =
            self.runs.values().filter(|run| run.files().is_closed()).map(|run| run.number()).collect();
        parked.into_iter().for_each(|id| self.written_while_parked(id));
    }

    /// Looks at the names of closed files, in case an event was lost.
    pub(crate) fn scan_parked(&mut self) {
        let mut written = Vec::new();
        for (key, runs) in &self.folders {
            let parked = runs.iter().filter_map(|id| self.runs.get(id)).filter(|run| run.files().is_closed());
            let parked: Vec<_> = parked.collect();
            if parked.is_empty() {
                continue;
            }
            let Ok(folder) = self.discover.open(key) else { continue };
            for run in parked {
                let Some(closed) = run.files().closed() else { continue };
                if closed.is_other(folder.stat(run.id().live_name()).ok()) {
                    written.push(run.number());
                }
            }
        }
        written.into_iter().for_each(|id| self.written_while_parked(id));
    }

    /// Opens what waits for descriptors, in the order of waiting, as far as there are some.
    pub(crate) fn open_wanting(&mut self, clock: Clock) {
        let runs = &mut self.runs;
        self.descriptors.keep_waiting(|id| {
            let Some(run) = runs.get_mut(id) else { return false };
            let waits = run.files().is_closed();
            if let Some(closed) = run.closed_mut() {
                closed.set_wants(waits);
            }
            waits
        });
        if self.descriptors.waiting() == 0 {
            if self.descriptors.were_short() {
                self.runs.values_mut().for_each(|run| run.set_yields(false));
            }
            return;
        }
        self.descriptors.try_again();
        let free = self.make_room(self.descriptors.waiting(), clock);
        let ids = self.descriptors.take(free);
        for id in &ids {
            if let Some(closed) = self.runs.get_mut(id).and_then(ContainerLog::closed_mut) {
                closed.set_wants(false);
            }
        }
        self.open_parked(&ids, clock);
    }

    fn open_parked(&mut self, ids: &BTreeSet<u64>, clock: Clock) {
        for id in ids {
            if let Some(run) = self.runs.get_mut(id) {
                run.set_mark(None);
            }
        }
        let of = |runs: &BTreeSet<u64>| ids.iter().any(|id| runs.contains(id));
        let keys = self.folders.iter().filter(|(_, runs)| of(runs)).map(|(key, _)| key.clone());
        for key in keys.collect::<Vec<_>>() {
            self.refresh_runs_of(&key, Some(ids), clock);
        }
    }

    /// How many files more may be open, after other runs were parked where that is needed for as many as `wanted`.
    fn make_room(&mut self, wanted: usize, clock: Clock) -> usize {
        if self.descriptors.is_full(clock.mono_ms) {
            // (Nothing has changed since.)
            return 0;
        }
        let wanted = wanted.min(self.descriptors.max());
        let mut free = self.descriptors.free(self.open_files());
        if free < wanted {
            let resting = |run: &ContainerLog| !self.active.contains(&run.number());
            let gives =
                |run: &&ContainerLog| (resting(run) || run.is_at_end() || run.yields()) && run.may_close();
            let order = |run: &ContainerLog| (!resting(run), !run.yields(), run.meter.last_data_ms());
            let mut givers: Vec<_> = self
                .runs
                .values()
                .filter(gives)
                .map(|run| (order(run), run.number(), run.files().descriptors()))
                .collect();
            givers.sort_unstable();
            for (_, id, files) in givers {
                if free >= wanted {
                    break;
                }
                self.park(id);
                free += files;
            }
        }
        if free == 0 {
            self.descriptors.set_full(clock.mono_ms);
        }
        if free < wanted {
            self.ask_to_yield(wanted - free, clock);
        }
        free
    }

    /// That many give up their descriptors as soon as what they read is acknowledged: those that have had their share, and
    /// those that have nothing more to read now.
    fn ask_to_yield(&mut self, wanted: usize, clock: Clock) {
        let asked = self.runs.values().filter(|run| run.yields()).count();
        let due = |run: &&mut ContainerLog| {
            let share_ms = if run.has_unfinished() { SHARE_OF_A_RECORD_MS } else { SHARE_MS };
            let is_due = run.is_at_end() || clock.mono_ms - run.opened_at_ms() >= share_ms;
            is_due && !run.yields() && run.files().descriptors() > 0 && !run.must_read_on()
        };
        let mut due: Vec<&mut ContainerLog> = self.runs.values_mut().filter(due).collect();
        due.sort_unstable_by_key(|run| (!run.is_at_end(), run.opened_at_ms()));
        for run in due.into_iter().take(wanted.saturating_sub(asked)) {
            run.set_yields(true);
        }
    }

    fn park(&mut self, id: u64) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        // The watch comes before the look: what is written in between is seen by one of them.
        let is_watched =
            run.files().resting_handle().is_some_and(|handle| self.discover.watch_file(handle, id));
        let is_at_end = run.is_at_end() && run.may_rest() && !run.files().grew_meanwhile();
        let is_read = run.is_newest_read();
        run.close(!(is_watched && is_at_end && is_read));
        self.unfinished.note(id, run.pipeline());
        self.active.remove(&id);
        if !is_at_end {
            self.want(id);
        }
    }
}
