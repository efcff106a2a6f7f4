//! Passes the bytes that are read of one log through the pipeline into batches, and closes the batches.
//! Promises: batches of a stream and file tile it. If the agent stops waiting for the end of a record or line, it sends it
//! flagged as unfinished. The checkpoint holds that place before the record is sent. An agent that reads the file again ends the
//! record at the same place, so nothing is stored twice when the end arrives after all. A loss is recorded in the place of the
//! lost bytes, as soon as its tenant is known.

use cordwood_core::audit::AuditTrust;
use cordwood_core::checkpoint::{Cut, CutOf};
use cordwood_core::gate::Gate;
use cordwood_core::identity::OutputStream;
use cordwood_core::milestones::last_line;
use cordwood_core::pipeline::{Now, Pipeline, names_its_time};

use crate::account::Account;
use crate::collect::{Collector, OUTPUT_STREAMS};
use crate::context::Context;
use crate::files::Files;
use crate::log_id::LogId;
use crate::loss;
use crate::meter::Meter;
use crate::owner::Owner;
use crate::reading::Reading;
use crate::ship::OpenBatch;
use crate::turn::Turn;

/// One log's parts, as long as something is taken through the pipeline.
pub struct Batching<'a, 't> {
    pub log: &'a LogId,
    pub files: &'a mut Files,
    pub reading: &'a mut Reading,
    pub owner: &'a Owner,
    pub meter: &'a mut Meter,
    pub turn: &'a mut Turn<'t>,
}

impl<'t> Batching<'_, 't> {
    // ---- lines -------------------------------------------------------------------------------------------------------

    /// Feeds whole lines of a file to the pipeline, with a stop at each milestone. Gives how many bytes were taken.
    pub fn feed(&mut self, index: usize, given: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let rest = &given[taken..];
            let part = self.files[index].up_to_milestone(rest);
            let got = self.feed_part(index, part, false);
            taken += got;
            if got < part.len() || part.len() == rest.len() {
                return taken;
            }
            self.note_milestone(index, part);
        }
    }

    /// Feeds a line that has no end, and gets none.
    pub fn feed_unended(&mut self, index: usize, given: &[u8]) -> usize {
        self.feed_part(index, given, true)
    }

    fn feed_part(&mut self, index: usize, given: &[u8], unended: bool) -> usize {
        let Some(context) = self.owner.context().cloned() else { return 0 };
        let (position, format) = (self.files[index].tail.position(), self.files[index].format());
        let time_ns = self.turn.clock.wall_ns;
        let (pipeline, gate, mut collector) = self.collecting(index, &context);
        let now = Now { format, gate, audit: &context.audit, zone: context.zone.as_ref(), time_ns };
        let taken = if unended {
            pipeline.feed_unended(given, position, &now, &mut collector);
            given.len()
        } else {
            pipeline.feed(given, position, &now, &mut collector)
        };
        self.turn.tally.nul_bytes += self.reading.parts().0.take_nul_bytes();
        self.files[index].tail.advance(given, taken);
        self.meter.read(taken);
        self.turn.tally.read_bytes += taken as u64;
        taken
    }

    /// The lines that were just taken end where a milestone may be.
    fn note_milestone(&mut self, index: usize, taken: &[u8]) {
        let Some(line) = last_line(taken) else { return };
        if self.reading.has_unfinished() {
            // The next line's end may do.
            return;
        }
        let file = &mut self.files[index];
        let zone = self.owner.context().and_then(|context| context.zone.as_ref());
        let time_ns = self.turn.clock.wall_ns;
        let now =
            Now { format: file.format(), gate: self.owner.gate(), audit: &AuditTrust::Shown, zone, time_ns };
        file.note_milestone(taken, names_its_time(line, &now));
    }

    /// The pipeline, its gate, and what takes its output into the batches of one file.
    fn collecting<'b>(
        &'b mut self,
        index: usize,
        context: &'b Context,
    ) -> (&'b mut Pipeline, &'b Gate, Collector<'b, 't>) {
        let (pipeline, batches) = self.reading.parts();
        let collector = Collector::new(self.log, &mut self.files[index], batches, context, self.turn);
        (pipeline, self.owner.gate(), collector)
    }

    /// The pipeline goes over to this file. `files_max`: an unfinished record goes through no more.
    pub fn enter(&mut self, index: usize, files_max: usize) {
        if self.reading.is_in(self.files[index].seq()) {
            return;
        }
        if self.reading.files_carried_through() >= files_max {
            self.flush_unfinished();
        }
        // Batches account for the file that they were opened in.
        self.cut_all();
        if self.reading.current().is_some() {
            self.files[index].begins_within_a_record(self.reading.has_unfinished());
        }
        self.reading.enter(self.files[index].seq());
    }

    // ---- batches -----------------------------------------------------------------------------------------------------

    /// Cuts what has waited long enough, or holds an ERROR. `all_lines`: whatever holds lines.
    pub fn cut_due(&mut self, all_lines: bool) {
        let (now_ms, limits) = (self.turn.clock.mono_ms, self.turn.settings.batch);
        self.cut_where(|batch| {
            let is_empty = batch.builder.is_empty();
            let wait_ms = if is_empty { limits.counters_ms } else { limits.linger_ms };
            batch.urgent || (all_lines && !is_empty) || now_ms - batch.opened_at_ms >= wait_ms as i64
        });
    }

    pub fn cut_urgent(&mut self) {
        self.cut_where(|batch| batch.urgent);
    }

    pub fn cut_all(&mut self) {
        self.cut_where(|_| true);
    }

    fn cut_where(&mut self, due: impl Fn(&OpenBatch) -> bool) {
        if !OUTPUT_STREAMS.iter().any(|io| self.reading.open_batch(*io).is_some_and(&due)) {
            return;
        }
        let Some(context) = self.owner.context().cloned() else { return };
        for io in OUTPUT_STREAMS {
            let Some(batch) = self.reading.open_batch(io).filter(|batch| due(batch)) else { continue };
            let Some(index) = self.files.find(batch.file_seq) else { continue };
            self.collecting(index, &context).2.cut(io);
        }
    }

    // ---- what goes without its end -----------------------------------------------------------------------------------

    /// The end of what has begun is not waited for: it goes as it is.
    pub fn flush_unfinished(&mut self) {
        for io in OUTPUT_STREAMS {
            self.flush_unfinished_of(io);
        }
    }

    fn flush_unfinished_of(&mut self, io: OutputStream) {
        if !self.owner.is_known() || self.unfinished_in(io).is_none() {
            return;
        }
        if let Some(index) = self.reading.current().and_then(|seq| self.files.find(seq)) {
            let at = self.files[index].tail.position();
            self.files[index].cuts.add(Cut { at, what: CutOf::Record(io) });
            self.turn.ship.wait_for_checkpoint();
        }
        self.end_record(io);
    }

    fn end_record(&mut self, io: OutputStream) {
        let Some(context) = self.owner.context().cloned() else { return };
        let Some(index) = self.unfinished_in(io) else { return };
        let is_earlier = !self.reading.is_in(self.files[index].seq());
        if is_earlier {
            self.cut_all();
        }
        let format = self.files[index].format();
        let time_ns = self.turn.clock.wall_ns;
        let (pipeline, gate, mut collector) = self.collecting(index, &context);
        let now = Now { format, gate, audit: &context.audit, zone: context.zone.as_ref(), time_ns };
        pipeline.flush(io, &now, &mut collector);
        if is_earlier {
            self.cut_all();
        }
    }

    fn unfinished_in(&self, io: OutputStream) -> Option<usize> {
        self.files.find(self.reading.unfinished_in(io)?)
    }

    /// Ends the records that went unfinished where the file is read to now, when it was read before.
    pub fn end_at_cuts(&mut self, index: usize) {
        let file = &self.files[index];
        if file.cuts.is_empty() {
            return;
        }
        for what in file.cuts.at(file.tail.position()) {
            if let CutOf::Record(io) = what {
                self.end_record(io);
            }
        }
    }

    /// The bytes behind the file's last newline go as a line: nothing is expected behind them.
    pub fn end_line(&mut self, index: usize, rest: &[u8]) {
        if rest.is_empty() || !self.owner.is_known() {
            return;
        }
        let file = &mut self.files[index];
        file.cuts.add(Cut { at: file.tail.position() + rest.len() as u64, what: CutOf::Line });
        self.turn.ship.wait_for_checkpoint();
        self.feed_unended(index, rest);
    }

    /// Sends what has waited for its end for `wait_ms`, with nothing more to read.
    pub fn flush_overdue(&mut self, wait_ms: i64) {
        for io in OUTPUT_STREAMS {
            let waited_ms = self.reading.waited_ms(io, self.turn.clock.mono_ms);
            let is_overdue = waited_ms.is_some_and(|waited_ms| waited_ms >= wait_ms);
            if is_overdue && self.reading.is_at_end() && self.files.is_newest_as_read() {
                self.flush_unfinished_of(io);
            }
        }
    }

    // ---- losses ------------------------------------------------------------------------------------------------------

    /// Tells what cannot be read any more, once it is known whose it is.
    pub fn tell_losses(&mut self) {
        let Some(context) = self.owner.context().filter(|_| self.files.has_losses()).cloned() else { return };
        self.cut_all();
        for (seq, loss) in self.files.take_losses() {
            let Some(index) = self.files.find(seq) else { continue };
            let (log, file) = (self.log, &mut self.files[index]);
            let io = file.delivery.usual_output();
            let stream_key = self.reading.stream_key(io);
            loss::tell(Account { log, file, io, stream_key, origin: &context.origin }, loss, self.turn);
        }
    }
}
