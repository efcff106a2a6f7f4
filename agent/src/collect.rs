//! Takes the pipeline's output into the open batches of one file, and cuts them when they are full.
//! Promises: a batch accounts for one stream and one file, and tiles it with its neighbours; a record that was
//! acknowledged in an earlier life of the agent is passed over.

use std::sync::Arc;

use cordwood_core::batch::{BatchHeader, RECORD_EXTRA_BYTES_MAX};
use cordwood_core::identity::{Io, StreamKey};
use cordwood_core::level::Level;
use cordwood_core::limits::BATCH_RECORDS_MAX;
use cordwood_core::pipeline::{Kept, Output, Span};
use cordwood_core::record::Flags;

use crate::context::Context;
use crate::ship::OpenBatch;
use crate::source::Source;
use crate::tail::{LogFile, Outstanding};
use crate::turn::Turn;

/// A batch with a record from an earlier file holds that file's position back too.
pub struct Pin {
    pub ticket: u64,
    pub file_seq: u64,
    pub start: u64,
}

/// stdout or stderr.
pub struct Stream {
    pub key: Arc<StreamKey>,
    pub open: Option<OpenBatch>,
    /// When the last batch was cut.
    pub cut_at_ms: Option<i64>,
    /// Where the unfinished record lies in the files before this one: (file, from there on).
    pub carry: Vec<(u64, u64)>,
    /// The file before this one that the last part of it lies in, while none lies in this one.
    pub last_part: Option<u64>,
}

/// Takes the pipeline's output into the batches of one file.
pub struct Collector<'a, 't> {
    pub run: u64,
    pub source: &'a Source,
    pub file: &'a mut LogFile,
    pub streams: &'a mut [Stream; 2],
    pub pins: &'a mut Vec<Pin>,
    pub context: &'a Context,
    pub turn: &'a mut Turn<'t>,
    /// Bytes of records that one message has room for.
    pub room: usize,
}

impl Collector<'_, '_> {
    /// Makes room for a span in its stream's batch; `None` when it was acknowledged in an earlier life.
    #[inline]
    fn open_for(&mut self, span: &Span, body_bytes: usize) -> Option<()> {
        if span.end <= self.file.ends[span.io as usize] {
            if span.carried {
                self.streams[span.io as usize].carry.clear();
            }
            return None;
        }
        let bytes_max = self.turn.settings.batch.bytes_max.min(self.room);
        let is_full = self.streams[span.io as usize].open.as_ref().is_some_and(|batch| {
            let bytes = batch.builder.bytes();
            batch.file_seq != self.file.seq
                || batch.builder.len() >= BATCH_RECORDS_MAX
                || (bytes > 0 && bytes + body_bytes + RECORD_EXTRA_BYTES_MAX > bytes_max)
        });
        if is_full {
            self.cut(span.io);
        }
        let stream = &mut self.streams[span.io as usize];
        let batch =
            stream.open.get_or_insert_with(|| self.turn.ship.open(self.file.seq, self.turn.clock.mono_ms));
        batch.account(span);
        if span.carried {
            batch.carried_from = std::mem::take(&mut stream.carry);
        }
        Some(())
    }

    pub fn cut(&mut self, io: Io) {
        let stream = &mut self.streams[io as usize];
        let Some(batch) = stream.open.take() else { return };
        stream.cut_at_ms = Some(self.turn.clock.mono_ms);
        debug_assert_eq!(
            batch.file_seq, self.file.seq,
            "a batch accounts for the file that it was opened in"
        );
        let key = self.file.stream_key(self.source, io).map_or_else(|| Arc::clone(&stream.key), Arc::new);
        let header = BatchHeader {
            stream: (*key).clone(),
            io,
            file: self.file.id,
            restart: self.source.restart(),
            prev: self.file.ends[io as usize],
            end: batch.end,
            lines: batch.lines,
            bytes: batch.bytes,
            gated: batch.gated,
            limited: 0,
            rejected: 0,
            loss: None,
        };
        let (start, end, carried) = (batch.first_start, batch.end, batch.carried_from.clone());
        self.turn.tally.gated_records += batch.gated;
        let ticket =
            self.turn.ship.cut(self.run, batch, &key, &header, &self.context.origin, self.turn.clock.wall_ns);
        self.file.ends[io as usize] = end;
        self.file.outstanding[io as usize].push_back(Outstanding { ticket, start, end, acknowledged: false });
        self.pins.extend(carried.into_iter().map(|(file_seq, start)| Pin { ticket, file_seq, start }));
    }
}

impl Output for Collector<'_, '_> {
    #[inline]
    fn kept(&mut self, record: Kept<'_>) {
        // The topic takes no more in one message: better a part of it than nothing.
        let kept = record.body.len().min(self.room.saturating_sub(RECORD_EXTRA_BYTES_MAX));
        if self.open_for(&record.span, kept).is_none() {
            return;
        }
        let stream = &mut self.streams[record.span.io as usize];
        let Some(batch) = &mut stream.open else { return };
        let cut = (record.body.len() - kept) as u64;
        let flags = if cut > 0 { record.flags | Flags::TRUNCATED } else { record.flags };
        // A line that comes after a rest has no company to wait for.
        let is_first = batch.builder.is_empty();
        let linger_ms = self.turn.settings.batch.linger_ms.cast_signed();
        let has_rested =
            stream.cut_at_ms.is_none_or(|at| self.turn.clock.mono_ms.saturating_sub(at) >= linger_ms);
        let before = batch.builder.bytes();
        batch.builder.push(record.time_ns, record.level, flags, record.span.end, &record.body[..kept]);
        batch.urgent |= record.level == Level::Error || (is_first && has_rested);
        self.turn.ship.open_bytes += batch.builder.bytes() - before;
        self.turn.tally.records += 1;
        self.turn.tally.unparsed_records += u64::from(record.flags.has(Flags::PARSE_ERROR));
        self.turn.tally.cut_bytes += record.bytes_cut + cut;
    }

    fn gated(&mut self, span: Span) {
        if self.open_for(&span, 0).is_none() {
            return;
        }
        if let Some(batch) = &mut self.streams[span.io as usize].open {
            batch.gated += 1;
        }
    }
}
