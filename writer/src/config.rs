//! The writer's configuration file: its keys, defaults and checks.

use std::net::SocketAddr;
use std::time::Duration;

use cordwood_core::block::Format;
use cordwood_kafka::KafkaSettings;
use cordwood_service::RedisSettings;
use cordwood_store::Settings;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: KafkaSettings,
    /// The consumer group that the writers share.
    pub group: String,
    /// This writer's name in the group, another one for each writer and the same after a restart. Absent: `$POD_NAME`; without that
    /// none, and a writer that was killed reads on only when Kafka has given up the session of the dead one.
    pub member: Option<String>,
    pub database: Settings,
    /// Bring the schema up to date at the start; needs the right to create tables. The operator does it otherwise.
    pub migrate: bool,
    /// Absent: no live feed.
    pub redis: Option<RedisSettings>,
    /// Metrics, probes, status.
    pub listen: SocketAddr,
    pub commit: CommitSettings,
    pub seal: SealSettings,
}

/// When a transaction is cut: what comes first.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommitSettings {
    pub records_max: usize,
    pub bytes_max: usize,
    pub linger_ms: u64,
}

/// When fresh blocks are sealed: what comes first.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SealSettings {
    /// Off: another writer seals.
    pub enabled: bool,
    pub interval_seconds: f64,
    pub records_max: u64,
    /// Of the blocks that sealing writes: 1 to 3. What is stored in the others is read all the same. Absent: the newest that the database has.
    pub format: Option<u8>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            kafka: KafkaSettings::default(),
            group: "cordwood-writer".to_owned(),
            member: None,
            database: Settings::default(),
            migrate: false,
            redis: None,
            listen: SocketAddr::from(([0, 0, 0, 0], 8081)),
            commit: CommitSettings::default(),
            seal: SealSettings::default(),
        }
    }
}

impl Default for CommitSettings {
    fn default() -> CommitSettings {
        CommitSettings { records_max: 20_000, bytes_max: 32 << 20, linger_ms: 50 }
    }
}

impl Default for SealSettings {
    fn default() -> SealSettings {
        SealSettings { enabled: true, interval_seconds: 120.0, records_max: 2_000_000, format: None }
    }
}

impl SealSettings {
    pub fn interval(&self) -> Duration {
        Duration::try_from_secs_f64(self.interval_seconds).unwrap_or(Duration::from_secs(120))
    }

    /// Of a checked configuration. `None`: as the database says.
    pub fn block_format(&self) -> Option<Format> {
        self.format.and_then(|format| Format::of(format).ok())
    }
}

impl Config {
    pub fn member(&self) -> Option<String> {
        let pod = || std::env::var("POD_NAME").ok();
        self.member.clone().or_else(pod).filter(|member| !member.is_empty())
    }

    /// What no type can say. The message names the key.
    pub fn check(&self) -> Result<(), String> {
        if self.commit.records_max == 0 || self.commit.records_max > 1_000_000 {
            return Err("commit.records_max: must be 1 to 1000000".to_owned());
        }
        if self.commit.bytes_max < 1 << 16 || self.commit.bytes_max > 256 << 20 {
            return Err("commit.bytes_max: must be 65536 to 268435456".to_owned());
        }
        if self.commit.linger_ms > 10_000 {
            return Err("commit.linger_ms: must be at most 10000".to_owned());
        }
        if !(0.05..=86_400.0).contains(&self.seal.interval_seconds) {
            return Err("seal.interval_seconds: must be 0.05 to 86400".to_owned());
        }
        if self.seal.records_max < 1000 {
            return Err("seal.records_max: must be 1000 or more".to_owned());
        }
        if self.seal.format.is_some_and(|format| Format::of(format).is_err()) {
            return Err("seal.format: must be 1 to 3".to_owned());
        }
        if self.group.is_empty() {
            return Err("group: must not be empty".to_owned());
        }
        Ok(())
    }
}
