//! Connects the agent to the writer's queue, in the place of Kafka. The agent gets its acknowledgement when PostgreSQL has the batch.

use cordwood_agent::{Ack, Refused, Sink};
use cordwood_core::identity::StreamKey;
use cordwood_writer::QueueSender;
use tokio::runtime::Handle;

pub struct QueueSink {
    sender: QueueSender,
    /// The reader's thread is outside of the runtime; the waiting for answers is inside.
    runtime: Handle,
}

impl QueueSink {
    pub fn new(sender: QueueSender, runtime: Handle) -> QueueSink {
        QueueSink { sender, runtime }
    }
}

impl Sink for QueueSink {
    fn send(&mut self, _key: &StreamKey, payload: Vec<u8>, ack: Ack) -> Result<(), Refused> {
        match self.sender.send(payload) {
            Ok(stored) => {
                self.runtime.spawn(async move {
                    match stored.await {
                        Ok(()) => ack.acknowledge(),
                        Err(_) => ack.fail("the writer ended before it was stored".to_owned()),
                    }
                });
                Ok(())
            }
            Err(payload) => Err(Refused::Full { payload, ack }),
        }
    }

    fn reset(&mut self) {
        // What was handed over is still the queue's: the watermark passes over what comes twice.
    }
}
