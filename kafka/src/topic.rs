//! Finds the topic, or creates it once. An existing topic is never altered.

use std::sync::Arc;
use std::time::Duration;

use cordwood_core::limits;
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError as Library, RDKafkaErrorCode};

use crate::refusal;
use crate::settings::{KafkaError, KafkaSettings, reason};

const TIMEOUT: Duration = Duration::from_secs(10);

/// What the cluster says about the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    pub partitions: u32,
    pub created: bool,
    /// Its `max.message.bytes`; `None` when Kafka does not tell us (the right DESCRIBE_CONFIGS on the topic).
    pub message_bytes_max: Option<usize>,
    /// Replicas of the topic partition that has the fewest.
    pub replication: u32,
    /// Its `min.insync.replicas`; `None` when Kafka does not tell us.
    pub in_sync_min: Option<u32>,
}

impl TopicInfo {
    /// A message may be acknowledged that only one broker has, although there are several to have it: its disk fails, and the
    /// message is gone without a trace.
    pub fn acknowledged_by_one(&self) -> bool {
        self.replication > 1 && self.in_sync_min.is_some_and(|replicas| replicas < 2)
    }
}

/// Replicas that must have a message before it is acknowledged, of a topic that we make with so many.
fn in_sync_min(replication: i32) -> Option<&'static str> {
    (replication >= 3).then_some("2")
}

/// What a topic says beside its settings.
struct Found {
    partitions: u32,
    replication: u32,
}

/// One client for all looks at the topic, as long as it is kept.
pub struct TopicClient {
    settings: KafkaSettings,
    config: ClientConfig,
    admin: Arc<AdminClient<DefaultClientContext>>,
}

impl TopicClient {
    /// # Errors
    /// When the settings cannot be right.
    pub fn new(settings: &KafkaSettings, client_id: &str) -> Result<TopicClient, KafkaError> {
        let mut config = settings.client_config(client_id)?;
        // Asking for a topic by its name would create it with the broker's defaults.
        config.set("allow.auto.create.topics", "false");
        let admin = Arc::new(config.create().map_err(KafkaError::Client)?);
        Ok(TopicClient { settings: settings.clone(), config, admin })
    }

    /// As [`ensure_topic`].
    ///
    /// # Errors
    /// As [`ensure_topic`].
    pub async fn ensure(&self) -> Result<TopicInfo, KafkaError> {
        ensure(&self.admin, &self.config, &self.settings).await
    }
}

/// Looks for the topic and makes it when it is missing, with room for our largest message. Several may do so at once.
///
/// # Errors
/// No broker answers; the topic cannot be created (the message names the topic and the right or setting that is missing).
pub async fn ensure_topic(settings: &KafkaSettings, client_id: &str) -> Result<TopicInfo, KafkaError> {
    TopicClient::new(settings, client_id)?.ensure().await
}

async fn ensure(
    admin: &Arc<AdminClient<DefaultClientContext>>,
    config: &ClientConfig,
    settings: &KafkaSettings,
) -> Result<TopicInfo, KafkaError> {
    let found = match partitions_of(admin, settings).await {
        Err(KafkaError::Unreachable { brokers, why }) => {
            let config = config.clone();
            let refusal = tokio::task::spawn_blocking(move || refusal::find(&config)).await.ok().flatten();
            return Err(KafkaError::Unreachable { brokers, why: refusal.unwrap_or(why) });
        }
        found => found?,
    };
    if let Some(found) = found {
        return Ok(info(admin, settings, &found, false).await);
    }
    let max = limits::MESSAGE_BYTES_MAX.to_string();
    let mut topic =
        NewTopic::new(&settings.topic, settings.partitions, TopicReplication::Fixed(settings.replication))
            .set("max.message.bytes", &max);
    let replication = match settings.replication {
        -1 => default_replication(admin).await.unwrap_or(-1),
        given => given,
    };
    if let Some(replicas) = in_sync_min(replication) {
        topic = topic.set("min.insync.replicas", replicas);
    }
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
        if let Some(found) = partitions_of(admin, settings).await? {
            return Ok(info(admin, settings, &found, true).await);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(cannot("it was created but is not there".to_owned()))
}

/// `None`: no such topic. (Asks for this one alone: a cluster may have thousands, and every agent asks.)
async fn partitions_of(
    admin: &Arc<AdminClient<DefaultClientContext>>,
    settings: &KafkaSettings,
) -> Result<Option<Found>, KafkaError> {
    let (asked, topic) = (Arc::clone(admin), settings.topic.clone());
    let metadata = tokio::task::spawn_blocking(move || asked.inner().fetch_metadata(Some(&topic), TIMEOUT))
        .await
        .map_err(|error| KafkaError::Unreachable {
            brokers: settings.brokers.clone(),
            why: error.to_string(),
        })?
        .map_err(|error| KafkaError::Unreachable {
            brokers: settings.brokers.clone(),
            why: library_reason(&error, settings),
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
        None => {
            let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
            let fewest = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
            let partitions = count(topic.partitions().len());
            Ok(Some(Found { partitions, replication: count(fewest.unwrap_or(0)) }))
        }
    }
}

async fn info(
    admin: &AdminClient<DefaultClientContext>,
    settings: &KafkaSettings,
    found: &Found,
    created: bool,
) -> TopicInfo {
    let asked = ResourceSpecifier::Topic(&settings.topic);
    let config = config_of(admin, &asked).await;
    if let Err(why) = &config {
        tracing::debug!(topic = settings.topic, why, "ask for the topic's settings");
    }
    let number = |key: &str| config.as_ref().ok()?.get(key)?.value.as_ref()?.parse::<u32>().ok();
    TopicInfo {
        partitions: found.partitions,
        created,
        message_bytes_max: number("max.message.bytes").map(|bytes| bytes as usize),
        replication: found.replication,
        in_sync_min: number("min.insync.replicas"),
    }
}

/// How many replicas the brokers give a topic that asks for their default.
async fn default_replication(admin: &Arc<AdminClient<DefaultClientContext>>) -> Option<i32> {
    let asked = Arc::clone(admin);
    let metadata = tokio::task::spawn_blocking(move || asked.inner().fetch_metadata(None, TIMEOUT));
    let broker = metadata.await.ok()?.ok()?.brokers().first()?.id();
    let config = config_of(admin, &ResourceSpecifier::Broker(broker)).await.ok()?;
    config.get("default.replication.factor")?.value.as_ref()?.parse().ok()
}

async fn config_of(
    admin: &AdminClient<DefaultClientContext>,
    asked: &ResourceSpecifier<'_>,
) -> Result<ConfigResource, String> {
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    match admin.describe_configs(std::iter::once(asked), &options).await {
        Ok(answers) => match answers.into_iter().next() {
            Some(Ok(config)) => Ok(config),
            Some(Err(code)) => Err(reason(code, "")),
            None => Err("no answer".to_owned()),
        },
        Err(error) => Err(error.to_string()),
    }
}

fn library_reason(error: &Library, settings: &KafkaSettings) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| reason(code, &settings.topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_replicas_acknowledge_where_there_are_three() {
        let made = [-1, 1, 2, 3, 5].map(in_sync_min);
        assert_eq!(made, [None, None, None, Some("2"), Some("2")]);
        let topic = |replication, in_sync_min| TopicInfo {
            partitions: 12,
            created: false,
            message_bytes_max: None,
            replication,
            in_sync_min,
        };
        let cases = [(1, Some(1)), (3, Some(2)), (3, None), (3, Some(1)), (2, Some(1))];
        let said = cases.map(|(replication, in_sync)| topic(replication, in_sync).acknowledged_by_one());
        assert_eq!(said, [false, false, false, true, true]);
    }
}
