//! Fewer file descriptors than files: a run that has nothing to read is parked, its files closed, and another has its turn.
//! Promises: what is closed is known as after a restart (inode, first line, acknowledged position, the bytes before it) and is
//! opened again when something is written to it; whoever waits for a descriptor has one after those that waited before; a file
//! without a name is not closed while something of it is unread; what was written to a closed file and went is a loss, and
//! so is a file that went before it was opened.

use std::collections::BTreeSet;

use cordwood_core::batch::LossRange;
use cordwood_core::pipeline::Pipeline;
use cordwood_core::rotation::gone::{id_of_unread, never_read};

use crate::closed::{Closed, GONE_WHILE_CLOSED};
use crate::container_log::ContainerLog;
use crate::folder::{Folder, is_unlinked, stat_of};
use crate::reader::Reader;
use crate::tail::LogFile;
use crate::turn::{Clock, Turn};

/// How long a run that has more to read keeps its files while others wait for descriptors.
const SHARE_MS: i64 = 500;
/// The same where a record has begun: closed in the middle of it, it would be read from its beginning again.
const SHARE_OF_A_RECORD_MS: i64 = 20 * SHARE_MS;

impl ContainerLog {
    pub fn open_files(&self) -> usize {
        self.files.iter().filter(|file| file.handle().is_some()).count() + usize::from(self.unnamed.is_some())
    }

    pub fn is_parked(&self) -> bool {
        self.parked.is_some() && self.open_files() == 0
    }

    /// Its closed files were read to their end and not written to since.
    pub fn was_all_read(&self) -> bool {
        self.parked.is_some_and(|closed| !closed.has_unread())
    }

    pub fn is_parked_with_unread(&self) -> bool {
        self.is_parked() && !self.was_all_read()
    }

    /// After a look at all that there is: a live file that was closed before its first line came, or never opened, and that is
    /// not there any more.
    pub fn lose_unknown(&mut self, turn: &mut Turn<'_>) {
        let Some(live) = self.parked.and_then(|closed| closed.never_read()) else { return };
        let is_here = self.register.knows(live.inode())
            || self.files.iter().any(|file| file.inode() == live.inode())
            || self.register.is_remembered(live.inode())
            || self
                .resting_handle()
                .and_then(|handle| stat_of(handle).ok())
                .is_some_and(|now| now.ino == live.ino);
        // (Its packed copy, which is about to be read.)
        let is_packed = self.files.iter().any(|file| file.is_gzip() && file.position == 0);
        if is_here || is_packed {
            return;
        }
        let id = id_of_unread(live.inode(), live.mtime_ns);
        let gone = never_read(id, &self.live_name, live.inode());
        let loss = LossRange { from: 0, bytes: 0, exact: false, reason: GONE_WHILE_CLOSED.to_owned() };
        turn.tally.files_vanished += 1;
        self.lose_whole(gone, loss, turn);
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
        let open = self.files.iter().filter(|file| file.handle().is_some());
        let (gone, here): (Vec<_>, Vec<_>) = open.partition(|file| file.is_removed());
        let closed: Vec<_> = here.into_iter().map(|file| self.checkpoint_of(file)).collect();
        // (Its packed copy may be still to come.)
        let over: Vec<_> =
            gone.into_iter().map(|file| self.checkpoint_of(file)).filter(|file| file.done).collect();
        // (Of the life before it may know more files that are not found yet.)
        let has_unread =
            has_unread || self.register.has_unread() || self.parked.is_some_and(|closed| closed.has_unread());
        self.register.close(closed, over);
        let is_unknown = self.unnamed.is_some();
        self.files.clear();
        self.unnamed = None;
        self.batches.close();
        self.pipeline = Pipeline::new();
        self.current = None;
        self.at_end = false;
        self.yields = false;
        self.parked = Some(Closed::new(live, is_unknown, has_unread));
    }
}

impl Reader {
    pub(crate) fn open_files(&self) -> usize {
        self.runs.values().map(ContainerLog::open_files).sum()
    }

    /// A descriptor for one run more; where there is none, it waits for one.
    pub(crate) fn has_descriptor_for(&mut self, id: u64, clock: Clock) -> bool {
        if self.runs.get(&id).is_some_and(|run| run.open_files() > 0) {
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
        if run.parked.get_or_insert_with(Closed::never_opened).want() {
            self.descriptors.wait(id);
        }
        self.descriptors.warn();
    }

    /// What could not be opened is remembered, in case it goes before it can be.
    pub(crate) fn note_unopened(&mut self, id: u64, folder: &Folder) {
        if let Some(run) = self.runs.get_mut(&id)
            && let Ok(stat) = folder.stat(&run.live_name)
            && stat.regular
            && let Some(closed) = &mut run.parked
        {
            closed.note_live(stat);
        }
    }

    pub(crate) fn parked_with_unread(&self) -> Vec<u64> {
        self.runs.values().filter(|run| run.is_parked_with_unread()).map(|run| run.id).collect()
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
            && run.is_parked()
        {
            if let Some(closed) = &mut run.parked {
                closed.was_written_to();
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
                let Some(closed) = run.parked else { continue };
                if closed.is_other(folder.stat(&run.live_name).ok()) {
                    written.push(run.id);
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
            let waits = run.is_parked();
            if let Some(closed) = &mut run.parked {
                closed.set_wants(waits);
            }
            waits
        });
        if self.descriptors.waiting() == 0 {
            if self.descriptors.were_short() {
                self.runs.values_mut().for_each(|run| run.yields = false);
            }
            return;
        }
        self.descriptors.try_again();
        let free = self.make_room(self.descriptors.waiting(), clock);
        let ids = self.descriptors.take(free);
        for id in &ids {
            if let Some(closed) = self.runs.get_mut(id).and_then(|run| run.parked.as_mut()) {
                closed.set_wants(false);
            }
        }
        self.open_parked(&ids, clock);
    }

    fn open_parked(&mut self, ids: &BTreeSet<u64>, clock: Clock) {
        for id in ids {
            if let Some(run) = self.runs.get_mut(id) {
                run.mark = None;
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
            let resting = |run: &ContainerLog| !self.active.contains(&run.id);
            let gives = |run: &&ContainerLog| (resting(run) || run.at_end || run.yields) && run.may_park();
            let order = |run: &ContainerLog| (!resting(run), !run.yields, run.meter.last_data_ms());
            let mut givers: Vec<_> =
                self.runs.values().filter(gives).map(|run| (order(run), run.id, run.open_files())).collect();
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
        let asked = self.runs.values().filter(|run| run.yields).count();
        let due = |run: &&mut ContainerLog| {
            let share_ms = if run.has_unfinished() { SHARE_OF_A_RECORD_MS } else { SHARE_MS };
            let is_due = run.at_end || clock.mono_ms - run.opened_at_ms >= share_ms;
            is_due && !run.yields && run.open_files() > 0 && !run.must_read_on()
        };
        let mut due: Vec<&mut ContainerLog> = self.runs.values_mut().filter(due).collect();
        due.sort_unstable_by_key(|run| (!run.at_end, run.opened_at_ms));
        for run in due.into_iter().take(wanted.saturating_sub(asked)) {
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
