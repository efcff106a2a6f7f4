//! Limits how many questions are answered at once, in all and per identity. Callers above the limit are told to come back. Some slots are only for
//! short questions, so that long ones never take all; exports and streams have their own. Expensive work before a search is done with a slot
//! in hand, on a thread that no other question waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
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
    limits: Limits,
    /// Of those who have something under way.
    own: Mutex<HashMap<String, Weak<Own>>>,
}

/// What one identity may have under way.
#[derive(Debug)]
struct Own {
    long: Arc<Semaphore>,
    short: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// Of any kind, from their begin to the end of their answers.
    requests: Arc<Semaphore>,
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The gateway has enough to do.
    Busy,
    /// This identity has.
    Identity,
}

/// Given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _all: OwnedSemaphorePermit,
    _own: (OwnedSemaphorePermit, Arc<Own>),
}

/// Of what one identity may ask at once. Given back when dropped.
#[derive(Debug)]
pub struct Share {
    _own: (OwnedSemaphorePermit, Arc<Own>),
}

fn semaphore(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
}

impl Slots {
    pub fn new(limits: &Limits) -> Slots {
        let kept = limits.queries_kept_for_short.min(limits.queries_max);
        Slots {
            any: semaphore(limits.queries_max - kept),
            short: semaphore(kept),
            exports: semaphore(limits.exports_max),
            streams: semaphore(limits.streams_max),
            limits: limits.clone(),
            own: Mutex::new(HashMap::new()),
        }
    }

    /// # Errors
    /// When none comes free in a moment.
    pub async fn take(&self, identity: &str, length: Length) -> Result<Slot, Refused> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let within = async |slots: &Arc<Semaphore>, why: Refused| {
            let taken = tokio::time::timeout_at(deadline, Arc::clone(slots).acquire_owned()).await;
            taken.ok().and_then(Result::ok).ok_or(why)
        };
        let at_once =
            |slots: &Arc<Semaphore>, why: Refused| Arc::clone(slots).try_acquire_owned().map_err(|_| why);
        // One's own first: who waits for it holds nothing of the others'.
        let own = self.own(identity);
        let (own_slot, all) = match length {
            Length::Export => {
                (at_once(&own.exports, Refused::Identity)?, at_once(&self.exports, Refused::Busy)?)
            }
            Length::Stream => {
                (at_once(&own.streams, Refused::Identity)?, at_once(&self.streams, Refused::Busy)?)
            }
            Length::Long => {
                (within(&own.long, Refused::Identity).await?, within(&self.any, Refused::Busy).await?)
            }
            Length::Short => {
                let own_slot = within(&own.short, Refused::Identity).await?;
                match at_once(&self.any, Refused::Busy) {
                    Ok(all) => (own_slot, all),
                    Err(_) => (own_slot, within(&self.short, Refused::Busy).await?),
                }
            }
        };
        Ok(Slot { _all: all, _own: (own_slot, own) })
    }

    /// # Errors
    /// When this identity has as many requests under way as one may have.
    pub fn share(&self, identity: &str) -> Result<Share, Refused> {
        let own = self.own(identity);
        let permit = Arc::clone(&own.requests).try_acquire_owned().map_err(|_| Refused::Identity)?;
        Ok(Share { _own: (permit, own) })
    }

    fn own(&self, identity: &str) -> Arc<Own> {
        let mut all = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get(identity).and_then(Weak::upgrade) {
            return own;
        }
        // Only who has something under way, or is about to, is remembered.
        all.retain(|_, own| own.strong_count() > 0);
        let limits = &self.limits.per_identity;
        let own = Arc::new(Own {
            long: semaphore(limits.queries_max),
            short: semaphore(limits.queries_max),
            exports: semaphore(limits.exports_max),
            streams: semaphore(limits.streams_max),
            requests: semaphore(limits.requests_max),
        });
        all.insert(identity.to_owned(), Arc::downgrade(&own));
        own
    }
}

impl Slot {
    /// Does what takes time and asks nobody, beside the threads that all questions share. The slot is taken until it is done, also
    /// when the caller leaves before.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<(Slot, T), Problem> {
        let done = tokio::task::spawn_blocking(move || Ok((self, work()?))).await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "a question could not be read");
            Err(Problem::internal())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::config::IdentityLimits;

    #[tokio::test]
    async fn short_questions_have_slots_that_long_ones_never_take() {
        let limits = Limits {
            queries_max: 3,
            queries_kept_for_short: 1,
            exports_max: 1,
            streams_max: 0,
            ..Limits::default()
        };
        let slots = Slots::new(&limits);
        let take = async |length| slots.take("a", length).await;
        let long = (take(Length::Long).await.unwrap(), take(Length::Long).await.unwrap());
        assert_eq!(take(Length::Long).await.unwrap_err(), Refused::Busy);
        let short = take(Length::Short).await.unwrap();
        assert!(take(Length::Short).await.is_err());
        let export = take(Length::Export).await.unwrap();
        assert!(slots.take("b", Length::Export).await.is_err());
        assert!(take(Length::Stream).await.is_err());
        drop((long, short, export));
        assert!(take(Length::Long).await.is_ok() && take(Length::Export).await.is_ok());
    }

    #[tokio::test]
    async fn one_identity_leaves_room_for_the_others() {
        let per_identity = IdentityLimits { queries_max: 1, exports_max: 1, streams_max: 1, requests_max: 1 };
        let slots = Slots::new(&Limits { per_identity, ..Limits::default() });
        for length in [Length::Short, Length::Long, Length::Export, Length::Stream] {
            let held = slots.take("a", length).await.unwrap();
            assert_eq!(slots.take("a", length).await.unwrap_err(), Refused::Identity, "{length:?}");
            assert!(slots.take("b", length).await.is_ok(), "{length:?}");
            drop(held);
            assert!(slots.take("a", length).await.is_ok(), "{length:?}");
        }
        // The slots forget a caller who has nothing under way.
        for n in 0..100 {
            slots.take(&n.to_string(), Length::Short).await.unwrap();
        }
        assert!(slots.own.lock().unwrap().len() <= 1);
    }

    /// On one thread: work that blocks it would never hear that the others went on.
    #[tokio::test]
    async fn others_go_on_beside_work_and_a_slot_is_taken_until_it_is_done() {
        let limits = Limits { queries_max: 1, queries_kept_for_short: 0, ..Limits::default() };
        let slots = Slots::new(&limits);
        let (say, hear) = mpsc::channel::<()>();
        let (began, has_begun) = tokio::sync::oneshot::channel();
        let work = slots.take("a", Length::Long).await.unwrap().work(move || {
            began.send(()).ok();
            hear.recv_timeout(Duration::from_secs(20)).map_err(|_| Problem::internal())
        });
        let caller = tokio::spawn(work);
        has_begun.await.unwrap();
        // The caller leaves; what was begun goes on, and so does its slot.
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert!(slots.take("b", Length::Long).await.is_err());
        say.send(()).unwrap();
        let mut is_free = false;
        for _ in 0..40 {
            is_free = is_free || slots.take("b", Length::Long).await.is_ok();
        }
        assert!(is_free);
    }
}
