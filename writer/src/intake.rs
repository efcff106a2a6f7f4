//! Takes messages into the next transaction: decodes them, admits records by watermark, adjusts times, fills blocks and counters. It does no
//! I/O: it asks for the watermarks that it does not know, and the caller hands them in.

mod batch;
mod dead_letter_limit;
mod errors;
mod pending;
mod shared;
mod sources;
mod tasks;

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cordwood_core::batch::{DecodedBatch, decode};
use cordwood_core::limits::{ORIGINS_REMEMBERED_BYTES_MAX, STREAM_BYTES_MAX};
use cordwood_core::origin::{Origin, OriginId};
use cordwood_store::commit::{Commit, FileKey, OffsetGap, Position, Watermarks};

use crate::feed::FeedRecord;
use crate::source::{Message, message_hash};
use errors::Signatures;
use pending::Pending;
use sources::Sources;
pub use tasks::TaskCuts;

/// Files remembered, and names, at the most; beyond it the caches begin again.
const CACHE_MAX: usize = 200_000;
/// Transactions whose watermarks stay in the cache; more than are ever on their way at once.
const TRANSACTIONS_KEPT: u64 = 16;
/// No honest counter or position of a batch is larger; sums of them stay within a bigint.
const COUNT_MAX: u64 = 1 << 48;

/// A message with what it says, or why it says nothing.
pub struct Decoded {
    message: Message,
    batches: Result<Vec<DecodedBatch>, String>,
}

/// What one transaction will hold, and what to do once it is committed.
#[derive(Default)]
pub struct Prepared {
    pub commit: Commit,
    pub feed: Vec<FeedRecord>,
    pub messages: u64,
    pub duplicates: u64,
    /// Bytes that were told as lost and came after all.
    pub filled_bytes: u64,
    /// Records whose bodies were cut here.
    pub cut_records: u64,
    pub raw_bytes: u64,
    /// Records that are counted in no group of their own.
    pub other_errors: u64,
    pub task_cuts: TaskCuts,
}

impl Prepared {
    /// Of each topic partition, once it is committed.
    pub fn next_offsets(&self) -> Vec<(u32, u64)> {
        self.commit.positions.iter().map(|step| (step.topic_partition, step.to)).collect()
    }
}

/// What PostgreSQL is to be asked for.
pub struct Unknown {
    pub files: Vec<FileKey>,
    pub origins: Vec<Arc<Origin>>,
}

#[derive(Default)]
pub struct Intake {
    /// As they will be once everything taken so far is committed.
    watermarks: HashMap<FileKey, Remembered>,
    /// The id that PostgreSQL has each under.
    origins: HashMap<Arc<Origin>, OriginId>,
    origins_bytes: usize,
    names: HashSet<Arc<str>>,
    /// The next Kafka offset of each topic partition after everything taken so far.
    next_offsets: HashMap<u32, u64>,
    pending: Pending,
    sources: Sources,
    /// The same of services that lines name where the cluster does not.
    services: Sources,
    signatures: Signatures,
    /// Number of the transaction in the making.
    transaction: u64,
    with_feed: bool,
}

/// What is stored of a file, and the transaction that used it last.
struct Remembered {
    stored: Watermarks,
    used: u64,
}

impl Intake {
    pub fn new(with_feed: bool) -> Intake {
        Intake { with_feed, ..Intake::default() }
    }

    /// Forgets everything that is not committed and begins at PostgreSQL's positions.
    pub fn reset(&mut self, positions: &HashMap<u32, Position>) {
        self.watermarks.clear();
        // (A PostgreSQL that took over without the last transactions has no rows for the ids that it gave.)
        self.forget_origins();
        self.pending = Pending::default();
        self.next_offsets = positions.iter().map(|(partition, p)| (*partition, p.next_offset)).collect();
    }

    /// Decodes; a message that cannot be is kept for the dead letters.
    pub fn decode(messages: Vec<Message>) -> Vec<Decoded> {
        messages.into_iter().map(Decoded::of).collect()
    }

    /// What [`Intake::take`] will need and is not known here.
    pub fn unknown(&self, decoded: &[Decoded]) -> Unknown {
        let mut keys = HashSet::new();
        let mut origins = HashSet::new();
        for item in decoded {
            for batch in item.batches.iter().flatten() {
                if !self.origins.contains_key(&batch.origin) {
                    origins.insert(batch.origin.clone());
                }
                if let Some(header) = &batch.header {
                    let key = FileKey { stream: header.stream.clone(), file: header.file };
                    if !self.watermarks.contains_key(&key) {
                        keys.insert(key);
                    }
                }
            }
        }
        Unknown { files: keys.into_iter().collect(), origins: origins.into_iter().collect() }
    }

    /// Under which ids PostgreSQL has these origins.
    pub fn learn_origins(&mut self, origins: Vec<Arc<Origin>>, ids: Vec<OriginId>) {
        self.origins_bytes += origins.iter().map(|origin| bytes_of(origin)).sum::<usize>();
        self.origins.extend(origins.into_iter().zip(ids));
    }

    pub fn learn(&mut self, asked: Vec<FileKey>, mut found: HashMap<FileKey, Watermarks>) {
        for key in asked {
            let stored = found.remove(&key).unwrap_or_default();
            self.watermarks.insert(key, Remembered { stored, used: self.transaction });
        }
    }

    /// Takes messages in order. `now_us` is the moment of storing. Returns those that were not looked at because there
    /// are `blocks_max` blocks already.
    pub fn take(&mut self, decoded: Vec<Decoded>, now_us: i64, blocks_max: usize) -> Vec<Message> {
        let mut items = decoded.into_iter();
        while self.blocks() < blocks_max
            && let Some(item) = items.next()
        {
            self.take_one(item, now_us);
        }
        items.map(|item| item.message).collect()
    }

    fn take_one(&mut self, item: Decoded, now_us: i64) {
        let Decoded { message, batches } = item;
        let known = self.next_offsets.get(&message.topic_partition).copied();
        if known.is_some_and(|next| message.kafka_offset < next) {
            return;
        }
        // Without a row reading begins where Kafka begins.
        let next = known.unwrap_or(0);
        if message.kafka_offset > next {
            let (topic_partition, to) = (message.topic_partition, message.kafka_offset);
            self.pending.gaps.push(OffsetGap { topic_partition, from: next, to, begun: known.is_none() });
        }
        match batches {
            Ok(batches) => {
                let mut index = 0;
                for batch in batches {
                    self.take_batch(&message, batch, &mut index, now_us);
                }
            }
            Err(reason) => self.pending.dead_letter(&message, reason, now_us),
        }
        self.pending.advance(&message, known, message_hash(&message.payload));
        self.next_offsets.insert(message.topic_partition, message.kafka_offset + 1);
    }

    /// Takes a message as a dead letter, whatever it says: it was found to break a transaction.
    pub fn take_poisonous(&mut self, mut decoded: Decoded, reason: String, now_us: i64) {
        decoded.batches = Err(reason);
        self.take_one(decoded, now_us);
    }

    pub fn records(&self) -> usize {
        self.pending.records
    }

    pub fn bytes(&self) -> usize {
        self.pending.bytes
    }

    pub fn messages(&self) -> usize {
        self.pending.messages
    }

    /// Blocks so far, open ones included.
    pub fn blocks(&self) -> usize {
        self.pending.block_count()
    }

    /// Closes the open blocks: the transaction is complete.
    pub fn finish(&mut self) -> Prepared {
        let prepared = self.pending.finish();
        self.transaction += 1;
        if self.watermarks.len() > CACHE_MAX {
            // Not those of the last few transactions: they may be on their way, and PostgreSQL not know them yet.
            let recent = self.transaction.saturating_sub(TRANSACTIONS_KEPT);
            self.watermarks.retain(|_, remembered| remembered.used >= recent);
        }
        if self.origins_bytes > ORIGINS_REMEMBERED_BYTES_MAX {
            self.forget_origins();
        }
        prepared
    }

    fn forget_origins(&mut self) {
        self.origins.clear();
        self.origins_bytes = 0;
    }

    fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        if self.names.len() > CACHE_MAX {
            self.names.clear();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }
}

impl Decoded {
    /// Topic partition and Kafka offset.
    pub fn at(&self) -> (u32, u64) {
        (self.message.topic_partition, self.message.kafka_offset)
    }

    fn of(message: Message) -> Decoded {
        // A decoder that panics is a defect; it still must not stop the other messages.
        let decoded = catch_unwind(AssertUnwindSafe(|| decode(&message.payload, message.provenance)));
        let batches = match decoded {
            Ok(Ok(batches)) => match batches.iter().find_map(implausible_header) {
                Some(why) => Err(why.to_owned()),
                None => Ok(batches),
            },
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the decoder panicked".to_owned()),
        };
        Decoded { message, batches }
    }
}

/// What an origin takes in memory.
fn bytes_of(origin: &Origin) -> usize {
    size_of::<Origin>() + origin.fields().iter().map(|field| field.len()).sum::<usize>()
}

/// What no agent writes and PostgreSQL could not hold.
fn implausible_header(batch: &DecodedBatch) -> Option<&'static str> {
    let header = batch.header.as_ref()?;
    if header.stream.as_str().len() > STREAM_BYTES_MAX {
        return Some("the stream's name is longer than 1024 bytes");
    }
    if header.stream.as_str().contains('\0') {
        return Some("the stream's name contains NUL");
    }
    let lost = header.loss.as_ref().map_or(0, |loss| loss.from.max(loss.bytes));
    let counters = [
        header.prev,
        header.end,
        header.lines,
        header.bytes,
        header.gated,
        header.limited,
        header.rejected,
        lost,
    ];
    if counters.iter().any(|counter| *counter > COUNT_MAX) {
        return Some("a counter or position is above 2^48");
    }
    None
}

#[cfg(test)]
mod tests;
