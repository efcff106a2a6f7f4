//! The agent: a node's log files, read once, to Kafka (or whatever [`Sink`] there is).
//!
//! ```text
//! discover (folders) -> files::rotation (which file is next) -> tail (bytes) -> batching -> core::pipeline (records) -> collect (batches)
//!   -> ship -> kafka_sink -> Kafka -> acknowledged -> log_file::delivery -> progress -> checkpoint (on disk)
//! ```
//!
//! One thread does it ([`reader`]). A log ([`container_log`]) and a file ([`log_file`]) are made of parts that own their state. The watches of the cluster ([`cluster`], [`rules`]) and the endpoints run beside it on a small runtime.

mod account;
mod audit_budgets;
mod batching;
mod begun;
mod binding;
mod bound;
pub mod checkpoint;
mod clock;
mod closed;
pub mod cluster;
mod collect;
mod compression;
pub mod config;
mod container_log;
pub mod context;
mod cuts;
mod delivery;
mod descriptors;
mod discover;
mod ending;
mod files;
mod folder;
mod hole;
mod kafka_sink;
#[cfg(test)]
mod line_tenants_tests;
mod log_file;
mod log_id;
mod look;
mod lookup;
mod loss;
mod marks;
mod meter;
mod node_id;
mod owner;
mod pace;
mod progress;
mod reader;
mod reading;
mod remembered;
pub mod rules;
mod same_file;
mod ship;
mod sink;
mod sizes;
mod source;
mod sources;
mod stage;
mod state;
mod tail;
mod telemetry;
mod turn;
mod waited;
mod wake;
mod watching;

use std::sync::Arc;

use anyhow::Context as _;
use cordwood_core::levels::LevelRules;
use cordwood_service::Health;
use tokio::sync::watch;

pub use config::Config;
pub use context::Static;
pub use descriptors::raise_descriptor_limit;
pub use ending::Ending;
pub use kafka_sink::KafkaSink;
pub use lookup::ContextSource;
pub use sink::{Ack, Refused, Sink};
pub use telemetry::{Status, Telemetry};
pub use wake::Waker;
pub use watching::client;

/// The conditions that the reader sets; `kafka`, `pods`, `namespaces`, `owners` and `rules` come from the parts that provide them.
pub const CONDITIONS: &[&str] = &["files"];

/// What the agent is given from outside.
pub struct Environment {
    /// From the cluster, or [`Static`].
    pub context: ContextSource,
    pub rules: watch::Receiver<Arc<LevelRules>>,
    /// A part that changes `context` or `rules` wakes the reader.
    pub waker: Waker,
    pub telemetry: Telemetry,
    pub health: Health,
}

/// Reads until its end (a token that is cancelled, or an [`Ending`]), then sends what it has read and writes the checkpoint.
///
/// # Errors
/// When the state folder cannot be used, or no thread can be started.
pub async fn run(
    config: Config,
    sink: impl Sink + 'static,
    environment: Environment,
    ending: impl Into<Ending>,
) -> anyhow::Result<()> {
    let ending = ending.into();
    let shutdown = ending.shutdown.clone();
    let folder = config.state_dir.clone();
    let unusable = || format!("use the state folder {} (setting state_dir)", folder.display());
    let held = state::hold(&folder).await.with_context(unusable)?;
    let loaded = checkpoint::load(&folder).with_context(unusable)?;
    let node = node_id::load(&folder, &config.node).with_context(unusable)?;
    let mut tally = telemetry::Tally::default();
    tally.checkpoints_torn += u64::from(loaded.torn);
    let waker = environment.waker.clone();
    let reader = reader::Reader::new(reader::Parts {
        ship: ship::Shipper::new(Box::new(sink), waker.clone()),
        checkpoint: checkpoint::Writer::start(folder).context("start the checkpoint's thread")?,
        remembered: remembered::Remembered::new(loaded.checkpoint.taken_over_by(&node).logs),
        node,
        tally,
        environment,
        ending,
        config,
    });
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("reader".to_owned())
        .spawn(move || {
            let result = reader.run();
            drop(held);
            let _ = done.send(result);
        })
        .context("start the reader's thread")?;
    let wake = tokio::spawn(async move {
        shutdown.cancelled().await;
        waker.wake();
    });
    let result = ended.await.context("the reader ended without a word")?;
    wake.abort();
    result
}
