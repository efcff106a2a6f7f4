//! How many questions are under way at once: above it callers are told to come back. Some slots are kept for short questions, so
//! that long ones never take all; exports have their own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// A question waits so long for a slot before it is turned away: a page of a browser asks several things at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a question may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Short,
    Long,
    Export,
}

#[derive(Debug)]
pub struct Slots {
    any: Arc<Semaphore>,
    short: Arc<Semaphore>,
    exports: Arc<Semaphore>,
}

/// Given back when dropped.
#[derive(Debug)]
pub struct Slot(#[allow(dead_code)] OwnedSemaphorePermit);

impl Slots {
    /// Of `queries` at once, `kept_for_short` are for short questions alone.
    pub fn new(queries: usize, kept_for_short: usize, exports: usize) -> Slots {
        let slots = |count| Arc::new(Semaphore::new(count));
        Slots {
            any: slots(queries.saturating_sub(kept_for_short)),
            short: slots(kept_for_short.min(queries)),
            exports: slots(exports),
        }
    }

    /// # Errors
    /// When none comes free in a moment.
    pub async fn take(&self, length: Length) -> Result<Slot, Problem> {
        let of = |slots: &Arc<Semaphore>| tokio::time::timeout(PATIENCE, Arc::clone(slots).acquire_owned());
        let waited = match length {
            Length::Export => Arc::clone(&self.exports).try_acquire_owned().map_err(|_| Problem::busy())?,
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
        Ok(Slot(waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn short_questions_have_slots_that_long_ones_never_take() {
        let slots = Slots::new(3, 1, 1);
        let long = (slots.take(Length::Long).await.unwrap(), slots.take(Length::Long).await.unwrap());
        assert!(slots.take(Length::Long).await.is_err());
        let short = slots.take(Length::Short).await.unwrap();
        assert!(slots.take(Length::Short).await.is_err());
        let export = slots.take(Length::Export).await.unwrap();
        assert!(slots.take(Length::Export).await.is_err());
        drop((long, short, export));
        assert!(slots.take(Length::Long).await.is_ok() && slots.take(Length::Export).await.is_ok());
    }
}
