//! One container log: reads its files in order through the pipeline into batches. Each of its parts owns its state: [`Files`]
//! (which there are), [`Reading`] (what is begun and not finished), [`Owner`] (whose the lines are), [`Meter`] (how much comes), [`Pace`] (how
//! often it is looked at).
//! Promise: everything that is not acknowledged can be read again, from the checkpoint's position.

use std::io;
use std::sync::Arc;

use cordwood_core::batch::LossRange;
use cordwood_core::checkpoint::LogCheckpoint;
use cordwood_core::identity::{FileId, NodeIdentity};
use cordwood_core::levels::LevelRules;
use cordwood_core::limits::RECORD_BYTES_MAX;
use cordwood_core::milestones::Found;
use cordwood_core::pipeline::Pipeline;
use cordwood_core::rotation::ending::{AtEnd, End};

use crate::batching::Batching;
use crate::clock::Clock;
use crate::closed::Closed;
use crate::collect::Batches;
use crate::context::Context;
use crate::files::Files;
use crate::files::rotation::Rotation;
use crate::folder::{Folder, Looks};
use crate::hole::Hole;
use crate::log_file::{LogFile, ShareEnd};
use crate::log_id::LogId;
use crate::lookup::ContextSource;
use crate::meter::Meter;
use crate::owner::{Answer, Owner};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::reading::Reading;
use crate::ship::{Sent, Shipper};
use crate::source::Source;
use crate::tail::Chunk;
use crate::turn::{CHUNK_BYTES, Turn};

/// Failed attempts in a row to read a file before the rest of it is given up.
const READ_ERRORS_MAX: u32 = 100;
/// Earlier files that an unfinished record may go through: each stays open, with its bytes on the disk, until the record's
/// end. The longest record needs twelve of 1 MiB.
const CARRY_FILES_MAX: usize = 16;

pub struct ContainerLog {
    id: LogId,
    files: Files,
    reading: Reading,
    pub owner: Owner,
    pub meter: Meter,
    pub pace: Pace,
    /// The container has started again since: another log has a higher restart count.
    is_succeeded: bool,
    /// Reading stops until the files are closed, because other logs wait for descriptors.
    yields: bool,
    opened_at_ms: i64,
}

/// How one step of reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There may be more right now.
    More,
    /// Nothing to read now; something may come.
    Idle,
    /// The file was read to its end, and nothing can be written to it any more.
    Ended,
}

impl ContainerLog {
    pub fn new(number: u64, source: Source, node: &NodeIdentity, mono_ms: i64) -> ContainerLog {
        ContainerLog {
            files: Files::default(),
            reading: Reading::new(Batches::new(&source, node)),
            owner: Owner::default(),
            meter: Meter::new(mono_ms),
            pace: Pace::default(),
            is_succeeded: false,
            yields: false,
            opened_at_ms: mono_ms,
            id: LogId::new(number, source),
        }
    }

    /// It was read in an earlier life of the agent.
    pub fn resume(&mut self, mut before: LogCheckpoint) {
        self.owner.remember(before.origin.take());
        self.files.resume(before);
    }

    pub fn id(&self) -> &LogId {
        &self.id
    }

    pub fn number(&self) -> u64 {
        self.id.number()
    }

    pub fn source(&self) -> &Source {
        self.id.source()
    }

    pub fn set_source(&mut self, source: Source) {
        self.id.set_source(source);
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    pub fn pipeline(&self) -> &Pipeline {
        self.reading.pipeline()
    }

    /// Asks whose it is.
    pub fn ask_owner(&mut self, whom: &ContextSource, clock: Clock) -> Answer {
        self.owner.ask(whom, self.id.source(), clock.mono_ms)
    }

    fn progress(&self) -> Progress<'_> {
        Progress::new(&self.files, &self.reading)
    }

    fn batching<'a, 't>(&'a mut self, turn: &'a mut Turn<'t>) -> Batching<'a, 't> {
        let ContainerLog { id, files, reading, owner, meter, .. } = self;
        Batching { log: id, files, reading, owner, meter, turn }
    }

    // ---- its folder --------------------------------------------------------------------------------------------------

    /// Looks at the folder again; see [`Rotation::refresh`].
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn refresh(
        &mut self,
        folder: Option<(&Folder, &Looks<'_>)>,
        turn: &mut Turn<'_>,
    ) -> io::Result<bool> {
        self.rotated(turn, |rotation| rotation.refresh(folder))
    }

    /// Looks whether the live file has a whole first line now. True when it has become a file of the log.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn name_unnamed(&mut self, turn: &mut Turn<'_>) -> io::Result<bool> {
        self.rotated(turn, |rotation| rotation.name_unnamed(false))
    }

    /// Something is done to its files. What was lost by it is told, if it is known whose it is.
    fn rotated<T>(
        &mut self,
        turn: &mut Turn<'_>,
        work: impl FnOnce(&mut Rotation<'_, '_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let before = self.files.last_seq();
        let done = work(&mut Rotation::new(&mut self.files, &self.id, turn));
        if self.files.last_seq() != before {
            self.reading.set_at_end(false);
        }
        self.batching(turn).tell_losses();
        done
    }

    /// What its names stand for, when all of them were looked at.
    pub fn set_mark(&mut self, mark: Option<u64>) {
        self.files.set_mark(mark);
    }

    /// Whether a look at its names can bring nothing new.
    pub fn is_as_marked(&self, mark: u64) -> bool {
        self.source().is_plain() && self.files.is_as_marked(mark)
    }

    /// Its name may stand for another file with the same inode.
    pub fn doubt_closed_file(&mut self) {
        if self.files.is_closed() {
            self.files.set_mark(None);
        }
    }

    /// The container has run again since, or not.
    pub fn set_succeeded(&mut self, is_succeeded: bool) {
        self.is_succeeded = is_succeeded;
    }

    // ---- reading -----------------------------------------------------------------------------------------------------

    /// Reads up to one chunk of the first file that has something left.
    ///
    /// # Errors
    /// When the file cannot be read; the next step tries again.
    pub fn step(&mut self, buffer: &mut Vec<u8>, turn: &mut Turn<'_>) -> io::Result<Step> {
        let step = self.step_on(buffer, turn);
        self.reading.set_at_end(matches!(step, Ok(Step::Idle)));
        step
    }

    fn step_on(&mut self, buffer: &mut Vec<u8>, turn: &mut Turn<'_>) -> io::Result<Step> {
        self.batching(turn).tell_losses();
        let Some(index) = self.files.first_unfinished() else {
            let is_over = self.files.gone_at_ms().is_some() && !self.files.has_unnamed();
            return Ok(if is_over { Step::Ended } else { Step::Idle });
        };
        let mut batching = self.batching(turn);
        batching.enter(index, CARRY_FILES_MAX);
        batching.end_at_cuts(index);
        if self.files[index].is_at_handover() && !self.hand_over(index, turn) {
            return Ok(Step::Idle);
        }
        let mut max = turn.settings.chunk_bytes;
        loop {
            let file = &mut self.files[index];
            let chunk = match file.tail.read(buffer, max) {
                Ok(chunk) => {
                    file.stage.was_read();
                    chunk
                }
                Err(error) => {
                    let failures = file.stage.failed();
                    if file.tail.is_packed() || failures >= READ_ERRORS_MAX {
                        self.give_up(index, &error, turn);
                    }
                    return Err(error);
                }
            };
            let range = match chunk {
                Chunk::Bytes(range) => range,
                Chunk::End => return Ok(self.at_end(index, &[], turn)),
                Chunk::Replaced => {
                    let is_cut = self.replaced(index, turn)?;
                    return Ok(if is_cut { Step::More } else { Step::Idle });
                }
            };
            let (given, share_end) = self.files[index].share_of(&buffer[range.clone()]);
            let full = range.len() >= max || share_end != ShareEnd::None;
            let mut batching = self.batching(turn);
            let mut taken = batching.feed(index, given);
            if share_end == ShareEnd::Cut && taken < given.len() {
                // Here a line without an end was sent.
                taken += batching.feed_unended(index, &given[taken..]);
            }
            if taken > 0 {
                batching.cut_urgent();
                self.meter.data_came(turn.clock.mono_ms);
                // A short read is the end for now: the next look says whether more has come.
                return Ok(if full || index + 1 < self.files.len() { Step::More } else { Step::Idle });
            }
            if given.first() == Some(&0) {
                let (hole, passed) = self.files[index].skip_hole(given)?;
                turn.tally.nul_bytes += passed;
                match hole {
                    Hole::None => {}
                    Hole::Skipped => return Ok(Step::More),
                    Hole::ToTheEnd(end) if self.is_file_over(index, turn) => {
                        turn.tally.nul_bytes += self.files[index].tail.pass_over(end)?;
                        return Ok(Step::More);
                    }
                    Hole::ToTheEnd(_) => return Ok(Step::Idle),
                }
            }
            if !full {
                let rest = given.to_vec();
                return Ok(self.at_end(index, &rest, turn));
            }
            max = (max * 4).min(RECORD_BYTES_MAX + 1);
        }
    }

    /// Nothing whole is left in the file now; `rest` is the beginning of a line.
    fn at_end(&mut self, index: usize, rest: &[u8], turn: &mut Turn<'_>) -> Step {
        if self.files[index].tail.is_shorter_than_it_was(rest) {
            return Step::More;
        }
        let end = self.files[index].tail.position() + rest.len() as u64;
        let known = self.known_end(index, end);
        match known.end(turn.clock.mono_ms, turn.settings.graces()) {
            End::Waits => Step::Idle,
            End::WriterIsOver => {
                self.batching(turn).end_line(index, rest);
                let file = &mut self.files[index];
                file.stage.end_with_its_writer(file.tail.position());
                turn.tally.files_finished += 1;
                Step::Idle
            }
            ended @ (End::OfFile | End::OfLog) => {
                let mut batching = self.batching(turn);
                batching.end_line(index, rest);
                if ended == End::OfLog {
                    batching.flush_unfinished();
                }
                batching.cut_all();
                self.files[index].stage.finish(turn.clock.mono_ms);
                turn.tally.files_finished += 1;
                if ended == End::OfLog { Step::Ended } else { Step::More }
            }
        }
    }

    /// What is known of a file that has nothing more to read; `end`: where that is.
    fn known_end(&self, index: usize, end: u64) -> AtEnd {
        let file = &self.files[index];
        AtEnd {
            is_last: index + 1 == self.files.len(),
            packed: file.tail.is_packed(),
            superseded_at_ms: file.stage.superseded_at_ms(),
            gone_at_ms: self.files.gone_at_ms(),
            last_data_ms: self.meter.last_data_ms(),
            is_followed: self.files.has_unnamed(),
            is_succeeded: self.is_succeeded,
            is_over: file.stage.over_at() == Some(end),
        }
    }

    /// Nobody writes into it any more.
    fn is_file_over(&self, index: usize, turn: &Turn<'_>) -> bool {
        let known = self.known_end(index, self.files[index].tail.position());
        known.is_over(turn.clock.mono_ms, turn.settings.graces())
    }

    /// The file's stream goes on under the key of now, from its first position on: the writer knows nothing of it yet, and
    /// what lies before is accounted for under the key before. False: not all of that is acknowledged yet.
    fn hand_over(&mut self, index: usize, turn: &mut Turn<'_>) -> bool {
        self.cut_all(turn);
        let is_settled = self.progress().is_settled(&self.files[index]);
        if is_settled {
            self.files[index].hand_over();
        }
        is_settled
    }

    /// The file no longer holds what was read from it, or is shorter than it was. False: not all that was read of it is
    /// acknowledged yet, and what is left of it may be needed again.
    fn replaced(&mut self, index: usize, turn: &mut Turn<'_>) -> io::Result<bool> {
        self.flush_unfinished(turn);
        self.cut_all(turn);
        if !self.progress().is_settled(&self.files[index]) {
            return Ok(false);
        }
        let Found::Cut { at, unread } = self.files[index].compare_now()? else {
            self.files[index].tail.is_as_before();
            return Ok(true);
        };
        let reason = "cut short, emptied or rewritten in place before it was read";
        let unread = Some(unread).filter(|unread| !unread.is_empty());
        self.rotated(turn, |rotation| rotation.go_on_as_another(index, at, unread, reason))?;
        Ok(true)
    }

    /// The file cannot be read: the rest of it is lost, and the next one has its turn.
    fn give_up(&mut self, index: usize, error: &io::Error, turn: &mut Turn<'_>) {
        self.flush_unfinished(turn);
        let tail = &self.files[index].tail;
        let (from, bytes) = (tail.position(), tail.size_seen().saturating_sub(tail.position()));
        let reason = format!("it cannot be read: {error}");
        self.lose_rest(index, LossRange { from, bytes, exact: false, reason }, turn);
    }

    /// Closes a deleted file that the agent still holds open. If its position is known, reading can resume in a `.gz` copy; otherwise the
    /// unread bytes become a loss.
    fn close_removed(&mut self, index: usize, turn: &mut Turn<'_>) {
        let position = self.progress().position(&self.files[index]);
        if self.files.is_known_by_name(index) && self.files[index].tail.position() == position {
            let as_read = self.progress().checkpoint_of(&self.files[index]);
            self.files.read_on_in_copy(index, as_read);
            return;
        }
        // A record that began in this file must not be joined with lines of the next file.
        self.flush_unfinished(turn);
        let tail = &self.files[index].tail;
        let (from, bytes) = (tail.position(), tail.known_size().saturating_sub(tail.position()));
        let reason = "removed by the node, and too much was held open already".to_owned();
        self.lose_rest(index, LossRange { from, bytes, exact: true, reason }, turn);
    }

    fn lose_rest(&mut self, index: usize, loss: LossRange, turn: &mut Turn<'_>) {
        self.files[index].tail.close();
        self.files[index].stage.finish(turn.clock.mono_ms);
        self.files.lose(index, loss);
        self.batching(turn).tell_losses();
    }

    /// Closes the oldest deleted file that is held open. False: there is none.
    pub fn close_oldest_removed(&mut self, turn: &mut Turn<'_>) -> bool {
        let oldest = self.files.held_removed().next();
        if let Some((index, _)) = oldest {
            self.close_removed(index, turn);
        }
        oldest.is_some()
    }

    /// Reads the log to its end when nothing is written to it any more, and sends its last line even without a newline.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn take_unended(&mut self, buffer: &mut Vec<u8>, turn: &mut Turn<'_>) -> io::Result<()> {
        if !self.owner.is_known() {
            return Ok(());
        }
        self.rotated(turn, |rotation| rotation.name_unnamed(true))?;
        while self.step(buffer, turn)? == Step::More {}
        let Some(index) = self.files.first_unfinished() else { return Ok(()) };
        let mut max = CHUNK_BYTES;
        while let Chunk::Bytes(range) = self.files[index].tail.read(buffer, max)? {
            if range.len() < max || max > RECORD_BYTES_MAX {
                let rest = buffer[range].to_vec();
                self.batching(turn).end_line(index, &rest);
                break;
            }
            max = (max * 4).min(RECORD_BYTES_MAX + 1);
        }
        self.flush_unfinished(turn);
        Ok(())
    }

    // ---- batches -----------------------------------------------------------------------------------------------------

    /// Sets the owner of the log, for the first time or after a change. Loss records that waited for the owner are sent now.
    pub fn set_context(&mut self, context: Arc<Context>, rules: &LevelRules, turn: &mut Turn<'_>) {
        // Records that were read before the change keep the owner that was known then.
        self.cut_all(turn);
        self.owner.set(context, rules);
        self.batching(turn).tell_losses();
    }

    /// Cuts what has waited long enough, or holds an ERROR. `all_lines`: whatever holds lines.
    pub fn cut_due(&mut self, all_lines: bool, turn: &mut Turn<'_>) {
        self.batching(turn).cut_due(all_lines);
    }

    pub fn cut_all(&mut self, turn: &mut Turn<'_>) {
        self.batching(turn).cut_all();
    }

    /// Records that have begun go without their ends.
    pub fn flush_unfinished(&mut self, turn: &mut Turn<'_>) {
        self.batching(turn).flush_unfinished();
    }

    /// Sends what has waited for its end for `wait_ms`, with nothing more to read; at once where the container has run again
    /// since, because its end cannot come any more.
    pub fn flush_overdue(&mut self, wait_ms: i64, turn: &mut Turn<'_>) {
        let wait_ms = if self.is_succeeded { 0 } else { wait_ms };
        self.batching(turn).flush_overdue(wait_ms);
    }

    /// A batch of it is safe.
    pub fn acknowledged(&mut self, ticket: u64, sent: Sent) {
        self.reading.acknowledged(ticket);
        let Some(index) = self.files.find(sent.file_seq) else { return };
        self.files[index].delivery.acknowledge(sent.io, ticket);
        if !self.files[index].cuts.is_empty() {
            let position = self.progress().position(&self.files[index]);
            self.files[index].cuts.acknowledged(position);
        }
    }

    /// Everything that is not acknowledged is to be read again.
    pub fn go_back(&mut self, ship: &mut Shipper) {
        let positions = self.progress().positions();
        self.reading.discard(ship);
        self.files.go_back(&positions);
    }

    // ---- rest and end ------------------------------------------------------------------------------------------------

    /// Files that are read to their end and acknowledged leave memory; files that grew after all are read on.
    pub fn settle(&mut self, clock: Clock, linger_ms: i64) {
        let mut index = 0;
        while index < self.files.len() {
            let finished_at_ms = self.files[index].stage.finished_at_ms();
            if finished_at_ms.is_some() && self.files.read_on_if_grown(index) {
                let log_file = &self.files[index].name;
                tracing::info!(log = self.id.key(), log_file, "a rotated file still grew");
            } else if finished_at_ms.is_some_and(|at_ms| clock.mono_ms - at_ms >= linger_ms)
                && self.progress().is_settled(&self.files[index])
            {
                self.files.leave(index);
                continue;
            }
            index += 1;
        }
    }

    /// Whether inotify alone can tell when there is something to do again.
    pub fn may_rest(&self) -> bool {
        self.files.is_settled()
            && (!self.is_succeeded || self.files.iter().all(LogFile::is_over))
            && !self.reading.has_open_batch()
            && !self.reading.has_unfinished()
            && self.owner.is_known()
    }

    /// Nothing is left of it, neither on disk nor on its way.
    pub fn is_over(&self) -> bool {
        self.files.is_over() && !self.reading.has_open_batch()
    }

    /// Its key, and what its files began with: all that is remembered of it when it is over.
    pub fn into_remembered(self) -> (String, Vec<(FileId, FileId)>) {
        (self.id.key().to_owned(), self.files.register().generations().to_vec())
    }

    pub fn checkpoint(&self) -> LogCheckpoint {
        let (namespace, pod) = self.source().pod();
        LogCheckpoint {
            key: self.id.key().to_owned(),
            origin: self.owner.origin().cloned(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            files: self.progress().checkpoint(),
            generations: self.files.register().generations().to_vec(),
            since_ns: self.files.register().since_ns(),
        }
    }

    /// Looks at the sizes on disk, so that lag and growth are known also while nothing is read.
    pub fn measure(&mut self, clock: Clock) {
        self.files.look_at_sizes();
        self.meter.measure(self.files.lag_bytes(), clock.mono_ms);
    }

    // ---- its share of the descriptors --------------------------------------------------------------------------------

    /// Something is opened of it: its share begins.
    pub fn begin_share(&mut self, clock: Clock) {
        self.opened_at_ms = clock.mono_ms;
    }

    pub fn opened_at_ms(&self) -> i64 {
        self.opened_at_ms
    }

    /// Nothing more is read of it until its files are closed.
    pub fn yields(&self) -> bool {
        self.yields
    }

    pub fn set_yields(&mut self, yields: bool) {
        self.yields = yields;
    }

    /// Something of it can only be read on: then it does not yield.
    pub fn keep_what_must_be_read(&mut self) {
        // (Whether a file has a name is asked of the file system: only where it matters.)
        self.yields = self.yields && !self.must_read_on();
    }

    pub fn is_at_end(&self) -> bool {
        self.reading.is_at_end()
    }

    pub fn has_unfinished(&self) -> bool {
        self.reading.has_unfinished()
    }

    /// Whether there is something that only reading on can bring to its end: it may not be asked to wait.
    pub fn must_read_on(&self) -> bool {
        let is_over = |file: &LogFile| file.stage.is_finished() && self.progress().is_settled(file);
        self.files.has_losses() || self.files.has_nameless(is_over)
    }

    /// Whether nothing is lost when its files are closed now.
    pub fn may_close(&self) -> bool {
        self.files.descriptors() > 0
            && !self.reading.has_open_batch()
            && self.files.iter().all(|file| file.delivery.is_all_acknowledged())
            && !self.must_read_on()
    }

    /// All of its newest file, as far as it was seen, is read.
    pub fn is_newest_read(&self) -> bool {
        self.files.newest().is_none_or(|file| file.tail.position() >= file.tail.size_seen())
    }

    /// Closes its files; what is not read of them is read when they are opened again.
    pub fn close(&mut self, has_unread: bool) {
        let progress = Progress::new(&self.files, &self.reading);
        let files: Vec<_> =
            self.files.iter().map(|file| (file.seq(), progress.checkpoint_of(file))).collect();
        self.files.close(has_unread, files);
        self.reading.close();
        self.yields = false;
    }

    /// It waits for a descriptor. True: it did not before.
    pub fn want_descriptor(&mut self) -> bool {
        self.files.want_descriptor()
    }

    /// What is known of its files while they are closed.
    pub fn closed_mut(&mut self) -> Option<&mut Closed> {
        self.files.closed_mut()
    }
}
