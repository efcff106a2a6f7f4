//! How many questions are under way at once: above it callers are told to come back. Some slots are kept for short questions, so
//! that long ones never take all; exports and streams have their own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::problem::Problem;

/// A question waits so long for a slot before it is turned away: a page of a browser asks several things at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a question may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Short,
    Long,
    Export,
    Stream,
}

#[derive(Debug)]
pub struct Slots {
    any: Arc<Semaphore>,
    short: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// Given back when dropped.
#[derive(Debug)]
pub struct Slot(#[allow(dead_code)] OwnedSemaphorePermit);

impl Slots {
    pub fn new(limits: &Limits) -> Slots {
        let slots = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let kept = limits.queries_kept_for_short.min(limits.queries_max);
        Slots {
            any: slots(limits.queries_max - kept),
            short: slots(kept),
            exports: slots(limits.exports_max),
            streams: slots(limits.streams_max),
        }
    }

    /// # Errors
    /// When none comes free in a moment.
    pub async fn take(&self, length: Length) -> Result<Slot, Problem> {
        let of = |slots: &Arc<Semaphore>| tokio::time::timeout(PATIENCE, Arc::clone(slots).acquire_owned());
        let at_once =
            |slots: &Arc<Semaphore>| Arc::clone(slots).try_acquire_owned().map_err(|_| Problem::busy());
        let permit = match length {
            Length::Export => at_once(&self.exports)?,
            Length::Stream => at_once(&self.streams)?,
            Length::Long => {
                of(&self.any).await.map_err(|_| Problem::busy())?.map_err(|_| Problem::internal())?
            }
            Length::Short => {
                if let Ok(permit) = Arc::clone(&self.any).try_acquire_owned() {
                    permit
                } else {
                    of(&self.short).await.map_err(|_| Problem::busy())?.map_err(|_| Problem::internal())?
                }
            }
        };
        Ok(Slot(permit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn short_questions_have_slots_that_long_ones_never_take() {
        let limits = Limits { queries_max: 3, queries_kept_for_short: 1, exports_max: 1, streams_max: 0 };
        let slots = Slots::new(&limits);
        let long = (slots.take(Length::Long).await.unwrap(), slots.take(Length::Long).await.unwrap());
        assert!(slots.take(Length::Long).await.is_err());
        let short = slots.take(Length::Short).await.unwrap();
        assert!(slots.take(Length::Short).await.is_err());
        let export = slots.take(Length::Export).await.unwrap();
        assert!(slots.take(Length::Export).await.is_err());
        assert!(slots.take(Length::Stream).await.is_err());
        drop((long, short, export));
        assert!(slots.take(Length::Long).await.is_ok() && slots.take(Length::Export).await.is_ok());
    }
}
