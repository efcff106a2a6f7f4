//! What agent and writer share of Kafka: the settings, how a client is made from them, and how the topic is found or created. The agent
//! produces and the writer consumes; nothing here does either.

mod refusal;
mod settings;
mod topic;

pub use settings::{Compression, KafkaError, KafkaSettings, Sasl, SaslMechanism, Tls, reason};
pub use topic::{TopicClient, TopicInfo, ensure_topic};

/// The header that marks a message as written by a Cordwood agent; its value is the version of the batch format.
pub use cordwood_core::batch::{KAFKA_HEADER as HEADER, KAFKA_HEADER_VALUE as HEADER_VALUE};
