//! The topic: found as it is, or made once. An existing topic is never altered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cordwood_core::limits;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as Library, RDKafkaErrorCode};

use crate::settings::{KafkaError, KafkaSettings, reason};

const TIMEOUT: Duration = Duration::from_secs(10);

/// What the cluster says about the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    pub partitions: u32,
    pub created: bool,
    /// Its `max.message.bytes`; `None` when Kafka does not tell us (the right DESCRIBE_CONFIGS on the topic).
    pub message_bytes_max: Option<usize>,
}

/// Looks for the topic and makes it when it is missing, with room for our largest message. Several may do so at once.
///
/// # Errors
/// No broker answers; the topic cannot be created (the message names the topic and the right or setting that is missing).
pub async fn ensure_topic(settings: &KafkaSettings, client_id: &str) -> Result<TopicInfo, KafkaError> {
    let mut config = settings.client_config(client_id)?;
    // `Refusals` listens to what the library logs.
    config.set_log_level(RDKafkaLogLevel::Info);
    let admin: AdminClient<Refusals> =
        config.create_with_context(Refusals::default()).map_err(KafkaError::Client)?;
    let admin = Arc::new(admin);
    if let Some(partitions) = partitions_of(&admin, settings).await? {
        let message_bytes_max = message_bytes_max_of(&admin, settings).await;
        return Ok(TopicInfo { partitions, created: false, message_bytes_max });
    }
    let max = limits::MESSAGE_BYTES_MAX.to_string();
    let topic =
        NewTopic::new(&settings.topic, settings.partitions, TopicReplication::Fixed(settings.replication))
            .set("max.message.bytes", &max);
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    let cannot = |why: String| KafkaError::CreateTopic { topic: settings.topic.clone(), why };
    let answers = admin
        .create_topics([&topic], &options)
        .await
        .map_err(|error| cannot(library_reason(&error, settings)))?;
    match answers.into_iter().next() {
        Some(Ok(_)) => {
            tracing::info!(topic = settings.topic, topic_partitions = settings.partitions, "topic created")
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
        Some(Err((_, RDKafkaErrorCode::TopicAuthorizationFailed))) => {
            return Err(cannot(format!(
                "not allowed: give the user of kafka.sasl the right CREATE on topic {0} (or on the cluster), or create {0} beforehand",
                settings.topic
            )));
        }
        Some(Err((_, RDKafkaErrorCode::ClusterAuthorizationFailed))) => {
            return Err(cannot("not allowed: give the user of kafka.sasl the right CREATE on the cluster, or create the topic beforehand".to_owned()));
        }
        Some(Err((_, code))) => return Err(cannot(reason(code, &settings.topic))),
        None => return Err(cannot("the broker did not answer for it".to_owned())),
    }
    // The brokers take a moment to agree on a new topic.
    for _ in 0..50 {
        if let Some(partitions) = partitions_of(&admin, settings).await? {
            let message_bytes_max = message_bytes_max_of(&admin, settings).await;
            return Ok(TopicInfo { partitions, created: true, message_bytes_max });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(cannot("it was created but is not there".to_owned()))
}

/// Why brokers that answer refuse us. The library itself only says that it has found none that it may use, and tells the
/// reason in its log.
#[derive(Default)]
struct Refusals(Mutex<Option<String>>);

impl Refusals {
    fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Refusals {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, message);
        let lower = message.to_ascii_lowercase();
        let code = match () {
            () if facility != "FAIL" => return,
            () if lower.contains("sasl") || lower.contains("authentication") => {
                RDKafkaErrorCode::SaslAuthenticationFailed
            }
            () if lower.contains("ssl") => RDKafkaErrorCode::SSL,
            () if lower.contains("failed to resolve") => RDKafkaErrorCode::Resolve,
            () => return,
        };
        let said = message.rsplit_once("]: ").map_or(message, |(_, said)| said);
        let why = format!("{} ({said})", reason(code, ""));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

/// `None`: no such topic. Asks for all topics, because asking for one by name may create it with the broker's defaults.
async fn partitions_of(
    admin: &Arc<AdminClient<Refusals>>,
    settings: &KafkaSettings,
) -> Result<Option<u32>, KafkaError> {
    let asked = Arc::clone(admin);
    let metadata = tokio::task::spawn_blocking(move || asked.inner().fetch_metadata(None, TIMEOUT))
        .await
        .map_err(|error| KafkaError::Unreachable {
            brokers: settings.brokers.clone(),
            why: error.to_string(),
        })?
        .map_err(|error| KafkaError::Unreachable {
            brokers: settings.brokers.clone(),
            why: admin.inner().context().last().unwrap_or_else(|| library_reason(&error, settings)),
        })?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == settings.topic) else {
        return Ok(None);
    };
    match topic.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok(None),
        Some(code) => {
            Err(KafkaError::Topic { topic: settings.topic.clone(), why: reason(code, &settings.topic) })
        }
        None if topic.partitions().is_empty() => Ok(None),
        None => Ok(Some(u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX))),
    }
}

async fn message_bytes_max_of(admin: &AdminClient<Refusals>, settings: &KafkaSettings) -> Option<usize> {
    let asked = [ResourceSpecifier::Topic(&settings.topic)];
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let answer = match admin.describe_configs(&asked, &options).await {
        Ok(answers) => answers.into_iter().next()?.map_err(|code| reason(code, &settings.topic)),
        Err(error) => Err(library_reason(&error, settings)),
    };
    match answer {
        Ok(config) => config.get("max.message.bytes")?.value.as_ref()?.parse().ok(),
        Err(why) => {
            tracing::debug!(topic = settings.topic, why, "ask for the topic's max.message.bytes");
            None
        }
    }
}

fn library_reason(error: &Library, settings: &KafkaSettings) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| reason(code, &settings.topic))
}
