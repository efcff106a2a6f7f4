//! Chooses where searches read: on a replica of the database if there is one that keeps up, else on the primary. Streams, tasks and single records
//! are always read on the primary, because the caller has just seen them there.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cordwood_core::filter::Filter;
use cordwood_core::scope::Scope;
use cordwood_store::search::{Counts, Found, Page, TimeRange, count, search};
use cordwood_store::{Store, StoreError, replica};

use crate::Gateway;
use crate::metrics::Metrics;

/// So long what was found out of the replica holds.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So long nothing is asked of one that failed.
const LEFT_FOR: Duration = Duration::from_secs(5);
/// It may be what does not answer.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// A replica, and whether it is fit to be read from.
#[derive(Debug)]
pub struct Replica {
    store: Store,
    lag_max: Duration,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Why it is not.
    unfit: Option<&'static str>,
    /// Until then.
    holds: Instant,
}

impl Replica {
    /// `store`: as [`Store::replica_of`] makes it.
    pub fn new(store: Store, lag_max: Duration) -> Replica {
        Replica { store, lag_max, known: Mutex::new(Known { unfit: None, holds: Instant::now() }) }
    }

    async fn unfit(&self, primary: &Store) -> Option<&'static str> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() < known.holds {
            return known.unfit;
        }
        let lag = tokio::time::timeout(LOOK_PATIENCE, replica::lag(primary, &self.store)).await;
        match lag {
            Ok(Ok(lag)) if lag <= self.lag_max => self.learn(None, LOOK_EVERY),
            Ok(Ok(_)) => self.learn(Some("behind"), LOOK_EVERY),
            Ok(Err(_)) | Err(_) => self.learn(Some("away"), LEFT_FOR),
        }
    }

    fn learn(&self, unfit: Option<&'static str>, holds: Duration) -> Option<&'static str> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if unfit.is_some() && known.unfit != unfit {
            tracing::warn!(why = unfit, replica = self.store.at(), "searches use the primary database");
        }
        *known = Known { unfit, holds: Instant::now() + holds };
        unfit
    }

    /// `None`: to be asked of the database itself.
    async fn ask<T>(
        &self,
        primary: &Store,
        metrics: &Metrics,
        ask: impl AsyncFnOnce(&Store) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        if let Some(why) = self.unfit(primary).await {
            metrics.passed_over(why);
            return None;
        }
        match ask(&self.store).await {
            // Elsewhere it would take as long.
            Err(error) if error.code() != Some(&StoreError::STATEMENT_TIMEOUT) => {
                tracing::warn!(%error, "a replica did not answer a search");
                self.learn(Some("away"), LEFT_FOR);
                metrics.passed_over("away");
                None
            }
            answered => {
                metrics.replica_reads.inc();
                Some(answered)
            }
        }
    }
}

impl Gateway {
    /// A page, of the replica where it can be.
    pub async fn search(
        &self,
        scope: &Scope,
        filter: &Filter,
        range: TimeRange,
        page: Page,
        budget_ms: u64,
    ) -> Result<Found, StoreError> {
        let ask = async |store: &Store| search(store, scope, filter, range, page, budget_ms).await;
        if let Some(replica) = &self.replica
            && let Some(answered) = replica.ask(&self.store, &self.metrics, ask).await
        {
            return answered;
        }
        ask(&self.store).await
    }

    /// Counts over time, of the replica where it can be.
    pub async fn count(
        &self,
        scope: &Scope,
        filter: &Filter,
        range: TimeRange,
        bin_us: i64,
        budget_ms: u64,
    ) -> Result<Counts, StoreError> {
        let ask = async |store: &Store| count(store, scope, filter, range, bin_us, budget_ms).await;
        if let Some(replica) = &self.replica
            && let Some(answered) = replica.ask(&self.store, &self.metrics, ask).await
        {
            return answered;
        }
        ask(&self.store).await
    }
}
