//! The trait of what takes batches, and how acknowledgements come back. Kafka in a cluster, an in-process queue in standalone:
//! the reader knows only this.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cordwood_core::identity::StreamKey;
use cordwood_core::limits::MESSAGE_BYTES_MAX;

use crate::wake::Waker;

/// Takes batches in order. Batches with the same key are stored in the order they were sent, or none of those after a
/// failed one is.
pub trait Sink: Send {
    /// Hands a batch over; never waits. `ack` is to be answered exactly once, from any thread.
    ///
    /// # Errors
    /// The batch comes back when there is no room now, or when it can never be taken.
    fn send(&mut self, key: &StreamKey, payload: Vec<u8>, ack: Ack) -> Result<(), Refused>;

    /// Bytes of the largest message that is taken, its key and what is put around it included. It may fall: a batch that
    /// was cut before is refused as broken then, and comes again in smaller ones.
    fn message_bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }

    /// Answers the acks of what the other side has answered by now, where nobody else does it.
    fn take_answers(&mut self) {}

    /// Becomes readable when there is something for [`Sink::take_answers`]; `None`: acks are answered without it.
    fn answers_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether batches had better go in flights: all that were cut in a round at once, and the next when those are answered.
    fn takes_flights(&self) -> bool {
        false
    }

    /// Called after a failed acknowledgement: forgets all batches that were handed over. The reader then sends everything again
    /// that is not acknowledged.
    fn reset(&mut self);
}

#[derive(Debug)]
pub enum Refused {
    /// No room, or not ready: offer it again later.
    Full { payload: Vec<u8>, ack: Ack },
    /// The sink takes nothing more until [`Sink::reset`].
    Broken(String),
}

/// The duty to say whether one batch is safe. A batch whose `Ack` is dropped unanswered counts as failed.
#[derive(Debug)]
pub struct Ack {
    ticket: u64,
    answers: Option<Arc<Answers>>,
}

impl Ack {
    /// The batch is safe: it may never be asked for again.
    pub fn acknowledge(mut self) {
        if let Some(answers) = self.answers.take() {
            answers.push(self.ticket, Ok(()));
        }
    }

    /// The batch was not taken and is offered again: nothing is to be said yet.
    pub(crate) fn withdraw(mut self) {
        self.answers = None;
    }

    /// The batch is not safe and will not become so by itself.
    pub fn fail(mut self, reason: String) {
        if let Some(answers) = self.answers.take() {
            answers.push(self.ticket, Err(reason));
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(answers) = self.answers.take() {
            answers.push(self.ticket, Err("it was dropped without an answer".to_owned()));
        }
    }
}

/// Answers on their way back to the reader.
#[derive(Debug)]
pub(crate) struct Answers {
    queue: Mutex<Vec<(u64, Result<(), String>)>>,
    /// Whether the reader sleeps until an answer comes; else it looks by itself soon.
    awaited: AtomicBool,
    waker: Waker,
}

impl Answers {
    pub(crate) fn new(waker: Waker) -> Arc<Answers> {
        Arc::new(Answers { queue: Mutex::default(), awaited: AtomicBool::new(false), waker })
    }

    pub(crate) fn ack(self: &Arc<Answers>, ticket: u64) -> Ack {
        Ack { ticket, answers: Some(Arc::clone(self)) }
    }

    pub(crate) fn take_into(&self, into: &mut Vec<(u64, Result<(), String>)>) {
        into.clear();
        std::mem::swap(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner), into);
    }

    /// Wake the reader at the next answer (or not). True: one is here already, which nobody will be woken for.
    pub(crate) fn await_next(&self, awaited: bool) -> bool {
        self.awaited.store(awaited, Ordering::SeqCst);
        awaited && !self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn push(&self, ticket: u64, answer: Result<(), String>) {
        let failed = answer.is_err();
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, answer));
        if failed || self.awaited.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It came after the reader's last look and before it went to sleep: it slept on.
    #[test]
    fn a_reader_that_waits_for_an_answer_hears_of_one_that_is_here_already() {
        let answers = Answers::new(Waker::new().unwrap());
        assert!(!answers.await_next(true), "there is none");
        answers.await_next(false);
        answers.ack(7).acknowledge();
        assert!(answers.await_next(true), "it is here");
        let mut taken = Vec::new();
        answers.take_into(&mut taken);
        assert_eq!(taken, [(7, Ok(()))]);
        assert!(!answers.await_next(true));
    }
}
