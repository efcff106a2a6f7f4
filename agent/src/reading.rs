//! The unfinished state of reading one log: incomplete records in the pipeline, and open batches.
//! Promise: the position of a file never passes anything that is held here.

use std::sync::Arc;

use cordwood_core::identity::{OutputStream, StreamKey};
use cordwood_core::pipeline::Pipeline;

use crate::collect::{Batches, OUTPUT_STREAMS};
use crate::ship::{OpenBatch, Shipper};
use crate::waited::Waited;

/// The unfinished state of one log: pipeline, open batches, and in which file they are.
pub struct Reading {
    pipeline: Pipeline,
    batches: Batches,
    /// The file that the pipeline is in.
    current: Option<u64>,
    /// Unfinished records by output stream, as they were at the last look.
    waited: [Waited; 2],
    /// The last step found nothing more to read.
    at_end: bool,
}

impl Reading {
    pub fn new(batches: Batches) -> Reading {
        let waited = [Waited::default(); 2];
        Reading { pipeline: Pipeline::new(), batches, current: None, waited, at_end: false }
    }

    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The pipeline and the open batches: lines go through the pipeline into the batches.
    pub fn parts(&mut self) -> (&mut Pipeline, &mut Batches) {
        (&mut self.pipeline, &mut self.batches)
    }

    pub fn is_in(&self, file_seq: u64) -> bool {
        self.current == Some(file_seq)
    }

    /// The file that the pipeline is in.
    pub fn current(&self) -> Option<u64> {
        self.current
    }

    /// Moves the pipeline to another file.
    pub fn enter(&mut self, file_seq: u64) {
        if let Some(before) = self.current {
            self.batches.carry_over(before, &self.pipeline);
            self.pipeline.next_file();
        }
        self.current = Some(file_seq);
    }

    /// The last step found nothing more to read.
    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    pub fn set_at_end(&mut self, at_end: bool) {
        self.at_end = at_end;
    }

    /// Whether some record is unfinished.
    pub fn has_unfinished(&self) -> bool {
        OUTPUT_STREAMS.iter().any(|io| self.pipeline.pending_start(*io).is_some())
    }

    /// The file that the last part of the unfinished record of `io` lies in.
    pub fn unfinished_in(&self, io: OutputStream) -> Option<u64> {
        self.pipeline.pending_start(io)?;
        if self.pipeline.ends_here(io) { self.current } else { self.batches.last_part(io) }
    }

    /// How long the unfinished record of `io` has not changed, if there is one.
    pub fn waited_ms(&mut self, io: OutputStream, now_ms: i64) -> Option<i64> {
        let pending = self.pipeline.pending(io);
        let waited_ms = self.waited[io as usize].waited_ms(pending, now_ms);
        pending.map(|_| waited_ms)
    }

    /// How many files an unfinished record spans.
    pub fn files_carried_through(&self) -> usize {
        self.batches.files_carried_through()
    }

    pub fn stream_key(&self, io: OutputStream) -> &Arc<StreamKey> {
        self.batches.key(io)
    }

    pub fn open_batch(&self, io: OutputStream) -> Option<&OpenBatch> {
        self.batches.open(io)
    }

    pub fn has_open_batch(&self) -> bool {
        OUTPUT_STREAMS.iter().any(|io| self.batches.open(*io).is_some())
    }

    pub fn acknowledged(&mut self, ticket: u64) {
        self.batches.acknowledged(ticket);
    }

    /// The first byte of a file that an open batch or an unfinished record holds back.
    pub fn held_from(&self, file_seq: u64) -> Option<u64> {
        let begun = |io: &OutputStream| {
            let start = self.pipeline.pending_start(*io).filter(|_| self.is_in(file_seq))?;
            // A record that began in an earlier file holds this one back from where its part here begins.
            Some(if self.batches.is_carried(*io) { 0 } else { start })
        };
        OUTPUT_STREAMS.iter().filter_map(begun).chain(self.batches.held_from(file_seq)).min()
    }

    /// Forgets the state, because everything that is not acknowledged is read again.
    pub fn discard(&mut self, ship: &mut Shipper) {
        self.batches.discard(ship);
        self.pipeline = Pipeline::new();
        self.current = None;
    }

    /// Forgets the state of files that are closed; all that was read of them is acknowledged.
    pub fn close(&mut self) {
        self.batches.close();
        self.pipeline = Pipeline::new();
        self.current = None;
        self.at_end = false;
    }
}
