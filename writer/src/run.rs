//! The writer's loop. Messages are taken into one transaction ([`Making`]) while the one before it is on its way ([`Committing`]). After a fault,
//! [`Recovery`] says what follows, and always the same follows: the writer forgets what is not committed, reads the positions from
//! PostgreSQL ([`Beginning`]), and continues there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cordwood_core::recovery::{Cause, Next, Recovery};
use cordwood_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::beginning::Beginning;
use crate::committing::{Committing, Done};
use crate::config::CommitSettings;
use crate::deadline::pause;
use crate::feed::Feed;
use crate::making::Making;
use crate::reporter::Reporter;
use crate::source::{Event, Source};

const STATUS_EVERY: Duration = Duration::from_secs(1);

pub struct Writer<S: Source> {
    source: S,
    feed: Arc<dyn Feed>,
    store: Store,
    reporter: Reporter,
    shutdown: CancellationToken,
    making: Making,
    committing: Committing,
    recovery: Recovery,
}

impl<S: Source> Writer<S> {
    pub fn new(
        source: S,
        feed: Arc<dyn Feed>,
        store: Store,
        settings: CommitSettings,
        reporter: Reporter,
        shutdown: CancellationToken,
    ) -> Writer<S> {
        Writer {
            making: Making::new(store.clone(), settings, shutdown.clone(), feed.is_on()),
            committing: Committing::new(store.clone(), source.topic().to_owned()),
            recovery: Recovery::default(),
            source,
            feed,
            store,
            reporter,
            shutdown,
        }
    }

    /// Until the source ends or the shutdown; what was read by then is committed.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut status = tokio::time::interval(STATUS_EVERY);
        let shutdown = self.shutdown.clone();
        loop {
            self.reporter.beat();
            if let Some(cause) = self.recovery.due()
                && !self.begin(cause).await?
            {
                return Ok(());
            }
            self.advance();
            let closes_at = self.making.closes_at().filter(|_| self.committing.is_idle());
            let room = !self.making.has_waiting()
                && (self.committing.has_room() || !self.making.is_full(&self.recovery));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain().await,
                done = self.committing.done() => self.settle(done?),
                _ = status.tick() => self.reporter.source(self.source.status()),
                event = self.source.next(), if room => match event {
                    Event::Messages(messages) => self.making.add(messages),
                    Event::Reassigned => self.recovery.reassigned(),
                    Event::Ended => return self.drain().await,
                    Event::Broken(why) => {
                        self.reporter.broken(&why);
                        self.drain().await?;
                        anyhow::bail!(why);
                    }
                },
                () = sleep_until(closes_at) => self.close(),
            }
            // What did not fit before, too: nothing new is asked for until it is taken.
            self.advance();
            self.take_waiting().await;
        }
    }

    /// Takes waiting messages until the transaction is full and finds no room.
    async fn take_waiting(&mut self) {
        while self.making.has_waiting() && self.recovery.due().is_none() {
            if self.making.is_full(&self.recovery) {
                if !self.committing.has_room() {
                    return;
                }
                self.advance();
            } else if let Err(failure) = self.making.take_some(&mut self.recovery).await {
                tracing::warn!(error = failure.why, "read watermarks and origins");
                self.recovery.failed(failure);
            }
            // Long runs of decoding must not keep the other tasks of a small runtime waiting.
            tokio::task::yield_now().await;
        }
    }

    /// Closes the transaction in the making, if there is room for it.
    fn close(&mut self) {
        if self.committing.has_room() {
            self.committing.put(self.making.close());
        }
    }

    /// Closes the transaction when it is full; sends the closed one when the one before it is done.
    fn advance(&mut self) {
        if self.recovery.due().is_some() {
            return;
        }
        if self.making.is_full(&self.recovery) {
            self.close();
        }
        self.committing.send();
    }

    fn settle(&mut self, done: Done) {
        let Done { mut prepared, result } = done;
        match result {
            Ok(stored) => {
                let next_offsets = prepared.next_offsets();
                self.recovery.committed(&next_offsets);
                self.reporter.committed(&prepared, &stored);
                self.source.committed(&next_offsets);
                if self.feed.is_on() {
                    self.feed.publish(std::mem::take(&mut prepared.feed));
                }
                self.reporter.postgres(&self.recovery);
            }
            Err(failure) => {
                if failure.cause == Cause::Unknown {
                    // Perhaps stored, and then never published.
                    self.feed.missed(&prepared.feed);
                }
                let (error, reason) = (&failure.why, failure.cause.name());
                tracing::warn!(error, reason, "transaction failed; going back to PostgreSQL's positions");
                self.recovery.failed(failure);
            }
        }
    }

    /// Goes back to PostgreSQL's positions and tries until it works. False: shut down meanwhile.
    async fn begin(&mut self, cause: Cause) -> anyhow::Result<bool> {
        self.reporter.reset(cause);
        if !self.committing.is_idle() {
            // Its outcome is read from the positions below, but for what it published.
            let done = self.committing.done().await?;
            self.settle(done);
        }
        self.making.forget();
        loop {
            self.reporter.beat();
            let (pause_ms, keeps_lane) = match self.recovery.what_next() {
                Next::GoOn => return Ok(true),
                Next::GiveUp(why) => anyhow::bail!(why),
                Next::Begin { pause_ms, keeps_lane } => (pause_ms, keeps_lane),
            };
            let kept = self.committing.forget(keeps_lane);
            self.reporter.postgres(&self.recovery);
            if pause_ms > 0 {
                if !pause(&self.shutdown, Duration::from_millis(pause_ms)).await {
                    return Ok(false);
                }
                self.reporter.source(self.source.status());
            }
            let read = Beginning::read(&self.store, &self.shutdown, kept, self.source.topic()).await;
            if self.shutdown.is_cancelled() {
                return Ok(false);
            }
            match read {
                Ok(beginning) => self.begin_at(beginning).await,
                Err(error) => {
                    self.recovery.not_begun(error.to_string(), matches!(error, StoreError::Invalid(_)));
                }
            }
            self.reporter.session(self.recovery.due().is_none());
            self.reporter.postgres(&self.recovery);
        }
    }

    async fn begin_at(&mut self, beginning: Beginning) {
        let Beginning { lane, clock, positions } = beginning;
        self.committing.begin(lane);
        self.making.begin(clock, &positions);
        self.source.start(&positions).await;
        self.recovery.begun(|partition| positions.get(&partition).map(|position| position.next_offset));
    }

    /// The end: what was taken is committed once; if that fails, the next writer reads it again.
    async fn drain(&mut self) -> anyhow::Result<()> {
        while self.recovery.due().is_none() {
            self.close();
            self.advance();
            if !self.committing.is_idle() {
                let done = self.committing.done().await?;
                self.settle(done);
            } else if self.making.has_waiting() {
                self.take_waiting().await;
            } else {
                break;
            }
        }
        Ok(())
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
