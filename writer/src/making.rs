//! Builds the next transaction: decodes messages and adds their records to open blocks, until the transaction is large or old
//! enough.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use cordwood_core::recovery::{Failure, Recovery};
use cordwood_store::commit::Position;
use cordwood_store::ring::BLOCKS_PER_COMMIT_MAX;
use cordwood_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::CommitSettings;
use crate::deadline::unless_ending;
use crate::failure;
use crate::intake::{Decoded, Intake, Prepared, Unknown};
use crate::source::Message;

/// Messages that are decoded in one go, and bytes of all but the first.
const DECODED_MESSAGES: usize = 64;
const DECODED_PAYLOAD_BYTES: usize = 1 << 20;
/// Room for the open blocks of one more message.
const BLOCKS_MAX: usize = BLOCKS_PER_COMMIT_MAX - 1024;
/// From here on messages are taken one by one, so that the last one finds its room.
const BLOCKS_MANY: usize = BLOCKS_MAX / 2;
/// Messages of a transaction before it is halved: each can touch a file of its own.
const MESSAGES_HALVED: usize = 4096;

/// The transaction in the making, and what waits to go into it.
pub struct Making {
    store: Store,
    shutdown: CancellationToken,
    settings: CommitSettings,
    clock: Clock,
    waiting: VecDeque<Message>,
    intake: Intake,
    /// When the oldest record of the transaction was taken.
    opened: Option<Instant>,
}

impl Making {
    pub fn new(
        store: Store,
        settings: CommitSettings,
        shutdown: CancellationToken,
        with_feed: bool,
    ) -> Making {
        Making {
            store,
            shutdown,
            settings,
            clock: Clock::own(),
            waiting: VecDeque::new(),
            intake: Intake::new(with_feed),
            opened: None,
        }
    }

    /// Forgets everything that is not committed.
    pub fn forget(&mut self) {
        self.waiting.clear();
        self.opened = None;
    }

    /// Begins at PostgreSQL's positions, by its clock.
    pub fn begin(&mut self, clock: Clock, positions: &HashMap<u32, Position>) {
        self.clock = clock;
        self.intake.reset(positions);
    }

    /// These wait behind those that wait already.
    pub fn add(&mut self, messages: Vec<Message>) {
        self.waiting.extend(messages);
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When the transaction is old enough to be closed, however small it is.
    pub fn closes_at(&self) -> Option<Instant> {
        self.opened.map(|at| at + Duration::from_millis(self.settings.linger_ms))
    }

    /// It is large enough to be closed.
    pub fn is_full(&self, recovery: &Recovery) -> bool {
        let size = recovery.size();
        recovery.travels_alone() && self.intake.messages() > 0
            || self.intake.records() >= size.of(self.settings.records_max)
            || self.intake.bytes() >= size.of(self.settings.bytes_max)
            || !size.is_whole() && self.intake.messages() >= size.of(MESSAGES_HALVED)
            || self.intake.blocks() >= BLOCKS_MAX
    }

    /// Closes the transaction; none: nothing was taken for it.
    pub fn close(&mut self) -> Option<Prepared> {
        self.opened.take().map(|_| self.intake.finish())
    }

    /// Takes as many waiting messages as are decoded in one go; one waits at least.
    ///
    /// # Errors
    /// When PostgreSQL does not say what is known of their files.
    pub async fn take_some(&mut self, recovery: &mut Recovery) -> Result<(), Failure> {
        let one = recovery.travels_alone() || self.intake.blocks() > BLOCKS_MANY;
        let count = if one { 1 } else { at_once(&self.waiting, recovery.size().of(DECODED_MESSAGES)) };
        let decoded = Intake::decode(self.waiting.drain(..count).collect());
        let next_offsets: HashMap<u32, u64> =
            decoded.iter().map(Decoded::at).map(|(partition, offset)| (partition, offset + 1)).collect();
        let rest = self
            .take(decoded, recovery)
            .await
            .map_err(|error| failure::of_read(&error, count as u64, next_offsets.into_iter().collect()))?;
        rest.into_iter().rev().for_each(|message| self.waiting.push_front(message));
        Ok(())
    }

    /// Returns the messages that found no room.
    async fn take(
        &mut self,
        decoded: Vec<Decoded>,
        recovery: &mut Recovery,
    ) -> Result<Vec<Message>, StoreError> {
        if self.clock.has_jumped() {
            self.clock = unless_ending(&self.store, &self.shutdown, Clock::read(&self.store)).await?;
        }
        let now_us = self.clock.now_us();
        if let [only] = &decoded[..]
            && let Some(reason) = recovery.take_poison(only.at())
        {
            decoded.into_iter().for_each(|item| self.intake.take_poisonous(item, reason.clone(), now_us));
            self.opened.get_or_insert_with(Instant::now);
            return Ok(Vec::new());
        }
        self.learn(&decoded).await?;
        let rest = self.intake.take(decoded, now_us, BLOCKS_MAX);
        self.opened.get_or_insert_with(Instant::now);
        Ok(rest)
    }

    /// Reads what PostgreSQL has of these messages' files, and the ids of their origins.
    async fn learn(&mut self, decoded: &[Decoded]) -> Result<(), StoreError> {
        let Unknown { files, origins } = self.intake.unknown(decoded);
        if files.is_empty() && origins.is_empty() {
            return Ok(());
        }
        let read = async {
            let session = self.store.pooled().await?.abandonable();
            let wanted: Vec<_> = origins.iter().map(|origin| (origin.id(), &**origin)).collect();
            let ids = cordwood_store::origins::assign(&*session, &wanted).await?;
            let found = cordwood_store::watermarks::read_watermarks(&session, &files).await?;
            session.finish();
            Ok((ids, found))
        };
        let (ids, found) = unless_ending(&self.store, &self.shutdown, read).await?;
        self.intake.learn_origins(origins, ids);
        self.intake.learn(files, found);
        Ok(())
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
