//! Adds the pipeline's output to the open batches of one file, and closes a batch when it is full.
//! Promises: a batch accounts for one stream and one file, and tiles it with its neighbours; a record that Kafka acknowledged
//! before the agent restarted is skipped.

use std::sync::Arc;

use cordwood_core::audit::AuditTrust;
use cordwood_core::batch::{RECORD_EXTRA_BYTES_MAX, envelope_bytes_max};
use cordwood_core::identity::{NodeIdentity, OutputStream, StreamKey};
use cordwood_core::level::Level;
use cordwood_core::limits::{BATCH_RECORDS_MAX, LINE_TENANT_BYTES_MAX};
use cordwood_core::origin::Origin;
use cordwood_core::pipeline::{Kept, Output, Pipeline, Span};
use cordwood_core::record::Flags;

use crate::account::Account;
use crate::context::Context;
use crate::log_file::LogFile;
use crate::log_id::LogId;
use crate::ship::{OpenBatch, Shipper};
use crate::source::Source;
use crate::turn::Turn;

pub const OUTPUT_STREAMS: [OutputStream; 2] = [OutputStream::Stdout, OutputStream::Stderr];

/// A batch with a record from an earlier file holds that file's position back too.
struct Pin {
    ticket: u64,
    file_seq: u64,
    start: u64,
}

/// stdout or stderr.
struct Stream {
    key: Arc<StreamKey>,
    open: Option<OpenBatch>,
    /// When the last batch was cut.
    cut_at_ms: Option<i64>,
    /// Where the unfinished record lies in the files before this one: (file, from there on).
    carry: Vec<(u64, u64)>,
    /// The file before this one that the last part of it lies in, while none lies in this one.
    last_part: Option<u64>,
}

/// The open batches of one log, and what of earlier files its batches hold back.
pub struct Batches {
    streams: [Stream; 2],
    pins: Vec<Pin>,
}

impl Batches {
    pub fn new(source: &Source, node: &NodeIdentity) -> Batches {
        let stream = |io| Stream {
            key: Arc::new(source.stream_key(Some(node), io)),
            open: None,
            cut_at_ms: None,
            carry: Vec::new(),
            last_part: None,
        };
        Batches { streams: OUTPUT_STREAMS.map(stream), pins: Vec::new() }
    }

    pub fn key(&self, io: OutputStream) -> &Arc<StreamKey> {
        &self.streams[io as usize].key
    }

    pub fn open(&self, io: OutputStream) -> Option<&OpenBatch> {
        self.streams[io as usize].open.as_ref()
    }

    /// Through how many files an unfinished record goes.
    pub fn files_carried_through(&self) -> usize {
        self.streams.iter().map(|stream| stream.carry.len()).max().unwrap_or(0)
    }

    /// The unfinished record began in an earlier file than the one that is read.
    pub fn is_carried(&self, io: OutputStream) -> bool {
        !self.streams[io as usize].carry.is_empty()
    }

    /// The file that the last part of an unfinished record lies in, while none lies in the file that is read.
    pub fn last_part(&self, io: OutputStream) -> Option<u64> {
        self.streams[io as usize].last_part
    }

    /// The pipeline leaves the file `before`: what is unfinished goes on in the next.
    pub fn carry_over(&mut self, before: u64, pipeline: &Pipeline) {
        for (io, stream) in OUTPUT_STREAMS.into_iter().zip(&mut self.streams) {
            if pipeline.ends_here(io) {
                stream.last_part = Some(before);
            }
            match pipeline.pending_start(io) {
                Some(start) if stream.carry.is_empty() => stream.carry.push((before, start)),
                // It goes through the whole of this file.
                Some(_) => stream.carry.push((before, 0)),
                None => stream.carry.clear(),
            }
        }
    }

    /// Where the first byte of a file lies that an open or unacknowledged batch, or an unfinished record, holds back.
    pub fn held_from(&self, file_seq: u64) -> Option<u64> {
        let of_file = |places: &[(u64, u64)]| {
            places.iter().filter(|(seq, _)| *seq == file_seq).map(|(_, start)| *start).min()
        };
        let open = self.streams.iter().filter_map(|stream| stream.open.as_ref()).flat_map(|batch| {
            let start = (batch.file_seq == file_seq).then_some(batch.first_start);
            start.into_iter().chain(of_file(&batch.carried_from))
        });
        let carried = self.streams.iter().filter_map(|stream| of_file(&stream.carry));
        let pinned = self.pins.iter().filter(|pin| pin.file_seq == file_seq).map(|pin| pin.start);
        open.chain(carried).chain(pinned).min()
    }

    pub fn acknowledged(&mut self, ticket: u64) {
        self.pins.retain(|pin| pin.ticket != ticket);
    }

    /// What is not acknowledged will be read again.
    pub fn discard(&mut self, ship: &mut Shipper) {
        for stream in &mut self.streams {
            if let Some(batch) = stream.open.take() {
                ship.discard(batch);
            }
            stream.carry.clear();
        }
        self.pins.clear();
    }

    /// The log's files are closed; all that was read of them is acknowledged.
    pub fn close(&mut self) {
        self.pins.clear();
        for stream in &mut self.streams {
            stream.carry.clear();
            stream.last_part = None;
        }
    }
}

/// Takes the pipeline's output into the batches of one file.
pub struct Collector<'a, 't> {
    log: &'a LogId,
    file: &'a mut LogFile,
    batches: &'a mut Batches,
    context: &'a Context,
    turn: &'a mut Turn<'t>,
    /// Bytes of records that one message has room for.
    room: usize,
}

impl<'a, 't> Collector<'a, 't> {
    pub fn new(
        log: &'a LogId,
        file: &'a mut LogFile,
        batches: &'a mut Batches,
        context: &'a Context,
        turn: &'a mut Turn<'t>,
    ) -> Collector<'a, 't> {
        // (A path is in the key and in the origin; stdout's key is as long as stderr's.)
        let envelope_bytes = envelope_bytes_max(batches.key(OutputStream::Stdout), &context.origin);
        let tenant_bytes = context.line_tenants.as_ref().map_or(0, |_| 2 * LINE_TENANT_BYTES_MAX);
        let room = turn.settings.message_bytes_max.saturating_sub(envelope_bytes + tenant_bytes);
        Collector { log, file, batches, context, turn, room }
    }
}

impl Collector<'_, '_> {
    /// Makes room for a span in its stream's batch; `None` when it was acknowledged in an earlier life.
    #[inline]
    fn open_for(&mut self, span: &Span, body_bytes: usize) -> Option<()> {
        if span.end <= self.file.delivery.end(span.io) {
            if span.carried {
                self.batches.streams[span.io as usize].carry.clear();
            }
            return None;
        }
        let bytes_max = self.turn.settings.batch.bytes_max.min(self.room);
        let is_full = self.batches.streams[span.io as usize].open.as_ref().is_some_and(|batch| {
            let bytes = batch.builder.bytes();
            batch.file_seq != self.file.seq()
                || batch.builder.len() >= BATCH_RECORDS_MAX
                || (bytes > 0 && bytes + body_bytes + RECORD_EXTRA_BYTES_MAX > bytes_max)
        });
        if is_full {
            self.cut(span.io);
        }
        let stream = &mut self.batches.streams[span.io as usize];
        let clock = self.turn.clock;
        let opened = || self.turn.ship.open(self.file.seq(), clock.mono_ms, clock.wall_ns);
        let batch = stream.open.get_or_insert_with(opened);
        batch.account(span);
        if span.carried {
            batch.carried_from = std::mem::take(&mut stream.carry);
        }
        Some(())
    }

    pub fn cut(&mut self, io: OutputStream) {
        let stream = &mut self.batches.streams[io as usize];
        let Some(batch) = stream.open.take() else { return };
        stream.cut_at_ms = Some(self.turn.clock.mono_ms);
        debug_assert_eq!(
            batch.file_seq,
            self.file.seq(),
            "a batch accounts for the file that it was opened in"
        );
        let carried = batch.carried_from.clone();
        self.turn.tally.gated_records += batch.gated;
        let named = batch.tenant.clone().map(|(tenant, tenant_id)| Origin {
            tenant,
            tenant_id,
            ..self.context.origin.clone()
        });
        let origin = named.as_ref().unwrap_or(&self.context.origin);
        let (log, file) = (self.log, &mut *self.file);
        let account = Account { log, file, io, stream_key: &stream.key, origin };
        let ticket = account.send(batch, None, self.turn);
        self.batches.pins.extend(carried.into_iter().map(|(file_seq, start)| Pin {
            ticket,
            file_seq,
            start,
        }));
    }
}

impl Collector<'_, '_> {
    /// A record called itself an audit record and was not believed.
    #[cold]
    fn claimed(&mut self) {
        let AuditTrust::Within(budget) = &self.context.audit else {
            self.turn.tally.audit_unmarked_records += 1;
            return;
        };
        self.turn.tally.audit_over_budget_records += 1;
        if budget.is_to_be_told(self.turn.clock.wall_ns / 1_000_000) {
            let Origin { namespace, pod, .. } = &self.context.origin;
            let bytes_per_hour = budget.bytes_per_hour();
            tracing::warn!(
                %namespace, %pod, bytes_per_hour,
                "this pod writes more audit records than audit.pod_bytes_per_hour: what is beyond has the level rules and the retention of ordinary records"
            );
        }
    }
}

impl Output for Collector<'_, '_> {
    #[inline]
    fn kept(&mut self, record: Kept<'_>) {
        // The topic takes no more in one message: better a part of it than nothing.
        let kept = record.body.len().min(self.room.saturating_sub(RECORD_EXTRA_BYTES_MAX));
        let tenant = self.context.line_tenant(&record.body);
        let open = self.batches.streams[record.span.io as usize].open.as_ref();
        // A batch is one tenant's.
        if open.is_some_and(|batch| batch.tenant != tenant && !batch.builder.is_empty()) {
            self.cut(record.span.io);
        }
        if self.open_for(&record.span, kept).is_none() {
            return;
        }
        let stream = &mut self.batches.streams[record.span.io as usize];
        let Some(batch) = &mut stream.open else { return };
        batch.tenant = tenant;
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
        self.turn.ship.add_open_bytes(batch.builder.bytes() - before);
        self.turn.tally.records += 1;
        if record.flags.has(Flags::AUDIT_CLAIMED) {
            self.claimed();
        }
        self.turn.tally.unparsed_records += u64::from(record.flags.has(Flags::PARSE_ERROR));
        self.turn.tally.cut_bytes += record.bytes_cut + cut;
    }

    fn gated(&mut self, span: Span) {
        if self.open_for(&span, 0).is_none() {
            return;
        }
        if let Some(batch) = &mut self.batches.streams[span.io as usize].open {
            batch.gated += 1;
        }
    }
}
