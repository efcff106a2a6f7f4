//! The reader thread: one loop that looks for changes, reads what there is, ships it, and remembers how far it came.
//! Promises: the thread sleeps while there is nothing to do, and stops reading while the sink accepts nothing. Memory is bounded.
//! Every file gets its turn.

mod beat;
mod folders;
mod keep;
mod logs;
mod order;
mod orphans;
mod parked;
mod report;
mod room;
mod round;
mod settle;
mod shared;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use cordwood_core::identity::NodeIdentity;
use cordwood_service::{Health, Heartbeat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::folders::Folders;
use self::keep::Keeper;
use self::logs::Logs;
use self::report::Report;
use self::room::Room;
use self::round::Rounds;
use self::shared::Shared;
use crate::Environment;
use crate::checkpoint::Writer;
use crate::config::Config;
use crate::container_log::ContainerLog;
use crate::ending::Ending;
use crate::remembered::Remembered;
use crate::ship::Shipper;
use crate::telemetry::{Tally, Telemetry};
use crate::wake::Waker;

const HOUSEKEEPING_MS: i64 = 1_000;
/// Owners that nobody knows are asked for so often.
const ASK_MS: i64 = 200;
/// A reader that did not come round for so long hangs.
const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Reader {
    ending: Ending,
    waker: Waker,
    health: Health,
    heartbeat: Heartbeat,
    telemetry: Telemetry,
    shared: Shared,
    logs: Logs,
    folders: Folders,
    room: Room,
    rounds: Rounds,
    keeper: Keeper,
    report: Report,
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
        let room = Room::new(&config);
        Reader {
            ending,
            waker,
            heartbeat: health.heartbeat("reader", HEARTBEAT_AGE_MAX),
            health,
            telemetry,
            logs: Logs::new(node, remembered),
            folders: Folders::new(&config),
            room,
            rounds: Rounds::new(room, &config),
            keeper: Keeper::new(checkpoint),
            report: Report::default(),
            shared: Shared::new(config, context, rules, ship, tally),
        }
    }

    pub fn run(mut self) -> anyhow::Result<()> {
        let (mut scan_at, mut house_at, mut ask_at) = (0, 0, 0);
        let mut first = true;
        self.take_rules();
        while !self.ending.shutdown.is_cancelled() {
            let clock = self.shared.look_at_clock();
            self.heartbeat.beat();
            if clock.mono_ms >= scan_at {
                scan_at = clock.mono_ms + self.shared.config().read.scan_interval_ms as i64;
                self.scan(first);
                first = false;
            }
            self.folders.take_events(&mut self.logs, &mut self.shared);
            let changed = self.shared.have_owners_changed();
            if changed || (!self.logs.waiting().is_empty() && clock.mono_ms >= ask_at) {
                ask_at = clock.mono_ms + ASK_MS;
                self.shared.ask_owners(changed, &mut self.logs);
            }
            if self.shared.have_rules_changed() {
                self.take_rules();
            }
            self.rounds.take_answers(&mut self.logs, &mut self.shared);
            self.folders.open_waiting(&mut self.logs, &mut self.shared);
            let more = self.rounds.read(&mut self.logs, &mut self.folders, &mut self.shared);
            if self.shared.has_read() {
                // (The checkpoint also says how far reading is ahead of what is acknowledged.)
                self.logs.set_changed();
            }
            self.keeper.keep_cuts(&self.logs, &mut self.shared);
            self.shared.send();
            if clock.mono_ms >= house_at {
                house_at = clock.mono_ms + HOUSEKEEPING_MS;
                self.keep_house();
            }
            self.keeper.keep_if_due(&mut self.logs, &mut self.shared);
            self.shared.report(&self.telemetry);
            if !more {
                self.sleep(scan_at.min(house_at).min(self.keeper.due_ms(&self.logs)));
            }
        }
        self.finish()
    }

    fn scan(&mut self, force: bool) {
        let (complete, scanned) = self.folders.scan(force, &mut self.logs, &mut self.shared);
        self.health.set("files", scanned.map_err(|error| error.to_string()));
        orphans::adopt(complete, &mut self.logs, &self.folders, &mut self.shared);
    }

    fn take_rules(&mut self) {
        let generation = self.shared.pass_rules_on(&mut self.logs);
        self.telemetry.rules_taken(generation);
        self.report.is_outdated();
    }

    /// Things that are done once a second.
    fn keep_house(&mut self) {
        self.rounds.free_buffer();
        settle::settle(&mut self.logs, &mut self.folders, &mut self.shared);
        if let Some(mut status) = self.report.make_if_due(&mut self.logs, &self.folders, &self.shared) {
            status.rules_generation = self.telemetry.rules_generation();
            self.telemetry.set_status(status);
        }
    }

    /// Until something happens, or the next thing is due.
    fn sleep(&self, due_ms: i64) {
        let (now_ms, ship) = (self.shared.clock().mono_ms, self.shared.ship());
        let poll_ms = self.shared.config().read.poll_interval_ms as i64;
        let folders = self.folders.fd();
        let blocked = !self.room.has_room(&self.logs, &self.shared);
        if blocked {
            if !ship.await_answer(true) {
                self.poll(&[ship.answers_fd()], 4 * poll_ms);
            }
        } else if self.logs.active().is_empty() && self.logs.waiting().is_empty() {
            if !ship.await_answer(ship.unanswered() > 0) {
                self.poll(&[ship.answers_fd(), folders], due_ms - now_ms);
            }
        } else {
            let waits = ship.waits_for_flight();
            if ship.await_answer(waits) {
                return;
            }
            let answers = ship.answers_fd().filter(|_| waits);
            // Rounds begin at even intervals, however long the last one took.
            let next_ms = self.rounds.next_ms(poll_ms, now_ms).min(due_ms);
            let timeout_ms = next_ms - now_ms - self.shared.elapsed_ms();
            // What inotify tells is taken no more often than logs are looked at.
            let first_ms = poll_ms.min(timeout_ms);
            if !self.poll(&[answers], first_ms) && first_ms < timeout_ms {
                self.poll(&[answers, folders], timeout_ms - first_ms);
            }
        }
    }

    /// Until somebody wakes the reader or one of these is readable. True: it was so.
    fn poll(&self, fds: &[Option<BorrowedFd<'_>>], timeout_ms: i64) -> bool {
        let timeout_ms = timeout_ms.clamp(0, 60_000);
        let timeout = Timespec { tv_sec: timeout_ms / 1_000, tv_nsec: timeout_ms % 1_000 * 1_000_000 };
        let all = std::iter::once(self.waker.as_fd()).chain(fds.iter().copied().flatten());
        let mut all: Vec<PollFd<'_>> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let happened = poll(&mut all, Some(&timeout)).is_ok_and(|ready| ready > 0);
        if happened {
            self.waker.clear();
        }
        happened
    }

    /// SIGTERM: what was read goes out, and the checkpoint says how far that was acknowledged. Where nobody writes any more,
    /// what has no end goes too; a later start goes on behind it, and the rest of such a line is then a record of its own.
    fn finish(mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_millis(self.shared.config().read.drain_ms);
        if self.ending.nothing_follows() {
            self.take_unended(deadline);
        } else {
            self.drain(deadline);
        }
        let left = self.shared.ship().unanswered();
        self.shared.report(&self.telemetry);
        tracing::info!(unacknowledged_batches = left, "stopped reading; the checkpoint is written");
        self.keeper.finish(&self.logs, left == 0)?;
        Ok(())
    }

    /// What has no end goes as it is, also of files that are closed, as many at once as may be open.
    fn take_unended(&mut self, deadline: Instant) {
        let is_unread = |log: &&ContainerLog| log.files().is_closed_with_unread();
        let mut closed: Vec<u64> = self.logs.iter().filter(is_unread).map(ContainerLog::number).collect();
        let mut ids = self.logs.numbers();
        loop {
            self.shared.look_at_clock();
            for id in ids {
                self.rounds.take_unended(id, &mut self.logs, &mut self.shared);
            }
            self.drain(deadline);
            self.shared.look_at_clock();
            ids = self.folders.open_some_of(&mut closed, &mut self.logs, &mut self.shared);
            if ids.is_empty() || Instant::now() >= deadline {
                break;
            }
        }
        if !closed.is_empty() {
            tracing::warn!(
                logs = closed.len(),
                "the agent stops before it has read everything; it reads the rest at the next start"
            );
        }
    }

    /// Sends what was read, and waits until it is acknowledged.
    fn drain(&mut self, deadline: Instant) {
        self.shared.look_at_clock();
        let mut turn = self.shared.turn();
        self.logs.iter_mut().for_each(|log| log.cut_all(&mut turn));
        self.keeper.keep_cuts(&self.logs, &mut self.shared);
        while self.shared.ship().unanswered() > 0 && Instant::now() < deadline {
            self.shared.send();
            let logs = &mut self.logs;
            let answered = self.shared.answers(|ticket, sent| {
                if let Some(log) = logs.get_mut(sent.log) {
                    log.acknowledged(ticket, sent);
                }
            });
            if let Err(reason) = answered {
                tracing::warn!(
                    reason,
                    "the agent stops before everything is acknowledged; it sends the rest again at the next start"
                );
                break;
            }
            if self.shared.ship().unanswered() > 0 {
                self.heartbeat.beat();
                if !self.shared.ship().await_answer(true) {
                    self.poll(&[self.shared.ship().answers_fd()], 20);
                }
            }
        }
    }
}
