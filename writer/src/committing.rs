//! Commits transactions over one lane: one is on its way to PostgreSQL, and one closed transaction waits behind it.

use std::time::{Duration, Instant};

use anyhow::Context;
use cordwood_core::recovery::Failure;
use cordwood_store::Store;
use cordwood_store::commit::CommitError;
use cordwood_store::lane::Lane;
use tokio::task::JoinHandle;

use crate::deadline::ANSWER_MAX;
use crate::failure;
use crate::intake::Prepared;

/// A transaction of which PostgreSQL answered, or did not answer in time.
pub struct Done {
    pub prepared: Prepared,
    pub result: Result<Stored, Failure>,
}

/// It is committed.
pub struct Stored {
    /// Lines that were added to tasks.
    pub task_lines: u64,
    pub took: Duration,
}

struct Answer {
    lane: Lane,
    prepared: Prepared,
    result: Result<u64, CommitError>,
    took: Duration,
    /// No answer came in time: what was sent may have been done.
    late: bool,
}

/// What is closed and not yet answered.
pub struct Committing {
    store: Store,
    /// The topic's name, as `positions` records it.
    topic: String,
    lane: Option<Lane>,
    in_flight: Option<JoinHandle<Answer>>,
    /// Closed, and waiting for its turn.
    ready: Option<Prepared>,
}

impl Committing {
    pub fn new(store: Store, topic: String) -> Committing {
        Committing { store, topic, lane: None, in_flight: None, ready: None }
    }

    /// Takes this lane from now on.
    pub fn begin(&mut self, lane: Lane) {
        self.lane = Some(lane);
    }

    /// Forgets what is not on its way. The lane is returned where it is kept; else its session ends.
    pub fn forget(&mut self, keeps_lane: bool) -> Option<Lane> {
        self.ready = None;
        self.lane.take().filter(|_| keeps_lane)
    }

    /// Nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// There is room for one more.
    pub fn has_room(&self) -> bool {
        self.ready.is_none()
    }

    /// To be called where there is room.
    pub fn put(&mut self, closed: Option<Prepared>) {
        debug_assert!(closed.is_none() || self.ready.is_none());
        self.ready = self.ready.take().or(closed);
    }

    /// Sends what is closed, when the one before it is answered.
    pub fn send(&mut self) {
        if self.in_flight.is_some() || self.ready.is_none() || self.lane.is_none() {
            return;
        }
        let (Some(prepared), Some(mut lane)) = (self.ready.take(), self.lane.take()) else { return };
        let (topic, no_answer) = (self.topic.clone(), self.store.no_answer(ANSWER_MAX));
        self.in_flight = Some(tokio::spawn(async move {
            let started = Instant::now();
            let commit = tokio::time::timeout(ANSWER_MAX, lane.commit(&topic, &prepared.commit));
            let (result, late) = match commit.await {
                Ok(committed) => (committed.map(|committed| committed.task_lines), false),
                Err(_) => (Err(CommitError::Unknown(no_answer)), true),
            };
            Answer { lane, prepared, result, took: started.elapsed(), late }
        }));
    }

    /// Waits for the answer to what is on its way; for ever where nothing is. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the task broke.
    pub async fn done(&mut self) -> anyhow::Result<Done> {
        let Some(in_flight) = &mut self.in_flight else { return std::future::pending().await };
        let answer = in_flight.await;
        self.in_flight = None;
        let Answer { lane, prepared, result, took, late } = answer.context("a transaction's task ended")?;
        let result = match result {
            Ok(task_lines) => {
                self.lane = Some(lane);
                Ok(Stored { task_lines, took })
            }
            // The lane's session ends with it.
            Err(error) => Err(failure::of_commit(&error, late, prepared.messages, prepared.next_offsets())),
        };
        Ok(Done { prepared, result })
    }
}
