//! One run of one container (or one path): reads its files in order through the pipeline into batches.
//! Promises: the files are one sequence, older before newer; batches of a stream and file tile it; what was not
//! acknowledged can be read again from where the checkpoint says.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use cordwood_core::batch::LossRange;
use cordwood_core::gate::Gate;
use cordwood_core::identity::NodeIdentity;
use cordwood_core::levels::LevelRules;
use cordwood_core::limits::RECORD_BYTES_MAX;
use cordwood_core::pipeline::{Format, Now, Pipeline};
use cordwood_core::rotation::Register;
use cordwood_core::rotation::ending::{AtEnd, End};

use crate::closed::Closed;
use crate::collect::{Batches, Collector, OUTPUT_STREAMS};
use crate::context::Context;
use crate::meter::Meter;
use crate::owner::Owner;
use crate::ship::OpenBatch;
use crate::source::Source;
use crate::tail::{Bytes, Chunk, LogFile};
use crate::truncated::Hole;
use crate::turn::Turn;
use crate::waited::Waited;

/// Failed attempts in a row to read a file before the rest of it is given up.
const READ_ERRORS_MAX: u32 = 100;
/// Earlier files that an unfinished record may go through: each stays open, with its bytes on the disk, until the record's
/// end. The longest record needs twelve of 1 MiB.
const CARRY_FILES_MAX: usize = 16;

pub struct ContainerLog {
    pub id: u64,
    /// `<pod uid>/<container>/<restart>`, or `file:<path>`.
    pub key: String,
    pub source: Source,
    /// The file that is written to now.
    pub live_name: String,
    /// Oldest first.
    pub files: VecDeque<LogFile>,
    /// What is known of its files beside those that are open.
    pub register: Register,
    /// What its names stood for when all of them had been looked at.
    pub mark: Option<u64>,
    pub symlink_warned: bool,
    /// A live file whose first line is not whole yet.
    pub unnamed: Option<(String, std::fs::File)>,
    next_seq: u64,
    pub owner: Owner,
    /// When its folder was seen to be gone.
    pub gone_at_ms: Option<i64>,
    pub meter: Meter,
    pub pipeline: Pipeline,
    pub batches: Batches,
    /// Losses that cannot be told yet, because whose they are is not known.
    pub losses: Vec<(u64, LossRange)>,
    /// The file that the pipeline is in.
    pub current: Option<u64>,
    /// Unfinished records, by output, as they were at the last look.
    pub waited: [Waited; 2],
    /// The last step found nothing more to read.
    pub at_end: bool,
    /// The container has run again since.
    pub is_succeeded: bool,
    /// Its files were closed, or never opened, because others needed the descriptors; until it was looked at in whole again.
    pub parked: Option<Closed>,
    /// Nothing more is read of it until its files are closed: others wait for descriptors.
    pub yields: bool,
    pub opened_at_ms: i64,
}

/// What one step of reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There may be more right now.
    More,
    /// Nothing to read now; something may come.
    Idle,
    /// Read to its end, for good.
    Ended,
}

impl ContainerLog {
    pub fn new(id: u64, key: String, source: Source, node: &NodeIdentity, mono_ms: i64) -> ContainerLog {
        ContainerLog {
            id,
            key,
            live_name: source.live_name(),
            files: VecDeque::new(),
            register: Register::default(),
            mark: None,
            symlink_warned: false,
            unnamed: None,
            next_seq: 0,
            owner: Owner::default(),
            gone_at_ms: None,
            meter: Meter::new(mono_ms),
            pipeline: Pipeline::new(),
            batches: Batches::new(&source, node),
            losses: Vec::new(),
            current: None,
            waited: [Waited::default(); 2],
            at_end: false,
            is_succeeded: false,
            parked: None,
            yields: false,
            opened_at_ms: mono_ms,
            source,
        }
    }

    pub fn take_seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }

    /// Reads up to one chunk of the first file that has something left.
    ///
    /// # Errors
    /// When the file cannot be read; the next step tries again.
    pub fn step(&mut self, buffer: &mut Vec<u8>, turn: &mut Turn<'_>) -> io::Result<Step> {
        let step = self.step_on(buffer, turn);
        self.at_end = matches!(step, Ok(Step::Idle));
        step
    }

    fn step_on(&mut self, buffer: &mut Vec<u8>, turn: &mut Turn<'_>) -> io::Result<Step> {
        if !self.losses.is_empty() {
            self.tell_losses(turn);
        }
        let Some(index) = self.files.iter().position(|file| file.finished_at_ms.is_none()) else {
            return Ok(if self.gone_at_ms.is_some() && self.unnamed.is_none() {
                Step::Ended
            } else {
                Step::Idle
            });
        };
        if self.current != Some(self.files[index].seq) {
            if self.batches.files_carried_through() >= CARRY_FILES_MAX {
                self.flush_unfinished(turn);
            }
            // Batches account for the file that they were opened in.
            self.cut_all(turn);
        }
        self.enter(index);
        self.end_at_cuts(index, turn);
        if self.files[index].is_at_handover() && !self.hand_over(index, turn) {
            return Ok(Step::Idle);
        }
        let mut max = turn.settings.chunk_bytes;
        loop {
            let file = &mut self.files[index];
            let chunk = match file.read(buffer, max) {
                Ok(chunk) => {
                    file.read_errors = 0;
                    chunk
                }
                Err(error) => {
                    let gives_up = file.is_gzip() || file.read_errors >= READ_ERRORS_MAX;
                    file.read_errors += 1;
                    if gives_up {
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
            let file = &self.files[index];
            let (given, at_cut) = file.cuts.split(&buffer[range.clone()], file.position);
            let (given, is_shared) = file.under_one_key(given);
            let full = range.len() >= max || is_shared || at_cut;
            let mut taken = self.feed(index, given, false, turn);
            if at_cut && !is_shared && taken < given.len() {
                // Here a line without an end was sent.
                taken += self.feed(index, &given[taken..], true, turn);
            }
            if taken > 0 {
                self.meter.data_came(turn.clock.mono_ms);
                self.cut_urgent(turn);
                // A short read is the end for now: the next look says whether more has come.
                return Ok(if full || index + 1 < self.files.len() { Step::More } else { Step::Idle });
            }
            if given.first() == Some(&0) {
                match self.files[index].skip_hole(given, turn.tally)? {
                    Hole::None => {}
                    Hole::Skipped => return Ok(Step::More),
                    Hole::ToTheEnd(end) if self.is_file_over(index, turn) => {
                        self.files[index].pass_over(end, turn.tally)?;
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

    /// Feeds whole lines to the pipeline, with a stop at each milestone. Gives how many bytes were taken.
    pub fn feed(&mut self, index: usize, given: &[u8], unended: bool, turn: &mut Turn<'_>) -> usize {
        let mut taken = 0;
        loop {
            let rest = &given[taken..];
            let part = if unended { rest } else { self.files[index].up_to_milestone(rest) };
            let got = self.feed_part(index, part, unended, turn);
            taken += got;
            if got < part.len() || part.len() == rest.len() {
                return taken;
            }
            self.note_milestone(index, part, turn.clock);
        }
    }

    fn feed_part(&mut self, index: usize, given: &[u8], unended: bool, turn: &mut Turn<'_>) -> usize {
        let Some(context) = self.owner.context().cloned() else { return 0 };
        let (position, format) = (self.files[index].position, self.files[index].format);
        let time_ns = turn.clock.wall_ns;
        let (pipeline, gate, mut collector) = self.collecting(index, &context, turn);
        let now = Now { format, gate, zone: context.zone.as_ref(), time_ns };
        let taken = if unended {
            pipeline.feed_unended(given, position, &now, &mut collector);
            given.len()
        } else {
            pipeline.feed(given, position, &now, &mut collector)
        };
        turn.tally.nul_bytes += self.pipeline.take_nul_bytes();
        let file = &mut self.files[index];
        file.advance(given, taken);
        self.meter.read(taken);
        turn.tally.read_bytes += taken as u64;
        taken
    }

    /// Nothing whole is left in the file now; `rest` is the beginning of a line.
    fn at_end(&mut self, index: usize, rest: &[u8], turn: &mut Turn<'_>) -> Step {
        if self.files[index].is_shorter_than_it_was(rest) {
            return Step::More;
        }
        let end = self.files[index].position + rest.len() as u64;
        let known = self.known_end(index, end);
        match known.end(turn.clock.mono_ms, turn.settings.graces()) {
            End::Waits => Step::Idle,
            End::WriterIsOver => {
                self.end_line(index, rest, turn);
                self.files[index].over_at = Some(self.files[index].position);
                turn.tally.files_finished += 1;
                Step::Idle
            }
            ended @ (End::OfFile | End::OfLog) => {
                self.end_line(index, rest, turn);
                if ended == End::OfLog {
                    self.flush_unfinished(turn);
                }
                self.cut_all(turn);
                self.files[index].finished_at_ms = Some(turn.clock.mono_ms);
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
            packed: file.is_gzip(),
            superseded_at_ms: file.superseded_at_ms,
            gone_at_ms: self.gone_at_ms,
            last_data_ms: self.meter.last_data_ms(),
            is_followed: self.unnamed.is_some(),
            is_succeeded: self.is_succeeded,
            is_over: file.over_at == Some(end),
        }
    }

    /// Nobody writes into it any more.
    fn is_file_over(&self, index: usize, turn: &Turn<'_>) -> bool {
        let known = self.known_end(index, self.files[index].position);
        known.is_over(turn.clock.mono_ms, turn.settings.graces())
    }

    /// The pipeline, its gate, and what takes its output into the batches of one file.
    pub fn collecting<'a, 't>(
        &'a mut self,
        index: usize,
        context: &'a Context,
        turn: &'a mut Turn<'t>,
    ) -> (&'a mut Pipeline, &'a Gate, Collector<'a, 't>) {
        let ContainerLog { id, source, files, batches, pipeline, owner, .. } = self;
        let file = &mut files[index];
        (pipeline, owner.gate(), Collector::new(*id, source, file, batches, context, turn))
    }

    /// The pipeline goes over to this file.
    fn enter(&mut self, index: usize) {
        let seq = self.files[index].seq;
        if self.current == Some(seq) {
            return;
        }
        if let Some(before) = self.current {
            if self.files[index].position == 0 {
                self.files[index].continues =
                    OUTPUT_STREAMS.iter().any(|io| self.pipeline.pending_start(*io).is_some());
            }
            self.batches.carry_over(before, &self.pipeline);
            self.pipeline.next_file();
        }
        self.current = Some(seq);
    }

    /// Whose it is is known (anew). Losses that waited for it go now.
    pub fn set_context(&mut self, context: Arc<Context>, rules: &LevelRules, turn: &mut Turn<'_>) {
        // What was read so far goes under what was known then.
        self.cut_all(turn);
        self.owner.set(context, rules);
        self.tell_losses(turn);
    }

    /// Cuts what is full, has waited long enough, or holds an ERROR.
    pub fn cut_due(&mut self, turn: &mut Turn<'_>) {
        let (now_ms, limits) = (turn.clock.mono_ms, turn.settings.batch);
        self.cut_where(turn, |batch| {
            let wait_ms = if batch.builder.is_empty() { limits.counters_ms } else { limits.linger_ms };
            batch.urgent || now_ms - batch.opened_at_ms >= wait_ms as i64
        });
    }

    fn cut_urgent(&mut self, turn: &mut Turn<'_>) {
        self.cut_where(turn, |batch| batch.urgent);
    }

    pub fn cut_all(&mut self, turn: &mut Turn<'_>) {
        self.cut_where(turn, |_| true);
    }

    fn cut_where(&mut self, turn: &mut Turn<'_>, due: impl Fn(&OpenBatch) -> bool) {
        if !OUTPUT_STREAMS.iter().any(|io| self.batches.open(*io).is_some_and(&due)) {
            return;
        }
        let Some(context) = self.owner.context().cloned() else { return };
        for io in OUTPUT_STREAMS {
            let Some(batch) = self.batches.open(io).filter(|batch| due(batch)) else { continue };
            let Some(index) = self.files.iter().position(|file| file.seq == batch.file_seq) else { continue };
            self.collecting(index, &context, turn).2.cut(io);
        }
    }

    pub fn has_open_batch(&self) -> bool {
        OUTPUT_STREAMS.iter().any(|io| self.batches.open(*io).is_some())
    }

    /// Bytes on disk that are not read yet, as far as sizes are known.
    pub fn lag_bytes(&self) -> u64 {
        let readable = self.files.iter().filter(|file| !matches!(file.bytes, Bytes::Gone));
        let closed = u64::from(self.is_parked_with_unread());
        readable.map(|file| file.known_size().saturating_sub(file.position)).sum::<u64>() + closed
    }

    /// Whether a look at its names can bring nothing new: they are the same, and stand for the one file that is held open
    /// (so that no other can have its inode).
    pub fn is_as_marked(&self, mark: u64) -> bool {
        if self.is_parked() && self.was_all_read() {
            return self.mark == Some(mark) && self.source.is_plain();
        }
        self.mark == Some(mark)
            && self.source.is_plain()
            && self.files.len() == 1
            && self.files.iter().all(|file| matches!(file.bytes, Bytes::File(_)) && !file.is_removed())
            && self.register.resume().is_empty()
            && self.unnamed.is_none()
            && self.gone_at_ms.is_none()
    }

    /// Whether inotify alone can tell when there is something to do again.
    pub fn may_rest(&self) -> bool {
        let settled = self.files.iter().all(|file| {
            file.finished_at_ms.is_none()
                && file.superseded_at_ms.is_none()
                && file.changed.is_none()
                && !file.is_at_handover()
        });
        settled
            && (!self.is_succeeded || self.files.iter().all(LogFile::is_over))
            && self.gone_at_ms.is_none()
            && !self.has_open_batch()
            && !self.has_unfinished()
            && self.owner.is_known()
    }

    /// The file that is to be watched while the run rests.
    pub fn resting_handle(&self) -> Option<&std::fs::File> {
        if let Some((_, handle)) = &self.unnamed {
            return Some(handle);
        }
        match &self.files.back()?.bytes {
            Bytes::File(handle) => Some(handle),
            Bytes::Gzip { .. } | Bytes::Gone => None,
        }
    }

    /// Whether something was written between the last look and the watch.
    pub fn grew_meanwhile(&self) -> bool {
        match (&self.unnamed, self.files.back()) {
            (Some((_, handle)), _) => crate::folder::stat_of(handle).is_ok_and(|stat| stat.size > 0),
            (None, Some(file)) => !file.is_gzip() && file.stat().is_ok_and(|stat| stat.size != file.size),
            (None, None) => false,
        }
    }

    /// Nothing is left of it, neither on disk nor on its way.
    pub fn is_over(&self) -> bool {
        self.gone_at_ms.is_some() && self.files.is_empty() && self.unnamed.is_none() && !self.has_open_batch()
    }

    pub fn format_of(&self, head: &[u8]) -> Format {
        self.source.format(head)
    }
}
