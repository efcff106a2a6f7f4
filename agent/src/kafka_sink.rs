//! The sink of a cluster: an idempotent Kafka producer, made anew when it cannot go on.
//! Promises: nothing is given up silently; what Kafka says about itself is the readiness condition `kafka`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cordwood_core::identity::StreamKey;
use cordwood_core::limits::MESSAGE_BYTES_MAX;
use cordwood_kafka::{HEADER, HEADER_VALUE, KafkaError, KafkaSettings, ensure_topic, reason};
use cordwood_service::Health;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as Library, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tokio_util::sync::CancellationToken;

use crate::sink::{Ack, Refused, Sink};
use crate::wake::Waker;

const CONDITION: &str = "kafka";

pub struct KafkaSink {
    settings: KafkaSettings,
    config: ClientConfig,
    state: Arc<State>,
    producer: Option<ThreadedProducer<Context>>,
}

/// Shared with the producer's thread and the task that looks after the topic.
struct State {
    /// The topic is there.
    ready: AtomicBool,
    /// Something is wrong; the next delivery, or a look at the topic, says that it is over.
    troubled: AtomicBool,
    health: Health,
    topic: String,
}

impl State {
    fn trouble(&self, why: String) {
        self.troubled.store(true, Ordering::SeqCst);
        self.health.set(CONDITION, Err(why));
    }

    fn well(&self) {
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
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        self.0.trouble(format!("{} ({said})", reason(code, &self.0.topic)));
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ack>;

    fn delivery(&self, result: &DeliveryResult<'_>, ack: Box<Ack>) {
        match result {
            Ok(_) => {
                self.0.well();
                ack.acknowledge();
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                let why = reason(code, &self.0.topic);
                // What we purge ourselves is no news.
                if !matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) {
                    self.0.trouble(why.clone());
                }
                ack.fail(why);
            }
        }
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
            health,
            topic: settings.topic.clone(),
        });
        let looking =
            look_after_topic(settings.clone(), client_id.to_owned(), Arc::clone(&state), waker, shutdown);
        tokio::spawn(looking);
        Ok(KafkaSink { settings, config, state, producer: None })
    }

    fn producer(&mut self) -> Result<&ThreadedProducer<Context>, String> {
        if self.producer.is_none() {
            let made =
                ThreadedProducer::from_config_and_context(&self.config, Context(Arc::clone(&self.state)));
            self.producer = Some(made.map_err(|error| format!("make the Kafka producer: {error}"))?);
        }
        self.producer.as_ref().ok_or_else(|| "there is no Kafka producer".to_owned())
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, key: &StreamKey, payload: Vec<u8>, ack: Ack) -> Result<(), Refused> {
        if !self.state.ready.load(Ordering::Acquire) {
            return Err(Refused::Full { payload, ack });
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
                self.state.trouble(why.clone());
                Err(Refused::Broken(why))
            }
        }
    }

    fn restart(&mut self) {
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

/// Looks for the topic until it is there, and again whenever something is wrong.
async fn look_after_topic(
    settings: KafkaSettings,
    client_id: String,
    state: Arc<State>,
    waker: Waker,
    shutdown: CancellationToken,
) {
    loop {
        let ready = state.ready.load(Ordering::Acquire);
        if !ready || state.troubled.load(Ordering::SeqCst) {
            match shutdown.run_until_cancelled(ensure_topic(&settings, &client_id)).await {
                None => return,
                Some(Ok(topic)) => {
                    if !ready {
                        tracing::info!(
                            topic = settings.topic,
                            topic_partitions = topic.partitions,
                            "topic found"
                        );
                    }
                    state.ready.store(true, Ordering::Release);
                    state.well();
                    waker.wake();
                }
                Some(Err(error)) => state.trouble(error.to_string()),
            }
        }
        let pause = if state.ready.load(Ordering::Acquire) { 5 } else { 2 };
        if shutdown.run_until_cancelled(tokio::time::sleep(Duration::from_secs(pause))).await.is_none() {
            return;
        }
    }
}
