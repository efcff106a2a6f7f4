//! Replaces Kafka in standalone by a queue in this process. A message is acknowledged when PostgreSQL has stored it; until then the queue keeps
//! it and delivers it again after a failure. There is one topic partition, 0; its offsets continue from PostgreSQL's position.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cordwood_core::batch::Provenance;
use cordwood_store::commit::Position;
use tokio::sync::{mpsc, oneshot};

use crate::source::{Event, Message, Source, SourceStatus};

/// The name under which PostgreSQL keeps the queue's position.
pub const QUEUE_TOPIC: &str = "standalone";

struct Sent {
    payload: Bytes,
    acknowledge: oneshot::Sender<()>,
}

/// The sender's end; cheap to clone.
#[derive(Clone)]
pub struct QueueSender {
    sender: mpsc::UnboundedSender<Sent>,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

pub struct QueueSource {
    receiver: mpsc::UnboundedReceiver<Sent>,
    bytes: Arc<AtomicUsize>,
    /// Delivered or to be delivered again, oldest first: the first has offset `first`.
    waiting: VecDeque<Sent>,
    first: u64,
    /// How many of `waiting` were delivered since the last start.
    delivered: usize,
    started: bool,
    ended: bool,
}

/// `bytes_max` bounds what is sent and not yet in PostgreSQL.
pub fn queue(bytes_max: usize) -> (QueueSender, QueueSource) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let bytes = Arc::new(AtomicUsize::new(0));
    let source = QueueSource {
        receiver,
        bytes: bytes.clone(),
        waiting: VecDeque::new(),
        first: 0,
        delivered: 0,
        started: false,
        ended: false,
    };
    (QueueSender { sender, bytes, bytes_max }, source)
}

impl QueueSender {
    /// Takes the payload, or gives it back when the queue is full or the writer is gone. The receiver resolves once
    /// PostgreSQL has the message; it fails when the writer ends before.
    pub fn send(&self, payload: Vec<u8>) -> Result<oneshot::Receiver<()>, Vec<u8>> {
        let length = payload.len();
        // A single message larger than the queue passes when the queue is empty.
        let before = self.bytes.fetch_add(length, Ordering::Relaxed);
        if before > 0 && before + length > self.bytes_max {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(payload);
        }
        let (acknowledge, receiver) = oneshot::channel();
        match self.sender.send(Sent { payload: payload.into(), acknowledge }) {
            Ok(()) => Ok(receiver),
            Err(returned) => {
                self.bytes.fetch_sub(length, Ordering::Relaxed);
                Err(returned.0.payload.into())
            }
        }
    }
}

impl QueueSource {
    fn acknowledge_below(&mut self, next_offset: u64) {
        while self.first < next_offset
            && let Some(sent) = self.waiting.pop_front()
        {
            self.bytes.fetch_sub(sent.payload.len(), Ordering::Relaxed);
            self.first += 1;
            self.delivered = self.delivered.saturating_sub(1);
            // The sender may have gone; then nobody waits.
            let _ = sent.acknowledge.send(());
        }
    }

    fn deliver(&mut self) -> Vec<Message> {
        let from = self.delivered;
        self.delivered = self.waiting.len();
        let message = |(index, sent): (usize, &Sent)| Message {
            topic_partition: 0,
            kafka_offset: self.first + index as u64,
            provenance: Provenance::Agent,
            payload: sent.payload.clone(),
        };
        self.waiting.iter().enumerate().skip(from).map(message).collect()
    }
}

impl Source for QueueSource {
    fn topic(&self) -> &str {
        QUEUE_TOPIC
    }

    async fn next(&mut self) -> Event {
        if !self.started {
            self.started = true;
            return Event::Reassigned;
        }
        loop {
            if self.delivered < self.waiting.len() {
                return Event::Messages(self.deliver());
            }
            if self.ended {
                return Event::Ended;
            }
            match self.receiver.recv().await {
                Some(sent) => self.waiting.push_back(sent),
                None => self.ended = true,
            }
            while let Ok(sent) = self.receiver.try_recv() {
                self.waiting.push_back(sent);
            }
        }
    }

    async fn start(&mut self, positions: &HashMap<u32, Position>) {
        self.started = true;
        let position = positions.get(&0).map_or(0, |position| position.next_offset);
        if self.waiting.is_empty() {
            self.first = position;
        } else {
            // A commit whose answer was lost may have stored some of what waits.
            self.acknowledge_below(position);
        }
        self.delivered = 0;
    }

    fn committed(&mut self, positions: &[(u32, u64)]) {
        if let Some((_, next_offset)) = positions.iter().find(|(partition, _)| *partition == 0) {
            self.acknowledge_below(*next_offset);
        }
    }

    fn status(&self) -> SourceStatus {
        let lag = self.waiting.len() + self.receiver.len();
        SourceStatus { lag: [(0, lag as u64)].into(), ..SourceStatus::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next_offset: u64) -> HashMap<u32, Position> {
        [(0, Position { topic: QUEUE_TOPIC.to_owned(), next_offset, last_hash: None })].into()
    }

    async fn messages(source: &mut QueueSource) -> Vec<u64> {
        match source.next().await {
            Event::Messages(messages) => messages.iter().map(|m| m.kafka_offset).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_not_committed_comes_again_and_what_is_was_acknowledged() {
        let (sender, mut source) = queue(100);
        assert!(matches!(source.next().await, Event::Reassigned));
        source.start(&at(7)).await;
        let mut first = sender.send(vec![1; 40]).unwrap();
        let mut second = sender.send(vec![2; 40]).unwrap();
        assert_eq!(sender.send(vec![3; 40]).unwrap_err().len(), 40, "the queue is full");
        assert_eq!(messages(&mut source).await, [7, 8]);
        source.start(&at(7)).await;
        assert_eq!(messages(&mut source).await, [7, 8], "again, under the same offsets");
        assert!(first.try_recv().is_err());
        source.committed(&[(0, 8)]);
        first.try_recv().unwrap();
        assert!(second.try_recv().is_err());
        // The answer to the second commit was lost; PostgreSQL has it.
        source.start(&at(9)).await;
        second.try_recv().unwrap();
        let _third = sender.send(vec![3; 40]).unwrap();
        assert_eq!(messages(&mut source).await, [9]);
        drop(sender);
        assert!(matches!(source.next().await, Event::Ended));
    }
}
