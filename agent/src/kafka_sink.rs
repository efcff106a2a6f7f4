//! The sink in a cluster: an idempotent Kafka producer, which is replaced after a fatal error.
//! Promises: no batch is dropped without an error to the reader. Kafka's state is the readiness condition `kafka`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use cordwood_core::identity::StreamKey;
use cordwood_core::limits::{MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN};
use cordwood_kafka::{HEADER, HEADER_VALUE, KafkaError, KafkaSettings, TopicClient, TopicInfo, reason};
use cordwood_service::{Health, Pauses};
use rdkafka::bindings;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as Library, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use tokio_util::sync::CancellationToken;

use crate::sink::{Ack, Refused, Sink};
use crate::telemetry::Telemetry;
use crate::wake::Waker;

const CONDITION: &str = "kafka";
/// Between two looks at the topic while something is wrong.
const LOOK_AGAIN_MIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(15);
/// Between two looks at what deliveries say.
const WELL: Duration = Duration::from_secs(5);

pub struct KafkaSink {
    settings: KafkaSettings,
    config: ClientConfig,
    state: Arc<State>,
    producer: Option<Producer>,
}

/// Shared with the producer's thread and the task that looks after the topic.
struct State {
    /// The topic is there, and takes messages of some size.
    ready: AtomicBool,
    /// Something is wrong; the next delivery, or a look at the topic, says that it is over.
    troubled: AtomicBool,
    /// Bytes of the largest message that the topic takes, as far as it is known.
    message_bytes_max: AtomicUsize,
    /// It took less than that: it is looked at before anything more is sent.
    too_large: AtomicBool,
    /// Deliveries and errors that the client told.
    events_taken: AtomicU64,
    health: Health,
    telemetry: Telemetry,
    topic: String,
}

impl State {
    fn mark_unhealthy(&self, why: String) {
        self.troubled.store(true, Ordering::SeqCst);
        self.health.set(CONDITION, Err(why));
    }

    /// A message that should have fitted was too large: the topic was altered, or does not tell its limit.
    fn refused_size(&self) {
        self.ready.store(false, Ordering::SeqCst);
        self.too_large.store(true, Ordering::SeqCst);
    }

    /// The topic is there. Its message size is its own word for it, as is what it says of its replicas.
    fn found(&self, found: &TopicInfo) {
        if self.telemetry.acknowledged_by_one(found.acknowledged_by_one()) && found.acknowledged_by_one() {
            tracing::warn!(
                topic = self.topic,
                replication = found.replication,
                "Kafka acknowledges a message that only one broker has: set the topic's min.insync.replicas to 2, or a failing disk \
                 takes what this agent counts as delivered"
            );
        }
        let told = found.message_bytes_max;
        let before = self.message_bytes_max.load(Ordering::SeqCst);
        let too_large = self.too_large.swap(false, Ordering::SeqCst);
        let bytes_max = message_bytes_max(before, told, too_large);
        let topic = &self.topic;
        if bytes_max < MESSAGE_BYTES_MIN {
            // Where it cannot be asked it is tried again from above: it may have been altered.
            let next = told.map_or(MESSAGE_BYTES_MAX, |_| bytes_max);
            self.message_bytes_max.store(next, Ordering::SeqCst);
            self.ready.store(false, Ordering::SeqCst);
            return self.mark_unhealthy(format!(
                "topic {topic} takes messages of {bytes_max} bytes at the most: set its max.message.bytes to {MESSAGE_BYTES_MIN} or more"
            ));
        }
        if bytes_max < before {
            tracing::warn!(
                topic,
                message_bytes_max = bytes_max,
                "records larger than the topic's largest message are cut; to hold any record the topic needs max.message.bytes={MESSAGE_BYTES_MAX}"
            );
        }
        self.message_bytes_max.store(bytes_max, Ordering::SeqCst);
        self.ready.store(true, Ordering::SeqCst);
        self.mark_healthy();
    }

    fn mark_healthy(&self) {
        if self.troubled.swap(false, Ordering::SeqCst) {
            self.health.set(CONDITION, Ok(()));
        }
    }
}

struct Context(Arc<State>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::debug!(target: "librdkafka", facility, message),
            _ => tracing::trace!(target: "librdkafka", facility, message),
        }
    }

    fn error(&self, error: Library, said: &str) {
        self.0.events_taken.fetch_add(1, Ordering::Relaxed);
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        self.0.mark_unhealthy(format!("{} ({said})", reason(code, &self.0.topic)));
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ack>;

    fn delivery(&self, result: &DeliveryResult<'_>, ack: Box<Ack>) {
        self.0.events_taken.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(_) => {
                self.0.mark_healthy();
                ack.acknowledge();
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                let why = reason(code, &self.0.topic);
                if code == RDKafkaErrorCode::MessageSizeTooLarge {
                    self.0.refused_size();
                }
                // What we purge ourselves is no news.
                if !matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) {
                    self.0.mark_unhealthy(why.clone());
                }
                ack.fail(why);
            }
        }
    }
}

/// A producer whose answers the reader takes when it has its round. (A thread for them would be woken for each; and the client's own way
/// of waiting for them burns the last millisecond of each wait, which is more than all else that an idle agent does.)
struct Producer {
    client: BaseProducer<Context>,
    /// Becomes readable when there are answers. (The client writes to it while it lives.)
    answered: Waker,
}

impl Producer {
    fn start(config: &ClientConfig, context: Context) -> anyhow::Result<Producer> {
        let client: BaseProducer<Context> = config.create_with_context(context)?;
        let answered = Waker::new()?;
        wake_at_answers(&client, &answered);
        Ok(Producer { client, answered })
    }

    /// Answers the acks of what was delivered, or could not be.
    fn take_answers(&self) {
        // The mark is cleared before the look, so that what comes meanwhile sets it again.
        self.answered.clear();
        let taken = &self.client.client().context().0.events_taken;
        loop {
            let before = taken.load(Ordering::Relaxed);
            self.client.poll(Duration::ZERO);
            if taken.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// Has the client write to `answered` when something is in its queue of events where nothing was.
#[allow(unsafe_code, reason = "the crate has no safe call for the client's queue and its descriptor")]
fn wake_at_answers(client: &BaseProducer<Context>, answered: &Waker) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: the client is alive; the queue's reference is given back; the payload is copied; the descriptor outlives the client in
    // `Producer`, whose fields are dropped in their order.
    unsafe {
        let queue = bindings::rd_kafka_queue_get_main(client.client().native_ptr());
        let fd = answered.as_fd().as_raw_fd();
        bindings::rd_kafka_queue_io_event_enable(queue, fd, one.as_ptr().cast(), one.len());
        bindings::rd_kafka_queue_destroy(queue);
    }
}

impl KafkaSink {
    /// `queue_bytes_max`: what may wait in the client. Call within a runtime; the topic is looked for in the background,
    /// and until it is there nothing is taken.
    ///
    /// # Errors
    /// Only when the settings cannot be right.
    pub fn start(
        settings: KafkaSettings,
        client_id: &str,
        queue_bytes_max: usize,
        health: Health,
        telemetry: Telemetry,
        waker: Waker,
        shutdown: CancellationToken,
    ) -> Result<KafkaSink, KafkaError> {
        // A queue smaller than one message would never take it.
        let config =
            settings.producer_config(client_id, queue_bytes_max.max(MESSAGE_BYTES_MAX + (1 << 20)))?;
        // Also the client library's own opinion of the settings, before anything is promised.
        config.create_native_config().map_err(KafkaError::Client)?;
        let state = Arc::new(State {
            ready: AtomicBool::new(false),
            troubled: AtomicBool::new(true),
            message_bytes_max: AtomicUsize::new(MESSAGE_BYTES_MAX),
            too_large: AtomicBool::new(false),
            events_taken: AtomicU64::new(0),
            health,
            telemetry,
            topic: settings.topic.clone(),
        });
        let looking =
            look_after_topic(settings.clone(), client_id.to_owned(), Arc::clone(&state), waker, shutdown);
        tokio::spawn(looking);
        Ok(KafkaSink { settings, config, state, producer: None })
    }

    fn producer(&mut self) -> Result<&BaseProducer<Context>, String> {
        if self.producer.is_none() {
            // The client packs small messages together: also that must fit, with its frame.
            let packed_bytes_max = (1 << 20).min(self.message_bytes_max() / 2);
            self.config.set("batch.size", packed_bytes_max.to_string());
            let made = Producer::start(&self.config, Context(Arc::clone(&self.state)));
            self.producer = Some(made.map_err(|error| format!("make the Kafka producer: {error}"))?);
        }
        let made = self.producer.as_ref().map(|producer| &producer.client);
        made.ok_or_else(|| "there is no Kafka producer".to_owned())
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, key: &StreamKey, payload: Vec<u8>, ack: Ack) -> Result<(), Refused> {
        if !self.state.ready.load(Ordering::Acquire) {
            return Err(Refused::Full { payload, ack });
        }
        let bytes_max = self.message_bytes_max();
        if key.as_str().len() + payload.len() > bytes_max {
            ack.withdraw();
            return Err(Refused::Broken(format!(
                "the topic takes messages of {bytes_max} bytes at the most"
            )));
        }
        let topic = self.settings.topic.clone();
        let producer = self.producer().map_err(Refused::Broken)?;
        let headers =
            OwnedHeaders::new_with_capacity(1).insert(Header { key: HEADER, value: Some(HEADER_VALUE) });
        let record = BaseRecord::with_opaque_to(&topic, Box::new(ack))
            .key(key.as_str())
            .payload(&payload)
            .headers(headers);
        match producer.send(record) {
            Ok(()) => Ok(()),
            Err((Library::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                let ack = *record.delivery_opaque;
                Err(Refused::Full { payload, ack })
            }
            Err((error, record)) => {
                record.delivery_opaque.withdraw();
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                let why = reason(code, &self.settings.topic);
                self.state.mark_unhealthy(why.clone());
                Err(Refused::Broken(why))
            }
        }
    }

    fn message_bytes_max(&self) -> usize {
        self.state.message_bytes_max.load(Ordering::SeqCst)
    }

    fn take_answers(&mut self) {
        if let Some(producer) = &self.producer {
            producer.take_answers();
        }
    }

    fn answers_fd(&self) -> Option<BorrowedFd<'_>> {
        self.producer.as_ref().map(|producer| producer.answered.as_fd())
    }

    /// The client sends a topic partition's messages in one request if it has all of them, and no second request while more than a
    /// few messages are on their way: until these are answered it looks again and again, without a pause, whether it may.
    fn takes_flights(&self) -> bool {
        true
    }

    fn reset(&mut self) {
        if let Some(producer) = self.producer.take() {
            // Dropping waits for what is on the wire; nobody else should.
            let dropping =
                std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(producer));
            if let Err(error) = dropping {
                tracing::warn!(%error, "start a thread to end the Kafka producer");
            }
        }
    }
}

/// What to believe of the topic's largest message. `too_large`: one that was not larger than `before` was refused.
fn message_bytes_max(before: usize, told: Option<usize>, too_large: bool) -> usize {
    let told = told.map(|told| told.min(MESSAGE_BYTES_MAX));
    match told {
        Some(told) if !too_large || told < before => told,
        // Nobody says how much it takes.
        _ if too_large => before / 2,
        _ => before,
    }
}

/// Looks for the topic until it is there, and again while something is wrong: less often the longer that lasts, and not at the
/// same time as all other agents. One client does it; it goes when all is well.
async fn look_after_topic(
    settings: KafkaSettings,
    client_id: String,
    state: Arc<State>,
    waker: Waker,
    shutdown: CancellationToken,
) {
    let mut pauses = Pauses::new(LOOK_AGAIN_MIN, LOOK_AGAIN_MAX);
    let mut client = None;
    loop {
        let ready = state.ready.load(Ordering::Acquire);
        let mut pause = WELL;
        if ready && !state.troubled.load(Ordering::SeqCst) {
            client = None;
            pauses.reset();
        } else {
            let looking = async {
                let known = match client.take() {
                    Some(known) => known,
                    None => TopicClient::new(&settings, &client_id)?,
                };
                client.insert(known).ensure().await
            };
            match shutdown.run_until_cancelled(looking).await {
                None => return,
                Some(Ok(topic)) => {
                    if !ready {
                        tracing::info!(
                            topic = settings.topic,
                            topic_partitions = topic.partitions,
                            "topic found"
                        );
                    }
                    state.found(&topic);
                    waker.wake();
                }
                Some(Err(error)) => state.mark_unhealthy(error.to_string()),
            }
            if state.troubled.load(Ordering::SeqCst) {
                pause = pauses.pause();
            }
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_one_replica_acknowledges_is_told() {
        let registry = prometheus::Registry::new();
        let state = State {
            ready: AtomicBool::new(false),
            troubled: AtomicBool::new(true),
            message_bytes_max: AtomicUsize::new(MESSAGE_BYTES_MAX),
            too_large: AtomicBool::new(false),
            events_taken: AtomicU64::new(0),
            health: Health::new(&[CONDITION]),
            telemetry: Telemetry::new(&registry).expect("names are new"),
            topic: "logs".to_owned(),
        };
        let gauge = || {
            let families = registry.gather();
            let named = |name: &str| name == "cordwood_agent_single_acknowledgement";
            families
                .iter()
                .find(|family| named(family.name()))
                .map(|family| family.get_metric()[0].get_gauge().get_value())
        };
        // Altered, and back; a topic of one replica, or one that does not tell, is no case of it.
        for (replication, in_sync_min, told) in [
            (3, Some(2), 0.0),
            (3, Some(1), 1.0),
            (2, Some(1), 1.0),
            (3, None, 0.0),
            (1, Some(1), 0.0),
            (2, Some(1), 1.0),
        ] {
            let info = TopicInfo {
                partitions: 12,
                created: false,
                message_bytes_max: None,
                replication,
                in_sync_min,
            };
            state.found(&info);
            assert_eq!(gauge(), Some(told), "{replication} {in_sync_min:?}");
            assert!(state.ready.load(Ordering::SeqCst), "it is a warning: lines go on");
        }
    }

    #[test]
    fn the_topics_largest_message() {
        let max = MESSAGE_BYTES_MAX;
        let cases = [
            // (believed so far, told, refused) -> believed from now on
            ((max, Some(1_048_588), false), 1_048_588),
            ((max, Some(1 << 30), false), max),
            ((max, None, false), max),
            ((1_048_588, None, false), 1_048_588),
            // It was altered.
            ((1_048_588, Some(100_000), true), 100_000),
            ((100_000, Some(1_048_588), false), 1_048_588),
            // It does not tell, or it refuses what it says that it takes.
            ((max, None, true), max / 2),
            ((1_048_588, Some(1_048_588), true), 524_294),
        ];
        for ((before, told, too_large), expected) in cases {
            assert_eq!(message_bytes_max(before, told, too_large), expected, "{before} {told:?} {too_large}");
        }
    }
}
