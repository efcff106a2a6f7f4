//! Explains why a reachable broker refuses this client.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError as Library, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use crate::settings::reason;

/// How long to wait for the reason. Brokers delay authentication failures by about a second, to slow down password guessing.
const PATIENCE: Duration = Duration::from_secs(3);

/// The first refusal that the library reports of its connections.
#[derive(Clone, Default)]
struct Refusals(Arc<Mutex<Option<String>>>);

impl ClientContext for Refusals {
    fn error(&self, error: Library, said: &str) {
        let code = match error.rdkafka_error_code() {
            Some(
                code @ (RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL | RDKafkaErrorCode::Resolve),
            ) => code,
            _ => return,
        };
        let why = format!("{} ({said})", reason(code, ""));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }
}

impl ProducerContext for Refusals {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Connects once more and waits for a refusal. The library's answer to a request only says that no broker can be used. It reports the reason
/// by events, which only a producer passes on. `None`: no broker refuses this client, so none can be reached. Blocks for up to [`PATIENCE`].
pub fn find(config: &ClientConfig) -> Option<String> {
    let refusals = Refusals::default();
    let client: BaseProducer<Refusals> = config.create_with_context(refusals.clone()).ok()?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let _ = client.client().fetch_metadata(None, Duration::from_millis(200));
        client.poll(Duration::from_millis(100));
        let found = refusals.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if found.is_some() {
            return found;
        }
    }
    None
}
