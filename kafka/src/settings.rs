//! The `kafka:` section of a configuration file, and the client configurations that follow from it.

use std::path::PathBuf;

use cordwood_core::limits;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use serde::Deserialize;

/// Where Kafka is and how to be let in. Secrets come from files, never from the configuration itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSettings {
    /// `host:port`, several with commas.
    pub brokers: String,
    pub topic: String,
    /// Topic partitions of a topic that we create.
    pub partitions: i32,
    /// Replicas of a topic that we create; -1 takes the broker's default.
    pub replication: i32,
    pub compression: Compression,
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
}

impl Default for KafkaSettings {
    fn default() -> KafkaSettings {
        KafkaSettings {
            brokers: "127.0.0.1:9092".to_owned(),
            topic: "cordwood-logs".to_owned(),
            partitions: 12,
            replication: -1,
            compression: Compression::Zstd,
            tls: None,
            sasl: None,
        }
    }
}

/// What the agent's messages are compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Lz4,
    Zstd,
}

/// Absent files: the system's certificate authorities, and no certificate of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    pub mechanism: SaslMechanism,
    pub username: String,
    pub password_file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum SaslMechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    #[error("setting kafka.{key}: {message}")]
    Setting { key: &'static str, message: String },
    #[error("setting kafka.{key}: read {}: {source}", path.display())]
    File { key: &'static str, path: PathBuf, source: std::io::Error },
    #[error("kafka client: {0}")]
    Client(rdkafka::error::KafkaError),
    #[error("reach kafka at {brokers}: {why}")]
    Unreachable { brokers: String, why: String },
    #[error("create topic {topic}: {why}")]
    CreateTopic { topic: String, why: String },
    #[error("use topic {topic}: {why}")]
    Topic { topic: String, why: String },
}

impl KafkaError {
    /// Whether the configuration is at fault, so that trying again cannot help.
    pub fn is_configuration(&self) -> bool {
        matches!(self, KafkaError::Setting { .. } | KafkaError::File { .. })
    }
}

impl KafkaSettings {
    /// What every client shares: addresses, TLS, SASL.
    ///
    /// # Errors
    /// A setting that cannot be right, or a file that cannot be read; both name the key.
    pub fn client_config(&self, client_id: &str) -> Result<ClientConfig, KafkaError> {
        let mut config = ClientConfig::new();
        if self.brokers.trim().is_empty() {
            return Err(setting("brokers", "is empty; give host:port"));
        }
        if let Some(bad) = self.brokers.split(',').find(|broker| !is_host_port(broker.trim())) {
            return Err(setting("brokers", &format!("{bad:?} is not of the form host:port")));
        }
        if !is_topic_name(&self.topic) {
            return Err(setting(
                "topic",
                &format!("{:?} is not a topic name (1-249 of a-z A-Z 0-9 . _ -)", self.topic),
            ));
        }
        if self.partitions < 1 {
            return Err(setting("partitions", "must be 1 or more"));
        }
        if self.replication < 1 && self.replication != -1 {
            return Err(setting("replication", "must be 1 or more, or -1 for the broker's default"));
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", client_id)
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "2000")
            .set("socket.keepalive.enable", "true")
            // Brokers that come and go must be seen again soon, not after the default five minutes.
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("log.connection.close", "false");
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            let files = [
                ("tls.ca_file", "ssl.ca.location", &tls.ca_file),
                ("tls.cert_file", "ssl.certificate.location", &tls.cert_file),
                ("tls.key_file", "ssl.key.location", &tls.key_file),
            ];
            for (key, option, path) in files {
                if let Some(path) = path {
                    std::fs::File::open(path).map_err(|source| KafkaError::File {
                        key,
                        path: path.clone(),
                        source,
                    })?;
                    config.set(option, path.to_string_lossy());
                }
            }
            if tls.cert_file.is_some() != tls.key_file.is_some() {
                return Err(setting("tls", "cert_file and key_file go together"));
            }
        }
        if let Some(sasl) = &self.sasl {
            let password = std::fs::read_to_string(&sasl.password_file).map_err(|source| {
                KafkaError::File { key: "sasl.password_file", path: sasl.password_file.clone(), source }
            })?;
            let mechanism = match sasl.mechanism {
                SaslMechanism::Plain => "PLAIN",
                SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            config
                .set("sasl.mechanism", mechanism)
                .set("sasl.username", &sasl.username)
                .set("sasl.password", password.trim_end_matches(['\r', '\n']));
        }
        Ok(config)
    }

    /// The agent's producer: idempotent, `acks=all`, never giving a message up by itself.
    ///
    /// `queue_bytes_max` bounds what may wait inside the client.
    ///
    /// # Errors
    /// As [`KafkaSettings::client_config`].
    pub fn producer_config(
        &self,
        client_id: &str,
        queue_bytes_max: usize,
    ) -> Result<ClientConfig, KafkaError> {
        let mut config = self.client_config(client_id)?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // A failed message in the middle of a stream's messages would make a hole; then rather a fatal error, after
            // which everything that was not acknowledged is read and sent again.
            .set("enable.gapless.guarantee", "true")
            .set("message.timeout.ms", "0")
            .set("message.max.bytes", limits::MESSAGE_BYTES_MAX.to_string())
            // A message is a batch of lines already; waiting for company only adds latency.
            .set("linger.ms", "5")
            .set("queue.buffering.max.kbytes", (queue_bytes_max / 1024 + 1).to_string())
            .set("queue.buffering.max.messages", "100000")
            .set("retry.backoff.ms", "100")
            .set("retry.backoff.max.ms", "1000");
        match self.compression {
            Compression::None => config.set("compression.type", "none"),
            Compression::Lz4 => config.set("compression.type", "lz4"),
            Compression::Zstd => config.set("compression.type", "zstd").set("compression.level", "1"),
        };
        Ok(config)
    }
}

fn setting(key: &'static str, message: &str) -> KafkaError {
    KafkaError::Setting { key, message: message.to_owned() }
}

fn is_host_port(broker: &str) -> bool {
    broker.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && !host.contains('/')
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn is_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// What an error code means for the person who runs this, with the right or the setting that is missing.
pub fn reason(code: RDKafkaErrorCode, topic: &str) -> String {
    match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => format!(
            "not allowed: the user of kafka.sasl needs the rights DESCRIBE and WRITE (READ for the writer) on topic {topic}"
        ),
        RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "not allowed: the user of kafka.sasl needs the right IDEMPOTENT_WRITE on the cluster".to_owned()
        }
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
            "authentication failed: check kafka.sasl.username, kafka.sasl.password_file and kafka.sasl.mechanism"
                .to_owned()
        }
        RDKafkaErrorCode::SSL => {
            "TLS failed: check kafka.tls.ca_file and that the port speaks TLS".to_owned()
        }
        RDKafkaErrorCode::InvalidReplicationFactor => {
            "kafka.replication is larger than the number of brokers".to_owned()
        }
        RDKafkaErrorCode::MessageSizeTooLarge => {
            format!("a message is larger than topic {topic} takes (its max.message.bytes)")
        }
        RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure => {
            "no broker answers at kafka.brokers".to_owned()
        }
        RDKafkaErrorCode::Resolve => "the host name of kafka.brokers does not resolve".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl FnOnce(&mut KafkaSettings)) -> String {
        let mut settings = KafkaSettings::default();
        change(&mut settings);
        settings.client_config("test").unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let missing = PathBuf::from("/nonexistent/password");
        let cases = [
            (error(|s| s.brokers = String::new()), "setting kafka.brokers: is empty"),
            (error(|s| s.brokers = "kafka".into()), "\"kafka\" is not of the form host:port"),
            (error(|s| s.brokers = "a:9092,b:0".into()), "\"b:0\" is not of the form host:port"),
            (error(|s| s.topic = "a b".into()), "setting kafka.topic: \"a b\" is not a topic name"),
            (error(|s| s.partitions = 0), "setting kafka.partitions"),
            (error(|s| s.replication = 0), "setting kafka.replication"),
            (
                error(|s| {
                    s.sasl = Some(Sasl {
                        mechanism: SaslMechanism::Plain,
                        username: "u".into(),
                        password_file: missing,
                    });
                }),
                "setting kafka.sasl.password_file: read /nonexistent/password: ",
            ),
            (
                error(|s| s.tls = Some(Tls { ca_file: Some("/nonexistent/ca".into()), ..Tls::default() })),
                "setting kafka.tls.ca_file: read /nonexistent/ca: ",
            ),
        ];
        for (message, expected) in cases {
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn the_producer_is_idempotent_and_accepted_by_the_library() {
        let config = KafkaSettings::default().producer_config("test", 1 << 20).unwrap();
        assert_eq!(config.get("enable.idempotence"), Some("true"));
        assert_eq!(config.get("acks"), Some("all"));
        config.create_native_config().unwrap();
    }
}
