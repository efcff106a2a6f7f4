//! How every part speaks to Kafka: one shape of settings, one way to make a client, one way to find or make the topic.
//! Nothing here produces or consumes; that is the agent's and the writer's business.

mod refusal;
mod settings;
mod topic;

pub use settings::{Compression, KafkaError, KafkaSettings, Sasl, SaslMechanism, Tls, reason};
pub use topic::{TopicClient, TopicInfo, ensure_topic};

/// The header that marks a message as written by a Cordwood agent; its value is the version of the batch format.
pub use cordwood_core::batch::{KAFKA_HEADER as HEADER, KAFKA_HEADER_VALUE as HEADER_VALUE};
