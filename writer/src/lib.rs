//! Kafka -> PostgreSQL: fresh blocks in one transaction with positions and watermarks, sealing, the live feed.
//!
//! ```text
//! kafka_source -> run -> intake (which records are new, into open blocks) -> store::lane (one transaction) -> position in PostgreSQL
//!                                         sealer -> placer (fresh records to their classes) -> store::seal (table partitions)
//!                                         feed -> Redis (after the commit; may fail)
//! ```
//!
//! Promises: each record is stored exactly once, whatever is killed or cut; a poisonous message ends in `dead_letters` and
//! stops nothing; Redis being away delays nothing; PostgreSQL being away loses nothing.

mod beginning;
mod clock;
mod committing;
pub mod config;
mod deadline;
mod failure;
pub mod feed;
mod gaps;
mod intake;
pub mod kafka_source;
mod making;
pub mod metrics;
mod placer;
pub mod queue;
mod reporter;
mod run;
pub mod sealer;
pub mod source;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use cordwood_service::Health;
use cordwood_store::Store;
use prometheus::Registry;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

pub use config::{CommitSettings, Config, SealSettings};
pub use feed::{Feed, FeedRecord, NoFeed, RedisFeed};
pub use kafka_source::KafkaSource;
pub use metrics::Metrics;
pub use placer::RecordPlacer;
pub use queue::{QueueSender, QueueSource, queue};
pub use source::{Event, Message, Source, SourceStatus};

/// Readiness conditions that [`run`] sets; for [`Health::new`].
pub const CONDITIONS: [&str; 2] = ["postgres", "source"];

/// What a writer needs besides its source and feed.
pub struct Parts {
    pub store: Store,
    pub health: Health,
    pub metrics: Metrics,
    pub commit: CommitSettings,
    pub seal: SealSettings,
    pub shutdown: CancellationToken,
}

impl Parts {
    /// With defaults and metrics of its own.
    pub fn new(store: Store, registry: &Registry, shutdown: CancellationToken) -> prometheus::Result<Parts> {
        Ok(Parts {
            store,
            health: Health::new(&CONDITIONS),
            metrics: Metrics::register(registry)?,
            commit: CommitSettings::default(),
            seal: SealSettings::default(),
            shutdown,
        })
    }
}

/// Writes and seals until the source ends or the shutdown. `status` is what `/status` shows of the source.
///
/// # Errors
/// Only what no retry can fix: the database belongs to another topic, or a task of this process broke.
pub async fn run(
    parts: Parts,
    source: impl Source,
    feed: Arc<dyn Feed>,
    status: Arc<Mutex<SourceStatus>>,
) -> anyhow::Result<()> {
    let Parts { store, health, metrics, commit, seal, shutdown } = parts;
    let ended = shutdown.child_token();
    let mut sealing =
        seal.enabled.then(|| tokio::spawn(sealer::run(store.clone(), seal, metrics.clone(), ended.clone())));
    let reporter = reporter::Reporter::new(health, metrics, status);
    let writer = run::Writer::new(source, feed, store, commit, reporter, shutdown);
    let mut writing = std::pin::pin!(writer.run());
    let result = loop {
        tokio::select! {
            biased;
            result = &mut writing => break result,
            done = sealer_done(&mut sealing) => {
                sealing = None;
                // Without a sealer the rings would only grow.
                done.context("the sealer ended")?;
            }
        }
    };
    ended.cancel();
    if let Some(sealing) = sealing {
        let _ = sealing.await;
    }
    result
}

async fn sealer_done(sealing: &mut Option<JoinHandle<()>>) -> Result<(), JoinError> {
    match sealing {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

/// The body of `/status`.
pub fn status(metrics: Metrics, source: Arc<Mutex<SourceStatus>>) -> cordwood_service::StatusFn {
    Arc::new(move || metrics.status(&source.lock().unwrap_or_else(PoisonError::into_inner)))
}
