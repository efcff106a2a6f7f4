//! The reader thread: one loop that looks for changes, reads what there is, ships it, and remembers how far it came.
//! Promises: it sleeps when there is nothing to do and stops reading when nothing is taken; memory has a bound; every
//! file gets its turn.

mod drain;
mod look;
mod order;
mod orphans;
mod parked;
mod report;
mod room;
mod round;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cordwood_core::checkpoint::{Checkpoint, RunCheckpoint};
use cordwood_core::identity::NodeIdentity;
use cordwood_core::levels::LevelRules;
use cordwood_service::{Health, Heartbeat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::watch;

use self::order::Order;
use crate::Environment;
use crate::begun::Unfinished;
use crate::bound::LeftOut;
use crate::checkpoint::Writer;
use crate::config::Config;
use crate::container_log::ContainerLog;
use crate::descriptors::Descriptors;
use crate::discover::{Changes, Discover, FolderKey};
use crate::ending::Ending;
use crate::folder::{Folder, Looks};
use crate::lookup::ContextSource;
use crate::owner::Answer;
use crate::remembered::Remembered;
use crate::ship::Shipper;
use crate::source::Source;
use crate::sources::sources;
use crate::telemetry::{Tally, Telemetry};
use crate::turn::{Clock, Turn};
use crate::wake::Waker;

/// Read and acknowledged files are held this long, in case they still grow.
const SETTLE_GRACES: i64 = 10;
const HOUSEKEEPING_MS: i64 = 1_000;
/// A reader that did not come round for so long hangs.
const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(60);
/// How long records that go unfinished wait for the disk.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(5);
const BUFFER_BYTES_KEPT: usize = 4 << 20;
const RESTART_PAUSE_MS: i64 = 1_000;

pub(crate) struct Reader {
    config: Config,
    context: ContextSource,
    rules: watch::Receiver<Arc<LevelRules>>,
    telemetry: Telemetry,
    health: Health,
    heartbeat: Heartbeat,
    ending: Ending,
    waker: Waker,
    ship: Shipper,
    discover: Discover,
    checkpoint: Writer,
    /// In whose name plain files are read.
    node: NodeIdentity,
    remembered: Remembered,
    runs: BTreeMap<u64, ContainerLog>,
    by_key: HashMap<String, u64>,
    folders: HashMap<FolderKey, BTreeSet<u64>>,
    /// Runs that are looked at in every round; the others wait for inotify.
    active: BTreeSet<u64>,
    /// Runs whose context is not known.
    waiting: BTreeSet<u64>,
    /// Folders that could not be looked at in whole: looked at again at the next scan.
    again: BTreeSet<FolderKey>,
    descriptors: Descriptors,
    left_out: LeftOut,
    next_run: u64,
    /// How many scans there were.
    scans: u64,
    order: Order,
    tally: Tally,
    dirty: bool,
    /// When the picture was made last, where nothing has happened since.
    quiet_since_ms: Option<i64>,
    context_generation: u64,
    started: Instant,
    buffer: Vec<u8>,
    /// After a failure nothing is read until then.
    paused_until_ms: i64,
    /// Records whose ends were not read yet, of all runs.
    unfinished: Unfinished,
}

/// What a reader is made of.
pub(crate) struct Parts {
    pub config: Config,
    pub environment: Environment,
    pub ending: Ending,
    pub ship: Shipper,
    pub checkpoint: Writer,
    pub remembered: Remembered,
    pub node: NodeIdentity,
    pub tally: Tally,
}

impl Reader {
    pub fn new(parts: Parts) -> Reader {
        let Parts { config, environment, ending, ship, checkpoint, remembered, node, tally } = parts;
        let Environment { context, rules, waker, telemetry, health } = environment;
        Reader {
            discover: Discover::new(config.pods_dir.clone(), config.docker_dir.clone(), &config.files),
            descriptors: Descriptors::new(config.read.open_files_max),
            heartbeat: health.heartbeat("reader", HEARTBEAT_AGE_MAX),
            context,
            rules,
            telemetry,
            health,
            ending,
            waker,
            ship,
            checkpoint,
            node,
            remembered,
            runs: BTreeMap::new(),
            by_key: HashMap::new(),
            folders: HashMap::new(),
            active: BTreeSet::new(),
            waiting: BTreeSet::new(),
            again: BTreeSet::new(),
            left_out: LeftOut::default(),
            next_run: 0,
            scans: 0,
            order: Order::default(),
            tally,
            dirty: false,
            quiet_since_ms: None,
            context_generation: 0,
            started: Instant::now(),
            buffer: Vec::new(),
            paused_until_ms: 0,
            unfinished: Unfinished::default(),
            config,
        }
    }

    pub fn run(mut self) -> anyhow::Result<()> {
        let (mut scan_at, mut keep_at, mut house_at, mut ask_at) = (0, 0, 0, 0);
        let mut first = true;
        self.take_rules();
        while !self.ending.shutdown.is_cancelled() {
            let clock = self.clock();
            self.heartbeat.beat();
            if clock.mono_ms >= scan_at {
                scan_at = clock.mono_ms + self.config.read.scan_interval_ms as i64;
                let complete = self.scan(first, clock);
                first = false;
                self.adopt_orphans(complete, clock);
            }
            self.take_events(clock);
            let generation = self.context.generation();
            let changed = generation != self.context_generation;
            if changed || (!self.waiting.is_empty() && clock.mono_ms >= ask_at) {
                ask_at = clock.mono_ms + 200;
                self.context_generation = generation;
                self.ask_contexts(changed, clock);
            }
            if self.rules.has_changed().unwrap_or(false) {
                self.take_rules();
            }
            self.take_answers(clock);
            self.open_wanting(clock);
            let more = self.read_round(clock);
            // (The checkpoint also says how far reading is ahead of what is acknowledged.)
            self.dirty |= self.tally.read_bytes + self.tally.files_finished > 0;
            self.keep_cuts();
            self.ship.send(&mut self.tally);
            if clock.mono_ms >= house_at {
                house_at = clock.mono_ms + HOUSEKEEPING_MS;
                self.keep_house(clock);
            }
            if self.dirty && clock.mono_ms >= keep_at {
                keep_at = clock.mono_ms + self.config.read.checkpoint_interval_ms as i64;
                self.dirty = false;
                self.checkpoint.put(self.make_checkpoint(false).encode());
            }
            let (written, errors) = self.checkpoint.counts();
            self.tally.checkpoints += written;
            self.tally.checkpoint_errors += errors;
            self.telemetry.add(&mut self.tally);
            if !more {
                self.sleep(clock, scan_at.min(house_at).min(if self.dirty { keep_at } else { i64::MAX }));
            }
        }
        self.finish()
    }

    pub(crate) fn clock(&self) -> Clock {
        let mono_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let wall_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Clock { mono_ms, wall_ns: i64::try_from(wall_ns).unwrap_or(i64::MAX) }
    }

    /// True: everything that there is was looked at.
    fn scan(&mut self, force: bool, clock: Clock) -> bool {
        let mut changes = Changes { folders: std::mem::take(&mut self.again), ..Changes::default() };
        let scanned = self.discover.scan(&mut changes, force);
        let complete = scanned.is_ok() && !changes.incomplete;
        self.health.set("files", scanned.map_err(|error| error.to_string()));
        self.take_changes(&changes, clock);
        // A resting file that was written to without our being told: a lost event costs some scan intervals, not the file.
        self.scans += 1;
        for run in self.runs.values_mut() {
            let idle_ms = clock.mono_ms - run.meter.last_data_ms();
            let is_looked_at =
                !self.active.contains(&run.number()) && look::is_due(run.number(), idle_ms, self.scans);
            if is_looked_at && run.files().grew_meanwhile() {
                run.meter.data_came(clock.mono_ms);
                self.active.insert(run.number());
            }
        }
        self.scan_parked();
        complete && self.again.is_empty()
    }

    fn take_events(&mut self, clock: Clock) {
        let mut changes = Changes::default();
        self.discover.events(&mut changes);
        if changes.overflowed {
            self.tally.overflows += 1;
            self.active.extend(self.runs.keys());
            self.all_may_be_written();
        }
        for run in &changes.unwatched {
            if let Some(run) = self.runs.get_mut(run) {
                run.doubt_closed_file();
            }
        }
        for run in &changes.runs {
            self.written_while_parked(*run);
            if let Some(run) = self.runs.get_mut(run) {
                run.meter.data_came(clock.mono_ms);
                self.active.insert(run.number());
            }
        }
        self.take_changes(&changes, clock);
    }

    fn take_changes(&mut self, changes: &Changes, clock: Clock) {
        for key in &changes.folders {
            self.refresh_folder(key, clock);
        }
    }

    /// Looks at a folder anew: which runs it has, which files they have.
    fn refresh_folder(&mut self, key: &FolderKey, clock: Clock) {
        self.refresh_runs_of(key, None, clock);
    }

    /// The same for some of its runs alone.
    pub(crate) fn refresh_runs_of(&mut self, key: &FolderKey, only: Option<&BTreeSet<u64>>, clock: Clock) {
        let folder = match self.discover.open(key) {
            Ok(folder) => Some(folder).filter(|folder| !folder.is_removed()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return self.look_again(key, &error),
        };
        // Listed once for all of its runs.
        let look = match folder.as_ref().map(Folder::look).transpose() {
            Ok(look) => look.unwrap_or_default(),
            Err(error) => return self.look_again(key, &error),
        };
        let (names, looks) = (look.names(), Looks::new(&look));
        // A live file may just be renamed, its successor not made yet: then only we know of it.
        let known = self.by_key.keys().map(String::as_str).chain(self.remembered.unseen());
        let sources = sources(key, &names, folder.as_ref(), &self.discover.patterns, known);
        let live: HashSet<String> = sources.iter().map(Source::key).collect();
        let max = self.config.read.files_per_pattern_max;
        // (After a start the checkpoint says which were read.)
        let is_read = |key: &str| self.by_key.contains_key(key) || self.remembered.is_unseen(key);
        for source in self.left_out.keep_within(max, key, sources, is_read) {
            let id = self.run_of(source, clock);
            self.folders.entry(key.clone()).or_default().insert(id);
        }
        let ids: Vec<u64> = self.folders.get(key).into_iter().flatten().copied().collect();
        let last = ids.iter().filter_map(|id| Some(self.runs.get(id)?.source().restart())).max();
        let mut spare = self.descriptors.free(self.open_files());
        for id in ids {
            if only.is_some_and(|only| !only.contains(&id)) {
                continue;
            }
            let Some(run) = self.runs.get_mut(&id) else { continue };
            let is_succeeded = last.is_some_and(|last| run.source().restart() < last);
            run.set_succeeded(is_succeeded);
            // (What another file stands for now is an older file of that one: it is only read to its end.)
            let is_older =
                run.source().is_plain() && look.has(run.id().live_name()) && !live.contains(run.id().key());
            // (Where it was closed with something unread it is opened once more.)
            let is_read_on = !is_older || run.files().is_closed_with_unread();
            let mark = look.mark_of(run.id().live_name());
            if folder.is_some() && !is_older && run.is_as_marked(mark) {
                continue;
            }
            if let Some(folder) = folder.as_ref().filter(|_| is_read_on)
                && spare == 0
                && !self.has_descriptor_for(id, clock)
            {
                self.note_unopened(id, folder);
                continue;
            }
            let Some(run) = self.runs.get_mut(&id) else { continue };
            let mut turn = Turn::new(&self.config, &mut self.ship, &mut self.tally, clock);
            if run.files().descriptors() == 0 {
                run.begin_share(clock);
            }
            let looked_at = folder.as_ref().filter(|_| is_read_on).map(|folder| (folder, &looks));
            let mut refreshed = run.refresh(looked_at, &mut turn);
            if is_older && looked_at.is_some() && matches!(refreshed, Ok(true)) {
                refreshed = run.refresh(None, &mut turn);
            }
            let complete = refreshed.unwrap_or_else(|error| {
                self.tally.file_errors += 1;
                tracing::warn!(run = run.id().key(), %error, "list log folder");
                false
            });
            run.set_mark(Some(mark).filter(|_| complete));
            spare = spare.saturating_sub(run.files().descriptors());
            if !complete {
                self.again.insert(key.clone());
            }
            run.meter.data_came(clock.mono_ms);
            self.active.insert(id);
            self.dirty = true;
        }
    }

    /// A folder that is there and cannot be read: no descriptors left, no permission.
    fn look_again(&mut self, key: &FolderKey, error: &std::io::Error) {
        self.tally.file_errors += 1;
        tracing::warn!(folder = ?key, %error, "open log folder");
        self.again.insert(key.clone());
    }

    pub fn run_of(&mut self, source: Source, clock: Clock) -> u64 {
        let key = source.key();
        if let Some(id) = self.by_key.get(&key).copied() {
            if let Some(run) = self.runs.get_mut(&id)
                && run.source().is_plain()
                && *run.source() != source
            {
                // It was only in the checkpoint, and its path is back: now it is known which setting names it.
                run.set_source(source);
                self.ask_context(id, clock);
            }
            return id;
        }
        self.next_run += 1;
        let id = self.next_run;
        let mut run = ContainerLog::new(id, source, &self.node, clock.mono_ms);
        if let Some(resume) = self.remembered.take(&key) {
            run.resume(resume);
        }
        self.runs.insert(id, run);
        self.by_key.insert(key, id);
        self.waiting.insert(id);
        self.ask_context(id, clock);
        id
    }

    /// Asks for the contexts of runs that have none, and of the others when something has changed.
    fn ask_contexts(&mut self, changed: bool, clock: Clock) {
        let ids: Vec<u64> = if changed {
            // (What is known of a plain file does not change.)
            let asks = |run: &ContainerLog| !run.owner.is_known() || !run.source().is_plain();
            self.runs.values().filter(|run| asks(run)).map(ContainerLog::number).collect()
        } else {
            self.waiting.iter().copied().collect()
        };
        for id in ids {
            self.ask_context(id, clock);
        }
    }

    fn ask_context(&mut self, id: u64, clock: Clock) {
        let Some(run) = self.runs.get_mut(&id) else {
            self.waiting.remove(&id);
            return;
        };
        match run.ask_owner(&self.context, clock) {
            Answer::Same => {
                self.waiting.remove(&id);
            }
            Answer::New(context) => {
                self.waiting.remove(&id);
                let mut turn = Turn::new(&self.config, &mut self.ship, &mut self.tally, clock);
                run.set_context(context, &self.rules.borrow(), &mut turn);
                run.meter.data_came(clock.mono_ms);
                self.active.insert(id);
            }
            Answer::Waits => {}
        }
    }

    fn take_rules(&mut self) {
        let rules = Arc::clone(&self.rules.borrow_and_update());
        for run in self.runs.values_mut() {
            run.owner.take_rules(&rules);
        }
        self.telemetry.rules_taken(rules.generation);
        self.quiet_since_ms = None;
    }

    fn take_answers(&mut self, clock: Clock) {
        let (runs, dirty) = (&mut self.runs, &mut self.dirty);
        let answered = self.ship.answers(&mut self.tally, |ticket, sent| {
            *dirty = true;
            if let Some(run) = runs.get_mut(&sent.run) {
                run.acknowledged(ticket, sent);
            }
        });
        let Err(reason) = answered else { return };
        tracing::error!(
            reason,
            "a batch was not taken; everything that is not acknowledged is read and sent again"
        );
        self.tally.restarts += 1;
        for run in self.runs.values_mut() {
            run.go_back(&mut self.ship);
            run.meter.data_came(clock.mono_ms);
        }
        self.ship.start_anew();
        self.paused_until_ms =
            clock.mono_ms + RESTART_PAUSE_MS.min(20 * self.config.read.poll_interval_ms as i64);
        self.active.extend(self.runs.keys());
    }

    /// Things that are done once a second.
    fn keep_house(&mut self, clock: Clock) {
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            // A long line needed it; most need a chunk.
            self.buffer = Vec::new();
        }
        let linger_ms = SETTLE_GRACES * self.config.read.rotation_grace_ms as i64;
        let ids: Vec<u64> = self.active.iter().copied().collect();
        for id in ids {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            let before = run.files().len();
            let mut turn = Turn::new(&self.config, &mut self.ship, &mut self.tally, clock);
            let wait_ms = self.config.read.unfinished_wait_ms as i64;
            run.flush_overdue(wait_ms, &mut turn);
            run.settle(clock, linger_ms);
            self.dirty |= run.files().len() != before;
            if run.is_over() {
                let Some(run) = self.runs.remove(&id) else { continue };
                let (key, generations) = run.into_remembered();
                tracing::debug!(run = key, "read to its end");
                self.by_key.remove(&key);
                self.remembered.gone(key, generations);
                self.active.remove(&id);
                self.folders.values_mut().for_each(|runs| {
                    runs.remove(&id);
                });
                self.folders.retain(|_, runs| !runs.is_empty());
                // What was left out may have its turn.
                self.again.extend(self.left_out.folders().cloned());
                self.dirty = true;
            }
        }
        self.let_go(clock);
        self.report_if_due(clock);
    }

    /// Holds removed files only within their budget; of the run that holds the most the oldest goes first.
    fn let_go(&mut self, clock: Clock) {
        loop {
            let held = |run: &ContainerLog| run.files().held_removed().map(|(_, bytes)| bytes).sum::<u64>();
            let total: u64 = self.runs.values().map(held).sum();
            if total <= self.config.read.held_removed_bytes_max {
                return;
            }
            let Some(run) = self.runs.values_mut().max_by_key(|run| held(run)) else { return };
            let mut turn = Turn::new(&self.config, &mut self.ship, &mut self.tally, clock);
            if !run.let_go_of_oldest(&mut turn) {
                return;
            }
            let id = run.number();
            self.dirty = true;
            // Its packed copy, if there is one, takes its place.
            let key = self.folders.iter().find(|(_, runs)| runs.contains(&id)).map(|(key, _)| key.clone());
            if let Some(key) = key {
                self.refresh_folder(&key, clock);
            }
        }
    }

    /// `clean`: nothing was sent that is not acknowledged.
    pub(crate) fn make_checkpoint(&self, clean: bool) -> Checkpoint {
        let mut runs: Vec<RunCheckpoint> = self.runs.values().map(ContainerLog::checkpoint).collect();
        runs.extend(self.remembered.all().cloned());
        Checkpoint { node: Some(self.node.clone()), clean, runs }
    }

    /// Where something went unfinished must be known to the next life before it is sent.
    pub(crate) fn keep_cuts(&mut self) {
        if !self.ship.wait_for_checkpoint {
            return;
        }
        if !self.checkpoint.put_and_wait(self.make_checkpoint(false).encode(), CHECKPOINT_WAIT) {
            tracing::warn!("the checkpoint takes long: what follows is sent without waiting for it");
        }
        self.ship.wait_for_checkpoint = false;
    }

    fn sleep(&self, clock: Clock, due_ms: i64) {
        let poll_ms = self.config.read.poll_interval_ms as i64;
        let blocked = !self.has_room();
        let timeout_ms = if blocked {
            if self.ship.await_answer(true) {
                return;
            }
            4 * poll_ms
        } else if self.active.is_empty() && self.waiting.is_empty() {
            if self.ship.await_answer(self.ship.unanswered() > 0) {
                return;
            }
            due_ms - clock.mono_ms
        } else {
            self.ship.await_answer(false);
            // Rounds begin at even intervals, however long the last one took.
            poll_ms.min(due_ms - clock.mono_ms) - (self.clock().mono_ms - clock.mono_ms)
        };
        let timeout_ms = timeout_ms.clamp(0, 60_000);
        let timeout = Timespec { tv_sec: timeout_ms / 1_000, tv_nsec: timeout_ms % 1_000 * 1_000_000 };
        let mut fds = vec![PollFd::from_borrowed_fd(self.waker.as_fd(), PollFlags::IN)];
        if self.active.is_empty()
            && let Some(fd) = self.discover.fd()
        {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        let _ = poll(&mut fds, Some(&timeout));
        self.waker.clear();
    }
}
