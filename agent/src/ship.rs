//! Batches from the reader to the sink: closed, queued, handed over, acknowledged.
//! Promises: batches of a stream are handed over in the order they were cut; bytes in memory are counted and bounded. An answer
//! reaches the file that the batch came from. If everything was sent again meanwhile, late answers are ignored. Where the sink likes it,
//! batches go in flights, and none waits longer for its flight than a moment.

use std::collections::{HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use cordwood_core::batch::{BatchBuilder, BatchHeader};
use cordwood_core::identity::{OutputStream, StreamKey};
use cordwood_core::origin::Origin;
use cordwood_core::pipeline::Span;

use crate::clock::Clock;
use crate::sink::{Answers, Refused, Sink};
use crate::telemetry::Tally;
use crate::wake::Waker;

/// Builders kept for the next batch; more streams than this are seldom open at once for long.
const SPARE_BUILDERS_MAX: usize = 16;
const SPARE_BYTES_MAX: usize = 2 << 20;
/// So many bytes go at once, whatever is on its way: then requests are large anyway.
const FLIGHT_BYTES: usize = 1 << 20;
/// The longest that batches wait for the answers to those before.
const FLIGHT_MS_MAX: i64 = 500;

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
    outbox_bytes: usize,
    /// When something was handed over last.
    flight_at_ms: i64,
    /// The sink took nothing at the last try.
    is_refused: bool,
    /// What is cut waits for more, or for the answers to what was handed over.
    waits_for_flight: bool,
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
            outbox_bytes: 0,
            flight_at_ms: 0,
            is_refused: false,
            waits_for_flight: false,
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
        self.outbox_bytes += payload.len();
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

    /// Within a round: hands over what is cut, as far as the sink takes it, but for the few batches that go with the others of this round.
    pub fn send_much(&mut self, tally: &mut Tally, now_ms: i64) {
        self.send_if(self.goes_at_once(), tally, now_ms);
    }

    /// After a round: hands over what is cut, as far as the sink takes it.
    pub fn send(&mut self, tally: &mut Tally, now_ms: i64) {
        let is_answered = self.unanswered.len() == self.outbox.len();
        let may_go = is_answered || now_ms - self.flight_at_ms >= FLIGHT_MS_MAX;
        self.send_if(may_go || self.goes_at_once(), tally, now_ms);
    }

    fn goes_at_once(&self) -> bool {
        self.is_refused || self.outbox_bytes >= FLIGHT_BYTES || !self.sink.takes_flights()
    }

    fn send_if(&mut self, may_go: bool, tally: &mut Tally, now_ms: i64) {
        self.waits_for_flight = !may_go && !self.outbox.is_empty();
        while may_go && self.broken.is_none() && !self.wait_for_checkpoint {
            let Some(ready) = self.outbox.pop_front() else { return };
            let bytes = ready.payload.len();
            let ack = self.answers.ack(ready.ticket);
            match self.sink.send(&ready.key, ready.payload, ack) {
                Ok(()) => {
                    self.is_refused = false;
                    self.outbox_bytes -= bytes;
                    self.flight_at_ms = now_ms;
                    tally.messages += 1;
                    tally.message_bytes += bytes as u64;
                }
                Err(Refused::Full { payload, ack }) => {
                    ack.withdraw();
                    self.outbox.push_front(Ready { payload, ..ready });
                    self.is_refused = true;
                    tally.full += 1;
                    return;
                }
                Err(Refused::Broken(reason)) => self.broken = Some(reason),
            }
        }
    }

    /// Answers that came in: `acknowledged` is called for each batch that is safe now. `Err` when one failed: then
    /// everything that was not acknowledged has to be read again ([`Shipper::reset`]).
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
                // An answer to a batch from before the last reset.
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
    pub fn reset(&mut self) {
        self.outbox.clear();
        self.outbox_bytes = 0;
        self.is_refused = false;
        self.waits_for_flight = false;
        self.unanswered.clear();
        self.cut_bytes = 0;
        self.broken = None;
        self.sink.reset();
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

    /// Whether batches wait because the sink takes nothing now.
    pub fn is_stalled(&self) -> bool {
        !self.outbox.is_empty() && !self.waits_for_flight
    }

    /// Whether what is cut waits for answers to what was handed over.
    pub fn waits_for_flight(&self) -> bool {
        self.waits_for_flight
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cordwood_core::identity::FileId;
    use cordwood_core::level::Level;
    use cordwood_core::record::Flags;

    use super::*;
    use crate::sink::Ack;

    /// Holds what it was handed until it is answered.
    struct Flights(Arc<Mutex<Vec<Ack>>>);

    impl Sink for Flights {
        fn send(&mut self, _: &StreamKey, _: Vec<u8>, ack: Ack) -> Result<(), Refused> {
            self.0.lock().unwrap().push(ack);
            Ok(())
        }

        fn takes_flights(&self) -> bool {
            true
        }

        fn reset(&mut self) {}
    }

    fn cut(ship: &mut Shipper, body_bytes: usize) {
        let mut batch = ship.open(1, Clock { mono_ms: 0, wall_ns: 0 });
        batch.builder.push(1, Level::Info, Flags::default(), 9, &vec![b'x'; body_bytes]);
        ship.add_open_bytes(batch.builder.bytes());
        let key = Arc::new(StreamKey::of_container("uid", "app", 0, OutputStream::Stdout));
        let header = BatchHeader {
            stream: (*key).clone(),
            io: OutputStream::Stdout,
            file: FileId(7),
            restart_count: 0,
            prev: 0,
            end: 9,
            lines: 1,
            bytes: 9,
            gated: 0,
            limited: 0,
            rejected: 0,
            loss: None,
        };
        ship.cut(1, batch, &key, &header, &Origin::default(), 0);
    }

    #[test]
    fn what_is_cut_in_a_round_goes_at_once_and_the_next_when_that_is_answered() {
        let handed = Arc::new(Mutex::new(Vec::new()));
        let mut ship = Shipper::new(Box::new(Flights(Arc::clone(&handed))), Waker::new().unwrap());
        let mut tally = Tally::default();
        let count = || handed.lock().unwrap().len();
        let answer = |ship: &mut Shipper| {
            handed.lock().unwrap().drain(..).for_each(Ack::acknowledge);
            ship.answers(&mut Tally::default(), |_, _| {}).unwrap();
        };
        for _ in 0..3 {
            cut(&mut ship, 100);
            ship.send_much(&mut tally, 1_000);
        }
        assert_eq!((count(), ship.is_stalled()), (0, false), "the round is not over");
        ship.send(&mut tally, 1_000);
        assert_eq!((count(), ship.waits_for_flight()), (3, false));
        // The first is on its way.
        cut(&mut ship, 100);
        ship.send(&mut tally, 1_000 + FLIGHT_MS_MAX - 1);
        assert_eq!((count(), ship.waits_for_flight(), ship.is_stalled()), (3, true, false));
        answer(&mut ship);
        ship.send(&mut tally, 1_100);
        assert_eq!((count(), ship.waits_for_flight()), (1, false));
        // Lines that waited for long go without the answer, and so do many bytes.
        cut(&mut ship, 100);
        ship.send(&mut tally, 1_100 + FLIGHT_MS_MAX);
        assert_eq!(count(), 2);
        cut(&mut ship, FLIGHT_BYTES);
        ship.send_much(&mut tally, 1_100 + FLIGHT_MS_MAX);
        assert_eq!((count(), ship.is_stalled()), (3, false));
        answer(&mut ship);
        assert_eq!((ship.held_bytes(), ship.outbox_bytes, tally.messages), (0, 0, 6));
    }
}
