//! The writer's loop: take messages, make transactions, one on its way while the next is made. Whatever goes wrong with a
//! transaction, the answer is one: forget what is not committed, read PostgreSQL's positions, begin there again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use cordwood_core::recovery::{Cause, Failure, Next, Recovery};
use cordwood_service::{Health, Heartbeat};
use cordwood_store::commit::{CommitError, Position};
use cordwood_store::lane::Lane;
use cordwood_store::ring::BLOCKS_PER_COMMIT_MAX;
use cordwood_store::{Store, StoreError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::CommitSettings;
use crate::feed::Feed;
use crate::intake::{Decoded, Intake, Prepared, Unknown};
use crate::metrics::Metrics;
use crate::source::{Event, Message, Source, SourceStatus};

/// A server that takes bytes and answers nothing: what was sent may have been done. The server's own limit for a
/// statement of the lane lies below, so that an abandoned session does not keep its locks.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Messages that are decoded in one go, and bytes of all but the first.
const DECODED_MESSAGES: usize = 64;
const DECODED_PAYLOAD_BYTES: usize = 1 << 20;
/// Room for the open blocks of one more message.
const BLOCKS_MAX: usize = BLOCKS_PER_COMMIT_MAX - 1024;
/// From here on messages are taken one by one, so that the last one finds its room.
const BLOCKS_MANY: usize = BLOCKS_MAX / 2;
/// Messages of a transaction before it is halved: each can touch a file of its own.
const MESSAGES_HALVED: usize = 4096;

struct Done {
    lane: Lane,
    prepared: Prepared,
    /// Lines that were added to tasks.
    result: Result<u64, CommitError>,
    took: Duration,
    /// No answer came in time.
    late: bool,
}

pub(crate) struct Writer<S: Source> {
    pub source: S,
    pub feed: Arc<dyn Feed>,
    pub store: Store,
    pub health: Health,
    pub metrics: Metrics,
    pub settings: CommitSettings,
    pub shutdown: CancellationToken,
    pub status: Arc<std::sync::Mutex<SourceStatus>>,
    heartbeat: Heartbeat,
    intake: Intake,
    lane: Option<Lane>,
    clock: Clock,
    in_flight: Option<JoinHandle<Done>>,
    /// Complete and waiting for its turn.
    ready: Option<Prepared>,
    /// When the oldest record of the transaction in the making was taken.
    opened: Option<Instant>,
    waiting: VecDeque<Message>,
    recovery: Recovery,
}

impl<S: Source> Writer<S> {
    pub fn new(
        source: S,
        feed: Arc<dyn Feed>,
        store: Store,
        health: Health,
        metrics: Metrics,
        settings: CommitSettings,
        shutdown: CancellationToken,
    ) -> Writer<S> {
        Writer {
            intake: Intake::new(feed.is_on()),
            source,
            feed,
            store,
            heartbeat: health.heartbeat("writer", Duration::from_secs(120)),
            health,
            metrics,
            settings,
            shutdown,
            status: Arc::default(),
            lane: None,
            clock: Clock::own(),
            in_flight: None,
            ready: None,
            opened: None,
            waiting: VecDeque::new(),
            recovery: Recovery::default(),
        }
    }

    /// Until the source ends or the shutdown; what was read by then is committed.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut status = tokio::time::interval(STATUS_EVERY);
        let shutdown = self.shutdown.clone();
        loop {
            self.heartbeat.beat();
            if let Some(cause) = self.recovery.due()
                && !self.begin(cause).await?
            {
                return Ok(());
            }
            self.advance();
            let linger = self.opened.map(|at| at + Duration::from_millis(self.settings.linger_ms));
            let idle = self.in_flight.is_none();
            let room = self.has_room();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain().await,
                done = wait_for(&mut self.in_flight) => {
                    self.in_flight = None;
                    self.settle(done.context("a transaction's task ended")?);
                }
                _ = status.tick() => self.note_status(),
                event = self.source.next(), if room => match event {
                    Event::Messages(messages) => {
                        self.waiting.extend(messages);
                        self.take_waiting().await;
                    }
                    Event::Reassigned => self.recovery.reassigned(),
                    Event::Ended => return self.drain().await,
                    Event::Broken(why) => {
                        self.health.set("source", Err(why.clone()));
                        self.drain().await?;
                        anyhow::bail!(why);
                    }
                },
                () = sleep_until(linger), if idle && linger.is_some() => self.complete(),
            }
            // What did not fit before: nothing new is asked for until it is taken.
            if self.recovery.due().is_none() {
                self.advance();
                self.take_waiting().await;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.is_empty() && !(self.is_full() && self.ready.is_some())
    }

    fn is_full(&self) -> bool {
        let size = self.recovery.size();
        self.recovery.travels_alone() && self.intake.messages() > 0
            || self.intake.records() >= size.of(self.settings.records_max)
            || self.intake.bytes() >= size.of(self.settings.bytes_max)
            || !size.is_whole() && self.intake.messages() >= size.of(MESSAGES_HALVED)
            || self.intake.blocks() >= BLOCKS_MAX
    }

    /// Takes waiting messages until the transaction is full, completing it when the place before it is free.
    async fn take_waiting(&mut self) {
        while !self.waiting.is_empty() && self.recovery.due().is_none() {
            if self.is_full() {
                if self.ready.is_some() {
                    return;
                }
                self.complete();
                self.advance();
                continue;
            }
            let one = self.recovery.travels_alone() || self.intake.blocks() > BLOCKS_MANY;
            let most = self.recovery.size().of(DECODED_MESSAGES);
            let count = if one { 1 } else { at_once(&self.waiting, most) };
            let decoded = Intake::decode(self.waiting.drain(..count).collect());
            let next_offsets: HashMap<u32, u64> =
                decoded.iter().map(Decoded::at).map(|(partition, offset)| (partition, offset + 1)).collect();
            match self.take(decoded).await {
                Ok(rest) => rest.into_iter().rev().for_each(|message| self.waiting.push_front(message)),
                Err(error) => {
                    tracing::warn!(%error, "read watermarks and origins");
                    self.recovery.failed(Failure {
                        cause: if is_refusal(&error) { Cause::Refused } else { Cause::Unavailable },
                        why: error.to_string(),
                        took_too_long: false,
                        messages: count as u64,
                        next_offsets: next_offsets.into_iter().collect(),
                    });
                    return;
                }
            }
            // Long runs of decoding must not keep the other tasks of a small runtime waiting.
            tokio::task::yield_now().await;
        }
    }

    /// Returns the messages that found no room.
    async fn take(&mut self, decoded: Vec<Decoded>) -> Result<Vec<Message>, StoreError> {
        if self.clock.has_jumped() {
            self.clock = in_time(&self.store, &self.shutdown, Clock::read(&self.store)).await?;
        }
        let now_us = self.clock.now_us();
        if let [only] = &decoded[..]
            && let Some(reason) = self.recovery.take_poison(only.at())
        {
            decoded.into_iter().for_each(|item| self.intake.take_poisonous(item, reason.clone(), now_us));
            self.opened.get_or_insert_with(Instant::now);
            return Ok(Vec::new());
        }
        let Unknown { files, origins } = self.intake.unknown(&decoded);
        if !files.is_empty() || !origins.is_empty() {
            let read = async {
                let session = self.store.pooled().await?.abandonable();
                let wanted: Vec<_> = origins.iter().map(|origin| (origin.id(), &**origin)).collect();
                let ids = cordwood_store::origins::assign(&*session, &wanted).await?;
                let found = cordwood_store::watermarks::read_watermarks(&session, &files).await?;
                session.finish();
                Ok((ids, found))
            };
            let (ids, found) = in_time(&self.store, &self.shutdown, read).await?;
            self.intake.learn_origins(origins, ids);
            self.intake.learn(files, found);
        }
        let rest = self.intake.take(decoded, now_us, BLOCKS_MAX);
        self.opened.get_or_insert_with(Instant::now);
        Ok(rest)
    }

    /// Closes the transaction in the making, if the place before it is free.
    fn complete(&mut self) {
        if self.ready.is_none() && self.opened.take().is_some() {
            self.ready = Some(self.intake.finish());
        }
    }

    /// Sends the completed transaction when the one before it is done.
    fn advance(&mut self) {
        if self.in_flight.is_none() && self.ready.is_none() && self.is_full() {
            self.complete();
        }
        if self.in_flight.is_some() {
            if self.ready.is_none() && self.is_full() {
                self.complete();
            }
            return;
        }
        if self.ready.is_none() || self.lane.is_none() {
            return;
        }
        let (Some(prepared), Some(mut lane)) = (self.ready.take(), self.lane.take()) else { return };
        let (topic, late) = (self.source.topic().to_owned(), self.store.no_answer(ANSWER_TIMEOUT));
        self.in_flight = Some(tokio::spawn(async move {
            let started = Instant::now();
            let commit = tokio::time::timeout(ANSWER_TIMEOUT, lane.commit(&topic, &prepared.commit));
            let (result, late) = match commit.await {
                Ok(committed) => (committed.map(|committed| committed.task_lines), false),
                Err(_) => (Err(CommitError::Unknown(late)), true),
            };
            Done { lane, prepared, result, took: started.elapsed(), late }
        }));
    }

    fn settle(&mut self, done: Done) {
        let Done { lane, mut prepared, result, took, late } = done;
        match result {
            Ok(task_lines) => {
                self.metrics.committed(&prepared, task_lines, took);
                let steps: Vec<_> =
                    prepared.commit.positions.iter().map(|step| (step.topic_partition, step.to)).collect();
                self.recovery.committed(&steps);
                self.source.committed(&steps);
                if self.feed.is_on() {
                    self.feed.publish(std::mem::take(&mut prepared.feed));
                }
                self.lane = Some(lane);
                self.tell();
            }
            Err(error) => {
                let cause = cause_of(&error);
                if cause == Cause::Unknown {
                    // Perhaps stored, and then never published.
                    self.feed.missed(&prepared.feed);
                }
                tracing::warn!(%error, reason = cause.name(), "transaction failed; going back to PostgreSQL's positions");
                self.recovery.failed(Failure {
                    cause,
                    why: error.to_string(),
                    took_too_long: late || is_timeout(&error),
                    messages: prepared.messages,
                    next_offsets: prepared
                        .commit
                        .positions
                        .iter()
                        .map(|step| (step.topic_partition, step.to))
                        .collect(),
                });
            }
        }
    }

    /// Probes are told how PostgreSQL is; nothing is well before the first beginning.
    fn tell(&self) {
        match self.recovery.trouble() {
            Some(why) => self.health.set("postgres", Err(why.to_owned())),
            None if self.recovery.due().is_none() => self.health.set("postgres", Ok(())),
            None => {}
        }
    }

    /// Takes a lane, reads the positions, starts the source there; tries until it works. False: shut down meanwhile.
    async fn begin(&mut self, cause: Cause) -> anyhow::Result<bool> {
        self.metrics.resets.with_label_values(&[cause.name()]).inc();
        if let Some(in_flight) = self.in_flight.take() {
            // Its outcome is read from the positions below, but for what it published.
            self.settle(in_flight.await.context("a transaction's task ended")?);
        }
        self.ready = None;
        self.opened = None;
        self.waiting.clear();
        loop {
            self.heartbeat.beat();
            let (pause_ms, keeps_lane) = match self.recovery.what_next() {
                Next::GoOn => return Ok(true),
                Next::GiveUp(why) => anyhow::bail!(why),
                Next::Begin { pause_ms, keeps_lane } => (pause_ms, keeps_lane),
            };
            self.tell();
            if !keeps_lane {
                self.lane = None;
            }
            if pause_ms > 0 {
                tokio::select! {
                    () = self.shutdown.cancelled() => return Ok(false),
                    () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
                }
                self.note_status();
            }
            let begun = self.try_begin().await;
            if self.shutdown.is_cancelled() {
                return Ok(false);
            }
            match begun {
                Ok(positions) => {
                    self.recovery
                        .begun(|partition| positions.get(&partition).map(|position| position.next_offset));
                }
                Err(error) => {
                    self.recovery.not_begun(error.to_string(), matches!(error, StoreError::Invalid(_)));
                }
            }
            self.metrics.ready.set(i64::from(self.recovery.due().is_none()));
            self.tell();
        }
    }

    async fn try_begin(&mut self) -> Result<HashMap<u32, Position>, StoreError> {
        let (kept, topic) = (self.lane.take(), self.source.topic());
        let asked = async {
            let lane = match kept {
                Some(lane) => lane,
                None => Lane::claim(&self.store).await?,
            };
            let clock = Clock::read(&self.store).await?;
            let positions = lane.read_positions(topic).await?;
            Ok((lane, clock, positions))
        };
        let (lane, clock, positions) = in_time(&self.store, &self.shutdown, asked).await?;
        (self.lane, self.clock) = (Some(lane), clock);
        self.intake.reset(&positions);
        self.source.start(&positions).await;
        Ok(positions)
    }

    /// The end: what was taken is committed once; if that fails, it is read again by whoever comes next.
    async fn drain(&mut self) -> anyhow::Result<()> {
        while self.recovery.due().is_none() {
            self.complete();
            self.advance();
            match self.in_flight.take() {
                Some(in_flight) => self.settle(in_flight.await.context("a transaction's task ended")?),
                None if self.waiting.is_empty() => break,
                None => self.take_waiting().await,
            }
        }
        Ok(())
    }

    fn note_status(&mut self) {
        let status = self.source.status();
        self.metrics.source(&status);
        let kafka = match (&status.trouble, status.stopped.is_empty()) {
            (Some(trouble), _) => Err(trouble.clone()),
            (None, true) => Ok(()),
            (None, false) => Err(format!(
                "stopped: {}",
                status
                    .stopped
                    .iter()
                    .map(|(p, why)| format!("topic partition {p}: {why}"))
                    .collect::<Vec<_>>()
                    .join("; ")
            )),
        };
        self.health.set("source", kafka);
        if let Ok(mut shared) = self.status.lock() {
            *shared = status;
        }
    }
}

/// How many messages are decoded in one go: what they hold may be many times as large as they are.
fn at_once(waiting: &VecDeque<Message>, most: usize) -> usize {
    let mut bytes = 0;
    let more = waiting.iter().skip(1).take(most - 1).take_while(|message| {
        bytes += message.payload.len();
        bytes <= DECODED_PAYLOAD_BYTES
    });
    1 + more.count()
}

fn cause_of(error: &CommitError) -> Cause {
    match error {
        CommitError::Fenced { .. } => Cause::Fenced,
        CommitError::Overlap { .. } => Cause::Overlap,
        CommitError::Lane { .. } => Cause::Lane,
        CommitError::Unknown(_) => Cause::Unknown,
        // What the store itself refuses was never sent: trying the same again is no use either.
        CommitError::Store(store) if is_refusal(store) || matches!(store, StoreError::Invalid(_)) => {
            Cause::Refused
        }
        CommitError::Store(_) => Cause::Unavailable,
    }
}

/// PostgreSQL ended the statement by its own limit.
fn is_timeout(error: &CommitError) -> bool {
    matches!(error, CommitError::Store(store) | CommitError::Unknown(store)
        if store.code() == Some(&StoreError::STATEMENT_TIMEOUT))
}

/// PostgreSQL's classes 22 (data exception) and 23 (constraint), 54 (a limit of its own): what was sent is at fault.
fn is_refusal(error: &StoreError) -> bool {
    error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.code().starts_with(class)))
}

/// A server that accepts bytes and never answers must not hold the writer, even less when it is to end.
async fn in_time<T>(
    store: &Store,
    shutdown: &CancellationToken,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let hurry = async {
        shutdown.cancelled().await;
        tokio::time::sleep(SHUTDOWN_PATIENCE).await;
    };
    tokio::select! {
        biased;
        answer = asked => answer,
        () = tokio::time::sleep(ANSWER_TIMEOUT) => Err(store.no_answer(ANSWER_TIMEOUT)),
        () = hurry => Err(store.no_answer(ANSWER_TIMEOUT)),
    }
}

async fn wait_for(task: &mut Option<JoinHandle<Done>>) -> Result<Done, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
