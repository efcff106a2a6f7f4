//! Batches from the reader to the sink: closed, queued, handed over, acknowledged.
//! Promises: batches of a stream are handed over in the order they were cut; bytes in memory are counted and bounded. An answer
//! reaches the file that the batch came from. If everything was sent again meanwhile, late answers are ignored.

use std::collections::{HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use cordwood_core::batch::{BatchBuilder, BatchHeader};
use cordwood_core::identity::{OutputStream, StreamKey};
use cordwood_core::origin::Origin;
use cordwood_core::pipeline::Span;

use crate::sink::{Answers, Refused, Sink};
use crate::telemetry::Tally;
use crate::turn::Clock;
use crate::wake::Waker;

/// Builders kept for the next batch; more streams than this are seldom open at once for long.
const SPARE_BUILDERS_MAX: usize = 16;
const SPARE_BYTES_MAX: usize = 2 << 20;

/// A batch that still grows.
pub struct OpenBatch {
    pub builder: BatchBuilder,
    /// [`crate::log_file::LogFile::seq`] of the file that it accounts for.
    pub file_seq: u64,
    /// The file position must not pass this before the batch is acknowledged.
    pub first_start: u64,
    pub end: u64,
    pub lines: u64,
    pub bytes: u64,
    pub gated: u64,
    pub opened_at_ms: i64,
    /// It holds an ERROR, or began after a rest: it goes as soon as what was read is through.
    pub urgent: bool,
    /// Where its first record lies in earlier files: (file, from there on).
    pub carried_from: Vec<(u64, u64)>,
    /// Tenant and id that its lines name themselves; `None`: they are their namespace's.
    pub tenant: Option<(String, String)>,
}

impl OpenBatch {
    pub fn account(&mut self, span: &Span) {
        let start = if span.carried { 0 } else { span.start };
        self.first_start = self.first_start.min(start);
        self.end = span.end;
        self.lines += 1;
        self.bytes += span.bytes;
    }

    /// It accounts for one record of the agent's own, which stands for the bytes `start` to `end`.
    pub fn stand_for(&mut self, start: u64, end: u64) {
        (self.first_start, self.end, self.lines) = (start, end, 1);
    }
}

/// Which log and file an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub log: u64,
    pub file_seq: u64,
    pub io: OutputStream,
    bytes: usize,
    records: u64,
}

struct Ready {
    key: Arc<StreamKey>,
    payload: Vec<u8>,
    ticket: u64,
}

pub struct Shipper {
    sink: Box<dyn Sink>,
    answers: Arc<Answers>,
    /// Cut, not yet taken by the sink.
    outbox: VecDeque<Ready>,
    unanswered: HashMap<u64, Sent>,
    next_ticket: u64,
    /// Bytes of messages that are cut and not acknowledged.
    cut_bytes: usize,
    /// Bytes of records in open batches.
    open_bytes: usize,
    /// What is cut waits until the checkpoint that is due is on the disk.
    wait_for_checkpoint: bool,
    spare: Vec<BatchBuilder>,
    broken: Option<String>,
    taken: Vec<(u64, Result<(), String>)>,
}

impl Shipper {
    pub fn new(sink: Box<dyn Sink>, waker: Waker) -> Shipper {
        Shipper {
            sink,
            answers: Answers::new(waker),
            outbox: VecDeque::new(),
            unanswered: HashMap::new(),
            next_ticket: 0,
            cut_bytes: 0,
            open_bytes: 0,
            wait_for_checkpoint: false,
            spare: Vec::new(),
            broken: None,
            taken: Vec::new(),
        }
    }

    pub fn open(&mut self, file_seq: u64, clock: Clock) -> OpenBatch {
        let mut builder = self.spare.pop().unwrap_or_default();
        // (Under load a batch is full in the round in which it began.)
        builder.expect_observed(clock.wall_ns);
        OpenBatch {
            builder,
            file_seq,
            first_start: u64::MAX,
            end: 0,
            lines: 0,
            bytes: 0,
            gated: 0,
            opened_at_ms: clock.mono_ms,
            urgent: false,
            carried_from: Vec::new(),
            tenant: None,
        }
    }

    /// Finishes a batch and queues it; gives the ticket under which its answer will come.
    pub fn cut(
        &mut self,
        log: u64,
        mut batch: OpenBatch,
        key: &Arc<StreamKey>,
        header: &BatchHeader,
        origin: &Origin,
        observed_ns: i64,
    ) -> u64 {
        let records = batch.builder.len() as u64;
        self.open_bytes -= batch.builder.bytes();
        let payload = batch.builder.finish(header, origin, observed_ns);
        self.recycle(batch.builder);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.cut_bytes += payload.len();
        let sent = Sent { log, file_seq: batch.file_seq, io: header.io, bytes: payload.len(), records };
        self.unanswered.insert(ticket, sent);
        self.outbox.push_back(Ready { key: Arc::clone(key), payload, ticket });
        ticket
    }

    /// A batch whose lines will be read again.
    pub fn discard(&mut self, batch: OpenBatch) {
        self.open_bytes -= batch.builder.bytes();
    }

    fn recycle(&mut self, builder: BatchBuilder) {
        // One that had to hold a large record gives its memory back.
        if self.spare.len() < SPARE_BUILDERS_MAX && builder.capacity() <= SPARE_BYTES_MAX {
            self.spare.push(builder);
        }
    }

    /// Hands over what is cut, as far as the sink takes it.
    pub fn send(&mut self, tally: &mut Tally) {
        while self.broken.is_none() && !self.wait_for_checkpoint {
            let Some(ready) = self.outbox.pop_front() else { return };
            let bytes = ready.payload.len() as u64;
            let ack = self.answers.ack(ready.ticket);
            match self.sink.send(&ready.key, ready.payload, ack) {
                Ok(()) => {
                    tally.messages += 1;
                    tally.message_bytes += bytes;
                }
                Err(Refused::Full { payload, ack }) => {
                    ack.withdraw();
                    self.outbox.push_front(Ready { payload, ..ready });
                    tally.full += 1;
                    return;
                }
                Err(Refused::Broken(reason)) => self.broken = Some(reason),
            }
        }
    }

    /// Answers that came in: `acknowledged` is called for each batch that is safe now. `Err` when one failed: then
    /// everything that was not acknowledged has to be read again ([`Shipper::start_anew`]).
    pub fn answers(
        &mut self,
        tally: &mut Tally,
        mut acknowledged: impl FnMut(u64, Sent),
    ) -> Result<(), String> {
        self.sink.take_answers();
        let mut taken = std::mem::take(&mut self.taken);
        self.answers.take_into(&mut taken);
        for (ticket, answer) in taken.drain(..) {
            match (answer, self.unanswered.get(&ticket)) {
                // From before everything was sent anew.
                (_, None) => {}
                (Ok(()), Some(sent)) => {
                    let sent = *sent;
                    self.cut_bytes -= sent.bytes;
                    tally.acknowledged_records += sent.records;
                    self.unanswered.remove(&ticket);
                    acknowledged(ticket, sent);
                }
                (Err(reason), Some(_)) => self.broken = Some(reason),
            }
        }
        self.taken = taken;
        match self.broken.take() {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    /// Forgets all batches that are cut; the sink forgets them too.
    pub fn start_anew(&mut self) {
        self.outbox.clear();
        self.unanswered.clear();
        self.cut_bytes = 0;
        self.broken = None;
        self.sink.restart();
    }

    /// Bytes of the largest message that is taken at this moment.
    pub fn message_bytes_max(&self) -> usize {
        self.sink.message_bytes_max()
    }

    /// What is cut from now on goes once the checkpoint is on the disk ([`Shipper::checkpoint_is_kept`]).
    pub fn wait_for_checkpoint(&mut self) {
        self.wait_for_checkpoint = true;
    }

    pub fn waits_for_checkpoint(&self) -> bool {
        self.wait_for_checkpoint
    }

    pub fn checkpoint_is_kept(&mut self) {
        self.wait_for_checkpoint = false;
    }

    /// Bytes of records in open batches.
    pub fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// An open batch has grown.
    #[inline]
    pub fn add_open_bytes(&mut self, bytes: usize) {
        self.open_bytes += bytes;
    }

    /// Bytes of messages and open batches that are not acknowledged.
    pub fn held_bytes(&self) -> usize {
        self.cut_bytes + self.open_bytes
    }

    /// Whether batches wait for room in the sink.
    pub fn is_stalled(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// For `poll`, where somebody waits for an answer.
    pub fn answers_fd(&self) -> Option<BorrowedFd<'_>> {
        self.sink.answers_fd()
    }

    /// Whether the next answer is to wake the reader. True: one is here already, and nobody need sleep.
    pub fn await_answer(&self, awaited: bool) -> bool {
        self.answers.await_next(awaited)
    }
}
