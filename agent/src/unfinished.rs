//! Records and lines whose end has not come: when it is not waited for any more, how they go then, and where that was.
//! Promises: what goes unfinished is flagged; whoever reads the file again ends it at the same place, so that nothing of it
//! is stored twice when its end comes after all. The place is on the disk before the record is sent.

use cordwood_core::checkpoint::{Cut, CutOf};
use cordwood_core::identity::OutputStream;
use cordwood_core::pipeline::Now;

use crate::collect::OUTPUT_STREAMS;
use crate::container_log::ContainerLog;
use crate::tail::LogFile;
use crate::turn::Turn;

impl ContainerLog {
    /// The end of what has begun is not waited for: it goes as it is.
    pub fn flush_unfinished(&mut self, turn: &mut Turn<'_>) {
        for io in OUTPUT_STREAMS {
            self.flush_unfinished_of(io, turn);
        }
    }

    fn flush_unfinished_of(&mut self, io: OutputStream, turn: &mut Turn<'_>) {
        if !self.owner.is_known() || self.unfinished_in(io).is_none() {
            return;
        }
        let current = self.current;
        if let Some(file) = self.files.iter_mut().find(|file| Some(file.seq) == current) {
            file.cuts.add(Cut { at: file.position, what: CutOf::Record(io) });
            turn.ship.wait_for_checkpoint = true;
        }
        self.end_record(io, turn);
    }

    fn end_record(&mut self, io: OutputStream, turn: &mut Turn<'_>) {
        let Some(context) = self.owner.context().cloned() else { return };
        let Some(index) = self.unfinished_in(io) else { return };
        let is_earlier = self.current != Some(self.files[index].seq);
        if is_earlier {
            self.cut_all(turn);
        }
        let format = self.files[index].format;
        let time_ns = turn.clock.wall_ns;
        let (pipeline, gate, mut collector) = self.collecting(index, &context, turn);
        let now = Now { format, gate, zone: context.zone.as_ref(), time_ns };
        pipeline.flush(io, &now, &mut collector);
        if is_earlier {
            self.cut_all(turn);
        }
    }

    /// The file that the last part of the unfinished record of `io` lies in.
    fn unfinished_in(&self, io: OutputStream) -> Option<usize> {
        self.pipeline.pending_start(io)?;
        let seq = if self.pipeline.ends_here(io) { self.current } else { self.batches.last_part(io) };
        self.files.iter().position(|file| Some(file.seq) == seq)
    }

    /// Ends the records that went unfinished where the file is read to now, when it was read before.
    pub fn end_at_cuts(&mut self, index: usize, turn: &mut Turn<'_>) {
        let file = &self.files[index];
        if file.cuts.is_empty() {
            return;
        }
        let here = file.cuts.at(file.position);
        for what in here {
            if let CutOf::Record(io) = what {
                self.end_record(io, turn);
            }
        }
    }

    /// The bytes behind the file's last newline go as a line: nothing is expected behind them.
    pub fn end_line(&mut self, index: usize, rest: &[u8], turn: &mut Turn<'_>) {
        if rest.is_empty() || !self.owner.is_known() {
            return;
        }
        let file = &mut self.files[index];
        file.cuts.add(Cut { at: file.position + rest.len() as u64, what: CutOf::Line });
        turn.ship.wait_for_checkpoint = true;
        self.feed(index, rest, true, turn);
    }

    /// Sends what has waited for its end for `wait_ms`, with nothing more to read; at once where the container has run
    /// again since, because its end cannot come any more.
    pub fn flush_overdue(&mut self, wait_ms: i64, turn: &mut Turn<'_>) {
        for io in OUTPUT_STREAMS {
            let pending = self.pipeline.pending(io);
            let waited_ms = self.waited[io as usize].waited_ms(pending, turn.clock.mono_ms);
            let is_over = self.is_succeeded || waited_ms >= wait_ms;
            if pending.is_some() && is_over && self.is_read_to_its_end() {
                self.flush_unfinished_of(io, turn);
            }
        }
    }

    /// Whether some record has begun and not ended.
    pub fn has_unfinished(&self) -> bool {
        OUTPUT_STREAMS.iter().any(|io| self.pipeline.pending_start(*io).is_some())
    }

    /// The last step found nothing more, and nothing was written since.
    fn is_read_to_its_end(&self) -> bool {
        let unchanged = |file: &LogFile| file.stat().is_ok_and(|stat| stat.size == file.size);
        self.at_end && self.unnamed.is_none() && self.files.back().is_some_and(unchanged)
    }
}
